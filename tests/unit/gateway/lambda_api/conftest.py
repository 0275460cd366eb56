"""A running control plane for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.gateway.lambda_api.harness import Harness


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path).running() as harness:
        yield harness
