"""Ids: of the documented form, and never twice."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.tracing import REQUEST_ID_BYTES, request_id, trace_header
from hearth_gateway.random_bytes import RandomBytes


def test_no_bytes_are_given_twice() -> None:
    random = RandomBytes()
    ids = [request_id(random.take(REQUEST_ID_BYTES)) for _ in range(5000)]
    assert len(set(ids)) == len(ids)


@given(st.lists(st.integers(1, 100), max_size=300))
def test_as_many_bytes_as_asked_for(counts: list[int]) -> None:
    random = RandomBytes()
    assert [len(random.take(count)) for count in counts] == counts


@given(st.text(max_size=120) | st.from_regex(r"Root=[^;]{0,40};Parent=[^;]{0,20}(;Sampled=.)?"))
def test_no_trace_header_of_a_caller_gets_out_of_its_form(incoming: str) -> None:
    header = trace_header(incoming, bytes(20), 0)
    assert set(header) <= set("Root=1-Parent=Sampled=;0123456789abcdef")
    assert "\n" not in header
