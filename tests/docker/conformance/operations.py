"""One way to drive each operation of the service model to success, on a function made for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.docker.house import ROLE, House, eventually, package, unique

CODE = "import json\ndef handler(event, context):\n    return {'version': context.function_version, 'event': event}\n"
OTHER_CODE = CODE + "\n# changed\n"
SIGNING = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0"
DURABLE = "arn:aws:lambda:us-east-1:000000000000:function:f:1/durable-execution/name/0123456789"
PERMISSION = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
LAYER_PERMISSION = {"StatementId": "all", "Action": "lambda:GetLayerVersion", "Principal": "*"}
FLEET: Mapping[str, Any] = {
    "VpcConfig": {"SubnetIds": ["subnet-12345678"], "SecurityGroupIds": ["sg-12345678"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
}


@dataclass
class Stage:
    """A Hearth and a client whose answers are checked. What an operation needs is made when it is first asked for."""

    hearth: House
    api: Any

    def function(self, **more: Any) -> str:
        """A new active function."""
        name = unique("conform")
        self.api.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=ROLE,
            Handler="app.handler",
            Code={"ZipFile": package({"app.py": CODE})},
            **more,
        )
        self.hearth.settled(name)
        return name

    def version(self) -> tuple[str, str]:
        """A new function with one published version."""
        name = self.function()
        return name, self.api.publish_version(FunctionName=name)["Version"]

    def alias(self) -> tuple[str, str]:
        name, version = self.version()
        self.api.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
        return name, "live"

    def arn(self, name: str) -> str:
        return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"

    def layer(self) -> tuple[str, int]:
        name = unique("layer")
        content = {"ZipFile": package({"python/of_the_layer.py": "VALUE = 1\n"})}
        answer = self.api.publish_layer_version(LayerName=name, Content=content, CompatibleRuntimes=["python3.13"])
        return name, answer["Version"]

    def url(self) -> str:
        name = self.function()
        self.api.create_function_url_config(FunctionName=name, AuthType="NONE", Cors={"AllowOrigins": ["*"]})
        return name

    def mapping(self) -> str:
        answer = self.api.create_event_source_mapping(
            FunctionName=self.function(), EventSourceArn=self.hearth.queue_arn(unique("queue"))
        )
        self.hearth.mapping_is(answer["UUID"], "Enabled")
        return str(answer["UUID"])

    def provider(self) -> str:
        name = unique("fleet")
        self.api.create_capacity_provider(CapacityProviderName=name, **FLEET)
        return name

    @cached_property
    def lasting(self) -> str:
        """A function that nothing changes, for what only reads."""
        return self.function()


def _alias(on: Stage) -> dict[str, str]:
    name, alias = on.alias()
    return {"FunctionName": name, "Name": alias}


def _provision(on: Stage) -> dict[str, str]:
    name, version = on.version()
    on.api.put_provisioned_concurrency_config(FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=1)
    return {"FunctionName": name, "Qualifier": version}


def _event_invoke(on: Stage) -> str:
    name = on.function()
    on.api.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    return name


def _permitted(on: Stage) -> str:
    name = on.function()
    on.api.add_permission(FunctionName=name, **PERMISSION)
    return name


def _document(on: Stage) -> str:
    statement = {"Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _own_arn(on: Stage) -> str:
    return on.arn(on.function())


def _layer(on: Stage) -> dict[str, Any]:
    name, version = on.layer()
    return {"LayerName": name, "VersionNumber": version}


def _layer_arn(on: Stage) -> str:
    name, version = on.layer()
    return f"arn:aws:lambda:us-east-1:000000000000:layer:{name}:{version}"


def _permitted_layer(on: Stage) -> dict[str, Any]:
    layer = _layer(on)
    on.api.add_layer_version_permission(**layer, **LAYER_PERMISSION)
    return layer


Drive = Callable[[Stage], Any]
DRIVES: dict[str, Drive] = {}
"""How to make each operation succeed; a call per operation, under its name in the model."""


def drive(operation: str) -> Callable[[Drive], Drive]:
    def note(way: Drive) -> Drive:
        DRIVES[operation] = way
        return way

    return note


# Functions


@drive("CreateFunction")
def _(on: Stage) -> Any:
    return on.function(
        Description="all members",
        Timeout=5,
        MemorySize=256,
        Environment={"Variables": {"NAME": "value"}},
        Tags={"team": "a"},
        Architectures=["x86_64"],
        EphemeralStorage={"Size": 600},
        TracingConfig={"Mode": "Active"},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN"},
        DeadLetterConfig={"TargetArn": on.hearth.queue_arn("dead")},
        SnapStart={"ApplyOn": "None"},
        Publish=True,
    )


DRIVES |= {
    "GetFunction": lambda on: on.api.get_function(FunctionName=on.lasting),
    "GetFunctionConfiguration": lambda on: on.api.get_function_configuration(
        FunctionName=on.lasting, Qualifier="$LATEST"
    ),
    "ListFunctions": lambda on: on.api.list_functions(FunctionVersion="ALL"),
    "UpdateFunctionCode": lambda on: on.api.update_function_code(
        FunctionName=on.function(), ZipFile=package({"app.py": OTHER_CODE}), Publish=True
    ),
    "UpdateFunctionConfiguration": lambda on: on.api.update_function_configuration(
        FunctionName=on.function(), Timeout=9, Environment={"Variables": {}}
    ),
    "DeleteFunction": lambda on: on.api.delete_function(FunctionName=on.function()),
    # Versions and aliases
    "PublishVersion": lambda on: on.version(),
    "ListVersionsByFunction": lambda on: on.api.list_versions_by_function(FunctionName=on.version()[0]),
    "CreateAlias": lambda on: on.alias(),
    "GetAlias": lambda on: on.api.get_alias(**_alias(on)),
    "ListAliases": lambda on: on.api.list_aliases(FunctionName=on.alias()[0]),
    "UpdateAlias": lambda on: on.api.update_alias(**_alias(on), Description="new"),
    "DeleteAlias": lambda on: on.api.delete_alias(**_alias(on)),
    # Invocation
    "Invoke": lambda on: on.api.invoke(FunctionName=on.lasting, Payload=b"{}", LogType="Tail"),
    "InvokeAsync": lambda on: on.api.invoke_async(FunctionName=on.lasting, InvokeArgs=b"{}"),
    "InvokeWithResponseStream": lambda on: list(
        on.api.invoke_with_response_stream(FunctionName=on.lasting, Payload=b"{}")["EventStream"]
    ),
    # Concurrency
    "PutFunctionConcurrency": lambda on: on.api.put_function_concurrency(
        FunctionName=on.function(), ReservedConcurrentExecutions=2
    ),
    "GetFunctionConcurrency": lambda on: on.api.get_function_concurrency(FunctionName=on.lasting),
    "DeleteFunctionConcurrency": lambda on: on.api.delete_function_concurrency(FunctionName=on.function()),
    "PutProvisionedConcurrencyConfig": _provision,
    "ListProvisionedConcurrencyConfigs": lambda on: on.api.list_provisioned_concurrency_configs(
        FunctionName=_provision(on)["FunctionName"]
    ),
    "DeleteProvisionedConcurrencyConfig": lambda on: on.api.delete_provisioned_concurrency_config(**_provision(on)),
    # Asynchronous invocation
    "PutFunctionEventInvokeConfig": _event_invoke,
    "UpdateFunctionEventInvokeConfig": lambda on: on.api.update_function_event_invoke_config(
        FunctionName=_event_invoke(on), MaximumEventAgeInSeconds=60
    ),
    "GetFunctionEventInvokeConfig": lambda on: on.api.get_function_event_invoke_config(FunctionName=_event_invoke(on)),
    "ListFunctionEventInvokeConfigs": lambda on: on.api.list_function_event_invoke_configs(
        FunctionName=_event_invoke(on)
    ),
    "DeleteFunctionEventInvokeConfig": lambda on: on.api.delete_function_event_invoke_config(
        FunctionName=_event_invoke(on)
    ),
    # Event source mappings
    "CreateEventSourceMapping": lambda on: on.mapping(),
    "GetEventSourceMapping": lambda on: on.api.get_event_source_mapping(UUID=on.mapping()),
    "ListEventSourceMappings": lambda on: (on.mapping(), on.api.list_event_source_mappings()),
    "UpdateEventSourceMapping": lambda on: on.api.update_event_source_mapping(UUID=on.mapping(), Enabled=False),
    "DeleteEventSourceMapping": lambda on: on.api.delete_event_source_mapping(UUID=on.mapping()),
    # Function URLs
    "CreateFunctionUrlConfig": lambda on: on.url(),
    "GetFunctionUrlConfig": lambda on: on.api.get_function_url_config(FunctionName=on.url()),
    "ListFunctionUrlConfigs": lambda on: on.api.list_function_url_configs(FunctionName=on.url()),
    "UpdateFunctionUrlConfig": lambda on: on.api.update_function_url_config(
        FunctionName=on.url(), AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM"
    ),
    "DeleteFunctionUrlConfig": lambda on: on.api.delete_function_url_config(FunctionName=on.url()),
    # Permissions
    "AddPermission": _permitted,
    "GetPolicy": lambda on: on.api.get_policy(FunctionName=_permitted(on)),
    "RemovePermission": lambda on: on.api.remove_permission(FunctionName=_permitted(on), StatementId="s3"),
    "PutResourcePolicy": lambda on: on.api.put_resource_policy(ResourceArn=_own_arn(on), Policy=_document(on)),
    "GetResourcePolicy": lambda on: on.api.get_resource_policy(ResourceArn=on.arn(_permitted(on))),
    "DeleteResourcePolicy": lambda on: on.api.delete_resource_policy(ResourceArn=on.arn(_permitted(on))),
    # Layers
    "PublishLayerVersion": lambda on: on.layer(),
    "GetLayerVersion": lambda on: on.api.get_layer_version(**_layer(on)),
    "GetLayerVersionByArn": lambda on: on.api.get_layer_version_by_arn(Arn=_layer_arn(on)),
    "ListLayers": lambda on: (on.layer(), on.api.list_layers()),
    "ListLayerVersions": lambda on: on.api.list_layer_versions(LayerName=on.layer()[0]),
    "DeleteLayerVersion": lambda on: on.api.delete_layer_version(**_layer(on)),
    "AddLayerVersionPermission": _permitted_layer,
    "GetLayerVersionPolicy": lambda on: on.api.get_layer_version_policy(**_permitted_layer(on)),
    "RemoveLayerVersionPermission": lambda on: on.api.remove_layer_version_permission(
        **_permitted_layer(on), StatementId="all"
    ),
    # Tags and account
    "TagResource": lambda on: on.api.tag_resource(Resource=_own_arn(on), Tags={"a": "b"}),
    "UntagResource": lambda on: on.api.untag_resource(Resource=_own_arn(on), TagKeys=["a", "b c"]),
    "ListTags": lambda on: on.api.list_tags(Resource=on.arn(on.lasting)),
    "GetAccountSettings": lambda on: on.api.get_account_settings(),
    # Runtime management, recursion
    "PutRuntimeManagementConfig": lambda on: on.api.put_runtime_management_config(
        FunctionName=on.function(), UpdateRuntimeOn="FunctionUpdate"
    ),
    "GetRuntimeManagementConfig": lambda on: on.api.get_runtime_management_config(FunctionName=on.lasting),
    "PutFunctionRecursionConfig": lambda on: on.api.put_function_recursion_config(
        FunctionName=on.function(), RecursiveLoop="Allow"
    ),
    "GetFunctionRecursionConfig": lambda on: on.api.get_function_recursion_config(FunctionName=on.lasting),
    # Capacity providers
    "CreateCapacityProvider": lambda on: on.provider(),
    "GetCapacityProvider": lambda on: on.api.get_capacity_provider(CapacityProviderName=on.provider()),
    "ListCapacityProviders": lambda on: (on.provider(), on.api.list_capacity_providers()),
    "UpdateCapacityProvider": lambda on: on.api.update_capacity_provider(CapacityProviderName=on.provider()),
    "DeleteCapacityProvider": lambda on: on.api.delete_capacity_provider(CapacityProviderName=on.provider()),
    "ListFunctionVersionsByCapacityProvider": lambda on: on.api.list_function_versions_by_capacity_provider(
        CapacityProviderName=on.provider()
    ),
    # Code signing
    "GetFunctionCodeSigningConfig": lambda on: on.api.get_function_code_signing_config(FunctionName=on.lasting),
    "DeleteFunctionCodeSigningConfig": lambda on: on.api.delete_function_code_signing_config(FunctionName=on.lasting),
    "ListCodeSigningConfigs": lambda on: on.api.list_code_signing_configs(),
}


@drive("GetProvisionedConcurrencyConfig")
def _(on: Stage) -> Any:
    wanted = _provision(on)

    def is_ready() -> bool:
        found = on.api.get_provisioned_concurrency_config(**wanted)
        return bool(found["Status"] == "READY" and found["AvailableProvisionedConcurrentExecutions"] == 1)

    eventually(is_ready, "provisioned concurrency is ready")


@drive("PutFunctionScalingConfig")
def _(on: Stage) -> Any:
    name, version = on.version()
    config = {"MinExecutionEnvironments": 0, "MaxExecutionEnvironments": 2}
    return on.api.put_function_scaling_config(FunctionName=name, Qualifier=version, FunctionScalingConfig=config)


@drive("GetFunctionScalingConfig")
def _(on: Stage) -> Any:
    name, version = on.version()
    return on.api.get_function_scaling_config(FunctionName=name, Qualifier=version)


REFUSALS: dict[str, tuple[Drive, str]] = {
    "PutFunctionCodeSigningConfig": (
        lambda on: on.api.put_function_code_signing_config(FunctionName=on.lasting, CodeSigningConfigArn=SIGNING),
        "CodeSigningConfigNotFoundException",
    ),
    "CreateCodeSigningConfig": (
        lambda on: on.api.create_code_signing_config(
            AllowedPublishers={
                "SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/1234567890"]
            }
        ),
        "InvalidParameterValueException",
    ),
    "GetCodeSigningConfig": (
        lambda on: on.api.get_code_signing_config(CodeSigningConfigArn=SIGNING),
        "ResourceNotFoundException",
    ),
    "UpdateCodeSigningConfig": (
        lambda on: on.api.update_code_signing_config(CodeSigningConfigArn=SIGNING, Description="new"),
        "ResourceNotFoundException",
    ),
    "DeleteCodeSigningConfig": (
        lambda on: on.api.delete_code_signing_config(CodeSigningConfigArn=SIGNING),
        "ResourceNotFoundException",
    ),
    "ListFunctionsByCodeSigningConfig": (
        lambda on: on.api.list_functions_by_code_signing_config(CodeSigningConfigArn=SIGNING),
        "ResourceNotFoundException",
    ),
}
"""Operations that cannot succeed here: how to call them, and the error that must come."""

DURABLES: dict[str, Mapping[str, Any]] = {
    "GetDurableExecution": {"DurableExecutionArn": DURABLE},
    "GetDurableExecutionHistory": {"DurableExecutionArn": DURABLE},
    "GetDurableExecutionState": {"DurableExecutionArn": DURABLE, "CheckpointToken": "AAAA"},
    "ListDurableExecutionsByFunction": {"FunctionName": "f"},
    "CheckpointDurableExecution": {"DurableExecutionArn": DURABLE, "CheckpointToken": "AAAA"},
    "SendDurableExecutionCallbackSuccess": {"CallbackId": "AAAA"},
    "SendDurableExecutionCallbackFailure": {"CallbackId": "AAAA"},
    "SendDurableExecutionCallbackHeartbeat": {"CallbackId": "AAAA"},
    "StopDurableExecution": {"DurableExecutionArn": DURABLE},
    "PauseDurableExecution": {"DurableExecutionArn": DURABLE},
    "ResumeDurableExecution": {"DurableExecutionArn": DURABLE},
    "DeleteDurableExecution": {"DurableExecutionArn": DURABLE},
}
"""Durable executions are not part of this platform yet; parameters that their calls need."""
