"""The walkthrough made by somebody without this suite: with the real `aws` command, and by boto3 as Terraform calls it.

Nothing has a tag. What the walkthrough leaves free is otherwise than the suite does it, and so is each spelling that
AWS takes for the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provision.settings import Settings
from tests.rig import CHECKOUT
from tests.rig.deployment import ACCOUNT, REGION, Stranger, policy_arn, role_arn

ASSUME = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["sts:AssumeRole"]}]}


class Aws:
    """The real `aws` command of a person at a sandbox. `folder` has it, and is where the person works."""

    def __init__(self, url: str, command: Path, folder: Path, key: str = "somebody") -> None:
        self.url, self.command, self.folder = url, command, folder
        self.environ = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": key,
            "AWS_DEFAULT_REGION": REGION,
        }

    def __call__(self, *words: str) -> Any:
        """What `aws WORDS` answers. AssertionError with its words when it fails."""
        ended = subprocess.run(
            [str(self.command), "--endpoint-url", self.url, *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environ,
            check=False,
        )
        assert ended.returncode == 0, f"aws {' '.join(words)}: {ended.stderr}"
        return json.loads(ended.stdout) if ended.stdout.strip().startswith(("{", "[")) else ended.stdout.strip()


def trust(service: str) -> str:
    statement = {"Sid": "", "Effect": "Allow", "Principal": {"Service": [service]}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allow(*actions: str, on: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def documents(settings: Settings) -> tuple[str, str]:
    """The two policies: other order, other statements, no Sid."""
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{settings.table}"
    logs = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{settings.log_group}:*"
    write = document(
        allow("logs:PutLogEvents", "logs:CreateLogStream", on=logs),
        allow("dynamodb:DescribeTable", "dynamodb:Scan", on=table),
        allow("dynamodb:DeleteItem", "dynamodb:getitem", "dynamodb:PutItem", on=table, Sid="Items"),
    )
    read = document(
        allow(
            *("sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "SQS:ReceiveMessage", "sqs:DeleteMessage"),
            on=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{settings.queue}",
        )
    )
    return write, read


def queue_attributes(settings: Settings, *, path: str = "/") -> dict[str, str]:
    """The access policy with the account's number as its owner, or without an owner; single actions as texts."""
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{settings.queue}"
    owner = allow("SQS:*", on=arn, Principal={"AWS": ACCOUNT})
    sender = {
        "Sid": "Send",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role{path}{settings.api_role}"},
        "Action": "SQS:SendMessage",
        "Resource": arn,
    }
    receiver = allow(
        *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"),
        on=arn,
        Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role{path}{settings.function_role}"},
    )
    tls = {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "sqs:*",
        "Resource": arn,
        "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
    }
    policy = document(receiver, tls, owner, sender) if path == "/" else document(sender, receiver, tls)
    redrive = {
        "maxReceiveCount": "5",
        "deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{settings.dead_letter_queue}",
    }
    return {"Policy": policy, "VisibilityTimeout": "60", "RedrivePolicy": json.dumps(redrive)}


def zip_by_hand(folder: Path) -> Path:
    """The handler, with a comment of a learner's, in a zip that has other bytes than the suite's."""
    text = (CHECKOUT / "lambda_function.py").read_text(encoding="utf-8")
    path = folder / "code.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("lambda_function.py", f"# pasted by hand\n{text}\n")
    return path


def made_with_aws(aws: Aws, settings: Settings) -> str:
    """The walkthrough from its first page to its last, as a person types it. The API's id."""
    *_, api_id = steps_with_aws(aws, settings)
    return api_id


