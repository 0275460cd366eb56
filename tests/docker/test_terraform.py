"""Terraform's AWS provider, pointed at Hearth by `endpoints` alone: create, plan without changes, update, destroy."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.docker.house import House, package, unique

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

PROVIDER = "registry.terraform.io/hashicorp/aws"
"""Where a mirror keeps the provider: the address that every configuration uses."""
MIRRORS = ("/opt/*", "/usr/local/share/*", "/usr/share/*", "/usr/lib/*", "~/.terraform.d/*")
"""Where distributions of Terraform put provider mirrors besides the places that it searches by itself."""
LIMIT_S = 300

COMMON = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "name" {}
variable "endpoint" {}
variable "archive" {}
variable "layer_archive" {}
variable "memory" { default = 128 }

provider "aws" {
  endpoints {
    lambda = var.endpoint
    iam    = var.endpoint
    sts    = var.endpoint
    logs   = var.endpoint
  }
}

data "aws_caller_identity" "me" {}

resource "aws_iam_role" "function" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}
"""

CONFIGURATION = (
    COMMON
    + """
resource "aws_iam_role_policy" "inline" {
  name = "inline"
  role = aws_iam_role.function.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "lambda:InvokeFunction", Resource = "*" }]
  })
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.function.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 7
}

resource "aws_lambda_layer_version" "shared" {
  layer_name          = var.name
  filename            = var.layer_archive
  compatible_runtimes = ["python3.13"]
}

resource "aws_lambda_function" "function" {
  function_name    = var.name
  role             = aws_iam_role.function.arn
  filename         = var.archive
  source_code_hash = filebase64sha256(var.archive)
  runtime          = "python3.13"
  handler          = "app.handler"
  memory_size      = var.memory
  timeout          = 10
  publish          = true
  layers           = [aws_lambda_layer_version.shared.arn]

  reserved_concurrent_executions = 5

  environment {
    variables = { STAGE = "live" }
  }
  tags = { team = "a" }

  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy_attachment.logs]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.function.function_name
  function_version = aws_lambda_function.function.version
}

resource "aws_lambda_provisioned_concurrency_config" "live" {
  function_name                     = aws_lambda_alias.live.function_name
  qualifier                         = aws_lambda_alias.live.name
  provisioned_concurrent_executions = 1
}

resource "aws_lambda_permission" "bucket" {
  statement_id   = "bucket"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.function.function_name
  qualifier      = aws_lambda_alias.live.name
  principal      = "s3.amazonaws.com"
  source_arn     = "arn:aws:s3:::pictures"
  source_account = data.aws_caller_identity.me.account_id
}

resource "aws_lambda_function_url" "url" {
  function_name      = aws_lambda_function.function.function_name
  authorization_type = "NONE"
  cors {
    allow_origins = ["*"]
    allow_methods = ["GET"]
  }
}

resource "aws_lambda_function_event_invoke_config" "events" {
  function_name          = aws_lambda_function.function.function_name
  maximum_retry_attempts = 1
}

resource "aws_lambda_event_source_mapping" "queue" {
  event_source_arn = "arn:aws:sqs:us-east-1:${data.aws_caller_identity.me.account_id}:${var.name}"
  function_name    = aws_lambda_function.function.arn
  batch_size       = 5
}

output "url" { value = aws_lambda_function_url.url.function_url }
output "version" { value = aws_lambda_function.function.version }
"""
)

SETTINGS = (
    COMMON
    + """
resource "aws_iam_policy" "managed" {
  name = var.name
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = ["*"] }]
  })
}

resource "aws_iam_role_policy_attachment" "managed" {
  role       = aws_iam_role.function.name
  policy_arn = aws_iam_policy.managed.arn
}

resource "aws_lambda_layer_version" "shared" {
  layer_name               = var.name
  filename                 = var.layer_archive
  description              = "shared"
  license_info             = "MIT"
  compatible_runtimes      = ["python3.13"]
  compatible_architectures = ["x86_64"]
}

resource "aws_lambda_layer_version_permission" "everybody" {
  layer_name     = aws_lambda_layer_version.shared.layer_name
  version_number = aws_lambda_layer_version.shared.version
  statement_id   = "everybody"
  action         = "lambda:GetLayerVersion"
  principal      = "*"
}

resource "aws_lambda_function" "function" {
  function_name = var.name
  role          = aws_iam_role.function.arn
  filename      = var.archive
  runtime       = "python3.13"
  handler       = "app.handler"
  description   = "all settings"
  memory_size   = var.memory
  architectures = ["x86_64"]
  layers        = [aws_lambda_layer_version.shared.arn]

  ephemeral_storage { size = 1024 }
  tracing_config { mode = "Active" }
  dead_letter_config {
    target_arn = "arn:aws:sqs:us-east-1:${data.aws_caller_identity.me.account_id}:${var.name}"
  }
  logging_config {
    log_format            = "JSON"
    application_log_level = "DEBUG"
    system_log_level      = "WARN"
    log_group             = "/shared/${var.name}"
  }
}

resource "aws_lambda_runtime_management_config" "updates" {
  function_name     = aws_lambda_function.function.function_name
  update_runtime_on = "FunctionUpdate"
}

resource "aws_lambda_function_recursion_config" "loops" {
  function_name  = aws_lambda_function.function.function_name
  recursive_loop = "Allow"
}

resource "aws_lambda_invocation" "once" {
  function_name = aws_lambda_function.function.function_name
  input         = jsonencode({ a = 1 })
}

data "aws_lambda_function" "found" {
  function_name = aws_lambda_function.function.function_name
}

data "aws_lambda_layer_version" "found" {
  layer_name = aws_lambda_layer_version.shared.layer_name
}

output "answer" { value = jsondecode(aws_lambda_invocation.once.result) }
output "found" { value = data.aws_lambda_function.found.description }
output "layer" { value = data.aws_lambda_layer_version.found.version }
"""
)

