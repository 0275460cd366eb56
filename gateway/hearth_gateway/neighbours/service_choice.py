"""Which service a request to the bare port means, told apart as AWS clients tell them apart.

Rule 1: only requests to `/` can mean another service; every path of the Lambda API is longer.
Rule 2: what is signed decides before what is not: the credential scope, then the target of the JSON protocols, then
the action of the query protocol, then the host name. What none of them decides is Lambda.
Source: "Elements of an AWS API request signature", AWS IAM user guide; AWS JSON 1.1 and AWS query protocols, Smithy.
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs

LAMBDA = "lambda"
STS, IAM, LOGS = "sts", "iam", "logs"
FORM = "application/x-www-form-urlencoded"

_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/[^/,\s]*/(?P<service>[^/,\s]+)/aws4_request")
_TARGETS = {"Logs_20140328": LOGS}
_VERSIONS = {"2011-06-15": STS, "2010-05-08": IAM}
_HOSTS = frozenset({STS, IAM, LOGS})
MAX_FORM_FIELDS = 10_000


def choose_service(method: str, path: str, query: str, *, headers: Mapping[str, str], body: bytes) -> str:
    """The signing name of the service that is meant; names of services that are not here are given as well.

    `path` and `query` are raw; `headers` find a name in any case.
    """
    if path not in ("", "/") or method not in ("POST", "GET"):
        return LAMBDA
    asked = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    if method == "GET" and "Action" not in asked:
        return LAMBDA
    return (
        _signed_for(headers.get("Authorization", ""), asked)
        or _TARGETS.get(headers.get("X-Amz-Target", "").partition(".")[0])
        or _versioned(headers.get("Content-Type", ""), asked, body)
        or _host_of(headers.get("Host", ""))
        or LAMBDA
    )


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
