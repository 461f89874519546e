"""`check` says of each attribute whether it is as the walkthrough asks, whoever made it, and changes nothing."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from provision import STEPS
from provision.aws.calls import Calls
from provision.aws.clients import Target
from provision.aws.connect import connect
from provision.check.mistakes import MISTAKES
from provision.check.verdicts import FAIL, PASS, UNCHECKED, Finding, Seen, check, check_step
from provision.settings import Settings
from provision.state.resources import PLACES
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.command_line import refuse
from tests.rig.deployment import ACCOUNT, REGION, Standing, Stranger, policy_arn, role_arn
from tests.rig.handmade import (
    Aws,
    allow,
    limit_as_terraform_does,
    made_as_terraform_does,
    made_with_aws,
    queue_attributes,
    trust,
)
from tests.rig.warm_aws import WarmAws


def looked(deployment: Standing, settings: Settings | None = None, seen: Seen | None = None) -> list[Finding]:
    """What check finds. Nothing is written, and nobody is asked for a tag."""
    aws = deployment.connect()
    findings = check(aws, settings or deployment.settings, seen=seen)
    assert all(call.is_read for call in aws.calls.history)
    assert not [call for call in aws.calls.history if "Tag" in call.operation]
    return findings


def not_passed(findings: Sequence[Finding]) -> dict[str, str]:
    return {f"{one.key} {one.attribute}": one.reason or one.outcome for one in findings if one.outcome != PASS}


@pytest.fixture(scope="module")
def account(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with Standing(sandbox.id, sandbox.url, tmp_path_factory.mktemp("empty") / "state.json") as made:
        yield made


@pytest.fixture(scope="module")
def aws(sandbox: Sandbox, warm_aws: WarmAws, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return Aws(sandbox.url, warm_aws.command, tmp_path_factory.mktemp("hand"))


HAND = Settings(learner="hand")


@pytest.fixture(scope="module")
def api_id(account: Standing, aws: Aws) -> str:
    """The walkthrough made by hand, once for all mistakes."""
    return made_as_terraform_does(account.aws, HAND, aws.folder)


@pytest.mark.parametrize("settings", [Settings(learner="suite"), Settings(learner="faithful", as_written=True)])
def test_what_the_suite_built_passes_and_nothing_is_changed(
    sandbox: Sandbox, tmp_path: Path, settings: Settings
) -> None:
    with Standing(sandbox.id, sandbox.url, tmp_path / "state.json", settings) as built:
        built.build()
        before, state = built.aws.inventory(str(settings.learner)), built.path.read_bytes()
        findings = looked(built)
        assert not_passed(findings) == {}
        assert len(findings) > 50
        assert (built.aws.inventory(str(settings.learner)), built.path.read_bytes()) == (before, state)


def test_what_is_made_with_the_aws_command_passes(account: Standing, aws: Aws) -> None:
    settings = Settings(learner="typed")
    made_with_aws(aws, settings)
    assert not_passed(looked(account, settings)) == {}


def test_what_is_made_as_terraform_does_passes(account: Standing, api_id: str) -> None:
    assert not_passed(looked(account, HAND)) == {}


def test_of_an_empty_account_nothing_passes_and_what_hangs_on_others_waits(account: Standing) -> None:
    findings = looked(account, Settings(learner="nobody"))
    words = Counter(one.outcome for one in findings)
    assert words == {FAIL: 10, UNCHECKED: 6}
    waiting = {one.key for one in findings if one.outcome == UNCHECKED}
    assert waiting == {
        *("function-role/write-policy", "function-role/read-policy", "api-role/logs-policy"),
        *("trigger", "permission", "stage"),
    }
    assert all("which is not there" in one.reason for one in findings if one.outcome == UNCHECKED)


def test_what_may_not_be_looked_at_could_not_be_checked(account: Standing, api_id: str, sandbox: Sandbox) -> None:
    with Standing(sandbox.id, sandbox.url, account.path) as denied:
        clients = denied.connect()
        for service, operation in (
            *(("iam", "GetRole"), ("iam", "GetPolicyVersion"), ("lambda_", "GetFunction")),
            *(("apigateway", "GetResources"), ("apigateway", "GetExport")),
        ):
            refuse(clients, service, operation, "AccessDenied")
        found = not_passed(check(clients, HAND))
    roles = (
        "function-role",
        "function-role/write-policy",
        "function-role/read-policy",
        "api-role",
        "api-role/logs-policy",
    )
    assert found == {
        **dict.fromkeys(
            ("write-policy all else", "read-policy all else"), "GetPolicyVersion was refused: AccessDenied"
        ),
        **{f"{key} exists": "GetRole was refused: AccessDenied" for key in roles},
        "function exists": "GetFunction was refused: AccessDenied",
        "api all else": "GetResources was refused: AccessDenied",
        "stage exists": "GetResources was refused: AccessDenied",
    }


def test_what_a_stage_serves_could_not_be_checked_without_an_export(
    account: Standing, api_id: str, sandbox: Sandbox
) -> None:
    with Standing(sandbox.id, sandbox.url, account.path) as denied:
        clients = denied.connect()
        refuse(clients, "apigateway", "GetExport", "AccessDenied")
        found = not_passed(check(clients, HAND))
    assert found == {"stage what it serves": "GetExport was refused: AccessDenied"}


def test_what_is_not_ready_yet_could_not_be_checked(account: Standing, api_id: str, sandbox: Sandbox) -> None:
    def creating(parsed: dict[str, Any], **event: Any) -> None:
        for mapping in parsed.get("EventSourceMappings", [parsed]):
            mapping["State"] = "Creating"

    with Standing(sandbox.id, sandbox.url, account.path) as early:
        clients = early.connect()
        for operation in ("ListEventSourceMappings", "GetEventSourceMapping"):
            clients.lambda_.meta.events.register(f"after-call.lambda.{operation}", creating)
        found = not_passed(check(clients, HAND))
    assert found == {"trigger all else": "not ready yet: the trigger to be enabled"}


def test_a_step_asked_again_makes_a_few_reads_only(account: Standing, api_id: str) -> None:
    seen = Seen()
    looked(account, HAND, seen)
    for step in STEPS:
        clients = account.connect()
        assert {one.outcome for one in check_step(clients, HAND, step, seen)} == {PASS}
        assert len(clients.calls.history) <= 12, [call.operation for call in clients.calls.history]
        assert not {"GetExport"} & {call.operation for call in clients.calls.history}


def test_of_two_apis_of_one_name_it_does_not_guess(account: Standing, api_id: str, aws: Aws) -> None:
    other = aws("apigateway", "create-rest-api", "--name", HAND.api)["id"]
    try:
        found = {(one.key, one.attribute): one for one in looked(account, HAND)}
        assert found["api", "exists"].mistake == "two-apis"
        assert sorted(found["api", "exists"].found) == sorted([api_id, other])
        assert "nothing tells which is meant" in found["stage", "exists"].reason
        assert not_passed(looked(account, HAND, Seen(api_id=api_id))) == {}  # where it is known, it is that one
    finally:
        aws("apigateway", "delete-rest-api", "--rest-api-id", other)


def test_in_another_region_the_policies_and_the_rest_tell_the_region(
    account: Standing, api_id: str, sandbox: Sandbox
) -> None:
    elsewhere = connect(Target(endpoint_url=sandbox.url, region="eu-central-1"), Calls(waiting=account.waiting))
    mistakes = {one.key: one.mistake for one in check(elsewhere, HAND) if one.mistake}
    assert mistakes["write-policy"] == "another-region-named"
    assert mistakes["table"] == "another-region"


@dataclass(frozen=True)
class Made:
    """What was made by hand, by AWS's ids: the API, its two resources, the trigger. `folder` is where one works."""

    api: str
    direct: str
    trigger: str
    folder: Path

    @property
    def method(self) -> tuple[str, ...]:
        return ("--rest-api-id", self.api, "--resource-id", self.direct, "--http-method", "POST")

    @property
    def route(self) -> dict[str, str]:
        return {"restApiId": self.api, "resourceId": self.direct, "httpMethod": "POST"}


