"""Function URLs as an HTTP client sees them; the function answers with the event it was given."""

import base64
import json
import socket
from collections.abc import Mapping
from typing import Any

import pytest
from tests.docker.house import House, Page, unique

pytestmark = pytest.mark.docker

ECHO = """
import json

def handler(event, context):
    answer = json.loads(event.get("queryStringParameters", {}).get("answer", "null"))
    if answer == "boom":
        raise ValueError("boom")
    return {"statusCode": 200, "body": json.dumps(event)} if answer is None else answer
"""


@pytest.fixture(scope="module")
def path(hearth: House) -> str:
    """The path of a URL that shows its event, or answers what `?answer=` says."""
    return hearth.url(hearth.create("echo", ECHO))


def event(page: Page) -> dict[str, Any]:
    assert page.status == 200, page.body
    value: dict[str, Any] = json.loads(page.body)
    return value


def asking_for(hearth: House, path: str, answer: object) -> Page:
    """Let the function return that."""
    encoded = "".join(f"%{byte:02x}" for byte in json.dumps(answer).encode())
    return hearth.http("GET", f"{path}/?answer={encoded}")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_arrives(hearth: House, path: str, method: str) -> None:
    seen = event(hearth.http(method, f"{path}/x"))
    assert seen["version"] == "2.0"
    assert seen["requestContext"]["http"]["method"] == method
    assert seen["rawPath"] == "/x"
    assert "body" not in seen
    assert "cookies" not in seen


def test_head_has_a_status_and_no_body(hearth: House, path: str) -> None:
    page = hearth.http("HEAD", f"{path}/")
    assert (page.status, page.body) == (200, b"")


def test_paths_and_queries_arrive_as_sent(hearth: House, path: str) -> None:
    seen = event(hearth.http("GET", f"{path}/a%20b/%2Fc//d?x=1&y=%C3%A4&x=2&z"))
    assert seen["rawPath"] == "/a%20b/%2Fc//d"
    assert seen["rawQueryString"] == "x=1&y=%C3%A4&x=2&z"
    assert seen["queryStringParameters"] == {"x": "1,2", "y": "ä", "z": ""}


def test_cookies_are_set_apart_from_headers(hearth: House, path: str) -> None:
    seen = event(hearth.http("GET", f"{path}/", {"Cookie": "a=1; b=2", "X-One": "1"}))
    assert seen["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in seen["headers"]
    assert seen["headers"]["x-one"] == "1"


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/problem+json"])
def test_a_text_body_arrives_as_text(hearth: House, path: str, kind: str) -> None:
    seen = event(hearth.http("POST", f"{path}/", {"Content-Type": kind}, '{"ä": 1}'.encode()))
    assert (seen["body"], seen["isBase64Encoded"]) == ('{"ä": 1}', False)


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "application/x-www-form-urlencoded"])
def test_any_other_body_arrives_in_base64(hearth: House, path: str, kind: str) -> None:
    body = bytes(range(256))
    seen = event(hearth.http("POST", f"{path}/", {"Content-Type": kind}, body))
    assert seen["isBase64Encoded"] is True
    assert base64.b64decode(seen["body"]) == body


def test_the_host_name_leads_to_the_same_function(hearth: House, path: str) -> None:
    name = path.removeprefix("/fn/")
    url = hearth.api.get_function_url_config(FunctionName=name)["FunctionUrl"]
    host = url.removeprefix("http://").rstrip("/")
    seen = event(hearth.http("GET", "/deep/path?q=1", {"Host": host}))
    assert seen["rawPath"] == "/deep/path"
    assert seen["requestContext"]["domainName"] == host.partition(":")[0]
    assert seen["requestContext"]["domainPrefix"] == host.partition(".")[0]


def test_an_answer_sets_status_headers_cookies_and_bytes(hearth: House, path: str) -> None:
    answer = {
        "statusCode": 418,
        "headers": {"X-Tea": "green", "Content-Type": "image/png"},
        "cookies": ["a=1; Path=/", "b=2"],
        "body": base64.b64encode(b"\x89PNG\0").decode(),
        "isBase64Encoded": True,
    }
    page = asking_for(hearth, path, answer)
    assert page.status == 418
    assert page.headers["x-tea"] == "green"
    assert page.headers["content-type"] == "image/png"
    assert page.cookies == ["a=1; Path=/", "b=2"]
    assert page.body == b"\x89PNG\0"


@pytest.mark.parametrize(
    ("answer", "body"),
    [("hello", b"hello"), (3, b"3"), (True, b"true"), ([1, 2], b"[1,2]"), ({"a": 1}, b'{"a":1}')],
    ids=repr,
)
def test_any_other_answer_is_the_body(hearth: House, path: str, answer: object, body: bytes) -> None:
    page = asking_for(hearth, path, answer)
    assert (page.status, page.headers["content-type"]) == (200, "application/json")
    assert page.body.replace(b" ", b"") == body


