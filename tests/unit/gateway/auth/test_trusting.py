"""Where nobody needs to sign: credentials are ignored, however strange they are."""

import pytest
from tests.unit.gateway.auth.signing import ACCOUNT, signed

from hearth.core.identity import root
from hearth_gateway.auth.authentication import TrustingAuthenticator, verify
from hearth_gateway.core.sigv4 import Signed

TRUSTING = TrustingAuthenticator(root(ACCOUNT), "eu-west-1")


@pytest.mark.parametrize("authorization", [b"", b"Bearer x", b"AWS4-HMAC-SHA256 nonsense", b"\xff"])
def test_whatever_is_sent_everybody_is_the_administrator(authorization: bytes) -> None:
    ticket = TRUSTING.examine(Signed("GET", "/", "", {b"authorization": authorization}), "127.0.0.1").of_lambda()

    assert ticket.caller.principal.is_admin
    assert (ticket.caller.service, ticket.caller.region) == ("lambda", "eu-west-1")
    assert verify(ticket, b"body") == b"body"


def test_a_signature_still_tells_which_service_is_meant() -> None:
    ticket = TRUSTING.examine(signed("POST", "/", b"x", service="sts", region="us-west-2", secret="wrong"), "127.0.0.1")

    assert (ticket.caller.service, ticket.caller.region) == ("sts", "us-west-2")
    assert ticket.of_lambda() is ticket
    assert verify(ticket, b"other") == b"other"
