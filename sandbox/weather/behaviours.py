"""AWS's slow side as a table: which changes take effect late, and what is refused or shown until then.

Every span is a field of the forecast. The times are chosen for a lesson; AWS publishes only the quotas and the time for
which a queue's name is blocked. The source of a message stands beside it. A new behaviour needs a field in the
forecast, a line for when it begins, and lines for what it refuses, shows or lists.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from sandbox.backend import Backend, BackendError, Credentials
from sandbox.protocol.operations import Operation, json_object
from sandbox.protocol.refusals import Words
from sandbox.protocol.scope import FunctionName, as_list, last, statements

Thing = tuple[str, ...]
"""What a call is about: its kind, then its Region or API if it has one, then its name or id."""


@dataclass(frozen=True)
class NotYet:
    """A change that has not taken effect: from when until when on the weather's clock, and what was there before."""

    since: float
    until: float
    keeps: Any = None


class Sky(Protocol):
    """What the table needs of the weather."""

    backend: Backend
    labels: dict[str, str]
    there: set[Thing]

    def all(self, span: str, *of: str) -> dict[Thing, NotYet]:
        """All things that begin with these parts and for which this span has not passed."""


Of = Callable[[Operation, Sky], Iterable[Thing]]


# Things


def role(operation: Operation, sky: Sky) -> Iterator[Thing]:
    yield "role", last(operation.text("RoleName") or operation.text("Role"), "/")


def policy(operation: Operation, sky: Sky) -> Iterator[Thing]:
    inline = operation.text("PolicyName") if operation.name == "CreatePolicy" else ""
    yield "policy", inline or last(operation.text("PolicyArn"), "/")


def roles_in_policy(operation: Operation, sky: Sky) -> Iterator[Thing]:
    """The roles in a queue's access policy."""
    attributes = operation.parameters.get("Attributes")
    text = str(attributes.get("Policy") or "{}") if isinstance(attributes, dict) else "{}"
    for statement in statements(text) or ():
        principal = statement.get("Principal")
        for arn in as_list(principal.get("AWS")) if isinstance(principal, dict) else ():
            if ":role/" in str(arn):
                yield "role", last(str(arn), "/")


def role_of_secrets(operation: Operation, sky: Sky) -> Iterator[Thing]:
    """The role that is to read environment variables, which Lambda encrypts."""
    environment = operation.parameters.get("Environment")
    if isinstance(environment, dict) and environment.get("Variables"):
        yield from role(operation, sky)


def function_role(operation: Operation, sky: Sky) -> Iterator[Thing]:
    """The role that the function runs with."""
    function = operation.function
    if function is not None:
        path, key = f"/2015-03-31/functions/{quote(function.name)}/configuration", Credentials(operation.access_key)
        answer = sky.backend.call("lambda", "GET", path, region=function.region, credentials=key)
        if answer.ok:
            yield "role", last(str(answer.json().get("Role", "")), "/")


def table(operation: Operation, sky: Sky) -> Iterator[Thing]:
    yield "table", operation.region, operation.table


def tables_of_items(operation: Operation, sky: Sky) -> Iterator[Thing]:
    """The tables that a call on items is about."""
    named: list[Any] = [operation.table]
    if operation.name in ("BatchGetItem", "BatchWriteItem"):
        named = list(operation.parameters.get("RequestItems") or ())
    elif operation.name in ("TransactGetItems", "TransactWriteItems"):
        parts = [item.values() for item in operation.parameters.get("TransactItems") or () if isinstance(item, dict)]
        named = [part.get("TableName", "") for some in parts for part in some if isinstance(part, dict)]
    for name in named:
        yield "table", operation.region, last(str(name), "/")


def function(operation: Operation, sky: Sky) -> Iterator[Thing]:
    name = operation.function
    if name is not None:
        yield "function", name.region, name.name


def updated_function(operation: Operation, sky: Sky) -> Iterable[Thing]:
    return () if operation.parameters.get("DryRun") else function(operation, sky)


def whole_function(operation: Operation, sky: Sky) -> Iterable[Thing]:
    """The function, if the call is not about one version of it."""
    name = operation.function
    return () if name is None or name.qualifier or operation.text("Qualifier") else function(operation, sky)


