"""The environment variables of an execution environment.

Source: AWS Lambda developer guide, "Defined runtime environment variables". Order of precedence: what the platform
sets by default, then the user's variables, then the reserved ones on top.
There is no X-Ray daemon here, and its address would be that of a stranger: of X-Ray's variables only the one is set
that keeps its SDK from raising errors for want of a trace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hearth.core.function import FunctionVersion
from hearth.core.runtimes import RUNTIMES, Family

RUNTIME_API = "127.0.0.1:9001"
TASK_ROOT = "/var/task"
RUNTIME_DIR = "/var/runtime"

_DEFAULTS = {
    "TZ": ":UTC",
    "LANG": "C.UTF-8",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
    # The same in every image (base_images/*/Dockerfile): glibc reads it once, when an interpreter starts.
    "LD_LIBRARY_PATH": "/var/lang/lib:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
}

_ALWAYS = {"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR"}

_BEFORE_THE_INTERPRETER = (
    "LD_",
    "GLIBC_TUNABLES",
    "MALLOC_",
    "PYTHONHASHSEED",
    "PYTHONOPTIMIZE",
    "PYTHONWARNINGS",
    "PYTHONMALLOC",
    "PYTHONUTF8",
    "PYTHONHOME",
    "PYTHONDEVMODE",
    "PYTHONFAULTHANDLER",
    "PYTHONTRACEMALLOC",
    "NODE_OPTIONS",
    "NODE_EXTRA_CA_CERTS",
    "UV_THREADPOOL_SIZE",
    "JAVA_TOOL_OPTIONS",
    "AWS_LAMBDA_EXEC_WRAPPER",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What an environment's variables say beside its function.

    `interpreter` is what really runs it. `endpoints` are the AWS_ENDPOINT_URL variables, which the user's own
    override; `credentials` are those of its role, which nothing overrides.
    """

    interpreter: str
    region: str
    log_stream: str
    endpoints: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    is_provisioned: bool = False


def endpoint_variables(platform: str | None, services: Mapping[str, str]) -> dict[str, str]:
    """Where the SDKs in a function find AWS: this platform for everything (None: it cannot be reached), and a place of
    its own for each of these services.

    Source: "Service-specific endpoints", AWS SDKs and Tools reference guide; a service id in upper case, its blanks
    as underscores.
    """
    own = {
        f"AWS_ENDPOINT_URL_{name.upper().replace(' ', '_').replace('-', '_')}": url for name, url in services.items()
    }
    return own if platform is None else {"AWS_ENDPOINT_URL": platform, **own}


def compose(function: FunctionVersion, setting: Setting) -> dict[str, str]:
    """All variables of one environment of this function. Where libraries are looked for goes by the interpreter, what
    the function is told about itself by its own runtime identifier. An image keeps its own paths, language and time
    zone, and its handler is its own affair."""
    is_image = function.image is not None
    return {
        **({} if is_image else _DEFAULTS),
        **_ALWAYS,
        **_of_language(setting.interpreter),
        **_of_logging(function),
        **setting.endpoints,
        **function.environment,
        **setting.credentials,
        "AWS_REGION": setting.region,
        "AWS_DEFAULT_REGION": setting.region,
        **_execution("Image" if is_image else function.runtime),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mib),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency" if setting.is_provisioned else "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": setting.log_stream,
        "AWS_LAMBDA_RUNTIME_API": RUNTIME_API,
        "LAMBDA_TASK_ROOT": TASK_ROOT,
        "LAMBDA_RUNTIME_DIR": RUNTIME_DIR,
        **({} if is_image else {"_HANDLER": function.handler}),
    }


def _of_logging(function: FunctionVersion) -> Mapping[str, str]:
    """What the runtime's own loggers go by; nothing for the text format, which is their default."""
    if function.log_format == "Text":
        return {}
    level = {"AWS_LAMBDA_LOG_LEVEL": function.log_level} if function.log_level else {}
    return {"AWS_LAMBDA_LOG_FORMAT": function.log_format, **level}


def _execution(identifier: str) -> Mapping[str, str]:
    """Lambda names the runtime except to those that brought their own."""
    return {} if identifier.startswith("provided") else {"AWS_EXECUTION_ENV": f"AWS_Lambda_{identifier}"}


def _of_language(interpreter: str) -> Mapping[str, str]:
    """Where an interpreter finds libraries: layers, its runtime's own, the function's."""
    runtime = RUNTIMES.get(interpreter)
    version = interpreter.lstrip("abcdefghijklmnopqrstuvwxyz").removesuffix(".x")
    match runtime.family if runtime is not None else None:
        case Family.PYTHON:
            return {"PYTHONPATH": RUNTIME_DIR}
        case Family.NODEJS:
            layers = f"/opt/nodejs/node{version}/node_modules:/opt/nodejs/node_modules"
            return {"NODE_PATH": f"{layers}:{RUNTIME_DIR}/node_modules:{RUNTIME_DIR}:{TASK_ROOT}"}
        case Family.RUBY:
            gems = f"{TASK_ROOT}/vendor/bundle/ruby/{version}.0:/opt/ruby/gems/{version}.0"
            return {"GEM_PATH": gems, "RUBYLIB": f"{TASK_ROOT}:{RUNTIME_DIR}/lib:/opt/ruby/lib"}
        case _:
            return {}


def needs_new_interpreter(environment: Mapping[str, str]) -> bool:
    """Whether the user's variables must exist before the interpreter starts, so that a running stem cell cannot take
    them up and has to start its interpreter anew."""
    return any(name.startswith(_BEFORE_THE_INTERPRETER) for name in environment)
