"""Code from S3, over the wire: moto's server is the other end, and one that misbehaves."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from hearth.core.errors import AccessDenied, InvalidParameterValue, ServiceError
from hearth_gateway.adapters.s3_code import S3Objects, S3Place
from hearth_gateway.lambda_api.code_sources import ObjectName

BUCKET = "packages"
LIMIT = 10_000_000


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> Any:
    """The bucket, as somebody else fills it."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield client
    client.close()


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own AWS configuration counts."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def place(endpoint: str, *, has_keys: bool = True) -> S3Place:
    keys = ("key", "secret") if has_keys else (None, None)
    return S3Place("us-east-1", endpoint, *keys)


@pytest.fixture
def objects(endpoint: str) -> Iterator[S3Objects]:
    objects = S3Objects(place(endpoint))
    yield objects
    objects.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    file = tmp_path / "arriving"
    file.touch()
    return file


def written(target: Path) -> bytes:
    return target.read_bytes()


async def test_an_object_arrives_byte_for_byte(objects: S3Objects, bucket: Any, target: Path) -> None:
    content = bytes(range(256)) * 4096
    bucket.put_object(Bucket=BUCKET, Key="deep/app code.zip", Body=content)

    await objects.fetch(ObjectName(BUCKET, "deep/app code.zip"), target, max_bytes=LIMIT)

    assert written(target) == content


async def test_a_version_that_is_named_is_the_one_that_arrives(objects: S3Objects, bucket: Any, target: Path) -> None:
    first = bucket.put_object(Bucket=BUCKET, Key="twice.zip", Body=b"first")["VersionId"]
    bucket.put_object(Bucket=BUCKET, Key="twice.zip", Body=b"second")

    await objects.fetch(ObjectName(BUCKET, "twice.zip", first), target, max_bytes=LIMIT)

    assert written(target) == b"first"


async def test_a_missing_object_is_refused_in_the_words_of_the_service(
    objects: S3Objects, bucket: Any, target: Path
) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        await objects.fetch(ObjectName(BUCKET, "never.zip"), target, max_bytes=LIMIT)

    assert refused.value.message == (
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."
    )


async def test_a_missing_bucket_is_refused_by_name(objects: S3Objects, bucket: Any, target: Path) -> None:
    with pytest.raises(InvalidParameterValue, match="S3 Error Code: NoSuchBucket"):
        await objects.fetch(ObjectName("nobodys", "app.zip"), target, max_bytes=LIMIT)


async def test_an_object_larger_than_any_package_is_refused_unread(
    objects: S3Objects, bucket: Any, target: Path
) -> None:
    bucket.put_object(Bucket=BUCKET, Key="large.zip", Body=b"x" * 1_000)

    with pytest.raises(InvalidParameterValue, match="Unzipped size must be smaller than"):
        await objects.fetch(ObjectName(BUCKET, "large.zip"), target, max_bytes=999)

    assert written(target) == b""


async def test_without_credentials_the_caller_is_told_so(endpoint: str, target: Path) -> None:
    objects = S3Objects(place(endpoint, has_keys=False))
    with pytest.raises(InvalidParameterValue, match="no credentials for S3 are configured"):
        await objects.fetch(ObjectName(BUCKET, "app.zip"), target, max_bytes=LIMIT)
    objects.close()


