"""What is somebody else's: hung on our resources, bearing our names, or named by a state file that lies.

Nobody's but this deployment's resources are changed, and theirs go on working.
"""

from __future__ import annotations

import io
import json
import secrets
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision import STEPS
from provision.aws.clients import Clients
from provision.cli.runner import run_step
from provision.settings import Settings
from provision.state.entries import TAG
from provision.state.state import State
from sandbox import Sandbox
from tests.rig.clock import eventually
from tests.rig.deployment import ACCOUNT, Deployment, Stranger, policy_arn, role_arn

pytestmark = pytest.mark.usefixtures("one_look")

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]})


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    settings = Settings(learner=f"s{secrets.token_hex(3)}")
    with Deployment(sandbox.id, sandbox.url, tmp_path / "ledger.json", settings) as made:
        yield made


def make_role(aws: Stranger, name: str) -> None:
    aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    aws.iam.put_role_policy(RoleName=name, PolicyName="queues", PolicyDocument=ANYTHING)


def delete_role(aws: Stranger, name: str) -> None:
    aws.iam.delete_role_policy(RoleName=name, PolicyName="queues")
    aws.iam.delete_role(RoleName=name)


def make_function(aws: Stranger, name: str, role: str) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("theirs.py", "def handle(event, context): return event")
    aws.lambda_.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role_arn(role),
        Handler="theirs.handle",
        Code={"ZipFile": code.getvalue()},
    )


def refusal(code: str = "AccessDeniedException") -> Any:
    return (
        SimpleNamespace(status_code=400, headers={}, content=b""),
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}},
    )


def refuse(aws: Clients, service: str, operation: str) -> None:
    """AWS refuses this operation to this deployment from now on."""
    client = getattr(aws, service)
    event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register_last(event, lambda **event: refusal())


def build_only(deployment: Deployment, *names: str) -> None:
    """Some of the steps, where the others would only take time."""
    aws = deployment.connect()
    state = deployment.open(aws)
    for step in STEPS:
        if step.name in names:
            run_step(step, aws, deployment.settings, state)
    state.close()


def left(deployment: Deployment) -> dict[str, str]:
    """Take it down; by key, what is left and why."""
    return {one.resource.key: one.why for one in deployment.tear_down()}


def naming_dead(seen: Any, *roles: dict[str, Any]) -> Any:
    """What was seen, once these roles are gone: an access policy names the dead by their ids."""
    text = json.dumps(seen)
    for role in roles:
        text = text.replace(role["arn"], role["id"])
    return json.loads(text)


def tags(deployment: Deployment) -> dict[str, str]:
    return {TAG: deployment.state["deployment"]}


def recorded(deployment: Deployment) -> list[str]:
    return [entry["key"] for entry in deployment.state["resources"] if entry["status"] != "deleted"]


# What others hung on our resources.


def test_a_policy_that_others_carry_stays_with_all_its_versions_until_they_have_let_go(deployment: Deployment) -> None:
    aws, policy = deployment.aws, deployment.settings.write_policy
    aws.iam.create_user(UserName="their-user")
    aws.iam.create_group(GroupName="their-group")
    make_role(aws, "their-role")
    before = aws.inventory()
    build_only(deployment, "policies")
    aws.iam.create_policy_version(PolicyArn=policy_arn(policy), PolicyDocument=ANYTHING, SetAsDefault=False)
    aws.iam.attach_role_policy(RoleName="their-role", PolicyArn=policy_arn(policy))
    aws.iam.attach_user_policy(UserName="their-user", PolicyArn=policy_arn(policy))
    aws.iam.attach_group_policy(GroupName="their-group", PolicyArn=policy_arn(policy))
    as_others_see_it = aws.inventory()

    assert left(deployment) == {
        "write-policy": "others depend on it: role their-role, user their-user, group their-group"
    }
    assert recorded(deployment) == ["write-policy"]
    now = aws.inventory()
    assert now["policies"] == {**before["policies"], policy: as_others_see_it["policies"][policy]}
    assert now["roles"]["their-role"] == as_others_see_it["roles"]["their-role"]
    for listed in (
        aws.iam.list_attached_user_policies(UserName="their-user"),
        aws.iam.list_attached_group_policies(GroupName="their-group"),
    ):
        assert [attached["PolicyName"] for attached in listed["AttachedPolicies"]] == [policy]

    aws.iam.detach_role_policy(RoleName="their-role", PolicyArn=policy_arn(policy))
    aws.iam.detach_user_policy(UserName="their-user", PolicyArn=policy_arn(policy))
    aws.iam.detach_group_policy(GroupName="their-group", PolicyArn=policy_arn(policy))
    assert left(deployment) == {}
    assert aws.inventory() == before
    assert deployment.state["resources"] == []
    aws.iam.delete_user(UserName="their-user")
    aws.iam.delete_group(GroupName="their-group")
    delete_role(aws, "their-role")


