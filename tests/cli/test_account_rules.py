"""Accounts with rules: a boundary, a path and tags for what is built, and roles that somebody else made."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from provision.aws.clients import tags
from provision.settings import AccountRules, BadSetting
from provision.state.entries import TAG
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.command_line import CommandLine
from tests.rig.deployment import ACCOUNT, policy_arn

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(sandbox, tmp_path / "ledger.json", f"r{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def document(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": [service]}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def edge(deployment: CommandLine) -> str:
    """The ARN of a policy that the account's owner has made to limit roles."""
    name = f"edge-{deployment.settings.learner}"
    deployment.aws.iam.create_policy(PolicyName=name, PolicyDocument=document("dynamodb:*", "logs:*", "sqs:*"))
    return policy_arn(name)


def roles(deployment: CommandLine) -> list[dict[str, Any]]:
    names = (deployment.settings.function_role, deployment.settings.api_role)
    return [deployment.aws.iam.get_role(RoleName=name)["Role"] for name in names]


def limits(deployment: CommandLine) -> list[str | None]:
    return [role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn") for role in roles(deployment)]


def test_what_the_rules_ask_for_is_built_works_is_kept_and_goes_with_the_rest(deployment: CommandLine) -> None:
    arn = edge(deployment)
    asked = ["--permissions-boundary", arn, "--role-path", "/training/", "--tag", "Team=Red", "--tag", "Cost="]
    built = deployment.provision("--yes", *asked)
    assert built.code == outcome.DONE and "It works." in built.said
    assert limits(deployment) == [arn, arn]
    assert {role["Path"] for role in roles(deployment)} == {"/training/"}
    creating = [call for call in built.calls if call.operation.startswith("Create")]
    tagged = [call.parameters.get("Tags") or call.parameters.get("tags") for call in creating]
    sent = [tags(one) if isinstance(one, list) else dict(one) for one in tagged if one]
    # Policies, roles, table, queues, log group, function, trigger, REST API; a resource and a deployment carry none.
    assert len(sent) == 11
    assert all({"Team": "Red", "Cost": ""}.items() <= one.items() and TAG in one for one in sent)

    # The boundary is neither forgotten nor reported by a run that does not name it.
    again = deployment.provision("--yes", "--no-try")
    assert again.writes == [] and "Nothing to do" in again.said
    assert "kept in the state file" in again.said
    status = deployment.provision("status")  # which is a word that may stand behind the options
    assert status.code == outcome.DONE and status.writes == []
    assert deployment.provision("check").code == outcome.DONE
    assert deployment.take_down().code == outcome.DONE
    assert "rules" not in json.loads(deployment.path.read_bytes())


def test_a_boundary_or_tag_that_is_gone_comes_back_and_none_takes_the_boundary_away(deployment: CommandLine) -> None:
    arn = edge(deployment)
    deployment.provision("--yes", "--to", "3", "--permissions-boundary", arn, "--tag", "Team=Red")
    deployment.aws.iam.delete_role_permissions_boundary(RoleName=deployment.settings.api_role)
    table = deployment.outputs("table")["arn"]
    deployment.aws.dynamodb.untag_resource(ResourceArn=table, TagKeys=["Team"])

    plan = deployment.provision("--dry-run", "--to", "3", "--detailed-exitcode")
    assert plan.code == outcome.CHANGES
    assert "put-role-permissions-boundary" in plan.told and "tag-resource" in plan.told
    mended = deployment.provision("--yes", "--to", "3")
    assert mended.writes == ["PutRolePermissionsBoundary", "TagResource"]
    assert limits(deployment) == [arn, arn]

    away = deployment.provision("--yes", "--to", "3", "--permissions-boundary", "none")
    assert away.writes == ["DeleteRolePermissionsBoundary"] * 2
    assert limits(deployment) == [None, None]
    assert deployment.provision("--yes", "--to", "3").writes == []
    deployment.take_down()


def test_a_boundary_that_is_not_there_is_not_waited_for(deployment: CommandLine) -> None:
    refused = deployment.provision("--yes", "--to", "2", "--permissions-boundary", policy_arn("nobodys"))
    assert refused.code != outcome.DONE and refused.writes == ["CreatePolicy", "CreatePolicy", "CreateRole"]
    assert f"Scope ARN: {policy_arn('nobodys')} does not exist" in refused.flat and "waiting" not in refused.flat
    deployment.take_down()


def test_a_boundary_that_nobody_asked_for_is_reported_and_left(deployment: CommandLine) -> None:
    arn = edge(deployment)
    deployment.provision("--yes", "--to", "2")
    deployment.aws.iam.put_role_permissions_boundary(RoleName=deployment.settings.api_role, PermissionsBoundary=arn)
    assert "left as" in deployment.provision("--yes", "--to", "2").flat
    assert limits(deployment) == [None, arn]
    deployment.take_down()


def test_an_adopted_role_gets_the_boundary_and_its_own_back(deployment: CommandLine) -> None:
    theirs, ours = edge(deployment), policy_arn(f"other-{deployment.settings.learner}")
    deployment.aws.iam.create_policy(PolicyName=ours.split("/")[-1], PolicyDocument=document("sqs:*"))
    for name, limit in ((deployment.settings.function_role, theirs), (deployment.settings.api_role, "")):
        deployment.aws.iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=trust("lambda.amazonaws.com"),
            **({"PermissionsBoundary": limit} if limit else {}),
        )
    adopt = ["--adopt", "function-role", "--adopt", "api-role"]
    deployment.provision("--yes", "--to", "2", *adopt, "--permissions-boundary", ours, "--tag", "Team=Red")
    assert limits(deployment) == [ours, ours]
    # Tags of --tag stay off what is somebody else's.
    assert all("Team" not in tags(role["Tags"]) and TAG in tags(role["Tags"]) for role in roles(deployment))
    assert deployment.take_down().code == outcome.DONE
    assert limits(deployment) == [theirs, None]


