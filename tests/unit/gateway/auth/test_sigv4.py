"""Signature Version 4: what botocore and the documentation sign is accepted, and nothing that was changed since."""

import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.auth.signing import NOW_S, SECRET, accept, signed

from hearth.core.auth_errors import (
    AuthenticationError,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    UnrecognizedClient,
)
from hearth_gateway.core import sigv4
from hearth_gateway.core.sigv4 import Claim, Scope, Signed

INVOKE = "/2015-03-31/functions/hello/invocations"
ARN = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af%3A%24LATEST/invocations"

SHAPES = [
    ("POST", INVOKE, b'{"a": 1}'),
    ("POST", ARN, b"{}"),
    ("GET", "/2015-03-31/functions/", b""),
    ("GET", "/", b""),
    ("GET", "/2015-03-31/functions/?MaxItems=50&Marker=a%2Fb%3D", b""),
    ("DELETE", "/2017-03-31/tags/arn%3Aaws?tagKeys=b&tagKeys=a%20c&tagKeys=", b""),
    ("GET", "/2018-10-31/layers?find=LayerVersion&Arn=arn%3Aaws", b""),
    ("PUT", "/a//b/./c/../d/", b"x" * 1000),
    ("GET", "/plus?a=1%2B1&b=%C3%A4&c", b""),
    ("GET", "/.hidden/%7Etilde/~home", b""),
    ("POST", INVOKE + "?Qualifier=%24LATEST", bytes(range(256))),
]


@pytest.mark.parametrize(("method", "target", "body"), SHAPES)
def test_what_botocore_signs_is_accepted(method: str, target: str, body: bytes) -> None:
    request = signed(method, target, body, {"X-Amz-Invocation-Type": "RequestResponse", "X-Odd": "  a   b  "})

    assert accept(request, body) == body


@pytest.mark.parametrize(("method", "target", "body"), SHAPES)
def test_what_botocore_presigns_is_accepted(method: str, target: str, body: bytes) -> None:
    assert accept(signed(method, target, expires_s=60), now_s=NOW_S + 59) == b""


def test_a_presigned_request_of_s3_speaks_for_no_body() -> None:
    assert accept(signed("PUT", "/bucket/a%20b//c", service="s3", expires_s=60), b"anything") == b"anything"


def test_any_region_and_service_may_be_signed_for() -> None:
    assert accept(signed("GET", "/", region="mars-north-7", service="whatever")) == b""


DOCUMENTED = "AKIDEXAMPLE"


def documented(target: str, names: str, signature: str, **headers: str) -> tuple[Signed, float]:
    """A request of the documentation, of 30 August 2015."""
    service, host = ("iam", "iam.amazonaws.com") if "Action" in target else ("service", "example.amazonaws.com")
    credential = f"Credential={DOCUMENTED}/20150830/us-east-1/{service}/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
    sent = {"host": host, "x-amz-date": "20150830T123600Z", "authorization": authorization, **headers}
    path, _, query = target.partition("?")
    encoded = {name.replace("_", "-").encode(): value.encode() for name, value in sent.items()}
    return Signed("GET", path, query, encoded), datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("target", "names", "signature", "content_type"),
    [
        ("/", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", ""),
        (
            "/?Action=ListUsers&Version=2010-05-08",
            "content-type;host;x-amz-date",
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            "application/x-www-form-urlencoded; charset=utf-8",
        ),
        (
            "/?Param2=value2&Param1=value1",
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            "",
        ),
    ],
)
def test_the_signatures_of_the_documentation_are_right(
    target: str, names: str, signature: str, content_type: str
) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    headers = {"content_type": content_type} if content_type else {}
    request, at_s = documented(target, names, signature, **headers)

    assert accept(request, now_s=at_s, secret=secret) == b""