def steps_with_aws(aws: Aws, settings: Settings) -> Iterator[str]:
    """The same step by step: each is made when it is asked for. The API's id, once there is one."""
    write, read = documents(settings)
    for name, text in ((settings.write_policy, write), (settings.read_policy, read)):
        aws("iam", "create-policy", "--policy-name", name, "--policy-document", text)
    yield ""
    roles = ((settings.function_role, "lambda"), (settings.api_role, "apigateway"))
    for name, service in roles:
        document = trust(f"{service}.amazonaws.com")
        aws("iam", "create-role", "--role-name", name, "--assume-role-policy-document", document)
    logs = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    function = settings.function_role
    for role, arn in (
        *((function, policy_arn(name)) for name in (settings.write_policy, settings.read_policy)),
        (settings.api_role, logs),
    ):
        aws("iam", "attach-role-policy", "--role-name", role, "--policy-arn", arn)
    yield ""
    aws(
        *("dynamodb", "create-table", "--table-name", settings.table, "--billing-mode", "PAY_PER_REQUEST"),
        *("--attribute-definitions", "AttributeName=id,AttributeType=S"),
        *("--key-schema", "AttributeName=id,KeyType=HASH"),
    )
    yield ""
    retention = json.dumps({"MessageRetentionPeriod": "1209600"})
    aws("sqs", "create-queue", "--queue-name", settings.dead_letter_queue, "--attributes", retention)
    attributes = json.dumps(queue_attributes(settings))
    aws("sqs", "create-queue", "--queue-name", settings.queue, "--attributes", attributes)
    yield ""
    aws("logs", "create-log-group", "--log-group-name", settings.log_group)
    aws("logs", "put-retention-policy", "--log-group-name", settings.log_group, "--retention-in-days", "30")
    aws(
        *("lambda", "create-function", "--function-name", settings.function, "--runtime", "python3.12"),
        *("--role", role_arn(settings.function_role), "--handler", "lambda_function.lambda_handler"),
        *("--timeout", "10", "--memory-size", "256", "--zip-file", f"fileb://{zip_by_hand(aws.folder)}"),
        *("--environment", json.dumps({"Variables": {"TABLE_NAME": settings.table, "STAGE": "dev"}})),
    )
    yield ""
    aws(
        *("lambda", "create-event-source-mapping", "--function-name", settings.function),
        *("--event-source-arn", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{settings.queue}"),
        *("--function-response-types", "ReportBatchItemFailures", "--scaling-config", "MaximumConcurrency=2"),
    )
    yield ""
    api_id = api_with_aws(aws, settings)
    yield api_id
    aws("apigateway", "create-deployment", "--rest-api-id", api_id, "--stage-name", "Staging")
    limits = ("throttling/rateLimit,value=5", "throttling/burstLimit,value=10")
    patches = [f"op=replace,path=/*/*/{limit}" for limit in limits]
    aws(
        *("apigateway", "update-stage", "--rest-api-id", api_id, "--stage-name", "Staging"),
        "--patch-operations",
        *patches,
    )
    yield api_id


def api_with_aws(aws: Aws, settings: Settings) -> str:
    """The API, its two routes, and its permission. Its id."""
    regional = "types=REGIONAL"
    api = aws("apigateway", "create-rest-api", "--name", settings.api, "--endpoint-configuration", regional)
    own = ("--rest-api-id", api["id"])
    parent = api["rootResourceId"]
    for part, made in (("dynamodbmanager", direct_integration(settings)), ("queue", queue_integration(settings))):
        parent = aws("apigateway", "create-resource", *own, "--parent-id", parent, "--path-part", part)["id"]
        at = (*own, "--resource-id", parent, "--http-method", "POST")
        aws("apigateway", "put-method", *at, "--authorization-type", "NONE")
        aws("apigateway", "put-integration", *at, *made)
        for status, pattern in {
            "200": None,
            **({"400": "4[0-9][0-9]", "500": "5\\d\\d"} if part == "queue" else {}),
        }.items():
            aws("apigateway", "put-method-response", *at, "--status-code", status)
            chosen = ("--selection-pattern", pattern) if pattern else ()
            aws("apigateway", "put-integration-response", *at, "--status-code", status, *chosen)
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api['id']}/*/POST/dynamodbmanager"
    aws(
        *("lambda", "add-permission", "--function-name", settings.function, "--action", "lambda:InvokeFunction"),
        *("--statement-id", "7d1e9a54-0c53-4b59-8e1d-2f1b8f2f4a6f", "--principal", "apigateway.amazonaws.com"),
        *("--source-arn", source),
    )
    return str(api["id"])


def direct_integration(settings: Settings) -> tuple[str, ...]:
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{settings.function}"
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations"
    return ("--type", "AWS", "--integration-http-method", "POST", "--uri", uri)


def queue_integration(settings: Settings) -> tuple[str, ...]:
    template = "Action=SendMessage&MessageBody=$util.urlEncode($input.body)\n"
    templates = dict.fromkeys(("application/json", "application/x-www-form-urlencoded"), template)
    form = {"integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"}
    uri = f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/{settings.queue}"
    return (
        *("--type", "AWS", "--integration-http-method", "POST", "--uri", uri, "--passthrough-behavior", "NEVER"),
        *("--credentials", role_arn(settings.api_role), "--request-templates", json.dumps(templates)),
        *("--request-parameters", json.dumps(form)),
    )


def made_as_terraform_does(account: Stranger, settings: Settings, folder: Path) -> str:
    """By boto3, in the calls of Terraform's provider: roles with a path, a statement with a name, stage and deployment
    apart. The API's id."""
    path = "/service-role/"
    write, read = documents(settings)
    for name, text in ((settings.write_policy, write), (settings.read_policy, read)):
        account.iam.create_policy(PolicyName=name, PolicyDocument=text, Description="Managed by Terraform")
    for name, service in ((settings.function_role, "lambda"), (settings.api_role, "apigateway")):
        assumed = trust(f"{service}.amazonaws.com")
        account.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=assumed)
    for name in (settings.write_policy, settings.read_policy):
        account.iam.attach_role_policy(RoleName=settings.function_role, PolicyArn=policy_arn(name))
    logs = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    account.iam.attach_role_policy(RoleName=settings.api_role, PolicyArn=logs)
    account.dynamodb.create_table(
        TableName=settings.table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        TableClass="STANDARD",
        DeletionProtectionEnabled=False,
    )
    defaults = {"DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0", "MaximumMessageSize": "262144"}
    longer = {**defaults, "MessageRetentionPeriod": "1209600"}
    account.sqs.create_queue(QueueName=settings.dead_letter_queue, Attributes=longer)
    attributes = {**defaults, "MessageRetentionPeriod": "345600", **queue_attributes(settings, path=path)}
    account.sqs.create_queue(QueueName=settings.queue, Attributes=attributes)
    account.logs.create_log_group(logGroupName=settings.log_group)
    account.logs.put_retention_policy(logGroupName=settings.log_group, retentionInDays=7)
    function = account.lambda_.create_function(
        FunctionName=settings.function,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{ACCOUNT}:role{path}{settings.function_role}",
        Handler="lambda_function.lambda_handler",
        Code={"ZipFile": zip_by_hand(folder).read_bytes()},
        Timeout=10,
        Environment={"Variables": {"TABLE_NAME": settings.table}},
        TracingConfig={"Mode": "PassThrough"},
        EphemeralStorage={"Size": 512},
    )
    account.lambda_.create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{settings.queue}",
        FunctionName=function["FunctionArn"],
        BatchSize=10,
        MaximumBatchingWindowInSeconds=0,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 2},
    )
    return api_as_terraform_does(account, settings, path)


def api_as_terraform_does(account: Stranger, settings: Settings, path: str) -> str:
    gateway = account.apigateway
    api = gateway.create_rest_api(name=settings.api, endpointConfiguration={"types": ["REGIONAL"]})
    own, parent = {"restApiId": api["id"]}, api["rootResourceId"]
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{settings.function}"
    form = "application/x-www-form-urlencoded"
    template = "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"
    integrations: dict[str, dict[str, Any]] = {
        "dynamodbmanager": {
            "uri": f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations",
            "passthroughBehavior": "WHEN_NO_TEMPLATES",
        },
        "queue": {
            "uri": f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/{settings.queue}",
            "credentials": f"arn:aws:iam::{ACCOUNT}:role{path}{settings.api_role}",
            "requestParameters": {"integration.request.header.Content-Type": f"'{form}'"},
            "requestTemplates": {"application/json": template, form: template},
            "passthroughBehavior": "NEVER",
        },
    }
    for part, integration in integrations.items():
        parent = gateway.create_resource(**own, parentId=parent, pathPart=part)["id"]
        at = {**own, "resourceId": parent, "httpMethod": "POST"}
        gateway.put_method(**at, authorizationType="NONE", apiKeyRequired=False)
        gateway.put_integration(**at, type="AWS", integrationHttpMethod="POST", timeoutInMillis=29000, **integration)
        patterns = {"200": "", "400": "4\\d{2}", "500": "5\\d{2}"} if part == "queue" else {"200": ""}
        for status, pattern in patterns.items():
            gateway.put_method_response(**at, statusCode=status, responseModels={"application/json": "Empty"})
            gateway.put_integration_response(**at, statusCode=status, selectionPattern=pattern)
    account.lambda_.add_permission(
        FunctionName=settings.function,
        StatementId="AllowExecutionFromAPIGateway",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api['id']}/*/*",
    )
    deployment = gateway.create_deployment(**own, description="Managed by Terraform")
    gateway.create_stage(**own, stageName="Staging", deploymentId=deployment["id"])
    limit_as_terraform_does(account, api["id"])
    return str(api["id"])


def limit_as_terraform_does(account: Stranger, api_id: str) -> None:
    limits = {"rateLimit": "10", "burstLimit": "20"}
    account.apigateway.update_stage(
        restApiId=api_id,
        stageName="Staging",
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{name}", "value": value} for name, value in limits.items()
        ],
    )
