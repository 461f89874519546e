"""What somebody changes by hand is seen by plan and status, also where no step sets it, or is named as not looked at.

The cases share one deployment: each changes it as a stranger would, looks, and changes it back. What the sandbox does
not keep is put into its answer.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import provision.__main__
from provision.account.drift import look_closer
from provision.account.plan import DryState, Planned, make_plan
from provision.state.comparison import COMPARED
from provision.state.entries import Entry
from provision.state.resources import PLACES, TYPES
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, Ended, refuse, run
from tests.rig.deployment import ACCOUNT, REGION, Standing

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
DENY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})
OPEN = DENY.replace('"Deny"', '"Allow", "Principal": "*"')


@pytest.fixture(scope="module")
def built(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with Standing(sandbox.id, sandbox.url, tmp_path_factory.mktemp("built") / "state.json") as made:
        made.build()
        yield made


def look(deployment: Standing) -> dict[str, Planned]:
    """What status and plan see that is not as it should be, by key."""
    aws = deployment.connect()
    state = DryState.open(deployment.path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
    planned = look_closer(aws, state, make_plan(aws, deployment.settings, state))
    state.close()
    return {one.key: one for one in planned if one.word != "unchanged"}


@dataclass(frozen=True)
class Case:
    """A change by hand: of which attribute of which resource, and whether a run would leave it."""

    key: str
    attribute: str
    make: Callable[[Standing], Any]
    undo: Callable[[Standing], Any]
    left: bool = True

    def __str__(self) -> str:
        return f"{self.key} {self.attribute}"


def queue(key: str, attribute: str, value: str, before: str = "", *, left: bool = True) -> Case:
    def put(value: str, d: Standing) -> None:
        d.aws.sqs.set_queue_attributes(QueueUrl=d.outputs(key)["url"], Attributes={attribute: value})

    return Case(key, attribute, partial(put, value), partial(put, before), left)


def function(attribute: str, *, left: bool = True, before: Any, **change: Any) -> Case:
    def put(change: dict[str, Any], d: Standing) -> None:
        d.aws.lambda_.update_function_configuration(FunctionName=d.settings.function, **change)

    return Case("function", attribute, partial(put, change), partial(put, dict.fromkeys(change, before)), left)


def trigger(attribute: str, *, before: Any, left: bool = True, **change: Any) -> Case:
    def put(change: dict[str, Any], d: Standing) -> None:
        d.aws.lambda_.update_event_source_mapping(UUID=d.outputs("trigger")["id"], **change)

    return Case("trigger", attribute, partial(put, change), partial(put, dict.fromkeys(change, before)), left)


def table(attribute: str, *, before: Any, **change: Any) -> Case:
    def put(change: dict[str, Any], d: Standing) -> None:
        d.aws.dynamodb.update_table(TableName=d.settings.table, **change)

    return Case("table", attribute, partial(put, change), partial(put, dict.fromkeys(change, before)))


def stage(attribute: str, path: str, value: str, before: str, *, left: bool = True) -> Case:
    def put(value: str, d: Standing) -> None:
        d.aws.apigateway.update_stage(
            restApiId=d.outputs("api")["id"],
            stageName=d.settings.stage,
            patchOperations=[{"op": "replace", "path": path, "value": value}],
        )

    return Case("stage", attribute, partial(put, value), partial(put, before), left)


def role(attribute: str, verb: str, undo: str, **parameters: str) -> Case:
    """Of the function's role; what undoes a change takes the first of its parameters."""
    named = dict(list(parameters.items())[:1]) if attribute != PERMISSIONS_BOUNDARY else {}

    def call(name: str, parameters: dict[str, str], d: Standing) -> None:
        getattr(d.aws.iam, name)(RoleName=d.settings.function_role, **parameters)

    return Case("function-role", attribute, partial(call, verb, parameters), partial(call, undo, named))


PERMISSIONS_BOUNDARY = "PermissionsBoundary > PermissionsBoundaryArn"


def answered(key: str, attribute: str, service: str, operation: str, inside: str = "", **fields: Any) -> Case:
    """What the sandbox does not keep: `inside` its answer to this operation are these fields, too."""
    put_on: list[tuple[Any, str, Any]] = []

    def put(d: Standing) -> None:
        def change(parsed: dict[str, Any], **event: Any) -> None:
            (parsed[inside] if inside else parsed).update(fields)

        events = getattr(d.connect(), service).meta.events
        name = f"after-call.*.{operation}"
        events.register_first(name, change)
        put_on.append((events, name, change))

    def undo(d: Standing) -> None:
        events, name, change = put_on.pop()
        events.unregister(name, change)

    return Case(key, attribute, put, undo)


