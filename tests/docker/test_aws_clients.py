"""What AWS's own clients see: boto3 and the aws command, from creation to deletion, and the errors in between."""

import base64
import hashlib
import io
import json
import urllib.request
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.docker.house import PYTHON, ROLE, House, eventually, package, unique

pytestmark = pytest.mark.docker

HELLO = "def handler(event, context):\n    return {'hello': event}\n"


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[int, str, str]:
    """Status, code and message of the error that this call must end with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    status: int = response["ResponseMetadata"]["HTTPStatusCode"]
    return status, response["Error"]["Code"], response["Error"]["Message"]


def creation(name: str, zipped: bytes | None = None, **other: Any) -> dict[str, Any]:
    """Parameters of CreateFunction."""
    code = {"ZipFile": package({"app.py": HELLO}) if zipped is None else zipped}
    return {
        "FunctionName": name,
        "Runtime": PYTHON,
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": code,
        **other,
    }


class TestBoto3:
    def test_a_function_lives_from_pending_to_gone(self, hearth: House) -> None:
        api, name = hearth.api, unique("life")
        zipped = package({"app.py": HELLO})

        created = api.create_function(**creation(name, zipped, Description="first", Timeout=5))
        assert created["State"] == "Pending"
        assert created["StateReasonCode"] == "Creating"
        assert created["FunctionArn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
        assert created["CodeSha256"] == base64.b64encode(hashlib.sha256(zipped).digest()).decode()
        assert created["CodeSize"] == len(zipped)
        api.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

        answer = api.invoke(FunctionName=name, Payload=b'{"a": [1, "\xc3\xa4"]}')
        assert json.loads(answer["Payload"].read()) == {"hello": {"a": [1, "ä"]}}
        assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")

        got = api.get_function(FunctionName=name)
        assert got["Configuration"]["State"] == "Active"
        assert got["Configuration"]["LastUpdateStatus"] == "Successful"
        with urllib.request.urlopen(got["Code"]["Location"], timeout=30) as download:
            assert download.read() == zipped

        api.delete_function(FunctionName=name)
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
        not_found = (404, "ResourceNotFoundException", f"Function not found: {arn}")
        assert refused(api.get_function, FunctionName=name) == not_found
        assert refused(api.invoke, FunctionName=name)[:2] == not_found[:2]
        assert refused(api.delete_function, FunctionName=name) == not_found

    def test_names_in_every_form_mean_the_same_function(self, hearth: House) -> None:
        name = hearth.create("forms", HELLO)
        for form in (
            name,
            f"{name}:$LATEST",
            f"function:{name}",
            f"000000000000:function:{name}",
            f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
            f"arn:aws:lambda:us-east-1:000000000000:function:{name}:$LATEST",
        ):
            assert hearth.invoke(form).value == {"hello": None}
            assert hearth.api.get_function_configuration(FunctionName=form)["FunctionName"] == name

    def test_listing_goes_page_by_page_and_names_each_function_once(self, hearth: House) -> None:
        names = {hearth.create("page", HELLO, ready=False) for _ in range(7)}
        pages = hearth.api.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
        listed = [function["FunctionName"] for page in pages for function in page["Functions"]]
        assert names <= set(listed)
        assert len(listed) == len(set(listed))

    def test_a_dry_run_runs_nothing(self, hearth: House) -> None:
        name = hearth.create("dry", "def handler(event, context):\n    print('ran')\n")
        assert hearth.api.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
        hearth.invoke(name)
        eventually(lambda: "REPORT" in hearth.log(name), "the log is written")
        assert hearth.log(name).count("ran\n") == 1

    def test_the_tail_is_the_log_of_this_invocation(self, hearth: House) -> None:
        name = hearth.create("tail", "def handler(event, context):\n    print('says', event)\n")
        assert "says one" in hearth.invoke(name, "one").log
        second = hearth.invoke(name, "two")
        assert "says two" in second.log
        assert "says one" not in second.log
        assert second.log.startswith(f"START RequestId: {second.request_id} Version: $LATEST\n")

    def test_the_tail_is_the_last_4_kb(self, hearth: House) -> None:
        name = hearth.create("long", "def handler(event, context):\n    print('x' * 20_000)\n")
        answer = hearth.invoke(name)
        assert len(answer.log) == 4096
        assert answer.log.rstrip().endswith("MB") or "Init Duration" in answer.log[-60:]

    def test_the_client_context_reaches_the_function(self, hearth: House) -> None:
        code = "def handler(event, context):\n    return [context.client_context.custom, context.aws_request_id]\n"
        name = hearth.create("client", code)
        context = base64.b64encode(json.dumps({"custom": {"k": "v"}, "client": {}, "env": {}}).encode()).decode()
        answer = hearth.invoke(name, ClientContext=context)
        assert answer.value == [{"k": "v"}, answer.request_id]

    def test_latest_is_the_only_qualifier(self, hearth: House) -> None:
        name = hearth.create("latest", HELLO)
        assert hearth.invoke(name, 1, Qualifier="$LATEST").value == {"hello": 1}
        status, code, text = refused(hearth.api.invoke, FunctionName=name, Qualifier="7")
        assert (status, code) == (404, "ResourceNotFoundException")
        assert text.endswith(f":function:{name}:7")

    def test_new_code_and_configuration_apply_to_the_next_call(self, hearth: House) -> None:
        name = hearth.create("update", HELLO)
        assert hearth.invoke(name, 1).value == {"hello": 1}

        answer = hearth.api.update_function_code(
            FunctionName=name,
            ZipFile=package({"app.py": "import os\ndef handler(e, c): return os.environ.get('KEY')\n"}),
        )
        assert answer["LastUpdateStatus"] == "InProgress"
        hearth.api.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        assert hearth.invoke(name).value is None

        hearth.api.update_function_configuration(
            FunctionName=name, Environment={"Variables": {"KEY": "v1"}}, MemorySize=256, Timeout=7
        )
        settled = hearth.settled(name)
        assert (settled["MemorySize"], settled["Timeout"]) == (256, 7)
        assert settled["Environment"] == {"Variables": {"KEY": "v1"}}
        assert hearth.invoke(name).value == "v1"

    def test_a_stale_revision_changes_nothing(self, hearth: House) -> None:
        name = hearth.create("revision", HELLO)
        first = hearth.settled(name)["RevisionId"]
        hearth.api.update_function_configuration(FunctionName=name, Description="new", RevisionId=first)
        hearth.settled(name)
        status, code, text = refused(
            hearth.api.update_function_configuration, FunctionName=name, Description="newer", RevisionId=first
        )
        assert (status, code) == (412, "PreconditionFailedException")
        assert text.startswith("The Revision Id provided does not match the latest Revision Id.")
        assert hearth.settled(name)["Description"] == "new"

    def test_reserved_concurrency_is_put_shown_and_taken_back(self, hearth: House) -> None:
        api, name = hearth.api, hearth.create("reserved", HELLO)
        assert "ReservedConcurrentExecutions" not in api.get_function_concurrency(FunctionName=name)
        put = api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        assert put["ReservedConcurrentExecutions"] == 0
        assert api.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 0
        with pytest.raises(ClientError) as caught:
            api.invoke(FunctionName=name)
        assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        api.delete_function_concurrency(FunctionName=name)
        assert hearth.invoke(name, 1).value == {"hello": 1}

    def test_reservations_leave_the_minimum_unreserved(self, hearth: House) -> None:
        name = hearth.create("greedy", HELLO)
        call = hearth.api.put_function_concurrency
        status, code, text = refused(call, FunctionName=name, ReservedConcurrentExecutions=901)
        assert (status, code) == (400, "InvalidParameterValueException")
        assert text.endswith("UnreservedConcurrentExecution below its minimum value of [100].")

    def test_a_url_is_made_shown_and_taken_back(self, hearth: House) -> None:
        api, name = hearth.api, hearth.create("url", HELLO)
        missing = refused(api.get_function_url_config, FunctionName=name)
        assert missing == (404, "ResourceNotFoundException", "The resource you requested does not exist.")
        made = api.create_function_url_config(FunctionName=name, AuthType="NONE")
        assert made["AuthType"] == "NONE"
        assert api.get_function_url_config(FunctionName=name)["FunctionUrl"] == made["FunctionUrl"]
        twice = refused(api.create_function_url_config, FunctionName=name, AuthType="NONE")
        assert twice[:2] == (409, "ResourceConflictException")
        api.delete_function_url_config(FunctionName=name)
        assert refused(api.get_function_url_config, FunctionName=name) == missing

    def test_a_mapping_goes_through_its_states(self, hearth: House) -> None:
        api, name, queue = hearth.api, hearth.create("mapped", HELLO), unique("queue")
        made = api.create_event_source_mapping(FunctionName=name, EventSourceArn=hearth.queue_arn(queue), BatchSize=3)
        identity = made["UUID"]
        assert made["State"] == "Creating"
        hearth.mapping_is(identity, "Enabled")
        again = refused(
            api.create_event_source_mapping, FunctionName=name, EventSourceArn=hearth.queue_arn(queue), BatchSize=3
        )
        assert again[:2] == (409, "ResourceConflictException")
        assert identity in again[2]

        listed = api.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        assert [(each["UUID"], each["BatchSize"]) for each in listed] == [(identity, 3)]
        api.update_event_source_mapping(UUID=identity, Enabled=False, BatchSize=5)
        hearth.mapping_is(identity, "Disabled")
        assert api.get_event_source_mapping(UUID=identity)["BatchSize"] == 5
        api.update_event_source_mapping(UUID=identity, Enabled=True)
        hearth.mapping_is(identity, "Enabled")

        assert api.delete_event_source_mapping(UUID=identity)["State"] == "Deleting"
        eventually(lambda: _is_gone(hearth, identity), "the mapping is gone")

    def test_the_account_shows_its_limits_and_use(self, hearth: House) -> None:
        hearth.create("account", HELLO)
        settings = hearth.api.get_account_settings()
        assert settings["AccountLimit"]["ConcurrentExecutions"] == 1000
        assert settings["AccountLimit"]["CodeSizeUnzipped"] == 262_144_000
        assert settings["AccountUsage"]["FunctionCount"] >= 1
        assert settings["AccountUsage"]["TotalCodeSize"] > 0


def _is_gone(hearth: House, mapping: str) -> bool:
    try:
        hearth.api.get_event_source_mapping(UUID=mapping)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "ResourceNotFoundException")
    return False


class TestAwsCommand:
    def test_the_command_walks_from_create_to_delete(self, hearth: House) -> None:
        name = unique("cli")
        folder = hearth.place.root.parent
        (folder / "hello.zip").write_bytes(package({"app.py": HELLO}))
        head = ("--function-name", name)
        created = hearth.aws(
            "create-function",
            *head,
            *("--runtime", PYTHON, "--role", ROLE, "--handler", "app.handler", "--zip-file", "fileb://hello.zip"),
        )
        assert created["FunctionName"] == name
        hearth.aws("wait", "function-active-v2", *head)
        answer = hearth.aws("invoke", *head, "--payload", '{"from": "cli"}', "--log-type", "Tail", "answer.json")
        assert answer["StatusCode"] == 200
        assert "REPORT RequestId: " in base64.b64decode(answer["LogResult"]).decode()
        assert json.loads((folder / "answer.json").read_text()) == {"hello": {"from": "cli"}}
        assert hearth.aws("get-function", *head)["Configuration"]["State"] == "Active"
        listed = hearth.aws("list-functions", "--page-size", "1")["Functions"]
        assert name in {function["FunctionName"] for function in listed}
        hearth.aws("delete-function", *head)
        assert refused(hearth.api.get_function, FunctionName=name)[0] == 404


ZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."


def climbing() -> bytes:
    return package({"app.py": HELLO, "../../../../../../../tmp/climbed-out": "!"})


def bomb() -> bytes:
    """300 MB of zeros in 300 KB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as entry:
        for _ in range(300):
            entry.write(bytes(10**6))
    return buffer.getvalue()