def test_a_path_cannot_be_changed_in_place(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--to", "2")
    refused = deployment.provision("--yes", "--to", "2", "--role-path", "/training/")
    assert refused.code != outcome.DONE and refused.writes == []
    assert "path is '/', wanted is '/training/', and AWS cannot change that in place" in refused.flat
    deployment.take_down()


@pytest.fixture
def given(deployment: CommandLine) -> list[str]:
    """Two roles that somebody else made, as the options that name them."""
    learner = deployment.settings.learner
    arns = []
    for name, service in ((f"fn-{learner}", "lambda.amazonaws.com"), (f"gw-{learner}", "apigateway.amazonaws.com")):
        role = deployment.aws.iam.create_role(
            RoleName=name,
            Path="/given/",
            AssumeRolePolicyDocument=trust(service),
            Tags=[{"Key": "Owner", "Value": "IT"}],
        )
        arns.append(role["Role"]["Arn"])
    deployment.aws.iam.put_role_policy(
        RoleName=f"fn-{learner}", PolicyName="own", PolicyDocument=document("dynamodb:*", "logs:*", "sqs:*")
    )
    return ["--lambda-role-arn", arns[0], "--apigateway-role-arn", arns[1]]


def test_given_roles_are_used_and_neither_changed_nor_deleted(deployment: CommandLine, given: list[str]) -> None:
    def described() -> list[dict[str, Any]]:
        described = [deployment.aws.iam.get_role(RoleName=arn.split("/")[-1])["Role"] for arn in given[1::2]]
        return [{**role, "RoleLastUsed": ANY} for role in described]

    before = described()
    plan = deployment.provision("--dry-run", *given)
    assert "create-role" not in plan.told and "create-policy" not in plan.told
    built = deployment.provision("--yes", *given)
    assert built.code == outcome.DONE and "It works." in built.said
    assert "the function's role is somebody else's" in built.flat and "used as it is" in built.flat
    assert not [call for call in built.calls if call.service == "iam" and not call.is_read]

    again = deployment.provision("--yes", "--no-try")  # the state file keeps them
    assert again.writes == []
    status = deployment.provision("status")
    assert status.code == outcome.DONE and "drifted" not in status.told  # policies inline are the owner's own
    assert deployment.provision("check").code == outcome.DONE
    assert given[1].split("/")[-1] in deployment.provision("diagram").told

    down = deployment.take_down()
    assert down.code == outcome.DONE and "only used, and left as it is" in down.flat
    assert not [call for call in down.calls if call.service == "iam" and not call.is_read]
    assert described() == before


def test_a_deployment_with_a_role_of_its_own_does_not_change_to_a_given_one(
    deployment: CommandLine, given: list[str]
) -> None:
    deployment.provision("--yes", "--to", "2")
    refused = deployment.provision("--yes", "--to", "2", *given)
    assert refused.code != outcome.DONE and refused.writes == []
    assert "is to use" in refused.flat and "python -m teardown" in refused.flat
    deployment.take_down()


def test_a_given_role_that_is_not_there_is_named(deployment: CommandLine) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/nobodys"
    refused = deployment.provision("--yes", "--lambda-role-arn", arn)
    assert refused.code != outcome.DONE and refused.writes == []
    assert f"There is no role {arn} in this account." in refused.flat


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--permissions-boundary", "edge"], "--permissions-boundary 'edge' is not the ARN of a policy"),
        (["--role-path", "training"], "--role-path 'training' is not a path"),
        (["--tag", "Team"], "--tag 'Team' is not KEY=VALUE"),
        (["--tag", "aws:x=1"], "--tag 'aws:x' is not a tag's key"),
        (["--tag", f"{TAG}=1"], "is not a tag's key"),
        (["--tag", "Team=<b>"], "is not a tag's value"),
        (["--tag", "A=1", "--tag", "A=2"], "each key once"),
        (["--lambda-role-arn", f"arn:aws:iam::{ACCOUNT}:user/me"], "is not the ARN of a role"),
    ],
)
def test_a_value_that_iam_would_not_take_is_refused_before_any_call(
    deployment: CommandLine, asked: list[str], said: str
) -> None:
    refused = deployment.provision("--yes", *asked)
    assert refused.code == outcome.USAGE and refused.calls == []
    assert said in refused.flat


def test_the_file_can_have_them_and_a_bad_one_is_named_by_its_place(
    deployment: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISION_CONFIG", str(tmp_path / "provision.ini"))
    (tmp_path / "provision.ini").write_text("[provision]\ntag = Team=Red, Cost=7\nrole-path = /training/\n")
    plan = deployment.provision("--dry-run", "--to", "2")
    assert (
        '{"Key": "Team", "Value": "Red"}, {"Key": "Cost", "Value": "7"}' in plan.told
        and "--path /training/" in plan.told
    )
    (tmp_path / "provision.ini").write_text("[provision]\nrole-path = training\n")
    assert "provision.ini 'training' is not a path" in deployment.provision("--dry-run").flat


def test_what_the_file_keeps_of_the_rules_is_checked() -> None:
    rules = AccountRules(role_path="/x/", tags=(("A", "1"),), permissions_boundary=policy_arn("edge"))
    assert AccountRules.from_file(rules.in_file()) == rules
    assert AccountRules().over(rules) == rules
    assert replace(rules, permissions_boundary="none").in_file() == {"role_path": "/x/", "tags": {"A": "1"}}
    for wrong in ({"role_path": "x"}, {"tags": ["A"]}, {"colour": "red"}):
        with pytest.raises((BadSetting, TypeError, ValueError)):
            AccountRules.from_file(wrong)