def replied(key: str, attribute: str, service: str, operation: str, **answer: Any) -> Case:
    """What the sandbox does not have: AWS's whole answer to this operation."""
    put_on: list[tuple[Any, str, Any]] = []

    def put(d: Standing) -> None:
        http = SimpleNamespace(status_code=200, headers={}, content=b"{}")
        events = getattr(d.connect(), service).meta.events
        put_on.append((events, f"before-call.*.{operation}", lambda **event: (http, answer)))
        events.register_first(*put_on[-1][1:])

    def undo(d: Standing) -> None:
        events, name, reply = put_on.pop()
        events.unregister(name, reply)

    return Case(key, attribute, put, undo)


def configured(attribute: str, **fields: Any) -> Case:
    return answered("function", attribute, "lambda_", "GetFunction", "Configuration", **fields)


def time_to_live(enabled: bool, d: Standing) -> None:
    wanted = {"Enabled": enabled, "AttributeName": "until"}
    d.aws.dynamodb.update_time_to_live(TableName=d.settings.table, TimeToLiveSpecification=wanted)


def recovery(enabled: bool, d: Standing) -> None:
    wanted = {"PointInTimeRecoveryEnabled": enabled}
    d.aws.dynamodb.update_continuous_backups(TableName=d.settings.table, PointInTimeRecoverySpecification=wanted)


def table_policy(verb: str, document: dict[str, str], d: Standing) -> None:
    getattr(d.aws.dynamodb, f"{verb}_resource_policy")(ResourceArn=d.outputs("table")["arn"], **document)


def api_policy(document: str, d: Standing) -> None:
    patch = [{"op": "replace", "path": "/policy", "value": document}]
    d.aws.apigateway.update_rest_api(restApiId=d.outputs("api")["id"], patchOperations=patch)


def of_function(verb: str, d: Standing, **parameters: str) -> None:
    getattr(d.aws.lambda_, verb)(FunctionName=d.settings.function, **parameters)


SOMEBODYS_TRIGGER = {
    "UUID": "somebodys",
    "EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:POC-Queue",
    "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:somebodys",
}

CASES = [
    role("inline policies", "put_role_policy", "delete_role_policy", PolicyName="stop", PolicyDocument=DENY),
    role("other attached policies", "attach_role_policy", "detach_role_policy", PolicyArn=ADMINISTRATOR),
    role(
        PERMISSIONS_BOUNDARY,
        "put_role_permissions_boundary",
        "delete_role_permissions_boundary",
        PermissionsBoundary=ADMINISTRATOR,
    ),
    answered(
        "table",
        "StreamSpecification > StreamEnabled",
        "dynamodb",
        "DescribeTable",
        "Table",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    ),
    table("DeletionProtectionEnabled", DeletionProtectionEnabled=True, before=False),
    answered(
        "table",
        "TableClassSummary > TableClass",
        "dynamodb",
        "DescribeTable",
        "Table",
        TableClassSummary={"TableClass": "STANDARD_INFREQUENT_ACCESS"},
    ),
    answered(
        "table",
        "OnDemandThroughput > MaxWriteRequestUnits",
        "dynamodb",
        "DescribeTable",
        "Table",
        OnDemandThroughput={"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 1},
    ),
    answered(
        "table",
        "SSEDescription > KMSMasterKeyArn",
        "dynamodb",
        "DescribeTable",
        "Table",
        SSEDescription={"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": KEY},
    ),
    Case("table", "time to live", partial(time_to_live, True), partial(time_to_live, False)),
    Case("table", "point-in-time recovery", partial(recovery, True), partial(recovery, False)),
    Case(
        "table",
        "resource policy",
        partial(table_policy, "put", {"Policy": DENY}),
        partial(table_policy, "delete", {}),
    ),
    queue("queue", "DelaySeconds", "900", "0"),
    queue("queue", "MessageRetentionPeriod", "60", "345600"),
    queue("queue", "MaximumMessageSize", "1024", "1048576"),
    queue("queue", "KmsMasterKeyId", "alias/aws/sqs"),
    queue("queue", "VisibilityTimeout", "77", "60", left=False),
    answered(
        "dead-letter-queue",
        "RedriveAllowPolicy",
        "sqs",
        "GetQueueAttributes",
        "Attributes",
        RedriveAllowPolicy='{"redrivePermission": "denyAll"}',
    ),
    queue("dead-letter-queue", "Policy", OPEN),
    answered(
        "function",
        "Concurrency > ReservedConcurrentExecutions",
        "lambda_",
        "GetFunction",
        Concurrency={"ReservedConcurrentExecutions": 0},
    ),
    configured("TracingConfig > Mode", TracingConfig={"Mode": "Active"}),
    configured("DeadLetterConfig > TargetArn", DeadLetterConfig={"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:POC"}),
    configured("EphemeralStorage > Size", EphemeralStorage={"Size": 1024}),
    configured("KMSKeyArn", KMSKeyArn=KEY),
    configured("Layers", Layers=[{"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:theirs:1"}]),
    configured("LastUpdateStatus", LastUpdateStatus="Failed"),
    function(
        "VpcConfig > SubnetIds",
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        before={"SubnetIds": [], "SecurityGroupIds": []},
    ),
    function("MemorySize", MemorySize=256, before=128, left=False),
    replied(
        "function",
        "function URL",
        "lambda_",
        "GetFunctionUrlConfig",
        FunctionUrl="https://theirs.lambda-url.us-east-1.on.aws/",
    ),
    Case(
        "function",
        "other permissions",
        partial(of_function, "add_permission", StatementId="all", Action="lambda:InvokeFunction", Principal="*"),
        partial(of_function, "remove_permission", StatementId="all"),
    ),
    answered(
        "queue",
        "other triggers",
        "lambda_",
        "ListEventSourceMappings",
        EventSourceMappings=[SOMEBODYS_TRIGGER],
    ),
    trigger(
        "ScalingConfig > MaximumConcurrency",
        ScalingConfig={"MaximumConcurrency": 5},
        before={"MaximumConcurrency": 2},
        left=False,
    ),
    trigger("MaximumBatchingWindowInSeconds", MaximumBatchingWindowInSeconds=300, before=0),
    answered(
        "trigger",
        "FilterCriteria > Filters",
        "lambda_",
        "GetEventSourceMapping",
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"operation": ["nothing"]}}'}]},
    ),
    Case("api", "policy", partial(api_policy, OPEN), partial(api_policy, ""), left=False),
    stage("methodSettings > */* > throttlingRateLimit", "/*/*/throttling/rateLimit", "0", "10", left=False),
    stage("methodSettings > */* > cachingEnabled", "/*/*/caching/enabled", "true", "false"),
    stage("cacheClusterEnabled", "/cacheClusterEnabled", "true", "false"),
    stage("tracingEnabled", "/tracingEnabled", "true", "false"),
]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_changed_by_hand_is_seen(built: Standing, case: Case) -> None:
    case.make(built)
    try:
        seen = look(built)
    finally:
        case.undo(built)
    assert {(case.attribute, case.left)} <= {(one.attribute, one.left) for one in seen[case.key].differences}
    assert seen[case.key].word == ("drifted" if case.left else "update")


