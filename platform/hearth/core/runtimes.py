"""Lambda's runtime identifiers, and which interpreter runs each of them here.

Rule 1: one table knows every identifier of the API, the deprecated ones included: what somebody's template names is
accepted as long as its family has an interpreter here.
Rule 2: an interpreter that is missing is replaced by the nearest of its family, and the answer says so. A newer one is
nearer than any older one: languages keep what they could do, and rarely learn it backwards.
Rule 3: families do not mix. Python 2 is not an old Python 3: its code would not even load.
Source: the enum `Runtime` of the Lambda API; "Lambda runtimes" in the AWS Lambda developer guide.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from hearth.core.errors import InvalidParameterValue


class Family(Enum):
    """Runtimes whose code can, with luck, run on one another's interpreters."""

    PYTHON = "Python"
    PYTHON_2 = "Python 2"
    NODEJS = "Node.js"
    JAVA = "Java"
    RUBY = "Ruby"
    DOTNET = ".NET"
    PROVIDED = "OS-only"
    CUSTOM = "custom"


class Nearness(Enum):
    """How well what runs an identifier fits it."""

    EXACT = "exact"
    OWN = "own"  # an image that the operator named
    NEAREST = "nearest"


_IDENTIFIER = re.compile(r"(?P<name>[a-z]++)\.?(?P<version>.+?)(?:\.x)?")

