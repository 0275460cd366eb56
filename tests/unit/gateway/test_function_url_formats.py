"""Payload format 2.0, both ways: whatever HTTP can say survives."""

import json
from base64 import b64decode, b64encode
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core.attachments import Cors
from hearth_gateway.core import cors
from hearth_gateway.core.http_event import Arrival, HttpRequest, http_event
from hearth_gateway.core.http_response import BadFunctionResponse, HttpResponse, http_response

ARRIVAL = Arrival("urlid", "request-1", "Root=1-0-0", 1_795_255_200_000, 9400)

tokens = st.text("abcXYZ019-_", min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
lines = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map("<{}>".format)


def request(**changes: object) -> HttpRequest:
    parts: dict[str, object] = {
        "method": "GET",
        "path": "/",
        "query": "",
        "headers": (("Host", "urlid.lambda-url.localhost:9400"),),
        "body": b"",
        "source_ip": "203.0.113.9",
    }
    return HttpRequest(**(parts | changes))  # type: ignore[arg-type]  # the test says which parts differ


def test_a_plain_request_has_the_documented_form() -> None:
    event = http_event(request(), ARRIVAL)
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "host": "urlid.lambda-url.localhost:9400",
            "x-forwarded-for": "203.0.113.9",
            "x-forwarded-port": "9400",
            "x-forwarded-proto": "http",
            "x-amzn-trace-id": "Root=1-0-0",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "urlid",
            "domainName": "urlid.lambda-url.localhost",
            "domainPrefix": "urlid",
            "http": {
                "method": "GET",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.9",
                "userAgent": "",
            },
            "requestId": "request-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2026:10:00:00 +0000",
            "timeEpoch": 1_795_255_200_000,
        },
        "isBase64Encoded": False,
    }


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["text/plain", "image/png", "", "application/json"]))
def test_any_body_survives(body: bytes, kind: str) -> None:
    event = http_event(request(method="POST", body=body, headers=(("Content-Type", kind),)), ARRIVAL)
    text = event["body"]
    assert (b64decode(text) if event["isBase64Encoded"] else text.encode()) == body


@pytest.mark.parametrize(
    ("kind", "is_base64"),
    [
        ("text/html; charset=utf-8", False),
        ("Application/JSON", False),
        ("application/problem+json", False),
        ("application/xml", False),
        ("application/javascript", False),
        ("application/x-www-form-urlencoded", True),
        ("application/octet-stream", True),
        ("", True),
    ],
)
def test_text_is_text_and_the_rest_is_base64(kind: str, is_base64: bool) -> None:
    event = http_event(request(body=b"x=1", headers=(("content-type", kind),)), ARRIVAL)
    assert event["isBase64Encoded"] is is_base64


@given(st.lists(st.tuples(texts, texts), max_size=6))
def test_any_query_survives_raw_and_decoded(pairs: list[tuple[str, str]]) -> None:
    query = urlencode(pairs)
    event = http_event(request(query=query), ARRIVAL)
    assert parse_qsl(event["rawQueryString"], keep_blank_values=True) == pairs
    expected: dict[str, list[str]] = {}
    for name, value in pairs:
        expected.setdefault(name, []).append(value)
    found = event.get("queryStringParameters", {})
    assert found == {name: ",".join(values) for name, values in expected.items()}


def test_repeated_query_values_are_joined_by_commas() -> None:
    event = http_event(request(query="a=1&a=2&b=x&c&=y"), ARRIVAL)
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x", "c": "", "": "y"}


@given(st.lists(st.tuples(tokens, lines), max_size=8))
def test_any_headers_survive_in_lower_case(headers: list[tuple[str, str]]) -> None:
    event = http_event(request(headers=tuple((f"X-T-{name}", value) for name, value in headers)), ARRIVAL)
    expected: dict[str, list[str]] = {}
    for name, value in headers:
        expected.setdefault(f"x-t-{name.lower()}", []).append(value)
    found = {name: value for name, value in event["headers"].items() if name.startswith("x-t-")}
    assert found == {name: ",".join(values) for name, values in expected.items()}


@given(st.lists(st.text("ab=%!~", min_size=1, max_size=9), min_size=1, max_size=5))
def test_cookies_are_a_list_of_their_own(cookies: list[str]) -> None:
    event = http_event(request(headers=(("Cookie", "; ".join(cookies)), ("cookie", "last=1"))), ARRIVAL)
    assert event["cookies"] == [*cookies, "last=1"]
    assert "cookie" not in event["headers"]


@given(st.binary(max_size=40))
def test_any_bytes_in_path_and_headers_make_a_json_event(raw: bytes) -> None:
    wire = raw.decode("utf-8", "surrogateescape")
    event = http_event(
        request(path=f"/{wire}", query=wire, headers=(("X-Raw", wire), ("Cookie", wire), ("Host", wire))), ARRIVAL
    )
    json.dumps(event, ensure_ascii=False).encode()


def test_percent_encoding_stays_as_sent() -> None:
    event = http_event(request(path="/a%2Fb/%C3%A9//..;x"), ARRIVAL)
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/a%2Fb/%C3%A9//..;x"


def test_the_connection_is_no_business_of_the_functions() -> None:
    headers = (("Connection", "close"), ("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"), ("TE", "trailers"))
    assert set(http_event(request(headers=headers), ARRIVAL)["headers"]) == {
        "x-forwarded-for",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-amzn-trace-id",
    }