def test_what_a_run_leaves_is_seen_beside_what_it_updates(built: Standing) -> None:
    two = [case for case in CASES if case.key == "queue" and case.attribute in ("DelaySeconds", "VisibilityTimeout")]
    for case in two:
        case.make(built)
    seen = look(built)["queue"]
    for case in two:
        case.undo(built)
    assert {(one.attribute, one.left) for one in seen.differences} == {(one.attribute, one.left) for one in two}


def test_what_was_changed_back_has_not_drifted(built: Standing) -> None:
    one = next(case for case in CASES if case.attribute == "DelaySeconds")
    one.make(built)
    one.undo(built)
    assert "queue" not in look(built)


def test_each_row_names_what_its_step_compares(built: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: dict[str, set[str]] = {}
    seen: list[Entry] = []
    before = Entry.compare_with_defaults

    def noting(entry: Entry) -> None:
        names = {name.split(" integration ")[-1].split()[-1] if "POST /" in name else name for name in entry.compared}
        if entry not in seen:
            compared.setdefault(entry.resource.kind, set()).update(names)
        seen.append(entry)
        before(entry)

    monkeypatch.setattr(Entry, "compare_with_defaults", noting)
    look(built)
    assert set(COMPARED) == set(TYPES) == {place.kind for place in PLACES.values()}
    for kind, names in compared.items():
        assert {name.replace("tag poc-deployment", "tag") for name in names} == set(COMPARED[kind].updated), kind


# The programs.


@pytest.fixture
def line(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_look: None) -> Iterator[CommandLine]:
    with CommandLine(sandbox, tmp_path / "ledger.json", f"t{secrets.token_hex(3)}", monkeypatch) as made:
        made.provision("--yes", "--no-try")
        yield made


def status(line: CommandLine, *arguments: str) -> Ended:
    return run(provision.__main__.provision, "provision", "status", "--verbose", *line.where, *arguments)


def test_status_and_plan_report_a_policy_that_stops_the_function_and_a_test_of_it_fails(line: CommandLine) -> None:
    line.aws.iam.put_role_policy(RoleName=line.settings.function_role, PolicyName="stop", PolicyDocument=DENY)
    seen = status(line)
    assert seen.code == outcome.LEFT and "15 unchanged, 1 drifted." in seen.told
    assert "inline policies: left as stop, AWS's default nothing" in seen.told
    assert "--try" in seen.said and "To update" not in seen.said and seen.writes == []
    assert sum(one.compared for one in seen.result.resources) == len_of(seen.told)
    planned = line.provision("--dry-run", "--detailed-exitcode")
    assert planned.code == outcome.CHANGES and "1 drifted, and left so. Nothing was changed." in planned.told
    clock = itertools.count(step=10.0)
    line.on_connect = lambda aws: setattr(aws.waiting, "clock", lambda: next(clock))  # nobody waits here
    tried = status(line, "--try")
    line.on_connect = lambda aws: None
    assert tried.code == outcome.LEFT and tried.result.error and tried.result.error.code == "test-failed"
    line.aws.iam.delete_role_policy(RoleName=line.settings.function_role, PolicyName="stop")
    healed = status(line, "--try")
    assert healed.code == outcome.DONE and len(healed.result.tests) == 5
    assert all(one.passed for one in healed.result.tests)


def len_of(told: str) -> int:
    """How many attributes status says it compared."""
    return int(re.findall(r"Compared: (\d+) attributes of 16 resources", told)[0])


def test_a_build_that_finds_drift_leaves_it_says_so_and_tests(line: CommandLine) -> None:
    url = line.outputs("queue")["url"]
    line.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "1"})
    unasked = line.provision()
    assert "Planned: 1 drifted, and left so." in unasked.flat and "Nobody is there to be asked" in unasked.flat
    assert unasked.code == outcome.USAGE and unasked.writes == []  # the tests write
    again = line.provision("--yes")
    assert again.code == outcome.DONE and len(again.result.tests) == 5
    assert "DelaySeconds: left as 1, AWS's default 0" in again.said
    assert "Left as found, as it may be intended: 1 attribute not at AWS's default." in again.said
    assert "everything is as it should be" not in again.said
    assert line.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["DelaySeconds"] == "1"


