"""Undoes step 5: the function, and the log group it wrote to."""

from __future__ import annotations

import json
from typing import Any

from provision.aws.clients import Clients
from provision.function import find_function, find_log_group, wait_until_updated
from provision.package import code_sha256
from provision.settings import Settings
from provision.state.entries import TAG, TAG_KEYS, Resource
from provision.state.state import State
from provision.terminal import outcome
from teardown.trigger import others_hanging, refuse_while_ours_is_on


def find(aws: Clients, state: State, resource: Resource) -> dict[str, Any] | None:
    """The function's configuration; None if it is gone."""
    return find_function(aws.lambda_, resource.identity["FunctionName"])


def find_logs(aws: Clients, state: State, resource: Resource) -> dict[str, Any] | None:
    """The log group; None if it is gone."""
    return find_log_group(aws.logs, resource.identity["logGroupName"])


def others_on(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """Triggers of both kinds: those that Lambda polls for, and those that were given the right to invoke it."""
    name = found["FunctionName"]
    return others_hanging(aws, state, FunctionName=name) + permitted_others(aws, state, name)


def permitted_others(aws: Clients, state: State, name: str) -> list[str]:
    """Who else may invoke it: a bucket, a topic, a rule, another API. A permission for an API that is gone is dead."""
    try:
        policy = json.loads(aws.lambda_.get_policy(FunctionName=name)["Policy"])
    except aws.lambda_.exceptions.ResourceNotFoundException:
        return []
    names = []
    for statement in policy["Statement"]:
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
    """Versions and the function's policy go with it; its trigger and its log group do not."""
    name = resource.identity["FunctionName"]
    refuse_while_ours_is_on(state, FunctionName=name)
    aws.lambda_.delete_function(
        FunctionName=name,
    )
    aws.waiting.poll_until("the function to be gone", lambda: find_function(aws.lambda_, name) is None, budget=60)


def restore(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """The code first, then the configuration: Lambda refuses a change while another is under way."""
    name = resource.identity["FunctionName"]
    refuse_while_ours_is_on(state, FunctionName=name)
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
    """The code that was there before, from the file beside the state file."""
    try:
        package = state.kept_code.read_bytes()
    except OSError as error:
        raise outcome.UserError(f"its former code, {state.kept_code}, cannot be read: {error.strerror}") from error
    if code_sha256(package) != wanted_sha256:
        raise outcome.UserError(f"{state.kept_code} is not its former code")
    return package


def restore_log_group(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """How long the logs were kept; without a retention policy, for ever."""
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
    """All that was logged goes with it."""
    aws.logs.delete_log_group(
        logGroupName=resource.identity["logGroupName"],
    )
