"""What the suite knows of each resource type, one row for each; and the resources of a deployment, one row for each.

How a resource is found, created and updated stands in the step of its row, how it is deleted in the module of the
same name in teardown/. docs/architecture.md says what a new type needs.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.aws.clients import Clients
from provision.aws.console_links import console_url, look_command
from provision.settings import Settings

# A call that shows a resource: service, operation, parameters. Texts in {braces} are filled from identity and outputs.
Call = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True)
class ResourceType:
    """One type of resource, by AWS's name for it. Texts in {braces} are filled from identity and outputs.

    `noun`: what a person calls it. `name`: the name by which a person knows it.
    `identity`: the parameters that find it again, by AWS's own names.
    `id_field`: the field of AWS's description that AWS alone sets, never reuses and never changes; it tells ours from
    a namesake made later. `id_otherwise`: the field that stands in for it where an emulator leaves it out.
    A function has no such id: its tag decides, and its code (see ownership.py).
    `made_field`: the field that says when it was made. Functions and triggers say only when they were last changed.
    `outputs`: what a step notes beside the id, and the field of AWS's description that says it.
    `part_of`: the type of its parent. It can carry no tags, and is ours when its parent is.
    `shown_by`: calls that show it; the first is taken of which all texts are known.
    `console`: its page in the console, behind the host name; "" where there is none to be sure of.
    `names_repeat`: AWS allows two of one name. Ours is made beside another one, which is never adopted.
    `created_twice_by`: the call that AWS would carry out a second time without an error.
    `gone_reads`: after AWS acknowledged its deletion so many looks in a row must not find it.
    `comes_back`: seconds in which AWS may show it again after its deletion, although it was not seen in between.
    `is_named`: a part of another that is named where a step is one line; other parts go without saying.
    `made_again`: what you wait for when you delete it and make it again.
    """

    noun: str
    name: str
    identity: tuple[str, ...]
    shown_by: tuple[Call, ...]
    console: str
    id_field: str = ""
    id_otherwise: str = ""
    made_field: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    part_of: str = ""
    names_repeat: bool = False
    created_twice_by: str = ""
    gone_reads: int = 1
    comes_back: float = 0.0
    is_named: bool = False
    made_again: str = ""

    @property
    def goes_without_saying(self) -> bool:
        """Whether it is left out where a step is one line, as its whole stands there."""
        return bool(self.part_of) and not self.is_named

    @property
    def is_adoptable(self) -> bool:
        """Whether one that somebody else made can be adopted: its name is unique, and it is not part of another."""
        return not self.part_of and not self.names_repeat


TYPES = {
    "iam:policy": ResourceType(
        noun="policy",
        name="{PolicyArn}",
        identity=("PolicyArn",),
        id_field="PolicyId",
        made_field="CreateDate",
        created_twice_by="CreatePolicyVersion",
        shown_by=(("iam", "GetPolicy", {"PolicyArn": "{PolicyArn}"}),),
        console="/iam/home?region={region}#/policies/details/{PolicyArn}",
    ),
    "iam:role": ResourceType(
        noun="role",
        name="{RoleName}",
        identity=("RoleName",),
        id_field="RoleId",
        made_field="CreateDate",
        outputs={"arn": "Arn"},
        shown_by=(("iam", "GetRole", {"RoleName": "{RoleName}"}),),
        console="/iam/home?region={region}#/roles/details/{RoleName}",
    ),
    "iam:role-policy-attachment": ResourceType(
        noun="attachment",
        name="{PolicyArn} to {RoleName}",
        identity=("RoleName", "PolicyArn"),
        part_of="iam:role",
        shown_by=(("iam", "ListAttachedRolePolicies", {"RoleName": "{RoleName}"}),),
        console="/iam/home?region={region}#/roles/details/{RoleName}",
    ),
    "dynamodb:table": ResourceType(
        noun="table",
        name="{TableName}",
        identity=("TableName",),
        id_field="TableId",
        id_otherwise="CreationDateTime",  # some emulators give a table no id, the sandbox among them
        made_field="CreationDateTime",
        outputs={"arn": "TableArn"},
        shown_by=(("dynamodb", "DescribeTable", {"TableName": "{TableName}"}),),
        console="/dynamodbv2/home?region={region}#table?name={TableName}",
    ),
    "sqs:queue": ResourceType(
        noun="queue",
        name="{QueueName}",
        identity=("QueueName",),
        id_field="CreatedTimestamp",
        made_field="CreatedTimestamp",
        outputs={"arn": "QueueArn", "url": "QueueUrl"},
        comes_back=45.0,  # terraform-provider-aws, internal/service/sqs/wait.go: not seen 15 times, 3 s apart
        made_again="SQS gives the name of a deleted queue free after 60 seconds: to make it again takes that long.",
        shown_by=(
            ("sqs", "GetQueueAttributes", {"QueueUrl": "{url}", "AttributeNames": ["All"]}),
            ("sqs", "GetQueueUrl", {"QueueName": "{QueueName}"}),
        ),
        console="/sqs/v3/home?region={region}#/queues/{url}",
    ),
    "logs:log-group": ResourceType(
        noun="log group",
        name="{logGroupName}",
        identity=("logGroupName",),
        id_field="creationTime",
        made_field="creationTime",
        gone_reads=3,  # a last invocation that still runs may make it again
        shown_by=(("logs", "DescribeLogGroups", {"logGroupNamePrefix": "{logGroupName}"}),),
        console="/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{logGroupName:twice}",
    ),
    "lambda:function": ResourceType(
        noun="function",
        name="{FunctionName}",
        identity=("FunctionName",),
        made_field="LastModified",
        outputs={"arn": "FunctionArn"},
        shown_by=(("lambda", "GetFunctionConfiguration", {"FunctionName": "{FunctionName}"}),),
        console="/lambda/home?region={region}#/functions/{FunctionName}?tab=code",
    ),
    "lambda:event-source-mapping": ResourceType(
        noun="trigger",
        name="{EventSourceArn} to {FunctionName}",
        identity=("EventSourceArn", "FunctionName"),
        id_field="UUID",
        made_field="LastModified",
        shown_by=(("lambda", "ListEventSourceMappings", {"FunctionName": "{FunctionName}"}),),
        console="/lambda/home?region={region}#/functions/{FunctionName}?tab=configure&subtab=triggers",
    ),
    "lambda:permission": ResourceType(
        noun="permission",
        name="{StatementId} on {FunctionName}",
        identity=("FunctionName", "StatementId"),
        part_of="lambda:function",
        shown_by=(("lambda", "GetPolicy", {"FunctionName": "{FunctionName}"}),),
        console="/lambda/home?region={region}#/functions/{FunctionName}?tab=configure&subtab=permissions",
    ),
    "apigateway:rest-api": ResourceType(
        noun="REST API",
        name="{name}",
        identity=("name",),
        id_field="id",
        made_field="createdDate",
        names_repeat=True,
        created_twice_by="CreateRestApi",
        made_again="API Gateway deletes one API in 30 seconds, of everybody in the account together: while others "
        "delete theirs, yours waits for its turn.",
        shown_by=(
            ("apigateway", "GetRestApi", {"restApiId": "{id}"}),
            ("apigateway", "GetRestApis", {}),
        ),
        console="/apigateway/main/apis/{id}/resources?region={region}&api={id}",
    ),
    "apigateway:stage": ResourceType(
        noun="stage",
        name="{stageName}",
        identity=("restApiId", "stageName"),
        part_of="apigateway:rest-api",
        is_named=True,
        created_twice_by="CreateDeployment",
        shown_by=(("apigateway", "GetStage", {"restApiId": "{restApiId}", "stageName": "{stageName}"}),),
        console="/apigateway/main/apis/{restApiId}/stages?region={region}&api={restApiId}",
    ),
    "apigateway:api-key": ResourceType(
        noun="API key",
        name="{name}",
        identity=("name",),
        id_field="id",
        made_field="createdDate",
        names_repeat=True,
        created_twice_by="CreateApiKey",
        shown_by=(
            ("apigateway", "GetApiKey", {"apiKey": "{id}"}),
            ("apigateway", "GetApiKeys", {}),
        ),
        console="/apigateway/main/api-keys?region={region}",
    ),
    "apigateway:usage-plan": ResourceType(
        noun="usage plan",
        name="{name}",
        identity=("name",),
        id_field="id",
        names_repeat=True,
        created_twice_by="CreateUsagePlan",
        shown_by=(
            ("apigateway", "GetUsagePlan", {"usagePlanId": "{id}"}),
            ("apigateway", "GetUsagePlans", {}),
        ),
        console="/apigateway/main/usage-plans?region={region}",
    ),
    "apigateway:usage-plan-key": ResourceType(
        noun="plan key",
        name="{keyId} in {usagePlanId}",
        identity=("usagePlanId", "keyId"),
        part_of="apigateway:usage-plan",
        shown_by=(("apigateway", "GetUsagePlans", {"keyId": "{keyId}"}),),
        console="/apigateway/main/usage-plans?region={region}",
    ),
}


@dataclass(frozen=True)
class Place:
    """One resource of a deployment: its type and its step.

    `needs`: the places of what it needs to go on working.
    `joins`: the places of what it joins, where it may carry no tag of its own; its parent is the first of them. (The
    policy of api-role/logs-policy is AWS's own, and has no place.)
    `is_extra`: it is made only where an option asks for it (--auth api-key).
    """

    kind: str
    step: str
    needs: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    is_extra: bool = False


# By the key that the state file has for each, in the order in which the steps make them.
PLACES = {
    "write-policy": Place("iam:policy", "policies"),
    "read-policy": Place("iam:policy", "policies"),
    # A role that others use keeps what it may do, and so the policies that say it.
    "function-role": Place(
        "iam:role",
        "roles",
        needs=("function-role/write-policy", "function-role/read-policy", "write-policy", "read-policy"),
    ),
    "function-role/write-policy": Place("iam:role-policy-attachment", "roles", joins=("function-role", "write-policy")),
    "function-role/read-policy": Place("iam:role-policy-attachment", "roles", joins=("function-role", "read-policy")),
    "api-role": Place("iam:role", "roles", needs=("api-role/logs-policy",)),
    "api-role/logs-policy": Place(
        "iam:role-policy-attachment", "roles", joins=("api-role",)
    ),  # the policy is AWS's own
    "table": Place("dynamodb:table", "table"),
    "dead-letter-queue": Place("sqs:queue", "queue"),
    "queue": Place("sqs:queue", "queue", needs=("dead-letter-queue",)),
    "log-group": Place("logs:log-group", "function"),
    "function": Place("lambda:function", "function", needs=("log-group", "table", "function-role")),
    "trigger": Place(
        "lambda:event-source-mapping", "trigger", needs=("queue", "function"), joins=("queue", "function")
    ),
    "api": Place("apigateway:rest-api", "api", needs=("permission", "function", "trigger", "queue", "api-role")),
    "permission": Place("lambda:permission", "api", joins=("function", "api")),
    "stage": Place("apigateway:stage", "stage", joins=("api",)),
    "api-key": Place("apigateway:api-key", "stage", is_extra=True),
    "usage-plan": Place("apigateway:usage-plan", "stage", is_extra=True),
    "usage-plan-key": Place("apigateway:usage-plan-key", "stage", joins=("usage-plan", "api-key"), is_extra=True),
}

ADOPTABLE = tuple(key for key, place in PLACES.items() if TYPES[place.kind].is_adoptable)

# IAM is global: these are the same in every Region.
IAM = tuple(key for key in ADOPTABLE if PLACES[key].kind.startswith("iam:"))


def step_of(key: str) -> str:
    """The step that makes a resource; "" for a key that only another version knows."""
    return PLACES[key].step if key in PLACES else ""


def names(aws: Clients, settings: Settings) -> dict[str, dict[str, str]]:
    """By the state file's key, the identity of everything that stands by itself, as the steps write it."""
    called = identities(aws, settings, {})
    return {
        key: identity
        for key, identity in called.items()
        if not TYPES[PLACES[key].kind].part_of and key not in used(settings)
    }


def used(settings: Settings) -> list[str]:
    """The keys of what somebody else made, and the deployment only uses."""
    given = {"function-role": settings.rules.lambda_role_arn, "api-role": settings.rules.apigateway_role_arn}
    return [key for key, arn in given.items() if arn]


def identities(aws: Clients, settings: Settings, ids: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """By key, the identity of each resource, as the steps write it.

    `ids` has, by key, the ids of API, API key and usage plan: AWS makes them up. A role that is only used has what it
    needs from somebody else, so that is not among them.
    """
    write_policy = {"PolicyArn": aws.arn("iam", f"policy/{settings.write_policy}", region="")}
    read_policy = {"PolicyArn": aws.arn("iam", f"policy/{settings.read_policy}", region="")}
    logs_policy = {"PolicyArn": aws.managed_policy_arn(settings.managed_policy)}
    function_role = {"RoleName": settings.function_role}
    api_role = {"RoleName": settings.api_role}
    function = {"FunctionName": settings.function}
    called = {
        "write-policy": write_policy,
        "read-policy": read_policy,
        "function-role": function_role,
        "function-role/write-policy": {**function_role, **write_policy},
        "function-role/read-policy": {**function_role, **read_policy},
        "api-role": api_role,
        "api-role/logs-policy": {**api_role, **logs_policy},
        "table": {"TableName": settings.table},
        "dead-letter-queue": {"QueueName": settings.dead_letter_queue},
        "queue": {"QueueName": settings.queue},
        "log-group": {"logGroupName": settings.log_group},
        "function": function,
        "trigger": {"EventSourceArn": aws.arn("sqs", settings.queue), **function},
        "api": {"name": settings.api},
        "permission": {**function, "StatementId": settings.permission},
        "stage": {"restApiId": ids.get("api", ""), "stageName": settings.stage},
    }
    if settings.needs_api_key:
        called |= {
            "api-key": {"name": settings.api_key},
            "usage-plan": {"name": settings.usage_plan},
            "usage-plan-key": {"usagePlanId": ids.get("usage-plan", ""), "keyId": ids.get("api-key", "")},
        }
    elsewhere = {needed for key in used(settings) for needed in PLACES[key].needs}
    return {key: identity for key, identity in called.items() if key not in elsewhere}


def noun_of(kind: str) -> str:
    """What a person calls it; AWS's own name for a type that only a newer version knows."""
    return TYPES[kind].noun if kind in TYPES else kind


def name_of(kind: str, identity: Mapping[str, str]) -> str:
    """The name by which a person knows it: of an ARN the last part."""
    if kind not in TYPES:
        return ", ".join(identity.values())
    short = {
        field: re.split("[:/]", value)[-1] if value.startswith("arn:") else value for field, value in identity.items()
    }
    return TYPES[kind].name.format_map(short)


def immutable_id(kind: str, description: Mapping[str, Any]) -> str | None:
    """AWS's own id in a description; None where the type has none, or an emulator leaves it out."""
    return next(iter(immutable_ids(kind, description)), None)


def immutable_ids(kind: str, description: Mapping[str, Any]) -> list[str]:
    """AWS's own id, and what stands in for it where an emulator leaves it out: a newer emulator may have both."""
    row = TYPES[kind]
    values = (description.get(field) for field in (row.id_field, row.id_otherwise))
    return [
        str(value.timestamp() if isinstance(value, datetime.datetime) else value)
        for value in values
        if value is not None
    ]


def made_at(kind: str, description: Mapping[str, Any]) -> str:
    """ "made 2026-11-20 09:15 UTC", in words that fit the type; "" where the description does not say it."""
    field = TYPES[kind].made_field
    at = description.get(field)
    try:
        if not isinstance(at, datetime.datetime):
            at = moment(str(at))
    except (ValueError, OverflowError):
        return ""
    word = "last changed" if field == "LastModified" else "made"
    return f"{word} {at.astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"


def moment(text: str) -> datetime.datetime:
    """SQS writes a time as seconds since 1970, CloudWatch Logs as milliseconds, Lambda as a date."""
    if text.replace(".", "", 1).isdigit():
        seconds = float(text)
        return datetime.datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, datetime.timezone.utc)
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def where_to_see(kind: str, identity: Mapping[str, str], outputs: Mapping[str, str], aws: Clients) -> str:
    """The console's page of a resource; in a sandbox, and where there is no page, the command that shows it."""
    known = {**outputs, **identity}
    row = TYPES[kind]
    page = None if aws.endpoint else console_url(row.console, known, region=aws.region, partition=aws.partition)
    if page is not None:
        return page
    return look_command(row.shown_by, known, region=aws.region, endpoint_url=aws.base_url, profile=aws.profile)
