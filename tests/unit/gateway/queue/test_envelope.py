"""How messages lie in lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.envelope import MAGIC, PLAIN, Death, Envelope, Head, pack_envelope, unpack_envelope
from hearth_gateway.core.parcel import Attribute

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
groups = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=30)
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
attributes = st.dictionaries(
    texts.filter(bool), st.builds(Attribute, words, st.one_of(texts, st.binary(max_size=30))), max_size=4
)
times = st.integers(0, 2**52)
deaths = st.builds(Death, texts, st.dictionaries(texts, texts, max_size=3), st.integers(0, 9), times, times)
heads = st.builds(
    Head,
    sent_ms=st.none() | times,
    attributes=attributes,
    group_id=groups,
    deduplication_id=texts,
    sequence=st.from_regex(r"[0-9]{0,20}", fullmatch=True),
    sender=texts,
    trace_header=texts,
    death=st.none() | deaths,
)


@given(words, st.binary(max_size=200), heads)
def test_what_is_packed_is_unpacked_the_same(own_id: str, body: bytes, head: Head) -> None:
    envelope = Envelope(own_id, body, head)

    assert unpack_envelope(pack_envelope(envelope)) == envelope


@given(st.binary(max_size=300))
def test_any_element_is_a_message(element: bytes) -> None:
    envelope = unpack_envelope(element)

    assert envelope.id is not None or envelope == Envelope(None, element, PLAIN)


@given(
    st.lists(
        st.sampled_from([b"\t", b"\n", b"1", b"{}", b"[]", b"{", b"\xff", b"id", b'{"attributes":1}']), max_size=16
    )
)
def test_what_merely_begins_like_an_envelope_is_a_plain_body(parts: list[bytes]) -> None:
    element = MAGIC + b"".join(parts)
    envelope = unpack_envelope(element)

    if envelope.id is None:
        assert envelope.body == element
    else:
        assert element.endswith(envelope.body)


@pytest.mark.parametrize("own_id", ["", "a b", "a\tb", "a\n", "é", "x" * 201])
def test_an_id_that_the_line_cannot_hold_is_refused(own_id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        pack_envelope(Envelope(own_id, b""))


def test_a_group_that_the_line_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="group"):
        pack_envelope(Envelope("id", b"", Head(group_id="a\tb")))
