"""Each step makes what the walkthrough's console page says, and its module can be read beside that page."""

from __future__ import annotations

import ast
import inspect
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision import STEPS, Step
from provision.api import find_api, list_apis
from provision.package import code_sha256, source, zipped
from provision.settings import Settings
from provision.state.entries import TAG, Resource
from provision.state.file import checksum
from sandbox import Sandbox
from teardown.verbs import VERBS
from tests.rig import CHECKOUT
from tests.rig.deployment import ACCOUNT, REGION, Deployment

HANDLER = CHECKOUT / "lambda_function.py"

# Where each step's resources stand in Stranger.inventory(), for comparing names.
NAMED = ("policies", "roles", "tables", "queues", "functions")


@pytest.fixture(scope="module")
def empty_account() -> Iterator[Sandbox]:
    """A sandbox for the whole module, made without anything of the user's AWS environment."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith(("AWS_", "BOTO_")):
                environment.delenv(name)
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        with Sandbox() as running:
            yield running


@pytest.fixture(scope="module")
def built(empty_account: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The default deployment, built once; the tests of this module only look at it."""
    path = tmp_path_factory.mktemp("default") / "ledger.json"
    with Deployment(empty_account.id, empty_account.url, path) as deployment:
        deployment.build()
        yield deployment


@pytest.fixture(scope="module")
def api_id(built: Deployment) -> str:
    apis = [api["id"] for api in built.aws.apigateway.get_rest_apis()["items"] if api["name"] == "POC-API"]
    assert len(apis) == 1
    return str(apis[0])


def arn(service: str, resource: str, region: str = REGION) -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def tags(listed: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in listed}


# Step 1: policies.


@pytest.mark.parametrize(
    ("name", "statements"),
    [
        (
            "Lambda-Write-DynamoDB",
            [
                {
                    "Sid": "VisualEditor0",
                    "Effect": "Allow",
                    "Action": [
                        "dynamodb:PutItem",
                        "dynamodb:GetItem",
                        "dynamodb:DeleteItem",
                        "dynamodb:Scan",
                        "dynamodb:DescribeTable",
                    ],
                    "Resource": arn("dynamodb", "table/name"),
                },
                {
                    "Sid": "VisualEditor1",
                    "Effect": "Allow",
                    "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                    "Resource": arn("logs", "log-group:/aws/lambda/POC-Lambda-1:*"),
                },
            ],
        ),
        (
            "Lambda-Read-SQS",
            [
                {
                    "Sid": "VisualEditor0",
                    "Effect": "Allow",
                    "Action": [
                        "sqs:DeleteMessage",
                        "sqs:ReceiveMessage",
                        "sqs:GetQueueAttributes",
                        "sqs:ChangeMessageVisibility",
                    ],
                    "Resource": arn("sqs", "POC-Queue"),
                }
            ],
        ),
    ],
)
def test_step_1_makes_each_policy_in_one_version_with_the_document_of_the_walkthrough_scoped_to_this_deployment(
    built: Deployment, name: str, statements: list[dict[str, Any]]
) -> None:
    iam, policy_arn = built.aws.iam, arn("iam", f"policy/{name}", region="")
    policy = iam.get_policy(PolicyArn=policy_arn)["Policy"]
    assert (policy["PolicyName"], policy["Path"]) == (name, "/")
    assert tags(iam.list_policy_tags(PolicyArn=policy_arn)["Tags"]) == {TAG: built.state["deployment"]}
    versions = iam.list_policy_versions(PolicyArn=policy_arn)["Versions"]
    assert [(version["VersionId"], version["IsDefaultVersion"]) for version in versions] == [("v1", True)]
    document = iam.get_policy_version(PolicyArn=policy_arn, VersionId="v1")["PolicyVersion"]["Document"]
    assert document == {"Version": "2012-10-17", "Statement": statements}


