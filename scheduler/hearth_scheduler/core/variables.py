"""The environment variables of an execution environment.

Source: AWS Lambda developer guide, "Defined runtime environment variables". Order of precedence: what the platform
sets by default, then the user's variables, then the reserved ones on top.
"""

from collections.abc import Mapping

from hearth.core.function import FunctionVersion

RUNTIME_API = "127.0.0.1:9001"
TASK_ROOT = "/var/task"
RUNTIME_DIR = "/var/runtime"

_DEFAULTS = {
    "TZ": ":UTC",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "LD_LIBRARY_PATH": "/var/task:/var/task/lib:/opt/lib",
}

_OF_LANGUAGE = {
    "python": {"PYTHONPATH": RUNTIME_DIR},
    "nodejs": {
        "NODE_PATH": "/opt/nodejs/node20/node_modules:/opt/nodejs/node_modules:"
        f"{RUNTIME_DIR}/node_modules:{RUNTIME_DIR}:{TASK_ROOT}"
    },
}

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


def compose(function: FunctionVersion, *, region: str, log_stream: str) -> dict[str, str]:
    """All variables of one environment of this function."""
    language = next((v for name, v in _OF_LANGUAGE.items() if function.runtime.startswith(name)), {})
    return {
        **_DEFAULTS,
        **language,
        **function.environment,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mib),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": RUNTIME_API,
        "LAMBDA_TASK_ROOT": TASK_ROOT,
        "LAMBDA_RUNTIME_DIR": RUNTIME_DIR,
        "_HANDLER": function.handler,
    }


def needs_new_interpreter(environment: Mapping[str, str]) -> bool:
    """Whether the user's variables must exist before the interpreter starts, so that a running stem cell cannot take
    them up and has to start its interpreter anew."""
    return any(name.startswith(_BEFORE_THE_INTERPRETER) for name in environment)
