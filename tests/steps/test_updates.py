"""Whatever is changed behind the suite's back is updated in place, said, and then left alone.

The cases share one deployment: each changes something as a stranger would, builds, and must leave it as it was built.
One that fails leaves it as it is, and the next begins with a new one.
"""

from __future__ import annotations

import copy
import io
import itertools
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from provision.account import smoke_tests
from provision.account.smoke_tests import SmokeTestFailed
from provision.aws.api_definition import behaviour
from provision.settings import Settings
from provision.state.entries import TAG, CannotUpdate, Difference, ResourceResult
from provision.state.ownership import NotOurs, TwoOfOurs
from provision.terminal.outcome import Interrupted
from provision.trigger import find_trigger
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.command_line import refuse
from tests.rig.deployment import ACCOUNT, REGION, Deployment, Standing, Stranger, policy_arn

HANDLER = CHECKOUT / "lambda_function.py"
DIRECT = "/dynamodbmanager"
QUEUE = "/dynamodbmanager/queue"
WRITE_POLICY = f"arn:aws:iam::{ACCOUNT}:policy/Lambda-Write-DynamoDB"
READ_POLICY = f"arn:aws:iam::{ACCOUNT}:policy/Lambda-Read-SQS"
LOGS_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
QUEUE_ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:POC-Queue"
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:POC-Lambda-1"
SOMEBODYS_FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:somebodys"


class Finished(Standing):
    """A finished deployment, with what is to be seen of it."""

    @property
    def api_id(self) -> str:
        return self.outputs("api")["id"]

    @property
    def order(self) -> list[str]:
        return [entry["key"] for entry in self.state["resources"]]

    @property
    def deployments(self) -> int:
        """How many deployments the API has had."""
        return len(self.aws.apigateway.get_deployments(restApiId=self.api_id, limit=500)["items"])

    @property
    def picture(self) -> dict[str, Any]:
        """The account in every detail that is wanted to be so, without the ids that AWS makes up."""
        api = self.aws.apigateway.get_rest_api(restApiId=self.api_id)
        picture: dict[str, Any] = {
            **self.aws.inventory(),
            "api": [api["name"], api["endpointConfiguration"]["types"], api.get("disableExecuteApiEndpoint", False)],
            "policy": api.get("policy"),
            "limits": self.aws.apigateway.get_stage(restApiId=self.api_id, stageName="Staging").get("methodSettings"),
            "methods": {path: methods_of(resource) for path, resource in resources(self.aws).items()},
            "permission": json.loads(self.aws.lambda_.get_policy(FunctionName="POC-Lambda-1")["Policy"]),
            "trigger": [
                [mapping.get(name) for name in ("EventSourceArn", "State", "BatchSize", "FunctionResponseTypes")]
                for mapping in self.aws.lambda_.list_event_source_mappings()["EventSourceMappings"]
            ],
            "retention": [group.get("retentionInDays") for group in self.aws.logs.describe_log_groups()["logGroups"]],
        }
        for policy in picture["policies"].values():
            del policy["versions"]  # each update adds one
        normalised: dict[str, Any] = json.loads(json.dumps(picture).replace(self.api_id, "(API)"))
        return normalised


def api_of(aws: Stranger) -> str:
    return next(str(api["id"]) for api in aws.apigateway.get_rest_apis()["items"] if TAG in api.get("tags", {}))


def resources(aws: Stranger) -> dict[str, dict[str, Any]]:
    """The resources of our API by path, with their methods."""
    listed = aws.apigateway.get_resources(restApiId=api_of(aws), embed=["methods"], limit=500)["items"]
    return {resource["path"]: resource for resource in listed}


def methods_of(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource's methods by verb, without what API Gateway makes up."""
    methods = copy.deepcopy(resource.get("resourceMethods", {}))
    for method in methods.values():
        method.get("methodIntegration", {}).pop("cacheNamespace", None)
    return dict(methods)


class Account:
    """Keeps one standing deployment for as long as every case leaves it as it was built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sandbox: Sandbox | None = None
        self.standing: Finished | None = None
        self.as_built: dict[str, Any] = {}
        self.order: list[str] = []
        self.fit = False

    def use(self) -> Finished:
        """The deployment, just as it was built; not fit for the next case until that has been shown again."""
        if not self.fit or self.standing is None:
            self.close()
            self.sandbox = Sandbox().start()
            path = self.folder / f"{self.sandbox.id}.json"
            self.standing = Finished(self.sandbox.id, self.sandbox.url, path)
            self.standing.build()
            self.as_built, self.order = self.standing.picture, self.standing.order
        self.fit = False
        return self.standing

    def close(self) -> None:
        if self.standing is not None:
            self.standing.aws.close()
        if self.sandbox is not None:
            self.sandbox.stop()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith(("AWS_", "BOTO_")):
                environment.delenv(name)
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        account = Account(tmp_path_factory.mktemp("mends"))
        yield account
        account.close()


@pytest.fixture
def built(account: Account) -> Finished:
    return account.use()


@pytest.fixture
def settled(account: Account, built: Finished) -> Callable[[], None]:
    """Shows that an update is complete: all is as it was built, and the next run finds nothing to do."""

    def settled() -> None:
        assert built.picture == account.as_built
        assert built.order == account.order, "a resource made again keeps its place in the state file"
        state = built.path.read_bytes()
        assert {event.outcome for event in built.build()} == {"unchanged"}
        assert built.writes == []
        assert built.path.read_bytes() == state
        account.fit = True

    return settled


# Changes that a stranger makes, and the differences that the next run must find and update.

Found = tuple[str, Any, Any]  # attribute, found, wanted


@dataclass(frozen=True)
class Drift:
    """`change` is made behind the suite's back; `differences` are what the entry `key` must then report."""

    title: str
    key: str
    change: Callable[[Stranger], object]
    differences: list[Found]
    smoke_tests: bool = False


@dataclass(frozen=True)
class Loss:
    """`change` takes resources away; `again` are the entries that are made again, `mended` those that follow suit."""

    title: str
    change: Callable[[Stranger], object]
    again: list[str]
    mended: dict[str, list[Found]]
    smoke_tests: bool = False


def queue_url(aws: Stranger, name: str = "POC-Queue") -> str:
    return str(aws.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def set_queue(aws: Stranger, name: str = "POC-Queue", **attributes: str) -> None:
    """Only what is named changes: the policy is sent along, as moto forgets one that is not."""
    url = queue_url(aws, name)
    kept = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={**kept, **attributes})


def queue_policy(aws: Stranger) -> dict[str, Any]:
    answer = aws.sqs.get_queue_attributes(QueueUrl=queue_url(aws), AttributeNames=["Policy"])
    policy: dict[str, Any] = json.loads(answer["Attributes"]["Policy"])
    return policy


def open_the_queue_to_all(aws: Stranger) -> None:
    policy = queue_policy(aws)
    policy["Statement"][1]["Principal"] = {"AWS": "*"}
    set_queue(aws, Policy=json.dumps(policy))


def remove_the_receiver(aws: Stranger) -> None:
    policy = queue_policy(aws)
    del policy["Statement"][2]
    set_queue(aws, Policy=json.dumps(policy))


ANYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
EC2_ONLY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def policy_versions(aws: Stranger, arn: str) -> dict[str, bool]:
    """The policy's versions, the oldest first, and whether each is the default one."""
    versions = aws.iam.list_policy_versions(PolicyArn=arn)["Versions"]
    listed = {version["VersionId"]: version["IsDefaultVersion"] for version in versions}
    return dict(sorted(listed.items(), key=lambda version: int(version[0].removeprefix("v"))))


def edit_policy(aws: Stranger, arn: str, document: dict[str, Any], *, make_default: bool = True) -> str:
    """A new version with this document, after those that earlier cases have left; its id."""
    for version, is_default in policy_versions(aws, arn).items():
        if not is_default:
            aws.iam.delete_policy_version(PolicyArn=arn, VersionId=version)
    created = aws.iam.create_policy_version(
        PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=make_default
    )
    return str(created["PolicyVersion"]["VersionId"])


def zip_of(text: str, **modules: str) -> bytes:
    """A deployment package of lambda_function.py and other modules."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for name, source in {"lambda_function": text, **modules}.items():
            package.writestr(f"{name}.py", source)
    return buffer.getvalue()


def trigger_of(aws: Stranger) -> str:
    return str(aws.lambda_.list_event_source_mappings(EventSourceArn=QUEUE_ARN)["EventSourceMappings"][0]["UUID"])


def set_function(aws: Stranger, **configuration: Any) -> None:
    aws.lambda_.update_function_configuration(FunctionName="POC-Lambda-1", **configuration)


def give_other_role(aws: Stranger) -> None:
    """One that Lambda may assume, as it looks at once; afterwards it is gone, and the function still names it."""
    trust = (CHECKOUT / "policies" / "trust-lambda.json").read_text()
    aws.iam.create_role(RoleName="another-role", AssumeRolePolicyDocument=trust)
    set_function(aws, Role=f"arn:aws:iam::{ACCOUNT}:role/another-role")
    aws.iam.delete_role(RoleName="another-role")


def set_trigger(aws: Stranger, **configuration: Any) -> None:
    aws.lambda_.update_event_source_mapping(UUID=trigger_of(aws), **configuration)


def permit_instead(aws: Stranger, **statement: str) -> None:
    """Somebody's statement under the same id."""
    aws.lambda_.remove_permission(FunctionName="POC-Lambda-1", StatementId="POC-API-invoke")
    wanted = {
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api_of(aws)}/*/POST/dynamodbmanager",
    }
    aws.lambda_.add_permission(FunctionName="POC-Lambda-1", StatementId="POC-API-invoke", **{**wanted, **statement})


def place(aws: Stranger, path: str) -> dict[str, str]:
    """The arguments that name POST on a path."""
    return {"restApiId": api_of(aws), "resourceId": resources(aws)[path]["id"], "httpMethod": "POST"}


def patch(op: str, path: str, value: str | None) -> dict[str, Any]:
    return {"patchOperations": [{"op": op, "path": path, **({} if value is None else {"value": value})}]}


def limit(rate: str, burst: str) -> Callable[[Stranger], object]:
    return lambda aws: [
        aws.apigateway.update_stage(
            restApiId=api_of(aws), stageName="Staging", **patch("replace", f"/*/*/throttling/{name}", value)
        )
        for name, value in (("rateLimit", rate), ("burstLimit", burst))
    ]