def test_step_1_makes_no_other_policies(built: Deployment) -> None:
    names = {policy["PolicyName"] for policy in built.aws.iam.list_policies(Scope="Local")["Policies"]}
    assert {name for name in names if not name.endswith("-alice")} == {"Lambda-Write-DynamoDB", "Lambda-Read-SQS"}


# Step 2: roles.


@pytest.mark.parametrize(
    ("name", "service", "attached"),
    [
        (
            "SQS-Lambda-DynamoDB-Role",
            "lambda.amazonaws.com",
            [
                arn("iam", "policy/Lambda-Read-SQS", region=""),
                arn("iam", "policy/Lambda-Write-DynamoDB", region=""),
            ],
        ),
        (
            "APIGateway-SQS",
            "apigateway.amazonaws.com",
            ["arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"],
        ),
    ],
)
def test_step_2_makes_each_role_as_the_console_does_for_an_aws_service(
    built: Deployment, name: str, service: str, attached: list[str]
) -> None:
    iam = built.aws.iam
    role = iam.get_role(RoleName=name)["Role"]
    assert role["AssumeRolePolicyDocument"] == {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }
    assert (role["Path"], role["MaxSessionDuration"]) == ("/", 3600)
    assert tags(iam.list_role_tags(RoleName=name)["Tags"]) == {TAG: built.state["deployment"]}
    listed = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert sorted(policy["PolicyArn"] for policy in listed) == attached
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == []


# Step 3: table.