@pytest.fixture(scope="module")
def made(account: Standing, api_id: str, aws: Aws) -> Made:
    resources = account.aws.apigateway.get_resources(restApiId=api_id)["items"]
    direct = next(one["id"] for one in resources if one["path"] == "/dynamodbmanager")
    mappings = account.aws.lambda_.list_event_source_mappings(FunctionName=HAND.function)["EventSourceMappings"]
    account.aws.iam.create_role(RoleName="console-made", AssumeRolePolicyDocument=trust("lambda.amazonaws.com"))
    for name, text in (("example", EXAMPLE), ("walkthrough", AS_WRITTEN.read_text(encoding="utf-8"))):
        with zipfile.ZipFile(aws.folder / f"{name}.zip", "w") as package:
            package.writestr("lambda_function.py", text)
    return Made(api_id, direct, mappings[0]["UUID"], aws.folder)


AS_WRITTEN = CHECKOUT / "provision" / "as_written_handler.py"
EXAMPLE = """
def lambda_handler(event, context):
    return {"statusCode": 200, "body": "Hello from Lambda!"}
"""
QUEUE = queue_attributes(HAND, path="/service-role/")
ROLE = role_arn(f"service-role/{HAND.function_role}")
URI = "arn:aws:apigateway:{}:lambda:path/2015-03-31/functions/arn:aws:lambda:{}:{}:function:{}/invocations"


