"""Undoes step 5: the function, and the log group it wrote to."""

from __future__ import annotations

import datetime
import re
from typing import Any

from provision.api import permissions_of
from provision.aws.clients import Clients
from provision.function import find_function, wait_until_updated
from provision.package import code_sha256
from provision.settings import Settings
from provision.state.entries import TAG, TAG_KEYS, Resource
from provision.state.resources import immutable_id
from provision.state.state import State
from provision.terminal import outcome
from teardown.trigger import refuse_while_our_trigger_is_on, triggers_of_others

# A log group comes back when an invocation writes to it after its deletion. The last invocation may end so long after
# the function's deletion.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LATEST_WRITE = datetime.timedelta(minutes=15)
# How far two clocks may differ: AWS refuses requests that are signed with a clock further off.
CLOCK_SKEW = datetime.timedelta(minutes=5)

LAMBDA_STREAM = re.compile(r"\d{4}/\d\d/\d\d/.*\[\$LATEST\]")


def others_on(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """Other triggers: those that Lambda polls, and those that have the permission to invoke it."""
    name = found["FunctionName"]
    return triggers_of_others(aws, state, FunctionName=name) + permitted_others(aws, state, name)


def permitted_others(aws: Clients, state: State, name: str) -> list[str]:
    """Who else may invoke it: a bucket, a topic, a rule, another API. A permission of a deleted API does not count."""
    names = []
    for statement in permissions_of(aws.lambda_, name):
        if statement["Sid"] == Settings().permission:
            continue
        source = str(statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", ""))
        if ":execute-api:" in source and not is_others_api(aws, state, source.split(":")[5].split("/")[0]):
            continue
        principal = statement["Principal"]
        who = " ".join(map(str, principal.values())) if isinstance(principal, dict) else principal
        names.append(f"permission {statement['Sid']} of {who}")
    return names


def is_others_api(aws: Clients, state: State, api_id: str) -> bool:
    """Whether there is such an API, and it is not ours."""
    try:
        api = aws.apigateway.get_rest_api(restApiId=api_id)
    except aws.apigateway.exceptions.NotFoundException:
        return False
    return bool(api.get("tags", {}).get(TAG) != state.deployment)


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Its versions and its policy are deleted with it. Its trigger and its log group are not."""
    name = resource.identity["FunctionName"]
    refuse_while_our_trigger_is_on(state, FunctionName=name)
    aws.lambda_.delete_function(
        FunctionName=name,
    )


def restore(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Put back the code, then the configuration: Lambda refuses a change while another one is in progress."""
    name = resource.identity["FunctionName"]
    refuse_while_our_trigger_is_on(state, FunctionName=name)
    code = resource.was("CodeSha256", found["CodeSha256"])
    if found["CodeSha256"] != code:
        aws.lambda_.update_function_code(
            FunctionName=name,
            ZipFile=kept_package(state, code),
        )
        wait_until_updated(aws, name)
    if resource.before.keys() & {"Runtime", "Role", "Handler", "Timeout", "MemorySize", "Environment"}:
        environment = found.get("Environment", {}).get("Variables", {})
        aws.lambda_.update_function_configuration(
            FunctionName=name,
            Runtime=resource.was("Runtime", found["Runtime"]),
            Role=resource.was("Role", found["Role"]),
            Handler=resource.was("Handler", found["Handler"]),
            Timeout=resource.was("Timeout", found["Timeout"]),
            MemorySize=resource.was("MemorySize", found["MemorySize"]),
            Environment={"Variables": resource.was("Environment", environment)},
        )
        wait_until_updated(aws, name)
    state.note_restored(resource)
    aws.lambda_.untag_resource(
        Resource=found["FunctionArn"],
        TagKeys=list(TAG_KEYS),
    )


def kept_package(state: State, wanted_sha256: str) -> bytes:
    """The former code, from the file beside the state file."""
    try:
        package = state.kept_code.read_bytes()
    except OSError as error:
        raise outcome.UserError(f"its former code, {state.kept_code}, cannot be read: {error.strerror}") from error
    if code_sha256(package) != wanted_sha256:
        raise outcome.UserError(f"{state.kept_code} is not its former code")
    return package


def restore_log_group(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Put back how long the logs were kept: for ever without a retention policy."""
    name = resource.identity["logGroupName"]
    days = resource.was("retentionInDays", found.get("retentionInDays"))
    if found.get("retentionInDays") != days:
        if days is None:
            aws.logs.delete_retention_policy(
                logGroupName=name,
            )
        else:
            aws.logs.put_retention_policy(
                logGroupName=name,
                retentionInDays=days,
            )
    state.note_restored(resource)
    aws.logs.untag_resource(
        resourceArn=found["arn"].removesuffix(":*"),
        tagKeys=list(TAG_KEYS),
    )


def delete_log_group(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """The logs in it are deleted with it."""
    aws.logs.delete_log_group(
        logGroupName=resource.identity["logGroupName"],
    )


def came_back(aws: Clients, state: State, log_group: Resource, found: dict[str, Any]) -> bool:
    """Whether a log group found after its deletion can only be from the function that was just deleted.

    Lambda puts no tags on it (moto puts those of the deleted one). It is newer than the deletion of ours, not much
    newer than the deletion of the function, not a namesake that was there before, and has Lambda's log streams only.
    """
    function = next((entry for entry in state.resources if entry.key == "function"), None)
    if function is None or found["logGroupName"] != f"/aws/lambda/{function.identity['FunctionName']}":
        return False
    if function.status != "deleted" or find_function(aws.lambda_, function.identity["FunctionName"]) is not None:
        return False
    born = immutable_id(log_group.kind, found)
    if (
        found["Tags"] not in ({}, {**state.tags, **dict(state.rules.tags)})
        or born is None
        or born in (log_group.outputs.get("namesake"), log_group.outputs.get("id"))
    ):
        return False
    at = datetime.datetime.fromtimestamp(int(born) / 1000, datetime.timezone.utc)
    try:
        ours_went, function_went = (datetime.datetime.fromisoformat(entry.since) for entry in (log_group, function))
        in_time = ours_went - CLOCK_SKEW <= at <= max(ours_went, function_went) + LATEST_WRITE
    except (ValueError, TypeError):  # the file says no time
        return False
    return in_time and has_lambda_streams_only(aws, found["logGroupName"])


def has_lambda_streams_only(aws: Clients, log_group: str) -> bool:
    """Whether there are log streams in it, all with names that Lambda gives. A person's group has none at first.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html
    """
    streams = aws.logs.describe_log_streams(logGroupName=log_group)["logStreams"]
    return bool(streams) and all(LAMBDA_STREAM.match(stream["logStreamName"]) for stream in streams)