def cut() -> bytes:
    return package({"app.py": HELLO * 100})[:-40]


class TestMistakes:
    @pytest.mark.parametrize("make", [lambda: b"no zip", cut, climbing, bomb], ids=["no zip", "cut", "climbs", "bomb"])
    def test_a_bad_package_is_refused_and_nothing_of_it_stays(self, hearth: House, make: Callable[[], bytes]) -> None:
        name, before = unique("bad"), hearth.stored_packages()
        status, code, text = refused(hearth.api.create_function, **creation(name, make()))
        assert (status, code) == (400, "InvalidParameterValueException")
        assert text in (ZIP, "Unzipped size must be smaller than 262144000 bytes") or ".." in text
        assert hearth.stored_packages() == before
        assert refused(hearth.api.get_function, FunctionName=name)[0] == 404

    def test_a_bad_package_leaves_the_function_as_it_was(self, hearth: House) -> None:
        name = hearth.create("spoilt", HELLO)
        before = hearth.settled(name)
        assert refused(hearth.api.update_function_code, FunctionName=name, ZipFile=b"junk")[1:] == (
            "InvalidParameterValueException",
            ZIP,
        )
        assert hearth.settled(name)["CodeSha256"] == before["CodeSha256"]
        assert hearth.invoke(name, 2).value == {"hello": 2}

    def test_over_50_mb_of_zip_is_too_large(self, hearth: House) -> None:
        call = hearth.api.create_function
        status, code, text = refused(call, **creation(unique("large"), bytes(52_428_801)))
        assert (status, code) == (413, "RequestEntityTooLargeException")
        assert text == "Zipped size must be smaller than 52428800 bytes"

    @pytest.mark.parametrize(
        ("change", "code", "text"),
        [
            ({"Runtime": "cobol60"}, "InvalidParameterValueException", "Value cobol60 at 'runtime' failed to satisfy"),
            ({"Timeout": 901}, "ValidationException", "Member must have value less than or equal to 900"),
            ({"MemorySize": 10_241}, "ValidationException", "Member must have value less than or equal to 10240"),
            ({"Handler": "two words"}, "ValidationException", "'handler' failed to satisfy constraint"),
            ({"Environment": {"Variables": {"_X": "1"}}}, "ValidationException", "'environment.variables'"),
            (
                {"Environment": {"Variables": {"AWS_REGION": "moon"}}},
                "InvalidParameterValueException",
                "Reserved keys used in this request: AWS_REGION",
            ),
            (
                {"Environment": {"Variables": {"BIG": "x" * 4096}}},
                "InvalidParameterValueException",
                "exceeded the 4KB limit. String measured: {",
            ),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    def test_what_a_function_may_not_be(self, hearth: House, change: dict[str, Any], code: str, text: str) -> None:
        before = hearth.stored_packages()
        status, found, message = refused(hearth.api.create_function, **creation(unique("wrong"), **change))
        assert (status, found) == (400, code)
        assert text in message
        assert hearth.stored_packages() == before

    def test_a_missing_handler_is_said(self, hearth: House) -> None:
        parameters = creation(unique("handlerless"))
        del parameters["Handler"]
        assert refused(hearth.api.create_function, **parameters)[:2] == (400, "InvalidParameterValueException")

    def test_a_duplicate_is_a_conflict(self, hearth: House) -> None:
        name = hearth.create("twice", HELLO)
        assert refused(hearth.api.create_function, **creation(name)) == (
            409,
            "ResourceConflictException",
            f"Function already exist: {name}",
        )

    def test_a_name_over_64_is_refused(self, hearth: House) -> None:
        status, code, text = refused(hearth.api.create_function, **creation("n" * 65))
        assert status == 400
        assert "length less than or equal to 64" in text
        assert code in ("InvalidParameterValueException", "ValidationException")

    @pytest.mark.parametrize("payload", [b"{", b"{'a': 1}", b"\xff\xfe", b"[1,]"])
    def test_garbage_is_no_event(self, hearth: House, payload: bytes) -> None:
        name = hearth.create("garbage", HELLO)
        status, code, text = refused(hearth.api.invoke, FunctionName=name, Payload=payload)
        assert (status, code) == (400, "InvalidRequestContentException")
        assert text.startswith("Could not parse request body into json: ")

    def test_an_event_over_6_mb_is_too_large_and_one_of_6_mb_is_not(self, hearth: House) -> None:
        name = hearth.create("six", "def handler(event, context):\n    return len(event)\n", memory_mb=512)
        fits = b'"' + b"x" * (6_291_456 - 2) + b'"'
        assert json.loads(hearth.api.invoke(FunctionName=name, Payload=fits)["Payload"].read()) == 6_291_454
        status, code, text = refused(hearth.api.invoke, FunctionName=name, Payload=fits + b" ")
        assert (status, code) == (413, "RequestEntityTooLargeException")
        assert text == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"

    def test_an_answer_over_6_mb_is_the_functions_error(self, hearth: House) -> None:
        code = "def handler(event, context):\n    return 'x' * event\n"
        name = hearth.create("answer", code, memory_mb=512)
        assert len(hearth.invoke(name, 6_291_556 - 2).value) == 6_291_554
        answer = hearth.invoke(name, 6_291_556)
        assert answer.error == "Unhandled"
        assert answer.value["errorType"] == "Function.ResponseSizeTooLarge"
        assert hearth.invoke(name, 3).value == "xxx"

    def test_an_unknown_mapping_is_not_found(self, hearth: House) -> None:
        identity = "00000000-0000-4000-8000-000000000000"
        assert refused(hearth.api.get_event_source_mapping, UUID=identity)[:2] == (404, "ResourceNotFoundException")

    def test_a_mapping_needs_a_function(self, hearth: House) -> None:
        call = hearth.api.create_event_source_mapping
        status, code, text = refused(call, FunctionName=unique("nobody"), EventSourceArn=hearth.queue_arn("q"))
        assert (status, code, text) == (400, "InvalidParameterValueException", "Function does not exist")

    def test_an_unknown_path_is_an_unknown_operation(self, hearth: House) -> None:
        page = hearth.http("GET", "/2015-03-31/elephants/", is_signed=True)
        assert page.status == 404
        assert page.headers["x-amzn-errortype"].startswith("UnknownOperation")
