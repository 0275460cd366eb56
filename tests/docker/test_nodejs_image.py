"""What a Node.js function can do and see, in its image: AWS's client on our transport."""

import re

import pytest
from tests.docker.environment import InitLink, MakeEnvironment
from tests.docker.test_images import ENVIRONMENT, NODE, engine, init, make, stem
from tests.unit.base_images.peer import Client

pytestmark = pytest.mark.docker
__all__ = ["engine", "init", "make"]  # fixtures

NODE_PATH = "/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"


def start(
    make: MakeEnvironment, files: dict[str, str], handler: str = "app.handler", **variables: str
) -> tuple[InitLink, Client]:
    environment = stem(make, NODE)
    link, client = environment.init(), environment.client()
    environment.write(files)
    client.become(handler, {**ENVIRONMENT, **variables})
    return link, client


def fail_to_start(make: MakeEnvironment, files: dict[str, str], handler: str) -> tuple[str, str]:
    environment = stem(make, NODE)
    client = environment.client()
    environment.write(files)
    assert client.hello() == "stem"
    client.specialise(handler, ENVIRONMENT)
    frame = client.peer.expect(b"F")
    error = frame.json()
    assert error["errorType"] == frame.meta[0]
    return frame.meta[0], str(error["errorMessage"])


def test_a_callback_answers_when_the_event_loop_is_empty(make: MakeEnvironment) -> None:
    code = """
exports.handler = (event, context, callback) => {
    let later = "too early";
    setTimeout(() => { later = "after the timer"; }, 5);
    callback(null, { get when() { return later; } });
};
"""
    _, client = start(make, {"app.js": code})
    assert client.invoke({}) == {"when": "after the timer"}
    assert client.invoke({}, "id-2") == {"when": "after the timer"}


def test_a_callback_does_not_wait_if_told_so(make: MakeEnvironment) -> None:
    code = """
exports.handler = (event, context, callback) => {
    context.callbackWaitsForEmptyEventLoop = false;
    setInterval(() => {}, 1000);
    callback(null, "now");
};
"""
    _, client = start(make, {"app.js": code})
    assert client.invoke({}) == "now"


def test_an_error_given_to_the_callback_is_an_error(make: MakeEnvironment) -> None:
    code = "exports.handler = (event, context, callback) => callback(new TypeError('bad'));"
    _, client = start(make, {"app.js": code})
    kind, error = client.invoke_to_error({})
    assert (kind, error["errorType"], error["errorMessage"]) == ("TypeError", "TypeError", "bad")
    assert isinstance(error["trace"], list)


@pytest.mark.parametrize(
    "files",
    [
        {"app.mjs": "export const handler = async (event) => event;"},
        {"package.json": '{"type": "module"}', "app.js": "export const handler = async (event) => event;"},
        {"app.cjs": "exports.handler = async (event) => event;"},
    ],
)
def test_modules_of_either_kind_are_loaded(make: MakeEnvironment, files: dict[str, str]) -> None:
    _, client = start(make, files)
    assert client.invoke({"a": 1}) == {"a": 1}


def test_a_nested_export_in_a_folder_is_found(make: MakeEnvironment) -> None:
    files = {"src/app.js": "exports.deep = { handler: async () => 'found' };"}
    _, client = start(make, files, "src/app.deep.handler")
    assert client.invoke({}) == "found"


def test_a_module_in_a_layer_is_found(make: MakeEnvironment) -> None:
    environment = stem(make, NODE)
    client = environment.client()
    module = environment.opt / "nodejs" / "node_modules" / "greeting"
    module.mkdir(parents=True)
    (module / "index.js").write_text("module.exports = 'from the layer';")
    environment.write({"app.js": "exports.handler = async () => require('greeting');"})
    client.become("app.handler", ENVIRONMENT)
    assert client.invoke({}) == "from the layer"


