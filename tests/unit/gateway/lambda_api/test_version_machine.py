"""Versions and aliases under any order of operations, against a model that is a handful of dictionaries."""

from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.gateway.lambda_api.harness import ENDPOINT

from hearth.core.errors import HearthError, ResourceConflict, ResourceNotFound
from hearth.core.function import LATEST, FunctionName
from hearth.core.records import (
    Configuration,
    Deployment,
    FunctionRecord,
    Package,
    Phase,
    Reason,
    VersionRecord,
)
from hearth.registry import Change, Configured, Forgotten, Limited, Provisioned, Registry, Withdrawn
from hearth.testing import InMemoryStore
from hearth.wire import decode_record
from hearth_gateway.core import versions
from hearth_gateway.lambda_api.aliases import AliasOperations
from hearth_gateway.lambda_api.api import Answer, Parameters
from hearth_gateway.lambda_api.function_urls import FunctionUrlOperations
from hearth_gateway.lambda_api.versions import VersionOperations

T = TypeVar("T")

NAMES = st.sampled_from(["a", "a", "a", "b"])
ALIASES = st.sampled_from(["live", "next"])
RARELY = st.sampled_from([False, False, False, False, False, True])
CODES = st.sampled_from(["aa", "bb", "cc"])
BROKEN = Reason("InvalidZipFileException", "broken")


