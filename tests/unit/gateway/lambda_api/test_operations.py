"""Routing: the table agrees with the service model, and paths are split before they are decoded."""

import pytest
from botocore.utils import percent_encode
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.lambda_api.harness import service_model

from hearth_gateway.core.operations import OPERATIONS, Operation, Route, route


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_row_agrees_with_the_service_model(operation: Operation) -> None:
    http = service_model().operation_model(operation.name).http
    assert (operation.method, operation.template) == (http["method"], http["requestUri"])


def test_every_operation_of_the_service_model_is_listed_once() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert sorted(names) == sorted(service_model().operation_names)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_operation_is_found_with_and_without_a_trailing_slash(operation: Operation, slash: str) -> None:
    path, _, query = operation.template.partition("?")
    found = route(operation.method, path.replace("{", "x").replace("}", "x") + slash, query)
    assert found is not None
    assert found.operation == operation.name


@given(st.text(min_size=1))
def test_a_label_arrives_as_it_was_before_the_client_encoded_it(label: str) -> None:
    encoded = percent_encode(label, safe="-_.~")
    assert route("GET", f"/2015-03-31/functions/{encoded}", "") == Route("GetFunction", {"FunctionName": label})


def test_an_encoded_arn_is_one_segment() -> None:
    found = route("GET", "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A0%3Afunction%3Aa%2Fb/", "")
    assert found == Route("ListTags", {"Resource": "arn:aws:lambda:us-east-1:0:function:a/b"})


DURABLE = "arn:aws:lambda:us-east-1:0:function:f:1/durable-execution/name/id"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/2017-03-31/tags/a:function:b/c/", Route("ListTags", {"Resource": "a:function:b/c"})),
        (
            "GET",
            f"/2025-12-01/durable-executions/{DURABLE}",
            Route("GetDurableExecution", {"DurableExecutionArn": DURABLE}),
        ),
        (
            "GET",
            f"/2025-12-01/durable-executions/{DURABLE}/history",
            Route("GetDurableExecutionHistory", {"DurableExecutionArn": DURABLE}),
        ),
        (
            "POST",
            "/2025-12-01/durable-execution-callbacks/a/b%2Bc/fail",
            Route("SendDurableExecutionCallbackFailure", {"CallbackId": "a/b+c"}),
        ),
    ],
)
def test_an_arn_with_raw_slashes_is_understood(method: str, path: str, expected: Route) -> None:
    assert route(method, path, "") == expected


def test_the_old_path_of_asynchronous_invocation_has_a_slash_at_its_end() -> None:
    assert route("POST", "/2014-11-13/functions/f/invoke-async/", "") == Route("InvokeAsync", {"FunctionName": "f"})


def test_layers_and_one_layer_by_its_arn_are_told_apart() -> None:
    assert route("GET", "/2018-10-31/layers", "find=LayerVersion&Arn=a") == Route("GetLayerVersionByArn", {})
    assert route("GET", "/2018-10-31/layers/", "Marker=find") == Route("ListLayers", {})


def test_a_label_is_decoded_once() -> None:
    assert route("GET", "/2015-03-31/functions/a%2525", "") == Route("GetFunction", {"FunctionName": "a%25"})


def test_operations_that_differ_in_the_query_only_are_told_apart() -> None:
    path = "/2019-09-30/functions/f/provisioned-concurrency"
    one, many = route("GET", path, "Qualifier=1"), route("GET", path, "List=ALL")
    assert one is not None
    assert many is not None
    assert one.operation == "GetProvisionedConcurrencyConfig"
    assert many.operation == "ListProvisionedConcurrencyConfigs"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/2015-03-31"),
        ("PATCH", "/2015-03-31/functions"),
        ("GET", "/2014-03-31/functions"),
        ("GET", "/2015-03-31/functions/a/b/c/d"),
        ("GET", "//2015-03-31/functions"),
        ("GET", "/2017-10-31/functions/f/concurrency"),
    ],
)
def test_anything_else_is_no_operation(method: str, path: str) -> None:
    assert route(method, path, "") is None


@given(st.text(), st.text(), st.text())
def test_no_path_makes_the_router_fail(method: str, path: str, query: str) -> None:
    route(method, path, query)
