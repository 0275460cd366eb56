"""The Amazon Resource Names that Hearth gives its things.

Source: the resource types of AWS Lambda in the AWS service authorization reference.
"""

from hearth.core.function import FunctionName


def function_arn(region: str, account: str, name: FunctionName, qualifier: str | None = None) -> str:
    """A function's ARN, unqualified unless a version or alias is named."""
    arn = f"arn:aws:lambda:{region}:{account}:function:{name}"
    return arn if qualifier is None else f"{arn}:{qualifier}"


def event_source_mapping_arn(region: str, account: str, uuid: str) -> str:
    """An event source mapping's ARN."""
    return f"arn:aws:lambda:{region}:{account}:event-source-mapping:{uuid}"


def log_group_arn(region: str, account: str, group: str) -> str:
    """A log group's ARN, as its tags are addressed by it."""
    return f"arn:aws:logs:{region}:{account}:log-group:{group}"


def log_stream_arn(region: str, account: str, group: str, stream: str = "") -> str:
    """A log stream's ARN; without a stream it is what a policy has to allow for the events of the whole group."""
    return f"{log_group_arn(region, account, group)}:log-stream:{stream}"


def log_group(name: FunctionName) -> str:
    """The log group of a function that names none itself."""
    return f"/aws/lambda/{name}"
