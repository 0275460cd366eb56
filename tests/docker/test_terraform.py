"""Terraform's AWS provider, pointed at Hearth by `endpoints` alone: create, plan without changes, update, destroy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docker.house import House, package
from tests.docker.terraform import HANDLER, Provider, Terraform, configured

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

COMMON = """
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


@pytest.fixture
def terraform(tmp_path: Path, hearth: House, terraform_provider: Provider) -> Iterator[Terraform]:
    with configured(tmp_path, hearth, terraform_provider, CONFIGURATION) as found:
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


def test_every_setting_is_read_back_as_it_was_written(
    tmp_path: Path, hearth: House, terraform_provider: Provider
) -> None:
    with configured(tmp_path, hearth, terraform_provider, SETTINGS) as terraform:
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
