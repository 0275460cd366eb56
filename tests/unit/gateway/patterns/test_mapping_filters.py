"""Filter criteria where mappings are made: what is no filter makes no mapping."""

from dataclasses import replace

import pytest
from tests.unit.gateway.sources.stage import mapping

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.filtering import INVALID
from hearth_gateway.core.mapping_rules import checked

GOOD = '{"body": {"state": ["paid"]}}'


def test_a_mapping_may_have_filters() -> None:
    asked = replace(mapping(), filters=(GOOD, '{"body": ["plain"]}'))
    assert checked(asked, ["mine", "shop"]) is asked


@pytest.mark.parametrize("wrong", ["", "{}", '{"body": "paid"}', '{"body": [{"like": "x"}]}'])
def test_a_mapping_has_no_filter_that_is_none(wrong: str) -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        checked(replace(mapping(), filters=(GOOD, wrong)), ["mine", "shop"])
    assert caught.value.message == INVALID
