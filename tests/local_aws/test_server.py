"""The front: who may ask, what the sandbox says about itself, and that the rest reaches moto."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.iam.models import iam_backends

from sandbox import Sandbox
from tests.local_aws.sandbox_account import ACCOUNT, SECRET, Account, eventually, signed


def ask(sandbox: Sandbox, method: str, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    named = {"X-Sandbox-Key": SECRET, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.putrequest(method, path, skip_host="Host" in named)
    for name, value in named.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body)


def test_it_says_who_it_is(sandbox: Sandbox) -> None:
    status, described = ask(sandbox, "GET", "/_sandbox")
    assert status == 200
    assert described["id"] == sandbox.id
    assert described["pid"] == os.getpid()
    assert described["port"] == sandbox.port
    assert set(described) == {
        "id",
        "pid",
        "port",
        "moto",
        "python",
        "started",
        "weather",
        "enforced_users",
        "state_dir",
        "open",
        "disabled_triggers",
    }


def test_its_id_does_not_depend_on_its_port() -> None:
    assert Sandbox().id != Sandbox().id
    assert Sandbox(id="sb-12345678").id == "sb-12345678"


@pytest.mark.parametrize("host", ["example.com", "example.com:80", "127.0.0.1.example.com", "", "localhost.evil:1"])
def test_a_foreign_host_is_refused(sandbox: Sandbox, host: str) -> None:
    assert ask(sandbox, "GET", "/_sandbox", Host=host)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:80", "[::1]", "[::1]:4566"])
def test_a_loopback_host_is_answered(sandbox: Sandbox, host: str) -> None:
    assert ask(sandbox, "GET", "/_sandbox", Host=host)[0] == 200


@pytest.mark.parametrize("origin", ["https://example.com", "http://127.0.0.1", "null"])
def test_a_web_page_is_refused(sandbox: Sandbox, origin: str) -> None:
    assert ask(sandbox, "GET", "/_sandbox", Origin=origin)[0] == 403


def test_an_unsigned_request_gets_no_service(sandbox: Sandbox) -> None:
    status, body = ask(sandbox, "GET", "/")
    assert (status, body["message"]) == (403, "Missing Authentication Token")


def test_motos_own_api_is_closed(sandbox: Sandbox, account: Account) -> None:
    queue, _ = account.queue()
    assert ask(sandbox, "POST", "/moto-api/reset")[0] == 403
    assert account.sqs.get_queue_attributes(QueueUrl=queue)


def test_an_unknown_path_of_its_own_is_404(sandbox: Sandbox) -> None:
    assert ask(sandbox, "GET", "/_sandbox/nothing")[0] == 404


NOT_HERE: list[tuple[str, str, dict[str, Any]]] = [
    ("sqs", "list_message_move_tasks", {"SourceArn": "arn:aws:sqs:us-east-1:123456789012:q"}),
    ("dynamodb", "list_global_tables", {}),
    ("iam", "get_context_keys_for_custom_policy", {"PolicyInputList": ["{}"]}),
    ("logs", "list_anomalies", {}),
    ("lambda", "get_account_settings", {}),
    ("apigateway", "get_sdk_types", {}),
    ("dynamodbstreams", "list_streams", {}),
    ("quicksight", "describe_user", {"AwsAccountId": "1", "Namespace": "n", "UserName": "u"}),
    ("ec2", "describe_instances", {}),
    ("events", "list_rules", {}),
    ("s3", "list_buckets", {}),
]


@pytest.mark.parametrize(("service", "call", "parameters"), NOT_HERE, ids=[f"{one[0]}-{one[1]}" for one in NOT_HERE])
def test_what_is_not_here_is_501_in_a_sentence(
    account: Account, service: str, call: str, parameters: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(account.client(service), call)(**parameters)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "The sandbox has no " in str(refused.value)
    if service != "ec2":  # its clients look for the code where no other service has it
        assert refused.value.response["Error"]["Code"] == "NotImplementedException"


def test_a_defect_of_the_sandbox_is_told_in_the_services_own_form(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("sandbox.protocol.constraints.check", broken)
    with pytest.raises(ClientError) as failed:
        account.client("dynamodb").list_tables()
    assert failed.value.response["Error"]["Code"] == "InternalFailure"
    assert "The sandbox failed: KeyError: 'ours'" in str(failed.value)


def test_what_moto_breaks_on_is_told_as_what_the_sandbox_cannot_do(account: Account) -> None:
    """moto's own handler ends in a KeyError without a TableArn."""
    with pytest.raises(ClientError) as failed:
        account.client("dynamodb").list_exports()
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "The sandbox cannot carry out this ListExports of dynamodb (KeyError)." in str(failed.value)


