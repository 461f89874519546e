"""`doctor`: what would fail is said before the first change, with what to do about it."""

from __future__ import annotations

import datetime
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.account import doctor as examined
from provision.account.doctor import FAIL, PASS, UNKNOWN
from provision.aws.clients import Clients
from provision.documents import policy_document
from provision.state.entries import TAG
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, Ended, refuse
from tests.rig.programs import Folder

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    monkeypatch.chdir(tmp_path)
    with CommandLine(empty_sandbox, tmp_path / "state.json", f"d{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def outcomes(ended: Ended) -> dict[str, str]:
    return {one.name: one.outcome for one in ended.result.conditions}


def saw(ended: Ended, name: str) -> str:
    return next(one.saw for one in ended.result.conditions if one.name == name)


def answering(operation: str, answer: dict[str, Any]) -> Callable[[Clients], None]:
    """AWS answers so; what the emulator would say is not asked for."""
    service, name = operation.split(".")

    def prepare(aws: Clients) -> None:
        http = SimpleNamespace(status_code=200, headers={}, content=b"{}")
        client = {"iam": aws.iam, "lambda": aws.lambda_}[service]
        client.meta.events.register_last(
            f"before-call.{service}.{name}", lambda **event: (http, {**answer, "ResponseMetadata": {}})
        )

    return prepare


def allowed(*but: str) -> dict[str, Any]:
    names = ["iam:CreateRole", "iam:TagRole", "sqs:CreateQueue"]
    return {
        "EvaluationResults": [
            {"EvalActionName": name, "EvalDecision": "implicitDeny" if name in but else "allowed"} for name in names
        ],
        "IsTruncated": False,
    }


def test_where_all_is_well_it_reads_only_and_ends_with_0(deployment: CommandLine) -> None:
    deployment.on_connect = answering("iam.SimulatePrincipalPolicy", allowed())
    ended = deployment.provision("doctor")
    assert ended.code == outcome.DONE, ended.said + ended.told
    assert ended.writes == []
    assert set(outcomes(ended)) == {
        "Versions", "Place", "Credentials", "Clock", "Permissions", "Lambda", "IAM", "Names",
    }  # fmt: skip
    assert FAIL not in outcomes(ended).values()
    assert (saw(ended, "Names"), saw(ended, "Clock")) == ("free", "as AWS's")
    assert len(ended.told.splitlines()) <= 22
    assert not deployment.path.exists()


def test_what_the_deployment_has_built_is_no_stranger(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try", "--to", "2")
    ended = deployment.provision("doctor")
    assert outcomes(ended)["Names"] == PASS
    assert "of this deployment" in saw(ended, "Names")


def test_a_name_that_is_taken_would_fail(deployment: CommandLine) -> None:
    deployment.aws.sqs.create_queue(QueueName=deployment.settings.queue)
    ended = deployment.provision("doctor")
    assert ended.code == outcome.LEFT
    assert outcomes(ended)["Names"] == FAIL
    assert f"queue {deployment.settings.queue}" in ended.told and "--adopt" in ended.told


def test_what_is_recorded_and_no_longer_proved_ours_would_fail(deployment: CommandLine) -> None:
    build = ("--yes", "--no-try", "--to", "3")
    deployment.provision(*build)
    table, dynamodb = deployment.settings.table, deployment.aws.dynamodb
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    dynamodb.untag_resource(ResourceArn=arn, TagKeys=[TAG])
    assert outcomes(deployment.provision("doctor"))["Names"] == PASS, "a tag may be seen late"
    deployment.rewrite(lambda entries: [entry.update(since="then") for entry in entries.values()])
    lost = deployment.provision("doctor")
    assert (lost.code, outcomes(lost)["Names"]) == (outcome.LEFT, FAIL)
    assert saw(lost, "Names").endswith(f": table {table}")
    assert "carries no tag" in deployment.provision(*build).flat, "doctor is right"

    dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": TAG, "Value": deployment.state["deployment"]}])
    assert outcomes(deployment.provision("doctor"))["Names"] == PASS
    deployment.rewrite(lambda entries: entries["table"]["outputs"].update(id="of-another-table"))
    assert saw(deployment.provision("doctor"), "Names").endswith(f": table {table}")
    assert "is not the one" in deployment.provision(*build).flat, "doctor is right"


def test_permissions_are_yes_no_or_cannot_tell(deployment: CommandLine) -> None:
    deployment.on_connect = answering("iam.SimulatePrincipalPolicy", allowed("iam:TagRole"))
    denied = deployment.provision("doctor")
    assert denied.code == outcome.LEFT
    assert saw(denied, "Permissions") == "not allowed: iam:TagRole"
    assert "operator-build.json" in denied.told

    deployment.on_connect = lambda aws: refuse(aws, "iam", "SimulatePrincipalPolicy")
    untold = deployment.provision("doctor")
    assert outcomes(untold)["Permissions"] == UNKNOWN
    assert untold.code == outcome.DONE
    assert "iam:SimulatePrincipalPolicy" in untold.told


def test_each_statement_is_asked_with_its_resources_and_its_conditions(deployment: CommandLine) -> None:
    deployment.on_connect = answering("iam.SimulatePrincipalPolicy", allowed())
    ended = deployment.provision("doctor")
    asked = [call.parameters for call in ended.calls if call.operation == "SimulatePrincipalPolicy"]
    with deployment.connected() as aws:
        statements = policy_document("operator-build", aws, deployment.settings)["Statement"]
    assert len(asked) == len(statements)
    assert sum(bool(one["ContextEntries"]) for one in asked) == sum("Condition" in one for one in statements) > 0
    assert all(isinstance(one["ResourceArns"], list) and one["ActionNames"] for one in asked)


def test_a_quota_that_is_used_up_would_fail(deployment: CommandLine) -> None:
    limit = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 1}
    deployment.on_connect = answering("lambda.GetAccountSettings", {"AccountLimit": limit})
    ended = deployment.provision("doctor")
    assert outcomes(ended).get("Lambda") == FAIL, ended.told
    assert "1 of 10" in ended.told
    summary = {"Roles": 999, "RolesQuota": 1000, "Policies": 3, "PoliciesQuota": 1500}
    deployment.on_connect = answering("iam.GetAccountSummary", {"SummaryMap": summary})
    ended = deployment.provision("doctor")
    assert outcomes(ended)["IAM"] == FAIL and "999 of 1000 roles" in ended.told


def clients(**changed: Any) -> Any:
    arn = "arn:aws:sts::123456789012:assumed-role/Admin/me"
    return SimpleNamespace(caller=arn, credentials_from="env", expires=None, profile=None, **changed)


@pytest.mark.parametrize(("minutes", "expected"), [(5, FAIL), (60, PASS), (-1, FAIL)])
def test_credentials_that_end_before_a_build_would_fail(minutes: int, expected: str) -> None:
    aws = clients()
    aws.expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes, seconds=30)
    found = examined.credentials(aws)
    assert found.outcome == expected
    assert bool(found.remedy) == (expected == FAIL)


