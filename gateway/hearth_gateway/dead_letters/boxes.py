"""Every box there is.

| name | what |
|---|---|
| `function/<name>` | asynchronous events of a function that were given up, in the default store |
| `target/<ARN or URL>` | what could not be delivered there, in the default store |
| `queue/<name>` | a queue or list of Hearth's own Redis that takes dead letters |
| `list/<connection>/<key>` | the same on a named connection |
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

from hearth.core.errors import ResourceNotFound
from hearth_gateway.core.addresses import OWN_CONNECTION, ListAddress, QueueAddress, parse_address
from hearth_gateway.core.dead_letter import FUNCTION_BOX, TARGET_BOX
from hearth_gateway.core.dead_view import Dead, of_element
from hearth_gateway.core.mapping import EventSourceMapping, SourceKind
from hearth_gateway.core.sqs_attributes import redrive_policy
from hearth_gateway.dead_letters.ports import Box, BoxUnavailable
from hearth_gateway.queues.ports import Lying, Move, Peeked, QueueBook, QueueStore
from hearth_gateway.sources.ports import QueueUnavailable

QUEUE_BOX = "queue/"
LIST_BOX = "list/"
SEARCHED = 100_000
"""How many messages of a queue are looked at for an id."""
PIECE = 500


class QueueBox:
    """A queue of Hearth's own. Messages that somebody holds are seen, but neither sent again nor thrown away singly."""

    def __init__(self, store: QueueStore, name: str) -> None:
        self._store = store
        self._name = name

    async def count(self) -> int:
        try:
            counts = await self._store.counts(self._name)
        except QueueUnavailable as error:
            raise BoxUnavailable(str(error)) from error
        return counts.visible + counts.in_flight + counts.delayed

    async def page(self, after: int, limit: int, until_ms: int | None = None) -> Sequence[Dead]:
        return [_dead(one) for one in await self._peek(after, limit)]

    async def find(self, ids: Collection[str]) -> Sequence[Dead]:
        return [dead for dead, _ in await self._search(ids)]

    async def revive(self, letters: Sequence[Dead], now_ms: int) -> int:
        found = await self._search([one.id for one in letters])
        moves = [Move(one, target, dead.revived) for dead, one in found if (target := _own_queue(dead.source))]
        return await self._move(moves)

    async def remove(self, letters: Sequence[Dead]) -> int:
        return await self._move([Move(one, None) for _, one in await self._search([one.id for one in letters])])

    async def purge(self) -> int:
        count = await self.count()
        try:
            await self._store.purge(self._name)
        except QueueUnavailable as error:
            raise BoxUnavailable(str(error)) from error
        return count

    async def _search(self, ids: Collection[str]) -> list[tuple[Dead, Peeked]]:
        wanted, found = set(ids), list[tuple[Dead, Peeked]]()
        for start in range(0, SEARCHED, PIECE):
            page = await self._peek(start, PIECE)
            known = ((_dead(one), one) for one in page if one.lying is Lying.VISIBLE)
            found += [(dead, one) for dead, one in known if dead.id in wanted]
            if len(page) < PIECE or len(found) >= len(wanted):
                break
        return found

    async def _peek(self, start: int, limit: int) -> Sequence[Peeked]:
        try:
            return await self._store.peek(self._name, start, limit) if limit else ()
        except QueueUnavailable as error:
            raise BoxUnavailable(str(error)) from error

    async def _move(self, moves: Sequence[Move]) -> int:
        try:
            return await self._store.move(self._name, moves) if moves else 0
        except QueueUnavailable as error:
            raise BoxUnavailable(str(error)) from error


class AllBoxes:
    """The `Boxes` of this Hearth. `mappings` gives the event source mappings, `of_store` the default store's names."""

    def __init__(
        self,
        book: QueueBook,
        store: QueueStore,
        *,
        mappings: Callable[[], Sequence[EventSourceMapping]],
        of_store: Callable[[], Awaitable[Sequence[str]]],
        open_store: Callable[[str], Box],
        open_list: Callable[[str, str], Box],
    ) -> None:
        self._book = book
        self._store = store
        self._mappings = mappings
        self._of_store = of_store
        self._open_store = open_store
        self._open_list = open_list

    async def names(self) -> Sequence[str]:
        found = set(await self._of_store())
        for mapping in self._mappings():
            found.update(_of_mapping(mapping))
        try:
            for name in await self._book.names():
                queue = await self._book.find(name)
                policy = None if queue is None else redrive_policy(queue.attributes)
                found.update(_of_arn(policy[0]) if policy is not None else ())
        except QueueUnavailable as error:
            raise BoxUnavailable(str(error)) from error
        return sorted(found)

    def open(self, name: str) -> Box:
        kind, _, rest = name.partition("/")
        if name.startswith((FUNCTION_BOX, TARGET_BOX)) and rest:
            return self._open_store(name)
        if kind == "queue" and rest:
            return QueueBox(self._store, rest)
        connection, _, key = rest.partition("/")
        if kind == "list" and connection and key:
            return self._open_list(connection, key)
        raise ResourceNotFound(f"There is no box named {name!r}.")


def _of_mapping(mapping: EventSourceMapping) -> Iterator[str]:
    if mapping.kind not in (SourceKind.QUEUE, SourceKind.LIST) or not isinstance(
        mapping.source, ListAddress | QueueAddress
    ):
        return
    connection = mapping.address.connection
    if mapping.is_failure_posted:
        yield from _of_arn(mapping.on_failure or "")
    elif connection == OWN_CONNECTION:
        yield QUEUE_BOX + mapping.dead_letter_key
    elif isinstance(mapping.source, ListAddress):
        yield f"{LIST_BOX}{connection}/{mapping.dead_letter_key}"


def _of_arn(arn: str) -> Iterator[str]:
    match parse_address(arn):
        case QueueAddress(name=name, connection=""):
            yield QUEUE_BOX + name
        case ListAddress(connection=connection, key=key):
            yield QUEUE_BOX + key if connection == OWN_CONNECTION else f"{LIST_BOX}{connection}/{key}"
        case _:
            return  # what lies elsewhere is not ours to look into


def _own_queue(arn: str) -> str | None:
    match parse_address(arn):
        case QueueAddress(name=name, connection=""):
            return name
        case ListAddress(connection=connection, key=key) if connection == OWN_CONNECTION:
            return key
        case _:
            return None


def _dead(peeked: Peeked) -> Dead:
    return of_element(peeked.element, peeked.envelope)
