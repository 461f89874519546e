"""What a person made by hand: refused without consent, taken over with it, and put back as it was found.

The world of most tests here is a build by hand, under the suite's names and without its tags, in which every
attribute that the suite compares differs from what it wants.
"""

from __future__ import annotations

import io
import json
import secrets
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.aws.answers import Call
from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.entries import ADOPTED_TAG, TAG, CannotUpdate
from provision.state.file import StateRefused
from provision.state.ownership import NotOurs, TagLost
from provision.state.resources import TYPES
from provision.state.state import State
from provision.terminal import outcome
from sandbox import Sandbox
from teardown import backwards
from teardown.looks import Looks
from teardown.verbs import VERBS
from tests.rig.deployment import ACCOUNT, REGION, Deployment, Stranger, policy_arn, role_arn

pytestmark = pytest.mark.usefixtures("one_look")

KEYS = {
    "write-policy",
    "read-policy",
    "function-role",
    "api-role",
    "table",
    "dead-letter-queue",
    "queue",
    "log-group",
    "function",
    "trigger",
}
ANYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
THEIR_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["lambda.amazonaws.com", "edgelambda.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}
THEIRS = {"team": "blue"}  # a tag that has nothing to do with the suite


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    settings = Settings(learner=f"a{secrets.token_hex(3)}")
    with Deployment(sandbox.id, sandbox.url, tmp_path / "ledger.json", settings) as made:
        yield made


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def list_of(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def zip_of(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("theirs.py", (1990, 1, 1, 0, 0, 0)), text)
    return buffer.getvalue()


# What a person makes, one kind after the other.


def make_policies(aws: Stranger, settings: Settings) -> None:
    for name in (settings.write_policy, settings.read_policy):
        aws.iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(ANYTHING), Tags=list_of(THEIRS))


def make_roles(aws: Stranger, settings: Settings) -> None:
    for name in (settings.function_role, settings.api_role):
        aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(THEIR_TRUST), Tags=list_of(THEIRS))


def make_table(aws: Stranger, settings: Settings) -> None:
    aws.dynamodb.create_table(
        TableName=settings.table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 7},
        Tags=list_of(THEIRS),
    )
    aws.dynamodb.put_item(TableName=settings.table, Item={"id": {"S": "theirs"}})


def make_queues(aws: Stranger, settings: Settings) -> None:
    aws.sqs.create_queue(QueueName=settings.dead_letter_queue, tags=THEIRS)
    policy = {"Version": "2012-10-17", "Statement": [
        {"Sid": "theirs", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
         "Action": "SQS:*", "Resource": queue_arn(settings.queue)}
    ]}  # fmt: skip
    attributes = {"VisibilityTimeout": "77", "Policy": json.dumps(policy)}
    aws.sqs.create_queue(QueueName=settings.queue, Attributes=attributes, tags=THEIRS)


def make_log_group(aws: Stranger, settings: Settings) -> None:
    aws.logs.create_log_group(logGroupName=settings.log_group, tags=THEIRS)


def make_function(aws: Stranger, settings: Settings) -> None:
    """With a role of its own, that may receive from any queue."""
    own_role = f"their-role-{settings.learner}"
    aws.iam.create_role(RoleName=own_role, AssumeRolePolicyDocument=json.dumps(THEIR_TRUST))
    aws.iam.put_role_policy(RoleName=own_role, PolicyName="queues", PolicyDocument=json.dumps(ANYTHING))
    aws.lambda_.create_function(
        FunctionName=settings.function,
        Runtime="python3.12",
        Role=role_arn(own_role),
        Handler="theirs.handle",
        Code={"ZipFile": zip_of("def handle(event, context): return event")},
        Timeout=9,
        MemorySize=256,
        Environment={"Variables": {"THEIR": "own"}},
        Tags=THEIRS,
    )
    aws.lambda_.add_permission(
        FunctionName=settings.function,
        StatementId="their-bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
    )


