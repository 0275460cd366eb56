"""Random histories of queues: whatever happens, the store in memory and the one in Redis do as the model says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from tests.contract.queue_bench import Bench, MemoryBench, redis_bench
from tests.contract.queue_store_machine import FifoStoreMachine, OpenBench, QueueStoreMachine

MACHINES = [pytest.param(QueueStoreMachine, id="standard"), pytest.param(FifoStoreMachine, id="fifo")]


@asynccontextmanager
async def memory() -> AsyncIterator[Bench]:
    yield MemoryBench()


def run(machine: type[QueueStoreMachine], open_bench: OpenBench, examples: int) -> None:
    run_state_machine_as_test(
        cast(type[RuleBasedStateMachine], lambda: machine(open_bench)),
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_every_history_in_memory_is_the_models(machine: type[QueueStoreMachine]) -> None:
    run(machine, memory, 60)


@pytest.mark.redis
@pytest.mark.parametrize("machine", MACHINES)
def test_every_history_in_redis_is_the_models(machine: type[QueueStoreMachine], redis_url: str) -> None:
    run(machine, lambda: redis_bench(redis_url), 30)
