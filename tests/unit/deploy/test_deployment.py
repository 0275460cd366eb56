from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.deploy.lambda_double import LambdaDouble, ResourceNotFoundException

from hearth.config import Settings
from hearth_cli import deployment
from hearth_cli.console import Failure
from hearth_cli.deployment import Deployer, Wish
from hearth_cli.folder import Guess

WISH = Wish(name="f", package=b"zip", guess=lambda: Guess("python3.13", "app.handler"))


@pytest.fixture
def client() -> LambdaDouble:
    return LambdaDouble()


@pytest.fixture
def deployer(client: LambdaDouble, tmp_path: Path) -> Deployer:
    return Deployer(client, Settings(data_dir=tmp_path))


def test_a_new_function_is_created_as_guessed(client: LambdaDouble, deployer: Deployer) -> None:
    deployed = deployer.deploy(WISH)
    assert (deployed.what_happened, deployed.arn, deployed.url) == ("created", "arn:f", None)
    record = client.functions["f"]
    assert (record["Runtime"], record["Handler"], record["MemorySize"]) == ("python3.13", "app.handler", 128)
    assert record["State"] == "Active"


def test_what_is_given_beats_the_guess(client: LambdaDouble, deployer: Deployer) -> None:
    deployer.deploy(replace(WISH, handler="x.y", memory_mib=512, timeout_s=5, environment={"A": "1"}))
    record = client.functions["f"]
    assert (record["Runtime"], record["Handler"]) == ("python3.13", "x.y")
    assert (record["MemorySize"], record["Timeout"], record["Environment"]) == (512, 5, {"Variables": {"A": "1"}})


def test_deploying_the_same_again_changes_nothing(client: LambdaDouble, deployer: Deployer) -> None:
    wish = replace(WISH, has_url=True, queues=("jobs",), environment={"A": "1"})
    first = deployer.deploy(wish)
    before = list(client.calls)
    again = deployer.deploy(wish)
    assert again == replace(first, what_happened="unchanged")
    assert client.calls == before


def test_new_code_updates_the_code_only(client: LambdaDouble, deployer: Deployer) -> None:
    deployer.deploy(WISH)
    assert deployer.deploy(replace(WISH, package=b"other")).what_happened == "updated"
    assert client.calls == ["create_function", "update_function_code"]


def test_a_new_setting_updates_the_configuration_only(client: LambdaDouble, deployer: Deployer) -> None:
    deployer.deploy(WISH)
    assert deployer.deploy(replace(WISH, memory_mib=256)).what_happened == "updated"
    assert client.calls == ["create_function", "update_function_configuration"]


def test_what_is_not_said_stays_as_it_is(client: LambdaDouble, deployer: Deployer) -> None:
    deployer.deploy(replace(WISH, memory_mib=256, environment={"A": "1"}))
    deployer.deploy(replace(WISH, package=b"other"))
    assert client.functions["f"]["MemorySize"] == 256
    assert client.functions["f"]["Environment"] == {"Variables": {"A": "1"}}


def test_a_function_that_fails_says_why(tmp_path: Path) -> None:
    deployer = Deployer(LambdaDouble(fails=True), Settings(data_dir=tmp_path))
    with pytest.raises(Failure, match="the package is broken"):
        deployer.deploy(WISH)


def test_a_queue_is_a_list_of_hearths_own_redis(client: LambdaDouble, deployer: Deployer) -> None:
    deployed = deployer.deploy(replace(WISH, queues=("jobs", "arn:hearth:redis:us-east-1:000000000000:other/list/x")))
    assert [each["EventSourceArn"] for each in client.mappings.values()] == [
        "arn:aws:sqs:us-east-1:000000000000:jobs",
        "arn:hearth:redis:us-east-1:000000000000:other/list/x",
    ]
    assert list(deployed.queues.values()) == ["uuid-0", "uuid-1"]
    assert all(each["State"] == "Enabled" for each in client.mappings.values())


def test_removing_a_function_removes_its_mappings(client: LambdaDouble, deployer: Deployer) -> None:
    deployer.deploy(replace(WISH, queues=("jobs",)))
    deployment.remove(client, "f")
    assert (client.functions, client.mappings) == ({}, {})


def test_removing_what_is_not_there_touches_nothing(client: LambdaDouble) -> None:
    with pytest.raises(ResourceNotFoundException):
        deployment.remove(client, "f")
    assert client.calls == []