# Oldest first. One row is one interpreter: its first identifier names it (and its image), the others run on it too.
_TABLE: Mapping[Family, tuple[tuple[str, ...], ...]] = {
    Family.PYTHON_2: (("python2.7",),),
    Family.PYTHON: tuple((f"python3.{minor}",) for minor in range(6, 16)),
    Family.NODEJS: (
        ("nodejs",),
        ("nodejs4.3", "nodejs4.3-edge"),
        ("nodejs6.10",),
        ("nodejs8.10",),
        *((f"nodejs{major}.x",) for major in range(10, 28, 2)),
    ),
    Family.JAVA: (
        ("java8", "java8.al2", "java8.al2023"),
        ("java11", "java11.al2023"),
        ("java17", "java17.al2023"),
        ("java21",),
        ("java25",),
    ),
    Family.RUBY: (("ruby2.5",), ("ruby2.7",), ("ruby3.2",), ("ruby3.3",), ("ruby3.4",), ("ruby4.0",)),
    Family.DOTNET: (
        ("dotnetcore1.0",),
        ("dotnetcore2.0",),
        ("dotnetcore2.1",),
        ("dotnetcore3.1",),
        ("dotnet6",),
        ("dotnet8",),
        ("dotnet10",),
    ),
    # A function of these brings its own interpreter; Go's old runtime is a program under the handler's name.
    Family.PROVIDED: (("provided", "provided.al2", "provided.al2023", "go1.x"),),
    Family.CUSTOM: (("custom",),),
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """An identifier, and the interpreter that runs it exactly."""

    identifier: str
    family: Family
    interpreter: str


RUNTIMES: Mapping[str, Runtime] = {
    identifier: Runtime(identifier, family, row[0])
    for family, rows in _TABLE.items()
    for row in rows
    for identifier in row
}


def candidates(identifier: str) -> tuple[str, ...]:
    """The interpreters that could run it, the nearest first: its own, newer ones, older ones. KeyError: unknown."""
    runtime = RUNTIMES[identifier]
    family = [row[0] for row in _TABLE[runtime.family]]
    place = family.index(runtime.interpreter)
    return (*family[place:], *reversed(family[:place]))


def version_label(identifier: str) -> str:
    """An identifier as logs write it: `python3.13` is `python:3.13`, `provided.al2023` is `provided:al2023`."""
    match = _IDENTIFIER.fullmatch(identifier)
    return f"{match['name']}:{match['version']}" if match is not None else identifier


def runtime_version_arn(region: str, identifier: str, interpreter: str) -> str:
    """The ARN of what runs the identifier; another one when another interpreter does, so that the change is seen."""
    digest = hashlib.sha256(f"{identifier} on {interpreter}".encode()).hexdigest()
    return f"arn:aws:lambda:{region}::runtime:{digest}"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is there. `is_stem`: its client speaks the environment protocol, so that it can wait as a stem
    cell; any other starts for one function and asks the Runtime API."""

    reference: str
    is_stem: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs an identifier here. `interpreter` also names the stem cells that can become its functions; for the
    operator's own image it is that image's name. `is_buildable`: the exact interpreter could be here."""

    runtime: Runtime
    interpreter: str
    image: Image
    nearness: Nearness
    is_buildable: bool = False

    def arn(self, region: str) -> str:
        return runtime_version_arn(region, self.runtime.identifier, self.interpreter)

    @property
    def remark(self) -> str | None:
        """What a user has to know about it; None where it is what was asked for."""
        if self.nearness is not Nearness.NEAREST:
            return None
        hint = f" To change that: hearth images build {self.runtime.interpreter}" if self.is_buildable else ""
        return f"{self.runtime.identifier} is not installed here: the function runs on {self.interpreter}.{hint}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What each identifier runs on, on this host.

    `images` are Hearth's, by interpreter; `own` are the operator's, by identifier, and win. `buildable` are the
    interpreters that `hearth images build` can make; `may_substitute` is the setting `runtime_substitution`.
    """

    images: Mapping[str, Image]
    own: Mapping[str, Image] = field(default_factory=dict)
    buildable: frozenset[str] = frozenset()
    may_substitute: bool = True

    @classmethod
    def of(cls, *interpreters: str) -> "Catalogue":
        """Hearth's images of these interpreters, as a fresh installation has them."""
        images = {name: Image(f"hearth/{name}:latest", name.startswith(("python", "node"))) for name in interpreters}
        return cls(images)

    def find(self, identifier: str) -> Choice | None:
        """What runs the identifier, nearest or not, whatever the operator wants new functions to do; None: nothing."""
        runtime = RUNTIMES.get(identifier)
        if runtime is None:
            return None
        if identifier in self.own:
            image = self.own[identifier]
            return Choice(runtime, image.reference, image, Nearness.OWN)
        name = next((name for name in candidates(identifier) if name in self.images), None)
        if name is None:
            return None
        nearness = Nearness.EXACT if name == runtime.interpreter else Nearness.NEAREST
        return Choice(runtime, name, self.images[name], nearness, runtime.interpreter in self.buildable)

    def worth_building(self, identifier: str) -> str | None:
        """The interpreter to build for it: its own, or the nearest one where nothing of its family is here yet. None:
        none can be built, or none would bring it nearer."""
        nearest = next((name for name in candidates(identifier) if name in self.buildable), None)
        is_own = nearest == RUNTIMES[identifier].interpreter
        return nearest if is_own or self.find(identifier) is None else None

    def choices(self) -> Mapping[str, Choice]:
        """What each identifier runs on; those that nothing runs are left out."""
        found = {identifier: self.find(identifier) for identifier in RUNTIMES}
        return {identifier: choice for identifier, choice in found.items() if choice is not None}

    def choice(self, identifier: str) -> Choice:
        """What a new function of this runtime will run on; else the documented refusal, with the way out."""
        if identifier not in RUNTIMES:
            raise InvalidParameterValue(
                f"Value {identifier} at 'runtime' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(sorted(RUNTIMES))}]"
            )
        found = self.find(identifier)
        if found is None or (found.nearness is Nearness.NEAREST and not self.may_substitute):
            raise InvalidParameterValue(self._refusal(RUNTIMES[identifier]))
        return found

    def _refusal(self, runtime: Runtime) -> str:
        own = "name an image of your own for it in the setting runtime_images"
        interpreter = self.worth_building(runtime.identifier)
        if interpreter is not None:
            way_out = f"Run `hearth images build {interpreter}`, or {own}."
        else:
            way_out = f"{own[0].upper()}{own[1:]}."
        return f"Runtime {runtime.identifier} is not installed on this platform. {way_out}"
