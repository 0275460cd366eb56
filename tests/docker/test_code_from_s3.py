"""Functions and layers whose code lies in somebody's own S3, from the setting to the answer of the handler."""

import secrets
from collections.abc import Iterator
from typing import Any

import boto3
import docker
import pytest
from moto.server import ThreadedMotoServer
from tests.docker.house import PYTHON, ROLE, House, house, package, unique

pytestmark = pytest.mark.docker

BUCKET = "deployments"
HANDLER = """
import tool

def handler(event, context):
    return [{answer!r}, tool.WHO]
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> Iterator[Any]:
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


@pytest.fixture(scope="module")
def subject(docker_engine: docker.DockerClient, endpoint: str) -> Iterator[House]:
    settings = {
        "AWS_ENDPOINTS": f'{{"s3": "{endpoint}"}}',
        "S3_ACCESS_KEY_ID": "key",
        "S3_SECRET_ACCESS_KEY": "secret",
        "STEM_CELLS": '{"python3.13": 1}',
    }
    with house(docker_engine, settings) as found:
        yield found


def put(bucket: Any, key: str, files: dict[str, str | bytes]) -> dict[str, str]:
    """Put a package there; where it is, as the Lambda API wants to be told."""
    bucket.put_object(Bucket=BUCKET, Key=key, Body=package(files))
    return {"S3Bucket": BUCKET, "S3Key": key}


def test_a_function_and_its_layer_are_fetched_and_replaced(subject: House, bucket: Any) -> None:
    content = put(bucket, "layers/tool.zip", {"python/tool.py": "WHO = 'from S3'"})
    layer = subject.api.publish_layer_version(LayerName=unique("tool"), Content=content)["LayerVersionArn"]
    name = unique("from-s3")
    subject.api.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Role=ROLE,
        Handler="app.handler",
        Code=put(bucket, "app 1.zip", {"app.py": HANDLER.format(answer=1)}),
        Layers=[layer],
    )
    subject.settled(name)
    assert subject.invoke(name).value == [1, "from S3"]

    subject.api.update_function_code(
        FunctionName=name, **put(bucket, "app 2.zip", {"app.py": HANDLER.format(answer=2)})
    )
    subject.settled(name)
    assert subject.invoke(name).value == [2, "from S3"]


def test_a_package_larger_than_a_request_comes_from_s3(subject: House, bucket: Any) -> None:
    """60 MB that do not compress: more than the 50 MB that may be sent along."""
    big = secrets.token_bytes(60 * 2**20)
    content = put(bucket, "big.zip", {"python/tool.py": "WHO = 'big'", "ballast": big})
    made = subject.api.publish_layer_version(LayerName=unique("big"), Content=content)

    assert made["Content"]["CodeSize"] > 60 * 2**20


def test_an_object_that_is_not_there_is_refused_in_the_services_words(subject: House, bucket: Any) -> None:
    with pytest.raises(subject.api.exceptions.InvalidParameterValueException) as refused:
        subject.api.publish_layer_version(LayerName="none", Content={"S3Bucket": BUCKET, "S3Key": "none.zip"})

    assert refused.value.response["Error"]["Message"] == (
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."
    )
