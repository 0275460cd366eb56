"""What a measurement is, and what it is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import docker
from tests.bench.figures import Row
from tests.bench.load import Target
from tests.bench.subject import Hearth

DEFAULTS: Mapping[str, str] = {}
NOTHING_WARM: Mapping[str, str] = {"STEM_CELLS": "{}", "STEM_CELLS_MAX": "0"}
LARGE_STOCK: Mapping[str, str] = {"STEM_CELLS": '{"python3.13": 64}', "STEM_CELLS_MAX": "96"}
SHORT_IDLE: Mapping[str, str] = {"IDLE_TIMEOUT_S": "0.5"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: enough to mean something, or enough to see that it works."""

    chunks: int
    chunk_s: float
    cold_starts: int
    messages: int
    queue_messages: int
    requests: int
    idle_functions: int
    many_functions: int


FULL = Size(
    chunks=5,
    chunk_s=3.0,
    cold_starts=20,
    messages=500,
    queue_messages=10_000,
    requests=100_000,
    idle_functions=50,
    many_functions=5_000,
)
USUAL = Size(
    chunks=5,
    chunk_s=2.0,
    cold_starts=20,
    messages=300,
    queue_messages=5_000,
    requests=20_000,
    idle_functions=50,
    many_functions=5_000,
)
QUICK = Size(
    chunks=2,
    chunk_s=1.0,
    cold_starts=5,
    messages=50,
    queue_messages=500,
    requests=2_000,
    idle_functions=10,
    many_functions=200,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """The surroundings of a measurement."""

    hearth: Hearth
    hello: Target
    hello_pid: int
    engine: docker.DockerClient
    size: Size
    tell: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One or more rows that are measured together, by a Hearth with these settings.

    `is_first`: on a Hearth that has not measured anything yet, since its stock of stem cells follows demand.
    """

    name: str
    settings: Mapping[str, str]
    measure: Callable[[Bench], list[Row]]
    is_first: bool = False
