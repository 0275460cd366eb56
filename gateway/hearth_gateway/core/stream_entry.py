"""Entries of a Redis stream, and what they are as records of Lambda's: key, data, sequence number.

Source: Redis, "Streams" (ids are `<milliseconds>-<sequence>`, both 64 bits); Amazon Kinesis Data Streams API, Record.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import orjson

KEY_FIELD = "partitionKey"
"""The field that says which records are to stay in order among themselves, unless the mapping's tag names another."""
DATA_FIELD = b"data"
"""The field that is a record's data. An entry without one has all its fields as data, as a JSON object."""
MOST = 2**64 - 1
ENTRY_OVERHEAD_BYTES = 600
"""What the record shape adds to an entry, at most, but for its key and its fields."""
SHARD = "shardId-000000000000"
"""A Redis stream is one shard, however many lanes read it."""


class EntryId(NamedTuple):
    """An entry's id: orders as entries do."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "EntryId":
        ms, _, seq = text.partition("-")
        return cls(int(ms), int(seq or 0))

    def before(self) -> "EntryId":
        """The greatest id that is smaller; the first id has none and stays."""
        if self.seq:
            return EntryId(self.ms, self.seq - 1)
        return EntryId(self.ms - 1, MOST) if self.ms else self

    @property
    def sequence_number(self) -> str:
        """The id as a Kinesis sequence number: digits only, ordered as text and as a number alike."""
        return f"49{self.ms:020d}{self.seq:020d}"


BEGINNING = EntryId(0, 0)
"""Before every entry: Redis refuses this id for one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it was read. Fields keep their order; Redis lets a name come twice."""

    id: EntryId
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def size_bytes(self) -> int:
        """Roughly what its record takes in an event: base64, and the fields once more."""
        carried = sum(len(name) + len(value) for name, value in self.fields)
        return ENTRY_OVERHEAD_BYTES + carried * 2

    def field(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.fields if known == name), None)

    def key(self, key_field: str) -> bytes:
        """The partition key. An entry without one stands alone: nothing says what it must stay in order with."""
        found = self.field(key_field.encode())
        return str(self.id).encode() if found is None else found

    @property
    def data(self) -> bytes:
        """What the producer sent."""
        found = self.field(DATA_FIELD)
        return orjson.dumps({text(name): text(value) for name, value in self.fields}) if found is None else found


def text(value: bytes) -> str:
    """The bytes as text; base64 of those that are not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def is_text(value: bytes) -> bool:
    """Whether `text` gives the bytes as they are."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def lane_of(key: bytes, factor: int) -> int:
    """The lane of a partition key among so many: the same in every run."""
    if factor == 1:
        return 0
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) % factor
