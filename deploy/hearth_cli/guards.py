"""Who is let in: the keys, the authenticator and the gate of one Hearth, made from its settings and secrets."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

import redis.asyncio

from hearth.access_keys import AccessKey, AccessKeys
from hearth.adapters.redis_store import RedisAccessKeyStore, RedisRoleStore
from hearth.config import Settings
from hearth.core import identity
from hearth.core.errors import ResourceNotFound, ServiceError
from hearth.core.identity import SessionIssuer
from hearth.registry import Registry
from hearth.roles import RoleStore
from hearth_cli.console import Failure
from hearth_cli.locations import DataDir, KeyPair, key_pair, replace_key_pair, session_key
from hearth_gateway.auth.authentication import Authenticator, SignatureAuthenticator, TrustingAuthenticator
from hearth_gateway.auth.gate import Gate
from hearth_gateway.auth.url_guard import UrlGuard
from hearth_gateway.core.authorization import Place
from hearth_gateway.sources.supervisor import EventSources


def check(settings: Settings) -> None:
    """Refuse settings that would let strangers in."""
    if settings.auth == "none" and not _is_loopback(settings.host):
        raise Failure(
            f"auth=none lets everybody who reaches {settings.host} do everything: use it with a loopback host"
        )


@dataclass(frozen=True, slots=True)
class Doors:
    """Everything that stands between the one port and the operations."""

    keys: AccessKeys
    roles: RoleStore
    authenticator: Authenticator
    gate: Gate
    url_guard: UrlGuard


async def doors(
    settings: Settings, place: DataDir, client: "redis.asyncio.Redis", *, registry: Registry, sources: EventSources
) -> Doors:
    """The doors of this installation. The gate has to know what function a mapping feeds."""
    pair = key_pair(place)
    admin = AccessKey(pair.access_key_id, pair.secret_access_key)
    keys = AccessKeys(
        RedisAccessKeyStore(client),
        settings.account,
        admin,
        SessionIssuer(session_key(place)),
        keep_admin=partial(_keep_admin, place),
    )
    await keys.load()
    roles = RoleStore(RedisRoleStore(client))
    await roles.load()
    keys.role_policies = roles.policies_of
    authenticator = _authenticator(settings, keys)
    gate = Gate(registry, Place(settings.region, settings.account))
    gate.has_role = roles.exists
    gate.facts_of_mapping = partial(_facts_of_mapping, sources)
    guard = UrlGuard(authenticator, gate, wants_statement=settings.url_policy == "required")
    return Doors(keys, roles, authenticator, gate, guard)


async def _keep_admin(place: DataDir, key: AccessKey) -> None:
    pair = KeyPair(key.access_key_id, key.secret_access_key)
    try:
        await asyncio.to_thread(replace_key_pair, place, pair)
    except OSError as error:
        raise ServiceError(f"The key cannot be written down: {error.strerror}") from error


def _authenticator(settings: Settings, keys: AccessKeys) -> Authenticator:
    """Signatures, or nobody's word at all."""
    if settings.auth == "iam":
        return SignatureAuthenticator(keys)
    return TrustingAuthenticator(identity.root(settings.account), settings.region)


def _facts_of_mapping(sources: EventSources, uuid: str) -> tuple[str, Mapping[str, str]] | None:
    try:
        mapping = sources.find(uuid)
    except ResourceNotFound:
        return None
    return mapping.function_arn, mapping.tags


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
