"""What was built, used from outside: by the direct route, by the queue route, and by the queue itself."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from provision.settings import Settings
from sandbox import Sandbox
from tests.rig.clock import eventually, never
from tests.rig.deployment import REGION, Deployment

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"  # what `curl -d` says of its body unless told otherwise


@pytest.fixture(scope="module")
def built(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The walkthrough's own, for tests that leave it as it is; they keep apart by the ids of their items."""
    with Deployment(sandbox.id, sandbox.url, tmp_path_factory.mktemp("routes") / "ledger.json") as made:
        made.build()
        yield made


@pytest.fixture
def own(sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment of this test's own, to be disturbed."""
    settings = Settings(learner=f"own-{secrets.token_hex(4)}")
    with Deployment(sandbox.id, sandbox.url, tmp_path / "ledger.json", settings) as made:
        made.build()
        yield made


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def ask(url: str, body: Any, *, content_type: str = JSON, method: str = "POST") -> Answer:
    """The answer to a request; `body` becomes JSON unless it is text already."""
    text = body if isinstance(body, str) else json.dumps(body)
    request = urllib.request.Request(
        url,
        data=text.encode() if method == "POST" else None,
        headers={"Content-Type": content_type},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode())


def direct_route(deployment: Deployment) -> str:
    return deployment.outputs("stage")["url"]


def queue_route(deployment: Deployment) -> str:
    return f"{deployment.outputs('stage')['url']}/queue"


def event(deployment: Deployment, operation: str, **payload: Any) -> dict[str, Any]:
    return {"operation": operation, "tableName": deployment.settings.table, "payload": payload}


def create(deployment: Deployment, item_id: str, **attributes: Any) -> dict[str, Any]:
    return event(deployment, "create", Item={"id": item_id, **attributes})


def item(deployment: Deployment, item_id: str) -> dict[str, Any] | None:
    """The item as a stranger finds it in the table."""
    found: dict[str, Any] | None = deployment.aws.dynamodb.get_item(
        TableName=deployment.settings.table, Key={"id": {"S": item_id}}
    ).get("Item")
    return found


# The direct route.


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", FORM, "text/plain"])
def test_the_direct_route_creates_an_item(built: Deployment, content_type: str) -> None:
    item_id = f"direct {content_type}"
    name = "Bøb & <Söhne> 100% + \"1\" 'x' \\ \n 山"
    answer = ask(direct_route(built), create(built, item_id, name=name), content_type=content_type)
    assert (answer.status, answer.body["ResponseMetadata"]["HTTPStatusCode"]) == (200, 200)
    assert item(built, item_id) == {"id": {"S": item_id}, "name": {"S": name}}


@pytest.mark.parametrize("header", [[], ["-H", "Content-Type: application/json"]], ids=["form", "JSON"])
@pytest.mark.parametrize("route", [direct_route, queue_route])
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_real_curl_creates_an_item_by_either_route(
    built: Deployment, route: Callable[[Deployment], str], header: list[str]
) -> None:
    item_id = f"curl {route.__name__} {header}"
    command = ["curl", "--silent", "--noproxy", "*", *header, "-d", json.dumps(create(built, item_id)), route(built)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "errorMessage" not in json.loads(ended.stdout)
    assert eventually(lambda: item(built, item_id)) == {"id": {"S": item_id}}


def test_the_direct_route_does_every_operation(built: Deployment) -> None:
    url = direct_route(built)
    assert ask(url, create(built, "all", name="Rob")).status == 200
    assert ask(url, event(built, "read", Key={"id": "all"})).body["Item"] == {"id": "all", "name": "Rob"}
    listed = ask(url, event(built, "list")).body
    assert {"id": "all", "name": "Rob"} in listed["Items"]
    assert ask(url, event(built, "delete", Key={"id": "all"})).status == 200
    assert item(built, "all") is None
    assert "Item" not in ask(url, event(built, "read", Key={"id": "all"})).body
    payload = {"somekey1": "somevalue1", "nested": [1, 2.5, None, True]}
    assert ask(url, {"operation": "echo", "payload": payload}).body == payload
    assert ask(url, {"operation": "ping"}).body == "pong"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "operation is missing"),
        ("", "operation is missing"),
        ([], "event is an array"),
        ({"operation": "drop"}, "operation is unknown"),
        ({"operation": "create", "payload": {}}, "tableName is missing"),
        ({"operation": "create", "tableName": "name"}, "payload is missing"),
        ({"operation": "list", "tableName": "salaries", "payload": {}}, "tableName is not this deployment's table"),
        (
            {"operation": "create", "tableName": "name", "payload": {"Item": {"name": "Bob"}}},
            "DynamoDB answered ValidationException to PutItem",
        ),
    ],
    ids=lambda value: json.dumps(value)[:40] if not isinstance(value, str) else "",
)
def test_what_the_handler_refuses_arrives_as_200_with_its_message(built: Deployment, body: Any, message: str) -> None:
    answer = ask(direct_route(built), body)
    assert answer.status == 200  # erratum 20: the status says that the function was reached, and nothing more
    assert message in answer.body["errorMessage"]


