"""Sources on a FIFO queue in a real Redis: order within groups while instances die at random."""

import asyncio
import random
import uuid
from collections import Counter, defaultdict

import orjson
import pytest
from redis.asyncio import Redis
from tests.integration.test_redis_list import Instance, until
from tests.unit.gateway.sources.stage import good, mapping

from hearth.core.invocation import Invocation, Outcome
from hearth_gateway.adapters.redis_list import stem_of
from hearth_gateway.core.envelope import Envelope, Head, pack_envelope

pytestmark = pytest.mark.redis

MESSAGES = 1_000
GROUPS = 12


class Order:
    """What the handlers of all instances have seen. Some of the batches fail in part, from some message on."""

    def __init__(self, chance: random.Random) -> None:
        self.first: dict[str, list[int]] = defaultdict(list)
        self.handled: Counter[int] = Counter()
        self.groups_of_batches: list[int] = []
        self._chance = chance

    def handle(self, invocation: Invocation) -> Outcome:
        records = orjson.loads(invocation.payload)["Records"]
        self.groups_of_batches.append(len({one["attributes"]["MessageGroupId"] for one in records}))
        good_ones = self._chance.randrange(len(records)) if self._chance.random() < 0.05 else len(records)
        for one in records[:good_ones]:
            number = int(one["body"])
            self.handled[number] += 1
            if self.handled[number] == 1:
                self.first[one["attributes"]["MessageGroupId"]].append(number)
        failed = [{"itemIdentifier": one["messageId"]} for one in records[good_ones:]]
        return good(orjson.dumps({"batchItemFailures": failed}))


@pytest.mark.timeout(120)
async def test_no_message_of_a_group_is_overtaken_though_instances_die(redis_url: str) -> None:
    chance = random.Random(4)  # chance has a seed: a failure can be looked at again
    client, key = Redis.from_url(redis_url), f"jobs-{uuid.uuid4().hex}.fifo"
    order = Order(chance)
    source_arn = f"arn:hearth:redis:us-east-1:000000000000:hearth/list/{key}"
    wanted = mapping(source_arn=source_arn, response_types=("ReportBatchItemFailures",), retry_attempts=-1)
    sent: dict[str, list[int]] = defaultdict(list)

    async def produce() -> None:
        for number in range(MESSAGES):
            group = f"g{chance.randrange(GROUPS)}"
            sent[group].append(number)
            element = pack_envelope(Envelope(f"id-{number}", b"%d" % number, Head(sent_ms=0, group_id=group)))
            await client.rpush(key, element)

    instances = [Instance(redis_url, wanted, order.handle) for _ in range(2)]

    async def murder() -> None:
        for _ in range(8):
            await asyncio.sleep(chance.random() * 0.2)
            victim = instances.pop(chance.randrange(len(instances)))
            await victim.kill()
            instances.append(Instance(redis_url, wanted, order.handle, previous_run=victim.run))

    async def is_done() -> bool:
        return len(order.handled) == MESSAGES and not await client.exists(f"{stem_of(key)}:messages", key)

    await asyncio.gather(produce(), murder())
    await until(is_done)
    for instance in instances:
        await instance.stop()

    assert order.first == sent
    assert set(order.groups_of_batches) == {1}
    assert not await client.exists(f"{key}:dead")
    await client.aclose()
