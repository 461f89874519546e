"""`--as-written`: what the walkthrough literally says is built, tried and taken down, and corrected by a plain run.

The whole is played once for this module, and pictures are taken on the way; the tests look at the pictures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.account.smoke_tests import SmokeTest
from provision.errata import ERRATA
from provision.settings import Settings
from provision.state.entries import ResourceResult
from sandbox import Sandbox
from teardown.backwards import Left
from tests.rig.deployment import Deployment, Standing

AS_WRITTEN = Settings(as_written=True)

# What the walkthrough has its reader paste.
PASTED = {
    "Lambda-Write-DynamoDB": """
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "VisualEditor0",
                "Action": ["dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable"],
                "Effect": "Allow",
                "Resource": "*"
            },
            {
                "Sid": "VisualEditor1",
                "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
                "Effect": "Allow",
                "Resource": "*"
            }
        ]
    }""",
    "Lambda-Read-SQS": """
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "VisualEditor0",
                "Effect": "Allow",
                "Action": [
                    "sqs:DeleteMessage",
                    "sqs:ReceiveMessage",
                    "sqs:GetQueueAttributes",
                    "sqs:ChangeMessageVisibility"
                ],
                "Resource": "*"
            }
        ]
    }""",
}

EVENTS: dict[str, dict[str, Any]] = {
    "ping": {"operation": "ping"},
    "unknown operation": {"operation": "update", "tableName": "name", "payload": {}},
    "no operation": {},
    "no table": {"operation": "create", "payload": {"Item": {"id": "1"}}},
    "no payload": {"operation": "create", "tableName": "name"},
    "fraction": {"operation": "create", "tableName": "name", "payload": {"Item": {"id": "fraction", "price": 1.5}}},
    "other table": {"operation": "read", "tableName": "other", "payload": {"Key": {"id": "1"}}},
    "batch": {
        "Records": [
            {
                "messageId": "m-1",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:POC-Queue",
                "body": json.dumps({"operation": "ping"}),
            }
        ],
    },
}


@dataclass(frozen=True)
class Picture:
    """The account after a run."""

    inventory: dict[str, Any]
    retention: int | None
    response_types: list[str]
    served: str


@dataclass(frozen=True)
class Played:
    """A run, what it made, and the same command once more. `answers` are what the function says to each of EVENTS."""

    results: list[ResourceResult]
    picture: Picture
    answers: dict[str, Any]
    smoke_tests: list[SmokeTest]
    again: list[ResourceResult]
    writes_again: list[str]


@dataclass(frozen=True)
class Story:
    """`taken_down`: what is left in the account, and what is said to be left, of either."""

    empty: dict[str, Any]
    as_written: Played
    corrected: Played
    fresh: Picture
    taken_down: dict[str, tuple[dict[str, Any], list[Left]]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("as-written")
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith(("AWS_", "BOTO_")):
                environment.delenv(name)
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        with Sandbox() as sandbox:
            yield play(sandbox, folder)


def play(sandbox: Sandbox, folder: Path) -> Story:
    taken_down = {}
    with Standing(sandbox.id, sandbox.url, folder / "ledger.json") as deployment:
        empty = deployment.aws.inventory()

        as_written = run(deployment, AS_WRITTEN)
        left = deployment.tear_down()
        taken_down["as written"] = (deployment.aws.inventory(), left)

        deployment.build(AS_WRITTEN)
        corrected = run(deployment, Settings())
        left = deployment.tear_down()
        taken_down["corrected"] = (deployment.aws.inventory(), left)

        deployment.build(Settings())
        fresh = take(deployment)
    return Story(empty, as_written, corrected, fresh, taken_down)


def run(deployment: Deployment, settings: Settings) -> Played:
    results = deployment.build(settings)
    answers = {name: answer(deployment, event) for name, event in EVENTS.items()}
    deployment.aws.dynamodb.delete_item(TableName="name", Key={"id": {"S": "fraction"}})
    smoke_tests = deployment.smoke_tests(settings)
    picture = take(deployment)
    again = deployment.build(settings)
    return Played(results, picture, answers, smoke_tests, again, deployment.writes)


def take(deployment: Deployment) -> Picture:
    aws = deployment.aws
    api_id = deployment.outputs("api")["id"]
    stage = aws.apigateway.get_stage(restApiId=api_id, stageName="Staging")
    deployed = aws.apigateway.get_deployment(restApiId=api_id, deploymentId=stage["deploymentId"])
    mapping = aws.lambda_.list_event_source_mappings(FunctionName="POC-Lambda-1")["EventSourceMappings"][0]
    inventory = aws.inventory()
    for policy in inventory["policies"].values():
        del policy["versions"]  # a corrected policy has one more
    return Picture(
        inventory=inventory,
        retention=aws.logs.describe_log_groups()["logGroups"][0].get("retentionInDays"),
        response_types=mapping.get("FunctionResponseTypes", []),
        served=deployed["description"],
    )


def answer(deployment: Deployment, event: dict[str, Any]) -> Any:
    """What the function gives back; the errorType when it failed."""
    given = deployment.aws.lambda_.invoke(FunctionName="POC-Lambda-1", Payload=json.dumps(event))
    body = json.loads(given["Payload"].read())
    return body["errorType"] if given.get("FunctionError") else body


# As written.


def test_the_function_has_the_runtime_that_the_walkthrough_chooses(story: Story) -> None:
    assert story.as_written.picture.inventory["functions"]["POC-Lambda-1"]["runtime"] == "python3.9"


def test_another_runtime_can_be_asked_for_as_lambda_will_refuse_that_one_some_day() -> None:
    assert Settings(as_written=True, runtime_asked="python3.13").runtime == "python3.13"


@pytest.mark.parametrize("name", PASTED)
def test_the_policies_are_as_pasted(story: Story, name: str) -> None:
    assert story.as_written.picture.inventory["policies"][name]["document"] == json.loads(PASTED[name])


def test_no_message_is_ever_put_aside(story: Story) -> None:
    assert list(story.as_written.picture.inventory["queues"]) == ["POC-Queue"]
    assert story.as_written.picture.inventory["queues"]["POC-Queue"]["redrive"] is None


def test_no_route_leads_to_the_queue(story: Story) -> None:
    (api,) = story.as_written.picture.inventory["apis"]
    assert list(api["methods"]) == ["POST /dynamodbmanager"]


def test_the_trigger_reports_no_single_failures(story: Story) -> None:
    assert story.as_written.picture.response_types == []


def test_the_log_group_keeps_its_logs_for_ever(story: Story) -> None:
    assert story.as_written.picture.retention is None


def test_the_function_knows_nothing_of_its_deployment(story: Story) -> None:
    assert story.as_written.picture.inventory["functions"]["POC-Lambda-1"]["environment"] == {}


def test_what_works_in_the_walkthrough_works(story: Story) -> None:
    assert story.as_written.answers["ping"] == "pong"
    titles = [smoke_test.title for smoke_test in story.as_written.smoke_tests]
    assert len(titles) == 3
    assert not any("queue" in title for title in titles), "nothing comes through the queue as it is written"


def test_the_handler_fails_as_the_walkthroughs_does(story: Story) -> None:
    failures = {name: story.as_written.answers[name] for name in EVENTS if name != "ping"}
    assert failures == {
        "unknown operation": "ValueError",
        "no operation": "KeyError",
        "no table": "NameError",
        "no payload": "TypeError",
        "fraction": "TypeError",
        "other table": "ResourceNotFoundException",  # it was asked for: nothing keeps the caller to one table
        "batch": "KeyError",
    }


def test_what_is_the_same_in_both_is_the_same(story: Story) -> None:
    for kind in ("roles", "tables"):
        assert story.as_written.picture.inventory[kind] == story.fresh.inventory[kind], kind
    assert set(story.as_written.picture.inventory["log groups"]) == set(story.fresh.inventory["log groups"])
    joined = [[one[:4] for one in each.inventory["triggers"]] for each in (story.as_written.picture, story.fresh)]
    assert joined[0] == joined[1]
    written, fresh = (one.inventory["queues"]["POC-Queue"] for one in (story.as_written.picture, story.fresh))
    assert {one["Sid"] for one in fresh["policy"]["Statement"]} == {
        *(one["Sid"] for one in written["policy"]["Statement"]),
        "__tls_statement",
    }
    corrected = {"redrive": None, "visibility": None, "policy": None}
    assert {**written, **corrected} == {**fresh, **corrected}


@pytest.mark.parametrize("which", ["as_written", "corrected"])
def test_a_second_run_of_the_same_kind_writes_nothing(story: Story, which: str) -> None:
    played: Played = getattr(story, which)
    assert {event.outcome for event in played.again} == {"unchanged"}
    assert played.writes_again == []


# Corrected, erratum by erratum.

# Entry and attribute that the correcting run must report, and the errata that each of them corrects.
CORRECTIONS: dict[tuple[str, str], set[int]] = {
    ("write-policy", "document"): {4, 6},
    ("read-policy", "document"): {6},
    ("dead-letter-queue", "created"): {12},
    ("queue", "RedrivePolicy"): {12},
    ("queue", "Policy"): {30},
    ("queue", "VisibilityTimeout"): {28},
    ("log-group", "retentionInDays"): {23},
    ("function", "CodeSha256"): {6, 11, 21},
    ("function", "Runtime"): {13},
    ("function", "Timeout"): {28},
    ("function", "Environment"): {6},
    ("trigger", "FunctionResponseTypes"): {11},
    ("trigger", "ScalingConfig > MaximumConcurrency"): {29},
    ("api", "resource /dynamodbmanager/queue"): {10},
    ("api", "POST /dynamodbmanager/queue method"): {10},
    ("api", "POST /dynamodbmanager/queue integration"): {8, 10},
    ("api", "POST /dynamodbmanager/queue method response 200"): {10},
    ("api", "POST /dynamodbmanager/queue method response 400"): {10},
    ("api", "POST /dynamodbmanager/queue method response 500"): {10},
    ("stage", "what it serves"): {10},
    ("stage", "methodSettings > */* > throttlingRateLimit"): {29},
    ("stage", "methodSettings > */* > throttlingBurstLimit"): {29},
}


def reported(results: list[ResourceResult]) -> set[tuple[str, str]]:
    found = {(event.key, one.attribute) for event in results for one in event.differences}
    return found | {(event.key, event.outcome) for event in results if event.outcome not in ("updated", "unchanged")}


def test_a_plain_run_updates_the_differences_and_nothing_else(story: Story) -> None:
    assert reported(story.corrected.results) == set(CORRECTIONS)


def test_every_erratum_that_is_built_otherwise_as_written_is_corrected_by_the_plain_run() -> None:
    assert set().union(*CORRECTIONS.values()) == {erratum.number for erratum in ERRATA if erratum.as_written}


def test_after_the_correction_the_account_is_that_of_a_fresh_default_build(story: Story) -> None:
    assert story.corrected.picture.inventory == story.fresh.inventory
    assert story.corrected.picture.retention == story.fresh.retention == 14
    assert story.corrected.picture.response_types == story.fresh.response_types == ["ReportBatchItemFailures"]
    assert story.corrected.picture.served == story.fresh.served
    assert story.corrected.picture.served != story.as_written.picture.served


def test_after_the_correction_the_handler_says_what_is_wrong(story: Story) -> None:
    said = story.corrected.answers
    refused = ("unknown operation", "no operation", "no table", "no payload", "other table")
    assert {name: said[name] for name in refused} == dict.fromkeys(refused, "EventRefused")
    assert said["fraction"]["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert said["batch"] == {"batchItemFailures": []}
    assert len(story.corrected.smoke_tests) == 5


# Taken down.


@pytest.mark.parametrize("which", ["as written", "corrected"])
def test_either_is_taken_down_without_a_rest(story: Story, which: str) -> None:
    assert story.taken_down[which] == (story.empty, [])
    assert story.as_written.picture.inventory != story.empty