@dataclass(frozen=True)
class Case:
    """A mistake: where it is seen, what a person types to make it, and how it is undone.

    A learner of its own is for what is made in the wrong way from the first.
    """

    name: str
    key: str
    make: Callable[[Aws, Made], Any]
    undo: Callable[[Stranger, Made], Any] = lambda account, made: None
    attribute: str = "exists"
    learner: str = "hand"

    def __str__(self) -> str:
        return self.name


def table(learner: str, key: str, kind: str, *mode: str) -> Callable[[Aws, Made], Any]:
    return lambda aws, made: aws(
        *("dynamodb", "create-table", "--table-name", f"name-{learner}"),
        *("--key-schema", f"AttributeName={key},KeyType=HASH"),
        *("--attribute-definitions", f"AttributeName={key},AttributeType={kind}"),
        *(mode or ("--billing-mode", "PAY_PER_REQUEST")),
    )


def queue(name: str, attribute: str, value: str) -> Case:
    def make(aws: Aws, made: Made) -> None:
        url = aws("sqs", "get-queue-url", "--queue-name", HAND.queue)["QueueUrl"]
        aws("sqs", "set-queue-attributes", "--queue-url", url, "--attributes", json.dumps({attribute: value}))

    def undo(account: Stranger, made: Made) -> None:
        url = account.sqs.get_queue_url(QueueName=HAND.queue)["QueueUrl"]
        account.sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: QUEUE[attribute]})

    return Case(name, "queue", make, undo, attribute)


def function(name: str, attribute: str, *words: str, **before: Any) -> Case:
    def make(aws: Aws, made: Made) -> None:
        aws("lambda", "update-function-configuration", "--function-name", HAND.function, *words)

    def undo(account: Stranger, made: Made) -> None:
        account.lambda_.update_function_configuration(FunctionName=HAND.function, **before)

    return Case(name, "function", make, undo, attribute)


def code(name: str, package: str) -> Case:
    def make(aws: Aws, made: Made) -> None:
        file = f"fileb://{made.folder / package}"
        aws("lambda", "update-function-code", "--function-name", HAND.function, "--zip-file", file)

    def undo(account: Stranger, made: Made) -> None:
        package = (made.folder / "code.zip").read_bytes()
        account.lambda_.update_function_code(FunctionName=HAND.function, ZipFile=package)

    return Case(name, "function", make, undo, "code")


