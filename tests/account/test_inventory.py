"""What the survey sees of an account: everything, whose it is, and what it could not see."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from provision.account.inventory import Inventory, take_inventory, take_inventory_of_iam
from provision.aws.clients import Clients
from provision.settings import AccountRules
from provision.state.entries import ADOPTED_TAG, TAG
from provision.state.resources import PLACES, TYPES
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, refuse
from tests.rig.deployment import ACCOUNT

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@pytest.fixture(scope="module")
def built(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A whole deployment, which the tests only look at."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("built") / "ledger.json"
        with CommandLine(sandbox, path, "built", patch) as made:
            made.settings = replace(made.settings, rules=AccountRules(auth="api-key"))
            made.build()
            yield made


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """Names of a learner of this test's own, with nothing under them yet."""
    with CommandLine(sandbox, tmp_path / "ledger.json", f"s{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def keys(seen: Inventory) -> list[str]:
    return [resource.key for resource in seen.resources if resource.key]


def test_it_sees_what_the_state_file_records_of_a_build_in_the_same_order(built: CommandLine) -> None:
    aws = built.connect()
    seen = take_inventory(aws, built.settings)
    assert seen.unanswered == ()
    entries = built.state["resources"]
    assert keys(seen) == [entry["key"] for entry in entries] == list(PLACES)
    for resource, entry in zip(seen.resources, entries, strict=True):
        kind, step = PLACES[resource.key].kind, PLACES[resource.key].step
        assert (resource.kind, kind, step) == (entry["kind"], entry["kind"], entry["step"])
        assert (resource.identity, resource.parent) == (entry["identity"], entry["parent"])
        assert resource.outputs.items() <= entry["outputs"].items()
        # What only the state file knew, and what a step finds out again by itself.
        assert set(entry["outputs"]) - set(resource.outputs) <= {"role_ids", "role_id", "CodeSha256"}, resource.key
        assert resource.tag == built.state["deployment"]
        assert not resource.is_adopted
    assert all(call.is_read for call in aws.calls.history)


def test_under_names_of_nobody_it_sees_nothing(deployment: CommandLine) -> None:
    aws = deployment.connect()
    seen = take_inventory(aws, deployment.settings)
    assert [resource for resource in seen.resources if resource.key] == []
    assert seen.unanswered == ()


def test_of_other_learners_it_sees_what_a_list_brings_along(built: CommandLine, deployment: CommandLine) -> None:
    seen = take_inventory(deployment.connect(), type(deployment.settings)())
    others = {(resource.kind, resource.tag) for resource in seen.resources if not resource.key}
    assert ("logs:log-group", built.state["deployment"]) in others
    assert ("apigateway:rest-api", built.state["deployment"]) in others


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("service", "operation", "unseen"),
    [
        ("iam", "GetPolicy", {"write-policy", "read-policy"}),
        ("iam", "GetRole", {"function-role", "api-role"}),
        (
            "iam",
            "ListAttachedRolePolicies",
            {"function-role/write-policy", "function-role/read-policy", "api-role/logs-policy"},
        ),
        ("dynamodb", "DescribeTable", {"table"}),
        ("dynamodb", "ListTagsOfResource", {"table"}),
        ("sqs", "GetQueueUrl", {"queue", "dead-letter-queue"}),
        ("sqs", "GetQueueAttributes", {"queue", "dead-letter-queue"}),
        ("sqs", "ListQueueTags", {"queue", "dead-letter-queue"}),
        ("logs", "DescribeLogGroups", {"log-group", ""}),
        ("logs", "ListTagsForResource", {"log-group", ""}),
        ("lambda_", "GetFunction", {"function"}),
        ("lambda_", "ListEventSourceMappings", {"trigger"}),
        ("lambda_", "ListTags", {"trigger"}),
        ("lambda_", "GetPolicy", {"permission"}),
        ("apigateway", "GetRestApis", {"api"}),
        ("apigateway", "GetStage", {"stage"}),
        ("apigateway", "GetDeployment", {"stage"}),
    ],
)
def test_what_it_may_not_read_is_unanswered_and_never_absent(
    built: CommandLine, service: str, operation: str, unseen: set[str]
) -> None:
    aws = built.connect()
    refuse(aws, service, operation)
    seen = take_inventory(aws, built.settings, times=2)
    assert {unanswered.key for unanswered in seen.unanswered} >= unseen - {""}
    assert {unanswered.key for unanswered in seen.unanswered} <= unseen
    assert all("AccessDeniedException" in str(unanswered) for unanswered in seen.unanswered)
    parts = {key for key, place in PLACES.items() if TYPES[place.kind].part_of}
    # Everything else is seen; a part only where the whole was.
    assert parts and set(PLACES) - unseen - parts <= set(keys(seen))
    assert not unseen & set(keys(seen))


def test_tags_that_may_not_be_read_are_neither_ours_nor_none(built: CommandLine) -> None:
    """Without lambda:ListTags the answer to GetFunction lacks the tags, as if there were none."""
    aws = built.connect()
    hide_tags_of_the_function(aws)
    seen = take_inventory(aws, built.settings)
    function = next(resource for resource in seen.resources if resource.key == "function")
    assert (function.is_unreadable, function.tag) == (True, None)
    assert "could not be read" in function.described
    permission = next(resource for resource in seen.resources if resource.key == "permission")
    assert permission.is_unreadable


