"""The weather: what it holds back, refuses, loses and shows, in whose words, for how long, and that it ends."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import botocore.waiter
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from werkzeug.wrappers import Request, Response

from sandbox import Sandbox
from sandbox.backend import Backend
from sandbox.lambda_.functions import Functions
from sandbox.lambda_.mappings import Mappings
from sandbox.protocol.operations import operation_of
from sandbox.server import Front
from sandbox.weather.forecast import AWS, CALM, parse
from sandbox.weather.weather import TROUBLES_IN_A_ROW, Lost, Weather
from tests.local_aws.sandbox_account import ACCOUNT, QUEUE_READING, REGION, TRUST, Account, zipped
from tests.rig.clock import Clock
from tests.rig.programs import Folder

URL = "http://127.0.0.1:4599"  # nobody listens there: no request of these tests reaches a socket
ROLE = f"arn:aws:iam::{ACCOUNT}:role/"
ALLOWED = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
OPEN = json.dumps({"Version": "2012-10-17", "Statement": [ALLOWED]})
TO_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{**ALLOWED, "Principal": "*"}]})
ECHO = zipped("def lambda_handler(event, context):\n    return event\n")


class Body(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self, *arguments: object, **keywords: object) -> Iterator[bytes]:
        yield self.read()


class Skies:
    """An account in this process with a weather in front; its clock runs when somebody sleeps."""

    def __init__(self) -> None:
        self.backend = Backend()
        self.backend.open()
        self.functions = Functions(self.backend, lambda: URL)
        self.front = Front(self.backend, self.functions, Mappings(self.backend, self.functions, polling=False))
        self.clock = Clock()
        self.weather = Weather(CALM, self.backend)
        self.clients: dict[str, Any] = {}
        self.under("calm")

    def under(self, text: str) -> Weather:
        """From now on this weather, with a clock of its own."""
        self.clock = Clock()
        self.weather = Weather(parse(text), self.backend, clock=self.clock, sleep=self.clock.sleep)
        return self.weather

    def close(self) -> None:
        self.functions.stop()

    def client(self, service: str, **more: Any) -> Any:
        made = boto3.client(
            service,
            endpoint_url=URL,
            region_name=REGION,
            aws_access_key_id=more.pop("access_key", "testing"),
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, **more),
        )
        made.meta.events.register_first("before-send.*.*", self._send)
        return made

    def __getattr__(self, service: str) -> Any:
        """The client of a service, ``lambda_`` for Lambda's."""
        if service not in self.clients:
            self.clients[service] = self.client(service.strip("_"))
        return self.clients[service]

    def _send(self, request: AWSPreparedRequest, **event: Any) -> AWSResponse:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else bytes(body)
        headers = {name: v.decode() if isinstance(v, bytes) else str(v) for name, v in request.headers.items()}
        try:
            answer = self.ask(request.method, request.url, headers, body)
        except Lost as lost:
            raise ConnectionClosedError(endpoint_url=request.url) from lost
        return AWSResponse(request.url, answer.status_code, dict(answer.headers), Body(answer.get_data()))

    def ask(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Response:
        """What the sandbox's front does with the weather: around what is signed, before what is not."""
        request = Request(environ_of(method, url, headers, body))
        operation = operation_of(request)

        def asked(*_: object) -> Response:
            return Response.from_app(self.front, environ_of(method, url, headers, body))

        if operation is None:
            return self.weather.serve(request) or asked()
        return self.weather.around(operation, asked)

    # What tests build with

    def role(self, name: str) -> str:
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        return f"{ROLE}{name}"

    def reading_role(self, name: str) -> str:
        arn = self.role(name)
        statement = {"Effect": "Allow", "Action": QUEUE_READING, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=document)
        return arn

    def table(self, name: str) -> Any:
        return self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )["TableDescription"]

    def function(self, name: str, role: str) -> Any:
        return self.lambda_.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=role,
            Handler="lambda_function.lambda_handler",
            Code={"ZipFile": ECHO},
        )

    def api(self, name: str, kind: str = "REGIONAL") -> str:
        return str(self.apigateway.create_rest_api(name=name, endpointConfiguration={"types": [kind]})["id"])

    def method(self, api: str) -> None:
        """A method that answers by itself."""
        root = self.apigateway.get_resources(restApiId=api)["items"][0]["id"]
        at = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
        self.apigateway.put_method(**at, authorizationType="NONE")
        self.apigateway.put_integration(**at, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
        self.apigateway.put_method_response(**at, statusCode="200")
        self.apigateway.put_integration_response(**at, statusCode="200")


def environ_of(method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    parts = urlsplit(url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(parts.path or "/").encode().decode("latin-1"),
        "RAW_URI": (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "4599",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:4599",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    environ["REQUEST_URI"] = environ["RAW_URI"]
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ


@pytest.fixture(scope="module")
def account() -> Iterator[Skies]:
    skies = Skies()
    yield skies
    skies.close()


@pytest.fixture
def skies(account: Skies, monkeypatch: pytest.MonkeyPatch) -> Skies:
    """The account of this module under a calm sky; botocore's waiters wait on the weather's clock."""
    account.under("calm")
    patient = SimpleNamespace(sleep=lambda seconds: account.clock.sleep(seconds))
    monkeypatch.setattr(botocore.waiter, "time", patient)
    return account


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


# How a weather is described


def test_a_text_names_a_weather_and_what_is_different() -> None:
    assert parse("calm") == CALM
    assert parse("aws") == AWS
    described = parse(
        "aws, seed=7, scale=0.1, lost=0.02, expire=900, table_creating=3-5, queue_name_blocked=9, quotas=off"
    )
    assert (described.seed, described.scale, described.lost, described.expire, described.quotas) == (
        7,
        0.1,
        0.02,
        900,
        False,
    )
    assert (described.table_creating, described.queue_name_blocked) == ((3, 5), (9, 9))
    assert described.role_assumable == AWS.role_assumable


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "''"),
        ("storm", "'storm'"),
        ("aws,rain=1", "'rain'"),
        ("aws,lost", "'lost'"),
        ("aws,lost=often", "'often'"),
        ("aws,lost=-1", "'-1'"),
        ("aws,lost=nan", "'nan'"),
        ("aws,lost=2", "at most 1"),
        ("aws,lost=0.6,failed=0.6", "add up"),
        ("aws,seed=x", "'x'"),
        ("aws,seed=1,seed=2", "twice"),
        ("aws,scale=0", "scale"),
        ("aws,scale=inf", "'inf'"),
        ("aws,table_creating=5-3", "5-3"),
        ("aws,table_creating=soon", "'soon'"),
        ("aws,quotas=yes", "'yes'"),
    ],
)
def test_what_is_no_weather_is_refused_in_one_sentence(text: str, word: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(text)
    assert word in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


# Calm, and what is drawn


def test_a_calm_sky_does_nothing_at_all(skies: Skies) -> None:
    weather = skies.under("calm")
    role = skies.role("calm")
    skies.function("calm", role)
    assert skies.table("calm")["TableStatus"] == "ACTIVE"
    assert skies.lambda_.get_function(FunctionName="calm")["Configuration"]["State"] == "Active"
    assert not weather.refusals
    assert not skies.clock.slept


def build(skies: Skies, text: str, stem: str = "drawn") -> list[dict[str, Any]]:
    """The same calls under a weather, and what it did; afterwards nothing of them is left."""
    weather = skies.under(text)

    def insist(call: Callable[..., Any], **parameters: Any) -> Any:
        for _ in range(100):
            try:
                return call(**parameters)
            except ClientError:
                skies.clock.sleep(0.5)
        raise AssertionError(f"never succeeded under {text}")

    insist(skies.role, name=stem)
    insist(skies.iam.get_role, RoleName=stem)
    insist(skies.function, name=stem, role=f"{ROLE}{stem}")
    insist(skies.lambda_.update_function_configuration, FunctionName=stem, Timeout=4)
    insist(skies.table, name=stem)
    insist(skies.dynamodb.put_item, TableName=stem, Item={"id": {"S": "1"}})
    api = insist(skies.api, name=stem)
    root = insist(skies.apigateway.get_resources, restApiId=api)["items"][0]["id"]
    below = insist(skies.apigateway.create_resource, restApiId=api, parentId=root, pathPart="p")["id"]
    insist(skies.apigateway.put_method, restApiId=api, resourceId=below, httpMethod="GET", authorizationType="NONE")
    done = list(weather.refusals)
    skies.under("calm")
    skies.apigateway.delete_rest_api(restApiId=api)
    skies.dynamodb.delete_table(TableName=stem)
    skies.lambda_.delete_function(FunctionName=stem)
    skies.iam.delete_role(RoleName=stem)
    return done


def test_the_same_seed_decides_the_same_although_ids_are_others(skies: Skies) -> None:
    first = build(skies, "aws,lost=0,failed=0,throttled=0.3")
    assert len(first) > 10
    assert build(skies, "aws,lost=0,failed=0,throttled=0.3") == first


def test_another_seed_decides_otherwise(skies: Skies) -> None:
    first = build(skies, "aws,lost=0,failed=0,throttled=0.3")
    assert build(skies, "aws,lost=0,failed=0,throttled=0.3,seed=1") != first


def test_other_calls_in_between_change_no_time_that_is_drawn(skies: Skies) -> None:
    def until() -> float:
        skies.dynamodb.describe_table(TableName="between")
        return float(skies.weather.refusals[-1]["until"] - made)

    skies.under("calm,table_creating=3-50")
    made = 0.0
    skies.table("between")
    alone = until()
    skies.under("calm")
    skies.dynamodb.delete_table(TableName="between")
    skies.under("calm,table_creating=3-50")
    for name in ("other", "another"):
        skies.table(name)
    skies.clock.sleep(7)
    made = 7.0
    skies.table("between")
    assert until() == pytest.approx(alone)


def test_a_thing_made_again_has_a_time_of_its_own(skies: Skies) -> None:
    weather = skies.under("calm,table_creating=3-50")
    times = []
    for _ in range(2):
        skies.table("again")
        times.append(weather.refusals[-1]["until"] - weather.refusals[-1]["time"])
        skies.clock.sleep(50)
        skies.dynamodb.delete_table(TableName="again")
    assert times[0] != times[1]


def test_scale_makes_everything_faster(skies: Skies) -> None:
    skies.under("calm,table_creating=40,scale=0.1")
    skies.table("fast")
    skies.clock.sleep(3.9)
    assert skies.dynamodb.describe_table(TableName="fast")["Table"]["TableStatus"] == "CREATING"
    skies.clock.sleep(0.2)
    assert skies.dynamodb.describe_table(TableName="fast")["Table"]["TableStatus"] == "ACTIVE"


def test_what_it_did_can_be_read(skies: Skies) -> None:
    weather = skies.under("calm,entity_visible=4")
    skies.role("told")
    skies.clock.sleep(1)
    refused(skies.iam.get_role, RoleName="told")
    described = weather.describe()
    assert described["time"] == 1
    assert described["not_yet"] == [{"what": "entity_visible", "thing": "role told", "until": 4}]
    assert described["refusals"] == [
        {
            "time": 1,
            "call": "iam GetRole",
            "thing": "told",
            "what": "404 NoSuchEntity: The role with name told cannot be found.",
            "why": "entity_visible",
            "until": 4,
        }
    ]
    json.dumps(described)
    skies.clock.sleep(4)
    assert weather.describe()["not_yet"] == []


# IAM


def test_a_new_role_is_not_found_for_a_while(skies: Skies) -> None:
    skies.under("calm,entity_visible=4")
    skies.role("hidden")
    missing = (404, "NoSuchEntity", "The role with name hidden cannot be found.")
    assert refused(skies.iam.get_role, RoleName="hidden") == missing
    assert refused(skies.iam.list_attached_role_policies, RoleName="hidden") == missing
    assert "hidden" not in [role["RoleName"] for role in skies.iam.list_roles()["Roles"]]
    skies.iam.get_waiter("role_exists").wait(RoleName="hidden")
    assert "hidden" in [role["RoleName"] for role in skies.iam.list_roles()["Roles"]]
    assert 4 <= skies.clock.now - 500 < 6


def test_a_new_policy_can_neither_be_read_nor_attached_for_a_while(skies: Skies) -> None:
    skies.role("bearer")
    skies.under("calm,entity_visible=4")
    arn = skies.iam.create_policy(PolicyName="hidden", PolicyDocument=OPEN)["Policy"]["Arn"]
    assert refused(skies.iam.get_policy, PolicyArn=arn) == (404, "NoSuchEntity", f"Policy {arn} was not found.")
    assert refused(skies.iam.attach_role_policy, RoleName="bearer", PolicyArn=arn) == (
        404,
        "NoSuchEntity",
        f"Policy {arn} does not exist or is not attachable.",
    )
    assert arn not in [policy["Arn"] for policy in skies.iam.list_policies(Scope="Local")["Policies"]]
    skies.iam.get_waiter("policy_exists").wait(PolicyArn=arn)
    skies.iam.attach_role_policy(RoleName="bearer", PolicyArn=arn)
    assert arn in [policy["Arn"] for policy in skies.iam.list_policies(Scope="Local")["Policies"]]


def test_what_was_just_detached_still_counts(skies: Skies) -> None:
    skies.role("freed")
    arn = skies.iam.create_policy(PolicyName="freed", PolicyDocument=OPEN)["Policy"]["Arn"]
    skies.iam.attach_role_policy(RoleName="freed", PolicyArn=arn)
    skies.under("calm,detachment_seen=5")
    skies.iam.detach_role_policy(RoleName="freed", PolicyArn=arn)
    assert refused(skies.iam.delete_role, RoleName="freed") == (
        409,
        "DeleteConflict",
        "Cannot delete entity, must detach all policies first.",
    )
    assert refused(skies.iam.delete_policy, PolicyArn=arn) == (
        409,
        "DeleteConflict",
        "Cannot delete a policy attached to entities.",
    )
    skies.clock.sleep(5)
    skies.iam.delete_role(RoleName="freed")
    skies.iam.delete_policy(PolicyArn=arn)


def test_a_new_role_cannot_be_assumed_by_lambda_for_a_while(skies: Skies) -> None:
    old = skies.role("old")
    skies.under("calm,role_assumable=9")
    new = skies.role("new")
    words = (
        400,
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    )
    assert refused(skies.function, name="assuming", role=new) == words
    skies.function("assuming", old)
    update = skies.lambda_.update_function_configuration
    assert refused(update, FunctionName="assuming", Role=new) == words
    update(FunctionName="assuming", Timeout=5)
    skies.clock.sleep(9)
    update(FunctionName="assuming", Role=new)


def test_kms_does_not_know_a_new_role_for_a_while(skies: Skies) -> None:
    old = skies.role("known-to-kms")
    skies.function("granted", old)
    skies.under("calm,role_known_to_kms=9")
    change = {"FunctionName": "granted", "Role": skies.role("new-to-kms")}
    update, secrets = skies.lambda_.update_function_configuration, {"Variables": {"TABLE_NAME": "name"}}
    status, code, message = refused(update, **change, Environment=secrets)
    assert (status, code) == (400, "InvalidParameterValueException") and "invalid for CreateGrant" in message
    update(FunctionName="granted", Role=old, Environment=secrets)
    update(**change, Environment={"Variables": {}})  # nothing to encrypt
    skies.clock.sleep(9)
    update(**change, Environment=secrets)


def test_a_queue_cannot_name_a_new_role_for_a_while(skies: Skies) -> None:
    old = skies.role("sender")
    skies.under("calm,role_known_to_queues=6")
    new = skies.role("new-sender")

    def naming(*arns: str) -> str:
        principal = {"AWS": list(arns) if len(arns) > 1 else arns[0]}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "SQS:SendMessage", "Resource": "*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    words = (400, "InvalidAttributeValue", "Invalid value for the parameter Policy.")
    create, change = skies.sqs.create_queue, skies.sqs.set_queue_attributes
    assert refused(create, QueueName="naming", Attributes={"Policy": naming(old, new)}) == words
    url = create(QueueName="naming", Attributes={"Policy": naming(old)})["QueueUrl"]
    assert refused(change, QueueUrl=url, Attributes={"Policy": naming(new)}) == words
    change(QueueUrl=url, Attributes={"VisibilityTimeout": "40"})
    skies.clock.sleep(6)
    change(QueueUrl=url, Attributes={"Policy": naming(old, new)})


def test_lambda_does_not_see_what_was_just_attached(skies: Skies) -> None:
    url = skies.sqs.create_queue(QueueName="unread")["QueueUrl"]
    role = skies.role("late-reader")
    skies.function("late-reader", role)
    skies.under("calm,permissions_seen=8")
    arn = skies.iam.create_policy(PolicyName="late-reader", PolicyDocument=OPEN)["Policy"]["Arn"]
    skies.iam.attach_role_policy(RoleName="late-reader", PolicyArn=arn)
    queue = {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:unread", "FunctionName": "late-reader"}
    assert refused(skies.lambda_.create_event_source_mapping, **queue) == (
        400,
        "InvalidParameterValueException",
        "The function execution role does not have permissions to call ReceiveMessage on SQS",
    )
    skies.clock.sleep(8)
    made = skies.lambda_.create_event_source_mapping(**queue)
    skies.lambda_.delete_event_source_mapping(UUID=made["UUID"])
    skies.sqs.delete_queue(QueueUrl=url)


# Tables


def test_a_new_table_is_creating_and_holds_no_items_yet(skies: Skies) -> None:
    skies.under("calm,table_creating=6")
    assert skies.table("born")["TableStatus"] == "CREATING"
    assert skies.dynamodb.describe_table(TableName="born")["Table"]["TableStatus"] == "CREATING"
    absent = (400, "ResourceNotFoundException", "Requested resource not found")
    item = {"id": {"S": "1"}}
    assert refused(skies.dynamodb.put_item, TableName="born", Item=item) == absent
    assert refused(skies.dynamodb.scan, TableName="born") == absent
    batch = {"born": [{"PutRequest": {"Item": item}}]}
    assert refused(skies.dynamodb.batch_write_item, RequestItems=batch) == absent
    transaction = [{"Put": {"TableName": "born", "Item": item}}]
    assert refused(skies.dynamodb.transact_write_items, TransactItems=transaction) == absent
    assert refused(skies.dynamodb.delete_table, TableName="born") == (
        400,
        "ResourceInUseException",
        "Attempt to change a resource which is still in use: Table is being created: born",
    )
    skies.dynamodb.get_waiter("table_exists").wait(TableName="born", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert 6 <= skies.clock.now - 500 < 8
    skies.dynamodb.put_item(TableName="born", Item=item)
    skies.dynamodb.delete_table(TableName="born")


def test_a_new_table_may_not_be_found_at_first(skies: Skies) -> None:
    skies.under("calm,table_visible=1,table_creating=4")
    skies.table("unseen")
    assert refused(skies.dynamodb.describe_table, TableName="unseen") == (
        400,
        "ResourceNotFoundException",
        "Requested resource not found: Table: unseen not found",
    )
    assert "unseen" not in skies.dynamodb.list_tables()["TableNames"]
    skies.clock.sleep(1)
    assert skies.dynamodb.describe_table(TableName="unseen")["Table"]["TableStatus"] == "CREATING"
    assert "unseen" in skies.dynamodb.list_tables()["TableNames"]


def test_a_deleted_table_is_described_and_listed_for_a_while(skies: Skies) -> None:
    skies.table("dying")
    alive = skies.dynamodb.describe_table(TableName="dying")["Table"]
    skies.under("calm,table_deleting=7")
    assert skies.dynamodb.delete_table(TableName="dying")["TableDescription"]["TableStatus"] == "DELETING"
    assert skies.dynamodb.describe_table(TableName="dying")["Table"] == {**alive, "TableStatus": "DELETING"}
    assert "dying" in skies.dynamodb.list_tables()["TableNames"]
    assert skies.dynamodb.delete_table(TableName="dying")["TableDescription"]["TableStatus"] == "DELETING"
    assert refused(skies.table, name="dying") == (
        400,
        "ResourceInUseException",
        "Attempt to change a resource which is still in use: Table is being deleted: dying",
    )
    assert refused(skies.dynamodb.scan, TableName="dying")[1] == "ResourceNotFoundException"
    waiter = skies.dynamodb.get_waiter("table_not_exists")
    waiter.wait(TableName="dying", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert 7 <= skies.clock.now - 500 < 9
    assert "dying" not in skies.dynamodb.list_tables()["TableNames"]
    skies.table("dying")


def test_a_deleted_table_is_listed_once_among_the_pages(skies: Skies) -> None:
    for name in ("page-a", "page-b", "page-c"):
        skies.table(name)
    skies.under("calm,table_deleting=7")
    before = skies.dynamodb.list_tables()["TableNames"]
    skies.dynamodb.delete_table(TableName="page-b")
    pages = skies.dynamodb.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1})
    assert sorted(name for page in pages for name in page["TableNames"]) == sorted(before)


def test_a_table_is_updating_after_a_change(skies: Skies) -> None:
    skies.table("grown")
    skies.under("calm,table_updating=5")
    change = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}
    changed = skies.dynamodb.update_table(TableName="grown", **change)
    assert changed["TableDescription"]["TableStatus"] == "UPDATING"
    busy = "Attempt to change a resource which is still in use: Table is being updated: grown"
    assert refused(skies.dynamodb.update_table, TableName="grown", BillingMode="PAY_PER_REQUEST")[2] == busy
    assert refused(skies.dynamodb.delete_table, TableName="grown")[2] == busy
    skies.dynamodb.put_item(TableName="grown", Item={"id": {"S": "1"}})
    skies.dynamodb.get_waiter("table_exists").wait(TableName="grown", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    skies.dynamodb.delete_table(TableName="grown")


# Functions


def test_a_new_function_is_pending_and_cannot_be_invoked(skies: Skies) -> None:
    role = skies.role("pending")
    skies.under("calm,function_pending=4")
    made = skies.function("pending", role)
    assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
    assert skies.lambda_.get_function_configuration(FunctionName="pending")["State"] == "Pending"
    busy = (
        409,
        "ResourceConflictException",
        "The operation cannot be performed at this time. The function is currently in the following state: Pending",
    )
    invoke = {"FunctionName": made["FunctionArn"], "InvocationType": "DryRun"}
    assert refused(skies.lambda_.invoke, **invoke) == busy
    assert refused(skies.lambda_.update_function_code, FunctionName="pending", ZipFile=ECHO) == busy
    skies.lambda_.get_waiter("function_active_v2").wait(FunctionName="pending")
    assert 4 <= skies.clock.now - 500 < 6
    assert skies.lambda_.get_function(FunctionName="pending")["Configuration"]["LastUpdateStatus"] == "Successful"
    assert skies.lambda_.invoke(**invoke)["StatusCode"] == 204


def test_one_update_of_a_function_waits_for_the_other(skies: Skies) -> None:
    arn = skies.function("updated", skies.role("updated"))["FunctionArn"]
    skies.under("calm,function_updating=3")
    changed = skies.lambda_.update_function_code(FunctionName="updated", ZipFile=ECHO)
    assert changed["LastUpdateStatus"] == "InProgress"
    assert skies.lambda_.get_function(FunctionName=arn)["Configuration"]["LastUpdateStatus"] == "InProgress"
    assert refused(skies.lambda_.update_function_configuration, FunctionName="updated", Timeout=5) == (
        409,
        "ResourceConflictException",
        f"The operation cannot be performed at this time. An update is in progress for resource: {arn}",
    )
    assert skies.lambda_.invoke(FunctionName="updated", InvocationType="DryRun")["StatusCode"] == 204
    skies.lambda_.get_waiter("function_updated_v2").wait(FunctionName="updated")
    skies.lambda_.update_function_configuration(FunctionName="updated", Timeout=5)


def test_a_dry_run_updates_nothing(skies: Skies) -> None:
    skies.function("dry", skies.role("dry"))
    skies.under("calm,function_updating=3")
    skies.lambda_.update_function_code(FunctionName="dry", ZipFile=ECHO, DryRun=True)
    skies.lambda_.update_function_configuration(FunctionName="dry", Timeout=5)


# Triggers


@pytest.fixture
def pair(skies: Skies, request: pytest.FixtureRequest) -> dict[str, str]:
    """A queue and a function that may read it, as CreateEventSourceMapping wants them."""
    name = request.node.name.replace("_", "-")[-50:]
    skies.sqs.create_queue(QueueName=name)
    skies.function(name, skies.reading_role(name))
    return {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "FunctionName": name}


def test_a_trigger_is_creating_then_enabling_then_enabled(skies: Skies, pair: dict[str, str]) -> None:
    skies.under("calm,trigger_settling=8")
    identity = skies.lambda_.create_event_source_mapping(**pair)["UUID"]

    def states() -> tuple[str, str]:
        listed = skies.lambda_.list_event_source_mappings(**pair)["EventSourceMappings"]
        return skies.lambda_.get_event_source_mapping(UUID=identity)["State"], listed[0]["State"]

    assert states() == ("Creating", "Creating")
    in_use = "event source mapping because it is in use."
    assert refused(skies.lambda_.update_event_source_mapping, UUID=identity, BatchSize=5) == (
        400,
        "ResourceInUseException",
        f"Cannot update the {in_use}",
    )
    assert refused(skies.lambda_.delete_event_source_mapping, UUID=identity)[2] == f"Cannot delete the {in_use}"
    skies.clock.sleep(4)
    assert states() == ("Enabling", "Enabling")
    skies.clock.sleep(4)
    assert states() == ("Enabled", "Enabled")
    assert skies.lambda_.update_event_source_mapping(UUID=identity, Enabled=False)["State"] == "Disabling"
    assert states() == ("Disabling", "Disabling")
    skies.clock.sleep(8)
    assert states() == ("Disabled", "Disabled")


def test_a_trigger_waits_for_the_function_and_for_the_queue(skies: Skies) -> None:
    role = skies.reading_role("hasty")
    skies.under("calm,queue_known_to_lambda=12,function_busy=8")
    skies.function("hasty", role)
    url = skies.sqs.create_queue(QueueName="hasty")["QueueUrl"]
    pair = {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:hasty", "FunctionName": "hasty"}
    permit = {"FunctionName": "hasty", "StatementId": "s", "Action": "lambda:*", "Principal": "sns.amazonaws.com"}
    create, add, busy = skies.lambda_.create_event_source_mapping, skies.lambda_.add_permission, "concurrent update"
    assert busy in refused(create, **pair)[2] and busy in refused(add, **permit)[2]
    skies.clock.sleep(8)
    add(**permit)
    assert "AWS.SimpleQueueService.NonExistentQueue" in refused(create, **pair)[2]
    skies.clock.sleep(4)
    skies.lambda_.delete_event_source_mapping(UUID=create(**pair)["UUID"])
    skies.sqs.delete_queue(QueueUrl=url)


def test_a_deleted_trigger_is_deleting_for_a_while_and_in_the_way(skies: Skies, pair: dict[str, str]) -> None:
    identity = skies.lambda_.create_event_source_mapping(**pair)["UUID"]
    skies.under("calm,trigger_deleting=8")
    assert skies.lambda_.delete_event_source_mapping(UUID=identity)["State"] == "Deleting"
    assert skies.lambda_.get_event_source_mapping(UUID=identity)["State"] == "Deleting"
    for by in ({}, pair, {"EventSourceArn": pair["EventSourceArn"]}):
        listed = skies.lambda_.list_event_source_mappings(**by)["EventSourceMappings"]
        assert [(one["UUID"], one["State"]) for one in listed if one["UUID"] == identity] == [(identity, "Deleting")]
    other = {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:other"}
    assert not skies.lambda_.list_event_source_mappings(**other)["EventSourceMappings"]
    status, code, message = refused(skies.lambda_.create_event_source_mapping, **pair)
    assert (status, code) == (409, "ResourceConflictException")
    assert message.endswith(f"with UUID {identity}")
    assert refused(skies.lambda_.delete_event_source_mapping, UUID=identity)[1] == "ResourceInUseException"
    skies.clock.sleep(8)
    assert refused(skies.lambda_.get_event_source_mapping, UUID=identity)[1] == "ResourceNotFoundException"
    assert not skies.lambda_.list_event_source_mappings(**pair)["EventSourceMappings"]
    assert skies.lambda_.create_event_source_mapping(**pair)["UUID"] != identity


# Queues


def test_the_name_of_a_deleted_queue_is_blocked(skies: Skies) -> None:
    url = skies.sqs.create_queue(QueueName="blocked")["QueueUrl"]
    skies.under("calm,queue_name_blocked=60")
    skies.sqs.delete_queue(QueueUrl=url)
    assert refused(skies.sqs.create_queue, QueueName="blocked") == (
        400,
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    )
    with pytest.raises(skies.sqs.exceptions.QueueDeletedRecently):
        skies.sqs.create_queue(QueueName="blocked")
    skies.sqs.create_queue(QueueName="unblocked")
    skies.clock.sleep(60)
    skies.sqs.create_queue(QueueName="blocked")


def urls(skies: Skies, prefix: str) -> list[str]:
    return list(skies.sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls", []))


def test_a_new_queue_is_not_found_for_a_moment(skies: Skies) -> None:
    skies.under("calm,queue_visible=2")
    url = skies.sqs.create_queue(QueueName="fresh")["QueueUrl"]
    with pytest.raises(skies.sqs.exceptions.QueueDoesNotExist):
        skies.sqs.get_queue_url(QueueName="fresh")
    assert refused(skies.sqs.send_message, QueueUrl=url, MessageBody="m") == (
        400,
        "AWS.SimpleQueueService.NonExistentQueue",
        "The specified queue does not exist.",
    )
    assert urls(skies, "fresh") == []
    skies.clock.sleep(2)
    assert skies.sqs.get_queue_url(QueueName="fresh")["QueueUrl"] == url
    assert urls(skies, "fresh") == [url]
    assert skies.sqs.create_queue(QueueName="fresh")["QueueUrl"] == url
    skies.sqs.send_message(QueueUrl=url, MessageBody="m")


def test_a_deleted_queue_is_seen_for_a_while(skies: Skies) -> None:
    url = skies.sqs.create_queue(QueueName="gone", Attributes={"DelaySeconds": "3"}, tags={"a": "b"})["QueueUrl"]
    skies.under("calm,queue_lingering=5")
    skies.sqs.delete_queue(QueueUrl=url)
    assert skies.sqs.get_queue_url(QueueName="gone")["QueueUrl"] == url
    read = skies.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["DelaySeconds"])["Attributes"]
    assert read == {"DelaySeconds": "3"}
    assert skies.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
    assert urls(skies, "gone") == [url]
    assert urls(skies, "nobody") == []
    skies.clock.sleep(5)
    with pytest.raises(skies.sqs.exceptions.QueueDoesNotExist):
        skies.sqs.get_queue_url(QueueName="gone")
    assert urls(skies, "gone") == []


def test_changed_attributes_read_as_before_for_a_while(skies: Skies) -> None:
    url = skies.sqs.create_queue(QueueName="stale", Attributes={"DelaySeconds": "3"})["QueueUrl"]

    def read(*names: str) -> dict[str, str]:
        found = skies.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names)).get("Attributes", {})
        return {name: found[name] for name in ("DelaySeconds", "VisibilityTimeout", "Policy") if name in found}

    skies.under("calm,attributes_stale=6")
    skies.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "4", "Policy": TO_ALL})
    skies.clock.sleep(3)
    assert read("All") == {"DelaySeconds": "3", "VisibilityTimeout": "30"}
    assert read("Policy") == {}
    assert read("VisibilityTimeout") == {"VisibilityTimeout": "30"}
    skies.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "5"})
    assert read("DelaySeconds") == {"DelaySeconds": "3"}
    skies.clock.sleep(6)
    assert read("DelaySeconds", "Policy") == {"DelaySeconds": "5", "Policy": TO_ALL}