def mapping(operation: Operation, sky: Sky) -> Iterator[Thing]:
    yield "mapping", operation.region, operation.text("UUID")


def mappings_of_pair(operation: Operation, sky: Sky) -> Iterator[Thing]:
    """The deleted mappings of this queue and function."""
    for of, still in sky.all("trigger_deleting", "mapping", operation.region).items():
        if is_of_pair(still.keeps, operation.text("EventSourceArn"), operation.function):
            yield of


def is_of_pair(shape: Mapping[str, Any], queue_arn: str, of_function: FunctionName | None) -> bool:
    """Whether a mapping has this queue and this function; what is not given does not matter."""
    of_queue = not queue_arn or shape.get("EventSourceArn") == queue_arn
    return of_queue and (of_function is None or shape.get("FunctionArn") == of_function.arn)


def queue(operation: Operation, sky: Sky) -> Iterator[Thing]:
    yield "queue", operation.region, operation.queue


def queue_of_mapping(operation: Operation, sky: Sky) -> Iterator[Thing]:
    yield "queue", operation.region, last(operation.text("EventSourceArn"), ":")


def stage(operation: Operation, sky: Sky) -> Iterator[Thing]:
    api = operation.text("restapi_id")
    name = operation.text("stageName") or operation.text("stage_name")
    if name:
        sky.labels.setdefault(api, "api")
        yield "stage", api, name


def stages_of_api(operation: Operation, sky: Sky) -> Iterable[Thing]:
    return [one for one in sky.there if one[:2] == ("stage", operation.text("restapi_id"))]


# What begins and ends


class Begins(NamedTuple):
    """A successful call, and the span that begins with it. ``once``: only if the thing is new.

    What is remembered comes from the answer's body by ``keeps``, or from before the call by ``reads``.
    """

    calls: str
    span: str
    of: Of
    once: bool = False
    keeps: Callable[[dict[str, Any]], Any] | None = None
    reads: Callable[[Operation, Sky], Any] | None = None


def read_queue(operation: Operation, sky: Sky, action: str, **asked: Any) -> dict[str, Any]:
    """Read the queue just before the call; empty if there is none."""
    given = {"QueueUrl": operation.text("QueueUrl"), **asked}
    key = Credentials(operation.access_key)
    try:
        return sky.backend.json("sqs", action, given, region=operation.region, credentials=key)
    except BackendError:
        return {}


def attributes_of_queue(operation: Operation, sky: Sky) -> dict[str, Any]:
    return read_queue(operation, sky, "GetQueueAttributes", AttributeNames=["All"]).get("Attributes") or {}


def whole_queue(operation: Operation, sky: Sky) -> dict[str, Any]:
    tags = read_queue(operation, sky, "ListQueueTags").get("Tags") or {}
    url = operation.text("QueueUrl")
    return {"QueueUrl": url, "Attributes": attributes_of_queue(operation, sky), "Tags": tags}


def attributes_before(operation: Operation, sky: Sky) -> dict[str, Any]:
    """The attributes that the call changes, and those that an earlier change still hides."""
    given = operation.parameters.get("Attributes")
    found = attributes_of_queue(operation, sky) if given else {}
    former = sky.all("attributes_stale", "queue", operation.region, operation.queue)
    hidden = {name: value for still in former.values() for name, value in still.keeps.items()}
    return {**{str(name): found.get(str(name)) for name in given or ()}, **hidden}


