"""A long run by hand: `HEARTH_LONG_CHAOS=1000000 pytest -s tests/docker/test_long_chaos.py`.

So many messages through one Redis list, all of them waiting from the start, while Hearth, function containers and
Redis are killed with SIGKILL and Redis is paused, in random order, until the list is empty. What is promised is
asserted, what is measured is printed: repetitions, rate, and what the queue costs Hearth in memory.
"""

import os
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import docker
import pytest
import redis
from tests.docker.house import House, eventually, house, unique
from tests.docker.test_queue_chaos import unfinished
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

MESSAGES = int(os.environ.get("HEARTH_LONG_CHAOS", "0"))
BETWEEN_S = (4.0, 12.0)
DEEDS = ("daemon", "container", "container", "redis", "pause")
PAUSE_S = 3.0
LIMIT_S = 3_600.0
CHUNK = 10_000

pytestmark = [pytest.mark.docker, pytest.mark.skipif(not MESSAGES, reason="a long run: set HEARTH_LONG_CHAOS")]

HANDLE = CLIENT + "def handler(event, context):\n    tell(' '.join(one['body'] for one in event['Records']))\n"


class Tally:
    """How often each message was handled, kept up as lines come in."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._read = 0
        self.times: Counter[str] = Counter()

    def look(self) -> int:
        """How many different ones there are by now."""
        heard = self._witness.heard()
        for _, line in heard[self._read :]:
            self.times.update(line.split())
        self._read = len(heard)
        return len(self.times)


@pytest.mark.timeout(LIMIT_S + 600)
def test_a_million_messages_survive_everything(docker_engine: docker.DockerClient) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    with (
        house(docker_engine, {"STEM_CELLS": '{"python3.13": 3}'}) as subject,
        listening(subject.gateway()) as witness,
    ):
        queue = unique("long")
        name = subject.create("worker", HANDLE, memory_mb=1769, variables={"WITNESS": witness.address})
        empty_mib = _resident_mib(subject)
        with subject.redis() as store:
            for start in range(0, MESSAGES, CHUNK):
                store.rpush(queue, *[f"m{number}" for number in range(start, min(start + CHUNK, MESSAGES))])
        subject.map_queue(name, subject.queue_arn(queue), ScalingConfig={"MaximumConcurrency": 5})
        began = time.monotonic()
        deeds, most_mib, tally = _rage(subject, witness, chance)
        took_s = time.monotonic() - began
        with subject.redis() as store:
            eventually(lambda: not unfinished(store, queue), "the queue is empty", 120)
            dead = store.llen(f"{queue}:dead")
        tally.look()
        repeated = sum(tally.times.values()) - len(tally.times)
        print(
            f"{MESSAGES} messages in {took_s:.0f} s ({MESSAGES / took_s:.0f}/s) under {dict(deeds)}: "
            f"{len(tally.times)} handled, {repeated} repetitions, at most {max(tally.times.values())} of one, "
            f"{dead} dead; "
            f"Hearth {empty_mib:.0f} MiB before, at most {most_mib:.0f} MiB with the queue",
            flush=True,
        )
        assert (len(tally.times), dead) == (MESSAGES, 0)


def _rage(subject: House, witness: Witness, chance: random.Random) -> "tuple[Counter[str], float, Tally]":
    deeds: Counter[str] = Counter()
    tally, most_mib, until = Tally(witness), 0.0, time.monotonic() + LIMIT_S
    while tally.look() < MESSAGES:
        assert time.monotonic() < until, f"{len(tally.times)} of {MESSAGES} after {LIMIT_S} s"
        next_deed = time.monotonic() + chance.uniform(*BETWEEN_S)
        eventually(lambda: tally.look() == MESSAGES or time.monotonic() > next_deed, "time passes", 60)  # noqa: B023
        most_mib = max(most_mib, _resident_mib(subject))
        if len(tally.times) < MESSAGES:
            deed = chance.choice(DEEDS)
            deeds[deed] += 1
            _do(subject, deed, chance)
            print(f"{len(tally.times)} handled; {deed}", flush=True)
    return deeds, most_mib, tally


def _do(subject: House, deed: str, chance: random.Random) -> None:
    server = subject.containers(role="redis")[0]
    match deed:
        case "daemon":
            subject.kill()
            subject.up()
        case "redis":
            server.kill()
            server.start()
            eventually(lambda: _answers(subject), "Redis answers", 60)
        case "pause":
            server.pause()
            time.sleep(PAUSE_S)
            server.unpause()
        case _:
            running = [each for each in subject.containers() if each.status == "running"]
            with suppress(docker.errors.APIError, IndexError):  # it has just ended
                chance.choice(running).kill()


def _answers(subject: House) -> bool:
    try:
        with subject.redis() as store:
            return bool(store.ping())
    except redis.RedisError:
        return False


def _resident_mib(subject: House) -> float:
    pages = int(Path(f"/proc/{subject.pid()}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