def trigger(name: str, attribute: str, **change: Any) -> Case:
    def make(aws: Aws, made: Made) -> None:
        document = json.dumps({"UUID": made.trigger, **change})
        aws("lambda", "update-event-source-mapping", "--cli-input-json", document)

    def undo(account: Stranger, made: Made) -> None:
        reported = ["ReportBatchItemFailures"]
        account.lambda_.update_event_source_mapping(UUID=made.trigger, Enabled=True, FunctionResponseTypes=reported)

    return Case(name, "trigger", make, undo, attribute)


def trigger_elsewhere(aws: Aws, made: Made) -> None:
    code = f"fileb://{made.folder / 'code.zip'}"
    aws(
        *("lambda", "create-function", "--function-name", "POC-Lambda-2", "--runtime", "python3.13"),
        *("--role", ROLE, "--handler", "lambda_function.lambda_handler", "--zip-file", code),
    )
    aws("lambda", "update-event-source-mapping", "--uuid", made.trigger, "--function-name", "POC-Lambda-2")


def api_with(learner: str, path: str, verb: str = "POST") -> Callable[[Aws, Made], Any]:
    def make(aws: Aws, made: Made) -> None:
        regional = ("--endpoint-configuration", "types=REGIONAL")
        api = aws("apigateway", "create-rest-api", "--name", f"POC-API-{learner}", *regional)
        own = ("--rest-api-id", api["id"])
        part = ("--parent-id", api["rootResourceId"], "--path-part", path)
        resource = aws("apigateway", "create-resource", *own, *part)["id"]
        method = ("--resource-id", resource, "--http-method", verb, "--authorization-type", "NONE")
        aws("apigateway", "put-method", *own, *method)

    return make


def integration(name: str, attribute: str, path: str, value: str, before: str) -> Case:
    def make(aws: Aws, made: Made) -> None:
        change = json.dumps([{"op": "replace", "path": path, "value": value}])
        aws("apigateway", "update-integration", *made.method, "--patch-operations", change)

    def undo(account: Stranger, made: Made) -> None:
        change = {"op": "replace", "path": path, "value": before}
        account.apigateway.update_integration(**made.route, patchOperations=[change])

    key = "stage" if attribute == "what it serves" else "api"
    return Case(name, key, make, undo, attribute)


def proxied(aws: Aws, made: Made) -> None:
    uri = URI.format(REGION, REGION, ACCOUNT, HAND.function)
    kind = ("--type", "AWS_PROXY", "--integration-http-method", "POST", "--uri", uri)
    aws("apigateway", "put-integration", *made.method, *kind)


def not_proxied(account: Stranger, made: Made) -> None:
    uri = URI.format(REGION, REGION, ACCOUNT, HAND.function)
    account.apigateway.put_integration(**made.route, type="AWS", integrationHttpMethod="POST", uri=uri)
    account.apigateway.put_integration_response(**made.route, statusCode="200")


def edge(aws: Aws, made: Made) -> None:
    change = [{"op": "replace", "path": "/endpointConfiguration/types/REGIONAL", "value": "EDGE"}]
    aws("apigateway", "update-rest-api", "--rest-api-id", made.api, "--patch-operations", json.dumps(change))


def regional(account: Stranger, made: Made) -> None:
    change = {"op": "replace", "path": "/endpointConfiguration/types/EDGE", "value": "REGIONAL"}
    account.apigateway.update_rest_api(restApiId=made.api, patchOperations=[change])


def remove_permission(aws: Aws, made: Made) -> None:
    sid = aws("lambda", "get-policy", "--function-name", HAND.function)
    statement = json.loads(sid["Policy"])["Statement"][0]["Sid"]
    aws("lambda", "remove-permission", "--function-name", HAND.function, "--statement-id", statement)


def permit_another(aws: Aws, made: Made) -> None:
    """The API was made again: the statement names the first one."""
    remove_permission(aws, made)
    aws(
        *("lambda", "add-permission", "--function-name", HAND.function, "--action", "lambda:InvokeFunction"),
        *("--statement-id", "of-the-first", "--principal", "apigateway.amazonaws.com"),
        *("--source-arn", f"arn:aws:execute-api:{REGION}:{ACCOUNT}:gone123456/*/POST/dynamodbmanager"),
    )


