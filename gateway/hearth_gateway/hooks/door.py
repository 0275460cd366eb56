"""The public door of hooks: `POST /hooks/<name>`.

| status | what it means |
|---|---|
| 202 | kept, on disk; it will be delivered |
| 200 | nothing to deliver: a ping, a question for the URL, no record that is wanted, a repetition |
| 400 | an object store's message that is none |
| 401 | the signature is missing, wrong, or too old |
| 404, 405 | no such hook; not a POST |
| 413 | the body is too large |
| 429, 503 | too much at once, or it could not be kept: to be sent again |

Rule 1: nothing is parsed, looked up or kept for a request that is not proved.
Rule 2: 202 after it is on disk, and not before; everything else is said so that the sender repeats it, if it ever does.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import unquote

import orjson
import structlog
from multidict import CIMultiDict

from hearth.core.errors import ServiceError
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.auth.authentication import LARGE_BODY
from hearth_gateway.core.hook_signatures import flaw_in
from hearth_gateway.core.hooks import (
    MAX_BODY_BYTES,
    REMEMBERED,
    Hook,
    Told,
    delivery_id,
    parcel_of,
    parcels_of_objects,
    reply_to,
)
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.s3_events import NotAnS3Event, s3_records
from hearth_gateway.core.tracing import TRACE_BYTES, trace_header
from hearth_gateway.hooks.book import HookBook
from hearth_gateway.random_bytes import RandomBytes
from hearth_gateway.topics.ports import Deduplication

PREFIX = "/hooks/"
MAX_AT_ONCE = 64
"""Deliveries of one hook that wait for the disk; the next is told to come again."""
_REFUSED, _UNKEPT = 400, 500
_JSON = {"Content-Type": "application/json"}
_LATER = {**_JSON, "Retry-After": "5"}

log = structlog.get_logger(__name__)


class HookDoor:
    """Lets deliveries in. `now_ms` gives epoch milliseconds. `counts` is by hook and status, for the health page."""

    def __init__(
        self,
        book: HookBook,
        courier: Courier,
        memory: Deduplication,
        now_ms: Callable[[], int],
        *,
        region: str,
        port: int,
    ) -> None:
        self._book = book
        self._courier = courier
        self._memory = memory
        self._now_ms = now_ms
        self._region = region
        self._port = port
        self._random = RandomBytes()
        self._at_once: Counter[str] = Counter()
        self.counts: Counter[tuple[str, int]] = Counter()

    @property
    def max_bytes(self) -> int:
        return MAX_BODY_BYTES

    def health(self) -> Mapping[str, object]:
        """How many requests were taken, and how many were not, since the start."""
        found = {"taken": 0, "refused": 0, "unkept": 0}
        for (_, status), count in self.counts.items():
            found["taken" if status < _REFUSED else "refused" if status < _UNKEPT else "unkept"] += count
        return found

    async def respond(self, request: HttpRequest, request_id: str) -> ApiResponse:
        """See `OpenDoor`."""
        kept = self._book.find(unquote(request.path.removeprefix(PREFIX)))
        if kept is None:
            return _said(404, "There is no such hook.")
        if request.method != "POST":
            return ApiResponse(405, b"", {"Allow": "POST"})
        hook, headers, now_ms = kept.hook, CIMultiDict(request.headers), self._now_ms()
        prove = partial(flaw_in, hook.style, hook.scheme, headers, request.body, now_s=now_ms / 1000)
        secrets = kept.secrets(now_ms / 1000)
        is_slow = len(request.body) >= LARGE_BODY
        flaw = await asyncio.to_thread(prove, secrets=secrets) if is_slow else prove(secrets=secrets)
        if flaw is not None:
            log.warning("a hook refused a request", hook=hook.name, why=flaw.name.lower(), source_ip=request.source_ip)
            answer = _said(401, flaw.value)
        elif self._at_once[hook.name] >= MAX_AT_ONCE:
            answer = _said(429, "Too many deliveries at once. Try again.", _LATER)
        else:
            answer = await self._take(hook, request, headers, request_id=request_id, now_ms=now_ms)
        self.counts[hook.name, answer.status] += 1
        return answer

    async def _take(
        self, hook: Hook, request: HttpRequest, headers: Mapping[str, str], *, request_id: str, now_ms: int
    ) -> ApiResponse:
        reply = reply_to(hook, headers, request.body)
        if reply is not None:
            return ApiResponse(200, reply.body, _JSON)
        trace = trace_header(headers.get("X-Amzn-Trace-Id", ""), self._random.take(TRACE_BYTES), now_ms // 1000)
        told = Told(request, request_id, trace, now_ms, self._port)
        self._at_once[hook.name] += 1
        try:
            if hook.is_for_objects:
                return await self._keep_objects(hook, told)
            return await self._keep(hook, told, headers)
        except NotAnS3Event as error:
            return _said(400, f"This is no event of an object store: {error}.")
        except ServiceError as error:
            log.error("a delivery could not be kept", hook=hook.name, error=str(error))
            return _said(503, "The delivery could not be kept. Try again.", _LATER)
        finally:
            self._at_once[hook.name] -= 1

    async def _keep_objects(self, hook: Hook, told: Told) -> ApiResponse:
        parcels = parcels_of_objects(hook, told, s3_records(told.request.body, self._region))
        if not parcels:
            return _said(200, "No record is wanted.")
        await self._courier.post(parcels)
        return _accepted(parcels)

    async def _keep(self, hook: Hook, told: Told, headers: Mapping[str, str]) -> ApiResponse:
        delivery = delivery_id(hook, headers, told.request.body)
        parcel = parcel_of(hook, told, headers, delivery)
        if delivery and hook.style in REMEMBERED:
            claim = await self._memory.claim(hook.name, delivery, parcel.id)
            if not claim.is_new:
                return _said(200, "This delivery was taken before.")
        await self._courier.post([parcel])
        if delivery and hook.style in REMEMBERED:
            try:
                await self._memory.finish(hook.name, delivery)
            except ServiceError as error:
                # It is kept. Should it come again, it goes out again, under the same id.
                log.warning("a delivery could not be noted", hook=hook.name, error=str(error))
        return _accepted([parcel])


def _accepted(parcels: list[Parcel]) -> ApiResponse:
    return ApiResponse(202, orjson.dumps({"accepted": [parcel.id for parcel in parcels]}), _JSON)


def _said(status: int, message: str, headers: Mapping[str, str] = _JSON) -> ApiResponse:
    return ApiResponse(status, orjson.dumps({"message": message}), headers)