@pytest.mark.parametrize(
    "files",
    [
        {
            "app.mjs": """
import { S3Client } from "@aws-sdk/client-s3";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
export const handler = async () => [typeof S3Client, typeof DynamoDBDocumentClient];
"""
        },
        {
            "app.js": """
const { S3Client } = require("@aws-sdk/client-s3");
const { DynamoDBDocumentClient } = require("@aws-sdk/lib-dynamodb");
exports.handler = async () => [typeof S3Client, typeof DynamoDBDocumentClient];
"""
        },
    ],
    ids=["import", "require"],
)
def test_the_aws_sdk_is_there_for_either_kind_of_module(make: MakeEnvironment, files: dict[str, str]) -> None:
    _, client = start(make, files)
    assert client.invoke({}) == ["function", "function"]


def test_every_client_of_the_sdk_that_is_promised_can_be_loaded(make: MakeEnvironment) -> None:
    promised = [
        *(f"client-{name}" for name in ("lambda", "s3", "dynamodb", "sqs", "sns", "ssm", "secrets-manager", "sts")),
        *("client-eventbridge", "lib-dynamodb", "lib-storage", "credential-providers", "s3-request-presigner"),
    ]
    code = "exports.handler = async (names) => names.filter((n) => typeof require('@aws-sdk/' + n) !== 'object');"
    _, client = start(make, {"app.js": code})
    assert client.invoke(promised) == []


def test_a_function_trusts_what_the_host_trusts(make: MakeEnvironment) -> None:
    code = """
const fs = require("fs");
const { getCACertificates } = require("tls");
const folder = "/usr/local/share/ca-certificates";
const bare = (certificate) => certificate.replace(/\\s/g, "");

exports.handler = async () => {
    const extra = new Set(getCACertificates("extra").map(bare));
    const added = fs.readdirSync(folder).filter((name) => name.startsWith("host-"));
    const lacking = added.filter((name) => !extra.has(bare(fs.readFileSync(`${folder}/${name}`, "utf8"))));
    return { lacking, extra: extra.size === Math.max(added.length, 1) };
};
"""
    link, client = start(make, {"app.js": code})
    assert client.invoke({}) == {"lacking": [], "extra": True}
    assert "Warning" not in link.read_output()


SDK = "@aws-sdk/client-s3"
ASK = {
    "import": ("app.mjs", f"import {{ name }} from '{SDK}'; export const handler = async () => name;"),
    "require": ("app.js", f"exports.handler = async () => require('{SDK}').name;"),
}


@pytest.mark.parametrize("way", ASK)
def test_the_own_copy_of_a_module_comes_before_those_of_layers_and_these_before_the_runtimes(
    make: MakeEnvironment, way: str
) -> None:
    file, code = ASK[way]
    places = ["task/node_modules", "opt/nodejs/node22/node_modules", "opt/nodejs/node_modules"]
    for there in range(len(places)):
        environment = stem(make, NODE)
        client = environment.client()
        environment.write({file: code})
        for place in places[there:]:
            folder, _, rest = place.partition("/")
            module = {"task": environment.task, "opt": environment.opt}[folder] / rest / SDK
            module.mkdir(parents=True)
            (module / "index.js").write_text(f"exports.name = '{place}';")
        client.become("app.handler", {**ENVIRONMENT, "NODE_PATH": NODE_PATH})
        assert client.invoke({}) == places[there]


def test_callbacks_ended_with_node_24_whatever_interpreter_stands_in(make: MakeEnvironment) -> None:
    environment = stem(make, NODE)
    client = environment.client()
    environment.write({"app.js": "exports.handler = (event, context, callback) => callback(null, 1);"})
    assert client.hello() == "stem"
    client.specialise("app.handler", {**ENVIRONMENT, "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x"})
    frame = client.peer.expect(b"F")
    assert frame.meta == ("Runtime.CallbackHandlerDeprecated",)
    assert "removed support for callback-based function handlers" in str(frame.json()["errorMessage"])


