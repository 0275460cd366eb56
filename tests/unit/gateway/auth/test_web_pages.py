"""Where nobody needs to sign, web pages are kept out all the same: they are looked at here, but come from anywhere."""

import pytest
from tests.unit.gateway.auth.signing import ACCOUNT, KEY, OneKey

from hearth.core.auth_errors import MissingAuthenticationToken, NotAuthorized
from hearth.core.identity import root
from hearth_gateway.auth.authentication import SignatureAuthenticator, TrustingAuthenticator
from hearth_gateway.core.sigv4 import Signed
from hearth_gateway.core.web_pages import is_of_page

HERE = {"host": "127.0.0.1:9400"}
SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=x"}


def headers(**given: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in given.items()}


@pytest.mark.parametrize(
    "sent",
    [
        {**HERE, "origin": "https://evil.example"},
        {**HERE, "origin": "null"},
        {**HERE, "sec_fetch_site": "cross-site"},
        {**HERE, "sec_fetch_site": "same-site"},
        {**HERE, "sec_fetch_site": "same-origin"},
        {**HERE, **SIGNED, "origin": "http://127.0.0.1:9400"},
        {"host": "evil.example:9400"},
        {"host": "evil.example.:9400"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example:9400"},
        {"host": "evil.example:9400", **SIGNED},
    ],
)
def test_what_a_page_can_send_is_told_as_a_pages(sent: dict[str, str]) -> None:
    assert is_of_page(headers(**sent))


@pytest.mark.parametrize(
    "sent",
    [
        {},
        HERE,
        {**HERE, "sec_fetch_site": "none"},
        {"host": "localhost:9400"},
        {"host": "LOCALHOST"},
        {"host": "[::1]:9400"},
        {"host": "hearth:9400"},
        {"host": "host.docker.internal:9400"},
        {"host": "abc.lambda-url.localhost:9400"},
        {"host": "abc.lambda-url.us-east-1.on.aws"},
        {**HERE, **SIGNED, "origin": "http://localhost:3000"},
    ],
)
def test_what_programs_send_is_not(sent: dict[str, str]) -> None:
    assert not is_of_page(headers(**sent))


def test_without_signatures_a_page_gets_nothing() -> None:
    trusting = TrustingAuthenticator(root(ACCOUNT), "us-east-1")
    page = Signed("POST", "/2015-03-31/functions", "", headers(**HERE, origin="https://evil.example"))

    with pytest.raises(NotAuthorized, match="web pages"):
        trusting.examine(page, "127.0.0.1")
    assert trusting.examine(page._replace(headers=headers(**HERE)), "127.0.0.1").caller.principal.is_admin


def test_with_signatures_pages_are_asked_for_one_like_everybody() -> None:
    page = Signed("POST", "/", "", headers(host="hearth.example", origin="https://app.example"))

    with pytest.raises(MissingAuthenticationToken):
        SignatureAuthenticator(OneKey(key=KEY)).examine(page, "127.0.0.1")
