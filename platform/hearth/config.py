"""Hearth's settings: one file (YAML or TOML), overridden by `HEARTH_*` variables. Read once, at the start."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
    YamlConfigSettingsSource,
)


def _default_data_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/hearth")
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "hearth"


def _host_memory_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


class Settings(BaseSettings):
    """Everything an operator can set. `hearth config` prints the effective values.

    Durations are seconds, memory is MiB. The file is `hearth.yaml` or `hearth.toml` in the working directory, or
    the one that `HEARTH_CONFIG` names; a variable `HEARTH_<NAME>` beats the file.
    """

    model_config = SettingsConfigDict(env_prefix="HEARTH_", extra="forbid")

    host: str = Field(
        default="127.0.0.1", description="address to listen on; anything but loopback is open to the network"
    )
    port: int = Field(default=9400, ge=1, le=65535, description="the one port: Lambda API, function URLs, health")
    auth: Literal["iam", "none"] = Field(
        default="iam", description="iam: requests must be signed; none: everybody may do everything (loopback only)"
    )
    url_policy: Literal["open", "required"] = Field(
        default="open",
        description="function URLs without authentication: open, or required to have a public statement as on AWS",
    )
    public_url: str | None = Field(
        default=None,
        description="where others reach this Hearth, in links that it gives away (topics, hooks); unset: host and port",
    )
    region: str = Field(default="us-east-1", description="AWS region shown in ARNs")
    account: str = Field(default="000000000000", pattern=r"^\d{12}$", description="AWS account id shown in ARNs")
    instance: str = Field(default="main", pattern=r"^[a-z0-9-]{1,32}$", description="label of this Hearth's containers")
    data_dir: Path = Field(default_factory=_default_data_dir, description="code, logs, keys, Redis data")

    redis_url: str | None = Field(default=None, description="your own Redis; unset: Hearth runs one in a container")
    redis_port: int = Field(default=9401, ge=1, le=65535, description="loopback port of Hearth's own Redis")
    connections: dict[str, str] = Field(
        default_factory=dict,
        description="named Redis and SQS connections for event sources: name -> URL (docs/connections.md)",
    )

    image_pull: Literal["missing", "always"] = Field(
        default="missing",
        description="when an image function's ImageUri is pulled: if it is not on this host, or at every deployment",
    )
    aws_endpoints: dict[str, str] = Field(
        default_factory=dict,
        description="AWS services of your own: service -> URL, as in s3 -> http://127.0.0.1:9000; code in S3 comes "
        "from there, and functions find them as AWS_ENDPOINT_URL_<SERVICE>",
    )
    s3_access_key_id: str | None = Field(
        default=None, description="key for reading code from S3; unset: AWS's own variables and files"
    )
    s3_secret_access_key: SecretStr | None = Field(default=None, description="the secret of that key")

    account_concurrency: int = Field(default=1000, ge=1, description="invocations in flight, all functions together")
    unreserved_minimum: int = Field(default=100, ge=0, description="concurrency that reservations must leave free")
    memory_budget_mib: int = Field(
        default_factory=lambda: int(_host_memory_mib() * 0.8), ge=128, description="memory of all environments"
    )
    idle_timeout_s: float = Field(default=600.0, gt=0, description="an environment idle for this long stops")
    environment_lifetime_s: float = Field(
        default=43_200.0, gt=0, description="an environment this old is replaced; its credentials last a little longer"
    )
    init_timeout_s: float = Field(default=10.0, gt=0, description="limit of the init phase")
    start_timeout_s: float = Field(default=30.0, gt=0, description="limit for a container to start and connect")
    stem_cells: dict[str, int] = Field(
        default_factory=lambda: {"python3.13": 4, "nodejs22.x": 2}, description="waiting containers per runtime"
    )
    stem_cells_max: int = Field(default=32, ge=0, description="ceiling of waiting containers per runtime under demand")
    parallel_starts: int = Field(
        default=4, ge=1, description="container starts under way at once (dockerd is the bottleneck)"
    )
    function_network: Literal["internet", "none"] = Field(
        default="internet", description="what functions reach: internet (no other function), or nothing"
    )
    runtime_substitution: Literal["nearest", "refuse"] = Field(
        default="nearest", description="a function whose interpreter is missing: run on the nearest, or refuse"
    )
    runtime_images: dict[str, str] = Field(
        default_factory=dict, description="images of your own: runtime identifier -> image"
    )
    function_endpoint: str | None = Field(
        default=None, description="AWS_ENDPOINT_URL in functions; unset: this Hearth, where they can reach it"
    )
    image_prefix: str = Field(
        default="hearth", description="repository of the runtime images: <prefix>/python3.13:latest"
    )
    cold_start_mode: Literal["auto", "mount", "link"] = Field(
        default="auto", description="how code reaches a container: mounts (root), hard links, or whichever works"
    )

    stream_max_bytes: int = Field(default=200 * 2**20, ge=1, description="largest response that a function may stream")
    stream_rate_bytes_per_s: int = Field(
        default=0, ge=0, description="speed of a streamed response after its first 6 MiB (AWS: 2097152); 0: no limit"
    )

    log_bytes_per_function: int = Field(default=16 * 2**20, ge=2**16, description="newest output kept per function")
    code_storage_bytes: int = Field(default=75 * 10**9, ge=2**20, description="all stored packages together")
    async_retry_delays_s: tuple[float, ...] = Field(
        default=(60.0, 120.0),
        min_length=1,
        description="asynchronous invocations: waits before the second and the third attempt",
    )
    service_policy: Literal["required", "open"] = Field(
        default="required",
        description="services (topics, buses, buckets) that invoke functions: by permission as on AWS, or open",
    )
    dead_letters_per_box: int = Field(
        default=10_000, ge=1, description="dead letters kept per function or target; the oldest go first"
    )
    dead_letter_retention_s: int = Field(default=1_209_600, ge=60, description="how long dead letters are kept")
    invocations_kept: int = Field(
        default=10_000, ge=1, description="ended asynchronous invocations that can be asked for, per function"
    )
    invocation_retention_s: int = Field(default=86_400, ge=60, description="how long they can be asked for")
    webhook_reach: Literal["public", "everywhere"] = Field(
        default="public",
        description="webhooks that are called: not this host nor link-local addresses, or whatever is named",
    )
    max_receive_count: int = Field(
        default=5, ge=1, description="attempts of a queue message before it is dead-lettered"
    )
    missed_firings: Literal["latest", "all", "skip"] = Field(
        default="latest",
        description="firings of schedules missed while Hearth was not running: the latest of each is made good, all of "
        "them, or none; never one older than the schedule's maximum event age",
    )

    @classmethod
    def settings_customise_sources(  # noqa: PLR0917 - the signature is pydantic's
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then the file, then defaults."""
        return (init_settings, env_settings, *_file_sources(settings_cls))


def _file_sources(settings_cls: type[BaseSettings]) -> tuple[PydanticBaseSettingsSource, ...]:
    named = os.environ.get("HEARTH_CONFIG")
    path = Path(named) if named else next(filter(Path.exists, map(Path, ("hearth.yaml", "hearth.toml"))), None)
    if path is None:
        return ()
    if path.suffix == ".toml":
        return (TomlConfigSettingsSource(settings_cls, toml_file=path),)
    return (YamlConfigSettingsSource(settings_cls, yaml_file=path),)
