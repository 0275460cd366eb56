"""From the members of CreateFunction and UpdateFunctionConfiguration to a configuration.

Shapes are checked already; here are the rules that no shape can say, in the service's words. What this platform
cannot do yet is refused by name instead of being accepted and left undone.
Source: CreateFunction and UpdateFunctionConfiguration in the AWS Lambda API reference; "Defined runtime environment
variables" and "Lambda quotas" in the developer guide.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hearth.core.errors import InvalidParameterValue
from hearth.core.records import Configuration, Logging
from hearth_gateway.core import image_settings
from hearth_gateway.core.endpoint import Endpoint

MAX_ENVIRONMENT_BYTES = 4_096
MAX_TAGS = 50

RESERVED_VARIABLES = frozenset(
    {
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        # Ours: what an environment's init and runtime client find the platform by.
        "HEARTH_ORPHAN_S",
        "HEARTH_SOCKET",
        "HEARTH_STEM",
    }
)

UNAVAILABLE = (
    "AcceleratorConfig",
    "CapacityProviderConfig",
    "CodeSigningConfigArn",
    "DurableConfig",
    "FileSystemConfigs",
    "PublishTo",
    "RuntimeConfig",
    "TenancyConfig",
)
"""Members that change what a function does and that this platform does not implement yet."""

Parameters = Mapping[str, Any]


def new_configuration(parameters: Parameters, endpoint: Endpoint) -> Configuration:
    """The configuration that CreateFunction asks for."""
    if image_settings.is_wanted(parameters):
        image = Configuration(role=parameters["Role"], runtime="", handler="", architecture=endpoint.architecture)
        return changed_configuration(image, parameters, endpoint)
    if not parameters.get("Runtime") or not parameters.get("Handler"):
        raise InvalidParameterValue(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    blank = Configuration(
        role=parameters["Role"], runtime=parameters["Runtime"], handler="", architecture=endpoint.architecture
    )
    return changed_configuration(blank, parameters, endpoint)


def changed_configuration(current: Configuration, parameters: Parameters, endpoint: Endpoint) -> Configuration:
    """The configuration with the members that were sent; maps and lists that were sent replace the old ones whole."""
    refuse_unavailable(parameters)
    check_architecture(parameters, endpoint)
    image_settings.check_members(parameters, is_image=not current.runtime)
    _check_runtime(parameters, endpoint)
    changes = {
        **_plain(parameters),
        **_nested(parameters),
        **_network(parameters),
    }
    if "Environment" in parameters:
        changes["environment"] = _environment(parameters["Environment"].get("Variables", {}))
    if "ImageConfig" in parameters:
        changes["image_config"] = image_settings.image_config(parameters["ImageConfig"])
    if "LoggingConfig" in parameters:
        changes["logging"] = _logging(current.logging, parameters["LoggingConfig"])
    return replace(current, **changes)


def check_architecture(parameters: Parameters, endpoint: Endpoint) -> None:
    """Refuse code for another processor: it would fail at its first invocation."""
    for architecture in parameters.get("Architectures", ()):
        if architecture != endpoint.architecture:
            raise InvalidParameterValue(
                f"Architecture {architecture} is not available. This platform runs {endpoint.architecture}."
            )


def checked_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    """The tags, if there are not too many."""
    if len(tags) > MAX_TAGS:
        raise InvalidParameterValue("Number of tags exceeds resource tag limit.")
    return tags


def refuse_unavailable(parameters: Parameters) -> None:
    """Refuse what would be accepted and left undone."""
    for name in UNAVAILABLE:
        if parameters.get(name):
            raise InvalidParameterValue(f"{name} is not available yet.")


def _check_runtime(parameters: Parameters, endpoint: Endpoint) -> None:
    if parameters.get("Runtime") is not None:
        endpoint.runtimes.choice(parameters["Runtime"])


def _plain(parameters: Parameters) -> dict[str, Any]:
    """Members that are one value. An empty key or target removes it."""
    fields = {
        "Role": "role",
        "Runtime": "runtime",
        "Handler": "handler",
        "Description": "description",
        "Timeout": "timeout_s",
        "MemorySize": "memory_mib",
    }
    found = {field: parameters[name] for name, field in fields.items() if name in parameters}
    if "KMSKeyArn" in parameters:
        found["kms_key_arn"] = parameters["KMSKeyArn"] or None
    return found


def _nested(parameters: Parameters) -> dict[str, Any]:
    """Structures with one member that counts."""
    fields = {
        ("EphemeralStorage", "Size"): "ephemeral_storage_mib",
        ("TracingConfig", "Mode"): "tracing_mode",
        ("SnapStart", "ApplyOn"): "snap_start",
    }
    found = {
        field: parameters[outer][inner]
        for (outer, inner), field in fields.items()
        if parameters.get(outer, {}).get(inner) is not None
    }
    if "DeadLetterConfig" in parameters:
        found["dead_letter_arn"] = parameters["DeadLetterConfig"].get("TargetArn") or None
    return found


def _network(parameters: Parameters) -> dict[str, Any]:
    if "VpcConfig" not in parameters:
        return {}
    network = parameters["VpcConfig"]
    return {
        "subnet_ids": tuple(network.get("SubnetIds", ())),
        "security_group_ids": tuple(network.get("SecurityGroupIds", ())),
        "ipv6_for_dual_stack": network.get("Ipv6AllowedForDualStack", False),
    }


def _environment(variables: Mapping[str, str]) -> Mapping[str, str]:
    prefix = "Lambda was unable to configure your environment variables because the environment variables you have "
    reserved = sorted(RESERVED_VARIABLES & variables.keys())
    if reserved:
        raise InvalidParameterValue(
            f"{prefix}provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > MAX_ENVIRONMENT_BYTES:
        raise InvalidParameterValue(f"{prefix}provided exceeded the 4KB limit. String measured: {measured}")
    if any("\0" in value for value in variables.values()):
        # No process can be given one: execve(2) ends a variable at its first NUL.
        raise InvalidParameterValue(f"{prefix}provided contains a NUL character.")
    return dict(variables)


def _logging(current: Logging, sent: Parameters) -> Logging:
    """Levels exist in the JSON format only, where both default to INFO."""
    log_format = sent.get("LogFormat", current.format)
    levels = [name for name in ("ApplicationLogLevel", "SystemLogLevel") if name in sent]
    group = sent.get("LogGroup", current.group)
    if log_format == "Text":
        if levels:
            raise InvalidParameterValue(f"{' and '.join(levels)} can only be set with LogFormat JSON.")
        return Logging(format=log_format, group=group)
    return Logging(
        format=log_format,
        application_level=sent.get("ApplicationLogLevel", current.application_level or "INFO"),
        system_level=sent.get("SystemLogLevel", current.system_level or "INFO"),
        group=group,
    )
