"""What the Lambda API knows of the platform it speaks for."""

from dataclasses import dataclass

from hearth.core.arns import function_arn
from hearth.core.function import FunctionName
from hearth.core.runtimes import Catalogue


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One platform: its place in the world, and its limits as account settings.

    `runtimes` says what each runtime identifier runs on here, `architecture` is that of the images; `port` is the one
    port everything listens on.
    """

    region: str
    account: str
    port: int
    runtimes: Catalogue
    architecture: str = "x86_64"
    account_concurrency: int = 1_000
    unreserved_minimum: int = 100
    code_storage_bytes: int = 75 * 10**9

    def arn(self, name: FunctionName, qualifier: str | None = None) -> str:
        return function_arn(self.region, self.account, name, qualifier)

    def function_url(self, url_id: str) -> str:
        """The address of a function URL. Every name under `localhost` is this host (RFC 6761, section 6.3)."""
        return f"http://{url_id}.lambda-url.localhost:{self.port}/"