def test_an_older_sdk_is_refused_in_xml(skies: Skies) -> None:
    skies.under("calm,queue_visible=2")
    skies.sqs.create_queue(QueueName="older")
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/sqs/aws4_request, Signature=0",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    form = b"Action=GetQueueUrl&QueueName=older"
    answer = skies.ask("POST", URL, headers, form)
    assert answer.status_code == 400
    assert b"<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in answer.get_data()
    skies.clock.sleep(2)
    assert skies.ask("POST", URL, headers, form).status_code == 200


# API Gateway


def retry_after(call: Callable[..., Any], **parameters: Any) -> str:
    """Refused for a quota: the header that says when to come again."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answer = error.value.response
    assert answer["Error"]["Code"] == "TooManyRequestsException"
    assert answer["Error"]["Message"] == "Too Many Requests"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    return str(answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"])


def test_apis_are_made_and_deleted_one_at_a_time(skies: Skies) -> None:
    skies.under("calm,quotas=on")
    first = skies.api("one")
    assert retry_after(skies.api, name="two") == "3"
    skies.clock.sleep(2)
    assert retry_after(skies.api, name="two") == "1"
    skies.clock.sleep(1)
    second = skies.api("two")
    skies.apigateway.delete_rest_api(restApiId=first)
    assert retry_after(skies.apigateway.delete_rest_api, restApiId=second) == "30"
    assert skies.weather.refusals[-1]["thing"] == "two#1"  # and not the id, which is another in every run
    assert skies.apigateway.get_rest_api(restApiId=second)["name"] == "two"
    skies.clock.sleep(30)
    skies.apigateway.delete_rest_api(restApiId=second)


def test_edge_optimised_apis_have_a_quota_of_their_own(skies: Skies) -> None:
    skies.under("calm,quotas=on")
    skies.api("edge", "EDGE")
    assert retry_after(skies.api, name="edge", kind="EDGE") == "30"
    skies.api("regional")


def test_deployments_and_resources_have_their_quotas(skies: Skies) -> None:
    api = skies.api("quotas")
    skies.method(api)
    root = skies.apigateway.get_resources(restApiId=api)["items"][0]["id"]
    skies.under("calm,quotas=on")
    skies.apigateway.create_deployment(restApiId=api, stageName="a")
    assert retry_after(skies.apigateway.create_deployment, restApiId=api, stageName="b") == "5"
    for number in range(5):
        skies.apigateway.create_resource(restApiId=api, parentId=root, pathPart=f"p{number}")
    assert retry_after(skies.apigateway.create_resource, restApiId=api, parentId=root, pathPart="p5") == "1"
    skies.clock.sleep(0.2)
    skies.apigateway.create_resource(restApiId=api, parentId=root, pathPart="p5")
    skies.clock.sleep(5)
    skies.apigateway.create_deployment(restApiId=api, stageName="b")


def test_the_account_has_one_quota_for_everything(skies: Skies) -> None:
    api = skies.api("all")
    weather = skies.under("calm,quotas=on")
    for _ in range(40):
        skies.apigateway.get_rest_api(restApiId=api)
    assert retry_after(skies.apigateway.get_rest_api, restApiId=api) == "1"
    assert weather.refusals[-1]["why"] == "quota of all calls together"
    for _ in range(10):
        skies.clock.sleep(0.1)
        skies.apigateway.get_rest_api(restApiId=api)
    assert retry_after(skies.apigateway.get_rest_api, restApiId=api) == "1"


def test_scale_divides_the_quotas_periods(skies: Skies) -> None:
    skies.under("calm,quotas=on,scale=0.1")
    skies.api("one")
    assert retry_after(skies.api, name="two") == "1"  # the header has whole seconds only
    skies.clock.sleep(0.3)
    skies.api("two")


def test_a_new_stage_is_not_served_at_once(skies: Skies) -> None:
    api = skies.api("served")
    skies.method(api)
    skies.under("calm,stage_served=4")
    skies.apigateway.create_deployment(restApiId=api, stageName="s")
    url = f"{URL}/restapis/{api}/s/_user_request_/"
    answer = skies.ask("GET", url, {})
    assert answer.status_code == 403
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    assert json.loads(answer.get_data()) == {"message": "Missing Authentication Token"}
    skies.clock.sleep(4)
    assert skies.ask("GET", url, {}).status_code == 200
    skies.apigateway.create_deployment(restApiId=api, stageName="s")
    assert skies.ask("GET", url, {}).status_code == 200  # the former deployment is served meanwhile
    skies.apigateway.delete_stage(restApiId=api, stageName="s")
    skies.apigateway.create_deployment(restApiId=api, stageName="s")
    assert skies.ask("GET", url, {}).status_code == 403


def test_the_sandboxs_own_paths_have_no_weather(skies: Skies) -> None:
    weather = skies.under("aws")
    assert weather.serve(Request(environ_of("GET", f"{URL}/_sandbox", {}, b""))) is None
    assert not skies.clock.slept


# What can happen to every call


def test_a_call_takes_its_time(skies: Skies) -> None:
    skies.under("calm,latency=0.1-0.5,scale=2")
    for _ in range(20):
        skies.sts.get_caller_identity()
    assert len(skies.clock.slept) == 20
    assert len(set(skies.clock.slept)) == 20
    assert all(0.2 <= seconds <= 1.0 for seconds in skies.clock.slept)
    drawn = list(skies.clock.slept)
    skies.under("calm,latency=0.1-0.5,scale=2")
    for _ in range(20):
        skies.sts.get_caller_identity()
    assert skies.clock.slept == drawn


READS: dict[str, Callable[[Skies], Any]] = {
    "iam": lambda skies: skies.iam.get_role(RoleName="r"),
    "sts": lambda skies: skies.sts.get_caller_identity(),
    "dynamodb": lambda skies: skies.dynamodb.list_tables(),
    "sqs": lambda skies: skies.sqs.list_queues(),
    "lambda": lambda skies: skies.lambda_.list_functions(),
    "apigateway": lambda skies: skies.apigateway.get_rest_apis(),
    "logs": lambda skies: skies.logs.describe_log_groups(),
}
THROTTLES = {
    "iam": (400, "Throttling", "Rate exceeded"),
    "sts": (400, "Throttling", "Rate exceeded"),
    "dynamodb": (400, "ThrottlingException", "Rate exceeded"),
    "sqs": (403, "RequestThrottled", "Request is throttled."),
    "lambda": (429, "TooManyRequestsException", "Rate exceeded"),
    "apigateway": (429, "TooManyRequestsException", "Too Many Requests"),
    "logs": (400, "ThrottlingException", "Rate exceeded"),
}
FAILURES = {
    "iam": ("ServiceFailure", "ServiceUnavailable"),
    "sts": ("InternalFailure", "ServiceUnavailable"),
    "dynamodb": ("InternalServerError", "ServiceUnavailable"),
    "sqs": ("InternalFailure", "ServiceUnavailable"),
    "lambda": ("ServiceException", "ServiceUnavailable"),
    "apigateway": ("InternalFailure", "ServiceUnavailableException"),
    "logs": ("InternalFailure", "ServiceUnavailableException"),
}
EXPIRED = {
    "iam": (403, "ExpiredToken"),
    "sts": (403, "ExpiredToken"),
    "dynamodb": (400, "ExpiredTokenException"),
    "sqs": (403, "ExpiredToken"),
    "lambda": (403, "ExpiredTokenException"),
    "apigateway": (403, "ExpiredTokenException"),
    "logs": (400, "ExpiredTokenException"),
}


@pytest.fixture
def a_role(skies: Skies) -> Iterator[None]:
    skies.role("r")
    yield
    skies.under("calm")
    skies.iam.delete_role(RoleName="r")


@pytest.mark.parametrize("service", READS)
def test_a_throttle_is_in_the_services_own_words_and_passes(skies: Skies, a_role: None, service: str) -> None:
    skies.under("calm,throttled=1")
    for _ in range(TROUBLES_IN_A_ROW):
        assert refused(READS[service], skies=skies) == THROTTLES[service]
    READS[service](skies)


def test_lambda_says_whose_rate_was_exceeded(skies: Skies) -> None:
    skies.under("calm,throttled=1")
    with pytest.raises(skies.lambda_.exceptions.TooManyRequestsException) as error:
        skies.lambda_.list_functions()
    assert error.value.response["Reason"] == "CallerRateLimitExceeded"


def test_a_throttled_table_names_its_throughput(skies: Skies) -> None:
    skies.table("hot")
    skies.under("calm,throttled=1")
    status, code, message = refused(skies.dynamodb.scan, TableName="hot")
    assert (status, code) == (400, "ThrottlingException")
    assert message.startswith("Throughput exceeds the current capacity of your table or index.")


@pytest.mark.parametrize("service", READS)
def test_a_failure_is_in_the_services_own_words_and_passes(skies: Skies, a_role: None, service: str) -> None:
    met = set()
    for seed in range(8):
        skies.under(f"calm,failed=1,seed={seed}")
        for _ in range(TROUBLES_IN_A_ROW):
            met.add(refused(READS[service], skies=skies)[:2])
        READS[service](skies)
    assert met == {(500, FAILURES[service][0]), (503, FAILURES[service][1])}


@pytest.mark.parametrize("kind", ["failed", "lost"])
def test_half_of_what_fails_or_is_lost_was_applied(skies: Skies, kind: str) -> None:
    applied = []
    for number in range(20):
        weather = skies.under(f"calm,{kind}=1")
        name = f"half-{kind}-{number}"
        with pytest.raises(ConnectionClosedError if kind == "lost" else ClientError):
            skies.table(name)
        last = weather.refusals[-1]
        skies.under("calm")
        is_there = name in skies.dynamodb.list_tables()["TableNames"]
        assert last["why"] == f"{kind}, {'applied' if is_there else 'not applied'}"
        applied.append(is_there)
        if is_there:
            skies.dynamodb.delete_table(TableName=name)
    assert 5 <= sum(applied) <= 15


def test_what_was_made_by_a_lost_call_is_not_seen_at_once_either(skies: Skies) -> None:
    for number in range(20):
        weather = skies.under("calm,lost=1,table_creating=5")
        with pytest.raises(ConnectionClosedError):
            skies.table(f"lost-{number}")
        if weather.refusals[-1]["why"] == "lost, applied":
            break
    assert weather.describe()["not_yet"][0]["what"] == "table_creating"


def test_troubles_are_as_frequent_as_told(skies: Skies) -> None:
    weather = skies.under("calm,throttled=0.2")
    for _ in range(300):
        try:
            skies.sts.get_caller_identity()
        except ClientError:
            continue
    assert 35 <= len(weather.refusals) <= 80


@pytest.mark.parametrize("service", READS)
def test_credentials_expire_as_each_service_says_it(skies: Skies, a_role: None, service: str) -> None:
    weather = skies.under("calm,expire=900,scale=0.1")
    READS[service](skies)
    skies.clock.sleep(89)
    READS[service](skies)
    skies.clock.sleep(1)
    status, code, message = refused(READS[service], skies=skies)
    assert (status, code) == EXPIRED[service]
    assert message == "The security token included in the request is expired"
    skies.client("sts", access_key="another").get_caller_identity()
    weather.renew()
    READS[service](skies)


# Calls of handlers


def test_a_handlers_calls_are_neither_lost_nor_failed_nor_expired(skies: Skies, a_role: None) -> None:
    """boto3 says in its User-Agent that it runs in Lambda; that is all that tells a handler's calls from others."""
    weather = skies.under("calm,lost=0.5,failed=0.5,expire=1")
    inside = {"user_agent_extra": "exec-env/AWS_Lambda_python3.13"}
    sqs = skies.client("sqs", **inside)
    sqs.list_queues()
    skies.clock.sleep(2)
    sqs.list_queues()
    assert not weather.refusals


