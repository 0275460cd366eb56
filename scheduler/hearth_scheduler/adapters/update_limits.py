"""`Limits` through the engine, where control group files cannot be written: an engine elsewhere, or no root."""

from contextlib import suppress
from functools import partial

from docker.errors import NotFound

from hearth_scheduler.adapters.cgroup_limits import quota_us
from hearth_scheduler.adapters.cgroup_paths import Hierarchies
from hearth_scheduler.adapters.cgroup_readings import CgroupReadings
from hearth_scheduler.adapters.docker_engine import ClientFactory, EngineClients, engine_client
from hearth_scheduler.adapters.docker_template import CPU_PERIOD_US
from hearth_scheduler.adapters.worker_threads import WorkerThreads
from hearth_scheduler.ports import Container

_NO_QUOTA = -1


class DockerUpdateLimits(CgroupReadings):
    """20 ms per change. Readings are still the kernel's; where it hides them they are 0."""

    def __init__(self, hierarchies: Hierarchies, *, client: ClientFactory = engine_client) -> None:
        super().__init__(hierarchies)
        self._clients = EngineClients(client)
        self._threads = WorkerThreads("hearth-limits", 4)

    async def apply(self, container: Container, *, memory_mib: int, cpus: float | None) -> None:
        """Raises ContainerError if the engine refuses; a container that is gone is not an error."""
        await self._threads.run(partial(self._update, container.id, memory_mib * 2**20, quota_us(cpus)))

    def _update(self, container_id: str, memory: int, quota: int | None) -> None:
        with self._clients.calling() as api, suppress(NotFound):
            api.update_container(
                container_id,
                mem_limit=memory,
                memswap_limit=memory,
                cpu_period=CPU_PERIOD_US,
                cpu_quota=_NO_QUOTA if quota is None else quota,
            )

    def close(self) -> None:
        """Close the connections."""
        self._threads.close()
        self._clients.close()