def make_trigger(aws: Stranger, settings: Settings) -> None:
    aws.lambda_.create_event_source_mapping(
        EventSourceArn=queue_arn(settings.queue),
        FunctionName=settings.function,
        BatchSize=3,
        Enabled=False,
        Tags=THEIRS,
    )


MADE_BY_HAND: list[Callable[[Stranger, Settings], None]] = [
    make_policies,
    make_roles,
    make_table,
    make_queues,
    make_log_group,
    make_function,
    make_trigger,
]


def build_by_hand(deployment: Deployment) -> None:
    """All of it, with the policies on the role as the walkthrough has them."""
    aws, settings = deployment.aws, deployment.settings
    for make in MADE_BY_HAND[:2]:
        make(aws, settings)
    aws.iam.attach_role_policy(RoleName=settings.function_role, PolicyArn=policy_arn(settings.read_policy))
    for make in MADE_BY_HAND[2:]:
        make(aws, settings)


def consent(deployment: Deployment, *keys: str) -> list[tuple[str, str]]:
    """From now on these may be taken over; what was asked, and what it was told of."""
    asked: list[tuple[str, str]] = []

    def may_adopt(key: str, kind: str, identity: Any, theirs: str) -> bool:
        asked.append((key, theirs))
        return key in keys

    def prepare(aws: Clients, state: State) -> None:
        state.adopt = may_adopt

    deployment.prepare = prepare
    return asked


def entries(deployment: Deployment) -> dict[str, dict[str, Any]]:
    return {entry["key"]: entry for entry in deployment.state["resources"]}


def adopted(deployment: Deployment) -> set[str]:
    return {key for key, entry in entries(deployment).items() if entry["origin"] == "adopted"}


