"""What a function finds in its variables to act in its role."""

from hearth.core.identity import SessionIssuer
from hearth_scheduler.role_credentials import LONGEST_TIMEOUT_S, RoleCredentials

ROLE = "arn:aws:iam::000000000000:role/service-role/mine"


def test_the_session_is_the_roles_and_has_the_functions_name() -> None:
    issuer = SessionIssuer(b"k" * 32)

    issued = RoleCredentials(issuer, 100.0, wall=lambda: 5000.0).issue(ROLE, "hello")

    session = issuer.read(issued["AWS_SESSION_TOKEN"])
    assert session is not None
    assert (session.subject, session.name) == (ROLE, "hello")
    assert issued["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert issued["AWS_SECRET_ACCESS_KEY"]


def test_the_credentials_outlast_an_invocation_that_begins_at_the_end_of_the_lifetime() -> None:
    issuer = SessionIssuer(b"k" * 32)

    issued = RoleCredentials(issuer, 100.0, wall=lambda: 5000.0).issue(ROLE, "hello")

    session = issuer.read(issued["AWS_SESSION_TOKEN"])
    assert session is not None and session.expires_s > 5000 + 100 + LONGEST_TIMEOUT_S
