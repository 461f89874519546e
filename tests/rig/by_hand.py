"""A learner who does a lesson's steps by hand: as the lesson prints them, or first with a usual mistake."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

from provision.settings import Settings
from tests.rig import CHECKOUT
from tests.rig.deployment import ACCOUNT, REGION, Stranger, role_arn
from tests.rig.handmade import Aws, allow, document, queue_attributes, trust, zip_by_hand
from tests.rig.lesson import PAUSE, Lesson

UNKNOWN = re.compile(r"\(known after step \d+: id of ([^)]+)\)")
CALL = re.compile(r"Call (\d+) of (\d+)\.")


def printed_calls(lesson: Lesson) -> list[str]:
    """The boto3 lines of each call of the open step, as they stand on the screen. The step is by hand from here on."""
    shown = lesson.ask("h\n", PAUSE)
    while "    boto3\n" not in shown:
        shown = lesson.ask("f\n", PAUSE)
    calls = [shown]
    while len(set(CALL.findall(calls[-1])[-1])) > 1:  # until the last of them
        calls.append(lesson.ask("\n", PAUSE))
    return [
        dedent(call.partition("    boto3\n")[2].partition("\n\n")[0].partition("\n    (known")[0]) for call in calls
    ]


class ByBoto3:
    """Runs such lines with plain clients. What the lesson cannot know yet is filled in from what AWS answered."""

    def __init__(self, url: str, folder: Path, key: str) -> None:
        self.stranger, self.folder = Stranger(url, key=key), folder
        self.known: dict[str, str] = {}
        with zipfile.ZipFile(folder / "function.zip", "w") as package:
            package.write(CHECKOUT / "lambda_function.py", "lambda_function.py")

    def run(self, line: str) -> None:
        clients = {name: getattr(self.stranger, name) for name in ("iam", "dynamodb", "sqs", "apigateway", "logs")}
        given = {**clients, "lambda_": self.stranger.lambda_, "json": json, "Path": lambda name: self.folder / name}
        exec(f"answer = {UNKNOWN.sub(lambda found: self.known[found[1]], line).lstrip()}", given)
        answer: Any = given["answer"]
        if "rootResourceId" in answer:
            self.known |= {answer["name"]: answer["id"], "/": answer["rootResourceId"]}
        elif "pathPart" in answer:
            self.known[answer["pathPart"]] = answer["id"]


def wrong_at_first(aws: Aws, settings: Settings) -> Iterator[str]:
    """Step by step a usual mistake, made with the real `aws`; its name. When asked again, it has been undone."""
    everything = document(allow("dynamodb:PutItem", on="*"))
    policy = aws("iam", "create-policy", "--policy-name", settings.write_policy, "--policy-document", everything)
    yield "policy-for-everything"
    aws("iam", "delete-policy", "--policy-arn", policy["Policy"]["Arn"])
    yield ""
    role = ("--role-name", settings.function_role)
    aws("iam", "create-role", *role, "--assume-role-policy-document", trust("apigateway.amazonaws.com"))
    yield "trust-of-another-service"
    aws("iam", "delete-role", *role)
    yield ""
    table = ("--table-name", settings.table)
    key = (
        "--key-schema",
        "AttributeName=id,KeyType=HASH",
        "--attribute-definitions",
        "AttributeName=id,AttributeType=N",
    )
    aws("dynamodb", "create-table", *table, *key, "--billing-mode", "PAY_PER_REQUEST")
    yield "number-key"
    aws("dynamodb", "delete-table", *table)
    yield ""
    url = aws("sqs", "create-queue", "--queue-name", settings.queue)["QueueUrl"]
    yield "no-dead-letters"
    retention = json.dumps({"MessageRetentionPeriod": "1209600"})  # to create them once more changes nothing
    aws("sqs", "create-queue", "--queue-name", settings.dead_letter_queue, "--attributes", retention)
    attributes = json.dumps(queue_attributes(settings))
    aws("sqs", "set-queue-attributes", "--queue-url", url, "--attributes", attributes)
    yield ""
    name = ("--function-name", settings.function)
    code = ("--runtime", "python3.12", "--zip-file", f"fileb://{zip_by_hand(aws.folder)}")
    aws("lambda", "create-function", *name, *code, "--role", role_arn(settings.function_role), "--handler", "app.main")
    yield "wrong-handler"
    aws("lambda", "delete-function", *name)
    yield ""
    queue = ("--event-source-arn", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{settings.queue}")
    uuid = aws("lambda", "create-event-source-mapping", *name, *queue)["UUID"]
    yield "failures-not-reported"
    aws("lambda", "delete-event-source-mapping", "--uuid", uuid)
    while aws("lambda", "list-event-source-mappings", *name)["EventSourceMappings"]:
        time.sleep(0.2)
    yield ""
    regional = ("--endpoint-configuration", "types=REGIONAL")
    api = aws("apigateway", "create-rest-api", "--name", settings.api, *regional)
    own = ("--rest-api-id", api["id"])
    aws("apigateway", "create-resource", *own, "--parent-id", api["rootResourceId"], "--path-part", "DynamoDBManager")
    yield "wrong-case"
    aws("apigateway", "delete-rest-api", *own)
    yield ""
    (api,) = aws("apigateway", "get-rest-apis")["items"]
    own = ("--rest-api-id", api["id"])
    aws("apigateway", "create-deployment", *own, "--stage-name", "staging")
    yield "another-stage"
    aws("apigateway", "delete-stage", *own, "--stage-name", "staging")
    yield ""