def test_the_presigned_link_of_the_documentation_is_right() -> None:
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    request = Signed("GET", "/test.txt", query, {b"host": b"examplebucket.s3.amazonaws.com"})
    claim = sigv4.read_claim(request)

    sigv4.check_time(claim, datetime(2013, 5, 24, 23, 59, 59, tzinfo=UTC).timestamp())
    sigv4.check_signature(claim, request, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", sigv4.UNSIGNED_PAYLOAD)


def test_a_header_signature_covers_a_parameter_named_like_one() -> None:
    request = signed("GET", "/?a=1")

    with pytest.raises(InvalidSignature):
        accept(request._replace(query="a=1&X-Amz-Signature=1"))


def test_a_signature_is_good_for_five_minutes_each_way() -> None:
    request = signed("GET", "/")
    for seconds in (-300, 0, 300):
        accept(request, now_s=NOW_S + seconds)
    with pytest.raises(InvalidSignature, match=r"^Signature expired: \d{8}T\d{6}Z is now earlier than .* - 5 min\.\)$"):
        accept(request, now_s=NOW_S + 301)
    with pytest.raises(InvalidSignature, match=r"^Signature not yet current: .* is still later than .* \+ 5 min\.\)$"):
        accept(request, now_s=NOW_S - 301)


def test_a_presigned_request_is_good_for_as_long_as_it_says() -> None:
    request = signed("GET", "/", expires_s=604_800)
    accept(request, now_s=NOW_S + 604_800)
    with pytest.raises(InvalidSignature, match="Signature expired"):
        accept(request, now_s=NOW_S + 604_801)


@pytest.mark.parametrize("expires", ["604801", "0", "-1", "x", "", "1e3", "99999999999999999999"])
def test_nobody_presigns_for_longer_than_a_week(expires: str) -> None:
    request = signed("GET", "/", expires_s=60)
    changed = request.query.replace("X-Amz-Expires=60", f"X-Amz-Expires={expires}")

    with pytest.raises(IncompleteSignature):
        accept(request._replace(query=changed))


def test_nobody_signed_is_its_own_error() -> None:
    with pytest.raises(MissingAuthenticationToken, match=r"^Missing Authentication Token$"):
        accept(Signed("GET", "/", "", {b"host": b"h"}))


def test_an_unknown_key_is_told_apart_from_a_wrong_signature() -> None:
    with pytest.raises(UnrecognizedClient):
        accept(signed("GET", "/", key="AKIAOTHER"))
    with pytest.raises(InvalidSignature, match="does not match the signature you provided"):
        accept(signed("GET", "/", secret="wrong"))


GOOD = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/r/lambda/aws4_request, SignedHeaders=host;x-amz-date, "


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer abc",
        "Basic dXNlcjpwYXNz",
        GOOD,
        GOOD + "Signature=",
        GOOD + "Signature=" + "a" * 63,
        GOOD + "Signature=" + "A" * 64,
        GOOD + "Signature=" + "a" * 64 + ", Signature=" + "b" * 64,
        GOOD.replace("/lambda", "") + "Signature=" + "a" * 64,
        GOOD.replace("Credential=", "Who=") + "Signature=" + "a" * 64,
        GOOD.replace("host;", "host;host;") + "Signature=" + "a" * 64,
        GOOD.replace("host;", "Host;") + "Signature=" + "a" * 64,
        GOOD.replace("host;", "host;;") + "Signature=" + "a" * 64,
        GOOD.replace("SHA256 ", "SHA512 ") + "Signature=" + "a" * 64,
        "AWS4-ECDSA-P256-SHA256" + GOOD[16:] + "Signature=" + "a" * 64,
        GOOD + "Signature=" + "ä" * 64,
    ],
)
def test_half_a_signature_is_incomplete(authorization: str) -> None:
    request = signed("GET", "/")
    headers = {**request.headers, b"authorization": authorization.encode("latin-1")}

    with pytest.raises(IncompleteSignature) as caught:
        accept(request._replace(headers=headers))
    assert caught.value.status == 400


def test_the_host_must_be_signed() -> None:
    request = signed("GET", "/")
    unsigned = request.headers[b"authorization"].replace(b"host;", b"")

    with pytest.raises(InvalidSignature, match="'Host'"):
        accept(request._replace(headers={**request.headers, b"authorization": unsigned}))


@pytest.mark.parametrize("name", [b"x-amz-invocation-type", b"x-amz-client-context", b"x-amz-security-token"])
def test_a_header_with_a_meaning_must_be_signed(name: bytes) -> None:
    request = signed("POST", INVOKE, b"{}")

    with pytest.raises(AuthenticationError):
        accept(request._replace(headers={**request.headers, name: b"Event"}), b"{}")


def test_headers_of_the_connection_may_change_on_the_way() -> None:
    request = signed("POST", INVOKE, b"{}")
    headers = {**request.headers, b"x-amzn-trace-id": b"Root=1", b"user-agent": b"proxy", b"x-amz-user-agent": b"js"}

    assert accept(request._replace(headers=headers), b"{}") == b"{}"


def test_the_date_of_the_scope_is_the_date_of_the_request() -> None:
    request = signed("GET", "/")
    other = request.headers[b"authorization"].replace(b"/20261121/", b"/20261122/")

    with pytest.raises(InvalidSignature, match="Date in Credential scope does not match"):
        accept(request._replace(headers={**request.headers, b"authorization": other}))


@pytest.mark.parametrize("date", [b"", b"x", b"20261340T000000Z", b"2026-11-21T00:00:00Z", b"\xff"])
def test_a_date_that_is_none_is_incomplete(date: bytes) -> None:
    request = signed("GET", "/")

    with pytest.raises(IncompleteSignature):
        accept(request._replace(headers={**request.headers, b"x-amz-date": date}))


