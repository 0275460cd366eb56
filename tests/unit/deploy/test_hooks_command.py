"""What `hearth hooks` prints to be pasted where a sender is configured."""

import pytest

from hearth_cli.commands_hooks import YOURS, instructions

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"


def told(style: str, **more: object) -> str:
    hook = {"name": "a-b", "style": style, "target": FUNCTION, "url": "http://h.test/hooks/a-b", "secret": "s3cr3t"}
    return "\n".join(instructions({**hook, **more}))


def test_minio_is_configured_by_three_lines_and_permitted_by_one() -> None:
    wanted = {"buckets": ["pics"], "prefix": "in/", "suffix": ".jpg", "events": ["s3:ObjectCreated:*"]}
    assert told("minio", wanted=wanted).splitlines() == [
        'mc admin config set ALIAS notify_webhook:a_b endpoint="http://h.test/hooks/a-b" auth_token="s3cr3t"'
        ' queue_dir="/data/.hearth-events"',
        "mc admin service restart ALIAS",
        'mc event add ALIAS/pics arn:minio:sqs::a_b:webhook --event put --prefix "in/" --suffix ".jpg"',
        "Once, unless service_policy is open:",
        f"aws lambda add-permission --function-name {FUNCTION} --statement-id a-b-pics "
        "--action lambda:InvokeFunction --principal s3.amazonaws.com --source-arn arn:aws:s3:::pics",
    ]


def test_what_is_not_wanted_especially_is_everything() -> None:
    everything = {"buckets": [], "prefix": "", "suffix": "", "events": []}
    lines = told("minio", wanted=everything, target="arn:aws:sqs:us-east-1:000000000000:q").splitlines()
    assert lines[-1] == "mc event add ALIAS/BUCKET arn:minio:sqs::a_b:webhook --event put,delete"


@pytest.mark.parametrize("style", ["github", "standard", "generic", "s3"])
def test_a_secret_that_was_made_is_there_and_one_that_was_given_is_not(style: str) -> None:
    wanted = {"buckets": [], "prefix": "", "suffix": "", "events": []}
    assert "s3cr3t" in told(style, wanted=wanted)
    given = {"name": "h", "style": style, "target": FUNCTION, "url": "http://h.test", "wanted": wanted}
    assert YOURS in "\n".join(instructions(given))


@pytest.mark.parametrize("style", ["stripe", "slack"])
def test_those_who_make_the_secret_themselves_are_asked_for_it(style: str) -> None:
    assert "hearth hooks rotate a-b --secret - --keep-s 0" in told(style)


def test_a_hook_that_proves_nothing_has_an_address_only() -> None:
    assert told("none").split() == ["URL", "http://h.test/hooks/a-b"]