def test_the_context_says_what_lambda_says(make: MakeEnvironment) -> None:
    code = """
exports.handler = async (event, context) => ({
    ...context, left: context.getRemainingTimeInMillis() > 0, trace: process.env._X_AMZN_TRACE_ID,
});
"""
    _, client = start(make, {"app.js": code})
    answer = client.invoke({}, client_context='{"custom": {"k": 1}}', trace="Root=1", tenant="blue")
    assert answer == {
        "callbackWaitsForEmptyEventLoop": True,
        "functionVersion": "$LATEST",
        "functionName": "hello",
        "memoryLimitInMB": "128",
        "logGroupName": "/aws/lambda/hello",
        "logStreamName": "2026/11/21/[$LATEST]0",
        "clientContext": {"custom": {"k": 1}},
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "awsRequestId": "id-1",
        "tenantId": "blue",
        "left": True,
        "trace": "Root=1",
    }


def test_console_lines_carry_time_request_and_level(make: MakeEnvironment) -> None:
    code = """
console.log("during init");
exports.handler = async () => { console.info("one"); console.error("two"); console.debug("a\\nb"); };
"""
    link, client = start(make, {"app.js": code})
    client.invoke({})
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t"
    expected = [
        rf"{stamp}undefined\tINFO\tduring init",
        rf"{stamp}id-1\tINFO\tone",
        rf"{stamp}id-1\tERROR\ttwo",
        rf"{stamp}id-1\tDEBUG\ta\rb",
    ]
    lines = link.read_output().removesuffix("\n").split("\n")
    assert len(lines) == len(expected)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(expected, lines, strict=True)), lines


@pytest.mark.parametrize(
    ("code", "kind", "status", "logged"),
    [
        ("setTimeout(() => { throw new RangeError('late'); }, 1)", "RangeError", "129", "Uncaught Exception"),
        (
            "Promise.reject(new Error('late'))",
            "Runtime.UnhandledPromiseRejection",
            "128",
            "Unhandled Promise Rejection",
        ),
    ],
)
def test_what_nobody_catches_is_reported_and_ends_the_process(
    make: MakeEnvironment, code: str, kind: str, status: str, logged: str
) -> None:
    link, client = start(make, {"app.js": f"exports.handler = () => new Promise(() => {{ {code}; }});"})
    client.event({})
    answer = client.peer.expect(b"E")
    assert answer.meta == ("id-1", kind)
    assert "late" in str(answer.json()["errorMessage"])
    assert link.exit() == (status, "0")
    assert f"\tid-1\tERROR\t{logged} \t" in link.read_output()


@pytest.mark.parametrize(
    ("handler", "code", "kind", "message"),
    [
        ("nowhere.handler", "", "Runtime.ImportModuleError", "Error: Cannot find module 'nowhere'"),
        ("app.handler", "require('missing')", "Runtime.ImportModuleError", "Error: Cannot find module 'missing'"),
        ("app.absent", "", "Runtime.HandlerNotFound", "app.absent is undefined or not exported"),
        ("app.handler", "}{", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '}'"),
        ("../app.handler", "", "Runtime.MalformedHandlerName", "'../app.handler' is not a valid handler name."),
        ("app", "", "Runtime.MalformedHandlerName", "Bad handler"),
        ("app.handler", "throw new RangeError('at load')", "RangeError", "at load"),
        ("app.handler", "setImmediate(() => {}); process.nextTick(() => { throw Error('x'); })", "Error", "x"),
    ],
)
def test_a_function_that_cannot_be_loaded_says_why(
    make: MakeEnvironment, handler: str, code: str, kind: str, message: str
) -> None:
    told, text = fail_to_start(make, {"app.js": code}, handler)
    assert told == kind
    assert text.startswith(message)


def test_the_time_zone_of_the_function_counts(make: MakeEnvironment) -> None:
    code = "exports.handler = async () => new Date(0).getHours();"
    _, client = start(make, {"app.js": code}, TZ="Asia/Tokyo")
    assert client.invoke({}) == 9
