"""Terraform's AWS provider and everything that carries events: made, found unchanged, destroyed, in one go.

One configuration, because most of the time is the provider's own: it starts for seconds, and waits half a minute after
it wrote a queue, or anything in one that is a resource of its own. So the queues' policies are written with them, and
the queues for dead letters are there beforehand, so that all others wait at the same time.
"""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.docker.house import House
from tests.docker.terraform import Provider, configured

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

CONFIGURATION = """
variable "name" {}
variable "endpoint" {}
variable "archive" {}
variable "layer_archive" {}
variable "dead_arn" {}
variable "dead_fifo_arn" {}
variable "jobs_arn" {}
variable "stream_arn" {}

provider "aws" {
  endpoints {
    lambda    = var.endpoint
    iam       = var.endpoint
    sts       = var.endpoint
    sqs       = var.endpoint
    sns       = var.endpoint
    events    = var.endpoint
    scheduler = var.endpoint
  }
}

resource "aws_iam_role" "events" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = ["scheduler.amazonaws.com", "lambda.amazonaws.com"] }
    }]
  })
}

resource "aws_iam_role_policy" "events" {
  name = "events"
  role = aws_iam_role.events.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["lambda:*", "sqs:*", "kinesis:*"], Resource = "*" }]
  })
}

resource "aws_lambda_function" "function" {
  function_name = var.name
  role          = aws_iam_role.events.arn
  filename      = var.archive
  runtime       = "python3.13"
  handler       = "app.handler"
}

# Queues

resource "aws_sqs_queue" "jobs" {
  name                       = var.name
  visibility_timeout_seconds = 45
  delay_seconds              = 3
  receive_wait_time_seconds  = 10
  max_message_size           = 2048
  message_retention_seconds  = 1209600
  redrive_policy             = jsonencode({ deadLetterTargetArn = var.dead_arn, maxReceiveCount = 4 })
  redrive_allow_policy       = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [var.dead_arn] })
  tags                       = { team = "a" }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "topics"
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = var.jobs_arn
    }]
  })
}

resource "aws_sqs_queue" "ordered" {
  name                        = "${var.name}.fifo"
  fifo_queue                  = true
  content_based_deduplication = true
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  redrive_policy              = jsonencode({ deadLetterTargetArn = var.dead_fifo_arn, maxReceiveCount = 2 })
}

# A bus

resource "aws_cloudwatch_event_bus" "shop" {
  name        = var.name
  description = "orders"
  tags        = { team = "shop" }
}

resource "aws_cloudwatch_event_rule" "paid" {
  name           = "paid"
  event_bus_name = aws_cloudwatch_event_bus.shop.name
  event_pattern  = jsonencode({ source = ["shop"], detail = { total = [{ numeric = [">", 10] }] } })
  tags           = { team = "shop" }
}

resource "aws_cloudwatch_event_target" "queue" {
  rule           = aws_cloudwatch_event_rule.paid.name
  event_bus_name = aws_cloudwatch_event_bus.shop.name
  target_id      = "queue"
  arn            = var.dead_arn
  input_transformer {
    input_paths    = { total = "$.detail.total" }
    input_template = "{\\"total\\": <total>}"
  }
  retry_policy {
    maximum_event_age_in_seconds = 60
    maximum_retry_attempts       = 2
  }
  dead_letter_config {
    arn = var.dead_arn
  }
}

resource "aws_cloudwatch_event_target" "function" {
  rule           = aws_cloudwatch_event_rule.paid.name
  event_bus_name = aws_cloudwatch_event_bus.shop.name
  arn            = aws_lambda_function.function.arn
  input_path     = "$.detail"
}

resource "aws_cloudwatch_event_rule" "nightly" {
  name                = "${var.name}-nightly"
  schedule_expression = "cron(0 3 * * ? *)"
  state               = "DISABLED"
}

# Schedules

resource "aws_scheduler_schedule_group" "nightly" {
  name = var.name
  tags = { "hearth:missed-firings" = "skip" }
}

resource "aws_scheduler_schedule" "office" {
  name                         = var.name
  group_name                   = aws_scheduler_schedule_group.nightly.name
  description                  = "office hours"
  schedule_expression          = "cron(0/30 8-17 ? * MON-FRI *)"
  schedule_expression_timezone = "Europe/Berlin"
  start_date                   = "2030-01-01T01:00:00Z"
  end_date                     = "2040-01-01T01:00:00Z"

  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = 5
  }

  target {
    arn      = aws_lambda_function.function.arn
    role_arn = aws_iam_role.events.arn
    input    = jsonencode({ at = "<aws.scheduler.scheduled-time>" })
    retry_policy {
      maximum_retry_attempts       = 3
      maximum_event_age_in_seconds = 3600
    }
    dead_letter_config {
      arn = var.dead_arn
    }
  }
}

# Topics

resource "aws_sns_topic" "orders" {
  name         = var.name
  display_name = "Orders"
  tags         = { team = "shop" }
}

resource "aws_sns_topic" "ordered" {
  name                        = "${var.name}.fifo"
  fifo_topic                  = true
  content_based_deduplication = true
}

resource "aws_sns_topic_policy" "orders" {
  arn = aws_sns_topic.orders.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid = "buckets", Effect = "Allow", Principal = { Service = "s3.amazonaws.com" }
      Action = "SNS:Publish", Resource = aws_sns_topic.orders.arn
    }]
  })
}

resource "aws_lambda_permission" "orders" {
  statement_id  = "orders"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.function.function_name
  principal     = "sns.amazonaws.com"
  source_arn    = aws_sns_topic.orders.arn
}

resource "aws_sns_topic_subscription" "function" {
  topic_arn  = aws_sns_topic.orders.arn
  protocol   = "lambda"
  endpoint   = aws_lambda_function.function.arn
  depends_on = [aws_lambda_permission.orders]
}

resource "aws_sns_topic_subscription" "parcels" {
  topic_arn            = aws_sns_topic.orders.arn
  protocol             = "sqs"
  endpoint             = var.dead_arn
  raw_message_delivery = true
  filter_policy_scope  = "MessageBody"
  filter_policy        = jsonencode({ kind = ["new", { prefix = "re" }], total = [{ numeric = [">", 10] }] })
  redrive_policy       = jsonencode({ deadLetterTargetArn = var.dead_arn })
}

# Event source mappings

resource "aws_lambda_event_source_mapping" "queue" {
  event_source_arn                   = aws_sqs_queue.jobs.arn
  function_name                      = aws_lambda_function.function.arn
  batch_size                         = 20
  maximum_batching_window_in_seconds = 2
  function_response_types            = ["ReportBatchItemFailures"]
  scaling_config { maximum_concurrency = 7 }
  filter_criteria {
    filter { pattern = jsonencode({ body = { kind = ["new"] } }) }
    filter { pattern = jsonencode({ body = { total = [{ numeric = [">", 10] }] } }) }
  }
  tags       = { team = "a" }
  depends_on = [aws_iam_role_policy.events]
}

resource "aws_lambda_event_source_mapping" "stream" {
  event_source_arn               = var.stream_arn
  function_name                  = aws_lambda_function.function.arn
  starting_position              = "LATEST"
  batch_size                     = 50
  parallelization_factor         = 2
  maximum_retry_attempts         = 3
  maximum_record_age_in_seconds  = 3600
  bisect_batch_on_function_error = true
  depends_on                     = [aws_iam_role_policy.events]
  destination_config {
    on_failure { destination_arn = var.dead_arn }
  }
}

output "rule" { value = aws_cloudwatch_event_rule.paid.arn }
output "mapping" { value = aws_lambda_event_source_mapping.queue.uuid }
"""