def test_a_role_that_others_use_stays_as_it_is_with_our_policies_on_it(deployment: Deployment) -> None:
    aws, role = deployment.aws, deployment.settings.function_role
    aws.iam.create_policy(PolicyName="their-policy", PolicyDocument=ANYTHING)
    aws.iam.create_instance_profile(InstanceProfileName="their-profile")
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "table")
    aws.iam.attach_role_policy(RoleName=role, PolicyArn=policy_arn("their-policy"))
    aws.iam.put_role_policy(RoleName=role, PolicyName="their-inline", PolicyDocument=ANYTHING)
    aws.iam.add_role_to_instance_profile(InstanceProfileName="their-profile", RoleName=role)
    as_others_see_it = aws.inventory()

    why = left(deployment)
    assert why.pop("function-role") == (
        "others depend on it: policy their-policy, inline policy their-inline, instance profile their-profile"
    )
    assert why == dict.fromkeys(
        ["function-role/write-policy", "function-role/read-policy", "write-policy", "read-policy"],
        f"{role} stays and needs it",
    )
    now = aws.inventory()
    assert now["roles"] == {**before["roles"], role: as_others_see_it["roles"][role]}
    assert now["policies"].keys() - before["policies"].keys() == {
        deployment.settings.write_policy,
        deployment.settings.read_policy,
    }
    assert now["tables"] == before["tables"]

    aws.iam.detach_role_policy(RoleName=role, PolicyArn=policy_arn("their-policy"))
    aws.iam.delete_role_policy(RoleName=role, PolicyName="their-inline")
    aws.iam.remove_role_from_instance_profile(InstanceProfileName="their-profile", RoleName=role)
    assert left(deployment) == {}
    assert aws.inventory() == before
    aws.iam.delete_policy(PolicyArn=policy_arn("their-policy"))
    aws.iam.delete_instance_profile(InstanceProfileName="their-profile")


def test_our_policy_that_somebody_put_on_our_other_role_keeps_both(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    build_only(deployment, "policies", "roles")
    aws.iam.attach_role_policy(RoleName=settings.api_role, PolicyArn=policy_arn(settings.write_policy))
    why = left(deployment)
    assert why["api-role"] == f"others depend on it: policy {settings.write_policy}"
    assert why["write-policy"] == f"others depend on it: role {settings.api_role}"
    assert set(recorded(deployment)) == {"api-role", "api-role/logs-policy", "write-policy"}

    aws.iam.detach_role_policy(RoleName=settings.api_role, PolicyArn=policy_arn(settings.write_policy))
    assert left(deployment) == {}
    assert aws.inventory() == before


def test_a_queue_with_their_trigger_stays_with_its_dead_letter_queue_and_still_feeds_them(
    deployment: Deployment,
) -> None:
    aws, settings = deployment.aws, deployment.settings
    make_role(aws, "their-role")
    make_function(aws, "their-function", "their-role")
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "queue")
    queue = deployment.outputs("queue")
    trigger = aws.lambda_.create_event_source_mapping(EventSourceArn=queue["arn"], FunctionName="their-function")
    as_others_see_it = aws.inventory()

    ours = [deployment.outputs(key) for key in ("function-role", "api-role")]
    why = left(deployment)
    assert why == {
        "queue": f"others depend on it: trigger {trigger['UUID']}",
        "dead-letter-queue": f"{settings.queue} stays and needs it",
    }
    now = aws.inventory()
    assert now["queues"] == naming_dead(as_others_see_it["queues"], *ours)
    assert [one for one in now["triggers"] if one[0] == queue["arn"]] == [
        one for one in as_others_see_it["triggers"] if one[0] == queue["arn"] and "their-function" in one[1]
    ]
    assert {**now, "queues": {}, "triggers": []} == {**before, "queues": {}, "triggers": []}

    aws.lambda_.delete_event_source_mapping(UUID=trigger["UUID"])
    assert left(deployment) == {}
    assert aws.inventory() == before
    aws.lambda_.delete_function(FunctionName="their-function")
    delete_role(aws, "their-role")