def test_a_proxy_in_front_of_us_is_passed_on() -> None:
    headers = (("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443"))
    event = http_event(request(headers=headers), ARRIVAL)
    assert event["headers"]["x-forwarded-for"] == "198.51.100.7, 203.0.113.9"
    assert (event["headers"]["x-forwarded-proto"], event["headers"]["x-forwarded-port"]) == ("https", "443")
    assert event["requestContext"]["http"]["sourceIp"] == "203.0.113.9"


def responded(returned: object) -> HttpResponse:
    return http_response(returned, json.dumps(returned).encode())


@pytest.mark.parametrize(
    ("returned", "body"),
    [
        ("hello", b"hello"),
        (3, b"3"),
        (True, b"true"),
        (None, b"null"),
        ([1, "a"], b'[1, "a"]'),
        ({"a": 1}, b'{"a": 1}'),
        ("", b""),
    ],
)
def test_what_is_no_response_is_the_body_of_one(returned: object, body: bytes) -> None:
    assert responded(returned) == HttpResponse(200, (("Content-Type", "application/json"),), body)


@given(st.integers(200, 599), st.dictionaries(tokens, lines, max_size=5), st.lists(lines, max_size=4), st.binary())
def test_any_described_response_survives(status: int, headers: dict[str, str], cookies: list[str], body: bytes) -> None:
    named = {f"X-T-{name}": value for name, value in headers.items()}
    response = responded(
        {
            "statusCode": status,
            "headers": named,
            "cookies": cookies,
            "body": b64encode(body).decode(),
            "isBase64Encoded": True,
        }
    )
    assert (response.status, response.body) == (status, body)
    assert {name: value for name, value in response.headers if name.startswith("X-T-")} == named
    assert [value for name, value in response.headers if name == "Set-Cookie"] == cookies
    assert response.headers[0] == ("Content-Type", "application/json")


def test_a_content_type_of_the_functions_own_is_the_only_one() -> None:
    response = responded({"statusCode": "201", "headers": {"content-type": "text/html", "X-N": 1, "X-B": True}})
    assert response == HttpResponse(201, (("content-type", "text/html"), ("X-N", "1"), ("X-B", "true")))


def test_headers_of_the_connection_are_not_the_functions_to_set() -> None:
    headers = {"Transfer-Encoding": "chunked", "Content-Length": "3", "connection": "close", "X-Null": None}
    assert responded({"statusCode": 200, "headers": headers}).headers == (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    "returned",
    [
        {"statusCode": "abc"},
        {"statusCode": None},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 101},
        {"statusCode": 600},
        {"statusCode": 200.5},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
        {"statusCode": 200, "body": "é", "isBase64Encoded": True},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"a b": "c"}},
        {"statusCode": 200, "headers": {"a": "b\r\nSet-Cookie: evil=1"}},
        {"statusCode": 200, "headers": {"a": ["b"]}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": ["a=1\n"]},
    ],
)
def test_nonsense_is_refused_whole(returned: object) -> None:
    with pytest.raises(BadFunctionResponse):
        responded(returned)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"statusCode": json_values},
        optional={"headers": json_values, "cookies": json_values, "body": json_values, "isBase64Encoded": json_values},
    )
)
def test_whatever_is_described_is_a_sound_response_or_refused(returned: dict[str, object]) -> None:
    try:
        response = http_response(returned, b"")
    except BadFunctionResponse:
        return
    assert 200 <= response.status <= 599
    assert not any("\r" in text or "\n" in text for pair in response.headers for text in pair)


PREFLIGHT = (("Origin", "https://a.example"), ("Access-Control-Request-Method", "PUT"))


def test_a_preflight_is_answered_from_the_configuration() -> None:
    configured = Cors(
        allow_origins=("https://a.example",),
        allow_methods=("GET", "PUT"),
        allow_headers=("x-one", "x-two"),
        allow_credentials=True,
        max_age_s=60,
    )
    asked = request(method="OPTIONS", headers=PREFLIGHT)
    assert cors.is_preflight(asked)
    assert dict(cors.preflight(configured, asked).headers) == {
        "Access-Control-Allow-Origin": "https://a.example",
        "Vary": "Origin",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET,PUT",
        "Access-Control-Allow-Headers": "x-one,x-two",
        "Access-Control-Max-Age": "60",
    }


def test_another_origin_is_told_nothing() -> None:
    configured = Cors(allow_origins=("https://b.example",), allow_methods=("*",))
    assert cors.preflight(configured, request(method="OPTIONS", headers=PREFLIGHT)) == HttpResponse(200)


def test_an_options_request_without_an_origin_is_the_functions() -> None:
    assert not cors.is_preflight(request(method="OPTIONS"))
    assert not cors.is_preflight(request(method="OPTIONS", headers=PREFLIGHT[:1]))


def test_the_configuration_overrides_what_the_function_says() -> None:
    configured = Cors(allow_origins=("*",), expose_headers=("x-id",))
    own = HttpResponse(200, (("access-control-allow-origin", "evil"), ("X-Id", "1")), b"")
    answer = cors.with_cors(configured, request(headers=PREFLIGHT), own)
    assert answer.headers == (
        ("X-Id", "1"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Expose-Headers", "x-id"),
    )


def test_with_credentials_a_wildcard_names_what_was_asked_for() -> None:
    configured = Cors(allow_origins=("*",), allow_methods=("*",), allow_credentials=True)
    headers = dict(cors.preflight(configured, request(method="OPTIONS", headers=PREFLIGHT)).headers)
    assert headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert headers["Access-Control-Allow-Methods"] == "PUT"
