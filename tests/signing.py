"""Signatures for requests that tests and benchmarks send by hand."""

from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def signature(variables: Mapping[str, str], method: str, address: str, body: bytes = b"") -> dict[str, str]:
    """The headers that sign a request with the keys that `hearth env` exports. `address` is the whole URL as sent."""
    credentials = Credentials(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    request = AWSRequest(method, address, data=body)
    SigV4Auth(credentials, "lambda", variables["AWS_REGION"]).add_auth(request)
    return dict(request.headers.items())
