"""What containers are asked for: stem cells, all alike, and environments that are started for one function.

Rule 1: a stem cell gets nothing of a function; its code, limits and variables come when it becomes one.
Rule 2: whatever is started for one function has everything from the first moment, because its runtime begins with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hearth.core.function import FunctionVersion
from hearth_scheduler.core import variables
from hearth_scheduler.member import Member
from hearth_scheduler.ports import ContainerError, ContainerRequest, Credentials, Launch

STEM_CONTAINER_MIB = 256
"""The memory limit a stem cell starts with; the function's own replaces it before its code is loaded."""
ORPHAN_S = 600
INIT = "/hearth/init"
BOOTSTRAP = "/var/runtime/bootstrap"

_FOR_INIT = {
    "HEARTH_SOCKET": "/run/hearth/environment.sock",
    "HEARTH_ORPHAN_S": str(ORPHAN_S),
    "AWS_LAMBDA_RUNTIME_API": variables.RUNTIME_API,
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every environment of this run shares. `images`: the image of each interpreter; `interpreters`: what runs a
    runtime identifier, where that has another name; `endpoints`: the variables that say where AWS is."""

    region: str
    epoch: str
    images: Mapping[str, str] = field(default_factory=dict)
    interpreters: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials | None = None

    def variables(self, member: Member, function: FunctionVersion) -> dict[str, str]:
        """All that this environment finds in its variables."""
        issued = self.credentials.issue(function.role, function.name) if self.credentials and function.role else {}
        setting = variables.Setting(
            interpreter=member.runtime,
            region=self.region,
            log_stream=member.stream,
            endpoints=self.endpoints,
            credentials=issued,
            is_provisioned=member.is_provisioned,
        )
        return variables.compose(function, setting)

    def interpreter(self, function: FunctionVersion) -> str:
        """What runs the function; nothing of ours runs an image."""
        return "" if function.image is not None else self.interpreters.get(function.runtime, function.runtime)

    def image(self, interpreter: str) -> str:
        found = self.images.get(interpreter)
        if found is None:
            raise ContainerError(f"no image for {interpreter}")
        return found


def stem_request(member: Member, around: Surroundings) -> ContainerRequest:
    """A generic container of a runtime."""
    return ContainerRequest(
        environment_id=member.id,
        image=around.image(member.runtime),
        command=(INIT, BOOTSTRAP),
        places=member.places,
        epoch=around.epoch,
        runtime=member.runtime,
        memory_mib=STEM_CONTAINER_MIB,
        cpus=None,
        variables={**_FOR_INIT, "HEARTH_STEM": "1"},
    )


def function_request(member: Member, function: FunctionVersion, around: Surroundings) -> ContainerRequest:
    """A container for this function alone: of its own image, or of a runtime whose client asks the Runtime API. No CPU
    quota during init: at 128 MB it would take ten times as long."""
    return ContainerRequest(
        environment_id=member.id,
        image=around.image(member.runtime) if function.image is None else function.image.image,
        command=(INIT,),
        places=member.places,
        epoch=around.epoch,
        runtime=member.runtime,
        memory_mib=function.memory_mib,
        cpus=None,
        variables={
            **around.variables(member, function),
            **_FOR_INIT,
        },
        launch=_launch(function),
    )


def _launch(function: FunctionVersion) -> Launch:
    image = function.image
    if image is None:
        return Launch((BOOTSTRAP,), (), variables.TASK_ROOT, has_code=True)
    return Launch(image.entry_point, image.command, image.working_directory, has_code=False)
