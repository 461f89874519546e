"""Somebody else's resources under our names: one message with all of them, whose they are, and commands that work."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import provision.__main__
import teardown.__main__
from provision.aws.clients import SANDBOX_ACCOUNT
from provision.settings import Settings
from provision.state.entries import TAG
from provision.state.resources import ADOPTABLE
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, Ended, refuse, run
from tests.rig.deployment import ACCOUNT, Stranger

pytestmark = pytest.mark.usefixtures("one_look")

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]})


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ledgers").mkdir()
    with CommandLine(sandbox, tmp_path / "ledgers" / "mine.json", f"w{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def make_table(stranger: Stranger, name: str, *tags: dict[str, str]) -> None:
    stranger.dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=list(tags),
    )


def follow_by_hand_and_clean_up(stranger: Stranger, settings: Settings) -> None:
    """What stays when the walkthrough was followed in the console, and its clean-up, too."""
    for name in (settings.write_policy, settings.read_policy):
        stranger.iam.create_policy(PolicyName=name, PolicyDocument=ANYTHING)
    for name in (settings.function_role, settings.api_role):
        stranger.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    stranger.logs.create_log_group(logGroupName=settings.log_group)


def assert_one_message(ended: Ended, *fragments: str, code: int = 1) -> None:
    assert ended.code == code, ended.said
    assert len(re.findall(r"^(?:aws: \[ERROR\]|Error): ", ended.said, re.MULTILINE)) == 1, ended.said
    for fragment in fragments:
        assert fragment in ended.flat, ended.said


def commands(ended: Ended, program: str) -> list[list[str]]:
    """The command lines of a program that the message offers, as their arguments."""
    lines = [line.strip() for line in ended.said.splitlines() if f" -m {program} " in line]
    return [shlex.split(line.partition(f" -m {program} ")[2]) for line in lines]


# Without a tag.


def test_what_the_clean_up_by_hand_leaves_is_told_in_one_message_whose_commands_work(deployment: CommandLine) -> None:
    stranger, settings = deployment.aws, deployment.settings
    before = stranger.inventory()
    follow_by_hand_and_clean_up(stranger, settings)
    left_behind = stranger.inventory()
    ended = deployment.provision("--yes", "--no-try", "--runtime", "python3.12")
    assert_one_message(
        ended, "5 resources", "the walkthrough's own clean-up leaves behind", "Nothing was changed", "--learner NAME"
    )
    role_id = stranger.iam.get_role(RoleName=settings.api_role)["Role"]["RoleId"]
    assert f"role {settings.api_role} no tag, RoleId {role_id}, made 20" in ended.flat
    assert ended.writes == []
    assert not deployment.path.exists()
    assert stranger.inventory() == left_behind

    adopt = commands(ended, "provision")[0]
    keys = [argument for option, argument in itertools.pairwise(adopt) if option == "--adopt"]
    assert keys == ["write-policy", "read-policy", "function-role", "api-role", "log-group"]
    assert adopt[adopt.index("--runtime") + 1] == "python3.12"
    built = run(provision.__main__.provision, "provision", *adopt, "--yes", "--no-try")
    assert built.code == 0, built.said
    assert {entry["key"] for entry in deployment.state["resources"] if entry["origin"] == "adopted"} >= set(keys)
    [remove] = commands(ended, "teardown")
    removed = run(teardown.__main__.teardown, "teardown", *remove, "--yes")
    assert removed.code == 0, removed.said
    assert stranger.inventory() == before


def test_where_a_table_is_as_well_it_is_not_what_the_clean_up_leaves(deployment: CommandLine) -> None:
    follow_by_hand_and_clean_up(deployment.aws, deployment.settings)
    make_table(deployment.aws, deployment.settings.table)
    ended = deployment.provision("--yes")
    assert_one_message(ended, "6 resources", "nobody can tell whose they are")
    assert "clean-up" not in ended.flat


def test_one_role_alone_keeps_the_first_policy_from_being_made(deployment: CommandLine) -> None:
    deployment.aws.iam.create_role(RoleName=deployment.settings.api_role, AssumeRolePolicyDocument=TRUST)
    there = deployment.aws.inventory()
    ended = deployment.provision("--yes")
    assert_one_message(ended, f"Role {deployment.settings.api_role} exists already", "--adopt api-role")
    assert (ended.writes, deployment.path.exists()) == ([], False)
    assert deployment.aws.inventory() == there


def test_found_half_way_what_was_built_stays_and_the_next_run_goes_on(deployment: CommandLine) -> None:
    stranger, settings = deployment.aws, deployment.settings
    make_table(stranger, settings.table)
    theirs = stranger.inventory()["tables"][settings.table]
    ended = deployment.provision("--yes", "--no-try")
    assert_one_message(
        ended, f"Table {settings.table} exists", "What was built so far (7 resources) stays and is recorded"
    )
    assert deployment.state["deployment"] in ended.flat
    assert commands(ended, "provision")[0][-2:] == ["--adopt", "table"]
    assert len(deployment.state["resources"]) == 7
    assert stranger.inventory()["tables"][settings.table] == theirs

    stranger.dynamodb.delete_table(TableName=settings.table)
    assert deployment.provision("--yes", "--no-try").code == 0
    assert deployment.take_down().code == 0


def test_what_is_not_consented_to_is_not_taken_over_and_the_missing_flags_are_named(deployment: CommandLine) -> None:
    follow_by_hand_and_clean_up(deployment.aws, deployment.settings)
    there = deployment.aws.inventory()
    for asked in (["--adopt", "write-policy", "--adopt", "api-role"], ["--adopt"]):
        ended = deployment.provision("--yes", *asked)
        assert ended.code == 1
        offered = commands(ended, "provision")[0]
        assert [key for key in offered if key in ADOPTABLE] == [
            "write-policy", "read-policy", "function-role", "api-role", "log-group",
        ]  # fmt: skip
        assert deployment.aws.inventory() == there


def test_on_a_terminal_each_is_asked_for(deployment: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger, settings = deployment.aws, deployment.settings
    stranger.iam.create_policy(PolicyName=settings.write_policy, PolicyDocument=ANYTHING)
    make_table(stranger, settings.table)
    answers = ["y", "n"]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda: answers.pop(0))
    ended = deployment.provision("--yes", "--no-try", "--adopt")
    assert answers == []
    questions = re.findall(r"(\w+) (\S+) exists already \((no tag.*?)\)\. Take it over\? \[y/N\]", ended.flat)
    assert [(kind, name) for kind, name, _ in questions] == [
        ("Policy", settings.write_policy),
        ("Table", settings.table),
    ]
    assert_one_message(ended, f"Table {settings.table} exists already and is not")
    origins = {entry["key"]: entry["origin"] for entry in deployment.state["resources"]}
    assert origins["write-policy"] == "adopted"
    assert "table" not in origins


def test_an_api_of_the_same_name_is_mentioned_left_alone_and_blocks_nothing(deployment: CommandLine) -> None:
    stranger, settings = deployment.aws, deployment.settings
    theirs = stranger.apigateway.create_rest_api(name=settings.api)["id"]
    there = stranger.inventory()
    ended = deployment.provision("--yes", "--no-try")
    assert ended.code == 0
    assert f"another API called {settings.api} (id {theirs}) is somebody else's, and is left alone" in ended.flat
    assert deployment.outputs("api")["id"] != theirs
    assert deployment.take_down().code == 0
    assert stranger.inventory() == there


# With the tag of another deployment.


def test_a_second_region_is_refused_before_the_first_write_with_the_reason_and_the_other_state_file(
    deployment: CommandLine,
) -> None:
    assert deployment.provision("--yes", "--no-try").code == 0
    built = deployment.aws.inventory()
    elsewhere = deployment.path.with_name("elsewhere.json")
    ended = deployment.provision("--yes", "--region", "eu-west-1", "--state", str(elsewhere))
    assert_one_message(
        ended,
        "4 resources with these names exist already and belong to deployment " + deployment.state["deployment"],
        "IAM is global",
        f"has the state file {deployment.path}, for Region us-east-1",
        "--learner NAME",
    )
    assert "--adopt" not in ended.said
    assert (ended.writes, elsewhere.exists()) == ([], False)
    assert deployment.aws.inventory() == built

    [remove] = commands(ended, "teardown")
    assert run(teardown.__main__.teardown, "teardown", *remove, "--yes").code == 0
    assert deployment.provision("--yes", "--no-try", "--region", "eu-west-1", "--state", str(elsewhere)).code == 0
    assert deployment.take_down("--region", "eu-west-1", "--state", str(elsewhere)).code == 0


def test_the_mark_of_another_deployment_on_the_second_role_alone_keeps_everything_from_being_made(
    deployment: CommandLine,
) -> None:
    tags = [{"Key": TAG, "Value": "poc-theirs"}]
    deployment.aws.iam.create_role(RoleName=deployment.settings.api_role, AssumeRolePolicyDocument=TRUST, Tags=tags)
    there = deployment.aws.inventory()
    for more in ([], ["--adopt", "api-role"]):
        ended = deployment.provision("--yes", *more)
        assert_one_message(ended, "belongs to deployment poc-theirs", "IAM is global", "--recover")
        assert "--adopt" not in ended.said
        assert (ended.writes, deployment.path.exists()) == ([], False)
    assert deployment.aws.inventory() == there


def test_what_carries_another_deployments_mark_is_never_taken_over(deployment: CommandLine) -> None:
    stranger, settings = deployment.aws, deployment.settings
    make_table(stranger, settings.table, {"Key": TAG, "Value": "poc-theirs"})
    theirs = stranger.inventory()["tables"][settings.table]
    ended = deployment.provision("--yes", "--no-try", "--adopt", "table")
    assert_one_message(ended, "belongs to deployment poc-theirs", "Another state file is responsible", "--learner NAME")
    assert "--adopt" not in ended.said
    assert "--recover" not in ended.said, "it refuses where a state file is, and there is one by now"
    assert stranger.inventory()["tables"][settings.table] == theirs


def test_after_its_first_run_a_deployment_asks_for_no_name_twice(deployment: CommandLine) -> None:
    new = deployment.provision("--yes", "--no-try")
    again = deployment.provision("--yes", "--no-try")
    looks = [[call.operation for call in ended.calls].count("GetRole") for ended in (new, again)]
    assert looks[1] == 2
    assert looks[0] > looks[1], "the first run looks for all names before its first write"
    assert again.writes == []


# What the message cannot know.


def test_what_could_not_be_looked_at_is_said(deployment: CommandLine) -> None:
    make_table(deployment.aws, deployment.settings.table)
    deployment.on_connect = lambda aws: refuse(aws, "lambda_", "ListEventSourceMappings")
    ended = deployment.provision("--yes", "--no-try")
    assert_one_message(ended, "Not everything could be looked at: triggers on", "--adopt table")


@pytest.mark.sweep(2)
@pytest.mark.parametrize("program", ["provision", "again", "teardown", "teardown without a state file"])
def test_expired_credentials_stop_every_program_keep_the_state_file_and_name_the_renewing_command(
    deployment: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile lab]\naws_access_key_id = any\naws_secret_access_key = any\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    if program == "teardown without a state file":
        make_table(deployment.aws, deployment.settings.table)
    if program in ("again", "teardown"):
        assert deployment.provision("--yes", "--no-try").code == 0
    go = deployment.take_down if program.startswith("teardown") else deployment.provision
    more = [] if program.startswith("teardown") else ["--yes", "--no-try"]
    deployment.on_connect = lambda aws: refuse(aws, "sqs", "GetQueueUrl", "ExpiredToken")
    ended = go("--profile", "lab", *more)
    assert_one_message(ended, "ExpiredToken", "aws configure --profile lab", code=253)
    if program == "provision":
        assert "4/8 Queue" in ended.said
        assert [entry["key"] for entry in deployment.state["resources"]][-1] == "table"
    deployment.on_connect = lambda aws: None
    assert go("--profile", "lab", *more).code == (1 if program == "teardown without a state file" else 0)
    if not program.startswith("teardown"):
        assert len(deployment.state["resources"]) == 16


def test_credentials_that_expire_while_it_surveys_what_is_in_the_way_are_the_message(deployment: CommandLine) -> None:
    make_table(deployment.aws, deployment.settings.table)
    deployment.on_connect = lambda aws: refuse(aws, "lambda_", "GetFunction", "ExpiredTokenException")
    ended = deployment.provision("--yes", "--no-try")
    assert_one_message(ended, "ExpiredTokenException", "aws sso login", code=253)
    assert len(deployment.state["resources"]) == 7


def test_the_account_in_the_tests_is_the_sandboxs() -> None:
    assert ACCOUNT == SANDBOX_ACCOUNT
