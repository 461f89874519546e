"""The handler by itself: what it makes of each event, with moto's DynamoDB behind it and no network."""

from __future__ import annotations

import ast
import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

import lambda_function
from lambda_function import EventRefused
from provision import as_written_handler

CONTEXT = SimpleNamespace(
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:POC-Lambda-1",
    get_remaining_time_in_millis=lambda: 10_000,
)
QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:POC-Queue"
FUNCTION_FOLDER = Path(lambda_function.__file__).parent


@cache
def session() -> boto3.Session:
    """One for all tests: it keeps botocore's descriptions of the services, which take long to read."""
    return boto3.Session(
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    )


@pytest.fixture(autouse=True)
def lambdas_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new moto, and of the environment only what the deployment sets; no resource made yet."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TABLE_NAME", "name")
    lambda_function.dynamodb.cache_clear()
    with mock_aws():
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", session())  # after moto, which begins by forgetting it
        yield
    lambda_function.dynamodb.cache_clear()


@pytest.fixture
def table(lambdas_environment: None) -> Any:
    """The walkthrough's table."""
    return (
        session()
        .resource("dynamodb")
        .create_table(
            TableName="name",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    )


@pytest.fixture
def calls(table: Any) -> list[str]:
    """Every call that the handler makes on DynamoDB, by the name that IAM knows it under."""
    heard: list[str] = []

    def listen(model: Any, **kwargs: Any) -> None:
        heard.append(f"dynamodb:{model.name}")

    lambda_function.dynamodb().meta.client.meta.events.register("before-call.dynamodb", listen)
    return heard


def ask(operation: str, payload: Any = None, table_name: str = "name") -> Any:
    """A direct event through the handler, its answer through JSON as Lambda would send it."""
    event = json.loads(json.dumps({"operation": operation, "tableName": table_name, "payload": payload}))
    return json.loads(json.dumps(lambda_function.lambda_handler(event, CONTEXT), allow_nan=False))


def record(message_id: str, body: str | dict[str, Any], queue_arn: str = QUEUE_ARN) -> dict[str, Any]:
    return {
        "messageId": message_id,
        "receiptHandle": "handle-" + message_id,
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": "us-east-1",
    }


def create(item_id: str, **attributes: Any) -> dict[str, Any]:
    return {"operation": "create", "tableName": "name", "payload": {"Item": {"id": item_id, **attributes}}}


def create_text(item_id: str, number: str) -> str:
    """A create as JSON text whose attribute n is a number written just so."""
    return json.dumps(create(item_id, n="<number>")).replace('"<number>"', number)


def batch(*records: Any) -> dict[str, Any]:
    """A batch through the handler; the answer is what Lambda reads to know which messages to keep."""
    answer = lambda_function.lambda_handler({"Records": list(records)}, CONTEXT)
    assert json.loads(json.dumps(answer)) == answer
    assert isinstance(answer, dict)
    return answer


def failed(*records: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in batch(*records)["batchItemFailures"]]


def read_back(item_id: str) -> Any:
    return ask("read", {"Key": {"id": item_id}})["Item"]


def stored() -> Any:
    """What the table holds, as it goes over the wire."""
    return session().client("dynamodb").scan(TableName="name")["Items"]


def written_out(attribute: Any) -> Any:
    """An attribute as DynamoDB returns it, its numbers in plain digits; moto returns them as it got them.

    https://github.com/boto/boto3/issues/2500
    """
    ((kind, value),) = attribute.items()
    if kind == "N":
        return {"N": format(Decimal(value), "f")}
    if kind == "NS":
        return {"NS": [format(Decimal(member), "f") for member in value]}
    if kind == "L":
        return {"L": [written_out(member) for member in value]}
    if kind == "M":
        return {"M": {name: written_out(member) for name, member in value.items()}}
    return attribute


def write_numbers_out() -> None:
    """Make every item in the table what it is in DynamoDB's."""
    for item in stored():
        plain = {name: written_out(attribute) for name, attribute in item.items()}
        session().client("dynamodb").put_item(TableName="name", Item=plain)


class TestOperations:
    def test_create_writes_the_item_under_its_key(self, table: Any) -> None:
        answer = ask("create", {"Item": {"id": "1234ABCD", "name": "Rob"}})
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert table.get_item(Key={"id": "1234ABCD"})["Item"] == {"id": "1234ABCD", "name": "Rob"}

    def test_create_twice_leaves_one_item(self, table: Any) -> None:
        ask("create", {"Item": {"id": "1", "name": "Bob"}})
        ask("create", {"Item": {"id": "1", "name": "Bob"}})
        assert table.scan()["Items"] == [{"id": "1", "name": "Bob"}]

    def test_create_passes_the_other_arguments_on(self, table: Any) -> None:
        ask("create", {"Item": {"id": "1", "n": 0.5}})
        answer = ask("create", {"Item": {"id": "1", "n": 1}, "ReturnValues": "ALL_OLD"})
        assert answer["Attributes"] == {"id": "1", "n": 0.5}

    def test_read_returns_the_item_with_the_reserved_word_name_as_attribute(self, table: Any) -> None:
        table.put_item(Item={"id": "1", "name": "Bob"})
        assert ask("read", {"Key": {"id": "1"}})["Item"] == {"id": "1", "name": "Bob"}

    def test_name_in_an_expression_goes_by_an_alias_as_in_any_dynamodb_call(self, table: Any) -> None:
        table.put_item(Item={"id": "1", "name": "Bob", "n": 1})
        arguments = {
            "Key": {"id": "1"},
            "ProjectionExpression": "#n",
            "ExpressionAttributeNames": {"#n": "name"},
        }
        assert ask("read", arguments)["Item"] == {"name": "Bob"}

    def test_read_of_an_absent_item_has_no_item(self, table: Any) -> None:
        assert "Item" not in ask("read", {"Key": {"id": "nobody"}})

    def test_delete_removes_the_item_and_may_be_repeated(self, table: Any) -> None:
        table.put_item(Item={"id": "1"})
        ask("delete", {"Key": {"id": "1"}})
        ask("delete", {"Key": {"id": "1"}})
        assert table.scan()["Count"] == 0

    def test_list_returns_every_item(self, table: Any) -> None:
        for item_id in ("1", "2", "3"):
            table.put_item(Item={"id": item_id})
        answer = ask("list", {})
        assert answer["Count"] == 3
        assert sorted(item["id"] for item in answer["Items"]) == ["1", "2", "3"]

    def test_list_is_paged_by_the_caller_from_key_to_key(self, table: Any) -> None:
        for number in range(5):
            table.put_item(Item={"id": str(number)})
        seen: list[str] = []
        arguments: dict[str, Any] = {"Limit": 2}
        for _ in range(5):
            page = ask("list", arguments)
            seen += [item["id"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        assert sorted(seen) == ["0", "1", "2", "3", "4"]

    @pytest.mark.parametrize("limit", ["2", "2.0", "2e0", "0.2E+1"])
    def test_a_limit_is_a_whole_number_however_json_writes_it(self, table: Any, limit: str) -> None:
        for number in range(3):
            table.put_item(Item={"id": str(number)})
        text = '{"operation": "list", "tableName": "name", "payload": {"Limit": 0}}'.replace("0", limit)
        assert lambda_function.lambda_handler(json.loads(text), CONTEXT)["Count"] == 2
        assert failed(record("m", text)) == []

    def test_list_filters_by_a_number_with_a_fraction(self, table: Any) -> None:
        table.put_item(Item={"id": "cheap", "price": Decimal("0.1")})
        table.put_item(Item={"id": "dear", "price": Decimal("0.2")})
        arguments = {"FilterExpression": "price > :p", "ExpressionAttributeValues": {":p": 0.1}}
        assert [item["id"] for item in ask("list", arguments)["Items"]] == ["dear"]

    @pytest.mark.parametrize("payload", [{"somekey1": "somevalue1"}, [1, 0.1, 1e200], "text", 0, False, None])
    def test_echo_returns_what_came_in(self, payload: Any) -> None:
        assert lambda_function.lambda_handler({"operation": "echo", "payload": payload}, CONTEXT) is payload

    def test_echo_without_payload_returns_null(self) -> None:
        assert lambda_function.lambda_handler({"operation": "echo"}, CONTEXT) is None

    def test_ping_returns_pong(self) -> None:
        assert lambda_function.lambda_handler({"operation": "ping"}, CONTEXT) == "pong"

    def test_the_calls_made_on_dynamodb_are_exactly_these_iam_actions(self, calls: list[str]) -> None:
        ask("create", {"Item": {"id": "1"}})
        ask("read", {"Key": {"id": "1"}})
        ask("list", {})
        ask("delete", {"Key": {"id": "1"}})
        ask("echo", {"a": 1})
        ask("ping")
        batch(record("m", create("2")))
        assert set(calls) == {"dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:DeleteItem", "dynamodb:Scan"}

    def test_the_dynamodb_resource_is_made_once(self, table: Any) -> None:
        ask("list", {})
        first = lambda_function.dynamodb()
        batch(record("m", create("1")))
        assert lambda_function.dynamodb() is first


class TestRefusals:
    def refused(self, event: Any) -> str:
        with pytest.raises(EventRefused) as caught:
            lambda_function.lambda_handler(event, CONTEXT)
        return str(caught.value)

    def test_a_missing_operation_is_named_with_those_that_are_known(self) -> None:
        message = self.refused({"tableName": "name"})
        assert message == "operation is missing; known: create, read, delete, list, echo, ping"

    def test_an_unknown_operation_is_refused_with_those_that_are_known(self) -> None:
        message = self.refused({"operation": "update"})
        assert message == "operation is unknown; known: create, read, delete, list, echo, ping"

    @pytest.mark.parametrize("operation", [None, 7, ["create"], {"create": 1}, True])
    def test_an_operation_that_is_no_string_is_refused(self, operation: Any) -> None:
        assert "not a string" in self.refused({"operation": operation})

    @pytest.mark.parametrize("operation", ["create", "read", "delete", "list"])
    def test_a_missing_table_is_named_with_the_one_that_is_known(self, operation: str) -> None:
        message = self.refused({"operation": operation, "payload": {}})
        assert message == "tableName is missing; known: name"

    def test_another_table_than_this_deployments_is_refused(self, calls: list[str]) -> None:
        message = self.refused({"operation": "list", "tableName": "orders", "payload": {}})
        assert message == "tableName is not this deployment's table; known: name"
        assert calls == []

    @pytest.mark.parametrize("operation", ["create", "read", "delete", "list"])
    @pytest.mark.parametrize("argument", ["TableName", "IndexName", "ReturnConsumedCapacity", "self", "", "Itm"])
    def test_a_payload_has_only_what_the_operation_takes(self, calls: list[str], operation: str, argument: str) -> None:
        """Another table, or an index whose name makes DynamoDB's refusal tell account and role, least of all."""
        message = self.refused({"operation": operation, "tableName": "name", "payload": {argument: "Secret"}})
        known = ", ".join(lambda_function.ARGUMENTS[operation])
        assert message == f"payload has what {operation} does not take; known: {known}"
        assert calls == []

    def test_every_argument_that_is_allowed_is_one_of_dynamodbs(self, table: Any) -> None:
        model = lambda_function.dynamodb().meta.client.meta.service_model
        for operation, call in (("create", "PutItem"), ("read", "GetItem"), ("delete", "DeleteItem"), ("list", "Scan")):
            assert set(lambda_function.ARGUMENTS[operation]) <= set(model.operation_model(call).input_shape.members)

    @pytest.mark.parametrize("unset", [None, ""])
    def test_without_a_deployments_table_any_table_is_asked(
        self, table: Any, monkeypatch: pytest.MonkeyPatch, unset: str | None
    ) -> None:
        if unset is None:
            monkeypatch.delenv("TABLE_NAME")
        else:
            monkeypatch.setenv("TABLE_NAME", unset)
        assert ask("list", {})["Count"] == 0
        message = self.refused({"operation": "list", "tableName": "orders", "payload": {}})
        assert message == "DynamoDB answered ResourceNotFoundException to Scan"
        assert self.refused({"operation": "list", "payload": {}}) == "tableName is missing"

    @pytest.mark.parametrize(("operation", "first"), [("create", "Item"), ("read", "Key"), ("list", "Limit")])
    def test_a_missing_payload_is_named_with_what_it_may_have(self, operation: str, first: str) -> None:
        message = self.refused({"operation": operation, "tableName": "name"})
        assert message.startswith(f"payload is missing; known: {first}, ")

    @pytest.mark.parametrize(
        ("payload", "kind"),
        [
            (None, "null"),
            ([], "an array"),
            ("{}", "a string"),
            (1, "a number"),
            (0.5, "a number"),
            (True, "true or false"),
        ],
    )
    def test_a_payload_that_is_no_object_is_refused(self, payload: Any, kind: str) -> None:
        message = self.refused({"operation": "create", "tableName": "name", "payload": payload})
        assert message.startswith(f"payload is {kind}, not an object; known: ")

    @pytest.mark.parametrize("event", [None, [], "create", 1])
    def test_an_event_that_is_no_object_is_refused(self, event: Any) -> None:
        assert "not an object" in self.refused(event)

    @pytest.mark.parametrize(
        ("event", "message"),
        [
            ({"operation": "Secret"}, "operation is unknown"),
            ({"operation": "list", "tableName": "Secret", "payload": {}}, "tableName is not this deployment's table"),
            ({"operation": "create", "payload": {"Secret": 1}}, "payload has what create does not take"),
            ({"operation": "create", "payload": {"Item": "Secret"}}, "request failed with "),
            (
                {"operation": "create", "payload": {"Item": {"no id": "Secret"}}},
                "DynamoDB answered ValidationException",
            ),
            ({"operation": "list", "payload": {"Limit": "Secret"}}, "request failed with ParamValidationError"),
            ({"operation": "list", "payload": {"FilterExpression": "Secret <> Secret("}}, "DynamoDB answered "),
            ({"operation": "create", "payload": {"Item": {"id": "1", "n": [1e300]}}, "Secret": 1}, "number is outside"),
        ],
    )
    def test_neither_answer_nor_log_has_the_senders_text_or_awss(
        self, table: Any, caplog: pytest.LogCaptureFixture, event: dict[str, Any], message: str
    ) -> None:
        with caplog.at_level(logging.INFO), pytest.raises(EventRefused) as caught:
            lambda_function.lambda_handler({"tableName": "name", **event}, CONTEXT)
        assert str(caught.value).startswith(message)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__
        assert "Secret" not in f"{caught.value}{caplog.text}"

    def test_what_dynamodb_says_of_account_and_role_stays_out_of_the_answer_and_the_log(
        self, table: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = lambda_function.dynamodb().meta.client
        said = "User: arn:aws:sts::123456789012:assumed-role/role/POC-Lambda-1 is not authorized"

        def deny(**about: Any) -> Any:
            answer = {"Error": {"Code": "AccessDeniedException", "Message": said}}
            return AWSResponse("", 400, {}, BytesIO()), {**answer, "ResponseMetadata": {}}

        client.meta.events.register("before-call.dynamodb.Scan", deny)
        list_all = {"operation": "list", "tableName": "name", "payload": {}}
        assert self.refused(list_all) == "DynamoDB answered AccessDeniedException to Scan"
        assert failed(record("m", list_all)) == ["m"]
        assert "message 'm' failed: DynamoDB answered AccessDeniedException to Scan" in caplog.text
        assert "123456789012" not in caplog.text

    @pytest.mark.parametrize("letter", ["a", "ü", "\ud800"])
    def test_an_event_above_64_kib_is_refused_and_the_largest_below_is_not(self, table: Any, letter: str) -> None:
        room = 65_536 - len('{"operation":"echo","payload":""}')
        fits = {"operation": "echo", "payload": letter * (room // len(letter.encode("utf-8", "surrogatepass")))}
        assert lambda_function.lambda_handler(fits, CONTEXT) == fits["payload"]
        too_long = {**fits, "payload": fits["payload"] + letter}
        assert self.refused(too_long) == "event is above 64 KiB"
        assert failed(record("m", json.dumps(too_long, ensure_ascii=False))) == ["m"]


NUMBERS = [
    "0",
    "1",
    "-1",
    "0.1",
    "1e-130",
    "-1e-130",
    "1.5e-130",
    "0.30000000000000004",
    "9007199254740993",
    "12345678901234567890123456789012345678",
    "-99999999999999999999999999999999999999",
    "1e22",
    "1e125",
    "9.99e125",
]

NUMBERS_OF_MORE_DIGITS_THAN_A_FLOAT_HAS = [
    "0.12345678901234567890123456789012345678",
    "-1234567890.1234567890123456789012345678",
    "9.9999999999999999999999999999999999999E+125",
    "1.2345678901234567890123456789012345678E-100",
]


class TestNumbers:
    @pytest.mark.parametrize("text", NUMBERS)
    def test_a_direct_number_comes_back_as_the_same_number(self, table: Any, text: str) -> None:
        lambda_function.lambda_handler(json.loads(create_text("1", text)), CONTEXT)
        assert table.get_item(Key={"id": "1"})["Item"]["n"] == Decimal(text)
        returned = read_back("1")["n"]
        assert not isinstance(returned, str)
        assert Decimal(repr(returned)) == Decimal(text)

    @pytest.mark.parametrize("text", NUMBERS + NUMBERS_OF_MORE_DIGITS_THAN_A_FLOAT_HAS)
    def test_a_queued_number_keeps_every_digit(self, table: Any, text: str) -> None:
        body = create_text("1", text)
        assert failed(record("m", body)) == []
        assert table.get_item(Key={"id": "1"})["Item"]["n"] == Decimal(text)
        assert Decimal(str(read_back("1")["n"])) == Decimal(text)

    def test_a_number_that_no_float_has_comes_back_as_its_digits(self, table: Any) -> None:
        digits = "0.12345678901234567890123456789012345678"
        table.put_item(Item={"id": "1", "n": Decimal(digits)})
        assert read_back("1")["n"] == digits

    def test_whole_numbers_come_back_as_int_and_others_as_float(self, table: Any) -> None:
        table.put_item(Item={"id": "1", "whole": Decimal("3.00"), "big": 10**37, "half": Decimal("0.5")})
        item = read_back("1")
        assert (item["whole"], type(item["whole"])) == (3, int)
        assert (item["big"], type(item["big"])) == (10**37, int)
        assert (item["half"], type(item["half"])) == (0.5, float)

    @pytest.mark.parametrize("zero", ["-0.0", "0.0", "-0", "0e-500", "0E+5"])
    def test_every_zero_is_stored_as_zero(self, table: Any, zero: str) -> None:
        assert failed(record("m", create_text("queued", zero))) == []
        lambda_function.lambda_handler(json.loads(create_text("direct", zero)), CONTEXT)
        for item in session().client("dynamodb").scan(TableName="name")["Items"]:
            assert item["n"] == {"N": "0"}

    def test_zeros_at_the_end_are_no_digits_to_lose(self, table: Any) -> None:
        body = json.dumps(create("1", n="<n>", m="<m>"))
        body = body.replace('"<n>"', "1" + "0" * 100).replace('"<m>"', "2.5" + "0" * 100)
        assert failed(record("m", body)) == []
        item = read_back("1")
        assert (item["n"], item["m"]) == (10**100, 2.5)
        ask("create", {"Item": {"id": "2", "n": 10**100}})
        assert read_back("2")["n"] == 10**100

    @pytest.mark.parametrize("text", ["1e39", "-1e38", "12e124", "1e-130"])
    def test_a_number_that_dynamodb_writes_out_in_many_digits_is_read_and_listed(self, table: Any, text: str) -> None:
        lambda_function.lambda_handler(json.loads(create_text("direct", text)), CONTEXT)
        assert failed(record("m", create_text("queued", text))) == []
        in_a_set = {"id": {"S": "others"}, "n": {"N": text}, "set": {"NS": [text, "7"]}, "deep": {"L": [{"N": text}]}}
        session().client("dynamodb").put_item(TableName="name", Item=in_a_set)
        write_numbers_out()
        items = {item["id"]: item for item in ask("list", {})["Items"]}
        for item_id in ("direct", "queued", "others"):
            assert read_back(item_id) == items[item_id]
            assert Decimal(str(items[item_id]["n"])) == Decimal(text)
        assert sorted(items["others"]["set"]) == sorted([items["others"]["n"], 7])
        assert items["others"]["deep"] == [items["others"]["n"]]

    def test_a_boolean_is_no_number(self, table: Any) -> None:
        ask("create", {"Item": {"id": "1", "yes": True, "no": False, "nothing": None}})
        assert session().client("dynamodb").scan(TableName="name")["Items"] == [
            {"id": {"S": "1"}, "yes": {"BOOL": True}, "no": {"BOOL": False}, "nothing": {"NULL": True}}
        ]
        assert read_back("1") == {"id": "1", "yes": True, "no": False, "nothing": None}

    def test_numbers_are_kept_however_deep_they_are(self, table: Any) -> None:
        deep = {"a": [{"b": [0.1, {"c": 1e-7}]}, 2]}
        ask("create", {"Item": {"id": "1", "deep": deep}})
        assert read_back("1")["deep"] == deep

    def test_the_event_itself_is_not_changed(self, table: Any) -> None:
        event = create("1", n=0.1)
        lambda_function.lambda_handler(event, CONTEXT)
        assert event == create("1", n=0.1)

    @pytest.mark.parametrize("operation", ["create", "echo"])
    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_nan_and_infinity_are_refused_in_a_direct_event(self, calls: list[str], operation: str, text: str) -> None:
        event = {**create("1", n=[float(text)]), "operation": operation}
        with pytest.raises(EventRefused, match="number is NaN or infinite"):
            lambda_function.lambda_handler(event, CONTEXT)
        assert calls == []

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
    def test_nan_and_infinity_are_refused_in_a_message(
        self, calls: list[str], caplog: pytest.LogCaptureFixture, text: str
    ) -> None:
        body = create_text("1", text)
        assert failed(record("m", body)) == ["m"]
        assert "number is NaN or infinite" in caplog.text
        assert calls == []

    def test_nan_is_refused_anywhere_in_a_message_as_it_is_no_json(self) -> None:
        assert failed(record("m", '{"operation": "ping", "remark": NaN}')) == ["m"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1" * 39, "more significant digits than the 38"),
            ("-0." + "1" * 39, "more significant digits than the 38"),
            ("1e126", "outside DynamoDB's range"),
            ("-1e126", "outside DynamoDB's range"),
            ("1e-131", "outside DynamoDB's range"),
            ("9.99e-131", "outside DynamoDB's range"),
            ("1" + "0" * 126, "outside DynamoDB's range"),
            ("9.9999999999999999999999999999999999999e-130", "outside DynamoDB's range"),
            ("1e999", "outside DynamoDB's range"),
            ("1e-999999999", "outside DynamoDB's range"),
            ("1e99999999999999999999999", "outside DynamoDB's range"),
        ],
    )
    def test_a_queued_number_beyond_dynamodb_is_refused_by_a_sentence(
        self, calls: list[str], caplog: pytest.LogCaptureFixture, text: str, message: str
    ) -> None:
        body = create_text("1", text)
        assert failed(record("m", body)) == ["m"]
        assert message in caplog.text
        assert calls == []

    @pytest.mark.parametrize("number", [1e126, -1e126, 1.5e-131, 5e-324, 10**126])
    def test_a_direct_number_out_of_range_is_refused_by_a_sentence(self, calls: list[str], number: float) -> None:
        with pytest.raises(EventRefused, match="number is outside DynamoDB's range") as caught:
            lambda_function.lambda_handler(create("1", n=number), CONTEXT)
        assert len(str(caught.value)) < 200
        assert calls == []

    def test_a_direct_whole_number_of_39_digits_is_refused_by_a_sentence(self, calls: list[str]) -> None:
        with pytest.raises(EventRefused, match="more significant digits than the 38"):
            lambda_function.lambda_handler(create("1", n=10**38 + 1), CONTEXT)
        assert calls == []


class TestSetsAndBinary:
    def test_a_set_comes_back_as_a_sorted_array(self, table: Any) -> None:
        exact = "1.2345678901234567890123"
        table.put_item(
            Item={
                "id": "1",
                "words": {"pear", "apple", "fig"},
                "numbers": {Decimal("10"), Decimal("-0.5"), Decimal("9"), Decimal(exact)},
                "blobs": {b"\xff", b"\x00", b"a"},
            }
        )
        item = read_back("1")
        assert item["words"] == ["apple", "fig", "pear"]
        assert item["numbers"] == [-0.5, exact, 9, 10]
        assert [base64.b64decode(blob) for blob in item["blobs"]] == [b"\x00", b"a", b"\xff"]

    def test_binary_comes_back_as_base64_text(self, table: Any) -> None:
        table.put_item(Item={"id": "1", "blob": b"\x00\xffbytes", "empty": b""})
        item = read_back("1")
        assert item["blob"] == base64.b64encode(b"\x00\xffbytes").decode()
        assert item["empty"] == ""

    def test_sets_and_binary_are_found_however_deep_they_are(self, table: Any) -> None:
        table.put_item(Item={"id": "1", "deep": [{"inner": [{"s": {1, 2}, "b": b"x"}]}]})
        expected = [{"inner": [{"s": [1, 2], "b": "eA=="}]}]
        assert read_back("1")["deep"] == expected
        assert ask("list", {})["Items"][0]["deep"] == expected
        old = ask("delete", {"Key": {"id": "1"}, "ReturnValues": "ALL_OLD"})
        assert old["Attributes"]["deep"] == expected


class TestBatches:
    def test_every_good_message_of_a_batch_becomes_an_item(self, table: Any) -> None:
        answer = batch(record("m1", create("1", name="Bob")), record("m2", create("2", name="Rob")))
        assert answer == {"batchItemFailures": []}
        assert table.scan()["Count"] == 2

    def test_an_empty_batch_is_a_success(self) -> None:
        assert batch() == {"batchItemFailures": []}

    @pytest.mark.parametrize(
        "bad",
        [
            "",
            "not JSON",
            '{"operation": ',
            "[1, 2]",
            "null",
            '"create"',
            "1",
            pytest.param("[" * 100_000, id="nested-too-deep"),
            pytest.param("9" * 5000, id="too-many-digits"),
            "{}",
            '{"operation": "update"}',
            '{"operation": "create", "payload": {"Item": {"id": "x"}}}',
            '{"operation": "create", "tableName": "name"}',
            '{"operation": "create", "tableName": "name", "payload": []}',
            '{"operation": "create", "tableName": "name", "payload": {"Item": "x"}}',
            '{"operation": "create", "tableName": "name", "payload": {"Item": {}}}',
            '{"operation": "create", "tableName": "name", "payload": {"Item": {"id": 1}}}',
            '{"operation": "create", "tableName": "name", "payload": {"Item": {"id": "x", "n": NaN}}}',
            '{"operation": "create", "tableName": "orders", "payload": {"Item": {"id": "x"}}}',
            '{"operation": "create", "tableName": "name", "payload": {"self": 1}}',
        ],
    )
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_a_bad_message_fails_alone_wherever_it_stands(self, table: Any, bad: str, place: int) -> None:
        records = [record("good-1", create("1")), record("good-2", create("2"))]
        records.insert(place, record("bad", bad))
        assert failed(*records) == ["bad"]
        assert sorted(item["id"] for item in table.scan()["Items"]) == ["1", "2"]

    def test_every_bad_message_is_reported_in_order(self, table: Any) -> None:
        records = [record("a", "?"), record("b", create("1")), record("c", "[]"), record("d", "{}")]
        assert failed(*records) == ["a", "c", "d"]

    def test_a_record_without_a_body_fails_alone(self, table: Any) -> None:
        without = record("bad", "")
        del without["body"]
        assert failed(without, record("good", create("1"))) == ["bad"]

    def test_an_aws_error_fails_the_message(
        self, table: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("TABLE_NAME", "")
        elsewhere = {**create("1"), "tableName": "orders"}
        assert failed(record("bad", elsewhere), record("good", create("2"))) == ["bad"]
        assert "ResourceNotFoundException" in caplog.text

    def test_a_message_delivered_twice_leaves_one_item(self, table: Any) -> None:
        assert failed(record("m", create("1", n=0.1)), record("m", create("1", n=0.1))) == []
        assert table.scan()["Items"] == [{"id": "1", "n": Decimal("0.1")}]

    @pytest.mark.parametrize("operation", ["read", "delete", "list", "echo", "ping"])
    def test_the_other_operations_succeed_from_the_queue_too(self, table: Any, operation: str) -> None:
        payload = {"Key": {"id": "1"}} if operation in ("read", "delete") else {}
        request = {"operation": operation, "tableName": "name", "payload": payload}
        assert failed(record("m", request)) == []

    @pytest.mark.parametrize(
        "foreign",
        [
            record("m", "{}", "arn:aws:kinesis:us-east-1:123456789012:stream/POC-Queue"),
            record("m", "{}", "arn:aws:sqs:us-east-1:210987654321:POC-Queue"),
            record("m", "{}", "arn:aws:sqs:us-west-2:123456789012:POC-Queue"),
            {**record("m", "{}"), "messageId": "two\nlines"},
            {"eventSource": "aws:s3", "messageId": "m", "s3": {}},
            {"EventSource": "aws:sns", "Sns": {"Message": "{}"}},
            {},
            "text",
            None,
        ],
    )
    def test_records_from_elsewhere_are_refused_whole(self, calls: list[str], foreign: Any) -> None:
        with pytest.raises(EventRefused, match="Records do not come from SQS in this account"):
            batch(record("good", create("1")), foreign)
        assert calls == []

    @pytest.mark.parametrize("records", [None, {}, "text", 1])
    def test_records_that_are_no_array_are_refused(self, records: Any) -> None:
        with pytest.raises(EventRefused, match=r"Records is .*, not an array"):
            lambda_function.lambda_handler({"Records": records}, CONTEXT)

    def test_a_direct_event_with_records_is_no_batch_for_who_does_not_know_the_account(self, calls: list[str]) -> None:
        """Nothing in a direct event tells it from a batch for certain: API Gateway hands on the bare body."""
        with pytest.raises(EventRefused, match="Records do not come from SQS"):
            batch(*(record(f"m{number}", create(str(number)), "arn:aws:sqs:::q") for number in range(200)))
        assert calls == []

    def test_of_a_longer_batch_than_the_trigger_sends_ten_are_carried_out_and_the_rest_comes_again(
        self, table: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        sent = [record(f"m{number:03}", create(f"{number:03}")) for number in range(200)]
        with caplog.at_level(logging.INFO):
            assert failed(*sent) == [f"m{number:03}" for number in range(10, 200)]
        assert table.scan()["Count"] == 10
        assert [line.getMessage() for line in caplog.records] == ["SQS batch: 200 messages, 190 failed"]

    def test_large_messages_come_last_and_what_is_not_begun_in_half_of_the_time_comes_again(
        self, table: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = iter([10_000, *[9_900] * 9, 4_900])
        monkeypatch.setattr(CONTEXT, "get_remaining_time_in_millis", lambda: next(left))
        large = [record(f"large-{number}", create(f"large-{number}", text="x" * 60_000)) for number in range(2)]
        small = [record(f"small-{number}", create(f"small-{number}")) for number in range(8)]
        assert failed(*large, *small) == ["large-1"]
        assert {item["id"] for item in table.scan()["Items"]} == {"large-0", *(f"small-{n}" for n in range(8))}

    def test_a_message_above_64_kib_fails_before_it_is_parsed(
        self, table: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parsed_lengths: list[int] = []
        loads = json.loads

        def note(text: str, **how: Any) -> Any:
            parsed_lengths.append(len(text))
            return loads(text, **how)

        monkeypatch.setattr(lambda_function.json, "loads", note)
        large = "[" * 200_000 + "]" * 200_000
        answer = lambda_function.lambda_handler(
            {"Records": [record("large", large), *(record(f"m{n}", create(f"{n}")) for n in range(8))]}, CONTEXT
        )
        assert answer == {"batchItemFailures": [{"itemIdentifier": "large"}]}
        assert "message 'large' failed: event is above 64 KiB" in caplog.text
        assert max(parsed_lengths) < 65_536 and table.scan()["Count"] == 8

    def test_a_record_without_message_id_cannot_be_reported_so_the_batch_is_refused(self, calls: list[str]) -> None:
        nameless = record("m", create("1"))
        del nameless["messageId"]
        with pytest.raises(EventRefused, match="messageId is missing"):
            batch(nameless)
        assert calls == []


def json_object(members: dict[str, str]) -> str:
    """A JSON object of members that are JSON texts."""
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"


def spelled(digits: int, exponent: int, plainly: bool) -> str:
    return format(Decimal(f"{digits}e{exponent}"), "f") if plainly else f"{digits}e{exponent}"


# JSON texts.  A number with a fraction or an exponent has up to 15 digits, or 17 where a float wrote them: of more, the
# direct route has lost some before the handler sees them, as Lambda's runtime makes floats of them.
FRACTIONS = st.builds(spelled, st.integers(1 - 10**15, 10**15 - 1), st.integers(-145, 130), st.booleans())
NUMBER_TEXTS = FRACTIONS | st.floats().map(json.dumps) | st.integers(-(10**41), 10**41).map(str)
NAMES = st.text(min_size=1, max_size=3)  # moto cannot return a map whose only name is empty
TEXTS = st.recursive(
    st.sampled_from(["null", "true", "false"]) | st.text(max_size=5).map(json.dumps) | NUMBER_TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda members: "[" + ", ".join(members) + "]")
        | st.dictionaries(NAMES, inner, max_size=3).map(json_object)
    ),
    max_leaves=5,
)
ITEMS = st.dictionaries(NAMES, TEXTS | NUMBER_TEXTS, max_size=3).map(lambda item: json_object({**item, "id": '"1"'}))
CREATES = ITEMS.map(
    lambda item: json_object({"operation": '"create"', "tableName": '"name"', "payload": json_object({"Item": item})})
)
PAYLOADS = (
    TEXTS.map(lambda item: json_object({"Item": item}))
    | TEXTS.map(lambda item_id: json_object({"Item": json_object({"id": item_id})}))
    | TEXTS.map(lambda item_id: json_object({"Key": json_object({"id": item_id})}))
    | NUMBER_TEXTS.map(lambda limit: json_object({"Limit": limit}))
    | TEXTS
)
OPERATIONS = st.sampled_from(["create", "read", "delete", "list", "echo", "ping", "update"]).map(json.dumps)
REQUESTS = st.fixed_dictionaries(
    {"operation": OPERATIONS, "tableName": st.just('"name"'), "payload": PAYLOADS}, optional={"trace": TEXTS}
).map(json_object)
JUNK = st.dictionaries(st.sampled_from(["operation", "tableName", "payload"]), TEXTS).map(json_object) | TEXTS
SOME = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class TestBothRoutes:
    def directly(self, body: str) -> str | None:
        try:
            lambda_function.lambda_handler(json.loads(body), CONTEXT)
        except EventRefused as error:  # whatever it is, the queue must say the same
            return str(error)
        return None

    def by_the_queue(self, body: str, caplog: pytest.LogCaptureFixture) -> str | None:
        caplog.clear()
        if not failed(record("m", body)):
            return None
        (line,) = (line.getMessage() for line in caplog.records if line.levelno == logging.ERROR)
        return line.removeprefix("message 'm' failed: ")

    def exact(self, text: str) -> Any:
        """A JSON text with no digit lost, and 1 the same as 1.0."""
        return json.loads(text, parse_int=Decimal, parse_float=Decimal)

    def same_refusal(self, body: str, caplog: pytest.LogCaptureFixture) -> str | None:
        outcomes = []
        for route in (self.directly, lambda body: self.by_the_queue(body, caplog)):
            for item in stored():
                session().client("dynamodb").delete_item(TableName="name", Key={"id": item["id"]})
            refusal = route(body)
            outcomes.append((refusal, stored()))
            write_numbers_out()
            for item in stored():
                sent = self.exact(body)["payload"]["Item"]
                assert self.exact(json.dumps(read_back(item["id"]["S"]))) == sent
                assert self.exact(json.dumps(ask("list", {})["Items"])) == [sent]
        assert outcomes[0] == outcomes[1]
        return outcomes[0][0]

    @SOME
    @given(body=CREATES)
    def test_an_item_is_the_same_and_can_be_read_or_a_number_is_refused(
        self, table: Any, caplog: pytest.LogCaptureFixture, body: str
    ) -> None:
        refusal = self.same_refusal(body, caplog)
        assert refusal is None or refusal.startswith("number ")

    @SOME
    @given(body=REQUESTS)
    def test_a_request_gives_the_same_item_or_the_same_refusal(
        self, table: Any, caplog: pytest.LogCaptureFixture, body: str
    ) -> None:
        self.same_refusal(body, caplog)

    @SOME
    @given(body=JUNK)
    def test_any_json_gives_the_same_refusal(self, table: Any, caplog: pytest.LogCaptureFixture, body: str) -> None:
        self.same_refusal(body, caplog)


class TestLog:
    def test_a_direct_event_logs_one_line_with_its_operation_and_nothing_of_its_payload(
        self, table: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            ask("create", {"Item": {"id": "1", "name": "Bob Secret"}})
        lines = [line.getMessage() for line in caplog.records if line.name == "lambda_function"]
        assert lines == ["operation: create"]
        assert "Secret" not in caplog.text

    def test_an_unknown_operation_writes_nothing_of_its_own_into_the_log(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(EventRefused):
            lambda_function.lambda_handler({"operation": "x\nforged line"}, CONTEXT)
        assert [line.getMessage() for line in caplog.records] == ["operation: none that is known"]

    def test_a_trace_is_logged_with_the_times_of_its_message_and_changes_nothing(
        self, table: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        times = {
            "SentTimestamp": "1000",
            "ApproximateFirstReceiveTimestamp": "2000",
            "ApproximateReceiveCount": "3",
        }
        with caplog.at_level(logging.INFO):
            lambda_function.lambda_handler({"operation": "ping", "trace": "trace-1a"}, CONTEXT)
            batch({**record("m1", {**create("1"), "trace": "trace-2b"}), "attributes": times})
            batch({**record("m2", {**create("2"), "trace": "trace-3c"}), "attributes": "none"})
            batch({**record("m3", {**create("3"), "trace": "trace-4d"}), "attributes": {"SentTimestamp": "1\nforged"}})
        lines = [line.getMessage() for line in caplog.records if "trace-" in line.getMessage()]
        assert lines == [
            "trace-1a came directly",
            "trace-2b message sent 1000, first received 2000, receive 3",
            "trace-3c message sent None, first received None, receive None",
            "trace-4d message sent None, first received None, receive None",
        ]

    @pytest.mark.parametrize("trace", ["two\nlines", "x" * 65, "", 5, None, {"a": "Secret"}, "Secret words"])
    def test_what_could_forge_a_line_or_be_content_is_no_trace(
        self, caplog: pytest.LogCaptureFixture, trace: Any
    ) -> None:
        with caplog.at_level(logging.INFO):
            lambda_function.lambda_handler({"operation": "ping", "trace": trace}, CONTEXT)
        assert [line.getMessage() for line in caplog.records] == ["operation: ping"]

    def test_a_batch_logs_each_failure_with_its_message_id_and_reason(
        self, table: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        batch(record("m1", "?"), record("m2", create("1")), record("m3", {"operation": "create"}))
        lines = [line.getMessage() for line in caplog.records if line.name == "lambda_function"]
        assert lines == [
            "message 'm1' failed: body is not JSON: Expecting value: line 1 column 1 (char 0)",
            "message 'm3' failed: tableName is missing; known: name",
            "SQS batch: 3 messages, 2 failed",
        ]

    @pytest.mark.parametrize(
        "body",
        [
            "Secret",
            '{"operation": "Secret"}',
            '{"operation": "read", "tableName": "Secret", "payload": {"Key": {"id": "1"}}}',
            '{"operation": "create", "tableName": "name", "payload": "Secret"}',
            '{"operation": "create", "tableName": "name", "payload": {"Item": "Secret"}}',
            '{"operation": "create", "tableName": "name", "payload": {"Secret": {}}}',
            '{"operation": "create", "tableName": "name", "payload": {"Item": {"Secret": "Secret"}}}',
            '{"operation": "create", "tableName": "name", "payload": {"Item": {"id": {"Secret": 1}}}}',
            '{"operation": "create", "tableName": "name", "payload": {"Item": {"id": "Secret", "n": 1e999}}}',
        ],
    )
    def test_a_failed_message_leaves_nothing_of_its_body_in_the_log(
        self, table: Any, caplog: pytest.LogCaptureFixture, body: str
    ) -> None:
        assert failed(record("m", body)) == ["m"]
        assert "message 'm' failed: " in caplog.text
        assert "Secret" not in caplog.text


class TestImport:
    def import_with(self, **environment: str) -> str:
        """What a fresh Python says of the resources made by importing the handler."""
        program = "import lambda_function as f; print(f.dynamodb.cache_info().currsize)"
        finished = subprocess.run(
            [sys.executable, "-c", program],
            cwd=FUNCTION_FOLDER,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return finished.stdout.strip()

    def test_importing_needs_no_region_and_no_working_profile(self, tmp_path: Path) -> None:
        assert self.import_with(AWS_PROFILE="nobody", HOME=str(tmp_path / "absent")) == "0"

    def test_in_lambda_the_resource_is_made_while_importing(self) -> None:
        assert self.import_with(AWS_LAMBDA_FUNCTION_NAME="POC-Lambda-1", AWS_DEFAULT_REGION="us-east-1") == "1"


class TestAsWrittenHandler:
    def ask(self, **event: Any) -> Any:
        return as_written_handler.lambda_handler(event, CONTEXT)

    def test_its_operations_do_what_the_walkthrough_shows(self, table: Any) -> None:
        self.ask(operation="create", tableName="name", payload={"Item": {"id": "1234ABCD", "name": "Rob"}})
        read = self.ask(operation="read", tableName="name", payload={"Key": {"id": "1234ABCD"}})
        assert read["Item"] == {"id": "1234ABCD", "name": "Rob"}
        assert self.ask(operation="list", tableName="name", payload={})["Count"] == 1
        self.ask(operation="delete", tableName="name", payload={"Key": {"id": "1234ABCD"}})
        assert table.scan()["Count"] == 0
        assert self.ask(operation="echo", payload={"somekey1": "somevalue1"}) == {"somekey1": "somevalue1"}
        assert self.ask(operation="ping") == "pong"

    def test_it_fails_on_a_batch_because_it_looks_for_an_operation(self) -> None:
        with pytest.raises(KeyError, match="'operation'"):
            self.ask(Records=[record("m", create("1"))])

    @pytest.mark.parametrize("operation", ["create", "read", "delete", "list"])
    def test_it_fails_without_a_table_by_a_name_that_was_never_set(self, operation: str) -> None:
        with pytest.raises(NameError) as caught:
            self.ask(operation=operation, payload={})
        assert type(caught.value) is NameError

    @pytest.mark.parametrize("operation", ["create", "read", "delete", "list"])
    def test_it_fails_without_a_payload(self, table: Any, operation: str) -> None:
        with pytest.raises(TypeError, match="must be a mapping"):
            self.ask(operation=operation, tableName="name")

    def test_it_fails_on_a_number_with_a_fraction(self, table: Any) -> None:
        with pytest.raises(TypeError, match="Float types are not supported"):
            self.ask(operation="create", tableName="name", payload={"Item": {"id": "1", "price": 0.1}})

    def test_it_uses_any_table_that_it_is_told(self, table: Any) -> None:
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            self.ask(operation="list", tableName="orders", payload={})

    def test_it_lets_the_payload_name_another_table(self, table: Any) -> None:
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            self.ask(operation="list", tableName="name", payload={"TableName": "orders"})

    def test_it_refuses_an_unknown_operation(self) -> None:
        with pytest.raises(ValueError, match="update"):
            self.ask(operation="update")

    def test_it_is_understood_by_the_runtime_that_the_walkthrough_chooses(self) -> None:
        ast.parse(Path(as_written_handler.__file__).read_text(encoding="utf-8"), feature_version=(3, 9))
