"""Waiting: which refusals pass by themselves, for how long they are waited for, and where waiting cannot help."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from provision.aws import reasons
from provision.aws.answers import Call
from provision.aws.reasons import (
    ALREADY_THERE,
    API_BUSY,
    DEAD_LETTER_QUEUE_NOT_YET_VISIBLE,
    DEFINITION_NOT_YET_VISIBLE,
    FUNCTION_BUSY,
    IAM_BUSY,
    JUST_MADE,
    LOG_GROUP_BUSY,
    QUEUE_NAME_BLOCKED,
    QUEUE_NOT_YET_KNOWN_TO_LAMBDA,
    QUEUE_POLICY_NAMES_NEW_ROLE,
    ROLE_NOT_YET_ASSUMABLE,
    ROLE_NOT_YET_KNOWN_TO_KMS,
    ROLE_NOT_YET_PERMITTED,
    STAGES_STILL_ON,
    STILL_ATTACHED,
    TABLE_BUSY,
    TABLES_BUSY,
    TOO_MANY_REQUESTS,
    TRIGGER_BUSY,
    VISIBILITY_TIMEOUT_NOT_YET_SEEN,
    Reason,
)
from provision.aws.waiting import SURE, GaveUp, Wait, Waiting, WaitingCannotHelp
from provision.settings import Settings
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.answers import Answer, Faults, refusal, refuse
from tests.rig.clock import Clock
from tests.rig.deployment import Deployment, Stranger


@pytest.fixture
def virtual(clock: Clock) -> Waiting:
    return Waiting(clock=clock, sleep=clock.sleep)


def error(code: str, message: str, operation: str = "Anything") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


# What AWS says, as field reports and service models have it, and which reason it is.

INVALID = "InvalidParameterValueException"
KMS_SAYS = (
    "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
    "CreateGrant. Please check your KMS key settings. KMS Exception: InvalidArnException KMS Message: "
    "ARN does not refer to a valid principal"
)
QUEUE_SAYS = (
    "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: "
    "The specified queue does not exist or you do not have access to it."
)
CONCURRENT = "The function could not be updated due to a concurrent update operation. Please try again later."
REFUSALS: list[tuple[str, str, set[Reason]]] = [
    ("NoSuchEntity", "The role with name SQS-Lambda-DynamoDB-Role cannot be found.", {JUST_MADE}),
    ("NoSuchEntity", "Policy arn:aws:iam::1:policy/x does not exist or is not attachable.", {JUST_MADE}),
    (
        INVALID,
        "The role defined for the function cannot be assumed by Lambda.",
        {ROLE_NOT_YET_ASSUMABLE, ROLE_NOT_YET_PERMITTED},
    ),
    (
        INVALID,
        "The provided execution role does not have permissions to call ReceiveMessage on SQS",
        {ROLE_NOT_YET_PERMITTED},
    ),
    (
        INVALID,
        "The function execution role does not have permissions to call ReceiveMessage on SQS",
        {ROLE_NOT_YET_PERMITTED},
    ),
    (INVALID, KMS_SAYS, {ROLE_NOT_YET_KNOWN_TO_KMS}),
    (INVALID, QUEUE_SAYS, {QUEUE_NOT_YET_KNOWN_TO_LAMBDA}),
    (INVALID, "Please ensure the role can perform GetQueueAttributes", {ROLE_NOT_YET_PERMITTED}),
    (
        INVALID,
        "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds",
        {VISIBILITY_TIMEOUT_NOT_YET_SEEN},
    ),
    (INVALID, "The runtime parameter of python3.7 is no longer supported for creating or updating", set()),
    (INVALID, "Value X at 'runtime' failed to satisfy constraint: Member must satisfy enum value set", set()),
    ("InvalidAttributeValue", "Invalid value for the parameter Policy.", {QUEUE_POLICY_NAMES_NEW_ROLE}),
    (
        "InvalidParameterValue",
        "Value {...} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.",
        {DEAD_LETTER_QUEUE_NOT_YET_VISIBLE},
    ),
    (
        "InvalidParameterValue",
        "Value {...} for parameter RedrivePolicy is invalid. Reason: Invalid value for maxReceiveCount.",
        set(),
    ),
    ("InvalidAttributeValue", "Invalid value for the parameter RedrivePolicy.", set()),
    ("InvalidAttributeName", "Unknown Attribute Policies.", set()),
    (
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        {QUEUE_NAME_BLOCKED},
    ),
    ("QueueAlreadyExists", "A queue already exists with the same name and a different value", {ALREADY_THERE}),
    ("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.", {JUST_MADE}),
    (
        "ResourceConflictException",
        "The operation cannot be performed at this time. The function is currently in the following state: Pending",
        {FUNCTION_BUSY},
    ),
    (
        "ResourceConflictException",
        "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:x",
        {FUNCTION_BUSY},
    ),
    ("ResourceConflictException", CONCURRENT, {FUNCTION_BUSY}),
    ("ResourceConflictException", "Function already exist: POC-Lambda-1", {ALREADY_THERE}),
    ("ResourceConflictException", "The statement id (POC-API-invoke) provided already exists.", {ALREADY_THERE}),
    ("ResourceConflictException", 'An event source mapping with SQS arn (" x ") already exists.', {ALREADY_THERE}),
    ("ResourceInUseException", "Cannot delete the event source mapping because it is in use.", {TRIGGER_BUSY}),
    (
        "ResourceInUseException",
        "Attempt to change a resource which is still in use: Table is being created: name",
        {TRIGGER_BUSY, TABLE_BUSY},
    ),
    ("ResourceInUseException", "Table already exists: name", {TRIGGER_BUSY, ALREADY_THERE}),
    ("DeleteConflict", "Cannot delete entity, must detach all policies first.", {STILL_ATTACHED}),
    ("DeleteConflict", "Cannot delete a policy attached to entities.", {STILL_ATTACHED}),
    ("DeleteConflict", "Cannot delete entity, must delete policies first.", set()),
    ("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.", set()),
    ("DeleteConflict", "This policy has more than one version.", set()),
    ("NotFoundException", "Invalid API identifier specified 1:abc123", {JUST_MADE}),
    (
        "ConflictException",
        "Another resource with the same parent already has this name: dynamodbmanager",
        {ALREADY_THERE},
    ),
    ("ConflictException", "Method already exists for this resource", {ALREADY_THERE}),
    (
        "ConflictException",
        "Unable to complete operation due to concurrent modification. Please try again later.",
        {API_BUSY},
    ),
    (
        "BadRequestException",
        "Unable to complete operation due to concurrent modification. Please try again later.",
        {API_BUSY},
    ),
    ("BadRequestException", "The REST API doesn't contain any methods", {DEFINITION_NOT_YET_VISIBLE}),
    ("BadRequestException", "Invalid REST API identifier specified", set()),
    ("ResourceNotFoundException", "Requested resource not found", {JUST_MADE}),
    (
        "BadRequestException",
        "Cannot delete Usage Plan a1 because there are API Stages associated with it, including b2:Staging",
        {STAGES_STILL_ON},
    ),
    ("BadRequestException", "Invalid API Stage specified", set()),
    ("EntityAlreadyExists", "Role with name X already exists.", {ALREADY_THERE}),
    ("ResourceAlreadyExistsException", "The specified log group already exists", {ALREADY_THERE}),
    (
        "OperationAbortedException",
        "A conflicting operation is currently in progress against this resource. Please try again.",
        {LOG_GROUP_BUSY},
    ),
    (
        "ConcurrentModification",
        "The request was rejected because multiple requests to change this object were submitted simultaneously.",
        {IAM_BUSY},
    ),
    ("EntityTemporarilyUnmodifiable", "An entity of this name was deleted a moment ago.", {IAM_BUSY}),
    (
        "LimitExceededException",
        "Subscriber limit exceeded: Only 50 tables can be created, updated, or deleted simultaneously",
        {TABLES_BUSY},
    ),
    ("LimitExceededException", "Subscriber limit exceeded: 2500 tables are the most.", set()),
    ("TooManyRequestsException", "Too Many Requests", {TOO_MANY_REQUESTS}),
    ("Throttling", "Rate exceeded", {TOO_MANY_REQUESTS}),
    ("AccessDeniedException", "User is not authorized to perform: iam:PassRole", set()),
    ("LimitExceeded", "A managed policy can have up to 5 versions.", set()),
]
REASONS = [value for value in vars(reasons).values() if isinstance(value, Reason)]


@pytest.mark.parametrize(("code", "message", "reasons"), REFUSALS, ids=[message[:40] for _, message, _ in REFUSALS])
def test_each_reason_knows_its_refusals_and_not_their_neighbours(code: str, message: str, reasons: set[Reason]) -> None:
    assert {reason for reason in REASONS if reason.matches(error(code, message))} == reasons


def test_every_reason_is_among_the_refusals_above() -> None:
    assert set(REASONS) == set().union(*(reasons for _, _, reasons in REFUSALS))
    for reason in REASONS:
        assert reason.source
        assert reason.means.endswith(".")
        assert 10 <= reason.budget <= 600


def test_a_refusal_is_known_by_its_newer_code_too() -> None:
    """SQS names the shape in QueryErrorCode where Code keeps the older name."""
    refused = ClientError(
        {"Error": {"Code": "Old", "Message": "wait"}, "QueryErrorCode": "QueueDeletedRecently"},  # type: ignore[typeddict-unknown-key]
        "CreateQueue",
    )
    assert QUEUE_NAME_BLOCKED.matches(refused)
    assert not QUEUE_NAME_BLOCKED.matches(ClientError({"Error": {}}, "CreateQueue"))


# retry_while.

ONE = Reason("one", "It passes.", ("One",), ("not yet",), 20, "here")
OTHER = Reason("other", "It passes, too.", ("Other",), (), 30, "here")


def tries(virtual: Waiting, *outcomes: Exception | None, **options: Any) -> int:
    """Make a call with these outcomes, one a try, the last again and again; how often it was made."""
    made = 0
    for attempt in virtual.retry_while(ONE, OTHER, **options):
        with attempt:
            made += 1
            result = outcomes[min(made, len(outcomes)) - 1]
            if result is not None:
                raise result
    return made


def test_a_call_that_succeeds_is_made_once(virtual: Waiting, clock: Clock) -> None:
    assert tries(virtual, None) == 1
    assert clock.now == 500
    assert virtual.waited == []


def test_a_refusal_that_passes_is_waited_for_and_told(virtual: Waiting, clock: Clock) -> None:
    told: list[Wait] = []
    virtual.tell = told.append
    assert tries(virtual, error("One", "not yet"), error("One", "not yet, again"), None) == 3
    assert clock.now == 504
    assert [(wait.reason, wait.words, wait.elapsed) for wait in told] == [
        ("one", "One: not yet", 0),
        ("one", "One: not yet, again", 2),
    ]
    assert told == virtual.waited


@pytest.mark.parametrize(
    "other", [error("One", "never"), error("Two", "not yet"), ValueError("a defect")], ids=["words", "code", "defect"]
)
def test_every_other_failure_passes_at_once(virtual: Waiting, clock: Clock, other: Exception) -> None:
    with pytest.raises(type(other)) as raised:
        tries(virtual, error("One", "not yet"), other)
    assert raised.value is other
    assert clock.now == 502


def test_a_wait_ends_with_its_budget_and_awss_last_words(virtual: Waiting, clock: Clock) -> None:
    with pytest.raises(GaveUp, match="one") as gave_up:
        tries(virtual, error("One", "not yet, for a while"))
    assert 18 <= clock.now - 500 <= 20
    assert "One: not yet, for a while" in gave_up.value.what
    assert gave_up.value.means == "It passes."
    assert "same command again" in gave_up.value.advice[0]
    assert gave_up.value.exit_code != outcome.DONE


def test_each_reason_has_a_budget_of_its_own(virtual: Waiting, clock: Clock) -> None:
    refusals = [error("One", "not yet")] * 9 + [error("Other", "x")] * 14
    assert tries(virtual, *refusals, None) == 24
    assert clock.now - 500 == 46  # more than either budget


def test_where_waiting_cannot_help_it_ends_within_seconds(virtual: Waiting, clock: Clock) -> None:
    with pytest.raises(WaitingCannotHelp, match="One: not yet") as stop:
        tries(virtual, error("One", "not yet"), unless=lambda: "The trust policy is wrong.")
    assert stop.value.means == "The trust policy is wrong."
    assert stop.value.exit_code == outcome.SERVICE
    assert clock.now - 500 <= 10
    assert {wait.means for wait in virtual.waited} == {
        "The trust policy is wrong. If that is still so in some seconds, waiting cannot help."
    }


@pytest.mark.parametrize("looks", range(1, SURE))
def test_a_look_that_lags_behind_does_not_end_a_wait(virtual: Waiting, looks: int) -> None:
    """What was just made cannot be read everywhere: a few looks that do not see it prove nothing."""
    sights: Iterator[str | None] = iter([*["It does not exist."] * looks, None])
    refusals = [error("One", "not yet")] * (looks + 2)
    assert tries(virtual, *refusals, None, unless=lambda: next(sights)) == looks + 3
    assert virtual.waited[-1].means == "It passes."


def test_a_call_that_succeeds_after_all_is_not_held_against_a_look_that_lags(virtual: Waiting) -> None:
    assert tries(virtual, error("One", "not yet"), error("One", "not yet"), None, unless=lambda: "It is wrong.") == 3


def test_whether_waiting_can_help_is_asked_after_a_refusal_and_once(virtual: Waiting) -> None:
    asked: list[str] = []
    assert tries(virtual, None, unless=lambda: asked.append("x")) == 1
    assert asked == []
    assert tries(virtual, *[error("One", "not yet")] * 3, None, unless=lambda: asked.append("x")) == 4
    assert asked == ["x"]
    with pytest.raises(ClientError):
        tries(virtual, error("Two", "really"), unless=lambda: asked.append("x"))
    assert asked == ["x"]


def test_before_it_gives_up_it_asks_again_what_is_wrong(virtual: Waiting, clock: Clock) -> None:
    """The first look may have been answered from a place that still showed what is gone by now."""
    sights = iter([None, "Somebody has changed it."])
    with pytest.raises(WaitingCannotHelp) as stop:
        tries(virtual, error("One", "not yet"), unless=lambda: next(sights))
    assert stop.value.means == "Somebody has changed it."
    assert 18 <= clock.now - 500 <= 20


# poll_until.


def test_what_is_there_is_returned_at_the_first_look(virtual: Waiting, clock: Clock) -> None:
    assert virtual.poll_until("a resource", lambda: {"x": 1}, budget=10) == {"x": 1}
    assert clock.now == 500


@pytest.mark.parametrize("nothing", [None, False])
def test_it_is_looked_for_until_it_is_there(virtual: Waiting, clock: Clock, nothing: bool | None) -> None:
    looks: Iterator[Any] = iter([nothing, nothing, 0])  # a zero is something
    assert virtual.poll_until("a resource", lambda: next(looks), budget=10) == 0
    assert clock.now == 504
    assert [wait.reason for wait in virtual.waited] == ["a resource", "a resource"]


def test_a_look_that_finds_nothing_ends_with_its_budget(virtual: Waiting, clock: Clock) -> None:
    with pytest.raises(GaveUp, match=r"Gave up after \d+ s: a resource\.") as gave_up:
        virtual.poll_until("a resource", lambda: None, budget=10, means="It takes a while.")
    assert 8 <= clock.now - 500 <= 10
    assert gave_up.value.means == "It takes a while."


def test_gone_is_believed_only_after_several_looks_in_a_row(virtual: Waiting) -> None:
    seen = [True, False, True, True, False, True, True, True]
    looks = iter(seen)
    virtual.poll_until("the queue to be gone", lambda: next(looks), budget=60, times=3)
    assert list(looks) == []


def test_what_comes_and_goes_does_not_hold_a_run_for_ever(virtual: Waiting, clock: Clock) -> None:
    looks = iter([True, False] * 1000)
    with pytest.raises(GaveUp):
        virtual.poll_until("the queue to be gone", lambda: next(looks), budget=60, times=2)
    assert clock.now - 500 < 65


def test_an_error_of_a_look_passes(virtual: Waiting) -> None:
    def look() -> None:
        raise error("AccessDenied", "no")

    with pytest.raises(ClientError, match="AccessDenied"):
        virtual.poll_until("a resource", look, budget=10)


# In a run.


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment whose waits take no time, taken down at the end: nothing may be left, whatever happened."""
    with Deployment(sandbox.id, sandbox.url, tmp_path / "ledger.json") as made:
        made.waiting = Waiting(sleep=lambda seconds: None)
        before = made.aws.inventory()
        yield made
        made.prepare = lambda aws, state: None
        if made.path.exists():
            assert made.tear_down() == []
        assert made.aws.inventory() == before


