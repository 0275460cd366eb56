"""Heads that are accepted mean the same to a complete HTTP parser; everything else is left to it."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.http_head import LowerHeaders, parse

PLAIN = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"

names = st.sampled_from(
    ["Host", "Content-Length", "X-Amz-Log-Type", "content-length", "Transfer-Encoding", "A b", "", "Te"]
)
values = st.one_of(st.sampled_from(["0", "2", "02", "+2", "chunked", "h", "a\tb", "é", "close"]), st.text(max_size=8))
lines = st.lists(st.tuples(names, st.sampled_from([": ", ":", " : ", "; "]), values), max_size=5)
first = st.sampled_from(
    ["POST /x HTTP/1.1", "POST /x HTTP/1.0", "GET /a b HTTP/1.1", "P@ST /x HTTP/1.1", "POST /\x7f HTTP/1.1"]
)


class _Seen:
    """What a complete parser makes of the same bytes."""

    def __init__(self, data: bytes) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.is_complete = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


@given(first, lines)
def test_what_is_accepted_means_the_same_to_a_complete_parser(
    request_line: str, headers: list[tuple[str, str, str]]
) -> None:
    data = "\r\n".join([request_line, *("".join(header) for header in headers), "", ""]).encode("utf-8", "replace")
    head = parse(data)
    if head is None:
        return

    seen = _Seen(data + b"x" * (head.body_end - head.body_start))

    assert seen.is_complete
    assert seen.target == head.target.encode()
    assert dict(seen.headers) == head.headers
    assert len(seen.headers) == len(head.headers)
    assert len(seen.body) == head.body_end - head.body_start
    assert seen.parser.should_keep_alive() == head.keeps_alive


@given(st.binary(max_size=200))
def test_garbage_is_never_accepted_nor_raises(data: bytes) -> None:
    assert parse(data + b"\r\n\r\n") is None or b"HTTP/1.1" in data


def test_a_plain_invocation_is_accepted() -> None:
    head = parse(PLAIN)

    assert head is not None
    assert (head.method, head.target) == ("POST", "/2015-03-31/functions/f/invocations")
    assert PLAIN[head.body_start : head.body_end] == b"{}"


@pytest.mark.parametrize(
    "unusual",
    [
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"Host: h\r\n", b""),
        PLAIN.replace(b"Host: h", b"Host: h\r\nhost: i"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2"),
        PLAIN.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: -2"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: 2\r\nExpect: 100-continue"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: 2\r\nUpgrade: h2c"),
        PLAIN.replace(b"Host: h", b"Host: h\r\n folded"),
        PLAIN.replace(b"Host: h", b"Host: h\nX: y"),
        PLAIN.replace(b"Host: h", b"Host : h"),
        PLAIN.replace(b"POST /", b"POST  /"),
        PLAIN.replace(b"POST /2015", b"POST http://h/2015"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: 2\r\nConnection: upgrade"),
    ],
)
def test_anything_unusual_is_left_to_the_full_implementation(unusual: bytes) -> None:
    assert parse(unusual) is None


def test_headers_are_found_whatever_the_case_of_their_names() -> None:
    headers = LowerHeaders({b"x-amz-log-type": b"Tail"})

    assert headers["X-Amz-Log-Type"] == headers.get("x-amz-log-type") == "Tail"
    assert "X-AMZ-LOG-TYPE" in headers
    assert headers.get("absent", "") == ""
    assert list(headers) == ["x-amz-log-type"]
