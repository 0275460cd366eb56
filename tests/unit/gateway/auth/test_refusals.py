"""Refusals are counted all, and logged once a second at most."""

from structlog.testing import capture_logs

from hearth.core.auth_errors import InvalidSignature, MissingAuthenticationToken
from hearth.core.errors import AccessDenied, ResourceNotFound
from hearth_gateway.auth.refusals import Refusals


def test_all_are_counted_and_one_a_second_is_logged() -> None:
    now_s = [5.0]
    refusals = Refusals(lambda: now_s[0])
    with capture_logs() as lines:
        for error in (MissingAuthenticationToken(), MissingAuthenticationToken(), InvalidSignature("no")):
            refusals.note(error, "192.0.2.1")
        now_s[0] = 6.0
        refusals.note(AccessDenied("not you"), "192.0.2.2")

    assert refusals.counts == {
        "MissingAuthenticationTokenException": 2,
        "InvalidSignatureException": 1,
        "AccessDeniedException": 1,
    }
    assert [(line["code"], line["source_ip"]) for line in lines] == [
        ("MissingAuthenticationTokenException", "192.0.2.1"),
        ("AccessDeniedException", "192.0.2.2"),
    ]


def test_other_errors_are_none_of_it() -> None:
    refusals = Refusals()
    refusals.note(ResourceNotFound("gone"), "")
    refusals.note(ZeroDivisionError(), "")
    assert not refusals.counts
