"""Whatever arrives, the sandbox answers, in time, with an answer that is no defect of its own.

The examples are the same each time; HYPOTHESIS_EXAMPLES sets how many there are for each test (a long run: 5000).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sandbox import Sandbox
from sandbox.protocol.constraints import model_of
from tests.local_aws.sandbox_account import ACCOUNT, REGION, Account

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "120"))
PATIENT = 10.0
often = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)

TARGETS = {"dynamodb": "DynamoDB_20120810", "sqs": "AmazonSQS", "logs": "Logs_20140328"}
QUERIES = {"iam": "2010-05-08", "sts": "2011-06-15", "sqs": "2012-11-05"}
RESTS = ("lambda", "apigateway")

# What is plausible in its place, so that a good part of the requests gets past the first look.
WORDS = [
    "table", "queue", "function", "role", "id", "S", "", "*", "x" * 300, "1", "-1", "True", "{", "\0", "ü", "None",
    f"arn:aws:iam::{ACCOUNT}:role/role", f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue", f"http://127.0.0.1/{ACCOUNT}/queue",
    f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/table",
    "All", "NONE", "AWS", "MOCK", "POST", "Allow", '{"Version": "2012-10-17", "Statement": []}',
]  # fmt: skip
words = st.sampled_from(WORDS) | st.text(max_size=20)
junk: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def of_shape(shape: Any, depth: int = 0) -> SearchStrategy[Any]:
    """Values that nearly fit a shape of an API model."""
    kind = shape.type_name
    if depth > 4:
        return junk
    fitting: SearchStrategy[Any]
    if kind == "structure":
        fitting = st.fixed_dictionaries(
            {name: of_shape(one, depth + 1) for name, one in shape.members.items() if name in shape.required_members},
            optional={
                name: of_shape(one, depth + 1)
                for name, one in shape.members.items()
                if name not in shape.required_members
            },
        )
    elif kind == "list":
        fitting = st.lists(of_shape(shape.member, depth + 1), max_size=2)
    elif kind == "map":
        fitting = st.dictionaries(words, of_shape(shape.value, depth + 1), max_size=2)
    elif kind in ("integer", "long"):
        fitting = st.integers(-2, 2000)
    elif kind == "boolean":
        fitting = st.booleans()
    elif kind == "string" and shape.enum:
        fitting = st.sampled_from(shape.enum) | words
    else:
        fitting = words
    return fitting if depth == 0 else st.one_of(fitting, fitting, fitting, fitting, junk)


class Wire:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.host, self.port = parts.hostname, parts.port

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """The answer, within the deadline: a hang is a failure."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENT)
        try:
            connection.request(method, path, body, headers)
            answered = connection.getresponse()
            return answered.status, answered.read()
        finally:
            connection.close()

    def signed(self, service: str, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        scope = f"k/20260101/{REGION}/{service}/aws4_request"
        return self.ask(
            method, path, {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, Signature=0", **headers}, body
        )

    def raw(self, sent: bytes) -> bytes:
        with socket.create_connection((self.host, self.port), timeout=PATIENT) as connection:
            try:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                received = b""
                while piece := connection.recv(65536):
                    received += piece
                return received
            except (ConnectionResetError, BrokenPipeError):
                return b""  # the sandbox hung up on it


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """An open one: what is not signed well would not get past the door of another."""
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def wire(sandbox: Sandbox, account: Account) -> Iterator[Wire]:
    """A sandbox in which the plausible names stand for something."""
    account.dynamodb.create_table(
        TableName="table",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    account.sqs.create_queue(QueueName="queue")
    yield Wire(sandbox.url)
    status, _ = Wire(sandbox.url).signed(
        "sqs",
        "POST",
        "/",
        {"X-Amz-Target": "AmazonSQS.ListQueues", "Content-Type": "application/x-amz-json-1.0"},
        b"{}",
    )
    assert status == 200, "it is alive"


def sound(answered: tuple[int, bytes]) -> None:
    """An answer, and none that says of itself that the sandbox failed."""
    status, body = answered
    assert 200 <= status < 600
    assert b"The sandbox failed" not in body, body[:500]
    assert status != 500, body[:500]


@pytest.mark.parametrize("answered", [(500, b"{}"), (501, b"The sandbox failed: KeyError"), (700, b"")])
def test_a_defect_of_the_sandbox_is_told_from_an_answer(answered: tuple[int, bytes]) -> None:
    with pytest.raises(AssertionError):
        sound(answered)


operations = st.sampled_from(
    [(service, name) for service in TARGETS for name in model_of(service).operation_names if name != "StartLiveTail"]
)


@often
@given(data=st.data(), operation=operations)
def test_json_calls_with_any_parameters(wire: Wire, data: st.DataObject, operation: tuple[str, str]) -> None:
    service, name = operation
    shape = model_of(service).operation_model(name).input_shape
    given_ = data.draw(of_shape(shape)) if shape is not None else {}
    headers = {"X-Amz-Target": f"{TARGETS[service]}.{name}", "Content-Type": "application/x-amz-json-1.0"}
    if name == "ReceiveMessage" and isinstance(given_, dict):
        given_["WaitTimeSeconds"] = 0
    sound(wire.signed(service, "POST", "/", headers, json.dumps(given_).encode()))


@often
@given(operation=operations, body=st.binary(max_size=200) | junk.map(lambda value: json.dumps(value).encode()))
def test_json_calls_with_any_body(wire: Wire, operation: tuple[str, str], body: bytes) -> None:
    service, name = operation
    headers = {"X-Amz-Target": f"{TARGETS[service]}.{name}", "Content-Type": "application/x-amz-json-1.0"}
    sound(wire.signed(service, "POST", "/", headers, body))


@often
@given(
    operation=st.sampled_from([(service, name) for service in QUERIES for name in model_of(service).operation_names]),
    fields=st.dictionaries(
        st.sampled_from(
            ["RoleName", "PolicyName", "PolicyArn", "PolicyDocument", "AssumeRolePolicyDocument", "VersionId", "Path",
             "Tags.member.1.Key", "Tags.member.1.Value", "Tags.member", "RoleArn", "RoleSessionName", "QueueUrl",
             "QueueName", "Attribute.1.Name", "Attribute.1.Value", "MessageBody", "MaxNumberOfMessages",
             "MessageAttribute.1.Name", "MessageAttribute.1.Value.DataType", "ReceiptHandle",
             "SendMessageBatchRequestEntry.1.Id", "SendMessageBatchRequestEntry.1.MessageBody", "UserName"]
        )
        | st.text(max_size=8),
        words,
        max_size=6,
    ),
)  # fmt: skip
def test_query_calls_with_any_fields(wire: Wire, operation: tuple[str, str], fields: dict[str, str]) -> None:
    service, name = operation
    form = {"Action": name, "Version": QUERIES[service], **fields, "WaitTimeSeconds": "0"}
    body = "&".join(f"{quote(key)}={quote(value)}" for key, value in form.items())
    sound(wire.signed(service, "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, body.encode()))


def quote(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")


@often
@given(
    data=st.data(), operation=st.sampled_from([(one, name) for one in RESTS for name in model_of(one).operation_names])
)
def test_rest_calls_with_any_parameters(wire: Wire, data: st.DataObject, operation: tuple[str, str]) -> None:
    service, name = operation
    model = model_of(service).operation_model(name)
    path = model.http["requestUri"].partition("?")[0]
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + (quote(data.draw(words)) or "x") + rest.partition("}")[2]
    given_ = data.draw(of_shape(model.input_shape)) if model.input_shape is not None else {}
    body = data.draw(st.just(json.dumps(given_).encode()) | st.binary(max_size=50))
    sound(wire.signed(service, model.http["method"], path, {"Content-Type": "application/json"}, body))


@pytest.fixture(scope="module")
def stage(wire: Wire, account: Account) -> str:
    """The path of a deployed stage with a function, a queue, a template and a mock behind it."""
    api = account.client("apigateway")
    made = api.create_rest_api(name="any")
    function = account.function("def lambda_handler(event, context):\n    return event\n")
    account.functions.add_permission(
        FunctionName=function, StatementId="any", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com"
    )
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
    trust = {"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}
    account.iam.create_role(
        RoleName="sender", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    account.iam.put_role_policy(RoleName="sender", PolicyName="all", PolicyDocument=json.dumps(may))
    integrations: dict[str, dict[str, Any]] = {
        "function": {"type": "AWS", "integrationHttpMethod": "POST", "uri": f"{uri}{function}/invocations"},
        "proxy": {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": f"{uri}{function}/invocations"},
        "queue": {
            "type": "AWS",
            "integrationHttpMethod": "POST",
            "uri": f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/queue",
            "credentials": f"arn:aws:iam::{ACCOUNT}:role/sender",
            "requestParameters": {"integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"},
            "requestTemplates": {
                "application/json": "Action=SendMessage&Version=2012-11-05&MessageBody=$util.urlEncode($input.body)"
            },
        },
        "mock": {
            "type": "MOCK",
            "requestTemplates": {"application/json": '{"statusCode": 200, "said": $input.json(\'$.a.b[0]\')}'},
        },
    }
    for part, integration in integrations.items():
        resource = api.create_resource(restApiId=made["id"], parentId=made["rootResourceId"], pathPart=part)["id"]
        method = {"restApiId": made["id"], "resourceId": resource, "httpMethod": "ANY"}
        api.put_method(**method, authorizationType="NONE")
        api.put_integration(**method, **integration)
        api.put_method_response(**method, statusCode="200")
        if part != "proxy":
            api.put_integration_response(**method, statusCode="200")
    api.create_deployment(restApiId=made["id"], stageName="any")
    return f"/restapis/{made['id']}/any/_user_request_"


token = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)


@often
@given(
    part=st.sampled_from(["/function", "/proxy", "/queue", "/mock", "/nowhere", ""]),
    more=st.binary(max_size=20),
    query=st.binary(max_size=20),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "NOPE"]),
    headers=st.dictionaries(
        token, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), max_size=3
    ),
    kind=st.sampled_from(["application/json", "text/plain", "application/xml", "nonsense", ""]),
    body=st.binary(max_size=300) | junk.map(lambda value: json.dumps(value).encode()),
)
def test_the_api_with_any_request(
    wire: Wire,
    stage: str,
    part: str,
    more: bytes,
    query: bytes,
    method: str,
    headers: dict[str, str],
    kind: str,
    body: bytes,
) -> None:
    path = stage + part + quote_from_bytes(more, safe="/") + (f"?{quote_from_bytes(query, safe='=&')}" if query else "")
    reserved = {"host", "origin", "content-length", "transfer-encoding", "expect", "connection"}
    sent = {name: value for name, value in headers.items() if name not in reserved}
    status, answered = wire.ask(method, path, {**sent, "Content-Type": kind}, body)
    assert 200 <= status < 600
    assert b"The sandbox failed" not in answered, answered[:500]


@often
@given(
    sent=st.binary(max_size=400)
    | st.binary(max_size=200).map(lambda tail: b"POST / HTTP/1.1\r\nHost: localhost\r\n" + tail)
)
def test_any_bytes_on_the_socket(wire: Wire, sent: bytes) -> None:
    received = wire.raw(sent)
    assert b"The sandbox failed" not in received
    assert b"Traceback" not in received
