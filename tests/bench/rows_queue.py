"""From a Redis list: how soon the handler starts, beside a bare BLMOVE on the same Redis, and how many per second."""

import json
import re
import socket
import threading
import time
from urllib.parse import unquote, urlsplit

from tests.bench import functions
from tests.bench.figures import Row, ms, percentile, quotient
from tests.bench.measurement import Bench
from tests.bench.subject import ONE_VCPU_MIB, Hearth, wait_until

BAR_P50_S = 0.003
BAR_P99_S = 0.020
_GAP_S = 0.01
"""Between two messages, so that each finds the function idle."""
_QUEUE = "bench-queue"
_STARTED = re.compile(r'^\{"started".*\}$', re.MULTILINE)
_DRAIN_LIMIT_S = 120.0


def latency(bench: Bench) -> list[Row]:
    """One message at a time. The handler says when it started; the body says when it was pushed; one clock."""
    bench.tell("message in Redis → handler starts")
    floor = _bare_blmove(bench.hearth, bench.size.messages)
    subject = _message_to_handler(bench)
    p50, p99 = percentile(subject, 50), percentile(subject, 99)
    floor50, floor99 = percentile(floor, 50), percentile(floor, 99)
    return [
        Row(
            f"message in Redis → handler starts, warm, p50 / p99 of {len(subject)}",
            f"{ms(p50)} / {ms(p99)}",
            f"{ms(floor50)} / {ms(floor99)} bare BLMOVE",
            quotient(p50, floor50),
            f"{ms(BAR_P50_S)} / {ms(BAR_P99_S)}",
            p50 <= BAR_P50_S and p99 <= BAR_P99_S,
            {
                "subject_p50_s": p50,
                "subject_p99_s": p99,
                "floor_p50_s": floor50,
                "floor_p99_s": floor99,
                "count": len(subject),
            },
        )
    ]


def throughput(bench: Bench) -> list[Row]:
    """A full list, emptied one message per invocation and ten per invocation. The floor: bare BLMOVEs, one after the
    other, which neither deliver nor acknowledge anything."""
    total = bench.size.queue_messages
    floor = total / _bare_moves_s(bench.hearth, total)
    rows: list[Row] = []
    for batch_size in (1, 10):
        bench.tell(f"queue throughput, batches of {batch_size}")
        rate, seen = _drained_per_s(bench, total, batch_size)
        rows.append(
            Row(
                f"queue throughput, {total} messages, batch size {batch_size}",
                f"{rate:.0f}/s",
                f"{floor:.0f}/s bare BLMOVE, one connection",
                quotient(rate, floor),
                "",
                None,
                {"messages_per_s": rate, "floor_per_s": floor, "handled": seen, "pushed": total},
            )
        )
    return rows


def _message_to_handler(bench: Bench) -> list[float]:
    hearth = bench.hearth
    with hearth.function("when", functions.WHEN, memory_mib=ONE_VCPU_MIB):
        uuid = hearth.map_queue("when", _QUEUE, batch_size=1)
        warm_up = 10
        with hearth.redis() as store:
            for _ in range(bench.size.messages + warm_up):
                store.rpush(_QUEUE, repr(time.time()))
                time.sleep(_GAP_S)
        started = _wait_for(hearth, bench.size.messages + warm_up)
        _unmap(hearth, uuid)
    return [now - sent for now, sent in started[warm_up:]]


def _drained_per_s(bench: Bench, total: int, batch_size: int) -> tuple[float, int]:
    """Messages per second between the first and the last handler's start, and how many were handled."""
    hearth = bench.hearth
    with hearth.function("drain", functions.WHEN, memory_mib=ONE_VCPU_MIB):
        uuid = hearth.map_queue("drain", _QUEUE, batch_size=batch_size)
        with hearth.redis() as store:
            pipeline = store.pipeline(transaction=False)
            for _ in range(total):
                pipeline.rpush(_QUEUE, "0")
            pipeline.execute()
            wait_until(lambda: store.llen(_QUEUE) == 0, "the list is empty", _DRAIN_LIMIT_S)
        starts = sorted(now for now, _ in _wait_for(hearth, total, "drain"))
        _unmap(hearth, uuid)
    return (len(starts) - 1) / max(starts[-1] - starts[0], 1e-9), len(starts)


def _wait_for(hearth: Hearth, total: int, function: str = "when") -> list[tuple[float, float]]:
    """What the handler logged, once it is everything: start and push of every message, in order of start."""
    found: list[tuple[float, float]] = []

    def is_complete() -> bool:
        nonlocal found
        lines = map(json.loads, _STARTED.findall(hearth.log(function)))
        found = sorted((line["started"], sent) for line in lines for sent in line["sent"])
        return len(found) >= total

    wait_until(is_complete, f"{total} messages are handled", _DRAIN_LIMIT_S)
    return found


def _unmap(hearth: Hearth, uuid: str) -> None:
    hearth.api.delete_event_source_mapping(UUID=uuid)

    def is_gone() -> bool:
        try:
            hearth.api.get_event_source_mapping(UUID=uuid)
        except hearth.api.exceptions.ResourceNotFoundException:
            return True
        return False

    wait_until(is_gone, "the queue is no longer polled")


# ---- the floor, without a client library ----


def _connect(hearth: Hearth) -> socket.socket:
    where = urlsplit(hearth.variables["HEARTH_REDIS_URL"])
    connection = socket.create_connection((str(where.hostname), where.port or 6379), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if where.password:
        _ask(connection, "AUTH", unquote(where.password))
    return connection


def _ask(connection: socket.socket, *words: str) -> bytes:
    """One command in RESP (the Redis serialization protocol); the answer as it came, which is short here."""
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
    return connection.recv(4096)


def _bare_blmove(hearth: Hearth, total: int) -> list[float]:
    """Seconds from before RPUSH until a blocked BLMOVE has the message."""
    latencies: list[float] = []
    ready = threading.Semaphore(0)

    def consume() -> None:
        with _connect(hearth) as connection:
            for _ in range(total):
                ready.release()
                answer = _ask(connection, "BLMOVE", "bench-floor", "bench-floor-taken", "LEFT", "RIGHT", "10")
                latencies.append(time.time() - float(answer.split(b"\r\n")[1]))

    consumer = threading.Thread(target=consume, name="bare BLMOVE", daemon=True)
    with _connect(hearth) as producer:
        consumer.start()
        for _ in range(total):
            if not ready.acquire(timeout=30):
                break
            time.sleep(_GAP_S)
            _ask(producer, "RPUSH", "bench-floor", repr(time.time()))
        consumer.join(timeout=30)
        _ask(producer, "DEL", "bench-floor", "bench-floor-taken")
    return latencies


def _bare_moves_s(hearth: Hearth, total: int) -> float:
    """Seconds that so many BLMOVEs take when there is always a message."""
    with _connect(hearth) as connection:
        for _ in range(total):
            _ask(connection, "RPUSH", "bench-floor", "0")
        began = time.perf_counter()
        for _ in range(total):
            _ask(connection, "BLMOVE", "bench-floor", "bench-floor-taken", "LEFT", "RIGHT", "10")
        took_s = time.perf_counter() - began
        _ask(connection, "DEL", "bench-floor", "bench-floor-taken")
    return took_s
