"""What is said to callers who did not prove who they are.

Source: "Common errors" in the AWS Lambda API reference; the texts are those of the service.
"""

from hearth.core.errors import AccessDenied, Fault, HearthError


class AuthenticationError(HearthError):
    """A request whose sender is not known. Nothing was looked at, nothing was done."""

    status, fault = 403, Fault.CALLER

    def body(self) -> dict[str, str]:
        return {"message": self.message}


class MissingAuthenticationToken(AuthenticationError):
    """Nobody signed the request."""

    code = "MissingAuthenticationTokenException"

    def __init__(self) -> None:
        super().__init__("Missing Authentication Token")


class IncompleteSignature(AuthenticationError):
    """The signature lacks a part, or a part is not of its form."""

    code, status = "IncompleteSignatureException", 400


class UnrecognizedClient(AuthenticationError):
    """No such access key, or the session token is not this key's."""

    code = "UnrecognizedClientException"

    def __init__(self) -> None:
        super().__init__("The security token included in the request is invalid.")


class InvalidSignature(AuthenticationError):
    """The signature is not the one that this request has with this key, or it is not of this time."""

    code = "InvalidSignatureException"


class ExpiredToken(AuthenticationError):
    """A session that is over."""

    code = "ExpiredTokenException"

    def __init__(self) -> None:
        super().__init__("The security token included in the request is expired")


class NotAuthorized(AccessDenied):
    """The caller is known, and may not do this."""

    def body(self) -> dict[str, str]:
        return {"Message": self.message}


SIGNATURE_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