def patch_api(op: str, path: str, value: str) -> Callable[[Stranger], object]:
    return lambda aws: aws.apigateway.update_rest_api(restApiId=api_of(aws), **patch(op, path, value))


def patch_method(route: str, path: str, value: str) -> Callable[[Stranger], object]:
    return lambda aws: aws.apigateway.update_method(**place(aws, route), **patch("replace", path, value))


def patch_integration(route: str, op: str, path: str, value: str | None = None) -> Callable[[Stranger], object]:
    return lambda aws: aws.apigateway.update_integration(**place(aws, route), **patch(op, path, value))


def patch_response(route: str, status: str, op: str, path: str, value: str) -> Callable[[Stranger], object]:
    return lambda aws: aws.apigateway.update_integration_response(
        **place(aws, route), statusCode=status, **patch(op, path, value)
    )


def add_response(aws: Stranger) -> None:
    """A status that catches every failed run: useful, and not what the walkthrough has."""
    aws.apigateway.put_method_response(**place(aws, DIRECT), statusCode="502")
    aws.apigateway.put_integration_response(**place(aws, DIRECT), statusCode="502", selectionPattern="(\n|.)+")


def demand_validation(aws: Stranger) -> None:
    validator = aws.apigateway.create_request_validator(
        restApiId=api_of(aws), name="strict", validateRequestBody=True, validateRequestParameters=True
    )
    patch_method(DIRECT, "/requestValidatorId", validator["id"])(aws)


def uri_of(function_arn: str) -> str:
    return f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations"


SEND = "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"
TEMPLATES = {"application/json": SEND, "application/x-www-form-urlencoded": SEND}
FORM = {"integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"}