def hide_tags_of_the_function(aws: Clients) -> None:
    def without_tags(parsed: dict[str, object], **event: object) -> None:
        parsed.pop("Tags", None)

    aws.lambda_.meta.events.register_first("after-call.lambda.GetFunction", without_tags)
    refuse(aws, "lambda_", "ListTags")


@pytest.mark.parametrize("code", ["ExpiredTokenException", "InvalidClientTokenId"])
def test_credentials_that_are_no_good_end_it(built: CommandLine, code: str) -> None:
    aws = built.connect()
    refuse(aws, "dynamodb", "DescribeTable", code)
    with pytest.raises(ClientError, match=code):
        take_inventory(aws, built.settings)


def test_one_look_that_lags_behind_loses_nothing_where_it_looks_again(built: CommandLine) -> None:
    lagging = (
        ("iam", "GetPolicy", "NoSuchEntity"),
        ("iam", "GetRole", "NoSuchEntity"),
        ("iam", "ListAttachedRolePolicies", "NoSuchEntity"),
        ("dynamodb", "DescribeTable", "ResourceNotFoundException"),
        ("lambda_", "GetFunction", "ResourceNotFoundException"),
        ("lambda_", "GetPolicy", "ResourceNotFoundException"),
        ("apigateway", "GetStage", "NotFoundException"),
    )
    once, again = built.connect(), built.connect()
    for aws in (once, again):
        for service, operation, code in lagging:
            refuse(aws, service, operation, code, times=1)
    assert "table" not in keys(take_inventory(once, built.settings)), "else the next line proves nothing"
    assert keys(take_inventory(again, built.settings, times=3)) == list(PLACES)


def test_what_is_there_is_not_asked_for_again(built: CommandLine) -> None:
    aws = built.connect()
    take_inventory(aws, built.settings)
    once = len(aws.calls.history)
    take_inventory(aws, built.settings, times=3)
    lists_that_are_asked_again = 2 * 6
    assert len(aws.calls.history) <= 2 * once + lists_that_are_asked_again


def test_what_a_person_made_has_no_mark_and_neither_have_its_parts(deployment: CommandLine) -> None:
    stranger, settings = deployment.aws, deployment.settings
    stranger.iam.create_role(RoleName=settings.api_role, AssumeRolePolicyDocument=TRUST)
    arn = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    stranger.iam.attach_role_policy(RoleName=settings.api_role, PolicyArn=arn)
    stranger.apigateway.create_rest_api(name=settings.api)
    stranger.sqs.create_queue(QueueName=settings.queue, tags={TAG: "poc-1", ADOPTED_TAG: "true"})
    seen = {
        resource.key: resource for resource in take_inventory(deployment.connect(), settings).resources if resource.key
    }
    assert list(seen) == ["api-role", "api-role/logs-policy", "queue", "api"]
    for key in ("api-role", "api-role/logs-policy", "api"):
        assert (seen[key].tag, seen[key].is_unreadable) == (None, False)
    role_id = stranger.iam.get_role(RoleName=settings.api_role)["Role"]["RoleId"]
    assert seen["api-role"].described.startswith(f"no tag, RoleId {role_id}, made 20")
    assert (seen["queue"].tag, seen["queue"].is_adopted) == ("poc-1", True)


def test_a_trigger_in_a_partition_without_tags_on_triggers_can_carry_no_mark(built: CommandLine) -> None:
    aws = built.connect()
    refuse(aws, "lambda_", "ListTags", "InvalidParameterValueException")
    seen = {resource.key: resource for resource in take_inventory(aws, built.settings).resources if resource.key}
    assert (seen["trigger"].can_be_tagged, seen["trigger"].is_unreadable, seen["trigger"].tag) == (False, False, None)
    assert seen["trigger"].outputs["id"] == built.outputs("trigger")["id"]


def test_a_trigger_on_one_of_the_names_alone_is_seen_and_has_no_place_in_a_state_file(deployment: CommandLine) -> None:
    stranger, settings = deployment.aws, deployment.settings
    deployment.build()
    anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    stranger.iam.put_role_policy(
        RoleName=settings.function_role, PolicyName="queues", PolicyDocument=json.dumps(anything)
    )
    source = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{settings.dead_letter_queue}"
    theirs = stranger.lambda_.create_event_source_mapping(EventSourceArn=source, FunctionName=settings.function)
    seen = take_inventory(deployment.connect(), settings).resources
    triggers = {
        resource.outputs["id"]: resource.key for resource in seen if resource.kind == "lambda:event-source-mapping"
    }
    assert triggers == {deployment.outputs("trigger")["id"]: "trigger", theirs["UUID"]: ""}


def test_the_names_in_iam_take_four_calls(built: CommandLine) -> None:
    aws = built.connect()
    before = len(aws.calls.history)
    assert keys(take_inventory_of_iam(aws, built.settings)) == [
        "write-policy",
        "read-policy",
        "function-role",
        "api-role",
    ]
    assert len(aws.calls.history) - before == 4
