"""The house, opened for one test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.gateway.neighbours.house import House, house


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        yield found