def test_a_handlers_calls_are_slow_and_throttled_by_dynamodb(skies: Skies) -> None:
    skies.under("calm,throttled=1,latency=0.1")
    inside = {"user_agent_extra": "exec-env/AWS_Lambda_python3.13"}
    skies.client("sqs", **inside).list_queues()
    assert refused(skies.client("dynamodb", **inside).list_tables)[1] == "ThrottlingException"
    assert skies.clock.slept == [pytest.approx(0.1), pytest.approx(0.1)]


def test_a_handler_cannot_use_a_table_that_is_being_made(skies: Skies) -> None:
    skies.under("calm,table_creating=5")
    skies.table("too-early")
    client = skies.client("dynamodb", user_agent_extra="exec-env/AWS_Lambda_python3.13")
    assert refused(client.scan, TableName="too-early")[1] == "ResourceNotFoundException"


# The whole, over the wire


def told(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What the sandbox itself says that its weather did."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{sandbox.url}/_sandbox/weather", timeout=10) as answer:
        return list(json.loads(answer.read())["refusals"])


def test_a_lost_call_closes_the_connection_without_an_answer() -> None:
    with Sandbox(weather="calm,lost=1") as sandbox:
        sts = Account(sandbox.url).client("sts")
        for _ in range(TROUBLES_IN_A_ROW):
            with pytest.raises(ConnectionClosedError):
                sts.get_caller_identity()
        assert sts.get_caller_identity()["Account"] == ACCOUNT
        assert [one["what"] for one in told(sandbox)] == ["closed the connection"] * TROUBLES_IN_A_ROW


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_suite_comes_through_the_weather(tmp_path: Path) -> None:
    with Sandbox(weather="aws,seed=3,scale=0.05") as sandbox, Folder(tmp_path) as folder:
        keys = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
        where = ("--endpoint-url", sandbox.url, "--yes")
        built = folder.run("provision", *where, **keys)
        assert built.returncode == 0, built.stderr
        removed = folder.run("teardown", *where, **keys)
        assert removed.returncode == 0, removed.stderr
        met = {one["why"] for one in told(sandbox)}
    assert {"table_creating", "function_pending", "trigger_settling", "table_deleting"} <= met
