"""From a record to what an execution environment is made from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from hearth.core.arns import function_arn, log_group
from hearth.core.function import LATEST, FunctionVersion, ImageRun

if TYPE_CHECKING:
    from hearth.core.records import Deployment, FunctionRecord, ImageConfig


def running_versions(record: "FunctionRecord") -> Mapping[str, FunctionVersion]:
    """What invocations of each version run now; versions with nothing to run yet are left out."""
    found = {}
    place = (record.region, record.account, record.name)
    for version in (record.latest, *record.versions.values()):
        if version.serving is None:
            continue
        if place not in version.runs:
            version.runs[place] = _function_version(record, version.version, version.serving)
        found[version.version] = version.runs[place]
    return found


def _function_version(record: "FunctionRecord", version: str, deployment: "Deployment") -> FunctionVersion:
    configuration = deployment.configuration
    qualifier = None if version == LATEST else version
    package, image = deployment.package, deployment.image
    parts = FunctionVersion(
        name=record.name,
        version=version,
        revision="",
        arn=function_arn(record.region, record.account, record.name, qualifier),
        runtime=configuration.runtime,
        handler=configuration.handler,
        timeout_s=configuration.timeout_s,
        memory_mib=configuration.memory_mib,
        ephemeral_storage_mib=configuration.ephemeral_storage_mib,
        code_sha256="" if package is None else package.sha256,
        log_group=configuration.logging.group or log_group(record.name),
        environment=dict(configuration.environment or {}),
        role=configuration.role,
        layers=tuple(layer.sha256 for layer in configuration.layers),
        image=None if image is None else _image_run(image.resolved, configuration.image_config),
        log_format=configuration.logging.format,
        log_level=configuration.logging.application_level,
    )
    return replace(parts, revision=_revision(parts))


def _image_run(resolved: str, config: "ImageConfig") -> ImageRun:
    return ImageRun(resolved, config.entry_point, config.command, config.working_directory)


def _revision(parts: FunctionVersion) -> str:
    """A digest of everything an environment is made from.

    Being a digest it survives a restart, so that running environments can be adopted, and a new description or tag
    does not throw away warm ones.
    """
    values = (
        parts.arn,
        parts.version,
        parts.runtime,
        parts.handler,
        parts.timeout_s,
        parts.memory_mib,
        parts.ephemeral_storage_mib,
        parts.code_sha256,
        parts.log_group,
        sorted(parts.environment.items()),
        parts.role,
        parts.layers,
        None if parts.image is None else list(parts.image),
        parts.log_format,
        parts.log_level,
    )
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
