"""URLs of connections: where a server is, how it is spoken to, and as whom.

| URL | what |
|---|---|
| `redis://[user:password@]host[:port][/db]` | one server |
| `rediss://...` | the same with TLS |
| `unix:///path/to/socket[?db=0]` | one server on this machine; `unix://user:password@/path` |
| `redis+sentinel://[user:password@]h1:p1,h2:p2/<service>[/db]` | the master by its sentinels; `rediss+sentinel` |
| `redis+cluster://[user:password@]h1:p1,h2:p2` | a cluster, found through any of its nodes; `rediss+cluster` |
| `sqs+http://key:secret@host[:port]/region` | an SQS; `sqs+https` |

Rule: a URL is a secret. No error and no `repr` says more of it than its scheme, hosts and the names of its options.
Source: RFC 3986; the registrations of `redis` and `rediss` with IANA; option names as Redis clients have them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

REDIS_PORT = 6379
SENTINEL_PORT = 26379
MOST_PORT = 65_535
MASK = "****"


class BadConnectionUrl(ValueError):
    """The text is no URL of a connection; the message says why, without showing it."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A server's address in a network."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A server's socket on this machine."""

    path: str

    def __str__(self) -> str:
        return self.path


Place = HostPort | UnixSocket


@dataclass(frozen=True, slots=True)
class Login:
    """Whom the server takes us for; both empty where it asks nobody."""

    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server is trusted and how it trusts us. Files are PEM; None is the system's choice, or nothing."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    is_verified: bool = True
    checks_hostname: bool = True


@dataclass(frozen=True, slots=True)
class SingleRedis:
    """One server."""

    place: Place
    login: Login = Login()
    tls: Tls | None = None
    database: int = 0


@dataclass(frozen=True, slots=True)
class SentinelRedis:
    """The master of a service, as sentinels name it. `tls` is for them as well."""

    sentinels: tuple[HostPort, ...]
    service: str
    login: Login = Login()
    tls: Tls | None = None
    database: int = 0
    sentinel_login: Login = Login()


@dataclass(frozen=True, slots=True)
class ClusterRedis:
    """A cluster; `nodes` are those that are asked first for all others."""

    nodes: tuple[HostPort, ...]
    login: Login = Login()
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class SqsService:
    """An SQS. `endpoint` is the URL requests go to."""

    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


RedisUrl = SingleRedis | SentinelRedis | ClusterRedis
ConnectionUrl = RedisUrl | SqsService

_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_SCHEMES = "redis, rediss, unix, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster, sqs+http or sqs+https"
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_connection_url(text: str) -> ConnectionUrl:
    """What the URL says. Raises BadConnectionUrl."""
    parts = _split(text)
    match parts.scheme:
        case "redis" | "rediss":
            return _single(parts)
        case "unix":
            return _unix(parts)
        case "redis+sentinel" | "rediss+sentinel":
            return _sentinel(parts)
        case "redis+cluster" | "rediss+cluster":
            return _cluster(parts)
        case "sqs+http" | "sqs+https":
            return _sqs(parts)
        case _:
            raise BadConnectionUrl(f"A connection's URL begins with {_SCHEMES}, and '://'.")


def parse_redis_url(text: str) -> RedisUrl:
    """What the URL of a Redis says. Raises BadConnectionUrl, for an SQS too."""
    match parse_connection_url(text):
        case SqsService():
            raise BadConnectionUrl("This connection is an SQS, and no Redis.")
        case found:
            return found


