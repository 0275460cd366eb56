"""The floor of everything warm: a plain aiohttp hello in a process of its own, on uvloop like Hearth.

As a program (`python -m tests.bench.hello`) it serves on a free loopback port and prints the number.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from aiohttp import web
from tests.bench.load import ROOT, Target


async def _answer(_request: web.Request) -> web.Response:
    return web.json_response({"message": "hello"})


async def _serve() -> None:
    application = web.Application()
    application.router.add_get("/", _answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        # The end of the input is the end of the benchmark, however that came about.
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await runner.cleanup()


@contextmanager
def serving() -> Iterator[tuple[Target, int]]:
    """The floor's server and its process id, while the `with` lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.hello"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield Target("127.0.0.1", int(process.stdout.readline()), "/"), process.pid
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
        _runner.run(_serve())
