"""The door: who may call, how much is read of a request, and how many may wait there."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.error
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox import Sandbox
from sandbox.protocol.wire import MOST_CONNECTIONS
from tests.local_aws.sandbox_account import REGION, SECRET, Account, about

CALLS = {
    "iam": ("list_roles", "SignatureDoesNotMatch", 403),
    "sts": ("get_caller_identity", "SignatureDoesNotMatch", 403),
    "dynamodb": ("list_tables", "InvalidSignatureException", 400),
    "sqs": ("list_queues", "InvalidSignatureException", 403),
    "lambda": ("list_functions", "InvalidSignatureException", 403),
    "apigateway": ("get_rest_apis", "InvalidSignatureException", 403),
    "logs": ("describe_log_groups", "InvalidSignatureException", 400),
}


def client(url: str, service: str, access_key: str, secret: str) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret}
    return boto3.client(service, endpoint_url=url, region_name=REGION, config=config, **keys)


@pytest.mark.parametrize("service", CALLS)
def test_a_call_with_another_key_is_refused_as_aws_refuses_it(sandbox: Sandbox, service: str) -> None:
    call, code, status = CALLS[service]
    with pytest.raises(ClientError) as refused:
        getattr(client(sandbox.url, service, "sandbox", "another"), call)()
    answer = refused.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert "python -m provision shell --sandbox" in answer["Error"]["Message"]
    assert getattr(client(sandbox.url, service, "any-id", SECRET), call)()


def test_a_users_own_key_is_taken_until_it_is_deleted(sandbox: Sandbox, account: Account) -> None:
    account.iam.create_user(UserName="own-key")
    key = account.iam.create_access_key(UserName="own-key")["AccessKey"]
    user = client(sandbox.url, "sts", key["AccessKeyId"], key["SecretAccessKey"])
    assert user.get_caller_identity()["Arn"].endswith(":user/own-key")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(sandbox.url, "sts", key["AccessKeyId"], SECRET).get_caller_identity()
    account.iam.delete_access_key(UserName="own-key", AccessKeyId=key["AccessKeyId"])
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        user.get_caller_identity()


@pytest.mark.parametrize("path", ["/_sandbox", "/_sandbox/refusals", "/_sandbox/weather"])
def test_what_it_says_of_itself_takes_the_key_and_without_it_only_its_id_is_told(sandbox: Sandbox, path: str) -> None:
    assert about(sandbox.url, path)
    with pytest.raises(urllib.error.HTTPError) as refused:
        about(sandbox.url, path, "another")
    with refused.value:
        told = json.loads(refused.value.read())
    assert (refused.value.code, set(told), told["id"]) == (403, {"message", "id"}, sandbox.id)


def test_nobody_stops_it_without_the_key(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    connection.request("POST", "/_sandbox/stop", headers={"X-Sandbox-Id": sandbox.id})
    assert connection.getresponse().status == 403
    connection.close()
    assert not sandbox.stopped


def answer_to_head(port: int, path: str, *lines: str) -> bytes:
    """What is answered to the head of a request whose body never comes."""
    head = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head.encode())
        return connection.makefile("rb").read()


def scoped(service: str) -> str:
    return f"Authorization: AWS4-HMAC-SHA256 Credential=sandbox/20260101/{REGION}/{service}/aws4_request"


HERE = "Host: 127.0.0.1"
INVOKE = "/2015-03-31/functions/f/invocations"
API = "/restapis/a/b/_user_request_/c"
NOT_READ = {
    "a foreign host": ("/", 403, "loopback", ["Host: example.com", scoped("lambda"), "Content-Length: 70000000"]),
    "a web page": ("/", 403, "web pages", [HERE, "Origin: null", scoped("lambda"), "Content-Length: 70000000"]),
    "no signature": ("/", 403, "Missing Authentication", [HERE, "Content-Length: 70000000"]),
    "its own paths": ("/_sandbox/stop", 413, "", [HERE, "Content-Length: 70000000"]),
    "an api": (API, 413, "Request Too Long", [HERE, "Content-Length: 10485761"]),
    "an invocation": (INVOKE, 413, "6291457 byte payload is too large for the RequestResponse invocation type",
                      [HERE, scoped("lambda"), "Content-Length: 6291457"]),
    "an event": (INVOKE, 413, "1048577 byte payload is too large for the Event invocation type",
                 [HERE, scoped("lambda"), "X-Amz-Invocation-Type: Event", "Content-Length: 1048577"]),
    "a message": ("/", 413, "RequestEntityTooLarge", [HERE, scoped("sqs"), "Content-Length: 4194305"]),
    "chunks of a web page": ("/", 403, "web pages", [HERE, "Origin: null", "Transfer-Encoding: chunked"]),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_READ)
def test_what_is_refused_by_its_head_is_not_read(sandbox: Sandbox, what: str) -> None:
    path, status, words, lines = NOT_READ[what]
    answered = answer_to_head(sandbox.port, path, *lines, "Connection: close")
    assert answered.startswith(f"HTTP/1.1 {status} ".encode()) and words in answered.decode()


def test_a_sender_who_sends_all_the_same_gets_the_answer(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    connection.request("POST", API, body=b"x" * 12_000_000)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.fixture
def idle(sandbox: Sandbox) -> Iterator[list[socket.socket]]:
    """More connections than there may be, on which nothing is asked."""
    opened = [socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) for _ in range(MOST_CONNECTIONS + 100)]
    yield opened
    for one in opened:
        one.close()


def test_idle_connections_take_neither_threads_without_end_nor_the_turn_of_a_caller(
    sandbox: Sandbox, account: Account, idle: list[socket.socket]
) -> None:
    account.sqs.list_queues()
    assert threading.active_count() < MOST_CONNECTIONS + 50


RUNTIME = """
import os
def lambda_handler(event, context):
    return os.environ["AWS_LAMBDA_RUNTIME_API"]
"""


@pytest.mark.parametrize(
    ("knows", "headers"),
    [(False, {}), (True, {"Host": "example.com"}), (True, {"Origin": "https://example.com"})],
    ids=["another user", "a foreign host", "a web page"],
)
def test_nobody_but_its_process_reads_a_functions_payload_or_answers_for_it(
    account: Account, knows: bool, headers: dict[str, str]
) -> None:
    function = account.function(RUNTIME)
    address, _, token = account.invoke(function).partition("/")
    before = f"/{token}" if knows else ""
    for method, path in (("GET", "next"), ("POST", "some-id/response")):
        connection = http.client.HTTPConnection(address, timeout=5)
        connection.request(method, f"{before}/2018-06-01/runtime/invocation/{path}", headers=headers)
        answered = connection.getresponse()
        assert (answered.status, json.loads(answered.read())["errorType"]) == (403, "Forbidden")
        connection.close()
    assert account.invoke(function) == f"{address}/{token}", "the process is warm, and goes on"
