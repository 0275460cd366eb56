"""The prelude of a streamed HTTP response, in pieces of any size."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.http_prelude import MAX_PRELUDE_BYTES, SEPARATOR, Prelude, PreludeParser, whole_response
from hearth_gateway.core.http_response import BadFunctionResponse, HttpResponse

_BODIES = st.lists(st.sampled_from([b"\0", SEPARATOR, b"text", b"{}"]), max_size=5).map(b"".join)


def fed(data: bytes, cuts: list[int]) -> Prelude | None:
    """The prelude of the data, cut there; with what comes after it put back together."""
    parser = PreludeParser()
    places = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *places], places, strict=False)]
    for number, piece in enumerate(pieces):
        if (prelude := parser.feed(piece)) is not None:
            return Prelude(prelude.head, prelude.rest + b"".join(pieces[number + 1 :]))
    return None


@given(_BODIES, st.lists(st.integers(0, 200), max_size=20), st.integers(200, 599), st.text(max_size=20))
def test_a_prelude_cut_anywhere_is_the_same_prelude(body: bytes, cuts: list[int], status: int, value: str) -> None:
    said = json.dumps({"statusCode": status, "headers": {"X-Own": json.dumps(value)}, "cookies": ["a=1", "b=2"]})
    prelude = fed(said.encode() + SEPARATOR + body, cuts)
    assert prelude == Prelude(
        HttpResponse(
            status,
            (
                ("Content-Type", "application/octet-stream"),
                ("X-Own", json.dumps(value)),
                ("Set-Cookie", "a=1"),
                ("Set-Cookie", "b=2"),
            ),
        ),
        body,
    )


def test_an_empty_prelude_is_a_success_of_unknown_type() -> None:
    assert whole_response(b"{}" + SEPARATOR + b"x") == HttpResponse(
        200, (("Content-Type", "application/octet-stream"),), b"x"
    )


def test_a_content_type_of_the_function_stands() -> None:
    said = b'{"headers": {"content-type": "text/html"}}'
    assert whole_response(said + SEPARATOR).headers == (("content-type", "text/html"),)


@pytest.mark.parametrize(
    "data",
    [
        b'{"statusCode": 200}',
        b'{"statusCode": 200}' + SEPARATOR[1:],
        b"not JSON" + SEPARATOR,
        b"[]" + SEPARATOR,
        b'{"statusCode": 99}' + SEPARATOR,
        b'{"headers": {"a": "b\\r\\nc: d"}}' + SEPARATOR,
        b'{"cookies": "a=b"}' + SEPARATOR,
        b"[" * 100_000 + SEPARATOR,
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(BadFunctionResponse):
        whole_response(data)


def test_a_prelude_without_end_is_refused_once_it_is_too_long() -> None:
    parser = PreludeParser()
    assert parser.feed(b" " * MAX_PRELUDE_BYTES) is None
    with pytest.raises(BadFunctionResponse, match="longer than"):
        parser.feed(b" ")