def test_the_rest_reaches_moto(account: Account) -> None:
    identity = account.client("sts").get_caller_identity()
    assert identity["Account"] == "123456789012"


def test_a_log_group_made_again_has_no_tags_of_the_one_before(account: Account) -> None:
    account.logs.create_log_group(logGroupName="twice", tags={"old": "yes"})
    (group,) = account.logs.describe_log_groups(logGroupNamePrefix="twice")["logGroups"]
    arn = group["arn"].removesuffix(":*")
    assert account.logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"old": "yes"}
    account.logs.delete_log_group(logGroupName="twice")
    account.logs.create_log_group(logGroupName="twice")
    assert account.logs.list_tags_for_resource(resourceArn=arn)["tags"] == {}


def test_managed_policies_are_there(account: Account) -> None:
    arn = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    assert account.iam.get_policy(PolicyArn=arn)["Policy"]["Arn"] == arn
    account.sqs.list_queues()
    read = {partition: len(iam.managed_policies) for partition, iam in iam_backends[ACCOUNT].items()}
    assert read.pop("aws") > 1000
    assert not any(read.values()), "each partition that reads them delays a sandbox's first answer"


def test_a_connection_is_kept(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    body = b"x" * 100_000
    connection.request("POST", "/", body, signed("dynamodb", sandbox.url + "/", {"X-Amz-Target": "none"}, body))
    connection.getresponse().read()
    first = connection.sock
    connection.request("GET", "/_sandbox", headers={"X-Sandbox-Key": SECRET})
    assert connection.getresponse().status == 200
    assert connection.sock is first
    connection.close()


def test_a_client_that_asks_whether_to_send_its_body_is_answered_at_once(sandbox: Sandbox) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as connection:
        connection.sendall(
            b"POST /restapis/none/none/_user_request_/ HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")


def test_a_chunked_body_is_read(sandbox: Sandbox, account: Account) -> None:
    queue, _ = account.queue()
    form = urllib.parse.urlencode({"Action": "SendMessage", "QueueUrl": queue, "MessageBody": "in chunks"}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    headers = signed("sqs", sandbox.url + "/", {"Content-Type": "application/x-www-form-urlencoded"}, form)
    connection.request(
        "POST",
        "/",
        body=iter([form[:10], form[10:]]),
        headers={**headers, "Transfer-Encoding": "chunked"},
        encode_chunked=True,
    )
    assert connection.getresponse().status == 200
    connection.close()
    assert account.sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "in chunks"


@pytest.mark.parametrize(
    "sent",
    [b"GET /_sandbox HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: many\r\n\r\n", b"\x16\x03\x01\r\n\r\n"],
)
def test_nonsense_on_the_wire_hurts_nobody(sandbox: Sandbox, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as connection:
        connection.sendall(sent)
        assert b"400" in connection.recv(4096)
    assert ask(sandbox, "GET", "/_sandbox")[0] == 200


def test_a_body_beyond_all_use_is_refused_before_it_is_sent(sandbox: Sandbox) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n"
            b"Authorization: AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/iam/aws4_request\r\n\r\n"
        )
        assert b" 413 " in connection.recv(4096)


def test_a_long_poll_ends_when_a_message_arrives(account: Account) -> None:
    queue, _ = account.queue()
    threading.Timer(0.3, account.sqs.send_message, kwargs={"QueueUrl": queue, "MessageBody": "late"}).start()
    started = time.monotonic()
    received = account.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=10)
    assert received["Messages"][0]["Body"] == "late"
    assert 0.2 < time.monotonic() - started < 9


def test_a_queues_own_wait_is_respected(account: Account) -> None:
    queue, _ = account.queue(ReceiveMessageWaitTimeSeconds="1")
    started = time.monotonic()
    assert "Messages" not in account.sqs.receive_message(QueueUrl=queue)
    assert 0.9 < time.monotonic() - started < 5


def test_an_illegal_wait_is_refused(account: Account) -> None:
    queue, _ = account.queue()
    with pytest.raises(ClientError) as refused:
        account.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=21)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_no_message_is_lost_while_others_are_deleted(account: Account) -> None:
    queue, _ = account.queue()
    deleting, sent = account.client("sqs"), 60

    def send(number: int) -> None:
        client = account.client("sqs")
        for index in range(sent // 3):
            client.send_message(QueueUrl=queue, MessageBody=f"{number}-{index}")

    senders = [threading.Thread(target=send, args=(number,)) for number in range(3)]
    for sender in senders:
        sender.start()
    bodies: set[str] = set()
    while len(bodies) < sent:
        messages = deleting.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages")
        assert messages, f"{sent - len(bodies)} messages are gone"
        for message in messages:
            bodies.add(message["Body"])
            deleting.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    for sender in senders:
        sender.join()


def test_importing_it_loads_neither_moto_nor_werkzeug() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, sandbox, provision.aws.sandbox_process; print({'moto', 'werkzeug'} & set(sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "set()"


def test_there_is_one_started_sandbox_in_a_process(sandbox: Sandbox) -> None:
    with pytest.raises(RuntimeError, match=sandbox.id):
        Sandbox().start()


def test_it_does_not_listen_beyond_loopback() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(host="0.0.0.0")


STOPPING = """
import json, threading, urllib.request, boto3
from sandbox import Sandbox

def queues(sandbox):
    client = boto3.client("sqs", endpoint_url=sandbox.url, region_name="us-east-1",
                          aws_access_key_id="testing", aws_secret_access_key="testing")
    client.create_queue(QueueName="only")
    return client.list_queues()["QueueUrls"]

first = Sandbox().start()
assert len(queues(first)) == 1
try:
    urllib.request.urlopen(urllib.request.Request(first.url + "/_sandbox/stop", data=b"", method="POST"))
    raise AssertionError("stopped without an id")
except urllib.error.HTTPError as error:
    assert error.code == 403
named = urllib.request.Request(first.url + "/_sandbox/stop", data=b"", headers={"X-Sandbox-Id": first.id})
assert urllib.request.urlopen(named).status == 202
first.serve_forever()
first.stop()

with Sandbox() as second:
    assert second.id != first.id
    client = boto3.client("sqs", endpoint_url=second.url, region_name="us-east-1",
                          aws_access_key_id="testing", aws_secret_access_key="testing")
    assert "QueueUrls" not in client.list_queues(), "the second began with the first's queues"
left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
assert not [name for name in left if name.startswith(("sandbox", "lambda", "poller"))], left
print("fine")
"""


def test_it_stops_when_told_its_id_and_the_next_begins_empty() -> None:
    told = subprocess.run([sys.executable, "-c", STOPPING], capture_output=True, text=True, timeout=60)
    assert (told.stdout, told.stderr) == ("fine\n", "")


def test_a_client_that_leaves_is_no_news(sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf")
    eventually(lambda: ask(sandbox, "GET", "/_sandbox")[0] == 200)
    assert capfd.readouterr().err == ""