ASSUME = refusal("lambda", INVALID, "The role defined for the function cannot be assumed by Lambda.")
PERMIT = refusal(
    "lambda", INVALID, "The function execution role does not have permissions to call ReceiveMessage on SQS"
)
TIMEOUTS = refusal("lambda", INVALID, "Queue visibility timeout: 1 seconds is less than Function timeout: 3 seconds")
POLICY = refusal("sqs", "InvalidAttributeValue", "Invalid value for the parameter Policy.")
BLOCKED = refusal(
    "sqs",
    "AWS.SimpleQueueService.QueueDeletedRecently",
    "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
)
NOT_SEEN = refusal("iam", "NoSuchEntity", "The role with name SQS-Lambda-DynamoDB-Role cannot be found.", 404)
ATTACHED = refusal("iam", "DeleteConflict", "Cannot delete entity, must detach all policies first.", 409)
ATTACHED_TO = refusal("iam", "DeleteConflict", "Cannot delete a policy attached to entities.", 409)
UPDATING = refusal(
    "lambda",
    "ResourceConflictException",
    "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:x",
    409,
)
KMS = refusal("lambda", INVALID, KMS_SAYS)
UNSEEN_QUEUE = refusal("lambda", INVALID, QUEUE_SAYS)
BUSY = refusal("lambda", "ResourceConflictException", CONCURRENT, 409)
IN_USE = refusal("lambda", "ResourceInUseException", "Cannot delete the event source mapping because it is in use.")
TABLE = refusal(
    "dynamodb", "ResourceInUseException", "Attempt to change a resource which is still in use: Table is being updated"
)


