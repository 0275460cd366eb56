"""Bodies signed chunk by chunk: the example of the Amazon S3 documentation, and what is not like it."""

import hmac
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from tests.unit.gateway.auth.signing import OneKey

from hearth.core.auth_errors import AuthenticationError
from hearth_gateway.auth.authentication import SignatureAuthenticator, verify
from hearth_gateway.core import sigv4, sigv4_chunks
from hearth_gateway.core.sigv4 import Claim, Scope, Signed

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
AT_S = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
NAMES = (
    "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
    "x-amz-storage-class"
)
REQUEST = Signed(
    "PUT",
    "/examplebucket/chunkObject.txt",
    "",
    {
        b"host": b"s3.amazonaws.com",
        b"x-amz-date": b"20130524T000000Z",
        b"x-amz-storage-class": b"REDUCED_REDUNDANCY",
        b"x-amz-content-sha256": b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        b"content-encoding": b"aws-chunked",
        b"x-amz-decoded-content-length": b"66560",
        b"content-length": b"66824",
        b"authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            f"SignedHeaders={NAMES},Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
        ).encode(),
    },
)
FIRST = (b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648")
SECOND = (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497")
LAST = (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")


def chunked(*chunks: tuple[bytes, str]) -> bytes:
    return b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), sign.encode(), data) for data, sign in chunks)


def accept(body: bytes) -> bytes:
    authenticator = SignatureAuthenticator(OneKey(SECRET, "AKIAIOSFODNN7EXAMPLE"), lambda: AT_S)
    return verify(authenticator.examine(REQUEST, "192.0.2.1"), body)


def test_the_example_of_the_documentation_is_right() -> None:
    assert accept(chunked(FIRST, SECOND, LAST)) == b"a" * 66560


@pytest.mark.parametrize(
    "body",
    [
        chunked(FIRST, LAST),
        chunked(SECOND, FIRST, LAST),
        chunked(FIRST, SECOND, SECOND, LAST),
        chunked(FIRST, SECOND),
        chunked((FIRST[0][:-1] + b"b", FIRST[1]), SECOND, LAST),
        chunked(FIRST, SECOND, (b"", "0" * 64)),
        chunked(FIRST, SECOND, LAST) + b"more",
        b"",
        b"zz\r\n",
        b"-1;chunk-signature=x\r\n",
        b"a" * 66560,
    ],
)
def test_chunks_that_were_changed_are_refused(body: bytes) -> None:
    with pytest.raises(AuthenticationError):
        accept(body)


CLAIM = Claim("AKIA", Scope("20130524", "us-east-1", "s3"), (b"host",), "5" * 64, "20130524T000000Z")
KEY = sigv4.signing_key(SECRET, CLAIM.scope)


def signature(kind: str, *parts: str) -> str:
    text = "\n".join((f"AWS4-HMAC-SHA256-{kind}", CLAIM.moment, str(CLAIM.scope), *parts))
    return hmac.digest(KEY, text.encode(), "sha256").hex()


def with_trailer(*, value: bytes = b"sOO8/Q==") -> bytes:
    empty = sha256(b"").hexdigest()
    first = signature("PAYLOAD", CLAIM.signature, empty, sha256(b"data").hexdigest())
    last = signature("PAYLOAD", first, empty, empty)
    trailer = signature("TRAILER", last, sha256(b"x-amz-checksum-crc32c:sOO8/Q==\n").hexdigest())
    end = b"0;chunk-signature=%s\r\n" % last.encode()
    lines = b"x-amz-checksum-crc32c:%s\r\nx-amz-trailer-signature:%s\r\n\r\n" % (value, trailer.encode())
    return chunked((b"data", first)) + end + lines


def test_a_signed_trailer_ends_the_chain() -> None:
    assert sigv4_chunks.unchunked(with_trailer(), sigv4_chunks.SIGNED_WITH_TRAILER, CLAIM, KEY) == b"data"
    with pytest.raises(AuthenticationError):
        sigv4_chunks.unchunked(with_trailer(value=b"other"), sigv4_chunks.SIGNED_WITH_TRAILER, CLAIM, KEY)
    with pytest.raises(AuthenticationError):
        cut = with_trailer().partition(b"x-amz-trailer-signature")[0]
        sigv4_chunks.unchunked(cut, sigv4_chunks.SIGNED_WITH_TRAILER, CLAIM, KEY)


def test_chunks_without_signatures_are_put_together() -> None:
    body = b"4\r\ndata\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"

    assert sigv4_chunks.unchunked(body, sigv4_chunks.UNSIGNED_WITH_TRAILER, CLAIM, KEY) == b"data"