def masked(text: str) -> str:
    """The URL with its secrets made unreadable; only what could be understood is shown."""
    try:
        found = parse_connection_url(text)
    except BadConnectionUrl:
        return f"{MASK} (no URL of a connection)"
    match found:
        case SingleRedis():
            return _shown_single(found)
        case SentinelRedis():
            head = f"{_scheme('redis', found.tls)}+sentinel://{_shown(found.login)}{_list(found.sentinels)}"
            options = _shown_options(found.tls) | _shown_sentinel(found.sentinel_login)
            return f"{head}/{found.service}/{found.database}{_query(options)}"
        case ClusterRedis():
            head = f"{_scheme('redis', found.tls)}+cluster://{_shown(found.login)}{_list(found.nodes)}"
            return f"{head}{_query(_shown_options(found.tls))}"
        case SqsService():
            scheme, _, rest = found.endpoint.partition("://")
            return f"sqs+{scheme}://{found.access_key_id}:{MASK}@{rest}/{found.region}"
        case _:
            assert_never(found)


# -- reading ----------------------------------------------------------------------------------------------------------


def _split(text: str) -> SplitResult:
    if any(character.isspace() or not character.isprintable() for character in text):
        raise BadConnectionUrl("A connection's URL has no spaces and no control characters in it.")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise BadConnectionUrl("This is no URL: a bracket of its host is not closed.") from None
    if "#" in text:
        raise BadConnectionUrl("A connection's URL has no fragment: '#' in a password is written %23.")
    return parts


def _single(parts: SplitResult) -> SingleRedis:
    options = _options(parts, _allowed(parts))
    login, [place] = _authority(parts, REDIS_PORT, most=1)
    return SingleRedis(place, login, _tls(parts, options), _database(parts.path.removeprefix("/")))


def _unix(parts: SplitResult) -> SingleRedis:
    options = _options(parts, {"db"})
    login, host = _login(parts.netloc)
    if host or not parts.path.startswith("/"):
        raise BadConnectionUrl("The URL of a socket has three slashes: unix:///path/to/redis.sock.")
    return SingleRedis(UnixSocket(unquote(parts.path)), login, database=_database(options.get("db", "")))


def _sentinel(parts: SplitResult) -> SentinelRedis:
    options = _options(parts, _allowed(parts) | _SENTINEL_OPTIONS)
    login, sentinels = _authority(parts, SENTINEL_PORT)
    service, _, database = parts.path.removeprefix("/").partition("/")
    if not service:
        raise BadConnectionUrl("The URL names no service: redis+sentinel://host1,host2/<service>.")
    sentinel_login = Login(options.get("sentinel_username", ""), options.get("sentinel_password", ""))
    return SentinelRedis(
        sentinels, unquote(service), login, _tls(parts, options), _database(database), sentinel_login=sentinel_login
    )


def _cluster(parts: SplitResult) -> ClusterRedis:
    options = _options(parts, _allowed(parts))
    login, nodes = _authority(parts, REDIS_PORT)
    if parts.path.strip("/") not in ("", "0"):
        raise BadConnectionUrl("A cluster has one database, 0.")
    return ClusterRedis(nodes, login, _tls(parts, options))


def _sqs(parts: SplitResult) -> SqsService:
    _options(parts, frozenset())
    login, host = _login(parts.netloc)
    region = parts.path.strip("/")
    if not (login.username and login.password and host and region) or "/" in region:
        raise BadConnectionUrl("The URL of an SQS is sqs+http://<key>:<secret>@<host>/<region>; '/' in it is %2F.")
    scheme = parts.scheme.removeprefix("sqs+")
    place = _place(host, {"http": 80, "https": 443}[scheme])
    shown = f"{scheme}://{place}" if _has_port(host) else f"{scheme}://{host}"
    return SqsService(shown, region, login.username, login.password)


def _authority(parts: SplitResult, port: int, *, most: int | None = None) -> tuple[Login, tuple[HostPort, ...]]:
    login, hosts = _login(parts.netloc)
    places = tuple(_place(host, port) for host in hosts.split(","))
    if most is not None and len(places) > most:
        raise BadConnectionUrl("This scheme takes one host; several are for +sentinel and +cluster.")
    return login, places


def _login(netloc: str) -> tuple[Login, str]:
    """Who, and the rest. A lone name without a colon is a user, as in `redis://user@host`."""
    user, at, rest = netloc.rpartition("@")
    if "@" in user:
        raise BadConnectionUrl("The URL has more than one '@': in a password it is written %40.")
    name, _, password = user.partition(":")
    return (Login(unquote(name), unquote(password)) if at else Login()), rest


