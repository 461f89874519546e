"""What the tests of the sandbox build with: clients, functions and queues by the dozen."""

from __future__ import annotations

import io
import itertools
import json
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from tests.rig.clock import eventually

__all__ = ["ACCOUNT", "REGION", "Account", "Held", "eventually", "zipped"]

SECRET = "testing"  # the secret access key of the tests' sandboxes
REGION = "us-east-1"
ACCOUNT = "123456789012"

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
QUEUE_READING = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]


def zipped(code: str | None, name: str = "lambda_function.py") -> bytes:
    """A zip with one file; with none if there is no code."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        if code is not None:
            archive.writestr(name, code)
    return packed.getvalue()


def key_in(folder: Path) -> str:
    """The secret access key of the sandbox that the folder's record names."""
    return str(json.loads((folder / "sandbox.json").read_bytes())["key"])


def about(url: str, path: str, key: str = SECRET) -> Any:
    """What the sandbox says of itself at this path."""
    request = urllib.request.Request(url + path, headers={"X-Sandbox-Key": key})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def signed(service: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
    """The headers of a POST, signed as AWS's own clients do it."""
    request = AWSRequest("POST", url, headers, body)
    SigV4Auth(Credentials("testing", SECRET), service, REGION).add_auth(request)
    return dict(request.headers.items())


class Account:
    """What a test builds with. Names are counted, so that tests of one module do not meet each other's things."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url, self.key = url, key
        self._numbers = itertools.count(1)
        self.iam = self.client("iam")
        self.functions = self.client("lambda")
        self.sqs = self.client("sqs")
        self.logs = self.client("logs")
        self.dynamodb = self.client("dynamodb")

    def client(self, service: str, **more: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=more.pop("region_name", REGION),
            aws_access_key_id="testing",
            aws_secret_access_key=self.key or SECRET,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
            **more,
        )

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"

    def role(self, actions: list[str] | None = None) -> str:
        name = self.name("role")
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        self.iam.put_role_policy(
            RoleName=name,
            PolicyName="all",
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": actions or [*QUEUE_READING, "logs:*", "dynamodb:*"],
                            "Resource": "*",
                        }
                    ],
                }
            ),
        )
        return str(made["Role"]["Arn"])

    def function(self, code: str, **settings: Any) -> str:
        """A function from the text of its module; the name of it."""
        name = self.name("function")
        self.functions.create_function(
            FunctionName=name,
            Runtime=settings.pop("Runtime", "python3.13"),
            Role=settings.pop("Role", None) or self.role(),
            Handler=settings.pop("Handler", "lambda_function.lambda_handler"),
            Code=settings.pop("Code", {"ZipFile": zipped(code)}),
            **settings,
        )
        return name

    def queue(self, **attributes: str) -> tuple[str, str]:
        """A queue's URL and ARN."""
        name = self.name("queue")
        url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def table(self) -> str:
        name = self.name("table")
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    def invoke(self, function: str, event: Any = None) -> Any:
        """The function's answer, decoded; an error of its own is part of that."""
        answer = self.functions.invoke(FunctionName=function, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())


class Held:
    """A function whose invocations last until they are let go; each of them returns the id of its process."""

    CODE = """
import os, pathlib, time
def lambda_handler(event, context):
    folder = pathlib.Path(%r)
    (folder / str(os.getpid())).touch()
    while not (folder / "go").exists():
        time.sleep(0.02)
    return os.getpid()
"""

    def __init__(self, account: Account, folder: Path) -> None:
        self.folder = folder
        self.function = account.function(self.CODE % str(folder), Timeout=60)

    def invoke(self, client: Any) -> Any:
        return json.loads(client.invoke(FunctionName=self.function)["Payload"].read())

    def begun(self) -> list[str]:
        """The processes that have begun."""
        return [mark.name for mark in self.folder.iterdir()]

    def let_go(self) -> None:
        """End those that go on; from now on an invocation ends at once."""
        (self.folder / "go").touch()