def test_a_batch_by_the_direct_route_is_refused_and_forges_no_line_of_the_log(built: Deployment) -> None:
    body = json.dumps(create(built, "forged"))
    arn = "arn:aws:sqs:us-east-1:210987654321:POC-Queue"
    forged = [{"messageId": "m\n[ERROR] forged", "body": body, "eventSource": "aws:sqs", "eventSourceARN": arn}] * 200
    answer = ask(direct_route(built), {"Records": forged})
    assert answer.body["errorMessage"] == "Records do not come from SQS in this account and Region"
    assert item(built, "forged") is None
    events = built.aws.logs.filter_log_events(logGroupName=built.settings.log_group)["events"]
    assert events and not any("forged" in event["message"] for event in events)


def test_who_knows_the_account_gets_ten_requests_at_most_out_of_one(built: Deployment) -> None:
    """The limit of what the handler can tell: API Gateway hands on the bare body. docs/security.md argues it."""
    queue = built.outputs("queue")["arn"]
    forged = [
        {"messageId": f"m{number}", "eventSourceARN": queue, "body": json.dumps(create(built, f"forged {number}"))}
        for number in range(20)
    ]
    answer = ask(direct_route(built), {"Records": forged})
    assert len(answer.body["batchItemFailures"]) == 10
    assert sum(item(built, f"forged {number}") is not None for number in range(20)) == 10


def test_what_is_no_json_does_not_reach_the_handler(built: Deployment) -> None:
    answer = ask(direct_route(built), "Bob")
    assert answer.status == 400
    assert "errorMessage" not in answer.body


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_verb_is_refused(built: Deployment, method: str) -> None:
    answer = ask(direct_route(built), {}, method=method)
    assert (answer.status, answer.body) == (403, {"message": "Missing Authentication Token"})


@pytest.mark.parametrize("path", ["DynamoDBManager", "dynamodbmanager/other", "", "dynamodbmanager/queue/more"])
def test_another_path_is_refused(built: Deployment, path: str) -> None:
    url = direct_route(built).removesuffix("dynamodbmanager") + path
    answer = ask(url, {"operation": "ping"})
    assert (answer.status, answer.body) == (403, {"message": "Missing Authentication Token"})


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_another_stage_is_refused(built: Deployment, stage: str) -> None:
    answer = ask(direct_route(built).replace("/Staging/", f"/{stage}/"), {"operation": "ping"})
    assert (answer.status, answer.body) == (403, {"message": "Forbidden"})


# Values.

LARGE = "12345678901234567890"


@pytest.mark.parametrize("route", [direct_route, queue_route])
def test_numbers_survive_on_either_route(built: Deployment, route: Callable[[Deployment], str]) -> None:
    item_id = f"numbers {route.__name__}"
    body = json.dumps(create(built, item_id, fraction="F", large="L", small="S", negative="N"))
    body = body.replace('"F"', "0.1").replace('"L"', LARGE).replace('"S"', "1e-9").replace('"N"', "-273.15")
    assert ask(route(built), body).status == 200
    found = eventually(lambda: item(built, item_id))
    numbers = {name: Decimal(value["N"]) for name, value in found.items() if name != "id"}
    assert numbers == {
        "fraction": Decimal("0.1"),
        "large": Decimal(LARGE),
        "small": Decimal("1e-9"),
        "negative": Decimal("-273.15"),
    }
    text = ask(direct_route(built), event(built, "read", Key={"id": item_id})).text
    assert '"fraction": 0.1' in text
    assert f'"large": {LARGE}' in text


