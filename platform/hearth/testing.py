"""In-memory doubles of the platform's ports. They pass the same contract suite as the real things."""

from hearth.core.container_images import FoundImage, deleted, missing, problem, resolved
from hearth.core.errors import ServiceError
from hearth.core.records import ContainerImage
from hearth.ports import ImageUnusable


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


class InMemoryImages:
    """`ContainerImages` without an engine: images by name, on this host or in a registry that can be pulled from."""

    def __init__(self) -> None:
        self.here: dict[str, FoundImage] = {}
        self.registry: dict[str, FoundImage] = {}

    def tag(self, uri: str, digits: str, *, architecture: str = "amd64", size: int = 10**8) -> FoundImage:
        """An image on this host: its id is made of these hex digits. A name that was another's is this one's now."""
        found = FoundImage(f"sha256:{digits * (64 // len(digits))}", (), "linux", architecture, size)
        self.here[uri] = self.here[found.id] = found
        return found

    async def find(self, uri: str) -> ContainerImage:
        if uri != uri.lower():
            raise ImageUnusable(missing(uri, "invalid reference format"))
        return resolved(uri, self.here[uri]) if uri in self.here else ContainerImage(uri, "", "")

    async def ensure(self, image: ContainerImage) -> ContainerImage:
        name = image.resolved or image.uri
        if name not in self.here and name in self.registry:
            found = self.registry[name]
            self.here |= dict.fromkeys((image.uri, found.id, *found.digests), found)
        if name not in self.here:
            raise ImageUnusable(deleted(image) if image.resolved else missing(image.uri))
        wrong = problem(image.uri, self.here[name], "x86_64")
        if wrong is not None:
            raise ImageUnusable(wrong)
        return resolved(image.uri, self.here[name])
