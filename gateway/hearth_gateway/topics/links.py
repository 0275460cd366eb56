"""The links in what topics send: to confirm, to unsubscribe, and the certificate. Whoever has one may follow it.

`GET /sns/confirm?TopicArn=…&Token=…`, `GET /sns/unsubscribe?SubscriptionArn=…`, `GET /sns/certificate.pem`.
Source: ConfirmSubscription and Unsubscribe in the Amazon SNS API reference.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from hmac import compare_digest
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from hearth.core.errors import AccessDenied, UnknownOperation
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.topics import TOKEN_LIFETIME_S, InvalidTopicParameter, Subscription
from hearth_gateway.topics.book import TopicBook

PREFIX = "/sns/"
CERTIFICATE = "/sns/certificate.pem"
_XML = {"Content-Type": "text/xml"}
_NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"


async def confirmed(
    book: TopicBook, topic_arn: str, token: str, now_ms: int, *, needs_signature_to_end: bool = False
) -> Subscription:
    """The subscription of this token, which is confirmed now. Raises InvalidTopicParameter if there is none."""
    async with book.changing:
        for one in book.subscriptions(topic_arn):
            is_current = now_ms - one.created_ms <= TOKEN_LIFETIME_S * 1000
            if one.is_pending and is_current and compare_digest(one.token.encode(), token.encode()):
                found = replace(one, token="", needs_signature_to_end=needs_signature_to_end)
                await book.put(found)
                return found
    raise InvalidTopicParameter("Token")


class TopicLinks:
    """Follows the links."""

    max_bytes = 65_536

    def __init__(self, book: TopicBook, certificate: bytes, now_ms: Callable[[], int]) -> None:
        self._book = book
        self._certificate = certificate
        self._now_ms = now_ms

    async def respond(self, request: HttpRequest, request_id: str) -> ApiResponse:
        """Answer a request to one of the links. Raises HearthError."""
        asked = dict(parse_qsl(request.query))
        if request.method == "GET" and request.path == CERTIFICATE:
            return ApiResponse(200, self._certificate, {"Content-Type": "application/x-pem-file"})
        if request.method == "GET" and request.path == f"{PREFIX}confirm":
            return await self._confirm(asked, request_id)
        if request.method == "GET" and request.path == f"{PREFIX}unsubscribe":
            return await self._unsubscribe(asked, request_id)
        raise UnknownOperation(f"{request.method} {request.path} is no operation of this service.")

    async def _confirm(self, asked: Mapping[str, str], request_id: str) -> ApiResponse:
        found = await confirmed(self._book, asked.get("TopicArn", ""), asked.get("Token", ""), self._now_ms())
        arn = f"<SubscriptionArn>{escape(found.arn)}</SubscriptionArn>"
        return _answer("ConfirmSubscription", arn, request_id)

    async def _unsubscribe(self, asked: Mapping[str, str], request_id: str) -> ApiResponse:
        async with self._book.changing:
            found = self._book.subscription(asked.get("SubscriptionArn", ""))
            if found is not None and found.needs_signature_to_end:
                raise AccessDenied("This subscription was confirmed with AuthenticateOnUnsubscribe: sign the request.")
            if found is not None:
                await self._book.remove(found)
        return _answer("Unsubscribe", "", request_id)


def _answer(action: str, result: str, request_id: str) -> ApiResponse:
    metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    content = f"<{action}Result>{result}</{action}Result>{metadata}"
    return ApiResponse(200, f'<{action}Response xmlns="{_NAMESPACE}">{content}</{action}Response>'.encode(), _XML)
