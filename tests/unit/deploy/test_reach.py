"""How functions reach the Hearth that runs them."""

import socket
from typing import Any

import pytest

from hearth.config import Settings
from hearth_cli.reach import Reach, reach

GATEWAY = "127.0.0.2"
"""Stands for the address of a network's gateway: an address of this host that is not the usual one."""


def _port() -> int:
    with socket.create_server((GATEWAY, 0)) as probe:
        return int(probe.getsockname()[1])


def _reach(gateway: str | None = GATEWAY, **settings: Any) -> Reach:
    return reach(Settings(**{"port": _port(), **settings}), gateway)


def test_the_gateway_of_the_functions_network_is_listened_on_and_told() -> None:
    port = _port()

    assert _reach(port=port) == Reach(f"http://{GATEWAY}:{port}", {}, (GATEWAY,))


def test_where_everything_is_listened_on_nothing_more_is() -> None:
    port = _port()

    assert _reach(host="0.0.0.0", port=port) == Reach(f"http://{GATEWAY}:{port}")


@pytest.mark.parametrize(
    "settings", [{"auth": "none"}, {"function_network": "none"}, {"function_network": "none", "function_endpoint": "x"}]
)
def test_without_signatures_or_without_a_network_there_is_no_way(settings: dict[str, Any]) -> None:
    assert _reach(**settings) == Reach()


def test_an_address_of_ones_own_is_told_and_nothing_is_listened_on() -> None:
    assert _reach(function_endpoint="https://hearth.example", auth="none") == Reach("https://hearth.example")


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://127.0.0.1:9000", f"http://{GATEWAY}:9000"),
        ("https://localhost/path", f"https://{GATEWAY}/path"),
        ("http://minio.example:9000", "http://minio.example:9000"),
    ],
)
def test_a_service_on_this_hosts_loopback_has_another_address_inside(url: str, inside: str) -> None:
    assert _reach(aws_endpoints={"s3": url}).services == {"s3": inside}


def test_a_gateway_that_is_not_on_this_host_is_not_told() -> None:
    assert _reach("192.0.2.1") == Reach()
