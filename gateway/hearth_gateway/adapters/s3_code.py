"""Code from S3, or from anything that speaks its protocol.

Rule 1: an object goes straight to disk, in pieces; its size, its time and how many come at once are bounded.
Rule 2: the shell in which Hearth was started may point AWS's tools at Hearth itself (`AWS_ENDPOINT_URL`); only what
is configured for S3 counts here.
Rule 3: what S3 refuses is the caller's to mend and said in the service's words; an endpoint out of reach is not.
Source: GetObject in the Amazon S3 API reference; the errors of CreateFunction with code in S3, as the service sends
them.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from hearth.core.errors import AccessDenied, InvalidParameterValue, ServiceError
from hearth.core.package_rules import too_large_unzipped
from hearth_gateway.lambda_api.code_sources import ObjectName

PARALLEL_FETCHES = 4
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
"""Of a single read."""
FETCH_TIMEOUT_S = 120.0
"""Of a whole object."""

_PIECE_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class S3Place:
    """Which S3, and as whom. No endpoint: AWS's own; no keys: those of the environment that Hearth runs in."""

    region: str
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None


class S3Objects:
    """The `Objects` of one S3 endpoint. `close` when done."""

    def __init__(self, place: S3Place, *, fetch_timeout_s: float = FETCH_TIMEOUT_S) -> None:
        self._place = place
        self._fetch_timeout_s = fetch_timeout_s
        self._threads = ThreadPoolExecutor(PARALLEL_FETCHES, thread_name_prefix="hearth-s3")
        self._making = threading.Lock()
        self._client: Any = None
        self._closing = threading.Event()

    def close(self) -> None:
        """Let go of the threads; a fetch under way ends with its next piece."""
        self._closing.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, name: ObjectName, target: Path, *, max_bytes: int) -> None:
        """Write the object into the existing empty file. Raises HearthError."""
        ends_at = time.monotonic() + self._fetch_timeout_s
        given_up = threading.Event()
        work = partial(self._fetch, name, target, max_bytes=max_bytes, ends_at=ends_at, given_up=given_up)
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except asyncio.CancelledError:
            given_up.set()
            raise

    async def store(self, bucket: str, key: str, body: bytes) -> None:
        """Write an object, whole. Raises HearthError."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._store, bucket, key, body)

    # Everything below runs in threads.

    def _store(self, bucket: str, key: str, body: bytes) -> None:
        try:
            self._made().put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
        except ClientError as error:
            raise _not_stored(bucket, error) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise InvalidParameterValue("No credentials for S3 are configured.") from error
        except ParamValidationError as error:
            raise InvalidParameterValue(str(error)) from error
        except (BotoCoreError, OSError, RecursionError) as error:
            raise ServiceError(f"The object could not be written to S3: {error}") from error

    def _fetch(
        self, name: ObjectName, target: Path, *, max_bytes: int, ends_at: float, given_up: threading.Event
    ) -> None:
        try:
            with closing(self._opened(name, max_bytes)) as body, open(target, "r+b") as file:
                while piece := body.read(_PIECE_BYTES):
                    file.write(piece)
                    if file.tell() > max_bytes:
                        raise too_large_unzipped()
                    self._check_going_on(ends_at, given_up)
        except ClientError as error:
            raise _refused(name, error) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise InvalidParameterValue("Code in S3 is not available: no credentials for S3 are configured.") from error
        except ParamValidationError as error:
            raise InvalidParameterValue(str(error)) from error
        except (BotoCoreError, OSError, RecursionError) as error:
            # Recursion: botocore asks an endpoint that only redirects, and does not say to which region, for ever.
            raise ServiceError(f"The object could not be read from S3: {error}") from error

    def _opened(self, name: ObjectName, max_bytes: int) -> Any:
        version = {} if name.version is None else {"VersionId": name.version}
        answer = self._made().get_object(Bucket=name.bucket, Key=name.key, **version)
        if answer.get("ContentLength", 0) > max_bytes:
            answer["Body"].close()
            raise too_large_unzipped()
        return answer["Body"]

    def _check_going_on(self, ends_at: float, given_up: threading.Event) -> None:
        if given_up.is_set() or self._closing.is_set():
            raise ServiceError("Reading from S3 was given up.")
        if time.monotonic() > ends_at:
            raise ServiceError(f"S3 did not deliver the object within {self._fetch_timeout_s:g} s.")

    def _made(self) -> Any:
        """The client, made on first use: S3's service model takes a tenth of a second to load."""
        with self._making:
            if self._client is None:
                place = self._place
                self._client = botocore.session.Session().create_client(
                    "s3",
                    region_name=place.region,
                    endpoint_url=place.endpoint,
                    aws_access_key_id=place.access_key_id,
                    aws_secret_access_key=place.secret_access_key,
                    config=_config(has_own_endpoint=place.endpoint is not None),
                )
            return self._client


def _config(*, has_own_endpoint: bool) -> Config:
    """Buckets in the path where the endpoint is not AWS's: there is rarely a name server for the other form."""
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=PARALLEL_FETCHES,
        retries={"mode": "standard", "max_attempts": 2},
        signature_version="s3v4",
        s3={"addressing_style": "path" if has_own_endpoint else "auto"},
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
    )


def _not_stored(bucket: str, error: ClientError) -> InvalidParameterValue | ServiceError:
    """What S3 answered to a write: what is the server's or about being too fast may be well later."""
    said = error.response.get("Error", {})
    words = f"{bucket}: {said.get('Code', 'Unknown')}: {said.get('Message', '')}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return ServiceError(words) if status >= 500 or status == 429 else InvalidParameterValue(words)  # noqa: PLR2004


def _refused(name: ObjectName, error: ClientError) -> AccessDenied | InvalidParameterValue | ServiceError:
    """S3's answer, as the Lambda API passes it on."""
    said = error.response.get("Error", {})
    code, message = said.get("Code", "Unknown"), said.get("Message", "")
    tail = f"S3 Error Code: {code}. S3 Error Message: {message}"
    if code == "AccessDenied":
        return AccessDenied(
            "Your access has been denied by S3, please make sure your request credentials have permission to "
            f"GetObject for {name.bucket}/{name.key}. {tail}"
        )
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:  # noqa: PLR2004 - server errors
        return ServiceError(f"Error occurred while GetObject. {tail}")
    return InvalidParameterValue(f"Error occurred while GetObject. {tail}")