DRIFTS = [
    # Policies and roles.
    Drift(
        "policy edited",
        "write-policy",
        lambda aws: edit_policy(aws, WRITE_POLICY, ANYTHING),
        [("document", ANYTHING, ANY)],
    ),
    Drift(
        "another version of a policy made the default one",
        "read-policy",
        lambda aws: aws.iam.set_default_policy_version(
            PolicyArn=READ_POLICY, VersionId=edit_policy(aws, READ_POLICY, ANYTHING, make_default=False)
        ),
        [("document", ANYTHING, ANY)],
    ),
    Drift(
        "trust of the function's role changed",
        "function-role",
        lambda aws: aws.iam.update_assume_role_policy(
            RoleName="SQS-Lambda-DynamoDB-Role", PolicyDocument=json.dumps(EC2_ONLY)
        ),
        [("trust policy", EC2_ONLY, ANY)],
    ),
    Drift(
        "trust of the API's role changed",
        "api-role",
        lambda aws: aws.iam.update_assume_role_policy(RoleName="APIGateway-SQS", PolicyDocument=json.dumps(EC2_ONLY)),
        [("trust policy", EC2_ONLY, ANY)],
    ),
    # Table and queues.
    Drift(
        "billing of the table changed",
        "table",
        lambda aws: aws.dynamodb.update_table(
            TableName="name",
            BillingMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
        ),
        [("billing mode", "PROVISIONED", "PAY_PER_REQUEST")],
    ),
    Drift("queue opened to everybody", "queue", open_the_queue_to_all, [("Policy", ANY, ANY)]),
    Drift("receiver statement removed", "queue", remove_the_receiver, [("Policy", ANY, ANY)]),
    Drift("policy of the queue removed", "queue", lambda aws: set_queue(aws, Policy=""), [("Policy", "", ANY)]),
    Drift(
        "visibility timeout changed",
        "queue",
        lambda aws: set_queue(aws, VisibilityTimeout="600"),
        [("VisibilityTimeout", "600", "60")],
    ),
    Drift(
        "redrive removed",
        "queue",
        lambda aws: set_queue(aws, RedrivePolicy=""),
        [("RedrivePolicy", "", ANY)],
    ),
    Drift(
        "messages given up after one receive",
        "queue",
        lambda aws: set_queue(
            aws, RedrivePolicy=json.dumps({"deadLetterTargetArn": f"{QUEUE_ARN}-DLQ", "maxReceiveCount": 1})
        ),
        [("RedrivePolicy", ANY, ANY)],
    ),
    Drift(
        "retention of dead letters changed",
        "dead-letter-queue",
        lambda aws: set_queue(aws, "POC-Queue-DLQ", MessageRetentionPeriod="60"),
        [("MessageRetentionPeriod", "60", str(14 * 24 * 3600))],
    ),
    # Function, log group, trigger.
    Drift(
        "code replaced",
        "function",
        lambda aws: aws.lambda_.update_function_code(
            FunctionName="POC-Lambda-1", ZipFile=zip_of("def lambda_handler(event, context):\n    return 'hello'\n")
        ),
        [("CodeSha256", ANY, ANY)],
        smoke_tests=True,
    ),
    Drift(
        "runtime changed",
        "function",
        lambda aws: set_function(aws, Runtime="python3.12"),
        [("Runtime", "python3.12", "python3.13")],
    ),
    Drift("timeout changed", "function", lambda aws: set_function(aws, Timeout=29), [("Timeout", 29, 10)]),
    Drift("memory changed", "function", lambda aws: set_function(aws, MemorySize=512), [("MemorySize", 512, 128)]),
    Drift(
        "environment changed",
        "function",
        lambda aws: set_function(aws, Environment={"Variables": {"TABLE_NAME": "other", "DEBUG": "1"}}),
        [("Environment", {"TABLE_NAME": "other", "DEBUG": "<DEBUG>"}, {"TABLE_NAME": "name"})],
    ),
    Drift(
        "environment emptied",
        "function",
        lambda aws: set_function(aws, Environment={"Variables": {}}),
        [("Environment", {}, {"TABLE_NAME": "name"})],
    ),
    Drift(
        "handler changed",
        "function",
        lambda aws: set_function(aws, Handler="index.handler"),
        [("Handler", "index.handler", "lambda_function.lambda_handler")],
    ),
    Drift(
        "role of the function changed",
        "function",
        give_other_role,
        [
            (
                "Role",
                f"arn:aws:iam::{ACCOUNT}:role/another-role",
                f"arn:aws:iam::{ACCOUNT}:role/SQS-Lambda-DynamoDB-Role",
            )
        ],
    ),
    Drift(
        "log retention changed",
        "log-group",
        lambda aws: aws.logs.put_retention_policy(logGroupName="/aws/lambda/POC-Lambda-1", retentionInDays=3653),
        [("retentionInDays", 3653, 14)],
    ),
    Drift(
        "log retention removed",
        "log-group",
        lambda aws: aws.logs.delete_retention_policy(logGroupName="/aws/lambda/POC-Lambda-1"),
        [("retentionInDays", None, 14)],
    ),
    Drift(
        "trigger disabled",
        "trigger",
        lambda aws: set_trigger(aws, Enabled=False),
        [("State", "Disabled", "Enabled")],
        smoke_tests=True,
    ),
    Drift("batch size changed", "trigger", lambda aws: set_trigger(aws, BatchSize=1), [("BatchSize", 1, 10)]),
    Drift(
        "failure reports switched off",
        "trigger",
        lambda aws: set_trigger(aws, FunctionResponseTypes=[]),
        [("FunctionResponseTypes", [], ["ReportBatchItemFailures"])],
    ),
    Drift(
        "as many invocations at once as it likes",
        "trigger",
        lambda aws: set_trigger(aws, ScalingConfig={}),
        [("ScalingConfig > MaximumConcurrency", None, 2)],
    ),
    # The stage.
    Drift(
        "limits raised",
        "stage",
        limit("500", "1000"),
        [
            ("methodSettings > */* > throttlingRateLimit", 500.0, 10),
            ("methodSettings > */* > throttlingBurstLimit", 1000, 20),
        ],
    ),
    # The permission.
    Drift(
        "permission for another API",
        "permission",
        lambda aws: permit_instead(aws, SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:0123456789/*/POST/other"),
        [("Condition", ANY, ANY)],
        smoke_tests=True,
    ),
    Drift(
        "permission under one more condition",
        "permission",
        lambda aws: permit_instead(aws, SourceAccount="999999999999"),
        [("Condition", ANY, ANY)],
    ),
    Drift(
        "permission for another service",
        "permission",
        lambda aws: permit_instead(aws, Principal="s3.amazonaws.com"),
        [("Principal", {"Service": "s3.amazonaws.com"}, {"Service": "apigateway.amazonaws.com"})],
    ),
    Drift(
        "permission for another action",
        "permission",
        lambda aws: permit_instead(aws, Action="lambda:GetFunction"),
        [("Action", "lambda:GetFunction", "lambda:InvokeFunction")],
    ),
    # The API itself.
    Drift("API renamed", "api", patch_api("replace", "/name", "Mine"), [("name", "Mine", "POC-API")]),
    Drift(
        "endpoint type changed",
        "api",
        patch_api("replace", "/endpointConfiguration/types/REGIONAL", "EDGE"),
        [("endpoint type", ["EDGE"], ["REGIONAL"])],
    ),
    # Methods.
    Drift(
        "queue resource deleted",
        "api",
        lambda aws: aws.apigateway.delete_resource(restApiId=api_of(aws), resourceId=resources(aws)[QUEUE]["id"]),
        [
            (f"resource {QUEUE}", None, QUEUE),
            (f"POST {QUEUE} method", None, "NONE"),
            (f"POST {QUEUE} integration", None, ANY),
            (f"POST {QUEUE} method response 200", None, "Empty"),
            (f"POST {QUEUE} method response 400", None, "Empty"),
            (f"POST {QUEUE} method response 500", None, "Empty"),
        ],
    ),
    Drift(
        "both resources deleted",
        "api",
        lambda aws: aws.apigateway.delete_resource(restApiId=api_of(aws), resourceId=resources(aws)[DIRECT]["id"]),
        [
            (f"resource {DIRECT}", None, DIRECT),
            (f"POST {DIRECT} method", None, "NONE"),
            (f"POST {DIRECT} integration", None, ANY),
            (f"POST {DIRECT} method response 200", None, "Empty"),
            (f"resource {QUEUE}", None, QUEUE),
            (f"POST {QUEUE} method", None, "NONE"),
            (f"POST {QUEUE} integration", None, ANY),
            (f"POST {QUEUE} method response 200", None, "Empty"),
            (f"POST {QUEUE} method response 400", None, "Empty"),
            (f"POST {QUEUE} method response 500", None, "Empty"),
        ],
        smoke_tests=True,
    ),
    Drift(
        "method deleted",
        "api",
        lambda aws: aws.apigateway.delete_method(**place(aws, DIRECT)),
        [
            (f"POST {DIRECT} method", None, "NONE"),
            (f"POST {DIRECT} integration", None, uri_of(FUNCTION_ARN)),
            (f"POST {DIRECT} method response 200", None, "Empty"),
        ],
    ),
    Drift(
        "authorization demanded",
        "api",
        patch_method(DIRECT, "/authorizationType", "AWS_IAM"),
        [(f"POST {DIRECT} authorizationType", "AWS_IAM", "NONE")],
    ),
    Drift(
        "API key demanded",
        "api",
        patch_method(QUEUE, "/apiKeyRequired", "true"),
        [(f"POST {QUEUE} apiKeyRequired", True, False)],
    ),
    Drift("validation demanded", "api", demand_validation, [(f"POST {DIRECT} requestValidatorId", ANY, None)]),
    # Integrations.
    Drift(
        "integration deleted",
        "api",
        lambda aws: aws.apigateway.delete_integration(**place(aws, DIRECT)),
        [(f"POST {DIRECT} integration", None, uri_of(FUNCTION_ARN))],
    ),
    Drift(
        "integration of another type",
        "api",
        lambda aws: aws.apigateway.put_integration(
            **place(aws, DIRECT),
            type="AWS_PROXY",
            integrationHttpMethod="POST",
            uri=uri_of(FUNCTION_ARN),
            contentHandling="CONVERT_TO_TEXT",
        ),
        [(f"POST {DIRECT} integration type", "AWS_PROXY", "AWS")],
    ),
    Drift(
        "another function integrated",
        "api",
        patch_integration(DIRECT, "replace", "/uri", uri_of(SOMEBODYS_FUNCTION)),
        [(f"POST {DIRECT} integration uri", uri_of(SOMEBODYS_FUNCTION), uri_of(FUNCTION_ARN))],
    ),
    Drift(
        "integration called by another verb",
        "api",
        patch_integration(DIRECT, "replace", "/httpMethod", "GET"),
        [(f"POST {DIRECT} integration httpMethod", "GET", "POST")],
    ),
    Drift(
        "passthrough of the function's route changed",
        "api",
        patch_integration(DIRECT, "replace", "/passthroughBehavior", "NEVER"),
        [(f"POST {DIRECT} integration passthroughBehavior", "NEVER", "WHEN_NO_MATCH")],
    ),
    Drift(
        "content handling of the function's route changed",
        "api",
        patch_integration(DIRECT, "replace", "/contentHandling", "CONVERT_TO_BINARY"),
        [(f"POST {DIRECT} integration contentHandling", "CONVERT_TO_BINARY", "CONVERT_TO_TEXT")],
    ),
    Drift(
        "request template put before the function",
        "api",
        patch_integration(DIRECT, "add", "/requestTemplates/application~1json", '{"operation": "ping"}'),
        [(f"POST {DIRECT} integration requestTemplates", {"application/json": '{"operation": "ping"}'}, {})],
    ),
    Drift(
        "function called without waiting for its answer",
        "api",
        patch_integration(
            DIRECT, "add", "/requestParameters/integration.request.header.X-Amz-Invocation-Type", "'Event'"
        ),
        [
            (
                f"POST {DIRECT} integration requestParameters",
                {"integration.request.header.X-Amz-Invocation-Type": "'Event'"},
                {},
            )
        ],
    ),
    Drift(
        "function called with the caller's credentials",
        "api",
        patch_integration(DIRECT, "replace", "/credentials", f"arn:aws:iam::{ACCOUNT}:role/APIGateway-SQS"),
        [(f"POST {DIRECT} integration credentials", f"arn:aws:iam::{ACCOUNT}:role/APIGateway-SQS", None)],
    ),
    Drift(
        "function given little time",
        "api",
        patch_integration(DIRECT, "replace", "/timeoutInMillis", "50"),
        [(f"POST {DIRECT} integration timeoutInMillis", 50, 29_000)],
    ),
    Drift(
        "another queue integrated",
        "api",
        patch_integration(QUEUE, "replace", "/uri", f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/other"),
        [
            (
                f"POST {QUEUE} integration uri",
                f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/other",
                f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/POC-Queue",
            )
        ],
    ),
    Drift(
        "another role for the queue's route",
        "api",
        patch_integration(QUEUE, "replace", "/credentials", f"arn:aws:iam::{ACCOUNT}:role/other"),
        [
            (
                f"POST {QUEUE} integration credentials",
                f"arn:aws:iam::{ACCOUNT}:role/other",
                f"arn:aws:iam::{ACCOUNT}:role/APIGateway-SQS",
            )
        ],
    ),
    Drift(
        "message not encoded",
        "api",
        patch_integration(
            QUEUE, "replace", "/requestTemplates/application~1json", "Action=SendMessage&MessageBody=$input.body"
        ),
        [
            (
                f"POST {QUEUE} integration requestTemplates",
                {**TEMPLATES, "application/json": "Action=SendMessage&MessageBody=$input.body"},
                TEMPLATES,
            )
        ],
    ),
    Drift(
        "form no longer taken",
        "api",
        patch_integration(QUEUE, "remove", "/requestTemplates/application~1x-www-form-urlencoded"),
        [(f"POST {QUEUE} integration requestTemplates", {"application/json": SEND}, TEMPLATES)],
    ),
    Drift(
        "header for SQS removed",
        "api",
        patch_integration(QUEUE, "remove", "/requestParameters/integration.request.header.Content-Type"),
        [(f"POST {QUEUE} integration requestParameters", ANY, FORM)],
    ),
    Drift(
        "passthrough of the queue's route changed",
        "api",
        patch_integration(QUEUE, "replace", "/passthroughBehavior", "WHEN_NO_MATCH"),
        [(f"POST {QUEUE} integration passthroughBehavior", "WHEN_NO_MATCH", "NEVER")],
    ),
    # Responses.
    Drift(
        "method response removed",
        "api",
        lambda aws: aws.apigateway.delete_method_response(**place(aws, QUEUE), statusCode="400"),
        [(f"POST {QUEUE} method response 400", None, "Empty")],
    ),
    Drift(
        "integration response removed",
        "api",
        lambda aws: aws.apigateway.delete_integration_response(**place(aws, DIRECT), statusCode="200"),
        [(f"POST {DIRECT} integration response 200", None, "the default one")],
        smoke_tests=True,
    ),
    Drift(
        "integration response for SQS's errors removed",
        "api",
        lambda aws: aws.apigateway.delete_integration_response(**place(aws, QUEUE), statusCode="500"),
        [(f"POST {QUEUE} integration response 500", None, "5\\d{2}")],
    ),
    Drift(
        "selection pattern changed",
        "api",
        patch_response(QUEUE, "400", "replace", "/selectionPattern", "404"),
        [(f"POST {QUEUE} integration response 400 selectionPattern", "404", "4\\d{2}")],
    ),
    Drift(
        "selection pattern put on the default response",
        "api",
        patch_response(DIRECT, "200", "replace", "/selectionPattern", "never"),
        [(f"POST {DIRECT} integration response 200 selectionPattern", "never", None)],
    ),
    Drift(
        "answer rewritten by a template",
        "api",
        patch_response(DIRECT, "200", "add", "/responseTemplates/application~1json", "{}"),
        [(f"POST {DIRECT} integration response 200 responseTemplates", {"application/json": "{}"}, {})],
    ),
    Drift(
        "answer turned into bytes",
        "api",
        patch_response(DIRECT, "200", "replace", "/contentHandling", "CONVERT_TO_BINARY"),
        [(f"POST {DIRECT} integration response 200 contentHandling", "CONVERT_TO_BINARY", None)],
    ),
    Drift(
        "response added",
        "api",
        add_response,
        [
            (f"POST {DIRECT} integration response 502", ANY, None),
            (f"POST {DIRECT} method response 502", ANY, None),
        ],
    ),
]


METHOD_ATTRIBUTES = ("authorizationType", "apiKeyRequired", "requestValidatorId")


def spots(drift: Drift) -> set[str]:
    """What a drift lays hands on. Two with a spot in common cannot be made at once: one would hide the other."""
    if drift.key != "api":
        return {drift.key}
    taken = set()
    for attribute, _, _ in drift.differences:
        route = QUEUE if QUEUE in attribute else DIRECT if DIRECT in attribute else ""
        if not route:
            taken.add(attribute)
        elif attribute.endswith(METHOD_ATTRIBUTES):
            taken.add(f"method of {route}")
        elif " integration" in attribute or " response" in attribute:
            # An integration that is put again takes its responses with it.
            taken.add(f"integration of {route}")
        else:
            taken.update((f"method of {route}", f"integration of {route}"))
    return taken


def rounds(drifts: list[Drift]) -> list[list[Drift]]:
    """The drifts in as few rounds as may be, so that one run finds and updates many that have nothing in common."""
    packed: list[list[Drift]] = []
    for drift in drifts:
        free = (one for one in packed if not any(spots(drift) & spots(other) for other in one))
        fitting = next(free, None)
        if fitting is None:
            packed.append(fitting := [])
        fitting.append(drift)
    return packed


@pytest.mark.sweep(6)
@pytest.mark.parametrize("drifts", rounds(DRIFTS), ids=lambda drifts: f"{drifts[0].title} and {len(drifts) - 1} more")
def test_what_was_changed_is_updated_in_place_and_reported_however_much_at_once(
    drifts: list[Drift], built: Finished, settled: Callable[[], None]
) -> None:
    expected: dict[str, list[Found]] = {}
    for drift in drifts:
        drift.change(built.aws)
        expected.setdefault(drift.key, []).extend(drift.differences)
    deployments = built.deployments
    built.build_as_planned()
    assert {event.outcome for event in built.changed.values()} == {"updated"}
    found = {key: triples(event) for key, event in built.changed.items()}
    assert found == {key: sorted(differences, key=attribute_of) for key, differences in expected.items()}
    assert all(one.found != one.wanted for event in built.changed.values() for one in event.differences)
    assert built.deployments == deployments, "what the stage serves never differed"
    settled()
    if any(drift.smoke_tests for drift in drifts):
        built.smoke_tests()


def test_a_default_endpoint_that_was_switched_off_takes_one_new_deployment_to_be_served_again(
    built: Finished, settled: Callable[[], None]
) -> None:
    deployments = built.deployments
    for number in ("1", "2"):
        patch_api("replace", "/disableExecuteApiEndpoint", "true")(built.aws)
        built.build()
        found = {key: triples(event) for key, event in built.changed.items()}
        before = "" if number == "1" else "1"
        assert found == {
            "api": [("disableExecuteApiEndpoint", True, False)],
            "stage": [("endpoint or policy changed", before, number)],
        }
        assert built.deployments == deployments + int(number)
        settled()


def triples(event: ResourceResult) -> list[Found]:
    return sorted(((one.attribute, one.found, one.wanted) for one in event.differences), key=attribute_of)


def attribute_of(difference: Found) -> str:
    return difference[0]


def test_every_drift_is_in_one_round_and_none_is_hidden_there() -> None:
    packed = rounds(DRIFTS)
    assert sorted(drift.title for one in packed for drift in one) == sorted(drift.title for drift in DRIFTS)
    assert len({drift.title for drift in DRIFTS}) == len(DRIFTS)
    for one in packed:
        taken = [spot for drift in one for spot in spots(drift)]
        assert len(taken) == len(set(taken))


def test_a_difference_that_is_not_expected_would_be_seen() -> None:
    """The checker above compares with ANY: it must not compare with everything."""
    event = ResourceResult("queue", "sqs:queue", {}, "updated", (Difference("VisibilityTimeout", "600", "30"),))
    assert triples(event) == [("VisibilityTimeout", ANY, ANY)]
    assert triples(event) != [("RedrivePolicy", ANY, ANY)]
    assert triples(event) != [("VisibilityTimeout", ANY, "60")]
    assert triples(event) != []


# Policies: versions.


def test_a_updated_policy_gets_a_new_version_and_the_edited_one_stays_to_be_looked_at(
    built: Finished, settled: Callable[[], None]
) -> None:
    wanted = built.aws.inventory()["policies"]["Lambda-Read-SQS"]["document"]
    edited = edit_policy(built.aws, READ_POLICY, ANYTHING)
    built.build()
    assert built.changed["read-policy"].differences == (Difference("document", ANYTHING, wanted),)
    assert built.changed["read-policy"].notes == ()
    versions = policy_versions(built.aws, READ_POLICY)
    assert versions[edited] is False
    assert list(versions.values())[-1] is True
    settled()


def give_five_versions(aws: Stranger, arn: str) -> list[str]:
    """Four more beside the default one, which is the oldest; their ids, the oldest first."""
    edit_policy(aws, arn, ANYTHING, make_default=False)
    for _ in range(3):
        aws.iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(ANYTHING), SetAsDefault=False)
    versions = list(policy_versions(aws, arn))
    assert len(versions) == 5
    return versions


def edited_one_is_the_newest(aws: Stranger) -> str:
    versions = give_five_versions(aws, WRITE_POLICY)
    aws.iam.set_default_policy_version(PolicyArn=WRITE_POLICY, VersionId=versions[4])
    return versions[0]


def edited_one_is_the_oldest(aws: Stranger) -> str:
    versions = give_five_versions(aws, WRITE_POLICY)
    aws.iam.set_default_policy_version(PolicyArn=WRITE_POLICY, VersionId=versions[1])
    aws.iam.delete_policy_version(PolicyArn=WRITE_POLICY, VersionId=versions[0])
    aws.iam.create_policy_version(PolicyArn=WRITE_POLICY, PolicyDocument=json.dumps(ANYTHING), SetAsDefault=False)
    return versions[2]


@pytest.mark.slow
@pytest.mark.parametrize("arrange", [edited_one_is_the_newest, edited_one_is_the_oldest])
def test_a_sixth_version_takes_the_place_of_the_oldest_one_that_is_not_the_default(
    arrange: Callable[[Stranger], str], built: Finished, settled: Callable[[], None]
) -> None:
    goes = arrange(built.aws)
    before = policy_versions(built.aws, WRITE_POLICY)
    built.build()
    after = policy_versions(built.aws, WRITE_POLICY)
    assert before.keys() - after.keys() == {goes}
    assert len(after) == 5
    note = f"removed version {goes}, the oldest, as a policy holds five at most"
    assert built.changed["write-policy"].notes == (note,)
    settled()


# Resources taken away.


def delete_policy(aws: Stranger) -> None:
    detach(aws, "SQS-Lambda-DynamoDB-Role", READ_POLICY)
    edit_policy(aws, READ_POLICY, ANYTHING)
    for version, is_default in policy_versions(aws, READ_POLICY).items():
        if not is_default:
            aws.iam.delete_policy_version(PolicyArn=READ_POLICY, VersionId=version)
    aws.iam.delete_policy(PolicyArn=READ_POLICY)


def detach(aws: Stranger, role: str, policy_arn: str) -> None:
    aws.iam.detach_role_policy(RoleName=role, PolicyArn=policy_arn)


def delete_role(aws: Stranger, role: str) -> None:
    for policy in aws.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        detach(aws, role, policy["PolicyArn"])
    aws.iam.delete_role(RoleName=role)


def delete_deployments(aws: Stranger) -> None:
    """The stage, and with it every deployment there was."""
    api_id = api_of(aws)
    aws.apigateway.delete_stage(restApiId=api_id, stageName="Staging")
    for deployment in aws.apigateway.get_deployments(restApiId=api_id, limit=500)["items"]:
        aws.apigateway.delete_deployment(restApiId=api_id, deploymentId=deployment["id"])


LOSSES = [
    Loss("policy deleted", delete_policy, ["read-policy", "function-role/read-policy"], {}),
    Loss(
        "policy detached",
        lambda aws: detach(aws, "SQS-Lambda-DynamoDB-Role", WRITE_POLICY),
        ["function-role/write-policy"],
        {},
    ),
    Loss(
        "AWS's own policy detached",
        lambda aws: detach(aws, "APIGateway-SQS", LOGS_POLICY),
        ["api-role/logs-policy"],
        {},
    ),
    Loss(
        "role of the function deleted",
        lambda aws: delete_role(aws, "SQS-Lambda-DynamoDB-Role"),
        ["function-role", "function-role/write-policy", "function-role/read-policy"],
        {"queue": [("Policy", ANY, ANY), ("roles named", ANY, ANY)], "function": [("role id", ANY, ANY)]},
        smoke_tests=True,
    ),
    Loss(
        "role of the API deleted",
        lambda aws: delete_role(aws, "APIGateway-SQS"),
        ["api-role", "api-role/logs-policy"],
        {"queue": [("Policy", ANY, ANY), ("roles named", ANY, ANY)]},
    ),
    Loss("table deleted", lambda aws: aws.dynamodb.delete_table(TableName="name"), ["table"], {}),
    Loss(
        "dead-letter queue deleted",
        lambda aws: aws.sqs.delete_queue(QueueUrl=queue_url(aws, "POC-Queue-DLQ")),
        ["dead-letter-queue"],
        {},
    ),
    Loss("queue deleted", lambda aws: aws.sqs.delete_queue(QueueUrl=queue_url(aws)), ["queue"], {}, smoke_tests=True),
    Loss(
        "log group deleted",
        lambda aws: aws.logs.delete_log_group(logGroupName="/aws/lambda/POC-Lambda-1"),
        ["log-group"],
        {},
    ),
    Loss(
        "function deleted",
        lambda aws: aws.lambda_.delete_function(FunctionName="POC-Lambda-1"),
        ["function", "permission"],
        {},
        smoke_tests=True,
    ),
    Loss(
        "trigger deleted",
        lambda aws: aws.lambda_.delete_event_source_mapping(UUID=trigger_of(aws)),
        ["trigger"],
        {},
    ),
    Loss(
        "permission removed",
        lambda aws: aws.lambda_.remove_permission(FunctionName="POC-Lambda-1", StatementId="POC-API-invoke"),
        ["permission"],
        {},
    ),
    Loss(
        "API deleted",
        lambda aws: aws.apigateway.delete_rest_api(restApiId=api_of(aws)),
        ["api", "stage"],
        {"permission": [("Condition", ANY, ANY)]},
        smoke_tests=True,
    ),
    Loss(
        "stage deleted",
        lambda aws: aws.apigateway.delete_stage(restApiId=api_of(aws), stageName="Staging"),
        ["stage"],
        {},
    ),
    Loss("stage and deployments deleted", delete_deployments, ["stage"], {}),
]


@pytest.mark.sweep(5)
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.title)
def test_what_was_taken_away_is_made_again_in_its_old_place(
    loss: Loss, built: Finished, settled: Callable[[], None]
) -> None:
    loss.change(built.aws)
    built.build_as_planned()
    assert {key for key, event in built.changed.items() if event.outcome == "created"} == set(loss.again)
    mended = {
        key: [(one.attribute, one.found, one.wanted) for one in event.differences]
        for key, event in built.changed.items()
        if event.outcome == "updated"
    }
    assert mended == loss.mended
    assert len(built.changed) == len(loss.again) + len(loss.mended)
    settled()
    if loss.smoke_tests:
        built.smoke_tests()


def test_a_role_made_again_is_named_by_its_new_id_wherever_the_old_one_was(
    built: Finished, settled: Callable[[], None]
) -> None:
    old = built.outputs("function-role")["id"]
    delete_role(built.aws, "SQS-Lambda-DynamoDB-Role")
    built.build()
    new = built.aws.iam.get_role(RoleName="SQS-Lambda-DynamoDB-Role")["Role"]["RoleId"]
    assert old != new
    assert built.outputs("function-role")["id"] == built.outputs("function")["role_id"] == new
    assert new in built.outputs("queue")["role_ids"]
    assert old not in json.dumps(built.state)
    written = [call.parameters for call in built.calls if call.operation == "SetQueueAttributes"]
    assert ["Policy" in parameters["Attributes"] for parameters in written] == [True]
    settled()


def test_a_table_that_is_gone_is_made_again_without_its_items(built: Finished, settled: Callable[[], None]) -> None:
    built.aws.dynamodb.put_item(TableName="name", Item={"id": {"S": "1"}})
    built.aws.dynamodb.delete_table(TableName="name")
    built.build()
    assert built.aws.dynamodb.scan(TableName="name")["Items"] == []
    settled()


def test_messages_and_items_survive_every_update_in_place(built: Finished, settled: Callable[[], None]) -> None:
    aws = built.aws
    item = {"id": {"S": "1"}, "name": {"S": "Bob"}}
    aws.dynamodb.put_item(TableName="name", Item=item)
    aws.sqs.send_message(QueueUrl=queue_url(aws, "POC-Queue-DLQ"), MessageBody="kept")
    set_queue(aws, "POC-Queue-DLQ", MessageRetentionPeriod="60")
    aws.dynamodb.update_table(
        TableName="name",
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    built.build()
    assert set(built.changed) == {"table", "dead-letter-queue"}
    assert aws.dynamodb.scan(TableName="name")["Items"] == [item]
    received = aws.sqs.receive_message(QueueUrl=queue_url(aws, "POC-Queue-DLQ"))["Messages"]
    assert [message["Body"] for message in received] == ["kept"]
    aws.dynamodb.delete_item(TableName="name", Key={"id": {"S": "1"}})
    aws.sqs.delete_message(QueueUrl=queue_url(aws, "POC-Queue-DLQ"), ReceiptHandle=received[0]["ReceiptHandle"])
    settled()


# The stage: redeployed when and only when what it serves differs.


def deploy(aws: Stranger, description: str = "") -> str:
    """As "Deploy API" in the console does."""
    return str(
        aws.apigateway.create_deployment(restApiId=api_of(aws), stageName="Staging", description=description)["id"]
    )


def served(aws: Stranger) -> str:
    return str(aws.apigateway.get_stage(restApiId=api_of(aws), stageName="Staging")["deploymentId"])


def test_edited_and_deployed_behind_our_back_gives_exactly_one_new_deployment(
    built: Finished, settled: Callable[[], None]
) -> None:
    patch_integration(DIRECT, "add", "/requestTemplates/application~1json", '{"operation": "ping"}')(built.aws)
    theirs = deploy(built.aws)
    deployments = built.deployments
    built.build()
    assert set(built.changed) == {"api", "stage"}
    assert [one.attribute for one in built.changed["stage"].differences] == ["what it serves"]
    assert built.deployments == deployments + 1
    assert served(built.aws) != theirs
    settled()
    assert built.deployments == deployments + 1
    built.smoke_tests()


def test_deployed_behind_our_back_without_an_edit_gives_exactly_one_new_deployment(
    built: Finished, settled: Callable[[], None]
) -> None:
    """What somebody else deployed cannot be told from what AWS shows: it is deployed again, once."""
    deploy(built.aws, "by hand")
    deployments = built.deployments
    built.build()
    differences = built.changed["stage"].differences
    assert [(one.attribute, one.found) for one in differences] == [("what it serves", "by hand")]
    assert built.deployments == deployments + 1
    settled()


def test_edited_and_updated_without_a_deployment_in_between_gives_none(
    built: Finished, settled: Callable[[], None]
) -> None:
    deployments, before = built.deployments, served(built.aws)
    patch_integration(DIRECT, "add", "/requestTemplates/application~1json", '{"operation": "ping"}')(built.aws)
    built.build()
    assert set(built.changed) == {"api"}
    assert (built.deployments, served(built.aws)) == (deployments, before)
    settled()
    built.smoke_tests()


def test_a_stage_pointed_to_somebodys_deployment_is_pointed_to_a_new_one(
    built: Finished, settled: Callable[[], None]
) -> None:
    aws = built.aws
    patch_integration(DIRECT, "add", "/requestTemplates/application~1json", '{"operation": "ping"}')(aws)
    theirs = aws.apigateway.create_deployment(restApiId=built.api_id, description="a try")["id"]
    aws.apigateway.update_stage(
        restApiId=built.api_id, stageName="Staging", **patch("replace", "/deploymentId", theirs)
    )
    deployments = built.deployments
    built.build()
    assert [one.found for one in built.changed["stage"].differences] == ["a try"]
    assert built.deployments == deployments + 1
    settled()
    built.smoke_tests()


def test_a_stage_pointed_to_an_earlier_deployment_of_the_same_definition_stays_there(
    built: Finished, settled: Callable[[], None]
) -> None:
    aws, first = built.aws, served(built.aws)
    deploy(aws)
    built.build()
    assert served(aws) != first
    aws.apigateway.update_stage(restApiId=built.api_id, stageName="Staging", **patch("replace", "/deploymentId", first))
    built.build()
    assert built.changed == {}
    assert served(aws) == first
    settled()
    built.smoke_tests()


def add_their_method(aws: Stranger, *, finished: bool = True) -> str:
    """GET on a path of somebody's own; the resource's id."""
    api_id = api_of(aws)
    parent = resources(aws)[DIRECT]["id"]
    made = str(aws.apigateway.create_resource(restApiId=api_id, parentId=parent, pathPart="theirs")["id"])
    aws.apigateway.put_method(restApiId=api_id, resourceId=made, httpMethod="GET", authorizationType="NONE")
    if finished:
        aws.apigateway.put_integration(
            restApiId=api_id,
            resourceId=made,
            httpMethod="GET",
            type="MOCK",
            requestTemplates={"application/json": '{"statusCode": 200}'},
        )
    return made


@pytest.mark.sweep(2)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
def test_what_somebody_adds_to_the_api_is_neither_deployed_nor_taken_away(
    finished: bool, built: Finished, settled: Callable[[], None]
) -> None:
    deployments = built.deployments
    theirs = add_their_method(built.aws, finished=finished)
    built.build()
    assert built.changed == {}
    assert built.deployments == deployments
    assert resources(built.aws)[f"{DIRECT}/theirs"]["resourceMethods"].keys() == {"GET"}
    built.aws.apigateway.delete_resource(restApiId=built.api_id, resourceId=theirs)
    settled()


def test_what_somebody_adds_and_deploys_gives_one_new_deployment_that_serves_it_still(
    built: Finished, settled: Callable[[], None]
) -> None:
    theirs = add_their_method(built.aws)
    deploy(built.aws)
    deployments = built.deployments
    built.build()
    assert set(built.changed) == {"stage"}
    built.build()
    assert built.changed == {}
    assert built.deployments == deployments + 1
    built.aws.apigateway.delete_resource(restApiId=built.api_id, resourceId=theirs)
    settled()


def test_fields_that_do_not_decide_what_is_served_leave_the_digest_as_it_is() -> None:
    """AWS adds some on its own, and a newer botocore shows more of them."""
    method = {
        "httpMethod": "POST",
        "authorizationType": "NONE",
        "apiKeyRequired": False,
        "methodResponses": {"200": {"statusCode": "200", "responseModels": {"application/json": "Empty"}}},
        "methodIntegration": {
            "type": "AWS",
            "httpMethod": "POST",
            "uri": uri_of(FUNCTION_ARN),
            "passthroughBehavior": "WHEN_NO_MATCH",
            "contentHandling": "CONVERT_TO_TEXT",
            "timeoutInMillis": 29_000,
            "integrationResponses": {"200": {"statusCode": "200"}},
        },
    }
    shown: dict[str, Any] = copy.deepcopy(method)
    shown["ResponseMetadata"] = {"RequestId": "1"}
    shown["requestModels"] = {}
    integration = shown["methodIntegration"]
    integration |= {
        "cacheNamespace": "abc123",
        "cacheKeyParameters": [],
        "connectionType": "INTERNET",
        "responseTransferMode": "BUFFERED",
        "requestTemplates": {},
        "credentials": None,
    }
    integration["integrationResponses"]["200"] |= {
        "responseTemplates": {"application/json": None},
        "selectionPattern": "",
    }
    assert behaviour(shown) == behaviour(method)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["authorizationType"], "AWS_IAM"),
        (["apiKeyRequired"], True),
        (["requestValidatorId"], "abc123"),
        (["methodResponses"], {}),
        (["methodIntegration", "type"], "MOCK"),
        (["methodIntegration", "httpMethod"], "GET"),
        (["methodIntegration", "uri"], uri_of(SOMEBODYS_FUNCTION)),
        (["methodIntegration", "credentials"], "arn:aws:iam::123456789012:role/other"),
        (["methodIntegration", "passthroughBehavior"], "NEVER"),
        (["methodIntegration", "contentHandling"], None),
        (["methodIntegration", "requestParameters"], FORM),
        (["methodIntegration", "requestTemplates"], {"application/json": "{}"}),
        (["methodIntegration", "timeoutInMillis"], 50),
        (["methodIntegration", "integrationResponses"], {}),
        (["methodIntegration", "integrationResponses", "200", "selectionPattern"], ".+"),
        (["methodIntegration", "integrationResponses", "200", "responseTemplates"], {"application/json": "{}"}),
        (
            ["methodIntegration", "integrationResponses", "200", "responseParameters"],
            {"method.response.header.X": "'1'"},
        ),
        (["methodIntegration", "integrationResponses", "200", "contentHandling"], "CONVERT_TO_BINARY"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, list) else "",
)
def test_every_field_that_decides_what_is_served_is_in_the_digest(path: list[str], value: Any) -> None:
    method: dict[str, Any] = {
        "authorizationType": "NONE",
        "apiKeyRequired": False,
        "methodResponses": {"200": {"statusCode": "200"}},
        "methodIntegration": {
            "type": "AWS",
            "httpMethod": "POST",
            "uri": uri_of(FUNCTION_ARN),
            "passthroughBehavior": "WHEN_NO_MATCH",
            "contentHandling": "CONVERT_TO_TEXT",
            "timeoutInMillis": 29_000,
            "integrationResponses": {"200": {"statusCode": "200"}},
        },
    }
    changed = copy.deepcopy(method)
    part = changed
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    assert behaviour(changed) != behaviour(method)


# A updated policy takes some seconds to be known everywhere: meanwhile DynamoDB refuses, and the answer is still 200.


def refuse_at_first(aws: Stranger, times: int) -> None:
    """The handler, in the place where it is, under a role that DynamoDB does not let write yet."""
    refusing = f"""
import handler
left = {times}
def lambda_handler(event, context):
    global left
    if event.get("operation") == "create" and left > 0:
        left -= 1
        raise RuntimeError("An error occurred (AccessDeniedException) when calling the PutItem operation: no")
    return handler.lambda_handler(event, context)
"""
    package = zip_of(refusing, handler=HANDLER.read_text(encoding="utf-8"))
    aws.lambda_.update_function_code(FunctionName="POC-Lambda-1", ZipFile=package)


@pytest.mark.slow
def test_the_trials_wait_for_a_permission_that_is_on_its_way(built: Finished, settled: Callable[[], None]) -> None:
    refuse_at_first(built.aws, times=2)
    assert len(built.smoke_tests()) == 5
    built.build()
    settled()


@pytest.mark.slow
def test_the_trials_fail_with_dynamodbs_words_when_the_permission_does_not_come(
    built: Finished, settled: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_at_first(built.aws, times=1000)
    clock = itertools.count(step=10.0)
    with monkeypatch.context() as patched:
        patched.setattr(built.waiting, "clock", lambda: next(clock))
        patched.setattr(built.waiting, "sleep", lambda seconds: None)
        for by_the_queue in ("try_queue", "try_queue_url"):  # which takes its time, whatever the clock says
            patched.setattr(smoke_tests, by_the_queue, lambda *arguments: "not tried here")
        with pytest.raises(SmokeTestFailed, match=r"AccessDeniedException.*PutItem"):
            built.smoke_tests()
    assert built.aws.dynamodb.scan(TableName="name")["Items"] == []
    built.build()
    settled()


def test_a_trial_that_waits_can_be_interrupted(
    built: Finished, settled: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends as interrupted, not as a smoke test that failed."""

    def interrupt(seconds: float) -> None:
        raise Interrupted

    refuse_at_first(built.aws, times=1000)
    with monkeypatch.context() as patched:
        patched.setattr(built.waiting, "sleep", interrupt)
        with pytest.raises(Interrupted):
            built.smoke_tests()
    built.build()
    settled()


# What is not updated: it would cost data, or it is somebody else's.


def test_a_table_of_ours_with_another_key_stops_and_is_left_with_its_items(
    built: Finished, settled: Callable[[], None]
) -> None:
    aws = built.aws
    aws.dynamodb.delete_table(TableName="name")
    aws.dynamodb.create_table(
        TableName="name",
        KeySchema=[{"AttributeName": "order", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "order", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": TAG, "Value": built.state["deployment"]}],
    )
    aws.dynamodb.put_item(TableName="name", Item={"order": {"N": "1"}})
    built.rewrite(lambda entries: entries["table"]["outputs"].pop("id"))  # as if it were the one that is recorded
    with pytest.raises(CannotUpdate, match=r"dynamodb:table name: key is .*'order'.*wanted is .*'id'") as stopped:
        built.build()
    assert any("teardown" in line for line in stopped.value.advice)
    assert built.writes == []
    assert aws.dynamodb.scan(TableName="name")["Items"] == [{"order": {"N": "1"}}]
    aws.dynamodb.delete_table(TableName="name")
    built.build()
    settled()


@pytest.mark.slow
def test_a_key_of_another_type_stops_too(built: Finished, settled: Callable[[], None]) -> None:
    aws = built.aws
    aws.dynamodb.delete_table(TableName="name")
    aws.dynamodb.create_table(
        TableName="name",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": TAG, "Value": built.state["deployment"]}],
    )
    built.rewrite(lambda entries: entries["table"]["outputs"].pop("id"))
    with pytest.raises(CannotUpdate, match=r"key attribute is .*'N'.*wanted is .*'S'"):
        built.build()
    assert built.writes == []
    aws.dynamodb.delete_table(TableName="name")
    built.build()
    settled()


@pytest.mark.slow
def test_an_index_that_somebody_added_to_the_table_is_no_other_key(
    built: Finished, settled: Callable[[], None]
) -> None:
    built.aws.dynamodb.update_table(
        TableName="name",
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "name", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexUpdates=[
            {
                "Create": {
                    "IndexName": "by-name",
                    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            }
        ],
    )
    table = built.aws.dynamodb.describe_table(TableName="name")["Table"]
    assert len(table["AttributeDefinitions"]) == 2
    built.build()
    assert built.changed == {}
    built.aws.dynamodb.delete_table(TableName="name")
    built.build()
    settled()


def test_two_apis_with_our_mark_stop_the_run_and_both_are_shown_and_kept(
    built: Finished, settled: Callable[[], None]
) -> None:
    """Only one in which there is nothing at all is surely a spare one: tests/whole/test_unpleasant.py."""
    second = built.aws.apigateway.create_rest_api(name="POC-API", tags={TAG: built.state["deployment"]})["id"]
    [root] = built.aws.apigateway.get_resources(restApiId=second)["items"]
    built.aws.apigateway.create_resource(restApiId=second, parentId=root["id"], pathPart="something")
    with pytest.raises(TwoOfOurs) as stopped:
        built.build()
    assert second in stopped.value.what
    assert built.api_id in stopped.value.what
    assert built.writes == []
    assert {api["id"] for api in built.aws.apigateway.get_rest_apis()["items"]} == {second, built.api_id}
    built.aws.apigateway.delete_rest_api(restApiId=second)
    settled()


@pytest.mark.slow
@pytest.mark.parametrize("tags", [{}, {TAG: "poc-00000000"}], ids=["unmarked", "of another deployment"])
def test_somebodys_api_of_the_same_name_is_left_alone_and_stops_nobody(
    tags: dict[str, str], built: Finished, settled: Callable[[], None]
) -> None:
    theirs = built.aws.apigateway.create_rest_api(name="POC-API", description="theirs", tags=tags)["id"]
    before = built.aws.apigateway.get_rest_api(restApiId=theirs)
    built.build()
    assert built.changed == {}
    built.aws.apigateway.delete_rest_api(restApiId=built.api_id)
    built.build()
    assert set(built.changed) == {"api", "permission", "stage"}
    assert built.api_id != theirs
    after = built.aws.apigateway.get_rest_api(restApiId=theirs)
    assert without_metadata(after) == without_metadata(before)
    assert [resource["path"] for resource in built.aws.apigateway.get_resources(restApiId=theirs)["items"]] == ["/"]
    built.aws.apigateway.delete_rest_api(restApiId=theirs)
    settled()


def without_metadata(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


# Somebody else's resources of the same names, in an account where nothing of ours is yet.


@dataclass(frozen=True)
class Namesake:
    """Something of somebody's that bears a name of ours. `show` gives it back in every detail that AWS tells."""

    kind: str
    name: str
    make: Callable[[Stranger, str], object]
    show: Callable[[Stranger, str], object]
    remove: Callable[[Stranger, str], object]


def role_arn(aws: Stranger, name: str) -> str:
    """A role for somebody's function to run with."""
    role = aws.iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=json.dumps(LAMBDA_TRUST))
    return str(role["Role"]["Arn"])


def delete_function(aws: Stranger, name: str) -> None:
    aws.lambda_.delete_function(FunctionName=name)
    aws.iam.delete_role(RoleName=f"{name}-role")


LAMBDA_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


NAMESAKES = [
    Namesake(
        "iam:policy",
        "Lambda-Read-SQS",
        lambda aws, name: aws.iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(ANYTHING)),
        lambda aws, name: (
            aws.iam.get_policy(PolicyArn=policy_arn(name))["Policy"],
            aws.iam.list_policy_versions(PolicyArn=policy_arn(name))["Versions"],
        ),
        lambda aws, name: aws.iam.delete_policy(PolicyArn=policy_arn(name)),
    ),
    Namesake(
        "iam:role",
        "SQS-Lambda-DynamoDB-Role",
        lambda aws, name: aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(EC2_ONLY)),
        lambda aws, name: (
            aws.iam.get_role(RoleName=name)["Role"],
            aws.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"],
        ),
        lambda aws, name: aws.iam.delete_role(RoleName=name),
    ),
    Namesake(
        "dynamodb:table",
        "name",
        lambda aws, name: aws.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        ),
        lambda aws, name: aws.dynamodb.describe_table(TableName=name)["Table"],
        lambda aws, name: aws.dynamodb.delete_table(TableName=name),
    ),
    Namesake(
        "sqs:queue",
        "POC-Queue-DLQ",
        lambda aws, name: aws.sqs.create_queue(QueueName=name),
        lambda aws, name: queue_shown(aws, name),
        lambda aws, name: aws.sqs.delete_queue(QueueUrl=queue_url(aws, name)),
    ),
    Namesake(
        "sqs:queue",
        "POC-Queue",
        lambda aws, name: aws.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"}),
        lambda aws, name: queue_shown(aws, name),
        lambda aws, name: aws.sqs.delete_queue(QueueUrl=queue_url(aws, name)),
    ),
    Namesake(
        "lambda:function",
        "POC-Lambda-1",
        lambda aws, name: aws.lambda_.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=role_arn(aws, name),
            Handler="index.handler",
            Code={"ZipFile": zip_of("theirs = True\n")},
        ),
        lambda aws, name: aws.lambda_.get_function(FunctionName=name)["Configuration"],
        delete_function,
    ),
]


def queue_shown(aws: Stranger, name: str) -> dict[str, Any]:
    url = queue_url(aws, name)
    attributes: dict[str, Any] = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return {**attributes, "tags": aws.sqs.list_queue_tags(QueueUrl=url).get("Tags")}


@pytest.mark.slow
def test_somebody_elses_resources_of_our_names_are_refused_by_name_one_after_the_other_and_not_touched(
    built: Finished, settled: Callable[[], None], tmp_path: Path
) -> None:
    """Under a learner's names. The first one in the way stops the run; when it is gone, the next one does."""
    names = [f"{namesake.name}-bob" for namesake in NAMESAKES]
    alone = built.aws.inventory()
    for namesake, name in zip(NAMESAKES, names, strict=True):
        namesake.make(built.aws, name)
    shown = {name: namesake.show(built.aws, name) for namesake, name in zip(NAMESAKES, names, strict=True)}
    with Finished(built.sandbox_id, built.url, tmp_path / "ledger.json", Settings(learner="bob")) as bobs:
        for number, (namesake, name) in enumerate(zip(NAMESAKES, names, strict=True)):
            with pytest.raises(NotOurs) as refused:
                bobs.build()
            assert refused.value.what.startswith(f"{namesake.kind} ")
            assert name in refused.value.what
            assert any("--learner" in line for line in refused.value.advice)
            for other, its_name in list(zip(NAMESAKES, names, strict=True))[number:]:
                assert other.show(built.aws, its_name) == shown[its_name]
            assert f'"{name}"' not in (bobs.path.read_text(encoding="utf-8") if bobs.path.exists() else "")
            namesake.remove(built.aws, name)
        bobs.build()
        assert bobs.tear_down() == []
    assert built.aws.inventory() == alone
    settled()


def test_a_namesake_with_the_mark_of_another_deployment_is_named_as_theirs(
    built: Finished, settled: Callable[[], None], tmp_path: Path
) -> None:
    """Two people without a shared state file are two deployments: they meet, and neither loses anything."""
    ours = built.state["deployment"]
    with Deployment(built.sandbox_id, built.url, tmp_path / "ledger.json") as others:
        with pytest.raises(NotOurs, match="Lambda-Write-DynamoDB") as refused:
            others.build()
        assert ours in refused.value.means
        assert others.writes == []
    settled()


def test_what_somebody_put_in_the_place_of_ours_is_refused_too(built: Finished, settled: Callable[[], None]) -> None:
    """Recorded as ours, deleted, and made again by somebody else: the name alone does not make it ours."""
    aws = built.aws
    aws.sqs.delete_queue(QueueUrl=queue_url(aws))
    aws.sqs.create_queue(QueueName="POC-Queue", Attributes={"VisibilityTimeout": "77"})
    shown = queue_shown(aws, "POC-Queue")
    with pytest.raises(NotOurs, match="POC-Queue"):
        built.build()
    assert built.writes == []
    assert queue_shown(aws, "POC-Queue") == shown
    aws.sqs.delete_queue(QueueUrl=queue_url(aws))
    built.build()
    settled()


def test_a_trigger_with_another_function_is_found_though_its_id_is_not_seen_yet(
    built: Finished, settled: Callable[[], None]
) -> None:
    """The list shows it, and GetEventSourceMapping answers once from a place that does not know it."""
    uuid = trigger_of(built.aws)
    role = f"arn:aws:iam::{ACCOUNT}:role/SQS-Lambda-DynamoDB-Role"
    code = {"ZipFile": zip_of("theirs = True\n")}
    built.aws.lambda_.create_function(FunctionName="another", Runtime="python3.13", Role=role, Handler="a.b", Code=code)
    set_trigger(built.aws, FunctionName="another")
    with built.connected() as aws:
        refuse(aws, "lambda_", "GetEventSourceMapping", "ResourceNotFoundException", times=1)
        found = find_trigger(aws.lambda_, QUEUE_ARN, "POC-Lambda-1", uuid)
    assert found is not None and found["UUID"] == uuid
    built.build()
    built.aws.lambda_.delete_function(FunctionName="another")
    settled()