def done(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


@dataclass
class Known:
    """What the model knows of a function."""

    code: str
    frozen: dict[str, Deployment] = field(default_factory=dict)
    aliases: dict[str, set[str]] = field(default_factory=dict)
    urls: set[str] = field(default_factory=set)
    highest: int = 0


class Follower:
    """What the scheduler would know, from the changes alone."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, str], str] = {}

    def follow(self, change: Change) -> None:
        match change:
            case Configured(version):
                self.running[(version.name, version.version)] = version.code_sha256
            case Withdrawn(name, number):
                del self.running[(name, number)]
            case Forgotten(name):
                self.running = {key: code for key, code in self.running.items() if key[0] != name}
            case Limited() | Provisioned():
                pass


class Versions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = InMemoryStore()
        self.registry = Registry(self.store)
        self.follower = Follower()
        self.registry.on_change(self.follower.follow)
        self.ids = 0
        self.known: dict[str, Known] = {}
        self.operations = VersionOperations(ENDPOINT, self.registry, clock=lambda: 0.0, new_id=self.new_id)
        self.aliases = AliasOperations(ENDPOINT, self.registry, new_id=self.new_id)
        self.urls = FunctionUrlOperations(ENDPOINT, self.registry, clock=lambda: 0.0, new_id=self.new_id)

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:032}"

    def record(self, name: str) -> FunctionRecord:
        record = self.registry.find(name)
        assert record is not None
        return record

    def put(self, record: FunctionRecord) -> None:
        done(self.registry.put(record))

    def tried(self, answer: Coroutine[Any, Any, Answer]) -> bool:
        """Whether the operation was done; refusals are documented errors."""
        try:
            done(answer)
        except HearthError as error:
            assert error.status < 500, error
            return False
        return True

    @rule(name=NAMES, code=CODES, reserved=st.sampled_from([None, 5]))
    def create(self, name: str, code: str, reserved: int | None) -> None:
        if name in self.known:
            return
        deployment = Deployment(Configuration("role", "python3.13", "app.handler"), Package(code, 1))
        latest = VersionRecord(LATEST, deployment, self.new_id(), 0)
        self.put(FunctionRecord(FunctionName(name), "us-east-1", ENDPOINT.account, latest, reserved=reserved))
        self.known[name] = Known(code)

    @initialize()
    def begin(self) -> None:
        """Both functions are there from the start, so that most steps find something to do."""
        for name in ("a", "b"):
            self.create(name, "aa", None)
            self.settle(name, is_broken=False)

    @rule(name=NAMES, is_broken=RARELY)
    def settle(self, name: str, is_broken: bool) -> None:
        """What waits for its packages gets them, or proves to be broken."""
        if name not in self.known:
            return
        record = self.record(name)
        for version in (record.latest, *record.versions.values()):
            if version.phase in (Phase.PENDING, Phase.UPDATING):
                ended = version.broken(BROKEN, self.new_id()) if is_broken else version.ready(self.new_id())
                record = record.with_version(ended)
        self.put(record)

    def number(self, data: st.DataObject, name: str) -> str:
        """A version that there is, or was, or never will be."""
        highest = self.known[name].highest if name in self.known else 0
        return data.draw(st.sampled_from([LATEST, *map(str, range(1, highest + 1)), "9"]))

    @rule(name=NAMES, code=CODES, timeout=st.integers(1, 3), is_published=st.booleans(), is_settled=st.booleans())
    def update(self, name: str, code: str, timeout: int, *, is_published: bool, is_settled: bool) -> None:
        if name not in self.known:
            return
        record, known = self.record(name), self.known[name]
        if record.latest.phase in (Phase.PENDING, Phase.UPDATING):
            return
        configuration = replace(record.latest.deployment.configuration, timeout_s=timeout)
        deployment = Deployment(configuration, Package(code, 1))
        record = replace(record, latest=record.latest.changed(deployment, self.new_id(), 1))
        if is_settled:
            record = record.with_version(record.latest.ready(self.new_id()))
        if is_published:
            record, version = versions.published(record, description=None, revision_id=self.new_id(), now_ms=1)
            self.note_publication(known, version, deployment)
        self.put(record)

    @rule(name=NAMES, description=st.sampled_from(["", "x"]))
    def publish(self, name: str, description: str) -> None:
        if not self.tried(self.operations.publish(Parameters(FunctionName=name, Description=description))):
            return
        record = self.record(name)
        newest = versions.newest(record)
        assert newest is not None
        self.note_publication(self.known[name], newest, record.latest.deployment)

    def note_publication(self, known: Known, version: VersionRecord, deployment: Deployment) -> None:
        """A new number is the next one; an old one is the newest there is, and says the same."""
        if version.version not in known.frozen:
            known.highest += 1
            assert version.version == str(known.highest)
            known.frozen[version.version] = deployment
        assert known.frozen[version.version] == deployment
        assert version.version == max(known.frozen, key=int)

    @rule(name=NAMES, data=st.data())
    def delete_version(self, name: str, data: st.DataObject) -> None:
        if name not in self.known or not self.known[name].frozen:
            return
        number = data.draw(st.sampled_from(sorted(self.known[name].frozen)))
        known = self.known[name]
        is_used = any(number in targets for targets in known.aliases.values())
        try:
            self.put(versions.without_version(self.record(name), number))
            assert not is_used
            del known.frozen[number]
        except ResourceConflict:
            assert is_used

    @rule(name=NAMES, alias=ALIASES, data=st.data(), is_shared=st.booleans(), is_odd=RARELY)
    def point(self, name: str, alias: str, data: st.DataObject, is_shared: bool, is_odd: bool) -> None:
        number, other = self.number(data, name), self.number(data, name)
        weights = {other: 0.5} if is_shared and other != LATEST else {}
        is_new = is_odd == (name in self.known and alias in self.known[name].aliases)
        members = Parameters(
            FunctionName=name,
            Name=alias,
            FunctionVersion=number,
            RoutingConfig={"AdditionalVersionWeights": weights},
        )
        if self.tried(self.aliases.create(members) if is_new else self.aliases.update(members)):
            assert is_new == (alias not in self.known[name].aliases)
            self.known[name].aliases[alias] = {number, *weights}

    @rule(name=NAMES, alias=ALIASES)
    def delete_alias(self, name: str, alias: str) -> None:
        if self.tried(self.aliases.delete(Parameters(FunctionName=name, Name=alias))):
            self.known[name].aliases.pop(alias, None)
            self.known[name].urls.discard(alias)

    @rule(name=NAMES, data=st.data())
    def give_url(self, name: str, data: st.DataObject) -> None:
        existing = sorted(self.known[name].aliases) if name in self.known else []
        alias = data.draw(st.sampled_from([*existing, "old", None]))
        members = Parameters(FunctionName=name, AuthType="NONE", **({"Qualifier": alias} if alias else {}))
        if self.tried(self.urls.create(members)):
            self.known[name].urls.add(alias or LATEST)

    @rule(name=NAMES, is_meant=RARELY)
    def delete(self, name: str, is_meant: bool) -> None:
        if not is_meant:
            return
        done(self.registry.remove(FunctionName(name)))
        self.known.pop(name, None)

    @invariant()
    def every_function_is_known(self) -> None:
        assert len(self.registry) == len(self.known)
        records, _ = self.registry.page("", 10)
        assert [record.name for record in records] == sorted(self.known)

    @invariant()
    def versions_never_change_and_aliases_never_dangle(self) -> None:
        for name, known in self.known.items():
            record = self.record(name)
            assert {number: version.deployment for number, version in record.versions.items()} == known.frozen
            assert record.last_version == known.highest
            assert {alias.name: set(alias.versions) for alias in record.aliases.values()} == known.aliases
            for alias in record.aliases:
                for chance in (0.0, 0.4, 0.6):
                    assert record.find(alias, chance) is not None

    @invariant()
    def what_is_stored_is_what_is_known(self) -> None:
        assert self.store.records.keys() == self.known.keys()
        for name, stored in self.store.records.items():
            assert decode_record(stored) == self.record(name)

    @invariant()
    def totals_and_indexes_are_what_counting_gives(self) -> None:
        records = list(self.registry)
        assert self.registry.reserved == sum(record.reserved or 0 for record in records)
        assert self.registry.packages() == {sha256 for record in records for sha256 in record.packages}
        for record in records:
            assert record.urls.keys() == self.known[record.name].urls
            for qualifier, url in record.urls.items():
                assert self.registry.find_by_url(url.url_id) == (record, qualifier)

    @invariant()
    def the_scheduler_knows_what_runs(self) -> None:
        expected = {
            (record.name, number): running.code_sha256
            for record in self.registry
            for number, running in record.running.items()
        }
        assert self.follower.running == expected

    def teardown(self) -> None:
        """A restart arrives at the same."""
        again = Registry(self.store)
        done(again.load())
        assert {record.name: record for record in again} == {record.name: record for record in self.registry}
        assert (again.reserved, again.packages()) == (self.registry.reserved, self.registry.packages())
        for name in {"a", "b"} - self.known.keys():
            try:
                done(self.operations.publish(Parameters(FunctionName=name)))
                raise AssertionError("there is no such function")
            except ResourceNotFound:
                pass


TestVersions = Versions.TestCase
TestVersions.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