def only(inventory: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The part of an inventory that bears this learner's names."""
    assert settings.learner
    return {
        kind: {name: resource for name, resource in resources.items() if settings.learner in name}
        if isinstance(resources, dict)
        else [resource for resource in resources if settings.learner in str(resource)]
        for kind, resources in inventory.items()
    }


def world(deployment: Deployment) -> dict[str, Any]:
    assert deployment.settings.learner
    return only(deployment.aws.inventory(deployment.settings.learner), deployment.settings)


class Killed(BaseException):
    """The process ends here."""


def kill_at(deployment: Deployment, number: int, *, after: bool = False) -> None:
    """End the next run at its `number`-th write: before it leaves, or after AWS has carried it out."""
    prepare = deployment.prepare
    seen: list[str] = []

    def with_kill(aws: Clients, state: State) -> None:
        prepare(aws, state)
        permit = state.permit

        def count(call: Call) -> None:
            permit(call)
            seen.append(call.operation)
            if len(seen) == number and not after:
                raise Killed

        def ended(call: Call) -> None:
            if not call.is_read and len(seen) == number and after:
                raise Killed

        aws.calls.permit = count
        aws.calls.listeners.append(ended)

    deployment.prepare = with_kill


# Refused, taken over, updated, put back.


@pytest.mark.sweep(2)
@pytest.mark.parametrize("make", [one for one in MADE_BY_HAND if one is not make_log_group])
def test_what_a_person_made_is_refused_without_consent_and_not_touched(
    deployment: Deployment, make: Callable[[Stranger, Settings], None]
) -> None:
    if make is make_trigger:  # an orphan: it needs both queue and function to be made at all
        make_queues(deployment.aws, deployment.settings)
        make_function(deployment.aws, deployment.settings)
        make_trigger(deployment.aws, deployment.settings)
        leave_only_the_trigger(deployment)
    else:
        make(deployment.aws, deployment.settings)
    before = world(deployment)
    with pytest.raises(NotOurs) as refused:
        deployment.build()
    assert refused.value.tag is None
    assert refused.value.key in KEYS
    now = world(deployment)
    for kind, resources in before.items():
        if isinstance(resources, dict):
            assert {name: now[kind][name] for name in resources} == resources
        else:
            assert [resource for resource in now[kind] if resource in resources] == resources
    if make is make_trigger:  # it hangs on our queue by now, and what hangs there keeps it
        assert {one.resource.key for one in tear_down_and_keep_the_books(deployment)} >= {"queue", "function"}
        consent(deployment, "trigger")
        deployment.build()
    assert deployment.tear_down() == []
    assert world(deployment) == before


def leave_only_the_trigger(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    aws.lambda_.delete_function(FunctionName=settings.function)
    for name in (settings.queue, settings.dead_letter_queue):
        aws.sqs.delete_queue(QueueUrl=aws.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def test_a_build_by_hand_is_taken_over_updated_and_put_back_byte_for_byte(deployment: Deployment) -> None:
    build_by_hand(deployment)
    before = world(deployment)
    asked = consent(deployment, *KEYS)
    deployment.build()

    assert {key for key, theirs in asked} == KEYS
    assert all(theirs.startswith("no tag of this suite") for key, theirs in asked)
    assert next(theirs for key, theirs in asked if key == "trigger").endswith("State Disabled")
    assert adopted(deployment) == KEYS | {"function-role/read-policy"}
    assert {deployment.changed[key].outcome for key in KEYS} == {"adopted"}
    tag = {TAG: deployment.state["deployment"], ADOPTED_TAG: "true"}
    ours = world(deployment)
    assert ours["tables"][deployment.settings.table]["tags"] == list_of({**THEIRS, **tag})
    assert ours["queues"][deployment.settings.queue]["tags"] == {**THEIRS, **tag}
    assert ours["functions"][deployment.settings.function]["tags"] == {**THEIRS, **tag}
    assert ours["tables"][deployment.settings.table]["billing"] == "PAY_PER_REQUEST"
    assert ours["queues"][deployment.settings.queue]["visibility"] == "60"
    assert len(deployment.smoke_tests()) == 5, "it works as one that the suite made"

    recorded = deployment.path.read_bytes()
    consent(deployment)
    deployment.build()
    assert deployment.writes == []
    assert deployment.changed == {}
    assert deployment.path.read_bytes() == recorded
    assert world(deployment)["roles"] == ours["roles"]

    assert deployment.tear_down() == []
    assert world(deployment) == before
    assert deployment.state["resources"] == []
    resources = deployment.state["receipt"]["things"]
    assert sum(resource["found"] for resource in resources) == len(KEYS) + 1
    assert not list(deployment.path.parent.glob("*.zip"))


def test_told_to_teardown_deletes_what_was_adopted_like_everything_else(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    build_by_hand(deployment)
    consent(deployment, *KEYS)
    deployment.build()
    why = {one.resource.key: one.why for one in deployment.tear_down(include_adopted=True)}
    assert "others depend on it: permission their-bucket" in why["function"]
    aws.lambda_.remove_permission(FunctionName=settings.function, StatementId="their-bucket")
    assert deployment.tear_down(include_adopted=True) == []
    now = world(deployment)
    assert list(now.pop("roles")) == [f"their-role-{settings.learner}"], "it was never adopted"
    assert not any(now.values())
    assert not any(resource["found"] for resource in deployment.state["receipt"]["things"])


@pytest.mark.slow
def test_ours_on_theirs_goes_and_theirs_stays(deployment: Deployment) -> None:
    """Our policies on their role, our trigger on their queue, our permission on their function."""
    aws, settings = deployment.aws, deployment.settings
    make_roles(aws, settings)
    make_queues(aws, settings)
    make_function(aws, settings)
    before = world(deployment)
    consent(deployment, "function-role", "queue", "function")
    with pytest.raises(NotOurs) as refused:
        deployment.build()
    assert refused.value.key == "api-role", "each takes a consent of its own"
    consent(deployment, "function-role", "api-role", "dead-letter-queue", "queue", "function")
    deployment.build()
    assert adopted(deployment) == {"function-role", "api-role", "dead-letter-queue", "queue", "function"}
    now = world(deployment)
    assert now["roles"][settings.function_role]["attached"] == [settings.read_policy, settings.write_policy]
    assert len(now["functions"][settings.function]["policy"]) == 2
    assert len(now["triggers"]) == 1
    assert deployment.tear_down() == []
    assert world(deployment) == before


@pytest.mark.slow
def test_an_orphaned_trigger_is_taken_over_by_consent_and_left_an_orphan(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    make_queues(aws, settings)
    make_function(aws, settings)
    make_trigger(aws, settings)
    leave_only_the_trigger(deployment)
    before = world(deployment)
    with pytest.raises(NotOurs) as refused:
        deployment.build()
    assert "UUID " in refused.value.theirs
    assert "State " in refused.value.theirs
    consent(deployment, "trigger")
    deployment.build()
    assert adopted(deployment) == {"trigger"}
    assert deployment.tear_down() == []
    assert world(deployment) == before


def test_what_carries_another_deployments_mark_is_never_asked_for(deployment: Deployment) -> None:
    make_table(deployment.aws, deployment.settings)
    arn = deployment.aws.dynamodb.describe_table(TableName=deployment.settings.table)["Table"]["TableArn"]
    deployment.aws.dynamodb.tag_resource(ResourceArn=arn, Tags=list_of({TAG: "poc-other"}))
    asked = consent(deployment, *KEYS)
    with pytest.raises(NotOurs) as refused:
        deployment.build()
    assert (refused.value.key, refused.value.tag) == ("table", "poc-other")
    assert asked == []


def test_a_table_with_another_key_is_not_adopted_and_not_even_tagged(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    aws.dynamodb.create_table(
        TableName=settings.table,
        KeySchema=[{"AttributeName": "other", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "other", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    before = world(deployment)
    consent(deployment, "table")
    with pytest.raises(CannotUpdate, match="key is"):
        deployment.build()
    assert world(deployment)["tables"] == before["tables"]
    assert deployment.tear_down() == []
    assert world(deployment) == before


def test_a_policy_with_five_versions_loses_none_of_them(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    make_policies(aws, settings)
    for _ in range(4):
        aws.iam.create_policy_version(
            PolicyArn=policy_arn(settings.write_policy), PolicyDocument=json.dumps(ANYTHING), SetAsDefault=True
        )
    before = world(deployment)
    consent(deployment, "write-policy", "read-policy")
    with pytest.raises(outcome.UserError, match="five versions"):
        deployment.build()
    assert world(deployment) == before


def test_a_version_that_its_owner_wrote_meanwhile_stays(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    make_policies(aws, settings)
    consent(deployment, "write-policy", "read-policy")
    deployment.build()
    theirs = {**ANYTHING, "Id": "meanwhile"}
    aws.iam.create_policy_version(
        PolicyArn=policy_arn(settings.write_policy), PolicyDocument=json.dumps(theirs), SetAsDefault=True
    )
    assert deployment.tear_down() == []
    policies = world(deployment)["policies"]
    assert policies[settings.write_policy]["document"] == theirs
    assert policies[settings.write_policy]["versions"] == 2
    assert policies[settings.read_policy]["versions"] == 1


# The function's code.


def test_code_that_cannot_be_kept_is_not_replaced(deployment: Deployment) -> None:
    make_function(deployment.aws, deployment.settings)
    before = world(deployment)["functions"]

    def hide(parsed: dict[str, Any], **event: Any) -> None:
        parsed.get("Code", {})["Location"] = f"{deployment.url}/_sandbox/code/nowhere.zip"

    consent(deployment, "function")
    with_consent = deployment.prepare

    def prepare(aws: Clients, state: State) -> None:
        with_consent(aws, state)
        aws.lambda_.meta.events.register_last("after-call.lambda.GetFunction", hide)

    deployment.prepare = prepare
    with pytest.raises(outcome.UserError, match="could not be fetched"):
        deployment.build()
    assert world(deployment)["functions"] == before


@pytest.mark.slow
def test_the_former_code_is_kept_for_its_owner_alone_and_must_be_whole_to_be_put_back(
    deployment: Deployment,
) -> None:
    make_function(deployment.aws, deployment.settings)
    before = world(deployment)
    consent(deployment, "function")
    deployment.build()
    kept = deployment.path.with_name("ledger.json.before.zip")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    package = kept.read_bytes()
    assert package == zip_of("def handle(event, context): return event")

    kept.write_bytes(b"")
    why = {one.resource.key: one.why for one in tear_down_and_keep_the_books(deployment)}
    assert why["function"].endswith("is not its former code")
    assert entries(deployment)["function"]["before"]["CodeSha256"]
    kept.write_bytes(package)
    assert deployment.tear_down() == []
    assert world(deployment) == before


def tear_down_and_keep_the_books(deployment: Deployment) -> list[backwards.Left]:
    """As `python -m teardown` ends a run that leaves something."""
    aws = deployment.connect()
    state = deployment.open(aws)
    try:
        left = backwards.take_down(Looks(aws, state), tell=lambda word, resource, remark: None)
        left += backwards.prove(aws, state)
        backwards.close(state, left)
    finally:
        state.close()
    return left


# A log group that is there already.


@pytest.mark.slow
def test_an_unmarked_log_group_is_used_and_left(deployment: Deployment) -> None:
    make_log_group(deployment.aws, deployment.settings)
    before = world(deployment)
    deployment.build()
    told = next(event for event in deployment.results if event.key == "log-group")
    assert told.outcome == "unchanged"
    assert "left as it is" in told.notes[0]
    assert "log-group" not in entries(deployment)
    assert world(deployment)["log groups"] == before["log groups"]
    assert len(deployment.smoke_tests()) == 5
    deployment.build()
    assert deployment.writes == []
    assert deployment.tear_down() == []
    assert world(deployment) == before


@pytest.mark.slow
def test_a_log_group_that_is_made_late_still_comes_before_the_function(deployment: Deployment) -> None:
    """Teardown reads the state file backwards, and the group goes last of the function's resources."""
    aws, settings = deployment.aws, deployment.settings
    before = world(deployment)
    make_log_group(aws, settings)
    deployment.build()
    aws.logs.untag_resource(
        resourceArn=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{settings.log_group}", tagKeys=list(THEIRS)
    )
    aws.logs.delete_log_group(logGroupName=settings.log_group)
    deployment.build()
    keys = list(entries(deployment))
    assert keys.index("log-group") == keys.index("function") - 1
    assert deployment.tear_down() == []
    assert world(deployment) == before


# Where triggers carry no tags.


@pytest.mark.slow
def test_without_tags_on_triggers_the_promise_speaks_for_ours_and_nothing_for_an_orphan(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    empty = world(deployment)

    def no_tags(params: dict[str, Any], **event: Any) -> Any:
        if "event-source-mapping" not in params["url"]:
            return None
        answer = {"Error": {"Code": "InvalidParameterValueException", "Message": "no"}, "ResponseMetadata": {}}
        return SimpleNamespace(status_code=400, headers={}, content=b""), answer

    def prepare(clients: Clients, state: State) -> None:
        clients.lambda_.meta.events.register_last("before-call.lambda.ListTags", no_tags)

    deployment.prepare = prepare
    kill_at(deployment, number_of(deployment, "CreateEventSourceMapping"), after=True)
    with pytest.raises(Killed):
        deployment.build()
    assert entries(deployment)["trigger"]["status"] == "creating"
    deployment.prepare = prepare
    deployment.build()
    assert deployment.changed["trigger"].outcome == "recovered"
    assert deployment.tear_down() == []
    assert world(deployment) == empty

    make_queues(aws, settings)
    make_function(aws, settings)
    make_trigger(aws, settings)
    leave_only_the_trigger(deployment)
    before = world(deployment)
    with pytest.raises(NotOurs) as refused:
        deployment.build()
    assert refused.value.key == "trigger"
    consent(deployment, "trigger")
    with_consent = deployment.prepare
    deployment.prepare = lambda clients, state: (with_consent(clients, state), prepare(clients, state))[0]
    deployment.build()
    assert adopted(deployment) == {"trigger"}
    deployment.prepare = prepare
    assert deployment.tear_down() == []
    assert world(deployment) == before


def number_of(deployment: Deployment, operation: str) -> int:
    """Which write of a clean build this operation is; the build is taken down again."""
    deployment.build()
    number = deployment.writes.index(operation) + 1
    assert deployment.tear_down() == []
    return number


# Our own, without their tags.


def strip(deployment: Deployment) -> None:
    """Somebody takes the suite's tag off everything that has one."""
    aws, settings = deployment.aws, deployment.settings
    for name in (settings.write_policy, settings.read_policy):
        aws.iam.untag_policy(PolicyArn=policy_arn(name), TagKeys=[TAG])
    for name in (settings.function_role, settings.api_role):
        aws.iam.untag_role(RoleName=name, TagKeys=[TAG])
    table = aws.dynamodb.describe_table(TableName=settings.table)["Table"]["TableArn"]
    aws.dynamodb.untag_resource(ResourceArn=table, TagKeys=[TAG])
    for key in ("dead-letter-queue", "queue"):
        aws.sqs.untag_queue(QueueUrl=deployment.outputs(key)["url"], TagKeys=[TAG])
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{settings.log_group}"
    aws.logs.untag_resource(resourceArn=group, tagKeys=[TAG])
    aws.lambda_.untag_resource(Resource=deployment.outputs("function")["arn"], TagKeys=[TAG])
    trigger = aws.lambda_.get_event_source_mapping(UUID=deployment.outputs("trigger")["id"])
    aws.lambda_.untag_resource(Resource=trigger["EventSourceMappingArn"], TagKeys=[TAG])
    api = f"arn:aws:apigateway:{REGION}::/restapis/{deployment.outputs('api')['id']}"
    aws.apigateway.untag_resource(resourceArn=api, tagKeys=[TAG])


def test_ours_without_its_tag_is_neither_deleted_nor_changed_until_a_person_takes_it_over(
    deployment: Deployment,
) -> None:
    empty = world(deployment)
    deployment.build()
    built = world(deployment)
    strip(deployment)
    stripped = world(deployment)
    assert stripped != built
    why = {one.resource.key: one.why for one in tear_down_and_keep_the_books(deployment)}
    assert KEYS | {"api"} <= set(why)
    assert "carries no tag" in why["function"]
    assert {**world(deployment), "apis": [], "functions": {}, "roles": {}} == {
        **stripped, "apis": [], "functions": {}, "roles": {}
    }  # fmt: skip

    with pytest.raises(TagLost, match=r"Lambda-Write-DynamoDB.* carries no tag"):
        deployment.build()
    assert deployment.writes == []
    api = f"arn:aws:apigateway:{REGION}::/restapis/{deployment.outputs('api')['id']}"
    tags = {TAG: deployment.state["deployment"]}
    deployment.aws.apigateway.tag_resource(resourceArn=api, tags=tags)  # an API is not adopted: its tag comes back
    consent(deployment, *KEYS)
    deployment.build()
    assert adopted(deployment) == {key for key in KEYS if entries(deployment)[key]["status"] == "created"}
    assert deployment.tear_down(include_adopted=True) == []
    assert world(deployment) == empty


def test_a_function_that_runs_other_code_and_has_lost_its_mark_is_proved_by_nothing(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    deployment.build()
    aws.lambda_.untag_resource(Resource=deployment.outputs("function")["arn"], TagKeys=[TAG])
    aws.lambda_.update_function_code(FunctionName=settings.function, ZipFile=zip_of("handle = None"))
    with pytest.raises(NotOurs) as refused:
        deployment.build()
    assert refused.value.key == "function"
    assert deployment.writes == []


def test_a_role_that_somebody_deleted_and_made_again_is_not_ours(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    deployment.build()
    known = deployment.outputs("api-role")["id"]
    for policy in aws.iam.list_attached_role_policies(RoleName=settings.api_role)["AttachedPolicies"]:
        aws.iam.detach_role_policy(RoleName=settings.api_role, PolicyArn=policy["PolicyArn"])
    aws.iam.delete_role(RoleName=settings.api_role)
    role = aws.iam.create_role(RoleName=settings.api_role, AssumeRolePolicyDocument=json.dumps(THEIR_TRUST))["Role"]
    with pytest.raises(NotOurs) as refused:
        deployment.build()
    assert refused.value.key == "api-role"
    assert role["RoleId"] in refused.value.theirs
    assert known in refused.value.ours
    assert deployment.writes == []


@pytest.mark.slow
def test_a_queue_policy_that_names_a_dead_role_is_updated_with_the_function_that_took_it(
    deployment: Deployment,
) -> None:
    """What SQS makes of an ARN whose role was deleted: the dead role's id."""
    aws, settings = deployment.aws, deployment.settings
    deployment.build()
    built = world(deployment)
    dead = deployment.outputs("function-role")["id"]
    for policy in aws.iam.list_attached_role_policies(RoleName=settings.function_role)["AttachedPolicies"]:
        aws.iam.detach_role_policy(RoleName=settings.function_role, PolicyArn=policy["PolicyArn"])
    aws.iam.delete_role(RoleName=settings.function_role)
    url = deployment.outputs("queue")["url"]
    policy = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert dead in policy
    with pytest.raises(aws.sqs.exceptions.InvalidAttributeValue):
        aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    deployment.build()
    assert {one.attribute for one in deployment.changed["queue"].differences} == {"Policy", "roles named"}
    assert {one.attribute for one in deployment.changed["function"].differences} == {"role id"}
    assert world(deployment) == built
    assert deployment.tear_down() == []


# Tags that come into sight later than what carries them.


@pytest.mark.slow
def test_what_was_promised_and_has_no_mark_yet_is_looked_at_again(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    kill_at(deployment, 1, after=True)
    with pytest.raises(Killed):
        deployment.build()
    assert list(entries(deployment)) == ["write-policy"]
    seen: list[int] = []

    def lag(parsed: dict[str, Any], **event: Any) -> None:
        seen.append(1)
        if len(seen) < 4:
            parsed.get("Policy", {}).pop("Tags", None)

    deployment.prepare = lambda clients, state: clients.iam.meta.events.register_last("after-call.iam.GetPolicy", lag)
    deployment.build()
    assert deployment.changed["write-policy"].outcome == "recovered"
    deployment.prepare = lambda clients, state: None
    assert deployment.tear_down() == []

    # One that stays without is somebody else's, after all.
    kill_at(deployment, 1)
    with pytest.raises(Killed):
        deployment.build()
    make_policies(aws, settings)
    deployment.prepare = lambda clients, state: None
    with pytest.raises(NotOurs):
        deployment.build()
    assert deployment.writes == []


# Ended in the middle.

# The writes of a build over all that is there, up to the trigger: 1 and 2 tag and change a policy, 5 to 10 are the
# roles', 11 and 12 the table's, 13 to 16 the queues', 17 and 18 the log group's, 19 to 21 the function's (tag, code,
# configuration), 22 and 23 the trigger's.
ADOPTING = [(1, False), (1, True), (2, False), (6, True), (12, True), (16, False), (20, False), (20, True), (23, False)]
# The writes of its teardown: 1 to 3 are the API's, 4 and 5 the trigger's, 6 to 8 the function's, 9 to 16 the log
# group's, queues' and table's, 17 to 22 the roles', 23 to 28 the policies'; the tag goes last of each.
PUTTING_BACK = [(4, True), (5, False), (5, True), (6, True), (8, False), (8, True), (12, True), (22, True), (26, False)]


@pytest.mark.sweep(11)
@pytest.mark.parametrize(("number", "after"), ADOPTING)
@pytest.mark.parametrize("resume", [True, False], ids=["resume", "teardown at once"])
def test_adoption_ended_at_a_write_is_completed_or_taken_back(
    deployment: Deployment, number: int, after: bool, resume: bool
) -> None:
    build_by_hand(deployment)
    before = world(deployment)
    consent(deployment, *KEYS)
    kill_at(deployment, number, after=after)
    with pytest.raises(Killed):
        deployment.build()
    consent(deployment, *(KEYS if resume else ()))
    if resume:
        deployment.build()
        assert adopted(deployment) >= KEYS
    assert deployment.tear_down() == []
    assert world(deployment) == before
    assert deployment.state["resources"] == []


@pytest.mark.sweep(5)
@pytest.mark.parametrize(("number", "after"), PUTTING_BACK)
def test_putting_back_ended_at_a_write_is_completed(deployment: Deployment, number: int, after: bool) -> None:
    build_by_hand(deployment)
    before = world(deployment)
    consent(deployment, *KEYS)
    deployment.build()
    kill_at(deployment, number, after=after)
    with pytest.raises(Killed):
        deployment.tear_down()
    consent(deployment)
    assert deployment.tear_down() == []
    assert world(deployment) == before


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_putting_back_ended_in_the_middle_can_be_followed_by_a_build(deployment: Deployment, after: bool) -> None:
    build_by_hand(deployment)
    before = world(deployment)
    consent(deployment, *KEYS)
    deployment.build()
    kill_at(deployment, 8, after=after)  # the function's tag
    with pytest.raises(Killed):
        deployment.tear_down()
    consent(deployment, *KEYS)
    deployment.build()
    assert adopted(deployment) >= KEYS
    assert deployment.tear_down() == []
    assert world(deployment) == before


# What is kept, and when.


def test_what_was_found_is_on_the_disk_before_it_is_changed_and_its_first_value_stays(deployment: Deployment) -> None:
    aws, settings = deployment.aws, deployment.settings
    make_queues(aws, settings)
    consent(deployment, "queue", "dead-letter-queue")
    with_consent = deployment.prepare
    on_disk: dict[str, dict[str, str]] = {}

    def prepare(clients: Clients, state: State) -> None:
        with_consent(clients, state)

        def permit(call: Call) -> None:
            state.permit(call)
            if str(call.parameters.get("QueueUrl")).endswith(settings.queue):
                on_disk[call.operation] = entries(deployment)["queue"]["before"]

        clients.calls.permit = permit

    deployment.prepare = prepare
    deployment.build()
    first = entries(deployment)["queue"]["before"]
    assert json.loads(first["VisibilityTimeout"]) == "77"
    assert json.loads(first["tags"]) == {TAG: None, ADOPTED_TAG: None}
    assert on_disk["TagQueue"].keys() == {"tags"}
    assert on_disk["SetQueueAttributes"] == first
    url = deployment.outputs("queue")["url"]
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "55"})
    deployment.build()
    assert set(deployment.changed) == {"queue"}
    assert entries(deployment)["queue"]["before"] == first


def test_a_state_file_without_former_values_is_read_and_one_with_nonsense_is_refused(deployment: Deployment) -> None:
    from provision.state.file import checksum

    make_table(deployment.aws, deployment.settings)
    consent(deployment, "table")
    deployment.build()
    assert "before" not in entries(deployment)["queue"]
    for nonsense in ("text", {"tags": {}}, {"tags": "{"}, ["tags"]):
        content = deployment.state
        next(entry for entry in content["resources"] if entry["key"] == "table")["before"] = nonsense
        content["checksum"] = checksum(content)
        other = deployment.path.with_name("other.json")
        other.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(StateRefused, match="malformed"):
            State.open(other, account=ACCOUNT, region=REGION, endpoint=f"sandbox:{deployment.sandbox_id}")


def test_every_kind_can_be_put_back_save_those_that_are_never_adopted() -> None:
    lacking = {kind for kind, verbs in VERBS.items() if verbs.restore is None}
    repeating = {kind for kind, row in TYPES.items() if row.names_repeat}
    assert lacking == {kind for kind, row in TYPES.items() if kind in repeating or row.part_of in repeating}
    assert {"apigateway:rest-api", "apigateway:stage"} < lacking
