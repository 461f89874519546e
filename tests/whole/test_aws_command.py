"""The real `aws` command, as anybody would type it, reads the result and uses it."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from tests.rig.deployment import ACCOUNT, REGION, Deployment

AWS = Path(sysconfig.get_path("scripts")) / "aws"
CREATE_BOB = {"operation": "create", "tableName": "name", "payload": {"Item": {"id": "1", "name": "Bob"}}}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with (
        Sandbox() as running,
        Deployment(running.id, running.url, tmp_path_factory.mktemp("aws") / "ledger.json") as made,
    ):
        made.build()
        yield made


class Refused(Exception):
    """The command ended with another code than 0."""


def aws(built: Deployment, here: Path, *arguments: str) -> Any:
    """Run `aws` with these arguments and no files of a user's; its JSON, or None when it printed nothing."""
    ended = subprocess.run(
        [str(AWS), "--endpoint-url", built.url, "--output", "json", *arguments],
        cwd=here,
        env={
            "PATH": f"{AWS.parent}:/usr/bin:/bin",
            "HOME": str(here),
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_PAGER": "",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ended.returncode:
        raise Refused(ended.stderr)
    return json.loads(ended.stdout) if ended.stdout.strip() else None


@pytest.mark.slow
def test_iam_shows_the_role_and_what_it_carries(built: Deployment, tmp_path: Path) -> None:
    role = aws(built, tmp_path, "iam", "get-role", "--role-name", "SQS-Lambda-DynamoDB-Role")["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    attached = aws(built, tmp_path, "iam", "list-attached-role-policies", "--role-name", "SQS-Lambda-DynamoDB-Role")
    names = sorted(policy["PolicyName"] for policy in attached["AttachedPolicies"])
    assert names == ["Lambda-Read-SQS", "Lambda-Write-DynamoDB"]


@pytest.mark.slow
def test_what_was_not_built_is_not_there(built: Deployment, tmp_path: Path) -> None:
    """The other side: the command does not find just anything."""
    with pytest.raises(Refused, match="NoSuchEntity"):
        aws(built, tmp_path, "iam", "get-role", "--role-name", "Lambda-DynamoDB-Role")
    with pytest.raises(Refused, match="ResourceNotFoundException"):
        aws(built, tmp_path, "lambda", "get-function", "--function-name", "POC-Lambda-Test-1")


def test_dynamodb_shows_the_table(built: Deployment, tmp_path: Path) -> None:
    table = aws(built, tmp_path, "dynamodb", "describe-table", "--table-name", "name")["Table"]
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert table["AttributeDefinitions"] == [{"AttributeName": "id", "AttributeType": "S"}]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.slow
def test_sqs_shows_the_queue_with_its_three_statements(built: Deployment, tmp_path: Path) -> None:
    url = aws(built, tmp_path, "sqs", "get-queue-url", "--queue-name", "POC-Queue")["QueueUrl"]
    answer = aws(built, tmp_path, "sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "All")
    policy = json.loads(answer["Attributes"]["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == [
        "__owner_statement",
        "__sender_statement",
        "__receiver_statement",
    ]
    redrive = json.loads(answer["Attributes"]["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:POC-Queue-DLQ"


def test_lambda_shows_the_function_and_its_trigger(built: Deployment, tmp_path: Path) -> None:
    function = aws(built, tmp_path, "lambda", "get-function", "--function-name", "POC-Lambda-1")
    assert function["Configuration"]["Runtime"] == "python3.13"
    assert function["Configuration"]["Handler"] == "lambda_function.lambda_handler"
    assert function["Configuration"]["State"] == "Active"
    listed = aws(built, tmp_path, "lambda", "list-event-source-mappings", "--function-name", "POC-Lambda-1")
    (mapping,) = listed["EventSourceMappings"]
    assert mapping["EventSourceArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:POC-Queue"
    assert mapping["State"] == "Enabled"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.slow
def test_apigateway_shows_the_api_and_tries_its_method(built: Deployment, tmp_path: Path) -> None:
    (api,) = aws(built, tmp_path, "apigateway", "get-rest-apis")["items"]
    assert (api["name"], api["endpointConfiguration"]["types"]) == ("POC-API", ["REGIONAL"])
    resources = aws(built, tmp_path, "apigateway", "get-resources", "--rest-api-id", api["id"])["items"]
    by_path = {resource["path"]: resource for resource in resources}
    assert sorted(by_path) == ["/", "/dynamodbmanager", "/dynamodbmanager/queue"]
    answer = aws(
        built,
        tmp_path,
        *("apigateway", "test-invoke-method", "--rest-api-id", api["id"], "--http-method", "POST"),
        *("--resource-id", by_path["/dynamodbmanager"]["id"], "--body", json.dumps(CREATE_BOB)),
    )
    assert answer["status"] == 200
    assert json.loads(answer["body"])["ResponseMetadata"]["HTTPStatusCode"] == 200
    scanned = aws(built, tmp_path, "dynamodb", "scan", "--table-name", "name")
    assert {"id": {"S": "1"}, "name": {"S": "Bob"}} in scanned["Items"]


def test_an_invocation_is_answered_and_leaves_its_lines_in_the_log(built: Deployment, tmp_path: Path) -> None:
    function = ("--function-name", "POC-Lambda-1")
    # Both versions of the command take the payload from a file as it is; on the line version 2 would want base64.
    (tmp_path / "event.json").write_text('{"operation": "echo", "payload": {"somekey1": "somevalue1"}}')
    answer = aws(built, tmp_path, "lambda", "invoke", *function, "--payload", "fileb://event.json", "answer.json")
    assert answer["StatusCode"] == 200 and "FunctionError" not in answer
    assert json.loads((tmp_path / "answer.json").read_text()) == {"somekey1": "somevalue1"}

    group = ("--log-group-name", "/aws/lambda/POC-Lambda-1")
    described = aws(built, tmp_path, "logs", "describe-log-groups", "--log-group-name-prefix", "/aws/lambda/")
    assert [found["logGroupName"] for found in described["logGroups"]] == ["/aws/lambda/POC-Lambda-1"]
    assert described["logGroups"][0]["retentionInDays"] == 14
    streams = aws(built, tmp_path, "logs", "describe-log-streams", *group)["logStreams"]
    messages = [
        event["message"]
        for stream in streams
        for event in aws(
            built, tmp_path, "logs", "get-log-events", *group, "--log-stream-name", stream["logStreamName"]
        )["events"]
    ]
    assert any("operation: echo" in message for message in messages), messages
    assert any(message.startswith("REPORT RequestId: ") for message in messages), messages