def waited_for(deployment: Deployment) -> set[str]:
    return {wait.reason for wait in deployment.waiting.waited}


def test_what_a_build_meets_and_passes_by_itself_is_waited_for(run: Deployment) -> None:
    faults = Faults(
        refuse("AttachRolePolicy", NOT_SEEN, NOT_SEEN),
        # The dead-letter queue is made first; only its name can be blocked, as it has no policy.
        refuse("CreateQueue", BLOCKED, None, BLOCKED, POLICY, POLICY),
        refuse("CreateFunction", ASSUME, KMS),
        refuse("CreateEventSourceMapping", PERMIT, ASSUME, UNSEEN_QUEUE, BUSY),
        refuse("AddPermission", BUSY),
    )
    run.prepare = faults.put_on
    assert {event.outcome for event in run.build()} == {"created"}
    assert len(faults.served) == 13
    reasons = (
        JUST_MADE,
        QUEUE_NAME_BLOCKED,
        QUEUE_POLICY_NAMES_NEW_ROLE,
        ROLE_NOT_YET_ASSUMABLE,
        ROLE_NOT_YET_KNOWN_TO_KMS,
        ROLE_NOT_YET_PERMITTED,
        QUEUE_NOT_YET_KNOWN_TO_LAMBDA,
        FUNCTION_BUSY,
    )
    assert waited_for(run) == {reason.name for reason in reasons}


