"""Published versions in real containers: what each of them sees, and how those end that are left while they run."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from tests.docker.house import House, eventually, package
from tests.docker.witness import CLIENT, WHO, Witness

pytestmark = pytest.mark.docker

HANDLER = (
    CLIENT
    + WHO
    + """
import os, time
import release

def handler(event, context):
    if event:
        tell("begun in " + environment())
        time.sleep(event["seconds"])
    return {
        "release": release.NUMBER,
        "version": context.function_version,
        "variable": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
        "arn": context.invoked_function_arn,
    }
"""
)


def _release(hearth: House, name: str, number: int) -> str:
    """Publish other code as the next version."""
    code = package({"app.py": HANDLER, "release.py": f"NUMBER = {number}\n"})
    hearth.api.update_function_code(FunctionName=name, ZipFile=code)
    hearth.settled(name)
    return str(hearth.api.publish_version(FunctionName=name)["Version"])


def test_versions_run_side_by_side_each_with_its_own_code(hearth: House, witness: Witness) -> None:
    name = hearth.create("versions", HANDLER, variables={"WITNESS": witness.address})
    numbers = [_release(hearth, name, number) for number in (1, 2, 3)]
    assert numbers == ["1", "2", "3"]
    arn = hearth.api.get_function_configuration(FunctionName=name)["FunctionArn"]
    hearth.api.create_alias(FunctionName=name, Name="live", FunctionVersion="2")
    for qualifier, version, release in (("1", "1", 1), ("2", "2", 2), ("$LATEST", "$LATEST", 3), ("live", "2", 2)):
        answer = hearth.invoke(name, Qualifier=qualifier)
        assert answer.http["x-amz-executed-version"] == version
        assert answer.value == {
            "release": release,
            "version": version,
            "variable": version,
            "arn": f"{arn}:{qualifier}",
        }


def test_what_runs_on_a_version_ends_though_its_alias_moved_and_the_version_is_deleted(
    hearth: House, witness: Witness
) -> None:
    name = hearth.create("moving", HANDLER, variables={"WITNESS": witness.address})
    old, new = _release(hearth, name, 1), _release(hearth, name, 2)
    hearth.api.create_alias(FunctionName=name, Name="live", FunctionVersion=old)
    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(hearth.invoke, name, {"seconds": 3}, Qualifier="live")
        eventually(lambda: witness.count() == 1, "the old version runs")
        with pytest.raises(ClientError, match="alias: live"):
            hearth.api.delete_function(FunctionName=name, Qualifier=old)
        hearth.api.update_alias(FunctionName=name, Name="live", FunctionVersion=new)
        hearth.api.delete_function(FunctionName=name, Qualifier=old)
        assert hearth.invoke(name, Qualifier="live").value["version"] == new
        with pytest.raises(ClientError, match="Function not found"):
            hearth.invoke(name, Qualifier=old)
        assert running.result().value["release"] == 1
    identity = witness.lines()[0].removeprefix("begun in ")
    eventually(lambda: all(identity not in str(each.labels) for each in hearth.containers()), "its environment is gone")
