"""Which service a request to the bare port means, told apart as AWS clients tell them apart.

Rule 1: requests to `/`, to the URL of a queue (`/<account>/<name>`) and to the few paths of EventBridge Scheduler can
mean another service; every path of the Lambda API begins with a date.
Rule 2: what is signed decides before what is not: the credential scope, then the target of the JSON protocols, then
the action of the query protocol, then the host name. What none of them decides is Lambda.
Source: "Elements of an AWS API request signature", AWS IAM user guide; AWS JSON 1.1 and AWS query protocols, Smithy.
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs

LAMBDA = "lambda"
STS, IAM, LOGS = "sts", "iam", "logs"
SQS, SNS, EVENTS, SCHEDULER = "sqs", "sns", "events", "scheduler"
FORM = "application/x-www-form-urlencoded"

_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/[^/,\s]*/(?P<service>[^/,\s]+)/aws4_request")
_TARGETS = {"Logs_20140328": LOGS, "AmazonSQS": SQS, "AWSEvents": EVENTS}
_VERSIONS = {"2011-06-15": STS, "2010-05-08": IAM, "2010-03-31": SNS, "2012-11-05": SQS}
_HOSTS = frozenset({STS, IAM, LOGS, SQS, SNS, EVENTS, SCHEDULER})
_QUEUE_URL = re.compile(r"/\d{12}/[^/]+/?")
_SCHEDULER_PATH = re.compile(r"/(?:schedules|schedule-groups|tags)(?:/.*)?")
MAX_FORM_FIELDS = 10_000


def choose_service(method: str, path: str, query: str, *, headers: Mapping[str, str], body: bytes) -> str:
    """The signing name of the service that is meant; names of services that are not here are given as well.

    `path` and `query` are raw; `headers` find a name in any case.
    """
    if _SCHEDULER_PATH.fullmatch(path):
        return SCHEDULER
    if not is_of_neighbours(path) or method not in ("POST", "GET"):
        return LAMBDA
    asked = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    if method == "GET" and "Action" not in asked:
        return LAMBDA
    return (
        _signed_for(headers.get("Authorization", ""), asked)
        or _TARGETS.get(headers.get("X-Amz-Target", "").partition(".")[0])
        or _versioned(headers.get("Content-Type", ""), asked, body)
        or _host_of(headers.get("Host", ""))
        or (SQS if _QUEUE_URL.fullmatch(path) else LAMBDA)
    )


def is_of_neighbours(path: str) -> bool:
    """Whether a request to this raw path is for the services beside Lambda."""
    return path in ("", "/") or bool(_QUEUE_URL.fullmatch(path) or _SCHEDULER_PATH.fullmatch(path))


def _signed_for(authorization: str, asked: Mapping[str, list[str]]) -> str | None:
    presigned = asked.get("X-Amz-Credential", [""])[0]
    found = _SCOPE.search(authorization) or _SCOPE.fullmatch(f"Credential={presigned}")
    return found["service"] if found else None


def _versioned(content_type: str, asked: Mapping[str, list[str]], body: bytes) -> str | None:
    if "Action" not in asked and content_type.partition(";")[0].strip().lower() == FORM:
        try:
            asked = parse_qs(body.decode("latin-1"), max_num_fields=MAX_FORM_FIELDS)
        except ValueError:
            return None
    if "Action" not in asked:
        return None
    return _VERSIONS.get(asked.get("Version", [""])[0])


def _host_of(host: str) -> str | None:
    first = host.partition(".")[0].lower()
    return first if first in _HOSTS else None