@pytest.mark.slow
def test_what_a_update_meets_and_passes_by_itself_is_waited_for(run: Deployment) -> None:
    run.build()
    mapping = run.aws.lambda_.list_event_source_mappings()["EventSourceMappings"][0]
    run.aws.lambda_.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=1)
    run.aws.lambda_.update_function_configuration(FunctionName=run.settings.function, Timeout=9)
    run.aws.lambda_.update_function_code(FunctionName=run.settings.function, ZipFile=empty_zip())
    run.aws.sqs.set_queue_attributes(QueueUrl=run.outputs("queue")["url"], Attributes={"Policy": ""})
    faults = Faults(
        refuse("SetQueueAttributes", POLICY, POLICY),
        refuse("UpdateFunctionCode", UPDATING, UPDATING),
        refuse("UpdateFunctionConfiguration", UPDATING, ASSUME, KMS),
        refuse("UpdateEventSourceMapping", IN_USE, IN_USE),
    )
    run.prepare = faults.put_on
    run.build()
    assert len(faults.served) == 9
    assert {key: event.outcome for key, event in run.changed.items()} == {
        "queue": "updated",
        "function": "updated",
        "trigger": "updated",
    }
    reasons = (QUEUE_POLICY_NAMES_NEW_ROLE, FUNCTION_BUSY, ROLE_NOT_YET_ASSUMABLE, TRIGGER_BUSY)
    assert waited_for(run) >= {reason.name for reason in reasons}
    run.prepare = lambda aws, state: None
    run.build()
    assert run.changed == {}


