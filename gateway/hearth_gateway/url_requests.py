"""Requests to function URLs, as they come in by either lane: by host name, or by Hearth's own path `/fn/<name>/`."""

import asyncio

from aiohttp import web

from hearth.core.errors import HearthError
from hearth.core.invocation import MAX_REQUEST_BYTES
from hearth.ports import Scheduler
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.http_head import Head
from hearth_gateway.core.tracing import REQUEST_ID_BYTES, request_id
from hearth_gateway.fast_lane import Answer, Done, NotPlain, failed
from hearth_gateway.function_url import FunctionUrls, UrlTarget
from hearth_gateway.random_bytes import RandomBytes
from hearth_gateway.request_body import read_body
from hearth_gateway.streaming import head as answer_head
from hearth_gateway.url_streaming import RESPONSE_STREAM, StreamedUrls

_PATH_PREFIX = "/fn/"
_HOST = ".lambda-url."


def is_for_url(host: str, path: str) -> bool:
    """Whether a request is for a function URL. By host name it is, whatever its path."""
    return _HOST in host or path.startswith(_PATH_PREFIX)


class UrlRequests:
    """Answers every request to a function URL."""

    def __init__(self, urls: FunctionUrls, scheduler: Scheduler) -> None:
        self._urls = urls
        self._streamed = StreamedUrls(urls, scheduler)
        self._random = RandomBytes()

    def plainly(self, head: Head, body: bytes, peer: str, done: Done) -> "asyncio.Future[None] | None":
        """A request from the fast lane. The connection is the task's parent."""
        identity = request_id(self._random.take(REQUEST_ID_BYTES))
        try:
            target, path = self._target(head.headers[b"host"].decode("latin-1"), head.path)
        except HearthError as error:
            done(identity, failed(error))
            return None
        if target.url.invoke_mode == RESPONSE_STREAM:
            raise NotPlain
        request = HttpRequest(
            method=head.method,
            path=path,
            query=head.target.partition("?")[2],
            headers=head.pairs(),
            body=body,
            source_ip=peer,
            sent_path=head.path,
        )

        async def respond() -> None:
            try:
                answer = await self._urls.respond(target, request, identity)
                response = Answer(answer.status, answer.headers, answer.body)
            except Exception as error:  # the top of a request
                response = failed(error)
            done(identity, response)

        return asyncio.create_task(respond(), name="function-url")

    async def respond(self, request: web.BaseRequest, sent_path: str, query: str, identity: str) -> web.StreamResponse:
        """A request from the other lane. Raises HearthError where there is no URL that could answer."""
        target, path = self._target(request.headers.get("Host", ""), sent_path)
        body = await read_body(request, MAX_REQUEST_BYTES, "InvokeFunction")
        arrived = HttpRequest(
            method=request.method,
            path=path,
            query=query,
            headers=tuple(request.headers.items()),
            body=body,
            source_ip=request.remote or "",
            protocol=f"HTTP/{request.version.major}.{request.version.minor}",
            sent_path=sent_path,
        )
        if target.url.invoke_mode == RESPONSE_STREAM:
            return await self._streamed.respond(request, target, arrived, identity=identity)
        response = await self._urls.respond(target, arrived, identity)
        headers = answer_head(response.headers, identity)
        return web.Response(status=response.status, headers=headers, body=response.body)

    def _target(self, host: str, path: str) -> tuple[UrlTarget, str]:
        """The function behind a URL, and the path as it sees it. Raises HearthError."""
        if _HOST in host:
            return self._urls.by_host(host.partition(".")[0].lower()), path
        name, slash, rest = path[len(_PATH_PREFIX) :].partition("/")
        return self._urls.by_name(name), slash + rest or "/"