def test_what_may_not_be_read_is_not_compared_and_named(line: CommandLine) -> None:
    line.on_connect = lambda aws: refuse(aws, "iam", "ListRolePolicies", "AccessDenied")
    seen = status(line)
    assert seen.code == outcome.DONE and seen.told.count("inline policies: not compared (AccessDenied)") == 2


def test_a_log_group_of_somebody_elses_is_not_looked_into(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_look: None
) -> None:
    with CommandLine(sandbox, tmp_path / "ledger.json", f"t{secrets.token_hex(3)}", monkeypatch) as line:
        line.aws.logs.create_log_group(logGroupName=line.settings.log_group)
        line.provision("--yes", "--no-try")
        seen = status(line)
    assert seen.code == outcome.DONE and "DescribeSubscriptionFilters" not in [one.operation for one in seen.calls]


def test_a_second_build_asks_no_more_than_its_steps_need(line: CommandLine) -> None:
    assert (len(line.provision("--yes", "--no-try").calls), len(status(line).calls)) == (28, 51)


def test_what_a_run_left_without_its_arn_is_compared_all_the_same(line: CommandLine) -> None:
    """A build that is killed while the table is being created has not noted the ARN yet."""
    line.rewrite(lambda entries: entries["table"]["outputs"].pop("arn"))

    def still_creating(parsed: dict[str, Any], **event: Any) -> None:
        parsed["Table"]["TableStatus"] = "CREATING"

    line.on_connect = lambda aws: aws.dynamodb.meta.events.register("after-call.dynamodb.DescribeTable", still_creating)
    seen = status(line)
    line.on_connect = lambda aws: None
    assert seen.code == outcome.DONE and "defect" not in seen.said
    assert "not compared" not in seen.told


def test_what_the_tests_say_is_recorded_by_status_too(line: CommandLine) -> None:
    assert "tests" not in line.state
    assert status(line, "--try").code == outcome.DONE
    assert line.state["tests"]["failed"] == {}
    assert "Tests:        passed, " in status(line).told


def test_what_has_another_id_than_the_recorded_is_told_by_status_and_stops_a_dry_run(line: CommandLine) -> None:
    line.rewrite(lambda entries: entries["table"]["outputs"].update(id="1"))
    seen = status(line)
    assert seen.code == outcome.LEFT and "15 unchanged, 1 in the way." in seen.told
    assert "this deployment's tag, but TableId" in seen.told and "where 1 is recorded" in " ".join(seen.told.split())
    planned = line.provision("--dry-run")
    assert planned.code == outcome.LEFT and "is not the one that the state file records" in planned.flat
