"""In-memory doubles of the platform's ports. They pass the same contract suite as the real things."""

from hearth.core.errors import ServiceError


class InMemoryStore:
    """A `FunctionStore` and a `MappingStore`: both are records by key.

    `fail_next` makes the next write fail before it has any effect, as a lost connection does.
    """

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.fail_next = False

    async def load_all(self) -> dict[str, bytes]:
        return dict(self.records)

    async def put(self, key: str, record: bytes, /, *, is_reproducible: bool = False) -> None:
        self._fail_if_told()
        self.records[key] = record

    async def delete(self, key: str, /) -> None:
        self._fail_if_told()
        self.records.pop(key, None)

    def _fail_if_told(self) -> None:
        if self.fail_next:
            self.fail_next = False
            raise ServiceError("The store is not available.")