BEGINS = (
    Begins("iam CreateRole", "entity_visible", role),
    Begins("iam CreateRole", "role_assumable", role),
    Begins("iam CreateRole", "role_known_to_kms", role),
    Begins("iam CreateRole", "role_known_to_queues", role),
    Begins("iam CreatePolicy", "entity_visible", policy),
    Begins("iam AttachRolePolicy PutRolePolicy", "permissions_seen", role),
    Begins("iam DetachRolePolicy", "detachment_seen", role),
    Begins("iam DetachRolePolicy", "detachment_seen", policy),
    Begins("dynamodb CreateTable", "table_visible", table),
    Begins("dynamodb CreateTable", "table_creating", table),
    Begins("dynamodb UpdateTable", "table_updating", table),
    Begins("dynamodb DeleteTable", "table_deleting", table,
           keeps=lambda body: {**body.get("TableDescription", {}), "TableStatus": "DELETING"}),
    Begins("lambda CreateFunction", "function_pending", function),
    Begins("lambda UpdateFunctionCode UpdateFunctionConfiguration", "function_updating", updated_function),
    Begins("lambda CreateFunction UpdateFunctionCode UpdateFunctionConfiguration", "function_busy", updated_function),
    Begins("lambda CreateEventSourceMapping UpdateEventSourceMapping", "trigger_settling", mapping,
           keeps=lambda body: body.get("State")),
    Begins("lambda DeleteEventSourceMapping", "trigger_deleting", mapping, keeps=lambda body: body),
    Begins("sqs CreateQueue", "queue_visible", queue, once=True),
    Begins("sqs CreateQueue", "queue_known_to_lambda", queue, once=True),
    Begins("sqs DeleteQueue", "queue_name_blocked", queue),
    Begins("sqs DeleteQueue", "queue_lingering", queue, reads=whole_queue),
    Begins("sqs SetQueueAttributes", "attributes_stale", queue, reads=attributes_before),
    # An existing stage serves its former deployment until then.
    Begins("apigateway CreateDeployment CreateStage", "stage_served", stage, once=True),
)  # fmt: skip

# A deleted thing has no more spans.
ENDS: tuple[tuple[str, Of], ...] = (
    ("iam DeleteRole", role),
    ("iam DeletePolicy", policy),
    ("dynamodb DeleteTable", table),
    ("lambda DeleteFunction", whole_function),
    ("lambda DeleteEventSourceMapping", mapping),
    ("sqs DeleteQueue", queue),
    ("apigateway DeleteStage", stage),
    ("apigateway DeleteRestApi", stages_of_api),
)


# What is refused


class Refuses(NamedTuple):
    """Calls that are refused during a span. In the message ``{thing}`` is the thing's name, ``{arn}`` the ARN of policy
    or function, ``{queue}`` and ``{function}`` those of a mapping."""

    calls: str
    span: str
    of: Of
    words: Words


def in_use(doing: str) -> Words:
    said = f"Attempt to change a resource which is still in use: Table is being {doing}: {{thing}}"
    return Words(400, "ResourceInUseException", said)


def busy(doing: str) -> Words:
    # aws/amazon-chime-sdk-js#610 has the words for deleting; those for updating are inferred from them.
    said = f"Cannot {doing} the event source mapping because it is in use."
    return Words(400, "ResourceInUseException", said)


NO_ENTITY, NO_TABLE, CONFLICT = "NoSuchEntity", "ResourceNotFoundException", "ResourceConflictException"
INVALID = "InvalidParameterValueException"
ITEMS = (
    "dynamodb GetItem PutItem UpdateItem DeleteItem Query Scan BatchGetItem BatchWriteItem TransactGetItems "
    "TransactWriteItems"
)
# What Lambda refuses while a function is Pending, and what while it is updated
# (https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html).
UPDATES = "lambda UpdateFunctionCode UpdateFunctionConfiguration PublishVersion"
# boto/boto3#1466
NOT_ASSUMABLE = Words(400, INVALID, "The role defined for the function cannot be assumed by Lambda.")
# Since 2025; before, it began with "The provided execution role" (aws/aws-cdk#6770).
NOT_PERMITTED = Words(
    400, INVALID, "The function execution role does not have permissions to call ReceiveMessage on SQS"
)
NOW = "The operation cannot be performed at this time."

