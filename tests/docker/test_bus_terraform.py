"""Terraform's AWS provider and event buses: rules, targets and permissions, applied, unchanged, changed, destroyed."""

import json
from pathlib import Path

import pytest
from tests.docker.house import House, unique
from tests.docker.test_terraform import configured

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

CONFIGURATION = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "name" {}
variable "endpoint" {}
variable "total" {
  type    = number
  default = 10
}

provider "aws" {
  endpoints {
    events = var.endpoint
    sqs    = var.endpoint
    sts    = var.endpoint
  }
}

resource "aws_sqs_queue" "orders" {
  name = var.name
}

resource "aws_cloudwatch_event_bus" "shop" {
  name        = var.name
  description = "orders"
  tags        = { team = "shop" }
}

resource "aws_cloudwatch_event_rule" "paid" {
  name           = "paid"
  event_bus_name = aws_cloudwatch_event_bus.shop.name
  event_pattern  = jsonencode({ source = ["shop"], detail = { total = [{ numeric = [">", var.total] }] } })
  tags           = { team = "shop" }
}

resource "aws_cloudwatch_event_target" "queue" {
  rule           = aws_cloudwatch_event_rule.paid.name
  event_bus_name = aws_cloudwatch_event_bus.shop.name
  target_id      = "queue"
  arn            = aws_sqs_queue.orders.arn
  input_transformer {
    input_paths    = { total = "$.detail.total" }
    input_template = "{\\"total\\": <total>}"
  }
  retry_policy {
    maximum_event_age_in_seconds = 60
    maximum_retry_attempts       = 2
  }
  dead_letter_config {
    arn = aws_sqs_queue.orders.arn
  }
}

resource "aws_cloudwatch_event_rule" "nightly" {
  name                = "${var.name}-nightly"
  schedule_expression = "cron(0 3 * * ? *)"
  state               = "DISABLED"
}

output "arn" { value = aws_cloudwatch_event_rule.paid.arn }
"""


def test_terraform_applies_changes_and_destroys_a_bus_with_rules(hearth: House, tmp_path: Path) -> None:
    name = unique("shop")
    with configured(tmp_path, hearth, CONFIGURATION) as terraform:
        terraform.variables = {"name": name, "endpoint": hearth.variables["AWS_ENDPOINT_URL"]}
        assert terraform.apply()["arn"].endswith(f":rule/{name}/paid")
        assert terraform.changes() == ""
        terraform.variables["total"] = "20"
        terraform.apply()
        assert terraform.changes() == ""
        described = hearth.command("events", "describe-rule", "--name", "paid", "--event-bus-name", name, program="aws")
        assert '{"numeric": [">", 20]}' in json.dumps(json.loads(json.loads(described)["EventPattern"]))
        terraform.destroy()
    buses = hearth.command("events", "list-event-buses", "--name-prefix", name, program="aws")
    assert json.loads(buses)["EventBuses"] == []