def test_by_the_queue_all_38_digits_survive(built: Deployment) -> None:
    digits = "0.12345678901234567890123456789012345678"
    body = json.dumps(create(built, "digits", number="D")).replace('"D"', digits)
    assert ask(queue_route(built), body).status == 200
    assert Decimal(eventually(lambda: item(built, "digits"))["number"]["N"]) == Decimal(digits)
    answer = ask(direct_route(built), event(built, "read", Key={"id": "digits"}))
    assert answer.body["Item"]["number"] == digits  # as text: a JSON number would lose digits on the way


def test_a_number_that_dynamodb_cannot_keep_is_refused(built: Deployment) -> None:
    body = json.dumps(create(built, "too long", number="D")).replace('"D"', "1" * 39)
    assert "more significant digits" in ask(direct_route(built), body).body["errorMessage"]
    assert item(built, "too long") is None


def test_sets_and_binary_of_others_are_read_as_documented(sandbox: Sandbox, built: Deployment) -> None:
    """Another program, with boto3's own types, put them into the table."""
    session = boto3.Session(aws_access_key_id="other", aws_secret_access_key="other", region_name=REGION)
    table = session.resource("dynamodb", endpoint_url=sandbox.url).Table("name")
    table.put_item(
        Item={
            "id": "types",
            "names": {"Rob", "Bob"},
            "numbers": {Decimal("10"), Decimal("2"), Decimal("0.5")},
            "bytes": b"\x00\xff",
            "many bytes": {b"b", b"a"},
            "nothing": None,
            "deep": {"list": [Decimal("1.10"), {"yes": True}]},
        }
    )
    assert ask(direct_route(built), event(built, "read", Key={"id": "types"})).body["Item"] == {
        "id": "types",
        "names": ["Bob", "Rob"],
        "numbers": [0.5, 2, 10],
        "bytes": "AP8=",
        "many bytes": ["YQ==", "Yg=="],
        "nothing": None,
        "deep": {"list": [1.1, {"yes": True}]},
    }


# The queue route.


@pytest.mark.parametrize("content_type", [JSON, FORM])
def test_the_queue_route_answers_with_a_message_id_and_the_item_follows(built: Deployment, content_type: str) -> None:
    item_id = f"queue {content_type}"
    name = "Bøb & <Söhne> 100% + \"1\" 'x' \\ \n 山"
    answer = ask(queue_route(built), create(built, item_id, name=name), content_type=content_type)
    assert answer.status == 200
    assert len(answer.body["SendMessageResponse"]["SendMessageResult"]["MessageId"]) == 36
    assert eventually(lambda: item(built, item_id)) == {"id": {"S": item_id}, "name": {"S": name}}


def test_the_queue_route_refuses_a_content_type_that_it_has_no_template_for(built: Deployment) -> None:
    assert ask(queue_route(built), create(built, "never"), content_type="text/plain").status == 415


@pytest.mark.parametrize(
    ("body", "code"),
    [("", "MissingParameter"), ("x" * 1_048_577, "InvalidParameterValue"), ("\x00", "InvalidMessageContents")],
    ids=["empty", "larger than SQS takes", "a character that SQS does not take"],
)
def test_what_sqs_refuses_is_no_success(built: Deployment, body: str, code: str) -> None:
    answer = ask(queue_route(built), body)
    assert answer.status == 400
    assert answer.body["Error"]["Code"] == code


def test_without_the_sender_statement_the_queue_route_is_denied(own: Deployment) -> None:
    queue_url = own.outputs("queue")["url"]
    policy = json.loads(access_policy(own))
    policy["Statement"] = [one for one in policy["Statement"] if one["Sid"] != "__sender_statement"]
    own.aws.sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": json.dumps(policy)})
    answer = ask(queue_route(own), create(own, "denied"))
    assert answer.status in (400, 500)
    assert answer.body["Error"]["Code"].startswith("AccessDenied")
    own.build()
    assert ask(queue_route(own), create(own, "allowed again")).status == 200
    eventually(lambda: item(own, "allowed again"))
    assert item(own, "denied") is None


