"""`check` on the command line: what a person reads, a program gets, and a gradebook takes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from provision.package import zipped
from provision.settings import Settings
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.command_line import CommandLine, Ended, refuse
from tests.rig.handmade import made_as_terraform_does

SCHEMA = json.loads((CHECKOUT / "docs" / "output.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def by_hand(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """What a person made, with the command line of somebody who has no state file."""
    learner = re.sub("[^a-z]", "", tmp_path.name)[-20:]
    made = CommandLine(sandbox, tmp_path / "state.json", learner, monkeypatch)
    made_as_terraform_does(made.aws, made.settings, tmp_path)
    return made


@pytest.fixture
def nothing(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(sandbox, tmp_path / "state.json", "nobody", monkeypatch)


def lines(ended: Ended) -> list[str]:
    return [line for line in ended.told.splitlines() if line]


def test_where_all_passes_there_is_a_line_for_each_step_and_nothing_is_written(by_hand: CommandLine) -> None:
    ended = by_hand.provision("check")
    assert ended.code == 0
    assert len(lines(ended)) == 9
    assert re.fullmatch(r"\d+ attributes: (\d+) pass, 0 fail, 0 could not be checked\.", lines(ended)[-1])
    assert ended.writes == []
    assert list(by_hand.path.parent.glob("*.json*")) == []


def test_its_tests_run_on_what_a_person_made_and_leave_no_item(by_hand: CommandLine) -> None:
    ended = by_hand.provision("check", "--try")
    assert ended.code == 0
    assert [test.passed for test in ended.result.tests] == [True] * 5
    assert by_hand.aws.dynamodb.scan(TableName=by_hand.settings.table)["Items"] == []
    assert list(by_hand.path.parent.glob("*.json*")) == []


def test_its_tests_wait_until_all_passes(nothing: CommandLine) -> None:
    ended = nothing.provision("check", "--try")
    assert (ended.code, ended.result.tests) == (1, ())
    assert "The tests were not run" in ended.said


OTHER_CODE = """
OPERATIONS = ("create", "read", "delete", "list", "echo", "ping", "Records")

def lambda_handler(event, context):
    return "nothing of the kind"
"""


def test_a_test_that_fails_is_told_without_a_state_file(by_hand: CommandLine) -> None:
    """The code knows the words, which is all that can be read of it. It does something else."""
    package = zipped(OTHER_CODE.encode())
    by_hand.aws.lambda_.update_function_code(FunctionName=by_hand.settings.function, ZipFile=package)
    assert by_hand.provision("check").code == 0
    ended = by_hand.provision("check", "--try")
    assert ended.code == 1
    assert ended.result.error is not None and ended.result.error.code == "test-failed"
    assert "provision status" not in " ".join(ended.result.error.advice)
    assert list(by_hand.path.parent.glob("*.json*")) == []


def test_of_an_empty_account_each_line_says_what_is_missing_and_what_to_do(nothing: CommandLine) -> None:
    ended = nothing.provision("check")
    assert ended.code == 1
    assert "0 pass, 10 fail, 6 could not be checked." in ended.told
    assert ended.told.count("What to do: IAM > Policies > Create policy") == 1  # for both of them
    assert "Traceback" not in ended.said


def test_only_the_steps_that_are_named_are_checked(by_hand: CommandLine) -> None:
    ended = by_hand.provision("check", "3", "queue", "--verbose")
    assert {one.step for one in ended.result.checks} == {"table", "queue"}
    assert "pass     table" in ended.told and "VisibilityTimeout" in ended.told
    assert by_hand.provision("check", "table", "--try").code == 252


def test_a_failure_says_what_was_expected_and_found_and_what_it_means(by_hand: CommandLine) -> None:
    mapping = by_hand.aws.lambda_.list_event_source_mappings(FunctionName=by_hand.settings.function)
    by_hand.aws.lambda_.update_event_source_mapping(UUID=mapping["EventSourceMappings"][0]["UUID"], Enabled=False)
    told = " ".join(by_hand.provision("check", "trigger").told.split())
    assert "State: found Disabled, expected Enabled" in told
    assert "The trigger is disabled. The messages stay in the queue" in told
    assert "What to do: Lambda > Functions >" in told


def test_its_document_has_each_attribute_in_the_published_form(by_hand: CommandLine) -> None:
    by_hand.on_connect = lambda aws: refuse(aws, "iam", "GetRole", "AccessDenied")
    ended = by_hand.provision("check", "--output", "json")
    document = json.loads(ended.told)
    jsonschema.validate(document, SCHEMA)
    assert (document["command"], document["exit_code"]) == ("check", 1)
    words = {one["outcome"] for one in document["checks"]}
    assert words == {"pass", "could not check"}
    assert all(one["why"] for one in document["checks"])


def test_its_junit_file_has_a_case_for_each_attribute(nothing: CommandLine, tmp_path: Path) -> None:
    nothing.aws.dynamodb.create_table(
        TableName=Settings(learner="nobody").table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    file = tmp_path / "check.xml"
    ended = nothing.provision("check", "--junit", str(file))
    whole = ElementTree.parse(io.StringIO(file.read_text(encoding="utf-8"))).getroot()
    cases = list(whole.iter("testcase"))
    assert len(cases) == len(ended.result.checks) == int(whole.attrib["tests"])
    failed = [case for case in cases if case.find("failure") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    assert (len(failed), len(skipped)) == (int(whole.attrib["failures"]), int(whole.attrib["skipped"])) == (10, 6)
    key = next(case for case in failed if case.attrib["name"] == "key attribute")
    failure = key.find("failure")
    assert failure is not None and failure.attrib["type"] == "number-key"
    assert failure.text is not None and "delete the table" in failure.text.lower()
