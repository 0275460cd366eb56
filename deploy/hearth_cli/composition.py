"""The composition root: the one place that names concrete classes and joins them into a running Hearth."""

import asyncio
import json

from aiohttp import web

from hearth.config import Settings
from hearth_cli.console import Failure


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let what is in flight finish. Raises what keeps Hearth from running."""
    health = {"status": "ok", "instance": settings.instance, "functions": 0, "environments": {}}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/health":
            return web.Response(text=json.dumps(health), content_type="application/json")
        return web.Response(status=404)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        await stop.wait()
    except OSError as error:
        raise Failure(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error
    finally:
        await runner.cleanup()