def test_without_the_queue_the_queue_route_fails_and_the_direct_one_works(own: Deployment) -> None:
    own.aws.sqs.delete_queue(QueueUrl=own.outputs("queue")["url"])
    answer = ask(queue_route(own), create(own, "nowhere"))
    assert answer.status in (400, 500)
    assert "MessageId" not in answer.text
    assert ask(direct_route(own), create(own, "direct")).status == 200
    assert item(own, "direct") is not None


# The queue itself.


def test_a_message_sent_to_the_queue_itself_becomes_an_item(built: Deployment) -> None:
    built.aws.sqs.send_message(
        QueueUrl=built.outputs("queue")["url"], MessageBody=json.dumps(create(built, "by SendMessage", name="Bob"))
    )
    assert eventually(lambda: item(built, "by SendMessage")) == {"id": {"S": "by SendMessage"}, "name": {"S": "Bob"}}


def test_one_bad_message_of_ten_holds_nobody_back_and_ends_in_the_dead_letter_queue(own: Deployment) -> None:
    queue_url, dead_letters = own.outputs("queue")["url"], own.outputs("dead-letter-queue")["url"]
    # Received five times, and visible again after this many seconds: with the queue's own 30 it would take minutes.
    # The access policy is sent along because moto 5.2 drops it otherwise; AWS leaves what is not sent as it is.
    own.aws.sqs.set_queue_attributes(
        QueueUrl=queue_url, Attributes={"VisibilityTimeout": "1", "Policy": access_policy(own)}
    )
    bodies = [json.dumps(create(own, f"batch {number}")) for number in range(10)]
    bodies[3] = json.dumps({**create(own, "bad"), "tableName": "salaries"})
    sent = own.aws.sqs.send_message_batch(
        QueueUrl=queue_url,
        Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
    )
    assert len(sent["Successful"]) == 10
    for number in set(range(10)) - {3}:
        eventually(lambda number=number: item(own, f"batch {number}"), seconds=10)
    assert waiting_in(own, dead_letters) == 0  # the good ones did not wait until the bad one was given up

    def dead() -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = own.aws.sqs.receive_message(
            QueueUrl=dead_letters, MessageSystemAttributeNames=["All"], VisibilityTimeout=0
        ).get("Messages", [])
        return messages

    (message,) = eventually(dead)
    assert message["Body"] == bodies[3]
    assert int(message["Attributes"]["ApproximateReceiveCount"]) >= own.settings.max_receive_count
    assert waiting_in(own, queue_url) == 0
    assert item(own, "bad") is None
    # While the bad one was tried again, and after it, the way is free.
    assert ask(queue_route(own), create(own, "afterwards")).status == 200
    eventually(lambda: item(own, "afterwards"), seconds=10)


def access_policy(deployment: Deployment) -> str:
    answer = deployment.aws.sqs.get_queue_attributes(
        QueueUrl=deployment.outputs("queue")["url"], AttributeNames=["Policy"]
    )
    return str(answer["Attributes"]["Policy"])


def waiting_in(deployment: Deployment, queue_url: str) -> int:
    attributes = deployment.aws.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


def test_messages_that_mean_nothing_stay_in_the_queue_to_be_tried_again(own: Deployment) -> None:
    queue_url = own.outputs("queue")["url"]
    nothing = ["no JSON", "[]", '{"operation": "create"}', '{"operation": "echo", "payload": NaN}', '"create"']
    for body in nothing:
        own.aws.sqs.send_message(QueueUrl=queue_url, MessageBody=body)
    own.aws.sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(create(own, "behind them")))
    eventually(lambda: item(own, "behind them"))
    # longer than a batch takes, shorter than the messages stay invisible
    never(lambda: waiting_in(own, queue_url) < len(nothing), 3)
    assert waiting_in(own, queue_url) == len(nothing)
