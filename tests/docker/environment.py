"""A hardened container as Hearth runs them, with the scheduler's end of its socket in the test's hands."""

import os
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.models.containers import Container
from tests.unit.base_images.peer import PATIENCE_S, Client, Frame, Listener, Peer

LABEL = "hearth.test"


@dataclass(slots=True)
class InitLink:
    """The init's connection and the descriptors it handed over."""

    peer: Peer
    greeting: Frame
    runtime_api: socket.socket
    output: int

    def read_output(self) -> str:
        """What is in the pipe now; never waits."""
        data = b""
        while True:
            try:
                more = os.read(self.output, 65536)
            except BlockingIOError:
                return data.decode()
            if not more:
                return data.decode()
            data += more

    def exit(self) -> tuple[str, ...]:
        """Wait for the runtime's end: exit code and signal."""
        return self.peer.expect(b"x").meta

    def close(self) -> None:
        self.runtime_api.close()
        os.close(self.output)


class Environment:
    """One container. `stem`: our image's runtime client; otherwise any command, on 127.0.0.1:9001."""

    def __init__(self, engine: docker.DockerClient, image: str, init: Path, folder: Path) -> None:
        self._engine, self._image, self._init = engine, image, init
        self.task, self.opt, self.tmp, self._sockets = (folder / name for name in ("task", "opt", "tmp", "sockets"))
        for path in (self.task / "lib", self.opt / "lib", self.tmp, self._sockets):
            path.mkdir(parents=True)
        self.tmp.chmod(0o1777)
        self.listener = Listener(self._sockets)
        self.container: Container | None = None
        self._waiting: dict[str, Peer] = {}
        self._links: list[InitLink] = []
        self._accepted: list[Peer] = []

    def start(self, *command: str, variables: Mapping[str, str] | None = None) -> None:
        self.container = self._engine.containers.run(
            self._image,
            ["/hearth/init", *command],
            entrypoint=[],
            detach=True,
            labels={LABEL: "images"},
            user="993:990",
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            pids_limit=256,
            mem_limit="256m",
            volumes=[
                f"{self._init}:/hearth/init:ro",
                f"{self._sockets}:/run/hearth:ro",
                f"{self.task}:/var/task:ro",
                f"{self.opt}:/opt:ro",
                f"{self.tmp}:/tmp",
            ],
            environment={
                "HEARTH_SOCKET": "/run/hearth/environment.sock",
                "HEARTH_ORPHAN_S": str(PATIENCE_S),
                "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
                **(variables or {}),
            },
        )

    def start_stem(self) -> None:
        self.start("/var/runtime/bootstrap", variables={"HEARTH_STEM": "1"})

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.task / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def init(self) -> InitLink:
        """The init's next connection."""
        peer = self._accept("init")
        frame, descriptors = peer.receive_with_descriptors(2)
        assert frame.kind == b"i"
        assert stat.S_ISFIFO(os.fstat(descriptors[1]).st_mode)
        link = InitLink(peer, frame, socket.socket(fileno=descriptors[0]), descriptors[1])
        self._links.append(link)
        return link

    def client(self) -> Client:
        """The runtime client's connection; remembers how to get the next."""
        return Client(lambda: self._accept("runtime"))

    def wait(self) -> int:
        """Wait for the container's end: its status."""
        assert self.container is not None
        status = self.container.wait(timeout=PATIENCE_S)["StatusCode"]
        assert isinstance(status, int)
        return status

    def close(self) -> None:
        if self.container is not None:
            self.container.remove(force=True, v=True)
        for link in self._links:
            link.close()
        for peer in self._accepted:
            peer.close()
        self.listener.close()

    def _accept(self, role: str) -> Peer:
        """Init and client connect in either order: the one not asked for waits its turn."""
        while role not in self._waiting:
            peer = self.listener.accept()
            self._accepted.append(peer)
            self._waiting["init" if peer.peek() == b"i" else "runtime"] = peer
        return self._waiting.pop(role)


MakeEnvironment = Callable[[str], Environment]