async def test_the_keys_of_the_environment_serve_where_none_are_configured(
    endpoint: str, bucket: Any, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_object(Bucket=BUCKET, Key="app.zip", Body=b"code")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    objects = S3Objects(place(endpoint, has_keys=False))

    await objects.fetch(ObjectName(BUCKET, "app.zip"), target, max_bytes=LIMIT)

    assert written(target) == b"code"
    objects.close()


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_variable_that_points_tools_elsewhere_is_not_asked_for_code(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9400")
    objects = S3Objects(S3Place("eu-west-1"))

    assert objects._made().meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"

    objects.close()


class CannedServer:
    """Answers every request with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="canned", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "CannedServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while b"\r\n\r\n" not in connection.recv(65_536):
                    continue
                connection.sendall(self._answer)


def canned(status: str, code: str, message: str, *headers: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    head = (f"HTTP/1.1 {status}", "Content-Type: application/xml", "Connection: close", *headers)
    return "\r\n".join((*head, f"Content-Length: {len(body)}", "", body)).encode()


async def test_a_denial_of_s3_is_a_denial(target: Path) -> None:
    with CannedServer(canned("403 Forbidden", "AccessDenied", "Access Denied")) as server:
        objects = S3Objects(place(server.url))
        with pytest.raises(AccessDenied) as refused:
            await objects.fetch(ObjectName(BUCKET, "app.zip"), target, max_bytes=LIMIT)
        objects.close()

    assert refused.value.message.startswith("Your access has been denied by S3, please make sure")
    assert refused.value.message.endswith("S3 Error Code: AccessDenied. S3 Error Message: Access Denied")


async def test_a_bucket_elsewhere_is_the_callers_to_mend(target: Path) -> None:
    region = "x-amz-bucket-region: eu-west-1"
    elsewhere = canned("301 Moved Permanently", "PermanentRedirect", "Use the other endpoint.", region)
    with CannedServer(elsewhere) as server:
        objects = S3Objects(place(server.url))
        with pytest.raises(InvalidParameterValue, match="S3 Error Code: PermanentRedirect"):
            await objects.fetch(ObjectName(BUCKET, "app.zip"), target, max_bytes=LIMIT)
        objects.close()


async def test_an_endpoint_that_redirects_in_circles_is_given_up(target: Path) -> None:
    with CannedServer(canned("301 Moved Permanently", "PermanentRedirect", "Elsewhere.")) as server:
        objects = S3Objects(place(server.url))
        with pytest.raises(ServiceError, match="could not be read from S3"):
            await objects.fetch(ObjectName(BUCKET, "app.zip"), target, max_bytes=LIMIT)
        objects.close()


async def test_more_than_was_announced_is_not_written_without_end(target: Path) -> None:
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 1_000_000
    with CannedServer(endless) as server:
        objects = S3Objects(place(server.url))
        with pytest.raises(InvalidParameterValue, match="Unzipped size must be smaller than"):
            await objects.fetch(ObjectName(BUCKET, "app.zip"), target, max_bytes=300_000)
        objects.close()


async def test_an_endpoint_out_of_reach_is_not_the_callers_fault(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    objects = S3Objects(place(url))
    with pytest.raises(ServiceError, match="could not be read from S3"):
        await objects.fetch(ObjectName(BUCKET, "app.zip"), target, max_bytes=LIMIT)
    objects.close()


async def test_an_object_that_takes_too_long_is_given_up(bucket: Any, endpoint: str, target: Path) -> None:
    bucket.put_object(Bucket=BUCKET, Key="slow.zip", Body=b"x" * 1_000_000)
    objects = S3Objects(place(endpoint), fetch_timeout_s=0.0)
    with pytest.raises(ServiceError, match="did not deliver the object within"):
        await objects.fetch(ObjectName(BUCKET, "slow.zip"), target, max_bytes=LIMIT)
    objects.close()


async def test_a_caller_that_goes_away_ends_the_reading(
    bucket: Any, endpoint: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_object(Bucket=BUCKET, Key="left.zip", Body=b"x" * 1_000_000)
    objects = S3Objects(place(endpoint))
    reached, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    check = objects._check_going_on

    def held(ends_at: float, given_up: threading.Event) -> None:
        reached.set()
        go_on.wait(10)
        try:
            check(ends_at, given_up)
        except ServiceError:
            ended.set()
            raise

    monkeypatch.setattr(objects, "_check_going_on", held)
    fetching = asyncio.ensure_future(objects.fetch(ObjectName(BUCKET, "left.zip"), target, max_bytes=LIMIT))
    await asyncio.to_thread(reached.wait, 10)

    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    go_on.set()

    assert await asyncio.to_thread(ended.wait, 10)
    objects.close()
