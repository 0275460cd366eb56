"""The batch processor of AWS Lambda Powertools, unchanged, on a queue and on a stream, with failures put in."""

import sysconfig
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import redis
from tests.docker.house import House, eventually, unique
from tests.docker.witness import CLIENT, Witness

pytestmark = pytest.mark.docker

LIBRARIES = ("aws_lambda_powertools", "jmespath", "typing_extensions.py")
MESSAGES = 40
ARN = "arn:hearth:redis:us-east-1:000000000000:hearth/stream/"

# Every fifth message fails twice before it is handled. There is one environment, so it knows how often.
HANDLER = """
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

processor = BatchProcessor(event_type=EventType.%s)
tries = {}

def one(record):
    name = %s
    tries[name] = tries.get(name, 0) + 1
    tell(name)
    if int(name[1:]) %% 5 == 0 and tries[name] < 3:
        raise ValueError(f"{name} is not ready")

def handler(event, context):
    return process_partial_response(event=event, record_handler=one, processor=processor, context=context)
"""


@cache
def libraries() -> dict[str, bytes]:
    """What `pip install --target` would put beside the handler."""
    site = Path(sysconfig.get_path("purelib"))
    found: dict[str, bytes] = {}
    for name in LIBRARIES:
        place = site / name
        for file in [place] if place.is_file() else place.rglob("*.py"):
            found[str(file.relative_to(site))] = file.read_bytes()
    return found


def create(hearth: House, witness: Witness, event_type: str, name_of: str) -> str:
    handler = CLIENT + HANDLER % (event_type, name_of)
    files: dict[str, str | bytes] = {"app.py": handler, **libraries()}
    return hearth.create("powertools", files, memory_mb=256, variables={"WITNESS": witness.address})


def told(witness: Witness) -> "Counter[str]":
    return Counter(witness.lines())


def test_the_batch_processor_works_on_a_queue(hearth: House, witness: Witness, store: "redis.Redis") -> None:
    name, queue = create(hearth, witness, "SQS", "record.body"), unique("powertools")
    hearth.api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    store.rpush(queue, *[f"m{number}" for number in range(MESSAGES)])
    hearth.map_queue(name, hearth.queue_arn(queue), FunctionResponseTypes=["ReportBatchItemFailures"])
    expected = {f"m{number}": 3 if number % 5 == 0 else 1 for number in range(MESSAGES)}
    eventually(lambda: told(witness) == expected, "each is handled, and only what failed comes again", 60)
    assert store.llen(f"{queue}:dead") == 0


def test_the_batch_processor_works_on_a_stream(hearth: House, witness: Witness, store: "redis.Redis") -> None:
    data = "record.kinesis.data_as_text()"
    name, stream = create(hearth, witness, "KinesisDataStreams", data), unique("powertools")
    hearth.api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    for number in range(MESSAGES):
        store.xadd(stream, {"data": f"m{number}", "partitionKey": "one"})
    hearth.map_queue(
        name,
        ARN + stream,
        BatchSize=10,
        StartingPosition="TRIM_HORIZON",
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    everything = {f"m{number}" for number in range(MESSAGES)}
    eventually(lambda: set(told(witness)) == everything and told(witness)["m35"] == 3, "all are handled", 90)
    times = told(witness)
    # The processor goes on after a failure, so what follows one in its batch is handled again; what precedes is not.
    assert all(times[f"m{number}"] == 3 for number in range(0, MESSAGES, 5))
    last = {line: index for index, line in enumerate(witness.lines())}
    assert [name for name, _ in sorted(last.items(), key=lambda item: item[1])] == [f"m{n}" for n in range(MESSAGES)]