def test_step_3_makes_the_table_on_demand_with_the_string_key_id(built: Deployment) -> None:
    table = built.aws.dynamodb.describe_table(TableName="name")["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert table["AttributeDefinitions"] == [{"AttributeName": "id", "AttributeType": "S"}]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table.get("GlobalSecondaryIndexes", []) == []
    assert not table["DeletionProtectionEnabled"]
    listed = built.aws.dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
    assert tags(listed) == {TAG: built.state["deployment"]}


# Step 4: queue.


def queue_attributes(built: Deployment, name: str) -> dict[str, str]:
    url = built.aws.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    assert built.aws.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {TAG: built.state["deployment"]}
    attributes: dict[str, str] = built.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return attributes


def test_step_4_gives_the_queue_the_three_statements_that_the_console_writes_and_one_against_plain_http(
    built: Deployment,
) -> None:
    queue = arn("sqs", "POC-Queue")
    assert json.loads(queue_attributes(built, "POC-Queue")["Policy"]) == {
        "Version": "2012-10-17",
        "Id": "__default_policy_ID",
        "Statement": [
            {
                "Sid": "__owner_statement",
                "Effect": "Allow",
                "Principal": {"AWS": arn("iam", "root", region="")},
                "Action": "SQS:*",
                "Resource": queue,
            },
            {
                "Sid": "__sender_statement",
                "Effect": "Allow",
                "Principal": {"AWS": [arn("iam", "role/APIGateway-SQS", region="")]},
                "Action": ["SQS:SendMessage"],
                "Resource": queue,
            },
            {
                "Sid": "__receiver_statement",
                "Effect": "Allow",
                "Principal": {"AWS": [arn("iam", "role/SQS-Lambda-DynamoDB-Role", region="")]},
                "Action": ["SQS:ChangeMessageVisibility", "SQS:DeleteMessage", "SQS:ReceiveMessage"],
                "Resource": queue,
            },
            {
                "Sid": "__tls_statement",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "SQS:*",
                "Resource": queue,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ],
    }


def test_step_4_makes_a_standard_queue_with_the_consoles_defaults(built: Deployment) -> None:
    attributes = queue_attributes(built, "POC-Queue")
    assert attributes["QueueArn"] == arn("sqs", "POC-Queue")
    assert attributes.get("FifoQueue") is None
    assert attributes["VisibilityTimeout"] == "60"
    assert attributes["DelaySeconds"] == "0"
    assert attributes["MessageRetentionPeriod"] == "345600"
    assert attributes["ReceiveMessageWaitTimeSeconds"] == "0"


def test_step_4_moves_a_message_to_the_dead_letter_queue_after_five_receives(built: Deployment) -> None:
    redrive = json.loads(queue_attributes(built, "POC-Queue")["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == arn("sqs", "POC-Queue-DLQ")
    assert int(redrive["maxReceiveCount"]) == 5


def test_the_dead_letter_queue_keeps_messages_longer_than_the_queue_itself(built: Deployment) -> None:
    dead_letters = queue_attributes(built, "POC-Queue-DLQ")
    assert dead_letters["MessageRetentionPeriod"] == str(14 * 24 * 3600)
    queue = queue_attributes(built, "POC-Queue")
    assert int(dead_letters["MessageRetentionPeriod"]) > int(queue["MessageRetentionPeriod"])


# Step 5: function and log group.


def test_step_5_configures_the_function_as_the_console_does(built: Deployment) -> None:
    answer = built.aws.lambda_.get_function(FunctionName="POC-Lambda-1")
    function = answer["Configuration"]
    assert function["State"] == "Active"
    assert function["Runtime"] == "python3.13"
    assert function["Role"] == arn("iam", "role/SQS-Lambda-DynamoDB-Role", region="")
    assert function["Handler"] == "lambda_function.lambda_handler"
    assert (function["Timeout"], function["MemorySize"]) == (10, 128)
    assert function["PackageType"] == "Zip"
    assert function["Architectures"] == ["x86_64"]
    assert function["Environment"]["Variables"] == {"TABLE_NAME": "name"}
    assert answer["Tags"] == {TAG: built.state["deployment"]}


def test_step_5_uploads_lambda_function_py_and_nothing_else(built: Deployment) -> None:
    uploaded = next(call.parameters["Code"]["ZipFile"] for call in built.calls if call.operation == "CreateFunction")
    with zipfile.ZipFile(io.BytesIO(uploaded)) as package:
        assert package.namelist() == ["lambda_function.py"]
        assert package.read("lambda_function.py") == HANDLER.read_bytes()
        mode = package.getinfo("lambda_function.py").external_attr >> 16
    assert mode == 0o644, "Lambda's sandbox user must be able to read it"
    function = built.aws.lambda_.get_function(FunctionName="POC-Lambda-1")["Configuration"]
    assert function["CodeSha256"] == code_sha256(uploaded)
    assert function["CodeSize"] == len(uploaded)


def test_the_package_has_the_same_bytes_each_time_and_others_when_the_source_differs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = zipped(source(Settings()))
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert zipped(source(Settings())) == first
    assert code_sha256(zipped(source(Settings()) + b"\n")) != code_sha256(first)


def test_step_5_makes_the_log_group_with_a_retention_before_lambda_can_make_one_without(built: Deployment) -> None:
    groups = built.aws.logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/POC-Lambda-1")["logGroups"]
    group = next(group for group in groups if group["logGroupName"] == "/aws/lambda/POC-Lambda-1")
    assert group["retentionInDays"] == 14
    tags = built.aws.logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))["tags"]
    assert tags == {TAG: built.state["deployment"]}
    made = [call.operation for call in built.calls if call.operation in ("CreateLogGroup", "CreateFunction")]
    assert made == ["CreateLogGroup", "CreateFunction"]


# Step 6: trigger.


def test_step_6_makes_one_enabled_trigger_of_ten_messages_that_reports_single_failures(built: Deployment) -> None:
    mappings = built.aws.lambda_.list_event_source_mappings(FunctionName="POC-Lambda-1")["EventSourceMappings"]
    assert len(mappings) == 1
    mapping = mappings[0]
    assert mapping["EventSourceArn"] == arn("sqs", "POC-Queue")
    assert mapping["FunctionArn"] == arn("lambda", "function:POC-Lambda-1")
    assert mapping["State"] == "Enabled"
    assert mapping["BatchSize"] == 10
    assert mapping["MaximumBatchingWindowInSeconds"] == 0
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    tags = built.aws.lambda_.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"]
    assert tags == {TAG: built.state["deployment"]}


# Step 7: API.


def method_of(built: Deployment, api_id: str, path: str) -> dict[str, Any]:
    resources = built.aws.apigateway.get_resources(restApiId=api_id)["items"]
    resource = next(resource for resource in resources if resource["path"] == path)
    answer: dict[str, Any] = built.aws.apigateway.get_method(
        restApiId=api_id, resourceId=resource["id"], httpMethod="POST"
    )
    return answer


def test_step_7_makes_a_regional_api_with_post_on_two_paths_and_nothing_else(built: Deployment, api_id: str) -> None:
    api = built.aws.apigateway.get_rest_api(restApiId=api_id)
    assert api["endpointConfiguration"]["types"] == ["REGIONAL"]
    assert api["tags"] == {TAG: built.state["deployment"]}
    resources = built.aws.apigateway.get_resources(restApiId=api_id)["items"]
    assert {resource["path"]: list(resource.get("resourceMethods", {})) for resource in resources} == {
        "/": [],
        "/dynamodbmanager": ["POST"],
        "/dynamodbmanager/queue": ["POST"],
    }


@pytest.mark.parametrize("path", ["/dynamodbmanager", "/dynamodbmanager/queue"])
def test_step_7_asks_nobody_for_a_key_or_a_signature(built: Deployment, api_id: str, path: str) -> None:
    method = method_of(built, api_id, path)
    assert method["authorizationType"] == "NONE"
    assert method["apiKeyRequired"] is False


def test_step_7_integrates_the_function_without_proxy_as_the_console_does(built: Deployment, api_id: str) -> None:
    method = method_of(built, api_id, "/dynamodbmanager")
    integration = method["methodIntegration"]
    assert integration["type"] == "AWS"
    assert integration["httpMethod"] == "POST"
    assert integration["uri"] == (
        "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
        "arn:aws:lambda:us-east-1:123456789012:function:POC-Lambda-1/invocations"
    )
    assert integration["passthroughBehavior"] == "WHEN_NO_MATCH"
    assert integration["contentHandling"] == "CONVERT_TO_TEXT"
    assert integration["timeoutInMillis"] == 29_000
    assert "credentials" not in integration
    assert not integration.get("requestTemplates")
    assert method["methodResponses"] == {"200": {"statusCode": "200", "responseModels": {"application/json": "Empty"}}}
    responses = integration["integrationResponses"]
    assert list(responses) == ["200"]
    assert not responses["200"].get("selectionPattern")


def test_step_7_lets_api_gateway_send_to_the_queue_with_the_role_made_for_it(built: Deployment, api_id: str) -> None:
    integration = method_of(built, api_id, "/dynamodbmanager/queue")["methodIntegration"]
    send = "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"
    assert integration["type"] == "AWS"
    assert integration["httpMethod"] == "POST"
    assert integration["uri"] == "arn:aws:apigateway:us-east-1:sqs:path/123456789012/POC-Queue"
    assert integration["credentials"] == arn("iam", "role/APIGateway-SQS", region="")
    assert integration["passthroughBehavior"] == "NEVER"
    assert integration["requestParameters"] == {
        "integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"
    }
    assert integration["requestTemplates"] == {"application/json": send, "application/x-www-form-urlencoded": send}


def test_step_7_gives_the_errors_of_sqs_a_status_of_their_own(built: Deployment, api_id: str) -> None:
    method = method_of(built, api_id, "/dynamodbmanager/queue")
    assert sorted(method["methodResponses"]) == ["200", "400", "500"]
    responses = method["methodIntegration"]["integrationResponses"]
    assert {status: response.get("selectionPattern") for status, response in responses.items()} == {
        "200": None,
        "400": "4\\d{2}",
        "500": "5\\d{2}",
    }


def test_step_7_permits_this_api_this_method_and_this_path_to_invoke_the_function(
    built: Deployment, api_id: str
) -> None:
    policy = json.loads(built.aws.lambda_.get_policy(FunctionName="POC-Lambda-1")["Policy"])
    assert policy["Statement"] == [
        {
            "Sid": "POC-API-invoke",
            "Effect": "Allow",
            "Principal": {"Service": "apigateway.amazonaws.com"},
            "Action": "lambda:InvokeFunction",
            "Resource": arn("lambda", "function:POC-Lambda-1"),
            "Condition": {"ArnLike": {"AWS:SourceArn": arn("execute-api", f"{api_id}/*/POST/dynamodbmanager")}},
        }
    ]


# Step 8: stage.


def test_step_8_points_one_stage_at_one_deployment_that_carries_the_digest_of_what_it_serves(
    built: Deployment, api_id: str
) -> None:
    stages = built.aws.apigateway.get_stages(restApiId=api_id)["item"]
    assert [stage["stageName"] for stage in stages] == ["Staging"]
    deployments = built.aws.apigateway.get_deployments(restApiId=api_id)["items"]
    assert [deployment["id"] for deployment in deployments] == [stages[0]["deploymentId"]]
    assert re.fullmatch(r"definition [0-9a-f]{12}", deployments[0]["description"])


def test_step_8_notes_the_invoke_url_of_the_walkthrough(built: Deployment, api_id: str) -> None:
    path = f"/restapis/{api_id}/Staging/_user_request_/dynamodbmanager"
    assert built.outputs("stage")["url"] == built.url + path


# What the steps have in common.


def test_everything_that_can_carry_a_tag_carries_it_from_its_creating_call_on(built: Deployment) -> None:
    creating = {
        "CreatePolicy": 2,
        "CreateRole": 2,
        "CreateTable": 1,
        "CreateQueue": 2,
        "CreateLogGroup": 1,
        "CreateFunction": 1,
        "CreateEventSourceMapping": 1,
        "CreateRestApi": 1,
    }
    tag = built.state["deployment"]
    for operation, times in creating.items():
        calls = [call.parameters for call in built.calls if call.operation == operation]
        assert len(calls) == times, operation
        for parameters in calls:
            given = parameters.get("Tags", parameters.get("tags"))
            assert given in ({TAG: tag}, [{"Key": TAG, "Value": tag}]), operation


def test_the_state_file_has_the_steps_in_the_order_of_the_walkthrough(built: Deployment) -> None:
    order = [entry["step"] for entry in built.state["resources"]]
    assert list(dict.fromkeys(order)) == [step.name for step in STEPS]
    assert order == sorted(order, key=list(dict.fromkeys(order)).index), "no step comes back later"


def test_the_log_group_is_promised_first_of_the_functions_resources(built: Deployment) -> None:
    keys = [entry["key"] for entry in built.state["resources"] if entry["step"] == "function"]
    assert keys == ["log-group", "function"]


def test_every_entrys_identity_suffices_to_find_the_resource(built: Deployment) -> None:
    aws = built.connect()
    state = built.open(aws)
    try:
        assert len(state.resources) == 16
        for entry in state.resources:
            bare = Resource(entry.key, entry.kind, entry.step, entry.identity)
            assert VERBS[entry.kind].find(aws, state, bare) is not None, entry.key
    finally:
        state.close()


def test_an_identity_of_something_else_finds_nothing(built: Deployment) -> None:
    """The counterpart of the test above: a find that ignored the identity would pass that one."""
    aws = built.connect()
    state = built.open(aws)
    try:
        assert find_api(list_apis(aws.apigateway), "POC-API", "poc-00000000", None) is None, "another tag"
        assert find_api(list_apis(aws.apigateway), "POC-API-elsewhere", state.deployment, None) is None
        for entry in state.resources:
            if entry.kind == "apigateway:rest-api":
                continue  # teardown finds it by its tag, under whatever name
            if entry.kind == "apigateway:stage":
                other = {**entry.identity, "stageName": "Nowhere"}
            else:
                other = {name: f"{value}-elsewhere" for name, value in entry.identity.items()}
            bare = Resource(entry.key, entry.kind, entry.step, other)
            assert VERBS[entry.kind].find(aws, state, bare) is None, entry.key
    finally:
        state.close()


def test_teardown_needs_no_output_of_any_step(empty_account: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    with Deployment(empty_account.id, empty_account.url, path, Settings(learner="bare")) as deployment:
        before = deployment.aws.inventory()
        deployment.build()
        content = deployment.state
        for entry in content["resources"]:
            entry["outputs"] = {}
        content["checksum"] = checksum(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        assert deployment.tear_down() == []
        assert deployment.aws.inventory() == before


# A learner's suffix.


def names_in(inventory: dict[str, Any]) -> set[str]:
    """Every name that the account shares."""
    names = {name for kind in NAMED for name in inventory[kind]}
    names.update(inventory["log groups"])
    names.update(api["name"] for api in inventory["apis"])
    names.update(arn.rpartition(":")[2] for trigger in inventory["triggers"] for arn in trigger[:2])
    return names


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from strings_in(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from strings_in(member)
    elif isinstance(value, str):
        yield value


@pytest.fixture(scope="module")
def alices(built: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A learner's deployment beside the default one."""
    path = tmp_path_factory.mktemp("alice") / "ledger.json"
    with Deployment(built.sandbox_id, built.url, path, Settings(learner="alice")) as deployment:
        deployment.build()
        yield deployment
        assert deployment.tear_down() == []


def test_with_a_learner_every_name_that_the_account_shares_carries_the_suffix(alices: Deployment) -> None:
    names = names_in(alices.aws.inventory())
    hers = {name for name in names if name.endswith("-alice")}
    assert hers == {f"{name}-alice" for name in names - hers}
    assert len(hers) == 10


def test_with_a_learner_no_document_names_anything_of_the_others(alices: Deployment) -> None:
    inventory = alices.aws.inventory()
    hers: list[Any] = [inventory[kind][name] for kind in NAMED for name in inventory[kind] if "alice" in name]
    api = next(api["id"] for api in alices.aws.apigateway.get_rest_apis()["items"] if "alice" in api["name"])
    hers += [method_of(alices, api, path) for path in ("/dynamodbmanager", "/dynamodbmanager/queue")]
    arns = [text for text in strings_in(hers) if ACCOUNT in text and not text.endswith(":root")]
    assert len(arns) >= 9
    assert [text for text in arns if not re.search(r"-alice(:\*|/invocations|/\*/POST/dynamodbmanager)?$", text)] == []
    assert inventory["functions"]["POC-Lambda-1-alice"]["environment"] == {"TABLE_NAME": "name-alice"}


# The modules themselves.


def test_the_steps_are_numbered_in_order_and_named_like_nothing_in_the_standard_library() -> None:
    assert [step.number for step in STEPS] == list(range(1, 9))
    for step in STEPS:
        assert step.module.rpartition(".")[2] not in sys.stdlib_module_names


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_needs_earlier_steps_only(step: Step) -> None:
    earlier = {other.name for other in STEPS if other.number < step.number}
    assert set(step.load().NEEDS) <= earlier


def keys_by_step() -> dict[str, set[str]]:
    """The keys of the entries that each step makes, as the tests above have seen them in a real state file."""
    return {
        "policies": {"write-policy", "read-policy"},
        "roles": {"function-role", "api-role"},
        "table": {"table"},
        "queue": {"queue", "dead-letter-queue"},
        "function": {"function", "log-group"},
        "trigger": {"trigger"},
        "api": {"api", "permission"},
        "stage": {"stage"},
    }


def needs_unsaid(tree: ast.Module, own: str, needs: tuple[str, ...]) -> set[str]:
    """Steps whose entries a module asks the state file for, by key, without naming them in NEEDS."""
    asked = {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("outputs", "identity")
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }
    used = {step for step, keys in keys_by_step().items() if keys & asked}
    return used - {own} - set(needs)


def test_the_keys_of_the_state_file_are_those_that_this_module_thinks(built: Deployment) -> None:
    keys: dict[str, set[str]] = {step.name: set() for step in STEPS}
    for entry in built.state["resources"]:
        if entry["kind"] != "iam:role-policy-attachment":
            keys[entry["step"]].add(entry["key"])
    assert keys == keys_by_step()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_says_which_steps_it_needs(step: Step) -> None:
    module = step.load()
    assert needs_unsaid(ast.parse(inspect.getsource(module)), step.name, module.NEEDS) == set()


def test_a_need_that_is_not_said_is_noticed() -> None:
    tree = ast.parse('arn = state.outputs("queue")["arn"]')
    assert needs_unsaid(tree, "trigger", ("function",)) == {"queue"}
    assert needs_unsaid(tree, "trigger", ("queue",)) == set()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_names_its_lesson_with_the_console_page_and_where_aws_describes_it(step: Step) -> None:
    told = inspect.getdoc(step.load()) or ""
    assert told.startswith(f"Step {step.number}: ")
    assert "https://docs.aws.amazon.com/" in told
    page = re.search(r"The lesson: (lessons/\w+\.md)$", told, re.MULTILINE)
    assert page is not None
    lesson = (CHECKOUT / page[1]).read_text()
    assert re.search(r"^.+ > .+", lesson.partition("## In the console")[2].partition("\n## ")[0], re.MULTILINE)


def not_of_a_step(tree: ast.Module) -> list[str]:
    """What has no place in a step: printing, sleeping, and calls whose arguments cannot be read where they stand."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found += [
                f"line {node.lineno}: imports {name}"
                for name in modules & {"time", "rich", "provision.terminal.screen"}
            ]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in ("print", "input") or called.rpartition(".")[2] in ("sleep", "getattr"):
            found.append(f"line {node.lineno}: {called}")
        if any(keyword.arg is None for keyword in node.keywords):
            found.append(f"line {node.lineno}: {called}(**...)")
    return found


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_no_step_prints_sleeps_or_hides_the_arguments_of_a_call(step: Step) -> None:
    assert not_of_a_step(ast.parse(inspect.getsource(step.load()))) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("print('made')", "print"),
        ("time.sleep(10)", "time.sleep"),
        ("aws.waiting.sleep(1)", "aws.waiting.sleep"),
        ("import time", "imports time"),
        ("from time import sleep", "imports time"),
        ("from provision.terminal.screen import Screen", "imports provision.terminal.screen"),
        ("aws.sqs.create_queue(**arguments)", "aws.sqs.create_queue(**...)"),
        ("aws.sqs.create_queue(QueueName=name, **({'tags': tags} if tags else {}))", "aws.sqs.create_queue(**...)"),
        ("getattr(aws, kind)(QueueName=name)", "getattr"),
    ],
)
def test_a_step_that_printed_slept_or_hid_arguments_would_be_noticed(line: str, found: str) -> None:
    assert not_of_a_step(ast.parse(line)) == [f"line 1: {found}"]


WRITE = re.compile(r"aws\.(?!waiting|listener)\w+\.(?!get_|list_|describe_)\w+")


def crowded_writes(tree: ast.Module) -> list[str]:
    """Writing calls with two or more arguments that do not stand one a line, to be read beside the console page."""
    crowded = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and WRITE.fullmatch(ast.unparse(node.func)):
            lines = [keyword.value.lineno for keyword in node.keywords]
            if len(set(lines)) < len(lines):
                crowded.append(f"line {node.lineno}: {ast.unparse(node.func)}")
    return crowded


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_writing_call_of_a_step_has_its_arguments_one_a_line(step: Step) -> None:
    assert crowded_writes(ast.parse(inspect.getsource(step.load()))) == []


def test_crowded_arguments_would_be_noticed() -> None:
    assert crowded_writes(ast.parse("aws.sqs.create_queue(QueueName=name, Attributes=attributes)")) == [
        "line 1: aws.sqs.create_queue"
    ]