@pytest.mark.parametrize(("seconds", "expected"), [(0, PASS), (100, PASS), (-280, FAIL), (290, FAIL), (None, UNKNOWN)])
def test_the_clock_is_compared_with_the_date_of_an_answer(seconds: int | None, expected: str) -> None:
    headers = {}
    if seconds is not None:
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        headers["date"] = f"{at:%a, %d %b %Y %H:%M:%S GMT}"
    sts = SimpleNamespace(get_caller_identity=lambda: {"ResponseMetadata": {"HTTPHeaders": headers}})
    assert examined.clock(clients(sts=sts)).outcome == expected


def test_a_session_of_a_role_is_simulated_as_the_role_with_its_path() -> None:
    arn = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/Admin"
    iam = SimpleNamespace(get_role=lambda RoleName: {"Role": {"Arn": arn if RoleName == "Admin" else ""}})
    assert examined.principal(clients(iam=iam)) == arn
    root = clients()
    root.caller = "arn:aws:iam::123456789012:root"
    assert examined.principal(root) is None


def test_without_credentials_it_says_what_and_how(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        ended = folder.run("provision", "doctor", "--output", "json")
        assert ended.returncode == outcome.LEFT
        *_, last = json.loads(ended.stdout)["conditions"]
        assert "no AWS credentials" in last["saw"] and "--sandbox" in last["remedy"]
        nothing = folder.run("provision", "doctor", "--sandbox")
        assert nothing.returncode == outcome.DONE, nothing.stderr
        assert "none is running" in nothing.stdout
        assert not (tmp_path / ".provision").exists()


def test_escapes_in_what_is_shown_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "provision.ini").write_text("[provision]\nprofile = x\x1b]0;owned\x07\n")
    with Folder(tmp_path) as folder:
        ended = folder.run("provision", "doctor")
    assert ended.returncode == outcome.LEFT
    assert "\x1b]0" not in ended.stdout + ended.stderr and "owned" in ended.stdout
