"""Names and URLs of queues.

Rule 1: new queues have the names that AWS allows. Queues that are only a Redis list somebody uses may have any name
that an ARN can hold (`jobs:dead`), and are found under it.
Rule 2: keys that begin with `hearth:` are the platform's own. No queue has such a name, whoever asks.
Rule 3: a queue's URL begins with the host that the client itself used, which is the one it can reach. Of a URL that
comes back only the path counts.
Source: CreateQueue and "Queue and message identifiers", Amazon SQS.
"""

import re
from urllib.parse import quote, unquote, urlsplit

from hearth_gateway.core.addresses import RESERVED
from hearth_gateway.core.sqs_errors import SqsError, invalid

FIFO_SUFFIX = ".fifo"
_STANDARD = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ANY = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_PATH = re.compile(r"/(?P<account>\d{12})/(?P<name>[^/]+)/?")

_BAD_NAME = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
_BAD_FIFO_NAME = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo "
    "suffix and be 1 to 80 in length"
)


def check_new_name(name: str, *, is_fifo: bool) -> None:
    """Raise what CreateQueue says to a name that it does not take."""
    if is_fifo:
        if not (name.endswith(FIFO_SUFFIX) and _ANY.fullmatch(name) and _STANDARD.fullmatch(name[: -len(FIFO_SUFFIX)])):
            raise invalid(_BAD_FIFO_NAME)
    elif not _STANDARD.fullmatch(name):
        raise invalid(_BAD_NAME)


def is_name(name: str) -> bool:
    """Whether a queue could have this name."""
    return bool(_ANY.fullmatch(name)) and not name.startswith(RESERVED)


def queue_url(origin: str, account: str, name: str) -> str:
    """The URL of a queue; `origin` is scheme and host as the client used them."""
    return f"{origin}/{account}/{quote(name, safe='')}"


def name_in_url(url: str, account: str) -> str:
    """The name of the queue that a URL, or the path of one, means. Raises InvalidAddress."""
    found = _PATH.fullmatch(urlsplit(url).path)
    name = unquote(found["name"]) if found else ""
    if found is None or not is_name(name):
        raise SqsError("InvalidAddress", f"The address {url} is not valid for this endpoint.", 404)
    if found["account"] != account:
        raise SqsError("QueueDoesNotExist", "The specified queue does not exist.")
    return name
