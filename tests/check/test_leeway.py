"""What the walkthrough leaves free passes, and what comes near to it and means something else does not."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from provision.check.handler_code import EXAMPLE, EXPECTED, NO_BATCHES, UNREADABLE, file_in, judge
from provision.check.leeway import is_alike, row_of
from provision.check.served import Unreadable, differing, paths_of, route
from provision.documents import grants
from provision.package import source
from provision.settings import Settings
from tests.rig import CHECKOUT

SETTINGS = Settings()
QUEUE = "arn:aws:sqs:us-east-1:123456789012:POC-Queue"
ROLE = "arn:aws:iam::123456789012:role/APIGateway-SQS"
SOURCE = "arn:aws:execute-api:us-east-1:123456789012:abc123/*/POST/dynamodbmanager"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: Any, principal: Any = ROLE, resource: Any = QUEUE, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Resource": resource, **more}


SEND = policy(
    allow(["sqs:SendMessage", "sqs:GetQueueUrl"]), allow("SQS:*", "arn:aws:iam::123456789012:root", Sid="owner")
)
CONDITION = {"ArnLike": {"AWS:SourceArn": SOURCE}}


def from_source(value: Any, operator: str = "ArnLike", **more: Any) -> dict[str, Any]:
    return {operator: {"aws:SourceArn": value}, **more}


@pytest.mark.parametrize(
    ("kind", "attribute", "wanted", "good", "bad"),
    [
        (
            "sqs:queue",
            "Policy",
            json.dumps(SEND),
            [
                json.dumps(policy(allow("SQS:GetQueueUrl"), allow("SQS:SendMessage", [ROLE], Sid="x"))),
                json.dumps(policy(allow(["SQS:SendMessage", "sqs:getqueueurl"]), allow("sqs:*", "123456789012"))),
                json.dumps(SEND).replace(":role/", ":role/service-role/"),
            ],
            [
                "",
                json.dumps(policy(allow("SQS:SendMessage"))),
                json.dumps(policy(allow(["sqs:SendMessage", "sqs:GetQueueUrl", "sqs:PurgeQueue"]))),
                json.dumps(SEND).replace("APIGateway-SQS", "another"),
                json.dumps(policy(allow("sqs:*", "*"), *SEND["Statement"])),
                json.dumps(policy({**allow("sqs:*", "123456789012"), "Effect": "Deny"}, *SEND["Statement"])),
                json.dumps(policy({**allow("sqs:SendMessage"), "NotAction": "sqs:SendMessage"})),
            ],
        ),
        (
            "sqs:queue",
            "RedrivePolicy",
            '{"deadLetterTargetArn": "a", "maxReceiveCount": 5}',
            [
                '{"maxReceiveCount": "5", "deadLetterTargetArn": "a"}',
                '{"maxReceiveCount": 9, "deadLetterTargetArn": "a"}',
            ],
            [
                "",
                '{"maxReceiveCount": 4, "deadLetterTargetArn": "a"}',
                '{"maxReceiveCount": 5, "deadLetterTargetArn": "b"}',
                "null x",
            ],
        ),
        ("sqs:queue", "VisibilityTimeout", "60", ["61", "43200"], ["59", None, ""]),
        ("sqs:queue", "MessageRetentionPeriod", "1209600", ["345601"], ["345600", "60", None]),
        ("lambda:function", "Timeout", 10, [11, 900], [3, None]),
        ("logs:log-group", "retentionInDays", 14, [1, 3653], [None]),
        ("lambda:function", "Runtime", "python3.13", ["python3.9", "python3.14"], ["nodejs22.x", None]),
        ("lambda:function", "Role", ROLE, [ROLE.replace("role/", "role/a/b/")], [ROLE.replace("0", "1"), f"{ROLE}-2"]),
        ("lambda:function", "MemorySize", 128, [128, 1024], [64, None]),
        ("lambda:function", "Environment", {"A": "1"}, [{"A": "1", "B": "2"}], [{}, {"A": "2"}]),
        ("lambda:permission", "Action", "lambda:InvokeFunction", [["Lambda:InvokeFunction"]], ["lambda:*", ["a", "b"]]),
        (
            "lambda:permission",
            "Principal",
            {"Service": "apigateway.amazonaws.com"},
            [{"Service": ["apigateway.amazonaws.com"]}],
            [{"Service": ["apigateway.amazonaws.com", "s3.amazonaws.com"]}, {"AWS": "1"}, "*"],
        ),
        (
            "lambda:permission",
            "Condition",
            CONDITION,
            [
                from_source(SOURCE.replace("POST/dynamodbmanager", "*")),
                from_source([SOURCE]),
                from_source(SOURCE, "StringLike", StringEquals={"aws:SourceAccount": "123456789012"}),
            ],
            [
                None,
                {},
                from_source(SOURCE, "StringEquals"),
                from_source(SOURCE.replace("abc123", "def456")),
                from_source(SOURCE.replace("abc123/*/", "abc123/Staging/")),
                from_source("arn:aws:execute-api:us-east-1:123456789012:*"),
                from_source(SOURCE, StringEquals={"aws:SourceAccount": "210987654321"}),
                from_source(SOURCE, IpAddress={"aws:SourceIp": "10.0.0.0/8"}),
            ],
        ),
        (
            "apigateway:rest-api",
            "POST /dynamodbmanager integration passthroughBehavior",
            "WHEN_NO_MATCH",
            ["WHEN_NO_TEMPLATES", None],
            ["NEVER"],
        ),
        (
            "apigateway:rest-api",
            "POST /dynamodbmanager integration contentHandling",
            "CONVERT_TO_TEXT",
            [None],
            ["CONVERT_TO_BINARY"],
        ),
        (
            "apigateway:rest-api",
            "POST /dynamodbmanager/queue integration requestTemplates",
            {"application/json": "A"},
            [{"application/json": "A\n", "text/plain": ""}],
            [{}, None, {"application/json": "B"}, {"application/json": "A", "text/plain": "B"}],
        ),
        (
            "apigateway:rest-api",
            "POST /dynamodbmanager/queue integration response 400 selectionPattern",
            "4\\d{2}",
            ["4[0-9][0-9]", "4\\d\\d"],
            ["400", "", None, "[45]\\d\\d", "("],
        ),
    ],
)
def test_a_spelling_passes_and_another_meaning_does_not(
    kind: str, attribute: str, wanted: Any, good: list[Any], bad: list[Any]
) -> None:
    for found in [wanted, *good]:
        assert is_alike(SETTINGS, kind, attribute, found, wanted), found
    for found in bad:
        assert not is_alike(SETTINGS, kind, attribute, found, wanted), found


def test_a_runtime_that_is_asked_for_is_the_only_one() -> None:
    asked = Settings(runtime_asked="python3.12")
    assert is_alike(asked, "lambda:function", "Runtime", "python3.12", "python3.12")
    assert not is_alike(asked, "lambda:function", "Runtime", "python3.13", "python3.12")


def test_without_leeway_the_step_decides() -> None:
    assert is_alike(SETTINGS, "lambda:function", "Handler", "a", "a") is None


def test_grants_are_taken_apart_only_where_that_says_all() -> None:
    assert grants(SEND) == grants(json.dumps(SEND)) != frozenset()
    for other in ("", "[]", {"Statement": "x"}, policy({"Effect": "Allow", "NotAction": "a", "Resource": "*"})):
        assert grants(other) is None


@pytest.mark.parametrize(
    ("attribute", "row"),
    [
        ("POST /dynamodbmanager/queue integration response 400", "POST PATH integration response CODE"),
        ("POST /dynamodbmanager method response 200", "POST PATH method response CODE"),
        ("resource /dynamodbmanager", "resource PATH"),
        ("trust policy", "trust policy"),
    ],
)
def test_an_attribute_is_found_in_tables_without_its_path_and_code(attribute: str, row: str) -> None:
    assert row_of(attribute) == row


OPERATIONS = "KNOWN = ['create', 'read', 'delete', 'list', 'echo', 'ping']\n"


@pytest.mark.parametrize(
    ("text", "knows_messages", "what"),
    [
        (source(SETTINGS).decode() + "\n# mine\n", True, EXPECTED),
        ((CHECKOUT / "provision" / "as_written_handler.py").read_text(encoding="utf-8"), True, NO_BATCHES),
        ((CHECKOUT / "provision" / "as_written_handler.py").read_text(encoding="utf-8"), False, EXPECTED),
        (OPERATIONS, True, NO_BATCHES),
        (OPERATIONS + "EVENTS = 'Records'", True, EXPECTED),
        ("def lambda_handler(event, context):\n    return 'Hello from Lambda!'", True, EXAMPLE),
        ("x = 'create read'", True, "other code, which does not know create, delete, echo, list, ping, read"),
        ("def (", True, UNREADABLE),
        ("\0", True, UNREADABLE),
    ],
)
def test_code_is_judged_by_what_it_says(text: str, knows_messages: bool, what: str) -> None:
    assert judge(text.encode(), source(SETTINGS), knows_messages=knows_messages) == what


def test_only_a_handler_of_a_handlers_size_is_read_from_a_zip(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("small.py", "x = 1")
        package.writestr("bomb.py", b"#" * 50_000_000)
        package.writestr("folder/deep.py", "x = 1")
    assert file_in(packed.getvalue(), "small.py") == b"x = 1"
    for name in ("bomb.py", "deep.py", "missing.py"):
        assert file_in(packed.getvalue(), name) is None
    assert file_in(b"no zip", "small.py") is None


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"paths": []}', b"<html>", b"\xff"])
def test_an_export_that_is_none_is_told(document: bytes) -> None:
    with pytest.raises(Unreadable, match="no OpenAPI document"):
        paths_of(document)


def test_what_a_stage_serves_differs_by_path_and_by_part() -> None:
    integration = {"type": "AWS", "httpMethod": "POST", "uri": "arn:x", "passthroughBehavior": "WHEN_NO_MATCH"}
    exported = {"type": "aws", "httpMethod": "POST", "uri": "arn:x", "passthroughBehavior": "when_no_match"}
    responses = {"200": ("", {"statusCode": "200", "responseTemplates": {"application/json": None}})}
    defined = {"/a": route(integration, {"200": ("", {})})}
    assert differing({"/a": route(exported, responses)}, defined) == []
    assert differing({}, defined) == ["no POST /a"]
    assert differing({"/a": route({**exported, "uri": "arn:y"}, {})}, defined) == [
        "another uri of POST /a",
        "another responses of POST /a",
    ]
