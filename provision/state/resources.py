"""What AWS calls each kind of thing in the ledger, and by what name a person knows one."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from provision.aws.clients import Clients
from provision.settings import Settings

KINDS = {
    "iam:policy": "policy",
    "iam:role": "role",
    "iam:role-policy-attachment": "attachment",
    "dynamodb:table": "table",
    "sqs:queue": "queue",
    "logs:log-group": "log group",
    "lambda:function": "function",
    "lambda:event-source-mapping": "trigger",
    "lambda:permission": "permission",
    "apigateway:rest-api": "REST API",
    "apigateway:stage": "stage",
}


def name_of(kind: str, identity: dict[str, str]) -> str:
    """The short name by which a person knows the thing; ARNs are left to those who ask for them."""
    last = {name: value.split(":")[-1].split("/", 1)[-1] for name, value in identity.items()}
    if kind == "iam:role-policy-attachment":
        return f"{last['PolicyArn'].removeprefix('service-role/')} to {identity['RoleName']}"
    if kind == "lambda:event-source-mapping":
        return f"{last['EventSourceArn']} to {identity['FunctionName']}"
    if kind == "lambda:permission":
        return f"{identity['StatementId']} on {identity['FunctionName']}"
    if kind == "apigateway:stage":
        return identity["stageName"]
    if kind == "iam:policy":
        return last["PolicyArn"]
    return ", ".join(identity.values())


# The field of AWS's description that AWS alone sets, never reuses and never changes: it tells ours from a namesake
# that somebody made after ours was deleted. A function has none; its tag decides (see `is_the_recorded`).
IMMUTABLE_ID = {
    "iam:policy": "PolicyId",
    "iam:role": "RoleId",
    "dynamodb:table": "TableId",
    "sqs:queue": "CreatedTimestamp",
    "logs:log-group": "creationTime",
    "lambda:event-source-mapping": "UUID",
    "apigateway:rest-api": "id",
}


# What finds a thing of each kind again, by AWS's own names.
IDENTITY = {
    "iam:policy": {"PolicyArn"},
    "iam:role": {"RoleName"},
    "iam:role-policy-attachment": {"RoleName", "PolicyArn"},
    "dynamodb:table": {"TableName"},
    "sqs:queue": {"QueueName"},
    "logs:log-group": {"logGroupName"},
    "lambda:function": {"FunctionName"},
    "lambda:permission": {"FunctionName", "StatementId"},
    "lambda:event-source-mapping": {"EventSourceArn", "FunctionName"},
    "apigateway:rest-api": {"name"},
    "apigateway:stage": {"restApiId", "stageName"},
}


# What can carry no tags is part of something that can, whose ownership it shares: its kind, and that thing's.
PARTS = {
    "iam:role-policy-attachment": "iam:role",
    "lambda:permission": "lambda:function",
    "apigateway:stage": "apigateway:rest-api",
}


def immutable_id(kind: str, description: Mapping[str, Any]) -> str | None:
    """AWS's own id in a description; None for kinds that have none, and for emulators that leave it out."""
    value = description.get(IMMUTABLE_ID.get(kind, ""))
    if value is None and kind == "dynamodb:table":
        value = description.get("CreationDateTime")  # some emulators, the sandbox among them, give a table no id
    if isinstance(value, datetime.datetime):
        value = value.timestamp()
    return None if value is None else str(value)


# The ledger's keys in the order in which the steps make the things, each with its kind and its step.
PLACES = {
    "write-policy": ("iam:policy", "policies"),
    "read-policy": ("iam:policy", "policies"),
    "function-role": ("iam:role", "roles"),
    "function-role/write-policy": ("iam:role-policy-attachment", "roles"),
    "function-role/read-policy": ("iam:role-policy-attachment", "roles"),
    "api-role": ("iam:role", "roles"),
    "api-role/logs-policy": ("iam:role-policy-attachment", "roles"),
    "table": ("dynamodb:table", "table"),
    "dead-letter-queue": ("sqs:queue", "queue"),
    "queue": ("sqs:queue", "queue"),
    "log-group": ("logs:log-group", "function"),
    "function": ("lambda:function", "function"),
    "trigger": ("lambda:event-source-mapping", "trigger"),
    "api": ("apigateway:rest-api", "api"),
    "permission": ("lambda:permission", "api"),
    "stage": ("apigateway:stage", "stage"),
}


# What can be adopted: it has a name (REST APIs repeat theirs, so ours is made beside it) and is no part of another.
ADOPTABLE = (
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
)


IAM = ("write-policy", "read-policy", "function-role", "api-role")  # global: the same in every Region


def names(aws: Clients, settings: Settings) -> dict[str, dict[str, str]]:
    """By the ledger's key, the identity of everything that stands by itself, as the steps write it."""
    return {
        "write-policy": {"PolicyArn": aws.arn("iam", f"policy/{settings.write_policy}", region="")},
        "read-policy": {"PolicyArn": aws.arn("iam", f"policy/{settings.read_policy}", region="")},
        "function-role": {"RoleName": settings.function_role},
        "api-role": {"RoleName": settings.api_role},
        "table": {"TableName": settings.table},
        "dead-letter-queue": {"QueueName": settings.dead_letter_queue},
        "queue": {"QueueName": settings.queue},
        "log-group": {"logGroupName": settings.log_group},
        "function": {"FunctionName": settings.function},
        "trigger": {"EventSourceArn": aws.arn("sqs", settings.queue), "FunctionName": settings.function},
        "api": {"name": settings.api},
    }


# Where each kind's description says when it was made; functions and triggers say only when they were last changed.
BORN = {
    "iam:policy": "CreateDate",
    "iam:role": "CreateDate",
    "dynamodb:table": "CreationDateTime",
    "sqs:queue": "CreatedTimestamp",
    "logs:log-group": "creationTime",
    "lambda:function": "LastModified",
    "lambda:event-source-mapping": "LastModified",
    "apigateway:rest-api": "createdDate",
}


def born(kind: str, description: Mapping[str, Any]) -> str:
    """ "made 2026-11-20 09:15 UTC", in words that fit the kind; empty where AWS, or an emulator, does not say."""
    field = BORN.get(kind, "")
    value = description.get(field)
    try:
        if isinstance(value, datetime.datetime):
            at = value
        elif field == "creationTime":
            at = datetime.datetime.fromtimestamp(int(str(value)) / 1000, datetime.timezone.utc)
        elif field == "CreatedTimestamp":
            at = datetime.datetime.fromtimestamp(float(str(value)), datetime.timezone.utc)
        else:
            at = datetime.datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S.%f%z")
    except (ValueError, OverflowError):
        return ""
    word = "last changed" if field == "LastModified" else "made"
    return f"{word} {at.astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"