def permit_again(account: Stranger, made: Made) -> None:
    for sid in ("of-the-first", "again"):
        try:
            account.lambda_.remove_permission(FunctionName=HAND.function, StatementId=sid)
        except account.lambda_.exceptions.ResourceNotFoundException:
            continue
    account.lambda_.add_permission(
        FunctionName=HAND.function,
        StatementId="again",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{made.api}/*/POST/dynamodbmanager",
    )


def no_stage(aws: Aws, made: Made) -> None:
    aws("apigateway", "delete-stage", "--rest-api-id", made.api, "--stage-name", "Staging")


def another_stage(aws: Aws, made: Made) -> None:
    no_stage(aws, made)
    aws("apigateway", "create-deployment", "--rest-api-id", made.api, "--stage-name", "staging")


def deploy(account: Stranger, made: Made) -> None:
    account.apigateway.create_deployment(restApiId=made.api, stageName="Staging")
    for stage in account.apigateway.get_stages(restApiId=made.api)["item"]:
        if stage["stageName"] != "Staging":
            account.apigateway.delete_stage(restApiId=made.api, stageName=stage["stageName"])
    limit_as_terraform_does(account, made.api)


def everything(aws: Aws, made: Made) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow("dynamodb:PutItem", on="*")]})
    own = ("--policy-arn", policy_arn(HAND.write_policy), "--policy-document", document)
    aws("iam", "create-policy-version", *own, "--set-as-default")


SWAPPED = (
    QUEUE["Policy"]
    .replace(HAND.api_role, "@")
    .replace(HAND.function_role, HAND.api_role)
    .replace("@", HAND.function_role)
)
ATTACHED = {"RoleName": HAND.function_role, "PolicyArn": policy_arn(HAND.read_policy)}

CASES = (
    Case(
        "policy-not-attached",
        "function-role/read-policy",
        lambda aws, made: aws(
            "iam", "detach-role-policy", "--role-name", HAND.function_role, "--policy-arn", policy_arn(HAND.read_policy)
        ),
        lambda account, made: account.iam.attach_role_policy(**ATTACHED),
    ),
    Case(
        "policy-for-everything",
        "write-policy",
        everything,
        lambda account, made: account.iam.set_default_policy_version(
            PolicyArn=policy_arn(HAND.write_policy), VersionId="v1"
        ),
        "document",
    ),
    Case(
        "trust-of-another-service",
        "api-role",
        lambda aws, made: aws(
            *("iam", "update-assume-role-policy", "--role-name", HAND.api_role),
            *("--policy-document", trust("lambda.amazonaws.com")),
        ),
        lambda account, made: account.iam.update_assume_role_policy(
            RoleName=HAND.api_role, PolicyDocument=trust("apigateway.amazonaws.com")
        ),
        "trust policy",
    ),
    Case("another-key", "table", table("key", "ID", "S"), attribute="key", learner="key"),
    Case("number-key", "table", table("number", "id", "N"), attribute="key attribute", learner="number"),
    Case(
        "provisioned-capacity",
        "table",
        table("paid", "id", "S", "--provisioned-throughput", "ReadCapacityUnits=5,WriteCapacityUnits=5"),
        attribute="billing mode",
        learner="paid",
    ),
    queue("queue-policy-roles", "Policy", SWAPPED),
    queue("queue-policy-missing", "Policy", ""),
    queue("visibility-too-short", "VisibilityTimeout", "30"),
    queue("no-dead-letters", "RedrivePolicy", ""),
    Case(
        "logs-for-ever",
        "log-group",
        lambda aws, made: aws("logs", "delete-retention-policy", "--log-group-name", HAND.log_group),
        lambda account, made: account.logs.put_retention_policy(logGroupName=HAND.log_group, retentionInDays=30),
        "retentionInDays",
    ),
    function("another-language", "Runtime", "--runtime", "nodejs22.x", Runtime="python3.13"),
    function("wrong-role", "Role", "--role", role_arn("console-made"), Role=ROLE),
    function("wrong-handler", "Handler", "--handler", "index.handler", Handler="lambda_function.lambda_handler"),
    function(
        "wrong-table",
        "Environment",
        *("--environment", '{"Variables": {"TABLE_NAME": "Name"}}'),
        Environment={"Variables": {"TABLE_NAME": HAND.table}},
    ),
    function("timeout-too-short", "Timeout", "--timeout", "3", Timeout=10),
    code("code-not-deployed", "example.zip"),
    code("code-without-messages", "walkthrough.zip"),
    Case(
        "trigger-elsewhere",
        "trigger",
        trigger_elsewhere,
        lambda account, made: account.lambda_.update_event_source_mapping(
            UUID=made.trigger, FunctionName=HAND.function
        ),
    ),
    trigger("trigger-disabled", "State", Enabled=False),
    trigger("failures-not-reported", "FunctionResponseTypes", FunctionResponseTypes=[]),
    Case("edge-endpoint", "api", edge, regional, "endpoint type"),
    Case(
        "wrong-case", "api", api_with("caps", "DynamoDBManager"), attribute="resource /dynamodbmanager", learner="caps"
    ),
    Case(
        "another-method",
        "api",
        api_with("verb", "dynamodbmanager", "GET"),
        attribute="POST /dynamodbmanager method",
        learner="verb",
    ),
    Case("proxy-integration", "api", proxied, not_proxied, "POST /dynamodbmanager integration type"),
    integration(
        "another-target",
        "POST /dynamodbmanager integration uri",
        "/uri",
        URI.format(REGION, REGION, ACCOUNT, "POC-Lambda-2"),
        URI.format(REGION, REGION, ACCOUNT, HAND.function),
    ),
    Case("permission-missing", "permission", remove_permission, permit_again),
    Case("permission-elsewhere", "permission", permit_another, permit_again, "Condition"),
    Case("another-stage", "stage", another_stage, deploy),
    Case("never-deployed", "stage", no_stage, deploy),
    integration("forgotten-deploy", "what it serves", "/timeoutInMillis", "20000", "29000"),
)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_usual_mistake_is_known_by_its_name(account: Standing, aws: Aws, made: Made, case: Case) -> None:
    settings = Settings(learner=case.learner)
    step = next(step for step in STEPS if step.name == PLACES[case.key].step)
    case.make(aws, made)
    try:
        found = {(one.key, one.attribute): one for one in check_step(account.connect(), settings, step)}
    finally:
        case.undo(account.aws, made)
    assert found[case.key, case.attribute].mistake == case.name, found[case.key, case.attribute]
    assert found[case.key, case.attribute].outcome == FAIL
    if case.learner == HAND.learner:
        failed = [one.attribute for one in found.values() if one.outcome == FAIL]
        assert failed == [case.attribute]  # and nothing else
        assert not_passed(check_step(account.connect(), settings, step)) == {}


def test_a_fifo_queue_in_place_of_a_standard_one_is_known(warm_aws: WarmAws, tmp_path: Path) -> None:
    """At plain moto: the sandbox has no FIFO queues."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        settings = Settings(learner="ordered")
        Aws(url, warm_aws.command, tmp_path)(
            *("sqs", "create-queue", "--queue-name", f"{settings.queue}.fifo", "--attributes", "FifoQueue=true")
        )
        clients = connect(Target(endpoint_url=url, region=REGION), Calls())
        step = next(step for step in STEPS if step.name == "queue")
        found = {one.key: one for one in check_step(clients, settings, step)}
    finally:
        server.stop()
    assert (found["queue"].mistake, found["queue"].found) == ("fifo-queue", f"{settings.queue}.fifo")
    assert found["dead-letter-queue"].mistake == ""


def test_every_mistake_of_the_table_is_made_here() -> None:
    elsewhere = {"fifo-queue", "two-apis", "another-region", "another-region-named"}  # in tests of their own
    assert {case.name for case in CASES} | elsewhere == {one.name for one in MISTAKES}
