"""Where things lie in Hearth's data directory, and the secrets that are made there once.

Rule 1: a file named `.hearth` marks a directory as ours; without it nothing there is ever deleted as a whole.
Rule 2: `run/` holds only what dies with a run; `run/lock` and `run/turn` are never deleted, since a lock is its inode.
"""

import json
import os
import secrets
import string
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from hearth.config import Settings
from hearth.core.identity import MASTER_KEY_BYTES
from hearth.sealing import KEY_BYTES
from hearth_cli.console import Failure

_KEY_PAIR = "access-key.json"
_TOPIC_KEY = "topic-key.pem"
_ACCESS_KEY_ALPHABET = string.ascii_uppercase + "234567"


@dataclass(frozen=True, slots=True)
class DataDir:
    """The paths below one data directory."""

    root: Path

    @property
    def marker(self) -> Path:
        return self.root / ".hearth"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def lock(self) -> Path:
        """Held by the daemon as long as it lives; contains its pid."""
        return self.run / "lock"

    @property
    def turn(self) -> Path:
        """Held by the `hearth up` or `hearth down` that is at work."""
        return self.run / "turn"

    @property
    def last_exit(self) -> Path:
        """Why the last daemon ended, in words; missing if it was killed."""
        return self.run / "last-exit"

    @property
    def output(self) -> Path:
        """What the daemon wrote to its standard streams before (or instead of) logging."""
        return self.run / "daemon.out"

    @property
    def log(self) -> Path:
        return self.root / "hearth.log"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def redis(self) -> Path:
        """The data of Hearth's own Redis."""
        return self.root / "redis"

    @property
    def redis_conf(self) -> Path:
        return self.root / "redis.conf"

    def create(self) -> None:
        """Make what every command relies on. Idempotent."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.marker.exists() and any(self.root.iterdir()):
                raise Failure(f"{self.root} is not empty and not a data directory of Hearth; choose another data_dir")
            self.marker.touch()
            for folder in (self.run, self.keys):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Failure(f"cannot use the data directory {self.root}: {error.strerror}") from error


def data_dir(settings: Settings) -> DataDir:
    """The settings' data directory, as an absolute path."""
    return DataDir(settings.data_dir.expanduser().resolve())


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The credentials that AWS clients sign their requests with."""

    access_key_id: str
    secret_access_key: str


def key_pair(place: DataDir) -> KeyPair:
    """This installation's key pair, made at the first call."""
    fresh = json.dumps(
        {
            "access_key_id": "AKIA" + "".join(secrets.choice(_ACCESS_KEY_ALPHABET) for _ in range(16)),
            "secret_access_key": secrets.token_urlsafe(30),
        }
    )
    return KeyPair(**json.loads(_made_once(place, _KEY_PAIR, fresh)))


def replace_key_pair(place: DataDir, pair: KeyPair) -> None:
    """From now on this is the installation's key pair. The file is the old or the new one at every moment."""
    path = place.keys / _KEY_PAIR
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    _link_new(fresh, json.dumps(asdict(pair)))
    fresh.replace(path)
    directory = os.open(place.keys, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def session_key(place: DataDir) -> bytes:
    """The key that temporary credentials are made and recognised with, made at the first call."""
    return bytes.fromhex(_made_once(place, "session-key", secrets.token_hex(MASTER_KEY_BYTES)))


def sealing_key(place: DataDir) -> bytes:
    """The key that secrets in the store are sealed with, made at the first call."""
    return bytes.fromhex(_made_once(place, "sealing-key", secrets.token_hex(KEY_BYTES)))


def topic_key(place: DataDir, make: Callable[[], str]) -> str:
    """The key that topics sign their messages with, as PEM, made at the first call, which takes a moment."""
    return _made_once(place, _TOPIC_KEY, "" if (place.keys / _TOPIC_KEY).exists() else make())


def redis_password(place: DataDir) -> str:
    """The password of Hearth's own Redis, made at the first call."""
    return _made_once(place, "redis-password", secrets.token_hex(24))


def _made_once(place: DataDir, name: str, fresh: str) -> str:
    """The content of a secret file, which is `fresh` if there was none. Of two that race, one wins."""
    path = place.keys / name
    try:
        if not path.exists():
            place.create()
            _link_new(path, fresh)
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}; are you the user who runs Hearth?") from error


def _link_new(path: Path, content: str) -> None:
    # mkstemp makes the file 0600. A link appears complete or not at all, and never replaces.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(descriptor)
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
