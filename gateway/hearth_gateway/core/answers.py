"""Records as the Lambda API shows them: members by AWS's names, unset ones left out.

Tools compare what they read with what they wrote, so every defaulted member is always there.
Source: FunctionConfiguration, AliasConfiguration, FunctionUrlConfig and Cors in the AWS Lambda API reference; date
formats as the service sends them, which differ from member to member.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hearth.core.arns import log_group
from hearth.core.attachments import Alias, Cors
from hearth.core.function import LATEST
from hearth.core.records import STATES, Configuration, Deployment, FunctionRecord, Phase, VersionRecord
from hearth_gateway.core import image_settings
from hearth_gateway.core.endpoint import Endpoint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Members = dict[str, Any]


def configuration_date(epoch_ms: int) -> str:
    """`LastModified` of a function: milliseconds, and an offset without a colon."""
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{epoch_ms % 1000:03}+0000"


def url_date(epoch_us: int) -> str:
    """`CreationTime` and `LastModifiedTime` of a function URL: microseconds, and Z."""
    moment = _EPOCH + timedelta(microseconds=epoch_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{epoch_us % 1_000_000:06}Z"


def function_configuration(
    record: FunctionRecord, version: VersionRecord, endpoint: Endpoint, qualifier: str | None = None
) -> Members:
    """A version's FunctionConfiguration in full, under the ARN that fits how the caller addressed it."""
    return {
        **listed_configuration(record, version, qualifier),
        **_state(version),
        **_runtime_version(version.deployment.configuration, endpoint),
    }


def listed_configuration(record: FunctionRecord, version: VersionRecord, qualifier: str | None = None) -> Members:
    """A version's FunctionConfiguration as lists show it: without state and runtime version."""
    configuration = version.deployment.configuration
    return {
        "FunctionName": record.name,
        "FunctionArn": record.arn if qualifier is None else f"{record.arn}:{qualifier}",
        "Role": configuration.role,
        "Description": configuration.description if version.description is None else version.description,
        "Timeout": configuration.timeout_s,
        "MemorySize": configuration.memory_mib,
        "LastModified": configuration_date(version.modified_ms),
        "CodeSha256": code_sha256(version.deployment),
        "Version": version.version,
        "TracingConfig": {"Mode": configuration.tracing_mode},
        "RevisionId": version.revision_id,
        **image_settings.of_package(version.deployment),
        "Architectures": [configuration.architecture],
        "EphemeralStorage": {"Size": configuration.ephemeral_storage_mib},
        "SnapStart": {"ApplyOn": configuration.snap_start, "OptimizationStatus": "Off"},
        "LoggingConfig": _logging(record, configuration),
        **_optional(configuration),
    }


def code_sha256(deployment: Deployment) -> str:
    """`CodeSha256`: base64 for a package, hex for an image."""
    if deployment.image is not None:
        return deployment.image.digest
    assert deployment.package is not None
    return base64.b64encode(bytes.fromhex(deployment.package.sha256)).decode()


def function_code(location: str) -> Members:
    """`Code` of GetFunction: where the package can be downloaded from."""
    return {"RepositoryType": "S3", "Location": location}


def alias(record: FunctionRecord, shown: Alias) -> Members:
    """An AliasConfiguration; the routing is there only where there is one."""
    members: Members = {
        "AliasArn": f"{record.arn}:{shown.name}",
        "Name": shown.name,
        "FunctionVersion": shown.version,
        "Description": shown.description,
        "RevisionId": shown.revision_id,
    }
    if shown.weights:
        members["RoutingConfig"] = {"AdditionalVersionWeights": dict(shown.weights)}
    return members


def function_url(record: FunctionRecord, qualifier: str, endpoint: Endpoint) -> Members:
    """The FunctionUrlConfig of the function, or of one of its aliases, in full."""
    url = record.urls[qualifier]
    return {
        "FunctionUrl": endpoint.function_url(url.url_id),
        "FunctionArn": record.arn if qualifier == LATEST else f"{record.arn}:{qualifier}",
        "AuthType": url.auth_type,
        "CreationTime": url_date(url.created_us),
        "LastModifiedTime": url_date(url.modified_us),
        "InvokeMode": url.invoke_mode,
        **({} if url.cors is None else {"Cors": _cors(url.cors)}),
    }


def _state(version: VersionRecord) -> Members:
    state, update = STATES[version.phase]
    members: Members = {"State": state.value}
    if update is not None:
        members["LastUpdateStatus"] = update.value
    if version.reason is not None:
        prefix = "State" if version.phase in (Phase.PENDING, Phase.FAILED) else "LastUpdateStatus"
        members[f"{prefix}Reason"] = version.reason.text
        members[f"{prefix}ReasonCode"] = version.reason.code
    return members


def _runtime_version(configuration: Configuration, endpoint: Endpoint) -> Members:
    """What runs the function. That it is not what was asked for is told in `Error`: the only member with words in it;
    tools show it, and none takes it for a failure of the function."""
    if not configuration.runtime:
        return {}  # an image brings its own
    choice = endpoint.runtimes.find(configuration.runtime)
    if choice is None:
        text = f"No image for {configuration.runtime} is installed here any more."
        return {"RuntimeVersionConfig": {"Error": {"ErrorCode": "RuntimeNotInstalled", "Message": text}}}
    shown: Members = {"RuntimeVersionArn": choice.arn(endpoint.region)}
    if choice.remark is not None:
        shown["Error"] = {"ErrorCode": "RuntimeSubstituted", "Message": choice.remark}
    return {"RuntimeVersionConfig": shown}


def _logging(record: FunctionRecord, configuration: Configuration) -> Members:
    logging = configuration.logging
    members = {
        "LogFormat": logging.format,
        "ApplicationLogLevel": logging.application_level,
        "SystemLogLevel": logging.system_level,
        "LogGroup": logging.group or log_group(record.name),
    }
    return {name: value for name, value in members.items() if value is not None}


def _optional(configuration: Configuration) -> Members:
    """Members that are there only once they were set."""
    members: Members = {}
    if configuration.environment is not None:
        members["Environment"] = {"Variables": dict(configuration.environment)}
    if configuration.layers:
        members["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.size} for layer in configuration.layers]
    if configuration.dead_letter_arn is not None:
        members["DeadLetterConfig"] = {"TargetArn": configuration.dead_letter_arn}
    if configuration.kms_key_arn is not None:
        members["KMSKeyArn"] = configuration.kms_key_arn
    if configuration.subnet_ids or configuration.security_group_ids:
        members["VpcConfig"] = {
            "SubnetIds": list(configuration.subnet_ids),
            "SecurityGroupIds": list(configuration.security_group_ids),
            "VpcId": "",
            "Ipv6AllowedForDualStack": configuration.ipv6_for_dual_stack,
        }
    return members


def _cors(cors: Cors) -> Members:
    lists: Mapping[str, tuple[str, ...] | None] = {
        "AllowHeaders": cors.allow_headers,
        "AllowMethods": cors.allow_methods,
        "AllowOrigins": cors.allow_origins,
        "ExposeHeaders": cors.expose_headers,
    }
    members: Members = {name: list(values) for name, values in lists.items() if values is not None}
    if cors.allow_credentials is not None:
        members["AllowCredentials"] = cors.allow_credentials
    if cors.max_age_s is not None:
        members["MaxAge"] = cors.max_age_s
    return members
