"""The architecture from outside, by clients that are not boto3: built, used, refused, removed.

Each client has a sandbox of its own. How `aws` reads what provision built is in tests/whole/test_aws_command.py.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from provision.package import source, zipped
from provision.settings import Settings
from sandbox import Sandbox
from tests.local_aws.sandbox_account import ACCOUNT, REGION, TRUST, eventually
from tests.rig.warm_aws import WarmAws

JAVASCRIPT = Path(__file__).parent / "javascript"
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:curl-function"
INVOKE_URI = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{FUNCTION_ARN}/invocations"

# Version 2 takes a payload as base64 unless told; version 1 knows no such option.
BINARY = () if metadata.version("awscli").startswith("1.") else ("--cli-binary-format", "raw-in-base64-out")


@pytest.fixture
def url() -> Iterator[str]:
    with Sandbox(key="any") as running:
        yield running.url


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The project's own handler, zipped as provision does it."""
    path = tmp_path / "function.zip"
    path.write_bytes(zipped(source(Settings())))
    return path


# curl


class Curl:
    """curl's own signing (--aws-sigv4), and what it prints."""

    def __init__(self, url: str) -> None:
        self.url = url

    def plain(self, *arguments: str) -> tuple[int, str]:
        ended = subprocess.run(
            [
                "curl",
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--max-time",
                "30",
                "-w",
                "\n%{http_code}",
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        body, _, status = ended.stdout.rpartition("\n")
        return int(status), body

    def signed(self, service: str, *arguments: str) -> tuple[int, str]:
        return self.plain("--aws-sigv4", f"aws:amz:{REGION}:{service}", "--user", "any:any", *arguments)

    def query(self, service: str, version: str, **form: str) -> tuple[int, str]:
        return self.signed(service, f"{self.url}/", "--data", urllib.parse.urlencode({"Version": version, **form}))

    def iam(self, action: str, **form: str) -> tuple[int, str]:
        return self.query("iam", "2010-05-08", Action=action, **form)

    def target(self, service: str, target: str, content_type: str, **parameters: Any) -> tuple[int, Any]:
        status, body = self.signed(
            service,
            f"{self.url}/",
            *("-H", f"Content-Type: {content_type}", "-H", f"X-Amz-Target: {target}"),
            *("--data", json.dumps(parameters)),
        )
        return status, json.loads(body) if body else {}

    def dynamodb(self, action: str, **parameters: Any) -> tuple[int, Any]:
        return self.target("dynamodb", f"DynamoDB_20120810.{action}", "application/x-amz-json-1.0", **parameters)

    def sqs(self, action: str, **parameters: Any) -> tuple[int, Any]:
        return self.target("sqs", f"AmazonSQS.{action}", "application/x-amz-json-1.0", **parameters)

    def logs(self, action: str, **parameters: Any) -> tuple[int, Any]:
        return self.target("logs", f"Logs_20140328.{action}", "application/x-amz-json-1.1", **parameters)

    def rest(self, service: str, verb: str, path: str, data: Any = None) -> tuple[int, Any]:
        sent = [] if data is None else ["-H", "Content-Type: application/json", "--data", json.dumps(data)]
        status, body = self.signed(service, "--request", verb, self.url + path, *sent)
        return status, json.loads(body) if body else {}


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_builds_uses_and_removes_the_architecture(url: str, package: Path, tmp_path: Path) -> None:
    if (
        "--aws-sigv4"
        not in subprocess.run(["curl", "--help", "all"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("this curl cannot sign: --aws-sigv4 came with 7.75")
    curl = Curl(url)
    allowed = {"Effect": "Allow", "Action": ["dynamodb:*", "sqs:*", "logs:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    trust = json.dumps(TRUST)

    # IAM: the query protocol, answers in XML
    assert curl.iam("CreateRole", RoleName="curl-role", AssumeRolePolicyDocument=trust)[0] == 200
    status, body = curl.iam("CreateRole", RoleName="curl-role", AssumeRolePolicyDocument=trust)
    assert (status, "<Code>EntityAlreadyExists</Code>" in body) == (409, True)
    status, body = curl.iam("CreatePolicy", PolicyName="curl-policy", PolicyDocument=document)
    policy = f"arn:aws:iam::{ACCOUNT}:policy/curl-policy"
    assert (status, f"<Arn>{policy}</Arn>" in body) == (200, True)
    assert curl.iam("AttachRolePolicy", RoleName="curl-role", PolicyArn=policy)[0] == 200

    # DynamoDB: JSON with a target
    table = {
        "TableName": "curl-table",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    assert curl.dynamodb("CreateTable", **table)[0] == 200
    status, refused = curl.dynamodb("CreateTable", **table)
    assert (status, refused["__type"].rpartition("#")[2]) == (400, "ResourceInUseException")

    # SQS: both of its protocols
    status, made = curl.sqs("CreateQueue", QueueName="curl-queue", Attributes={"VisibilityTimeout": "60"})
    assert status == 200
    status, body = curl.query("sqs", "2012-11-05", Action="GetQueueUrl", QueueName="curl-queue")
    assert (status, f"<QueueUrl>{made['QueueUrl']}</QueueUrl>" in body) == (200, True)
    status, body = curl.query("sqs", "2012-11-05", Action="GetQueueUrl", QueueName="no-such-queue")
    assert (status, "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in body) == (400, True)
    status, refused = curl.sqs("GetQueueUrl", QueueName="no-such-queue")
    assert (status, refused["__type"]) == (400, "com.amazonaws.sqs#QueueDoesNotExist")

    # Lambda: REST
    wanted = {
        "FunctionName": "curl-function",
        "Runtime": "python3.13",
        "Role": f"arn:aws:iam::{ACCOUNT}:role/curl-role",
        "Handler": "lambda_function.lambda_handler",
        "Timeout": 10,
        "Code": {"ZipFile": base64.b64encode(package.read_bytes()).decode()},
    }
    assert curl.rest("lambda", "POST", "/2015-03-31/functions", wanted)[0] == 201
    assert curl.rest("lambda", "POST", "/2015-03-31/functions", wanted)[0] == 409
    mapping = {
        "EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:curl-queue",
        "FunctionName": "curl-function",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    status, trigger = curl.rest("lambda", "POST", "/2015-03-31/event-source-mappings", mapping)
    assert status == 202
    echo = {"operation": "echo", "payload": "grüß"}
    assert curl.rest("lambda", "POST", "/2015-03-31/functions/curl-function/invocations", echo) == (200, "grüß")

    # API Gateway: REST
    status, api = curl.rest("apigateway", "POST", "/restapis", {"name": "curl-api"})
    assert status == 201
    base = f"/restapis/{api['id']}"
    root = curl.rest("apigateway", "GET", f"{base}/resources")[1]["item"][0]["id"]
    resource = curl.rest("apigateway", "POST", f"{base}/resources/{root}", {"pathPart": "dynamodbmanager"})[1]["id"]
    status, refused = curl.rest("apigateway", "POST", f"{base}/deployments", {"stageName": "Staging"})
    assert (status, refused["message"]) == (400, "The REST API doesn't contain any methods")
    method = f"{base}/resources/{resource}/methods/POST"
    for path, data in [
        (method, {"authorizationType": "NONE"}),
        (f"{method}/integration", {"type": "AWS", "httpMethod": "POST", "uri": INVOKE_URI}),
        (f"{method}/responses/200", {}),
        (f"{method}/integration/responses/200", {}),
    ]:
        assert curl.rest("apigateway", "PUT", path, data)[0] == 201
    permission = {
        "StatementId": "invoke",
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api['id']}/*/POST/dynamodbmanager",
    }
    assert curl.rest("lambda", "POST", "/2015-03-31/functions/curl-function/policy", permission)[0] == 201
    assert curl.rest("apigateway", "POST", f"{base}/deployments", {"stageName": "Staging"})[0] == 201

    # The API's users do not sign
    stage = f"{url}/restapis/{api['id']}/Staging/_user_request_"

    def post(path: str, data: Any) -> tuple[int, str]:
        return curl.plain(f"{stage}{path}", "-H", "Content-Type: application/json", "--data", json.dumps(data))

    def item(name: str) -> dict[str, Any]:
        return {"operation": "create", "tableName": "curl-table", "payload": {"Item": {"id": name}}}

    def stored(name: str) -> Any:
        return curl.dynamodb("GetItem", TableName="curl-table", Key={"id": {"S": name}})[1].get("Item")

    assert post("/dynamodbmanager", item("direct"))[0] == 200
    assert stored("direct") == {"id": {"S": "direct"}}
    status, body = post("/dynamodbmanager", {"operation": "no-such"})
    assert (status, "errorMessage" in json.loads(body)) == (200, True)
    assert post("/elsewhere", {}) == (403, '{"message":"Missing Authentication Token"}')
    assert curl.sqs("SendMessage", QueueUrl=made["QueueUrl"], MessageBody=json.dumps(item("queued")))[0] == 200
    assert eventually(lambda: stored("queued")) == {"id": {"S": "queued"}}
    group = "/aws/lambda/curl-function"
    events = curl.logs("FilterLogEvents", logGroupName=group)[1]["events"]
    assert any(event["message"].startswith("REPORT RequestId: ") for event in events)

    # And everything away
    assert curl.iam("DeleteRole", RoleName="curl-role")[0] == 409
    assert curl.rest("lambda", "DELETE", f"/2015-03-31/event-source-mappings/{trigger['UUID']}")[0] == 202
    assert curl.rest("apigateway", "DELETE", base)[0] == 202
    assert curl.rest("apigateway", "DELETE", base)[0] == 404
    assert post("/dynamodbmanager", item("late"))[0] == 403
    assert curl.rest("lambda", "DELETE", "/2015-03-31/functions/curl-function")[0] == 204
    assert curl.logs("DeleteLogGroup", logGroupName=group)[0] == 200
    assert curl.sqs("DeleteQueue", QueueUrl=made["QueueUrl"])[0] == 200
    assert curl.dynamodb("DeleteTable", TableName="curl-table")[0] == 200
    assert curl.iam("DetachRolePolicy", RoleName="curl-role", PolicyArn=policy)[0] == 200
    assert curl.iam("DeleteRole", RoleName="curl-role")[0] == 200
    assert curl.iam("DeletePolicy", PolicyArn=policy)[0] == 200
    assert curl.dynamodb("ListTables")[1]["TableNames"] == []
    assert "curl-role" not in curl.iam("ListRoles")[1]


# The aws command


class Aws:
    """The `aws` command that the test extra installs; a failing one is answered with what it says."""

    def __init__(self, url: str, home: Path, command: Path) -> None:
        self.url = url
        self.command = command
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.environment = {
            **kept,
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_PAGER": "",
        }

    def __call__(self, *words: str, fails: str = "") -> Any:
        """The answer, decoded; ``fails`` is what the command must say where it has to fail."""
        ended = subprocess.run(
            [str(self.command), "--endpoint-url", self.url, "--output", "json", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if fails:
            assert ended.returncode != 0, f"{words} should have failed"
            assert fails in ended.stderr
            return None
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout) if ended.stdout.strip() else {}


@pytest.mark.slow
def test_the_aws_command_builds_uses_and_removes_the_architecture(
    url: str, package: Path, tmp_path: Path, warm_aws: WarmAws
) -> None:
    aws = Aws(url, tmp_path, warm_aws.command)
    allowed = {"Effect": "Allow", "Action": ["dynamodb:*", "sqs:*", "logs:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    named = ("--function-name", "aws-function")

    role = aws("iam", "create-role", "--role-name", "aws-role", "--assume-role-policy-document", json.dumps(TRUST))
    policy = aws("iam", "create-policy", "--policy-name", "aws-policy", "--policy-document", document)["Policy"]["Arn"]
    attachment = ("--role-name", "aws-role", "--policy-arn", policy)
    aws("iam", "attach-role-policy", *attachment)
    aws(
        "dynamodb", "create-table", "--table-name", "aws-table", "--billing-mode", "PAY_PER_REQUEST",
        *("--key-schema", "AttributeName=id,KeyType=HASH"),
        *("--attribute-definitions", "AttributeName=id,AttributeType=S"),
    )  # fmt: skip
    aws("dynamodb", "wait", "table-exists", "--table-name", "aws-table")
    attributes = ("--attributes", "VisibilityTimeout=60")
    queue = aws("sqs", "create-queue", "--queue-name", "aws-queue", *attributes)["QueueUrl"]
    aws(
        "sqs", "create-queue", "--queue-name", "aws-queue", "--attributes", "VisibilityTimeout=61",
        fails="A queue already exists with the same name and a different value for attribute VisibilityTimeout",
    )  # fmt: skip
    aws(
        "lambda", "create-function", *named, "--runtime", "python3.13", "--role", role["Role"]["Arn"],
        *("--timeout", "10"),
        *("--handler", "lambda_function.lambda_handler", "--zip-file", f"fileb://{package}"),
    )  # fmt: skip
    aws("lambda", "wait", "function-active-v2", *named)
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:aws-queue"
    mapping = aws(
        "lambda", "create-event-source-mapping", *named, "--event-source-arn", arn,
        *("--function-response-types", "ReportBatchItemFailures"),
    )["UUID"]  # fmt: skip

    api = aws("apigateway", "create-rest-api", "--name", "aws-api")
    of_api = ("--rest-api-id", api["id"])
    resource = aws(
        "apigateway", "create-resource", *of_api, "--parent-id", api["rootResourceId"], "--path-part", "dynamodbmanager"
    )["id"]
    of_method = (*of_api, "--resource-id", resource, "--http-method", "POST")
    aws("apigateway", "put-method", *of_method, "--authorization-type", "NONE")
    uri = INVOKE_URI.replace("curl-function", "aws-function")
    aws("apigateway", "put-integration", *of_method, "--type", "AWS", "--integration-http-method", "POST", "--uri", uri)
    aws("apigateway", "put-method-response", *of_method, "--status-code", "200")
    aws("apigateway", "put-integration-response", *of_method, "--status-code", "200")
    source_arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api['id']}/*/POST/dynamodbmanager"
    aws(
        "lambda", "add-permission", *named, "--statement-id", "invoke", "--action", "lambda:InvokeFunction",
        *("--principal", "apigateway.amazonaws.com", "--source-arn", source_arn),
    )  # fmt: skip
    aws("apigateway", "create-deployment", *of_api, "--stage-name", "Staging")

    def item(name: str) -> str:
        return json.dumps({"operation": "create", "tableName": "aws-table", "payload": {"Item": {"id": name}}})

    def stored(name: str) -> Any:
        key = json.dumps({"id": {"S": name}})
        return aws("dynamodb", "get-item", "--table-name", "aws-table", "--key", key).get("Item")

    # Used: through the stage's URL, API Gateway's own test, the function, the queue
    stage = f"{url}/restapis/{api['id']}/Staging/_user_request_/dynamodbmanager"
    with urllib.request.urlopen(stage, data=item("direct").encode(), timeout=20) as answered:
        assert answered.status == 200
    assert stored("direct") == {"id": {"S": "direct"}}
    tested = aws("apigateway", "test-invoke-method", *of_method, "--body", item("tested"))
    assert (tested["status"], stored("tested")) == (200, {"id": {"S": "tested"}})
    result = tmp_path / "result.json"
    payload = ("--payload", '{"operation": "echo", "payload": "hello"}')
    invoked = aws("lambda", "invoke", *named, *payload, *BINARY, str(result))
    assert (invoked["StatusCode"], json.loads(result.read_text())) == (200, "hello")
    aws("sqs", "send-message", "--queue-url", queue, "--message-body", item("queued"))
    assert eventually(lambda: stored("queued"), 30) == {"id": {"S": "queued"}}
    group = "/aws/lambda/aws-function"
    events = aws("logs", "filter-log-events", "--log-group-name", group, "--filter-pattern", "REPORT")["events"]
    assert any(event["message"].startswith("REPORT RequestId: ") for event in events)

    # And everything away
    aws("iam", "delete-role", "--role-name", "aws-role", fails="must detach all policies first")
    aws("apigateway", "delete-rest-api", *of_api)
    aws("apigateway", "get-rest-api", *of_api, fails="NotFoundException")
    aws("lambda", "delete-event-source-mapping", "--uuid", mapping)
    aws("lambda", "delete-function", *named)
    aws("logs", "delete-log-group", "--log-group-name", group)
    aws("sqs", "delete-queue", "--queue-url", queue)
    aws("sqs", "get-queue-url", "--queue-name", "aws-queue", fails="AWS.SimpleQueueService.NonExistentQueue")
    aws("dynamodb", "delete-table", "--table-name", "aws-table")
    aws("dynamodb", "wait", "table-not-exists", "--table-name", "aws-table")
    aws("iam", "detach-role-policy", *attachment)
    aws("iam", "delete-role", "--role-name", "aws-role")
    aws("iam", "delete-policy", "--policy-arn", policy)
    assert aws("lambda", "list-functions")["Functions"] == []
    assert aws("iam", "list-roles")["Roles"] == []


# JavaScript


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
@pytest.mark.skipif(not (JAVASCRIPT / "node_modules").is_dir(), reason="the SDK is not installed (docs/testing.md)")
def test_the_javascript_sdk_builds_uses_and_removes_the_architecture(url: str, package: Path) -> None:
    ended = subprocess.run(
        ["node", "scenario.mjs", url, str(package)],
        cwd=JAVASCRIPT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert (seen["twice"]["name"], seen["twice"]["status"]) == ("EntityAlreadyExistsException", 409)
    assert (seen["noQueue"]["name"], seen["noQueue"]["status"]) == ("QueueDoesNotExist", 400)
    assert (seen["noMethod"]["name"], seen["noMethod"]["status"]) == ("BadRequestException", 400)
    assert seen["noMethod"]["message"] == "The REST API doesn't contain any methods"
    assert (seen["attached"]["name"], seen["attached"]["status"]) == ("DeleteConflictException", 409)
    assert (seen["gone"]["name"], seen["gone"]["status"]) == ("NotFoundException", 404)
    assert seen["echo"] == "grüß"
    assert "REPORT RequestId" in seen["tail"]
    assert seen["created"]["status"] == seen["failed"]["status"] == 200
    assert "errorMessage" in json.loads(seen["failed"]["body"])
    assert seen["elsewhere"] == {"status": 403, "body": '{"message":"Missing Authentication Token"}'}
    assert seen["direct"] == {"id": {"S": "direct"}, "by": {"S": "js"}}
    assert seen["queued"] == {"id": {"S": "queued"}, "by": {"S": "js"}}
    assert seen["left"] == dict.fromkeys(seen["left"], 0)
