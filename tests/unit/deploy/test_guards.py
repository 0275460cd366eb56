"""Whom the command lets in, by its settings."""

import pytest

from hearth.config import Settings
from hearth_cli import commands_keys, guards
from hearth_cli.console import Failure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_nobody_needs_to_sign_on_this_machine_if_so_wanted(host: str) -> None:
    guards.check(Settings(auth="none", host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
def test_a_network_is_never_let_in_without_signatures(host: str) -> None:
    with pytest.raises(Failure, match="auth=none"):
        guards.check(Settings(auth="none", host=host))
    guards.check(Settings(host=host))


def test_signatures_are_asked_for_unless_told_otherwise() -> None:
    assert Settings().auth == "iam"


def test_allow_on_a_name_covers_its_versions_and_aliases() -> None:
    settings = Settings(region="eu-west-1", account="123456789012")
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders"
    statement = commands_keys.allowing(["lambda:InvokeFunction"], ["orders"], settings)["Statement"][0]
    assert statement["Resource"] == [arn, f"{arn}:*"]
    assert commands_keys.allowing(["a:b"], ["*"], settings)["Statement"][0]["Resource"] == ["*"]
