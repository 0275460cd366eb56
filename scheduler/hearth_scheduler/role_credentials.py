"""Credentials of execution roles for the environments that act in them.

Source: "Lambda execution role" and "Defined runtime environment variables", AWS Lambda developer guide. In AWS the
session is named after the function, so that `sts:GetCallerIdentity` inside it says which function asks.
"""

import time
from collections.abc import Callable, Mapping

from hearth.core.identity import SessionIssuer

LONGEST_TIMEOUT_S = 900.0


class RoleCredentials:
    """Implements `hearth_scheduler.ports.Credentials` with sessions that need no table. An environment gets events
    until it is as old as its lifetime; it has had an init before that, and has an invocation after it."""

    def __init__(self, issuer: SessionIssuer, lifetime_s: float, wall: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._valid_s = lifetime_s + 2 * LONGEST_TIMEOUT_S
        self._wall = wall

    def issue(self, role_arn: str, function_name: str) -> Mapping[str, str]:
        """See `Credentials.issue`."""
        session = self._issuer.issue_session(role_arn, function_name, self._wall(), self._valid_s)
        return {
            "AWS_ACCESS_KEY_ID": session.access_key_id,
            "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
            "AWS_SESSION_TOKEN": session.session_token,
        }