@pytest.mark.parametrize("status", [201, 302, 404, 500, 599])
def test_a_status_is_passed_on(hearth: House, path: str, status: int) -> None:
    page = asking_for(hearth, path, {"statusCode": status, "body": "said"})
    assert (page.status, page.body) == (status, b"said")


@pytest.mark.parametrize("answer", ["boom", {"statusCode": "many"}, {"statusCode": 42}], ids=repr)
def test_a_failed_function_is_a_bad_gateway(hearth: House, path: str, answer: object) -> None:
    page = asking_for(hearth, path, answer)
    assert (page.status, page.body) == (502, b"Internal Server Error")
    assert hearth.http("GET", f"{path}/").status == 200


def test_a_function_cannot_smuggle_headers(hearth: House, path: str) -> None:
    page = asking_for(hearth, path, {"statusCode": 200, "headers": {"X-A": "1\r\nX-Evil: 2"}, "body": ""})
    assert "x-evil" not in page.headers


def test_every_answer_says_who_and_where_the_time_went(hearth: House, path: str) -> None:
    page = hearth.http("GET", f"{path}/")
    assert page.headers["x-amzn-requestid"] == json.loads(page.body)["requestContext"]["requestId"]
    assert "handler;dur=" in page.headers["server-timing"]


def test_a_function_without_url_and_no_function_are_not_found(hearth: House) -> None:
    name = hearth.create("plain", ECHO)
    for missing in (name, unique("nobody")):
        page = hearth.http("GET", f"/fn/{missing}/")
        assert page.status == 404
        assert missing in page.body.decode()


def test_a_foreign_host_name_is_forbidden(hearth: House) -> None:
    page = hearth.http("GET", "/", {"Host": f"{'x' * 32}.lambda-url.localhost:{hearth.port}"})
    assert page.status == 403
    assert page.headers["x-amzn-errortype"] == "AccessDeniedException"


def test_a_throttled_url_is_429(hearth: House) -> None:
    name = hearth.create("stopped", ECHO)
    path = hearth.url(name)
    hearth.api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    page = hearth.http("GET", f"{path}/")
    assert page.status == 429
    assert int(page.headers["retry-after"]) >= 1


def test_cors_is_answered_without_the_function(hearth: House) -> None:
    name = hearth.create("cors", ECHO)
    hearth.api.create_function_url_config(
        FunctionName=name, AuthType="NONE", Cors={"AllowOrigins": ["https://a.example"], "AllowMethods": ["PUT"]}
    )
    asked: Mapping[str, str] = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
    page = hearth.http("OPTIONS", f"/fn/{name}/", asked)
    assert page.status == 200
    assert page.headers["access-control-allow-origin"] == "https://a.example"
    assert page.headers["access-control-allow-methods"] == "PUT"
    plain = hearth.http("GET", f"/fn/{name}/", {"Origin": "https://b.example"})
    assert "access-control-allow-origin" not in plain.headers


# What http.client would never send.


def raw(hearth: House, request: bytes, *, is_all: bool = False) -> bytes:
    """Send those bytes, then read until the server closes. `is_all`: tell it that there will be no more."""
    with socket.create_connection(("127.0.0.1", hearth.port), timeout=20) as connection:
        connection.sendall(request)
        if is_all:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


def test_a_body_in_chunks_arrives_whole(hearth: House, path: str) -> None:
    head = f"POST {path}/ HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
    answer = raw(hearth, head.encode() + b"Connection: close\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == "abcdefg"


def test_two_requests_at_once_get_two_answers_in_order(hearth: House, path: str) -> None:
    def request(number: int, last: bytes = b"") -> bytes:
        return f"GET {path}/{number} HTTP/1.1\r\nHost: h\r\n".encode() + last + b"\r\n"

    answer = raw(hearth, request(1) + request(2, b"Connection: close\r\n"))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b'"rawPath": "/1"') < answer.index(b'"rawPath": "/2"')


def test_a_target_in_absolute_form_is_understood(hearth: House, path: str) -> None:
    answer = raw(hearth, f"GET http://h{path}/abs HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["rawPath"] == "/abs"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / SMTP/9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
    ids=["protocol", "tls", "negative length", "two lengths", "two framings", "endless target", "endless headers"],
)
def test_nonsense_is_refused_and_serving_goes_on(hearth: House, path: str, request_: bytes) -> None:
    try:
        answer = raw(hearth, request_, is_all=True)
    except ConnectionError:
        answer = b""
    assert answer == b"" or answer.split()[1][:1] == b"4", answer[:200]
    assert hearth.http("GET", f"{path}/").status == 200


def test_a_client_that_leaves_early_harms_nobody(hearth: House, path: str) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", hearth.port), timeout=20) as connection:
            connection.sendall(f"POST {path}/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nhalf".encode())
    assert hearth.http("GET", f"{path}/").status == 200
