"""SNS: topics, their subscriptions, and publishing.

Source: Amazon Simple Notification Service API reference, version 2010-03-31.
"""

import secrets
import time
import uuid
from collections.abc import Callable

from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.topic_messages import Seal
from hearth_gateway.neighbours.query_protocol import QueryService
from hearth_gateway.neighbours.service_choice import SNS
from hearth_gateway.neighbours.sns_answers import Desk
from hearth_gateway.neighbours.sns_publishing import PublishOperations
from hearth_gateway.neighbours.sns_subscriptions import SubscriptionOperations
from hearth_gateway.neighbours.sns_topics import TopicOperations
from hearth_gateway.topics.publisher import TopicPublisher

VERSION = "2010-03-31"
_NAMESPACE = f"http://sns.amazonaws.com/doc/{VERSION}/"
_CODES = {"AccessDeniedException": "AuthorizationError", "ServiceException": "InternalError"}


def _now_ms() -> int:
    return int(time.time() * 1000)


def _new_id() -> str:
    return str(uuid.uuid4())


def _new_token() -> str:
    return secrets.token_hex(32)


def sns_service(
    desk: Desk,
    publisher: TopicPublisher,
    courier: Courier,
    seal: Seal,
    *,
    now_ms: Callable[[], int] = _now_ms,
) -> QueryService:
    """All of SNS that is here."""
    subscriptions = SubscriptionOperations(desk, courier, seal, now_ms, new_id=_new_id, new_token=_new_token)
    handlers = {
        **TopicOperations(desk, now_ms).handlers(),
        **subscriptions.handlers(),
        **PublishOperations(desk, publisher, now_ms).handlers(),
    }
    return QueryService(SNS, VERSION, handlers, namespace=_NAMESPACE, codes=_CODES)
