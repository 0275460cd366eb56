"""The Policy attribute of queues, and the statements that AddPermission makes.

Rule: this account's own services and principals reach a queue by what they themselves are allowed. So a statement
that allows is kept and shown and changes nothing; one that denies would have to change something, and is refused
instead of being kept in vain.
Source: AddPermission and RemovePermission in the Amazon SQS API reference; "Basic examples of Amazon SQS policies".
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hearth_gateway.core.sqs_errors import SqsError, missing, out_of_range

MAX_STATEMENTS = 20
MAX_ACTIONS = 7
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ACCOUNT = re.compile(r"\d{12}")
ACTIONS = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)


def check_policy(text: str) -> str | None:
    """Why this document cannot be a queue's policy; None if it can."""
    try:
        statements = statements_of(text)
    except ValueError:
        return "It is not a policy document."
    for statement in statements:
        if statement.get("Effect") == "Deny":
            return "A statement that denies would not be enforced here. Deny it to the principal, in its own policy."
        if statement.get("Effect") != "Allow" or not ("Action" in statement or "NotAction" in statement):
            return "Every statement needs an Effect and an Action."
    return None


def statements_of(text: str) -> list[dict[str, Any]]:
    """The statements of a policy, none of an empty text. Raises ValueError."""
    if not text:
        return []
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    statements = document.get("Statement") if isinstance(document, dict) else None
    listed: list[Any] = statements if isinstance(statements, list) else [statements]
    if not all(isinstance(one, dict) for one in listed):
        raise ValueError("a statement is no object")
    return listed


def with_permission(text: str, arn: str, label: str, *, accounts: Sequence[str], actions: Sequence[str]) -> str:
    """The policy with one statement more. Raises SqsError."""
    _check(label, accounts, actions)
    statements = statements_of(text)
    if any(known.get("Sid") == label for known in statements):
        raise out_of_range(label, "Label", "Already exists.")
    if len(statements) >= MAX_STATEMENTS:
        raise SqsError("OverLimit", f"{MAX_STATEMENTS} permissions are the most that a queue can have.", 403)
    people = [f"arn:aws:iam::{account}:root" for account in accounts]
    statement = {
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": people[0] if len(people) == 1 else people},
        "Action": _one_or_all([f"SQS:{action}" for action in actions]),
        "Resource": arn,
    }
    return _document(text, [*statements, statement], arn)


def without_permission(text: str, arn: str, label: str) -> str:
    """The policy without one statement, "" if that was the last. Raises SqsError."""
    statements = statements_of(text)
    left = [known for known in statements if known.get("Sid") != label]
    if len(left) == len(statements):
        raise out_of_range(label, "Label", "can't find label on existing policy.")
    return _document(text, left, arn) if left else ""


def _check(label: str, accounts: Sequence[str], actions: Sequence[str]) -> None:
    if not _LABEL.fullmatch(label):
        reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length."
        raise out_of_range(label, "Label", reason)
    if not accounts:
        raise missing("PrincipalId")
    if not actions:
        raise missing("Actions")
    if not all(map(_ACCOUNT.fullmatch, accounts)):
        raise out_of_range(list(accounts), "PrincipalId", "Unable to verify.")
    if unknown := [action for action in actions if action not in ACTIONS]:
        reason = "Please refer to the appropriate WSDL for a list of valid actions."
        raise out_of_range(f"SQS:{unknown[0]}", "ActionName", reason)
    if len(actions) > MAX_ACTIONS:
        raise SqsError("OverLimit", f"{len(actions)} Actions were found, maximum allowed is {MAX_ACTIONS}.", 403)


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _document(before: str, statements: list[dict[str, Any]], arn: str) -> str:
    head: Mapping[str, Any] = (
        json.loads(before) if before else {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy"}
    )
    return json.dumps({**head, "Statement": statements}, separators=(",", ":"))