REFUSES = (
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
    # getmoto/moto#6482 has AWS's words for attaching, hashicorp/terraform#5979 for the others.
    Refuses("iam Get* List* AttachRolePolicy PutRolePolicy TagRole", "entity_visible", role,
            Words(404, NO_ENTITY, "The role with name {thing} cannot be found.")),
    Refuses("iam Get* List* CreatePolicyVersion TagPolicy", "entity_visible", policy,
            Words(404, NO_ENTITY, "Policy {arn} was not found.")),
    Refuses("iam AttachRolePolicy", "entity_visible", policy,
            Words(404, NO_ENTITY, "Policy {arn} does not exist or is not attachable.")),
    # DeleteRole and DeletePolicy, which terraform-provider-aws sends again for a while (internal/service/iam).
    Refuses("iam DeleteRole", "detachment_seen", role,
            Words(409, "DeleteConflict", "Cannot delete entity, must detach all policies first.")),
    Refuses("iam DeletePolicy", "detachment_seen", policy,
            Words(409, "DeleteConflict", "Cannot delete a policy attached to entities.")),
    # "or its status might not be ACTIVE": ResourceNotFoundException, API model of DynamoDB.
    Refuses(ITEMS, "table_creating", tables_of_items, Words(400, NO_TABLE, "Requested resource not found")),
    Refuses(ITEMS, "table_deleting", tables_of_items, Words(400, NO_TABLE, "Requested resource not found")),
    # "DescribeTable immediately after a CreateTable request": API_DescribeTable.html.
    Refuses("dynamodb DescribeTable ListTagsOfResource", "table_visible", table,
            Words(400, NO_TABLE, "Requested resource not found: Table: {thing} not found")),
    # vdesabou/kafka-docker-playground#8703 (created), sebdah/dynamic-dynamodb#36 (updated), Wantworthy/dynode#26
    # (deleted).
    Refuses("dynamodb CreateTable UpdateTable", "table_deleting", table, in_use("deleted")),
    Refuses("dynamodb UpdateTable DeleteTable TagResource UntagResource", "table_creating", table, in_use("created")),
    Refuses("dynamodb UpdateTable DeleteTable", "table_updating", table, in_use("updated")),
    Refuses("lambda CreateFunction UpdateFunctionConfiguration", "role_assumable", role, NOT_ASSUMABLE),
    # hashicorp/terraform-provider-aws#4633
    Refuses("lambda CreateFunction UpdateFunctionConfiguration", "role_known_to_kms", role_of_secrets,
            Words(400, INVALID, "Lambda was unable to configure access to your environment variables because the KMS "
                  "key is invalid for CreateGrant. Please check your KMS key settings. KMS Exception: "
                  "InvalidArnException KMS Message: ARN does not refer to a valid principal")),
    # remotion-dev/remotion#1186
    Refuses(f"{UPDATES} Invoke InvokeAsync InvokeWithResponseStream", "function_pending", function,
            Words(409, CONFLICT, f"{NOW} The function is currently in the following state: Pending")),
    # alexcasalboni/aws-lambda-power-tuning#134
    Refuses(UPDATES, "function_updating", function,
            Words(409, CONFLICT, f"{NOW} An update is in progress for resource: {{arn}}")),
    # go-to-k/cdkd, src/deployment/retryable-errors.ts
    Refuses("lambda AddPermission CreateEventSourceMapping", "function_busy", function,
            Words(409, CONFLICT, "The function could not be updated due to a concurrent update operation. Please try "
                  "again later.")),
    # localstack/localstack, which has the words from AWS
    Refuses("lambda CreateEventSourceMapping", "queue_known_to_lambda", queue_of_mapping,
            Words(400, INVALID, "Error occurred while ReceiveMessage. SQS Error Code: "
                  "AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist or "
                  "you do not have access to it.")),
    # hashicorp/terraform-provider-aws#15539
    Refuses("lambda CreateEventSourceMapping", "trigger_deleting", mappings_of_pair,
            Words(409, CONFLICT, 'An event source mapping with SQS arn (" {queue} ") and function (" {function} ") '
                  "already exists. Please update or delete the existing mapping with UUID {thing}")),
    Refuses("lambda CreateEventSourceMapping", "role_assumable", function_role, NOT_PERMITTED),
    Refuses("lambda CreateEventSourceMapping", "permissions_seen", function_role, NOT_PERMITTED),
    Refuses("lambda UpdateEventSourceMapping", "trigger_settling", mapping, busy("update")),
    Refuses("lambda UpdateEventSourceMapping", "trigger_deleting", mapping, busy("update")),
    Refuses("lambda DeleteEventSourceMapping", "trigger_settling", mapping, busy("delete")),
    Refuses("lambda DeleteEventSourceMapping", "trigger_deleting", mapping, busy("delete")),
    # hashicorp/terraform-provider-aws#35861, aws/aws-cdk#15602
    Refuses("sqs CreateQueue SetQueueAttributes", "role_known_to_queues", roles_in_policy,
            Words(400, "InvalidAttributeValue", "Invalid value for the parameter Policy.")),
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html, also for "you must
    # wait at least one second after the queue is created to be able to use the queue".
    Refuses("sqs CreateQueue", "queue_name_blocked", queue,
            Words(400, "AWS.SimpleQueueService.QueueDeletedRecently", "You must wait 60 seconds after deleting a queue "
                  "before you can create another with the same name.")),
    Refuses("sqs [!CD]* Change* DeleteMessage*", "queue_visible", queue,
            Words(400, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")),
)  # fmt: skip


# What is shown


class Shows(NamedTuple):
    """Calls whose answer is changed during a span. ``change`` changes the body and returns what it shows, or an empty
    text if nothing changed. ``instead``: the call is not carried out, and the body is empty before the change."""

    calls: str
    span: str
    of: Of
    change: Callable[[dict[str, Any], NotYet, Operation, float], str]
    instead: bool = False


def status(status: str) -> Callable[[dict[str, Any], NotYet, Operation, float], str]:
    def change(body: dict[str, Any], still: NotYet, operation: Operation, now: float) -> str:
        for part in ("Table", "TableDescription"):
            if part in body:
                body[part]["TableStatus"] = status
        return status

    return change


def deleted_table(body: dict[str, Any], still: NotYet, operation: Operation, now: float) -> str:
    """ "If table is already in the DELETING state, no error is returned": API_DeleteTable.html."""
    body["Table" if operation.name == "DescribeTable" else "TableDescription"] = still.keeps
    return "DELETING"


def in_progress(state: str) -> Callable[[dict[str, Any], NotYet, Operation, float], str]:
    def change(body: dict[str, Any], still: NotYet, operation: Operation, now: float) -> str:
        # What CreateFunction and the updates answer on AWS, from memory; no page shows both reasons together.
        reason, code, shown = "The function is being created.", "Creating", body.get("Configuration", body)
        shown |= {
            "LastUpdateStatus": "InProgress",
            "LastUpdateStatusReason": reason,
            "LastUpdateStatusReasonCode": code,
        }
        if state:
            shown |= {"State": state, "StateReason": reason, "StateReasonCode": code}
        return f"State {state}" if state else "LastUpdateStatus InProgress"

    return change


def settling(body: dict[str, Any], still: NotYet, operation: Operation, now: float) -> str:
    """A new mapping is Creating in the first half of its span, and Enabling in the second if it will be Enabled."""
    later = still.keeps == "Creating" and body.get("State") == "Enabled" and now >= (still.since + still.until) / 2
    body["State"] = "Enabling" if later else still.keeps
    return str(body["State"])


def deleted_mapping(body: dict[str, Any], still: NotYet, operation: Operation, now: float) -> str:
    body |= still.keeps
    return "Deleting"


def deleted_queue(body: dict[str, Any], still: NotYet, operation: Operation, now: float) -> str:
    """A deleted queue can still be read: deletion "takes up to 60 seconds", API_DeleteQueue.html."""
    kept, asked = still.keeps, operation.parameters.get("AttributeNames") or ()
    wanted = {name: value for name, value in kept["Attributes"].items() if "All" in asked or name in asked}
    body |= {
        "GetQueueUrl": {"QueueUrl": kept["QueueUrl"]},
        "GetQueueAttributes": {"Attributes": wanted},
        "ListQueueTags": {"Tags": kept["Tags"]},
    }[operation.name]
    return "the deleted queue"


def former_attributes(body: dict[str, Any], still: NotYet, operation: Operation, now: float) -> str:
    """ "up to 60 seconds to propagate": API_SetQueueAttributes.html."""
    asked = operation.parameters.get("AttributeNames") or ()
    before = body.get("Attributes") or {}
    shown = {name: value for name, value in before.items() if still.keeps.get(name, "") is not None}
    shown |= {name: one for name, one in still.keeps.items() if one is not None and ("All" in asked or name in asked)}
    body["Attributes"] = shown
    return "" if shown == before else f"the former {', '.join(still.keeps)}"


OF_FUNCTIONS = (
    "lambda CreateFunction GetFunction GetFunctionConfiguration UpdateFunctionCode UpdateFunctionConfiguration"
)
# Deleted queues and stale attributes are shown in the JSON protocol, which SDKs have spoken since 2023.
SHOWS = (
    Shows("dynamodb CreateTable UpdateTable DescribeTable", "table_creating", table, status("CREATING")),
    Shows("dynamodb CreateTable UpdateTable DescribeTable", "table_updating", table, status("UPDATING")),
    Shows("dynamodb DeleteTable", "table_deleting", table, status("DELETING")),
    Shows("dynamodb DescribeTable DeleteTable", "table_deleting", table, deleted_table, instead=True),
    Shows(OF_FUNCTIONS, "function_pending", function, in_progress("Pending")),
    Shows(OF_FUNCTIONS, "function_updating", function, in_progress("")),
    Shows("lambda GetEventSourceMapping", "trigger_settling", mapping, settling),
    Shows("lambda GetEventSourceMapping", "trigger_deleting", mapping, deleted_mapping, instead=True),
    Shows("sqs GetQueueUrl GetQueueAttributes ListQueueTags", "queue_lingering", queue, deleted_queue, instead=True),
    Shows("sqs GetQueueAttributes", "attributes_stale", queue, former_attributes),
)


# What is listed


class Lists(NamedTuple):
    """A list from which things are missing during the span ``hidden``, and in which deleted ones still are during the
    span ``lingering``: on the last page, which has no ``token``. ``name`` returns the name of an item; ``item`` makes
    the item of a lingering thing, or None if it was not asked for."""

    calls: str
    members: str
    hidden: str
    lingering: str = ""
    kind: str = ""
    token: str = ""
    name: Callable[[Any], str] = str
    item: Callable[[Operation, str, NotYet], Any] = lambda operation, name, still: name


def lingering_queue(operation: Operation, name: str, still: NotYet) -> Any:
    return still.keeps["QueueUrl"] if name.startswith(operation.text("QueueNamePrefix")) else None


def lingering_mapping(operation: Operation, name: str, still: NotYet) -> Any:
    return still.keeps if is_of_pair(still.keeps, operation.text("EventSourceArn"), operation.function) else None


LISTS = (
    Lists("iam ListRoles", "RoleName", "entity_visible", kind="role"),
    Lists("iam ListPolicies", "PolicyName", "entity_visible", kind="policy"),
    Lists("dynamodb ListTables", "TableNames", "table_visible", "table_deleting", "table", "LastEvaluatedTableName"),
    Lists("sqs ListQueues", "QueueUrls", "queue_visible", "queue_lingering", "queue", "NextToken",
          name=lambda url: last(url, "/"), item=lingering_queue),
    Lists("lambda ListEventSourceMappings", "EventSourceMappings", "", "trigger_deleting", "mapping", "NextMarker",
          name=lambda shape: str(shape["UUID"]), item=lingering_mapping),
)  # fmt: skip

Line = TypeVar("Line", Begins, Refuses, Shows, Lists)


def lines(table: tuple[Line, ...], operation: Operation) -> list[Line]:
    """The lines of a table that are about the call."""
    return [line for line in table if is_about(line.calls, operation.service, operation.name)]


@functools.cache
def is_about(calls: str, service: str, name: str) -> bool:
    of_service, *patterns = calls.split()
    return of_service == service and any(fnmatchcase(name, pattern) for pattern in patterns)


# Fixed quotas of one account in one Region: calls at once, and seconds until one more.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
QUOTAS: dict[str, tuple[float, float]] = {
    "CreateRestApi": (1, 3),
    "CreateRestApi (edge)": (1, 30),
    "DeleteRestApi": (1, 30),
    "PutRestApi": (1, 1),
    "CreateDeployment": (1, 5),
    "UpdateAccount": (1, 20),
    "CreateResource": (5, 1 / 5),
    "DeleteResource": (5, 1 / 5),
    "GetResources": (5, 2 / 5),
}
ALL_TOGETHER = (40, 1 / 10)


# What can happen to every call, in the words of its service

RATE = "Rate exceeded"  # common to many services (aws/aws-sdk-ruby#825)
TOO_MANY_REQUESTS = Words(429, "TooManyRequestsException", "Too Many Requests")  # boto/boto3#876
THROTTLES = {
    "apigateway": TOO_MANY_REQUESTS,
    "lambda": Words(429, "TooManyRequestsException", RATE),  # fyoorer/ShadowClone#25
    # Status and code: botocore's data/_retry.json; the words: Particular/docs.particular.net#3438.
    "sqs": Words(403, "RequestThrottled", "Request is throttled."),
    # IAM's and STS's code has no suffix.
    "iam": Words(400, "Throttling", RATE),
    "sts": Words(400, "Throttling", RATE),
}
# praetorian-inc/chariot-ui#684, an on-demand table.
HOT_TABLE = Words(
    400,
    "ThrottlingException",
    "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table or "
    "index so please try again shortly. If exceptions persist, check if you have a hot key: "
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html",
)
# From the API model, else from the CommonErrors page, whose descriptions are the messages; no report quotes AWS.
FAILURES = {"iam": "ServiceFailure", "dynamodb": "InternalServerError", "lambda": "ServiceException"}


def throttle(operation: Operation) -> Words:
    if is_about(ITEMS, operation.service, operation.name):
        return HOT_TABLE
    return THROTTLES.get(operation.service, Words(400, "ThrottlingException", RATE))


def failure(operation: Operation, status: int) -> Words:
    if status == 503:
        suffix = "Exception" if operation.service in ("apigateway", "logs") else ""
        return Words(503, f"ServiceUnavailable{suffix}", "Service is unable to handle request.")
    code = FAILURES.get(operation.service, "InternalFailure")
    return Words(500, code, "The request processing has failed because of an unknown error.")


def expired(operation: Operation) -> Words:
    """ExpiredToken and 403 in IAM, STS and SQS (marco-hoyer/cfn-sphere#55, aws/aws-sdk-go#249).

    The others call it ExpiredTokenException (https://docs.aws.amazon.com/lambda/latest/api/CommonErrors.html), with
    400 if the protocol has no other refusal. For SQS's JSON protocol it is inferred from the older one.
    """
    code = "ExpiredToken" if operation.service in ("iam", "sts", "sqs") else "ExpiredTokenException"
    status = 400 if operation.service in ("dynamodb", "logs") else 403
    return Words(status, code, "The security token included in the request is expired")


# Names that are the same in every run; what is drawn for a call depends on them

NAMING: dict[str, tuple[str, ...]] = {
    "iam": ("RoleName", "PolicyName", "PolicyArn", "UserName", "GroupName", "InstanceProfileName"),
    "sts": ("RoleArn",),
    "dynamodb": ("TableName", "ResourceArn"),
    "sqs": ("QueueName", "QueueUrl"),
    "logs": ("logGroupName", "resourceArn", "logStreamName"),
}


def name_of(operation: Operation, labels: Mapping[str, str]) -> str:
    """What the call is about. Ids differ in every run, so their labels stand for them."""
    text = operation.text
    if operation.service == "lambda":
        parts = [operation.function.name if operation.function else "", labels.get(text("UUID"), "")]
        parts += [last(text("EventSourceArn"), ":"), labels.get(last(text("Resource"), ":"), "")]
    elif operation.service == "apigateway":
        parts = [labels.get(text(key), "") for key in ("restapi_id", "resource_id", "parent_id")]
        parts += [text(key) for key in ("name", "pathPart", "http_method", "status_code", "stage_name", "stageName")]
    else:
        parts = [last(text(key), "/") for key in NAMING.get(operation.service, ())]
    return " ".join(part for part in parts if part)


def label_of(operation: Operation, answered: bytes) -> tuple[str, str]:
    """The id that a call has made and a label for it, both empty if it has made none."""
    body = json_object(answered)
    if operation.name in ("CreateRestApi", "CreateResource"):
        return str(body.get("id", "")), str(body.get("name") or body.get("pathPart") or "")
    if operation.name in ("CreateEventSourceMapping", "UpdateEventSourceMapping"):
        arns = (str(body.get(name, "")) for name in ("EventSourceArn", "FunctionArn"))
        return str(body.get("UUID", "")), " ".join(last(arn, ":") for arn in arns)
    return "", ""
