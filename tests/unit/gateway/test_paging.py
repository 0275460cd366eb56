"""Pages: walking them gives everything once and in order, also while the list changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.paging import decode_marker, encode_marker, page_of

keys = st.text(min_size=1, max_size=4)


@given(st.sets(keys, max_size=12), st.integers(1, 5))
def test_the_pages_of_a_list_are_the_list(given_keys: set[str], most: int) -> None:
    found = [(key, key.upper()) for key in sorted(given_keys)]
    walked: list[str] = []
    marker: str | None = None
    sizes: list[int] = []
    while marker is not None or not sizes:
        items, marker = page_of(found, marker, most)
        walked += items
        sizes.append(len(items))
    assert walked == [item for _, item in found]
    assert all(size == most for size in sizes[:-1]) and sizes[-1] <= most


def test_an_item_that_goes_takes_no_other_along() -> None:
    _, marker = page_of([("a", 1), ("b", 2), ("c", 3)], None, 2)
    assert page_of([("a", 1), ("c", 3)], marker, 2) == ([3], None)


@given(keys)
def test_a_marker_stands_for_its_key(key: str) -> None:
    assert decode_marker(encode_marker(key)) == key


@pytest.mark.parametrize("marker", ["?", "é", "abc", "/w==", "_w=="])
def test_what_is_no_marker_of_ours_is_told(marker: str) -> None:
    with pytest.raises(ValueError):
        page_of([("a", 1)], marker, 1)
