"""AWS's runtime client (`awslambdaric`), loaded ahead of time, with our transport inside."""

import importlib
import os
import sys
from typing import Any

from hearth_runtime.connection import Connection
from hearth_runtime.transport import SocketTransport


class Ric:
    """Loading it is most of an interpreter's start; doing so before the function is known is what a stem is for."""

    def __init__(self) -> None:
        # Its native client (libcurl) is neither wanted nor loaded: None makes the import fail, which it provides for.
        sys.modules["runtime_client"] = None  # type: ignore[assignment]  # the documented way to block an import
        self._client: Any = importlib.import_module("awslambdaric.lambda_runtime_client")
        self._bootstrap = importlib.import_module("awslambdaric.bootstrap")
        del sys.modules["runtime_client"]

    def serve(self, handler: str, connection: Connection) -> None:
        """Load the handler and serve events until the end of the process."""
        self._reread_environment()
        transport = SocketTransport(connection)
        marshaller = self._client.BaseLambdaRuntimeClient.marshaller
        marshaller.marshal_response = transport.streaming(marshaller.marshal_response)
        self._client.runtime_client = transport
        # The address is not connected to; streaming and SnapStart would.
        client = self._client.LambdaRuntimeClient(os.environ.get("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"))
        client.post_init_error = transport.post_init_error
        self._bootstrap.run(handler, client)

    def _reread_environment(self) -> None:
        """What awslambdaric read while it was imported, before there was a function."""
        if "AWS_LAMBDA_LOG_FORMAT" in os.environ or "AWS_LAMBDA_LOG_LEVEL" in os.environ:
            importlib.reload(self._bootstrap)
        self._client.BaseLambdaRuntimeClient.marshaller = self._client.LambdaMarshaller()