def _place(text: str, default_port: int) -> HostPort:
    host, port = (text, "") if not _has_port(text) else text.rsplit(":", 1)
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or "[" in host or "]" in host:
        raise BadConnectionUrl("The URL has a host that is empty or no address.")
    if port and not (
        port.isascii() and port.isdigit() and len(port) <= len(str(MOST_PORT)) and 0 < int(port) <= MOST_PORT
    ):
        raise BadConnectionUrl("The URL has a port that is no number from 1 to 65535.")
    return HostPort(host, int(port) if port else default_port)


def _has_port(text: str) -> bool:
    return ":" in text and not text.endswith("]")


def _database(text: str) -> int:
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) <= 5:  # noqa: PLR2004 - nobody has 100,000 databases
        return int(text)
    raise BadConnectionUrl("The database in the URL is no number.")


def _allowed(parts: SplitResult) -> frozenset[str]:
    return _TLS_OPTIONS if parts.scheme.startswith("rediss") else frozenset()


def _options(parts: SplitResult, allowed: frozenset[str] | set[str]) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise BadConnectionUrl(f"The URL has an option that {parts.scheme}:// does not have; it has {known}.")
        options[name] = value
    return options


def _tls(parts: SplitResult, options: Mapping[str, str]) -> Tls | None:
    if not parts.scheme.startswith("rediss"):
        return None
    verification = options.get("ssl_cert_reqs", "required")
    if verification not in ("required", "none"):
        raise BadConnectionUrl("ssl_cert_reqs is required or none.")
    if (options.get("ssl_certfile") is None) != (options.get("ssl_keyfile") is None):
        raise BadConnectionUrl("A client's certificate is two files: ssl_certfile and ssl_keyfile.")
    checks = _BOOLEANS.get(options.get("ssl_check_hostname", "true").lower())
    if checks is None:
        raise BadConnectionUrl("ssl_check_hostname is true or false.")
    is_verified = verification == "required"
    return Tls(
        options.get("ssl_ca_certs"),
        options.get("ssl_certfile"),
        options.get("ssl_keyfile"),
        is_verified=is_verified,
        checks_hostname=checks and is_verified,
    )


# -- showing ----------------------------------------------------------------------------------------------------------


def _shown_single(url: SingleRedis) -> str:
    if isinstance(url.place, UnixSocket):
        return f"unix://{_shown(url.login)}{url.place}{_query(_shown_options(None, url.database))}"
    head = f"{_scheme('redis', url.tls)}://{_shown(url.login)}{url.place}"
    return f"{head}/{url.database}{_query(_shown_options(url.tls))}"


def _scheme(name: str, tls: Tls | None) -> str:
    return name if tls is None else f"{name}s"


def _shown(login: Login) -> str:
    if not (login.username or login.password):
        return ""
    return f"{login.username}:{MASK}@" if login.password else f"{login.username}@"


def _shown_sentinel(login: Login) -> dict[str, str]:
    shown = {"sentinel_username": login.username} if login.username else {}
    return shown | ({"sentinel_password": MASK} if login.password else {})


def _shown_options(tls: Tls | None, database: int = 0) -> dict[str, str]:
    options = {"db": str(database)} if database else {}
    if tls is None:
        return options
    files = {"ssl_ca_certs": tls.ca_certs, "ssl_certfile": tls.certfile, "ssl_keyfile": tls.keyfile}
    options |= {name: file for name, file in files.items() if file is not None}
    if not tls.is_verified:
        return options | {"ssl_cert_reqs": "none"}
    return options if tls.checks_hostname else options | {"ssl_check_hostname": "false"}


def _query(options: Mapping[str, str]) -> str:
    return "?" + "&".join(f"{name}={value}" for name, value in options.items()) if options else ""


def _list(places: tuple[HostPort, ...]) -> str:
    return ",".join(map(str, places))