def test_what_a_teardown_meets_and_passes_by_itself_is_waited_for(run: Deployment) -> None:
    run.build()
    faults = Faults(
        refuse("DeleteEventSourceMapping", IN_USE, IN_USE),
        refuse("DeleteTable", TABLE, TABLE),
        refuse("DeleteRole", ATTACHED, ATTACHED, None, ATTACHED),
        refuse("DeletePolicy", ATTACHED_TO, ATTACHED_TO, None, ATTACHED_TO),
    )
    run.prepare = faults.put_on
    assert run.tear_down() == []
    assert len(faults.served) == 10
    assert waited_for(run) >= {reason.name for reason in (TRIGGER_BUSY, TABLE_BUSY, STILL_ATTACHED)}


def empty_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("lambda_function.py", "def lambda_handler(event, context): return None")
    return buffer.getvalue()


def trust_somebody_else(aws: Stranger, settings: Settings) -> None:
    aws.iam.update_assume_role_policy(
        RoleName=settings.function_role,
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
                ],
            }
        ),
    )


def delete_the_functions_role(aws: Stranger, settings: Settings) -> None:
    name = settings.function_role
    for policy in aws.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        aws.iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    aws.iam.delete_role(RoleName=name)


def read_policy_arn(settings: Settings) -> str:
    return f"arn:aws:iam::123456789012:policy/{settings.read_policy}"