def test_a_function_that_others_invoke_stays_and_still_works(deployment: Deployment) -> None:
    """Whoever hangs on the function needs what it needs: the role, its policies, the table and the log group."""
    aws, settings = deployment.aws, deployment.settings
    their_queue = aws.sqs.create_queue(QueueName=f"their-queue-{settings.learner}")["QueueUrl"]
    their_arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:their-queue-{settings.learner}"
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "table", "function")
    aws.iam.put_role_policy(RoleName=settings.function_role, PolicyName="queues", PolicyDocument=ANYTHING)
    trigger = aws.lambda_.create_event_source_mapping(EventSourceArn=their_arn, FunctionName=settings.function)
    aws.lambda_.add_permission(
        FunctionName=settings.function,
        StatementId="their-bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::their-bucket",
    )

    why = left(deployment)
    assert why["function"] == (
        f"others depend on it: trigger {trigger['UUID']}, permission their-bucket of s3.amazonaws.com"
    )
    assert set(recorded(deployment)) == {
        "function", "log-group", "table", "function-role", "function-role/write-policy", "function-role/read-policy",
        "write-policy", "read-policy",
    }  # fmt: skip
    event = {"operation": "create", "tableName": settings.table, "payload": {"Item": {"id": "1", "name": "Bob"}}}
    answer = aws.lambda_.invoke(FunctionName=settings.function, Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()
    assert aws.dynamodb.scan(TableName=settings.table)["Count"] == 1

    aws.lambda_.delete_event_source_mapping(UUID=trigger["UUID"])
    aws.iam.delete_role_policy(RoleName=settings.function_role, PolicyName="queues")
    assert "permission their-bucket" in left(deployment)["function"]
    aws.lambda_.remove_permission(FunctionName=settings.function, StatementId="their-bucket")
    assert left(deployment) == {}
    assert aws.inventory() == before
    aws.sqs.delete_queue(QueueUrl=their_queue)


@pytest.mark.slow
def test_an_api_of_theirs_that_invokes_our_function_keeps_it_and_one_that_is_ours_or_gone_does_not(
    deployment: Deployment,
) -> None:
    """The console adds a permission under a name of its own for whoever saves our integration there once more."""
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    theirs = aws.apigateway.create_rest_api(name="their-api")["id"]
    build_only(deployment, "policies", "roles", "table", "queue", "function", "api")
    apis = {"their-api": theirs, "console": deployment.outputs("api")["id"], "dead": "gone123456"}
    for statement, api_id in apis.items():
        aws.lambda_.add_permission(
            FunctionName=settings.function,
            StatementId=statement,
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api_id}/*/POST/dynamodbmanager",
        )
    assert left(deployment)["function"] == "others depend on it: permission their-api of apigateway.amazonaws.com"
    aws.apigateway.delete_rest_api(restApiId=theirs)
    assert left(deployment) == {}
    assert aws.inventory() == before


@pytest.mark.slow
def test_an_api_with_their_stage_stays_and_both_its_routes_still_answer(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    deployment.build()
    api_id = deployment.outputs("api")["id"]
    aws.apigateway.create_deployment(restApiId=api_id, stageName="theirs")

    why = left(deployment)
    assert why.pop("api") == "others depend on it: stage theirs"
    assert set(why.values()) == {f"{settings.api} stays and needs it", *why.values()}
    assert set(recorded(deployment)) == {entry["key"] for entry in deployment.state["resources"]}
    assert "stage" not in recorded(deployment)
    event = {"operation": "create", "tableName": settings.table, "payload": {"Item": {"id": "1", "name": "Bob"}}}
    for path in ("dynamodbmanager", "dynamodbmanager/queue"):
        url = f"{deployment.url}/restapis/{api_id}/theirs/_user_request_/{path}"
        request = urllib.request.Request(
            url, json.dumps(event).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            body = answer.read().decode()
        assert "errorMessage" not in body
    assert aws.dynamodb.scan(TableName=settings.table)["Count"] == 1

    aws.apigateway.delete_stage(restApiId=api_id, stageName="theirs")
    assert left(deployment) == {}
    assert aws.inventory() == before


@pytest.mark.slow
def test_who_comes_while_we_tear_down_finds_the_resource_and_what_it_still_needs(deployment: Deployment) -> None:
    aws = deployment.aws
    make_role(aws, "their-role")
    make_function(aws, "their-function", "their-role")
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue", "function")
    queue_arn = deployment.outputs("queue")["arn"]
    made: list[str] = []

    def come(**event: Any) -> None:
        if not made:
            mapping = aws.lambda_.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName="their-function")
            made.append(mapping["UUID"])

    deployment.prepare = lambda clients, state: clients.lambda_.meta.events.register_last(
        "before-call.lambda.DeleteFunction", come
    )
    assert list(left(deployment)) == ["queue", "dead-letter-queue"]

    aws.lambda_.delete_event_source_mapping(UUID=made[0])
    assert left(deployment) == {}
    assert aws.inventory() == before
    aws.lambda_.delete_function(FunctionName="their-function")
    delete_role(aws, "their-role")


def test_a_trigger_on_the_tables_stream_keeps_the_table(deployment: Deployment) -> None:
    """The sandbox has no streams, so what DynamoDB and Lambda would answer is put in here."""
    aws, settings = deployment.aws, deployment.settings
    build_only(deployment, "table")
    asked_for: list[str] = []

    def answer(params: dict[str, Any], **event: Any) -> Any:
        if ":dynamodb:" in params["url"].replace("%3A", ":"):
            asked_for.append(params["url"])
            mapping = {"UUID": "theirs", "State": "Enabled", "EventSourceMappingArn": "arn:theirs"}
            return SimpleNamespace(status_code=200, headers={}, content=b"{}"), {"EventSourceMappings": [mapping]}
        return None

    def no_tags(**event: Any) -> Any:
        return SimpleNamespace(status_code=200, headers={}, content=b"{}"), {"Tags": {}}

    def with_stream(parsed: dict[str, Any], **event: Any) -> None:
        parsed["Table"]["LatestStreamArn"] = f"{parsed['Table']['TableArn']}/stream/2026-01-01T00:00:00.000"

    def prepare(clients: Clients, state: State) -> None:
        clients.dynamodb.meta.events.register_last("after-call.dynamodb.DescribeTable", with_stream)
        clients.lambda_.meta.events.register_last("before-call.lambda.ListEventSourceMappings", answer)
        clients.lambda_.meta.events.register_last("before-call.lambda.ListTags", hide_theirs)

    def hide_theirs(params: dict[str, Any], **event: Any) -> Any:
        return no_tags() if "theirs" in params["url"] else None

    deployment.prepare = prepare
    assert left(deployment) == {"table": "others depend on it: trigger theirs"}
    assert asked_for
    assert settings.table in aws.inventory()["tables"]


def test_who_else_depends_on_it_being_unreadable_keeps_it_and_what_it_needs(deployment: Deployment) -> None:
    aws = deployment.aws
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue", "function")
    deployment.prepare = lambda clients, state: refuse(clients, "lambda_", "GetPolicy")
    why = left(deployment)
    assert why["function"].startswith("who else depends on it could not be read: An error occurred (AccessDenied")
    assert {"function", "log-group", "table", "function-role", "write-policy"} <= set(recorded(deployment))
    assert "queue" not in recorded(deployment)

    deployment.prepare = lambda clients, state: None
    assert left(deployment) == {}
    assert aws.inventory() == before


# What bears our names and is not ours.


def delete_by_hand(deployment: Deployment) -> None:
    """Everything that provision made, by somebody who knows nothing of the state file."""
    aws, settings = deployment.aws, deployment.settings
    aws.apigateway.delete_rest_api(restApiId=deployment.outputs("api")["id"])
    aws.lambda_.delete_event_source_mapping(UUID=deployment.outputs("trigger")["id"])
    aws.lambda_.delete_function(FunctionName=settings.function)
    aws.logs.delete_log_group(logGroupName=settings.log_group)
    for key in ("queue", "dead-letter-queue"):
        aws.sqs.delete_queue(QueueUrl=deployment.outputs(key)["url"])
    aws.dynamodb.delete_table(TableName=settings.table)
    for role in (settings.function_role, settings.api_role):
        for attached in aws.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            aws.iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
        aws.iam.delete_role(RoleName=role)
    for policy in (settings.write_policy, settings.read_policy):
        aws.iam.delete_policy(PolicyArn=policy_arn(policy))


def make_log_group(aws: Stranger, name: str) -> None:
    aws.logs.create_log_group(logGroupName=name)
    # moto puts the tags of a deleted group on a new one of its name; AWS does not.
    arn = aws.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["arn"].removesuffix(":*")
    aws.logs.untag_resource(resourceArn=arn, tagKeys=[TAG])


def make_namesakes(aws: Stranger, settings: Settings) -> None:
    """Somebody else's resources under the same names, wired as ours were; some with another deployment's tag."""
    for policy, tags in ((settings.write_policy, []), (settings.read_policy, [{"Key": TAG, "Value": "poc-other"}])):
        aws.iam.create_policy(PolicyName=policy, PolicyDocument=ANYTHING, Tags=tags)
    for role, tags in ((settings.function_role, []), (settings.api_role, [{"Key": TAG, "Value": "poc-other"}])):
        aws.iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST, Tags=tags)
        for policy in (settings.write_policy, settings.read_policy):
            aws.iam.attach_role_policy(RoleName=role, PolicyArn=policy_arn(policy))
    aws.dynamodb.create_table(
        TableName=settings.table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for queue in (settings.dead_letter_queue, settings.queue):
        aws.sqs.create_queue(QueueName=queue)
    make_log_group(aws, settings.log_group)
    make_function(aws, settings.function, settings.function_role)
    queue_arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{settings.queue}"
    aws.lambda_.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=settings.function)
    api = aws.apigateway.create_rest_api(name=settings.api)
    aws.lambda_.add_permission(
        FunctionName=settings.function,
        StatementId=settings.permission,
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api['id']}/*",
    )


@pytest.mark.slow
def test_namesakes_made_after_ours_were_deleted_by_hand_are_not_touched(deployment: Deployment) -> None:
    deployment.build()
    delete_by_hand(deployment)
    make_namesakes(deployment.aws, deployment.settings)
    theirs = deployment.aws.inventory()

    assert left(deployment) == {}
    assert deployment.writes == []
    assert deployment.aws.inventory() == theirs
    assert deployment.state["resources"] == []
    resources = deployment.state["receipt"]["things"]
    assert {resource["kind"] for resource in resources if "namesake" in resource} >= {
        "iam:role", "iam:policy", "dynamodb:table", "sqs:queue", "logs:log-group", "lambda:function",
        "lambda:event-source-mapping",
    }  # fmt: skip
    assert all(resource["found"] is False for resource in resources)


def test_an_untagged_log_group_of_theirs_stays_even_without_a_function(deployment: Deployment) -> None:
    """It looks just like one that a late invocation of ours made again, save that it was there before we came."""
    aws, settings = deployment.aws, deployment.settings
    build_only(deployment, "policies", "roles", "table", "function")
    aws.logs.delete_log_group(logGroupName=settings.log_group)
    make_log_group(aws, settings.log_group)
    assert left(deployment) == {}
    assert settings.log_group in aws.inventory()["log groups"]
    assert "DeleteLogGroup" not in deployment.writes


def mapping_is_gone(aws: Stranger, uuid: str) -> bool:
    """A mapping that is deleted is there until what it was just doing is done."""
    try:
        aws.lambda_.get_event_source_mapping(UUID=uuid)
    except aws.lambda_.exceptions.ResourceNotFoundException:
        return True
    return False


@pytest.mark.slow
def test_where_triggers_carry_no_tags_ours_is_the_noted_one_between_ours(deployment: Deployment) -> None:
    """Tags on triggers came late, and not to every partition."""
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    steps = ("policies", "roles", "table", "queue", "function", "trigger")

    def no_tags(params: dict[str, Any], **event: Any) -> Any:
        return refusal("InvalidParameterValueException") if "event-source-mapping" in params["url"] else None

    build_only(deployment, *steps)
    deployment.prepare = lambda clients, state: clients.lambda_.meta.events.register_last(
        "before-call.lambda.ListTags", no_tags
    )
    assert left(deployment) == {}
    assert aws.inventory() == before

    build_only(deployment, *steps)
    queue = deployment.outputs("queue")["arn"]
    aws.lambda_.delete_event_source_mapping(UUID=deployment.outputs("trigger")["id"])
    eventually(lambda: mapping_is_gone(aws, deployment.outputs("trigger")["id"]))
    theirs = aws.lambda_.create_event_source_mapping(EventSourceArn=queue, FunctionName=settings.function)["UUID"]
    why = left(deployment)
    assert why["queue"] == why["function"] == f"others depend on it: trigger {theirs}"
    assert aws.lambda_.get_event_source_mapping(UUID=theirs)["State"] == "Enabled"
    aws.lambda_.delete_event_source_mapping(UUID=theirs)
    assert left(deployment) == {}
    assert aws.inventory() == before


@pytest.mark.slow
def test_a_trigger_of_ours_that_was_pointed_at_their_function_is_still_ours(deployment: Deployment) -> None:
    """A mapping keeps its queue and its id for life, and not its function."""
    aws, settings = deployment.aws, deployment.settings
    make_role(aws, "their-role")
    make_function(aws, "their-function", "their-role")
    before = aws.inventory()
    steps = ("policies", "roles", "table", "queue", "function", "trigger")
    build_only(deployment, *steps)
    uuid = deployment.outputs("trigger")["id"]
    built = aws.inventory()

    def point_at_theirs() -> None:
        aws.lambda_.update_event_source_mapping(UUID=uuid, FunctionName="their-function")

    point_at_theirs()
    assert aws.inventory() != built
    build_only(deployment, *steps)
    assert aws.inventory() == built
    assert deployment.outputs("trigger")["id"] == uuid

    point_at_theirs()
    queue = deployment.outputs("queue")["arn"]
    between = aws.lambda_.create_event_source_mapping(EventSourceArn=queue, FunctionName=settings.function)["UUID"]
    why = left(deployment)
    assert why["queue"] == why["function"] == f"others depend on it: trigger {between}"
    on_queue = aws.lambda_.list_event_source_mappings(EventSourceArn=queue)["EventSourceMappings"]
    assert [one["UUID"] for one in on_queue] == [between]
    aws.lambda_.delete_event_source_mapping(UUID=between)
    assert left(deployment) == {}
    assert aws.inventory() == before
    aws.lambda_.delete_function(FunctionName="their-function")
    delete_role(aws, "their-role")


def test_what_lost_its_tag_is_neither_deleted_nor_forgotten(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "queue")
    queue = deployment.outputs("queue")["url"]
    aws.sqs.untag_queue(QueueUrl=queue, TagKeys=[TAG])
    aws.iam.untag_role(RoleName=settings.api_role, TagKeys=[TAG])
    untagged = aws.inventory()

    gone = deployment.outputs("function-role")
    why = left(deployment)
    assert set(why) == {"queue", "api-role", "api-role/logs-policy"}
    assert settings.queue in why["queue"]
    assert "no tag" in why["queue"]
    now = aws.inventory()
    assert now["queues"][settings.queue] == naming_dead(untagged["queues"][settings.queue], gone)
    assert now["roles"][settings.api_role] == untagged["roles"][settings.api_role]

    aws.sqs.tag_queue(QueueUrl=queue, Tags=tags(deployment))
    aws.iam.tag_role(RoleName=settings.api_role, Tags=[{"Key": TAG, "Value": tags(deployment)[TAG]}])
    assert left(deployment) == {}
    assert aws.inventory() == before


# Whose it is cannot be read.

UNREADABLE: dict[str, Callable[[Clients], None]] = {
    "trigger": lambda aws: refuse(aws, "lambda_", "ListTags"),
    "table": lambda aws: refuse(aws, "dynamodb", "ListTagsOfResource"),
    "queue": lambda aws: refuse(aws, "sqs", "ListQueueTags"),
    "log-group": lambda aws: refuse(aws, "logs", "ListTagsForResource"),
    "api-role": lambda aws: refuse(aws, "iam", "GetRole"),
    "read-policy": lambda aws: refuse(aws, "iam", "GetPolicy"),
    "api": lambda aws: refuse(aws, "apigateway", "GetRestApis"),
}


def test_what_cannot_be_read_is_neither_deleted_nor_forgotten_and_holds_back_no_other(deployment: Deployment) -> None:
    aws = deployment.aws
    before = aws.inventory()
    deployment.build()
    after = aws.inventory()

    def forbid_all(clients: Clients, state: State) -> None:
        clients.lambda_.meta.events.register_last("after-call.lambda.GetFunction", leave_tags_out)
        for forbid in UNREADABLE.values():
            forbid(clients)

    def leave_tags_out(parsed: dict[str, Any], **event: Any) -> None:
        """As AWS does to whoever may not call ListTags."""
        parsed.pop("Tags", None)

    deployment.prepare = forbid_all
    why = left(deployment)
    assert deployment.writes == []
    assert aws.inventory() == after
    assert list(why) == list(reversed(recorded(deployment)))
    assert set(recorded(deployment)) == {entry["key"] for entry in deployment.state["resources"]}
    for key in UNREADABLE:
        assert "AccessDenied" in why[key], key

    deployment.prepare = lambda clients, state: UNREADABLE["table"](clients)
    assert list(left(deployment)) == ["table"]
    assert recorded(deployment) == ["table"]
    assert {**aws.inventory(), "tables": {}} == {**before, "tables": {}}

    deployment.prepare = lambda clients, state: None
    assert left(deployment) == {}
    assert aws.inventory() == before


# A state file that names what is not ours.


def test_a_state_file_that_names_a_strangers_resources_with_their_ids_deletes_none_of_them(
    deployment: Deployment,
) -> None:
    aws = deployment.aws
    deployment.build()
    our_api_id = deployment.outputs("api")["id"]
    theirs = Settings(learner=f"x{secrets.token_hex(3)}")
    make_namesakes(aws, theirs)
    api_id = next(api["id"] for api in aws.apigateway.get_rest_apis()["items"] if api["name"] == theirs.api)
    resource = aws.apigateway.get_resources(restApiId=api_id)["items"][0]["id"]
    aws.apigateway.put_method(restApiId=api_id, resourceId=resource, httpMethod="GET", authorizationType="NONE")
    aws.apigateway.put_integration(restApiId=api_id, resourceId=resource, httpMethod="GET", type="MOCK")
    aws.apigateway.create_deployment(restApiId=api_id, stageName=theirs.stage)
    their_part = only_of(aws.inventory(), theirs.learner)
    queues = {name: aws.sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in (theirs.queue,)}
    attributes = aws.sqs.get_queue_attributes(QueueUrl=queues[theirs.queue], AttributeNames=["All"])["Attributes"]
    mapping = aws.lambda_.list_event_source_mappings(FunctionName=theirs.function)["EventSourceMappings"][0]
    group = aws.logs.describe_log_groups(logGroupNamePrefix=theirs.log_group)["logGroups"][0]

    def poison(entries: dict[str, dict[str, Any]]) -> None:
        entries["write-policy"]["identity"] = {"PolicyArn": policy_arn(theirs.write_policy)}
        entries["write-policy"]["outputs"]["id"] = aws.iam.get_policy(PolicyArn=policy_arn(theirs.write_policy))[
            "Policy"
        ]["PolicyId"]
        entries["api-role"]["identity"] = {"RoleName": theirs.api_role}
        entries["api-role"]["outputs"]["id"] = aws.iam.get_role(RoleName=theirs.api_role)["Role"]["RoleId"]
        entries["table"]["identity"] = {"TableName": theirs.table}
        entries["queue"]["identity"] = {"QueueName": theirs.queue}
        entries["queue"]["outputs"]["id"] = attributes["CreatedTimestamp"]
        entries["log-group"]["identity"] = {"logGroupName": theirs.log_group}
        entries["log-group"]["outputs"]["id"] = str(group["creationTime"])
        entries["function"]["identity"] = {"FunctionName": theirs.function}
        entries["trigger"]["identity"] = {
            "EventSourceArn": mapping["EventSourceArn"],
            "FunctionName": theirs.function,
        }
        entries["trigger"]["outputs"]["id"] = mapping["UUID"]
        entries["api"]["outputs"]["id"] = api_id
        entries["stage"]["identity"]["restApiId"] = api_id
        entries["permission"]["identity"]["FunctionName"] = theirs.function
        entries["function-role/write-policy"]["identity"] = {
            "RoleName": theirs.api_role,
            "PolicyArn": policy_arn(theirs.write_policy),
        }
        entries["dead-letter-queue"]["identity"] = {"QueueName": theirs.dead_letter_queue}

    deployment.rewrite(poison)
    # Ours are gone, so that nothing but whose they are speaks for keeping theirs.
    ours = deployment.settings
    aws.apigateway.delete_stage(restApiId=our_api_id, stageName=ours.stage)
    aws.iam.detach_role_policy(RoleName=ours.function_role, PolicyArn=policy_arn(ours.write_policy))
    assert "api" in left(deployment)  # its id in the file is theirs, the tag is on ours: neither is touched
    assert only_of(aws.inventory(), theirs.learner) == their_part


@pytest.mark.slow
def test_a_state_file_that_names_a_strangers_parts_of_our_resources_takes_none_of_them_away(
    deployment: Deployment,
) -> None:
    aws, settings = deployment.aws, deployment.settings
    theirs = f"their-{settings.learner}"
    aws.iam.create_policy(PolicyName=theirs, PolicyDocument=ANYTHING)
    make_role(aws, theirs)
    build_only(deployment, "policies", "roles", "table", "queue", "function", "api")
    aws.iam.attach_role_policy(RoleName=settings.api_role, PolicyArn=policy_arn(theirs))
    aws.lambda_.add_permission(
        FunctionName=settings.function,
        StatementId="their-bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
    )
    # Ours is taken away by hand, so that only theirs carries the policy.
    aws.iam.detach_role_policy(RoleName=settings.function_role, PolicyArn=policy_arn(settings.read_policy))
    aws.iam.attach_role_policy(RoleName=theirs, PolicyArn=policy_arn(settings.read_policy))

    def poison(entries: dict[str, dict[str, Any]]) -> None:
        entries["permission"]["identity"]["StatementId"] = "their-bucket"
        entries["api-role/logs-policy"]["identity"]["PolicyArn"] = policy_arn(theirs)
        entries["function-role/read-policy"]["identity"]["RoleName"] = theirs

    deployment.rewrite(poison)
    why = left(deployment)
    assert "permission their-bucket of s3.amazonaws.com" in why["function"]
    assert f"policy {theirs}" in why["api-role"]
    assert f"role {theirs}" in why["read-policy"]
    now = aws.inventory()
    assert "their-bucket" in [one["Sid"] for one in now["functions"][settings.function]["policy"]]
    assert theirs in now["roles"][settings.api_role]["attached"]
    assert now["roles"][theirs]["attached"] == [settings.read_policy]


def test_a_state_file_that_names_a_strangers_stage_of_our_api_leaves_it(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    deployment.build()
    api_id = deployment.outputs("api")["id"]
    aws.apigateway.create_deployment(restApiId=api_id, stageName="theirs")

    def poison(entries: dict[str, dict[str, Any]]) -> None:
        entries["stage"]["identity"]["stageName"] = "theirs"

    deployment.rewrite(poison)
    assert "stage theirs" in left(deployment)["api"]
    stages = [stage["stageName"] for stage in aws.apigateway.get_stages(restApiId=api_id)["item"]]
    assert sorted(stages) == [settings.stage, "theirs"]


def only_of(inventory: dict[str, Any], learner: str | None) -> dict[str, Any]:
    """The part of an inventory that bears a learner's name."""
    assert learner
    return {
        kind: {name: value for name, value in resources.items() if learner in name}
        if isinstance(resources, dict)
        else [resource for resource in resources if learner in str(resource)]
        for kind, resources in inventory.items()
    }


# REST APIs, whose names repeat.


@pytest.mark.slow
def test_every_api_with_our_mark_goes_under_whatever_name_and_one_of_our_name_without_it_stays(
    deployment: Deployment,
) -> None:
    aws, settings = deployment.aws, deployment.settings
    theirs = aws.apigateway.create_rest_api(name=settings.api)["id"]
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue", "function", "api")
    aws.apigateway.create_rest_api(name=settings.api, tags=tags(deployment))
    aws.apigateway.update_rest_api(
        restApiId=deployment.outputs("api")["id"],
        patchOperations=[{"op": "replace", "path": "/name", "value": "renamed"}],
    )
    assert left(deployment) == {}
    assert aws.inventory() == before
    assert theirs in [api["id"] for api in aws.apigateway.get_rest_apis()["items"]]