HANDLER = "import of_the_layer\ndef handler(event, context):\n    return [of_the_layer.VALUE, {answer}, event]\n"


class Terraform:
    """A configuration in a folder of its own."""

    def __init__(self, folder: Path, hearth: House) -> None:
        self.folder = folder
        self._environment = os.environ | hearth.variables | {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        self._environment |= _mirror_settings(folder)
        self.variables: dict[str, str] = {}

    def run(self, *arguments: str, accepted: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env=self._environment | {f"TF_VAR_{name}": value for name, value in self.variables.items()},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode in accepted, (
            f"terraform {' '.join(arguments)}\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
        )
        return done

    def apply(self) -> Mapping[str, Any]:
        self.run("apply", "-auto-approve", "-input=false", "-no-color")
        outputs = json.loads(self.run("output", "-json").stdout)
        return {name: output["value"] for name, output in outputs.items()}

    def destroy(self) -> None:
        self.run("destroy", "-auto-approve", "-input=false", "-no-color")

    def changes(self) -> str:
        """What a plan would change; empty if nothing."""
        done = self.run("plan", "-detailed-exitcode", "-input=false", "-no-color", accepted=(0, 2))
        return "" if done.returncode == 0 else done.stdout


def _mirror_settings(folder: Path) -> dict[str, str]:
    """Settings that let `init` find the provider on this machine, where it is not configured already."""
    configured = os.environ.get("TF_CLI_CONFIG_FILE")
    if configured and Path(configured).exists():
        return {}
    places = [place for pattern in MIRRORS for place in Path("/").glob(str(Path(pattern).expanduser())[1:])]
    mirror = next((place for place in places if (place / PROVIDER).is_dir()), None)
    settings = folder / "settings.tfrc"
    mirrored = "" if mirror is None else f'provider_installation {{ filesystem_mirror {{ path = "{mirror}" }} }}\n'
    settings.write_text(mirrored)
    return {"TF_CLI_CONFIG_FILE": str(settings)}


@contextmanager
def configured(folder: Path, hearth: House, configuration: str) -> Iterator[Terraform]:
    """A configuration that is ready to be applied; what it made is destroyed in the end."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    found = Terraform(folder, hearth)
    (folder / "main.tf").write_text(configuration)
    name = unique("terraform")
    found.variables = {
        "name": name,
        "endpoint": hearth.variables["AWS_ENDPOINT_URL"],
        "archive": str(folder / "function.zip"),
        "layer_archive": str(folder / "layer.zip"),
    }
    (folder / "function.zip").write_bytes(package({"app.py": HANDLER.format(answer=1)}))
    (folder / "layer.zip").write_bytes(package({"python/of_the_layer.py": "VALUE = 'layer'\n"}))
    try:
        started = found.run("init", "-input=false", "-no-color", accepted=(0, 1))
    except subprocess.TimeoutExpired:
        pytest.skip("the provider hashicorp/aws cannot be had here: its registry says nothing")
    if started.returncode:
        pytest.skip(f"the provider hashicorp/aws cannot be had here: {started.stderr[-500:]}")
    yield found
    if found.run("state", "list", accepted=(0, 1)).stdout.strip():
        found.destroy()


@pytest.fixture
def terraform(tmp_path: Path, hearth: House) -> Iterator[Terraform]:
    with configured(tmp_path, hearth, CONFIGURATION) as found:
        yield found


def test_terraform_creates_plans_no_changes_updates_and_destroys(terraform: Terraform, hearth: House) -> None:
    name = terraform.variables["name"]
    outputs = terraform.apply()
    assert terraform.changes() == ""
    assert outputs["version"] == "1"
    assert hearth.invoke(name, 7, Qualifier="live").value == ["layer", 1, 7]
    assert hearth.api.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")["Status"] == "READY"

    (terraform.folder / "function.zip").write_bytes(package({"app.py": HANDLER.format(answer=2)}))
    terraform.variables["memory"] = "256"
    assert terraform.apply()["version"] == "2"
    assert terraform.changes() == ""
    assert hearth.invoke(name, 7, Qualifier="live").value == ["layer", 2, 7]

    terraform.destroy()
    assert [
        one["FunctionName"] for one in hearth.api.list_functions()["Functions"] if one["FunctionName"] == name
    ] == []
    mappings = hearth.api.list_event_source_mappings(EventSourceArn=hearth.queue_arn(name))
    assert mappings["EventSourceMappings"] == []
    assert name not in [layer["LayerName"] for layer in hearth.api.list_layers()["Layers"]]


def test_every_setting_is_read_back_as_it_was_written(tmp_path: Path, hearth: House) -> None:
    with configured(tmp_path, hearth, SETTINGS) as terraform:
        outputs = terraform.apply()
        assert outputs == {"answer": ["layer", 1, {"a": 1}], "found": "all settings", "layer": 1}
        assert terraform.changes() == ""
        name = terraform.variables["name"]
        assert hearth.api.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
        updates = hearth.api.get_runtime_management_config(FunctionName=name)
        assert updates["UpdateRuntimeOn"] == "FunctionUpdate"

        terraform.variables["memory"] = "256"
        terraform.apply()
        assert terraform.changes() == ""