def client(hearth: House, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=hearth.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=hearth.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=hearth.variables["AWS_SECRET_ACCESS_KEY"],
        region_name=hearth.variables["AWS_REGION"],
    )


def test_terraform_makes_everything_that_carries_events_sees_no_changes_and_destroys_it(
    tmp_path: Path, hearth: House, terraform_provider: Provider
) -> None:
    sqs, sns, events, scheduler = (client(hearth, name) for name in ("sqs", "sns", "events", "scheduler"))
    with configured(tmp_path, hearth, terraform_provider, CONFIGURATION) as terraform:
        name = terraform.variables["name"]
        dead, dead_fifo = f"{name}-dead", f"{name}-dead.fifo"
        terraform.variables |= {
            "dead_arn": hearth.queue_arn(dead),
            "dead_fifo_arn": hearth.queue_arn(dead_fifo),
            "jobs_arn": hearth.queue_arn(name),
            "stream_arn": f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}",
        }
        sqs.create_queue(QueueName=dead)
        sqs.create_queue(QueueName=dead_fifo, Attributes={"FifoQueue": "true"})
        outputs = terraform.apply()
        assert terraform.changes() == ""

        assert outputs["rule"].endswith(f":rule/{name}/paid")
        rule = events.describe_rule(Name="paid", EventBusName=name)
        assert json.loads(rule["EventPattern"])["detail"] == {"total": [{"numeric": [">", 10]}]}
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert (queue["VisibilityTimeout"], queue["MaximumMessageSize"]) == ("45", "2048")
        assert scheduler.get_schedule(Name=name, GroupName=name)["ScheduleExpressionTimezone"] == "Europe/Berlin"
        mapping = hearth.api.get_event_source_mapping(UUID=outputs["mapping"])
        assert (mapping["State"], mapping["ScalingConfig"]) == ("Enabled", {"MaximumConcurrency": 7})

        terraform.destroy()
    assert set(sqs.list_queues(QueueNamePrefix=name)["QueueUrls"]) == {
        sqs.get_queue_url(QueueName=one)["QueueUrl"] for one in (dead, dead_fifo)
    }
    assert events.list_event_buses(NamePrefix=name)["EventBuses"] == []
    assert scheduler.list_schedules(NamePrefix=name)["Schedules"] == []
    assert scheduler.list_schedule_groups(NamePrefix=name)["ScheduleGroups"] == []
    assert not any(name in topic["TopicArn"] for topic in sns.list_topics()["Topics"])
    assert hearth.api.list_event_source_mappings(FunctionName=name)["EventSourceMappings"] == []
