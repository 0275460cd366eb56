"""The settings as the command reads and shows them: where each value comes from, secrets masked."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from hearth.config import Settings
from hearth_cli.console import Failure
from hearth_cli.locations import data_dir

_FILES = ("hearth.yaml", "hearth.toml")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@]*):([^@]*)(?=@)")
_PASSWORD_OPTION = re.compile(r"(?<=[?&]sentinel_password=)[^&]*")
_MASK = "****"


def load() -> Settings:
    """The effective settings. Failure: a value is wrong, with its name; or the named file does not exist."""
    file = config_file()
    if file is not None and not file.is_file():
        raise Failure(f"HEARTH_CONFIG names {file}, which does not exist")
    try:
        settings = Settings()
        if _names_own_redis(settings):
            settings.redis_url = None
        return settings
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise Failure(f"the settings are wrong: {wrong}") from error
    except (SettingsError, ValueError, OSError) as error:
        raise Failure(f"the settings cannot be read: {error}") from error


def _names_own_redis(settings: Settings) -> bool:
    """Whether the URL is of Hearth's own Redis: `hearth env` exports it under the very name of the setting, and a
    shell that has evaluated that must still start and stop that Redis. Its password is known by nobody else."""
    if settings.redis_url is None:
        return False
    try:
        own = (data_dir(settings).keys / "redis-password").read_text(encoding="ascii").strip()
    except OSError:
        return False
    return urlsplit(settings.redis_url).password == own


def config_file() -> Path | None:
    """The file that the settings are read from, if any (see `hearth.config`)."""
    named = os.environ.get("HEARTH_CONFIG")
    if named:
        return Path(named)
    return next((path for path in map(Path, _FILES) if path.exists()), None)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: its value as shown, where it comes from, what it means."""

    name: str
    value: Any
    source: str
    meaning: str


def rows(settings: Settings, environment: Mapping[str, str]) -> list[Row]:
    """All settings in their order of definition."""
    given = {name.lower() for name in environment}
    file = config_file()
    return [
        Row(name, masked(getattr(settings, name)), _source(name, settings, given, file), field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def _source(name: str, settings: Settings, given: set[str], file: Path | None) -> str:
    if f"hearth_{name}" in given:
        return f"HEARTH_{name.upper()}"
    return str(file) if name in settings.model_fields_set and file is not None else "default"


def masked(value: Any) -> Any:
    """The value as it may be shown: passwords in URLs are hidden, paths are text."""
    match value:
        case str():
            return _PASSWORD_OPTION.sub(_MASK, _PASSWORD_IN_URL.sub(rf"\1:{_MASK}", value))
        case SecretStr():
            return _MASK
        case dict():
            return {key: masked(each) for key, each in value.items()}
        case Path():
            return str(value)
        case _:
            return value
