"""`check` says of each attribute whether it is as the walkthrough asks, whoever made it, and changes nothing."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision import STEPS
from provision.account.check import FAIL, PASS, UNCHECKED, Finding, Seen, check, check_step
from provision.account.mistakes import MISTAKES
from provision.settings import Settings
from sandbox import Sandbox
from tests.rig.command_line import refuse
from tests.rig.deployment import ACCOUNT, REGION, Standing, Stranger, policy_arn, role_arn
from tests.rig.handmade import Aws, made_as_terraform_does, made_with_aws
from tests.rig.warm_aws import WarmAws


def looked(deployment: Standing, settings: Settings | None = None, seen: Seen | None = None) -> list[Finding]:
    """What check finds. Nothing is written, and nobody is asked for a tag."""
    aws = deployment.connect()
    findings = check(aws, settings or deployment.settings, seen=seen)
    assert all(call.is_read for call in aws.calls.history)
    assert not [call for call in aws.calls.history if "Tag" in call.operation]
    return findings


def not_passed(findings: Sequence[Finding]) -> dict[str, str]:
    return {f"{one.key} {one.attribute}": one.reason or one.outcome for one in findings if one.outcome != PASS}


@pytest.fixture(scope="module")
def account(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with Standing(sandbox.id, sandbox.url, tmp_path_factory.mktemp("empty") / "state.json") as made:
        yield made


@pytest.fixture(scope="module")
def aws(sandbox: Sandbox, warm_aws: WarmAws, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return Aws(sandbox.url, warm_aws.command, tmp_path_factory.mktemp("hand"))


HAND = Settings(learner="hand")


@pytest.fixture(scope="module")
def api_id(account: Standing, aws: Aws) -> str:
    """The walkthrough made by hand, once for all mistakes."""
    return made_with_aws(aws, HAND)


@pytest.mark.parametrize("settings", [Settings(learner="suite"), Settings(learner="faithful", as_written=True)])
def test_what_the_suite_built_passes_and_nothing_is_changed(
    sandbox: Sandbox, tmp_path: Path, settings: Settings
) -> None:
    with Standing(sandbox.id, sandbox.url, tmp_path / "state.json", settings) as built:
        built.build()
        before, state = built.aws.inventory(str(settings.learner)), built.path.read_bytes()
        findings = looked(built)
        assert not_passed(findings) == {}
        assert len(findings) > 50
        assert (built.aws.inventory(str(settings.learner)), built.path.read_bytes()) == (before, state)


def test_what_is_made_with_the_aws_command_passes(account: Standing, api_id: str) -> None:
    assert not_passed(looked(account, HAND)) == {}


def test_what_is_made_as_terraform_does_passes(account: Standing, tmp_path: Path) -> None:
    settings = Settings(learner="terraform")
    made_as_terraform_does(account.aws, settings, tmp_path)
    assert not_passed(looked(account, settings)) == {}


def test_of_an_empty_account_nothing_passes_and_what_hangs_on_others_waits(account: Standing) -> None:
    findings = looked(account, Settings(learner="nobody"))
    words = Counter(one.outcome for one in findings)
    assert words == {FAIL: 10, UNCHECKED: 6}
    waiting = {one.key for one in findings if one.outcome == UNCHECKED}
    assert waiting == {
        *("function-role/write-policy", "function-role/read-policy", "api-role/logs-policy"),
        *("trigger", "permission", "stage"),
    }
    assert all("which is not there" in one.reason for one in findings if one.outcome == UNCHECKED)


def test_what_may_not_be_looked_at_could_not_be_checked(account: Standing, api_id: str, sandbox: Sandbox) -> None:
    with Standing(sandbox.id, sandbox.url, account.path) as denied:
        clients = denied.connect()
        for service, operation in (("iam", "GetRole"), ("lambda_", "GetFunction"), ("apigateway", "GetExport")):
            refuse(clients, service, operation, "AccessDenied")
        found = not_passed(check(clients, HAND))
    reasons = set(found.values())
    assert reasons == {
        *("GetRole was refused: AccessDenied", "GetFunction was refused: AccessDenied"),
        "GetExport was refused: AccessDenied",
    }
    assert "function-role exists" in found and "stage what it serves" in found and "table exists" not in found


def test_a_step_asked_again_makes_a_few_reads_only(account: Standing, api_id: str) -> None:
    seen = Seen()
    looked(account, HAND, seen)
    for step in STEPS:
        clients = account.connect()
        assert {one.outcome for one in check_step(clients, HAND, step, seen)} == {PASS}
        assert len(clients.calls.history) <= 12, [call.operation for call in clients.calls.history]
        assert not {"GetExport"} & {call.operation for call in clients.calls.history}


def test_of_two_apis_of_one_name_it_does_not_guess(account: Standing, api_id: str, aws: Aws) -> None:
    other = aws("apigateway", "create-rest-api", "--name", HAND.api)["id"]
    try:
        found = {(one.key, one.attribute): one for one in looked(account, HAND)}
        assert found["api", "exists"].mistake == "two-apis"
        assert sorted(found["api", "exists"].found) == sorted([api_id, other])
        assert "nothing tells which is meant" in found["stage", "exists"].reason
        assert not_passed(looked(account, HAND, Seen(api_id=api_id))) == {}  # where it is known, it is that one
    finally:
        aws("apigateway", "delete-rest-api", "--rest-api-id", other)


def test_in_another_region_the_policies_and_the_rest_tell_the_region(
    account: Standing, api_id: str, sandbox: Sandbox
) -> None:
    from provision.aws.calls import Calls
    from provision.aws.clients import Target, connect

    elsewhere = connect(Target(endpoint_url=sandbox.url, region="eu-central-1"), Calls(waiting=account.waiting))
    mistakes = {one.key: one.mistake for one in check(elsewhere, HAND) if one.mistake}
    assert mistakes["write-policy"] == "another-region-named"
    assert mistakes["table"] == "another-region"


@dataclass(frozen=True)
class Case:
    """A mistake: what a person types to make it, where it is seen, and what is typed to undo it."""

    name: str
    key: str
    make: tuple[str, ...]
    undo: tuple[str, ...]
    attribute: str = "exists"

    def __str__(self) -> str:
        return self.name