def forbid_receiving(aws: Stranger, settings: Settings) -> None:
    statement = {"Effect": "Allow", "Action": "sqs:DeleteMessage", "Resource": "*"}
    aws.iam.create_policy_version(
        PolicyArn=read_policy_arn(settings),
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        SetAsDefault=True,
    )


def shorten_the_visibility(aws: Stranger, settings: Settings) -> None:
    url = aws.sqs.get_queue_url(QueueName=settings.queue)["QueueUrl"]
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})


def detach_the_policy(aws: Stranger, settings: Settings) -> None:
    aws.iam.detach_role_policy(RoleName=settings.function_role, PolicyArn=read_policy_arn(settings))


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("operation", "refused", "wrong", "says"),
    [
        ("CreateFunction", ASSUME, trust_somebody_else, "trust policy of SQS-Lambda-DynamoDB-Role"),
        ("CreateFunction", ASSUME, delete_the_functions_role, "SQS-Lambda-DynamoDB-Role does not exist"),
        ("CreateEventSourceMapping", PERMIT, forbid_receiving, "must allow sqs:ReceiveMessage"),
        ("CreateEventSourceMapping", PERMIT, detach_the_policy, "Lambda-Read-SQS is not attached"),
        ("CreateEventSourceMapping", ASSUME, trust_somebody_else, "trust policy of SQS-Lambda-DynamoDB-Role"),
        ("CreateEventSourceMapping", TIMEOUTS, shorten_the_visibility, "1 s (visibility timeout)"),
        ("CreateQueue", POLICY, delete_the_functions_role, "SQS-Lambda-DynamoDB-Role, which does not exist"),
    ],
)
def test_where_something_is_really_wrong_a_build_looks_and_ends_within_seconds(
    run: Deployment,
    operation: str,
    refused: Answer,
    wrong: Callable[[Stranger, Settings], None],
    says: str,
) -> None:
    """AWS refuses in the words it also uses for what passes by itself; here somebody broke what step 1 or 2 made."""

    broken: list[str] = []

    def decide(call: Call) -> Answer | None:
        if call.operation != operation or call.parameters.get("QueueName") == run.settings.dead_letter_queue:
            return None
        if not broken:
            wrong(run.aws, run.settings)
            broken.append(operation)
        return refused

    faults = Faults(decide)
    run.prepare = faults.put_on
    with pytest.raises(WaitingCannotHelp) as stop:
        run.build()
    assert says in stop.value.means
    assert len(faults.served) == SURE  # two seconds apart
    assert all(says in wait.means for wait in run.waiting.waited)


@pytest.mark.slow
def test_a_refusal_that_never_passes_ends_and_the_next_run_goes_on(run: Deployment, clock: Clock) -> None:
    real, run.waiting = run.waiting, Waiting(clock=clock, sleep=clock.sleep)
    faults = Faults(lambda call: ASSUME if call.operation == "CreateFunction" else None)
    run.prepare = faults.put_on
    with pytest.raises(GaveUp, match="role not yet assumable") as gave_up:
        run.build()
    assert "The role defined for the function cannot be assumed by Lambda." in gave_up.value.what
    assert 110 < clock.now - 500 <= 120
    assert len(faults.served) == 61  # every two seconds
    run.waiting = real
    run.prepare = lambda aws, state: None
    outcomes = {event.key: event.outcome for event in run.build()}
    assert outcomes["table"] == "unchanged"
    assert outcomes["function"] == "created"


def test_a_refusal_that_is_meant_is_not_waited_for(run: Deployment) -> None:
    no_more = "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions."
    faults = Faults(refuse("CreateFunction", refusal("lambda", INVALID, no_more)))
    run.prepare = faults.put_on
    with pytest.raises(ClientError, match="no longer supported"):
        run.build()
    assert len(faults.served) == 1
    assert run.waiting.waited == []