def test_the_plain_date_header_will_do_if_it_is_signed() -> None:
    moment = datetime.fromtimestamp(NOW_S, UTC)
    text = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
    scope = Scope(moment.strftime("%Y%m%d"), "us-east-1", "lambda")
    bare = Claim("AKIDEXAMPLE", scope, (b"date", b"host"), "", moment.strftime("%Y%m%dT%H%M%SZ"))
    request = Signed("GET", "/", "", {b"host": b"h", b"date": text.encode()})

    accept(_with_signature(request, bare))
    unsigned = bare._replace(signed_headers=(b"host",))
    with pytest.raises(InvalidSignature, match="Date must be signed"):
        accept(_with_signature(request, unsigned))


def _with_signature(request: Signed, claim: Claim, payload: str = sha256(b"").hexdigest()) -> Signed:
    """The request, signed by hand."""
    canonical = sigv4.canonical_request(request, claim, request.query, payload)
    assert canonical is not None
    text = f"AWS4-HMAC-SHA256\n{claim.moment}\n{claim.scope}\n{sha256(canonical).hexdigest()}"
    signature = hmac.digest(sigv4.signing_key(SECRET, claim.scope), text.encode(), "sha256").hex()
    names = b";".join(claim.signed_headers).decode()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={claim.access_key_id}/{claim.scope}, SignedHeaders={names}, Signature={signature}"
    )
    return request._replace(headers={**request.headers, b"authorization": authorization.encode()})


def test_a_declared_hash_must_be_that_of_the_body() -> None:
    request = signed("POST", INVOKE, b"{}", {"X-Amz-Content-SHA256": sha256(b"{}").hexdigest()})

    assert accept(request, b"{}") == b"{}"
    with pytest.raises(InvalidSignature):
        accept(request, b"{ }")


def test_an_unsigned_body_comes_from_this_machine_only() -> None:
    request = signed("POST", INVOKE, b"{}", {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    request = _with_signature(request, sigv4.read_claim(request), "UNSIGNED-PAYLOAD")

    assert accept(request, b"anything", source_ip="127.0.0.1") == b"anything"
    for source_ip in ("192.0.2.1", "", "nonsense"):
        with pytest.raises(InvalidSignature, match="UNSIGNED-PAYLOAD"):
            accept(request, b"anything", source_ip=source_ip)


@given(st.data())
def test_nothing_that_was_signed_can_be_changed(data: st.DataObject) -> None:
    presigned = data.draw(st.booleans())
    target, body = INVOKE + "?Qualifier=one&Other=two%20words", b"" if presigned else b'{"a": 1}'
    request = signed("POST", target, body, {"X-Amz-Log-Type": "Tail"}, expires_s=60 if presigned else None)
    accept(request, body)

    change = data.draw(st.one_of(_CHANGES))
    changed, changed_body = change(request, body)

    with pytest.raises(AuthenticationError):
        accept(changed, changed_body)


def _other_text(alphabet: str = "abc1/?=&%") -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=3)


_POSITION = st.integers(0, 10**6)
_Change = Callable[[Signed, bytes], tuple[Signed, bytes]]
_CHANGES: list[st.SearchStrategy[_Change]] = [
    st.sampled_from(["GET", "PUT", "DELETE", "post"]).map(lambda method: lambda r, b: (r._replace(method=method), b)),
    _other_text("abcXYZ19-_").map(lambda text: lambda r, b: (r._replace(path=r.path + text), b)),
    st.tuples(_POSITION, st.sampled_from("xyz%:")).map(
        lambda at: lambda r, b: (r._replace(path=_inserted(r.path, *at)), b)
    ),
    _other_text("abc=%").map(lambda text: lambda r, b: (r._replace(query=f"{r.query}&zz{text}"), b)),
    st.tuples(_POSITION, st.sampled_from("xyz+:")).map(
        lambda at: lambda r, b: (r._replace(query=_inserted(r.query, *at)), b)
    ),
    st.binary(min_size=1, max_size=9).map(lambda more: lambda r, b: (r, b + more)),
    st.just(lambda r, b: (r._replace(query=f"{r.query}&X-Amz-Signature=1"), b)),
    st.integers(0, 7).map(lambda size: lambda r, b: (r, b[:size] or b"!")),
    st.tuples(st.sampled_from([b"host", b"x-amz-log-type"]), st.binary(min_size=1, max_size=4)).map(
        lambda pair: lambda r, b: (r._replace(headers={**r.headers, pair[0]: b"!" + pair[1]}), b)
    ),
    st.sampled_from([b"host", b"x-amz-log-type"]).map(
        lambda name: lambda r, b: (r._replace(headers={k: v for k, v in r.headers.items() if k != name}), b)
    ),
    st.sampled_from([b"x-amz-tenant-id", b"x-amz-content-sha256"]).map(
        lambda name: lambda r, b: (r._replace(headers={**r.headers, name: b"added"}), b)
    ),
]


def _inserted(text: str, position: int, added: str) -> str:
    at = 1 + position % len(text)
    return text[:at] + added + text[at:]
