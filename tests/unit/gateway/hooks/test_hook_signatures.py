"""Signatures of those who send webhooks: by the examples in their own documentation, and by changing every byte."""

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hearth_gateway.core.hook_signatures import TOLERANCE_S, Flaw, Scheme, Style, flaw_in, key_of

NOW_S = 1_700_000_000


def flaw(
    style: Style,
    headers: dict[str, str],
    body: bytes,
    *secrets: str,
    now_s: float = NOW_S,
    scheme: Scheme | None = None,
) -> Flaw | None:
    return flaw_in(style, scheme or Scheme(), CIMultiDict(headers), body, secrets=secrets, now_s=now_s)


def hexed(secret: str | bytes, words: bytes, algorithm: Any = hashlib.sha256) -> str:
    key = secret if isinstance(secret, bytes) else secret.encode()
    return hmac.new(key, words, algorithm).hexdigest()


class TestDocumentedExamples:
    def test_github(self) -> None:
        """ "Validating webhook deliveries", "Testing the webhook payload validation"."""
        signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        headers = {"x-hub-signature-256": signature}
        assert flaw(Style.GITHUB, headers, b"Hello, World!", "It's a Secret to Everybody") is None

    def test_slack(self) -> None:
        """ "Verifying requests from Slack", the step-by-step walk-through."""
        body = (
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
            b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
            b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
            b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
        )
        headers = {
            "X-Slack-Request-Timestamp": "1531420618",
            "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        }
        assert flaw(Style.SLACK, headers, body, "8f742231b10e8888abcd99yyyzzz85a5", now_s=1_531_420_618) is None

    def test_standard_webhooks(self) -> None:
        """The example that the specification's libraries share."""
        headers = {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        assert flaw(Style.STANDARD, headers, b'{"test": 2432232314}', secret, now_s=1_614_265_330) is None

    def test_stripe(self) -> None:
        """The form that "Verify manually" describes: several schemes and several signatures in one header."""
        body, secret = b'{"id":"evt_1"}', "whsec_test_secret"
        good = hexed(secret, f"{NOW_S}.".encode() + body)
        headers = {"Stripe-Signature": f"t={NOW_S},v1={'0' * 64},v1={good},v0={'1' * 64}"}
        assert flaw(Style.STRIPE, headers, body, secret) is None


def signed(style: Style, secret: str, body: bytes, at_s: int = NOW_S) -> dict[str, str]:
    """The headers of a good request."""
    match style:
        case Style.GITHUB:
            return {"X-Hub-Signature-256": f"sha256={hexed(secret, body)}"}
        case Style.STRIPE:
            return {"Stripe-Signature": f"t={at_s},v1={hexed(secret, f'{at_s}.'.encode() + body)}"}
        case Style.SLACK:
            signature = f"v0={hexed(secret, f'v0:{at_s}:'.encode() + body)}"
            return {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": str(at_s)}
        case Style.STANDARD:
            digest = hmac.new(key_of(style, secret), f"i.{at_s}.".encode() + body, hashlib.sha256).digest()
            signature = f"v1,{base64.b64encode(digest).decode()}"
            return {"webhook-id": "i", "webhook-timestamp": str(at_s), "webhook-signature": signature}
        case Style.GENERIC:
            return {"X-Signature": hexed(secret, body)}
        case _:
            return {"Authorization": f"Bearer {secret}"}


SIGNING = [Style.GITHUB, Style.STRIPE, Style.SLACK, Style.STANDARD, Style.GENERIC]
TIMED = [Style.STRIPE, Style.SLACK, Style.STANDARD]


@given(st.sampled_from(SIGNING), st.binary(min_size=1, max_size=200), st.data())
def test_any_changed_byte_of_the_body_is_refused(style: Style, body: bytes, data: st.DataObject) -> None:
    headers = signed(style, "secret-of-ours", body)
    assert flaw(style, headers, body, "secret-of-ours") is None
    at, change = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(1, 255))
    changed = body[:at] + bytes([body[at] ^ change]) + body[at + 1 :]
    assert flaw(style, headers, changed, "secret-of-ours") is Flaw.MISMATCH
    assert flaw(style, headers, body + b"\0", "secret-of-ours") is Flaw.MISMATCH
    assert flaw(style, headers, body[:-1], "secret-of-ours") is Flaw.MISMATCH


@given(st.sampled_from([*SIGNING, Style.MINIO]), st.text(st.characters(codec="ascii"), min_size=8), st.binary())
def test_another_secret_is_refused_and_one_of_two_suffices(style: Style, other: str, body: bytes) -> None:
    secret = "secret-of-ours"
    headers = signed(style, secret, body)
    if other.strip() not in (secret, f"Bearer {secret}") and not other.startswith("whsec_"):
        assert flaw(style, headers, body, other) is Flaw.MISMATCH
        assert flaw(style, headers, body, other, secret) is None
        assert flaw(style, headers, body, secret, other) is None


@pytest.mark.parametrize("style", TIMED)
@pytest.mark.parametrize(("age_s", "expected"), [(TOLERANCE_S, None), (TOLERANCE_S + 1, Flaw.TOO_OLD)])
def test_a_signature_is_good_for_five_minutes_to_either_side(style: Style, age_s: int, expected: Flaw | None) -> None:
    for at_s in (NOW_S - age_s, NOW_S + age_s):
        assert flaw(style, signed(style, "secret-of-ours", b"x", at_s), b"x", "secret-of-ours") is expected


@pytest.mark.parametrize("style", TIMED)
def test_a_time_that_was_not_signed_is_refused(style: Style) -> None:
    headers = signed(style, "secret-of-ours", b"x", NOW_S - 10_000)
    fresh = {name: value.replace(str(NOW_S - 10_000), str(NOW_S)) for name, value in headers.items()}
    assert flaw(style, fresh, b"x", "secret-of-ours") is Flaw.MISMATCH


@given(
    st.sampled_from(list(Style)),
    st.dictionaries(
        st.sampled_from(
            [
                "X-Hub-Signature-256",
                "Stripe-Signature",
                "X-Slack-Signature",
                "X-Slack-Request-Timestamp",
                "webhook-id",
                "webhook-timestamp",
                "webhook-signature",
                "X-Signature",
                "Authorization",
            ]
        ),
        st.text(max_size=40),
    ),
)
def test_whatever_the_headers_are_nothing_is_let_in_and_nothing_breaks(style: Style, headers: dict[str, str]) -> None:
    if style is not Style.NONE:
        assert flaw(style, headers, b"x", "secret-of-ours") is not None


@pytest.mark.parametrize("style", [*SIGNING, Style.S3, Style.MINIO])
def test_a_request_without_a_signature_is_told_so(style: Style) -> None:
    assert flaw(style, {}, b"x", "secret-of-ours") is Flaw.MISSING


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("timestamp_header", ["", "X-Time"])
def test_a_scheme_of_ones_own(algorithm: Any, encoding: Any, timestamp_header: str) -> None:
    scheme = Scheme("X-Mine", algorithm, encoding, "v=", timestamp_header)
    words = f"{NOW_S}.body".encode() if timestamp_header else b"body"
    digest = hmac.new(b"secret-of-ours", words, algorithm).digest()
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    headers = {"X-Mine": f"v={text}", "X-Time": str(NOW_S)}
    assert flaw(Style.GENERIC, headers, b"body", "secret-of-ours", scheme=scheme) is None
    assert flaw(Style.GENERIC, {**headers, "X-Mine": text}, b"body", "secret-of-ours", scheme=scheme) is Flaw.MALFORMED


@pytest.mark.parametrize("authorization", ["Bearer secret-of-ours", "secret-of-ours"])
def test_minio_sends_its_token_with_or_without_a_word_before_it(authorization: str) -> None:
    assert flaw(Style.MINIO, {"authorization": authorization}, b"", "secret-of-ours") is None


def test_a_hook_without_signatures_lets_everybody_in() -> None:
    assert flaw(Style.NONE, {}, b"x") is None
