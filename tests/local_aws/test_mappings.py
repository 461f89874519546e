"""Event source mappings: what Lambda accepts and refuses, and what becomes of the messages."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox import Sandbox
from sandbox.lambda_.mappings import failures
from tests.local_aws.sandbox_account import ACCOUNT, QUEUE_READING, REGION, Account, Held, eventually
from tests.rig.clock import never
from tests.rig.programs import is_running

# Keeps each batch it was given as one item; then its ending says what becomes of bodies that start with "bad".
KEEPER = """
import boto3, json
table = boto3.resource("dynamodb").Table("%s")
def lambda_handler(event, context):
    records = event["Records"]
    if not records:
        return
    table.put_item(Item={"id": context.aws_request_id, "batch": json.dumps(event)})
    bad = [r["messageId"] for r in records if r["body"].startswith("bad")]
%s
"""
PARTIAL = '    return {"batchItemFailures": [{"itemIdentifier": i} for i in bad]}'
FAILING = '    if bad: raise ValueError("a bad one")'


def refused(call: Any, **parameters: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


class Keeper:
    """A function that remembers every batch, and the queue in front of it."""

    def __init__(self, account: Account, ending: str, **attributes: str) -> None:
        self.account = account
        self.table = account.table()
        self.function = account.function(KEEPER % (self.table, ending), Timeout=2)
        # Warm: on a busy machine a cold start may take longer than the short visibility timeouts used here.
        account.invoke(self.function, {"Records": []})
        self.queue, self.queue_arn = account.queue(**attributes)

    def map(self, **settings: Any) -> str:
        made = self.account.functions.create_event_source_mapping(
            EventSourceArn=self.queue_arn, FunctionName=self.function, **settings
        )
        return str(made["UUID"])

    def send(self, *bodies: str) -> None:
        for first in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[first : first + 10])]
            self.account.sqs.send_message_batch(QueueUrl=self.queue, Entries=entries)

    def batches(self) -> list[list[dict[str, Any]]]:
        items = self.account.dynamodb.scan(TableName=self.table)["Items"]
        return [json.loads(item["batch"]["S"])["Records"] for item in items]

    def seen(self) -> list[tuple[str, str]]:
        """Body and receive count of every record of every batch."""
        records = [record for batch in self.batches() for record in batch]
        return sorted((one["body"], one["attributes"]["ApproximateReceiveCount"]) for one in records)

    def left(self, queue: str | None = None) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        read = self.account.sqs.get_queue_attributes(QueueUrl=queue or self.queue, AttributeNames=names)
        return sum(int(value) for value in read["Attributes"].values())


@pytest.fixture(scope="module")
def echo(account: Account) -> str:
    return account.function("def lambda_handler(event, context):\n    return event\n")


@pytest.fixture
def gone(account: Account) -> Any:
    """Says whether a mapping is gone."""

    def ask(identity: str) -> bool:
        try:
            account.functions.get_event_source_mapping(UUID=identity)
        except account.functions.exceptions.ResourceNotFoundException:
            return True
        return False

    return ask


# The four calls


def test_a_mapping_is_made_read_changed_and_deleted(account: Account, echo: str, gone: Any) -> None:
    _, queue_arn = account.queue()
    made = account.functions.create_event_source_mapping(
        EventSourceArn=queue_arn, FunctionName=echo, Tags={"deployment": "poc"}
    )
    identity = made["UUID"]
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert made["State"] == "Creating"
    assert made["BatchSize"] == 10
    assert made["EventSourceArn"] == queue_arn
    assert made["FunctionArn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{echo}"
    assert made["EventSourceMappingArn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{identity}"

    read = account.functions.get_event_source_mapping(UUID=identity)
    assert read["State"] == "Enabled"
    assert abs(read["LastModified"].timestamp() - time.time()) < 60

    changed = account.functions.update_event_source_mapping(UUID=identity, Enabled=False, BatchSize=5)
    assert (changed["State"], changed["BatchSize"]) == ("Disabling", 5)
    assert account.functions.get_event_source_mapping(UUID=identity)["State"] == "Disabled"
    assert account.functions.update_event_source_mapping(UUID=identity, Enabled=True)["State"] == "Enabling"
    assert account.functions.update_event_source_mapping(UUID=identity, BatchSize=6)["State"] == "Updating"

    deleted = account.functions.delete_event_source_mapping(UUID=identity)
    assert (deleted["State"], deleted["ResponseMetadata"]["HTTPStatusCode"]) == ("Deleting", 202)
    eventually(lambda: gone(identity))
    assert refused(account.functions.delete_event_source_mapping, UUID=identity) == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )


def test_a_mapping_can_be_made_disabled(account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    identity = keeper.map(Enabled=False)
    assert account.functions.get_event_source_mapping(UUID=identity)["State"] == "Disabled"
    keeper.send("a")
    never(keeper.batches, 0.6)
    account.functions.update_event_source_mapping(UUID=identity, Enabled=True)
    eventually(lambda: keeper.seen() == [("a", "1")])


def test_mappings_are_listed_by_queue_and_by_function_and_in_pages(account: Account, echo: str) -> None:
    other = account.function("def lambda_handler(event, context): pass")
    arns = [account.queue()[1] for _ in range(3)]
    made = {
        account.functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=other)["UUID"] for arn in arns
    }

    def listed(**parameters: Any) -> set[str]:
        pages = account.functions.get_paginator("list_event_source_mappings").paginate(**parameters)
        return {one["UUID"] for page in pages for one in page["EventSourceMappings"]}

    assert listed(FunctionName=other) == made
    assert listed(FunctionName=other, PaginationConfig={"PageSize": 1}) == made
    assert len(listed(EventSourceArn=arns[0])) == 1
    assert listed(EventSourceArn=arns[0], FunctionName=echo) == set()
    assert made <= listed()
    elsewhere = account.client("lambda", region_name="eu-west-1")
    assert elsewhere.list_event_source_mappings()["EventSourceMappings"] == []


def test_tags_are_kept_with_the_mapping(account: Account, echo: str) -> None:
    _, queue_arn = account.queue()
    made = account.functions.create_event_source_mapping(
        EventSourceArn=queue_arn, FunctionName=echo, Tags={"a": "1", "b": "2"}
    )
    arn = made["EventSourceMappingArn"]
    account.functions.tag_resource(Resource=arn, Tags={"c": "3"})
    account.functions.untag_resource(Resource=arn, TagKeys=["a", "b"])
    assert account.functions.list_tags(Resource=arn)["Tags"] == {"c": "3"}
    assert refused(account.functions.list_tags, Resource=arn[:-4] + "0000")[0] == 404


def test_tags_of_functions_are_still_motos(account: Account, echo: str) -> None:
    arn = account.functions.get_function(FunctionName=echo)["Configuration"]["FunctionArn"]
    account.functions.tag_resource(Resource=arn, Tags={"k": "v"})
    assert account.functions.list_tags(Resource=arn)["Tags"] == {"k": "v"}


# Refusals


def test_a_missing_queue_is_refused(account: Account, echo: str) -> None:
    assert refused(
        account.functions.create_event_source_mapping,
        EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:nowhere",
        FunctionName=echo,
    ) == (
        400,
        "InvalidParameterValueException",
        "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
        "SQS Error Message: The specified queue does not exist.",
    )


def test_a_missing_function_is_refused(account: Account) -> None:
    _, queue_arn = account.queue()
    assert refused(account.functions.create_event_source_mapping, EventSourceArn=queue_arn, FunctionName="nobody") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:nobody",
    )


def test_a_second_mapping_of_the_same_pair_is_refused(account: Account, echo: str) -> None:
    _, queue_arn = account.queue()
    first = account.functions.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=echo)["UUID"]
    assert refused(account.functions.create_event_source_mapping, EventSourceArn=queue_arn, FunctionName=echo) == (
        409,
        "ResourceConflictException",
        f'An event source mapping with SQS arn (" {queue_arn} ") and function (" {echo} ") already exists. '
        f"Please update or delete the existing mapping with UUID {first}",
    )


def test_a_visibility_timeout_below_the_functions_is_refused(account: Account) -> None:
    function = account.function("def lambda_handler(event, context): pass", Timeout=60)
    url, queue_arn = account.queue()
    expected = (
        400,
        "InvalidParameterValueException",
        "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds",
    )
    create = account.functions.create_event_source_mapping
    assert refused(create, EventSourceArn=queue_arn, FunctionName=function) == expected
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "60"})
    assert create(EventSourceArn=queue_arn, FunctionName=function)["UUID"]


@pytest.mark.parametrize("missing", ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"])
def test_a_role_that_may_not_read_the_queue_is_refused(account: Account, missing: str) -> None:
    role = account.role([action for action in QUEUE_READING if not action.endswith(missing)])
    function = account.function("def lambda_handler(event, context): pass", Role=role)
    _, queue_arn = account.queue()
    create = account.functions.create_event_source_mapping
    assert refused(create, EventSourceArn=queue_arn, FunctionName=function) == (
        400,
        "InvalidParameterValueException",
        f"The function execution role does not have permissions to call {missing} on SQS",
    )
    policy = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": queue_arn},
    }
    arn = account.iam.create_policy(PolicyName=account.name("policy"), PolicyDocument=json.dumps(policy))["Policy"][
        "Arn"
    ]
    account.iam.attach_role_policy(RoleName=role.rpartition("/")[2], PolicyArn=arn)
    assert create(EventSourceArn=queue_arn, FunctionName=function)["UUID"]


def test_a_role_that_may_read_another_queue_only_is_refused(account: Account) -> None:
    role = account.role(["logs:*"])
    _, allowed_arn = account.queue()
    _, queue_arn = account.queue()
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["SQS:receive*", "sqs:*"], "Resource": [allowed_arn]}],
    }
    account.iam.put_role_policy(
        RoleName=role.rpartition("/")[2], PolicyName="one-queue", PolicyDocument=json.dumps(policy)
    )
    function = account.function("def lambda_handler(event, context): pass", Role=role)
    create = account.functions.create_event_source_mapping
    assert (
        "execution role does not have permissions"
        in refused(create, EventSourceArn=queue_arn, FunctionName=function)[2]
    )
    assert create(EventSourceArn=allowed_arn, FunctionName=function)["UUID"]


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"StartingPosition": "LATEST"}, "StartingPosition"),
        ({"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0"),
        ({"BatchSize": 0}, "'batchSize' failed to satisfy constraint"),
        (
            {"BatchSize": 10001, "MaximumBatchingWindowInSeconds": 1},
            "'batchSize' failed to satisfy constraint",
        ),
        ({"MaximumBatchingWindowInSeconds": 301}, "failed to satisfy constraint"),
        ({"FunctionResponseTypes": ["Nonsense"]}, "[ReportBatchItemFailures]"),
        ({"ScalingConfig": {"MaximumConcurrency": 1}}, "MaximumConcurrency"),
        ({"ParallelizationFactor": 2}, "ParallelizationFactor"),
    ],
)
def test_a_setting_that_queues_do_not_have_is_refused(
    account: Account, echo: str, settings: dict[str, Any], fragment: str
) -> None:
    _, queue_arn = account.queue()
    status, code, message = refused(
        account.functions.create_event_source_mapping, EventSourceArn=queue_arn, FunctionName=echo, **settings
    )
    assert (status, code) == (400, "InvalidParameterValueException")
    assert fragment in message


def test_a_refused_update_changes_nothing(account: Account, echo: str) -> None:
    _, queue_arn = account.queue()
    identity = account.functions.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=echo)["UUID"]
    before = account.functions.get_event_source_mapping(UUID=identity)
    refused(account.functions.update_event_source_mapping, UUID=identity, BatchSize=11)
    refused(account.functions.update_event_source_mapping, UUID=identity, BatchSize=5, FunctionName="nobody")
    after = account.functions.get_event_source_mapping(UUID=identity)
    assert {**before, "ResponseMetadata": None} == {**after, "ResponseMetadata": None}


@pytest.mark.parametrize(
    "source",
    [
        f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/one",
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/1",
    ],
)
def test_another_kind_of_source_is_told_to_be_beyond_the_sandbox(account: Account, echo: str, source: str) -> None:
    assert refused(account.functions.create_event_source_mapping, EventSourceArn=source, FunctionName=echo)[0] == 501


def test_a_filter_is_told_to_be_beyond_the_sandbox(account: Account, echo: str) -> None:
    _, queue_arn = account.queue()
    filtered = {"Filters": [{"Pattern": '{"body": {"x": [1]}}'}]}
    create = account.functions.create_event_source_mapping
    assert refused(create, EventSourceArn=queue_arn, FunctionName=echo, FilterCriteria=filtered)[0] == 501


# What becomes of the messages


def test_a_message_arrives_in_the_shape_of_an_sqs_event(account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    keeper.map()
    sent = account.sqs.send_message(
        QueueUrl=keeper.queue,
        MessageBody='{"operation": "ping"}',
        MessageAttributes={"colour": {"DataType": "String", "StringValue": "red"}},
    )
    record = eventually(keeper.batches)[0][0]
    assert record.pop("receiptHandle")
    attributes = record.pop("attributes")
    assert {
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    } <= set(attributes)
    assert attributes["ApproximateReceiveCount"] == "1"
    record.pop("md5OfMessageAttributes", None)
    assert record == {
        "messageId": sent["MessageId"],
        "body": '{"operation": "ping"}',
        "messageAttributes": {
            "colour": {
                "stringValue": "red",
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "String",
            }
        },
        "md5OfBody": sent["MD5OfMessageBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": keeper.queue_arn,
        "awsRegion": REGION,
    }
    eventually(lambda: keeper.left() == 0)


def test_a_batch_is_no_larger_than_its_size(account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    keeper.send(*[f"m{n}" for n in range(9)])
    keeper.map(BatchSize=4)
    eventually(lambda: keeper.left() == 0)
    assert sorted(len(batch) for batch in keeper.batches()) == [1, 4, 4]


def test_a_window_gathers_more_than_one_receive(account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    keeper.send(*[f"m{n}" for n in range(24)])
    keeper.map(BatchSize=20, MaximumBatchingWindowInSeconds=1)
    eventually(lambda: keeper.left() == 0)
    sizes = sorted(len(batch) for batch in keeper.batches())
    assert sum(sizes) == 24
    assert sizes[-1] > 10
    assert sizes[-1] <= 20


def test_only_the_reported_failures_come_back(account: Account) -> None:
    keeper = Keeper(account, PARTIAL, VisibilityTimeout="2")
    keeper.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    keeper.send("good-1", "bad", "good-2")
    eventually(lambda: ("bad", "2") in keeper.seen())
    assert [one for one in keeper.seen() if one[0] != "bad"] == [("good-1", "1"), ("good-2", "1")]


def test_without_the_setting_a_report_of_failures_is_ignored(account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    keeper.map()
    keeper.send("good", "bad")
    eventually(lambda: keeper.left() == 0 and keeper.batches())
    assert keeper.seen() == [("bad", "1"), ("good", "1")]


def test_an_exception_brings_the_whole_batch_back(account: Account) -> None:
    keeper = Keeper(account, FAILING, VisibilityTimeout="2")
    keeper.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    keeper.send("good", "bad")
    eventually(lambda: {("bad", "1"), ("good", "1"), ("bad", "2"), ("good", "2")} <= set(keeper.seen()))
    assert keeper.left() == 2


def test_a_failing_message_ends_in_the_dead_letter_queue(account: Account) -> None:
    dead, dead_arn = account.queue()
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    keeper = Keeper(account, PARTIAL, RedrivePolicy=redrive, VisibilityTimeout="2")
    identity = keeper.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    keeper.send("bad", "good")
    eventually(lambda: keeper.left(dead) == 1)
    assert account.sqs.receive_message(QueueUrl=dead)["Messages"][0]["Body"] == "bad"
    assert keeper.left() == 0
    assert keeper.seen() == [("bad", "1"), ("bad", "2"), ("good", "1")]
    result = account.functions.get_event_source_mapping(UUID=identity)["LastProcessingResult"]
    assert result.startswith("PROBLEM")


def test_what_was_sent_before_the_mapping_is_delivered_too(account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    keeper.send("early")
    keeper.map()
    eventually(lambda: keeper.seen() == [("early", "1")])


def test_a_delayed_message_arrives_when_its_time_has_come(account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    keeper.map()
    account.sqs.send_message(QueueUrl=keeper.queue, MessageBody="late", DelaySeconds=1)
    assert keeper.batches() == []
    eventually(lambda: keeper.seen() == [("late", "1")])


def test_after_the_mapping_is_deleted_messages_stay(account: Account, gone: Any) -> None:
    keeper = Keeper(account, PARTIAL)
    identity = keeper.map()
    account.functions.delete_event_source_mapping(UUID=identity)
    eventually(lambda: gone(identity))
    keeper.send("kept")
    never(keeper.batches, 0.5)
    assert keeper.left() == 1


def test_a_throttled_function_takes_no_message(account: Account) -> None:
    keeper = Keeper(account, PARTIAL, VisibilityTimeout="2")
    account.functions.put_function_concurrency(FunctionName=keeper.function, ReservedConcurrentExecutions=0)
    identity = keeper.map()
    keeper.send("later")

    def result() -> bool:
        read = account.functions.get_event_source_mapping(UUID=identity)
        return bool(read["LastProcessingResult"] == "PROBLEM: Function call failed")

    assert eventually(result)
    assert (keeper.left(), keeper.batches()) == (1, [])


def test_without_its_function_a_mapping_stays_and_so_do_the_messages(sandbox: Sandbox, account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    identity = keeper.map(Enabled=False)
    account.functions.delete_function(FunctionName=keeper.function)
    keeper.send("kept")
    assert sandbox.mappings.pump(identity) == 0
    assert account.functions.get_event_source_mapping(UUID=identity)["LastProcessingResult"].startswith("PROBLEM")
    message = account.sqs.receive_message(QueueUrl=keeper.queue, AttributeNames=["All"])["Messages"][0]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1", "it was received in vain"


def test_without_its_queue_a_mapping_stays(account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    identity = keeper.map()
    account.sqs.delete_queue(QueueUrl=keeper.queue)
    eventually(
        lambda: account.functions.get_event_source_mapping(UUID=identity)["LastProcessingResult"].startswith("PROBLEM")
    )
    assert account.functions.get_event_source_mapping(UUID=identity)["State"] == "Enabled"


def test_a_role_that_lost_its_permission_receives_nothing(sandbox: Sandbox, account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    identity = keeper.map(Enabled=False)
    role = account.functions.get_function_configuration(FunctionName=keeper.function)["Role"].rpartition("/")[2]
    account.iam.delete_role_policy(RoleName=role, PolicyName="all")
    keeper.send("kept")
    assert sandbox.mappings.pump(identity) == 0
    assert keeper.batches() == []
    assert keeper.left() == 1


def test_sending_does_not_wait_for_the_function(account: Account, tmp_path: Path) -> None:
    held = Held(account, tmp_path)
    url, queue_arn = account.queue(VisibilityTimeout="60")
    account.functions.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=held.function)
    account.sqs.send_message(QueueUrl=url, MessageBody="slow")  # which would come back after the function's timeout
    try:
        (process,) = eventually(held.begun)
        assert is_running(int(process))
    finally:
        held.let_go()


def test_a_batch_can_be_pumped_by_hand(sandbox: Sandbox, account: Account) -> None:
    keeper = Keeper(account, PARTIAL)
    identity = keeper.map(Enabled=False)
    keeper.send("by hand")
    assert sandbox.mappings.pump(identity) == 1
    assert keeper.seen() == [("by hand", "1")]
    assert sandbox.mappings.pump(identity) == 0


# The rules for partial batch responses, one by one


@pytest.mark.parametrize("payload", ["", "null", "{}", '{"batchItemFailures": []}', '{"batchItemFailures": null}'])
def test_complete_success(payload: str) -> None:
    assert failures(payload.encode(), ["1", "2"]) == set()


def test_partial_success() -> None:
    assert failures(b'{"batchItemFailures": [{"itemIdentifier": "2"}]}', ["1", "2"]) == {"2"}


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    "payload",
    [
        "no json",
        '"text"',
        "[]",
        '{"batchItemFailures": "2"}',
        '{"batchItemFailures": [{"itemIdentifier": ""}]}',
        '{"batchItemFailures": [{"itemIdentifier": null}]}',
        '{"batchItemFailures": [{"wrongKey": "2"}]}',
        '{"batchItemFailures": ["2"]}',
        '{"batchItemFailures": [{"itemIdentifier": "never sent"}]}',
        '{"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": 3}]}',
    ],
)
def test_complete_failure(payload: str) -> None:
    assert failures(payload.encode(), ["1", "2"]) == {"1", "2"}
