"""What sources see of the registry."""

from hearth.core.function import FunctionName
from hearth.core.records import Configuration, Deployment, FunctionRecord, Package, VersionRecord
from hearth.registry import Registry
from hearth.testing import InMemoryStore
from hearth_gateway.sources.functions import RegistryFunctions


async def test_only_what_can_run_is_current() -> None:
    registry = Registry(InMemoryStore())
    deployment = Deployment(Configuration("role", "python3.13", "app.handler"), Package("0" * 64, 1))
    pending = VersionRecord("$LATEST", deployment, "r", 0)
    functions = RegistryFunctions(registry)

    await registry.put(FunctionRecord(FunctionName("new"), "us-east-1", "000000000000", pending))
    ready = FunctionRecord(FunctionName("worker"), "us-east-1", "000000000000", pending.ready("r2"))
    await registry.put(ready)

    assert functions.current("missing", "") is None
    assert functions.current("new", "") is None
    assert functions.current("worker", "") == functions.current("worker", "$LATEST") == ready.version()
    assert functions.current("worker", "7") is None
