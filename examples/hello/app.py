"""A first function. It answers over its URL and takes messages from a queue; both are ordinary Lambda events."""

from typing import Any


def greeting(name: str) -> str:
    return f"Hello, {name}, from a warm container!"


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A queue sends `Records` (the SQS shape); a function URL sends a request (payload format 2.0)."""
    if "Records" in event:
        return from_queue(event["Records"])
    name = (event.get("queryStringParameters") or {}).get("name") or event.get("name") or "world"
    print(f"called over HTTP or by invoke, for {name}")
    return {"message": greeting(name), "request_id": context.aws_request_id}


def from_queue(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What is printed goes to the function's log. Messages listed as failures would come again."""
    for record in records:
        print(f"message {record['messageId']}: {greeting(record['body'])}")
    return {"batchItemFailures": []}
