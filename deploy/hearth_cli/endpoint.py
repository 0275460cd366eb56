"""The command's way to the daemon: the Lambda API by botocore, and Hearth's own pages by plain HTTP."""

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.exceptions
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from hearth.config import Settings
from hearth_cli.console import Failure
from hearth_cli.locations import data_dir, key_pair

_CONNECT_LIMIT_S = 5
_LONGEST_INVOCATION_S = 900
_API_LIMIT_S = 60
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
_OK = 200
_SUCCESS = range(200, 300)


def url(settings: Settings) -> str:
    """Where clients on this host reach Hearth."""
    host = _WILDCARDS.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def lambda_client(settings: Settings, *, invokes: bool = False) -> Any:
    """A botocore client of the Lambda API. One that invokes waits as long as a function may run, and never repeats."""
    return service_client(settings, "lambda", invokes=invokes)


def service_client(settings: Settings, service: str, *, invokes: bool = False) -> Any:
    """A botocore client of one of Hearth's services.

    The user's own AWS profile, configuration and proxies have nothing to do with it.
    """
    nothing = {name: (None, None, os.devnull, None) for name in ("config_file", "credentials_file")}
    session = botocore.session.Session(session_vars={"profile": (None, None, None, None), **nothing})
    keys = key_pair(data_dir(settings))
    return session.create_client(
        service,
        region_name=settings.region,
        endpoint_url=url(settings),
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        config=Config(
            connect_timeout=_CONNECT_LIMIT_S,
            read_timeout=_LONGEST_INVOCATION_S + 10 if invokes else _API_LIMIT_S,
            retries={"total_max_attempts": 1 if invokes else 3, "mode": "standard"},
            proxies={},
        ),
    )


@contextmanager
def answers(settings: Settings) -> Iterator[None]:
    """What the daemon refuses, or that there is none, becomes one sentence."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        details = error.response["Error"]
        raise Failure(f"{details.get('Message') or 'refused'} ({details['Code']})") from error
    except botocore.exceptions.ParamValidationError as error:
        raise Failure(str(error).replace("\n", " ")) from error
    except (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ConnectTimeoutError) as error:
        raise not_running(settings) from error
    except botocore.exceptions.BotoCoreError as error:
        raise Failure(f"no answer from {url(settings)}: {error}") from error


def not_running(settings: Settings) -> Failure:
    """Said by every command that needs the daemon."""
    return Failure(f"Hearth is not running at {url(settings)}: start it with `hearth up`")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole. Header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes


def health(settings: Settings, *, limit_s: float = 2.0) -> dict[str, Any] | None:
    """What /health says, or None when nobody (or somebody else) listens there."""
    try:
        answer = request(settings, "GET", "/health", limit_s=limit_s)
        value = json.loads(answer.body)
    except (Failure, ValueError):
        return None
    return value if answer.status == _OK and isinstance(value, dict) else None


def request(settings: Settings, method: str, path: str, *, limit_s: float = _API_LIMIT_S) -> Answer:
    """One request to the daemon that needs no signature: its health, or a function URL."""
    with _responding(settings, method, path, headers={}, limit_s=limit_s) as response:
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


def signed_request(settings: Settings, method: str, path: str, body: bytes = b"") -> Answer:
    """One request to the daemon's own paths, signed with the installation's key."""
    headers = signature(settings, method, path, body)
    with _responding(settings, method, path, body, headers=headers, limit_s=_API_LIMIT_S) as response:
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


def accepted(settings: Settings, method: str, path: str, body: object = None) -> Answer:
    """The answer to a signed request with a JSON body; what the daemon refuses is raised as one sentence."""
    answer = signed_request(settings, method, path, b"" if body is None else json.dumps(body).encode())
    if answer.status not in _SUCCESS:
        raise Failure(message(answer.body) or f"Hearth answered {answer.status}")
    return answer


def asked(settings: Settings, method: str, path: str, body: object = None) -> Any:
    """What the daemon says to that, as `accepted` has it; None if it says nothing."""
    answer = accepted(settings, method, path, body)
    return json.loads(answer.body) if answer.body else None


def signature(settings: Settings, method: str, path: str, body: bytes = b"") -> dict[str, str]:
    """The headers that prove a request to be ours. `path` is as it is sent, query included."""
    keys = key_pair(data_dir(settings))
    request = AWSRequest(method, url(settings) + path, data=body)
    credentials = Credentials(keys.access_key_id, keys.secret_access_key)
    SigV4Auth(credentials, "lambda", settings.region).add_auth(request)
    return dict(request.headers.items())


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A piece of a function's output. `at_ms`: epoch milliseconds."""

    at_ms: int
    stream: str
    text: str


def log_entries(
    settings: Settings, function: str, *, max_bytes: int, follow: bool, limit_s: float | None = None
) -> Iterator[LogEntry]:
    """The newest output of a function, oldest first; with `follow` endless, or until `limit_s` bring nothing new."""
    path = f"/_hearth/logs/{quote(function, safe='')}?bytes={max_bytes}&follow={int(follow)}"
    headers = signature(settings, "GET", path)
    with _responding(settings, "GET", path, headers=headers, limit_s=limit_s if follow else _API_LIMIT_S) as response:
        if response.status != _OK:
            raise Failure(message(response.read()) or f"there are no logs of {function}")
        for line in response:
            if line.strip():
                at_ms, stream, text = json.loads(line)
                yield LogEntry(at_ms, stream, text)


def message(body: bytes) -> str:
    """What an error answer says, "" if it says nothing."""
    try:
        value = json.loads(body)
        return str(value.get("Message") or value.get("message") or "")
    except (ValueError, AttributeError):
        return ""


@contextmanager
def _responding(
    settings: Settings,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    headers: Mapping[str, str],
    limit_s: float | None,
) -> Iterator[http.client.HTTPResponse]:
    where = urlsplit(url(settings))
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=limit_s)
    try:
        connection.request(method, path, body=body or None, headers=dict(headers))
        yield connection.getresponse()
    except ConnectionRefusedError as error:
        raise not_running(settings) from error
    except TimeoutError as error:
        raise Failure(f"no answer from {url(settings)} within {limit_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"the connection to Hearth broke: {error or type(error).__name__}") from error
    finally:
        connection.close()
