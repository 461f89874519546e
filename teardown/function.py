"""Undoes step 5: the function, and the log group it wrote to."""

from __future__ import annotations

import json
from typing import Any

from provision.aws.clients import Clients
from provision.function import find_function, find_log_group, wait_until_updated
from provision.package import code_sha256
from provision.settings import Settings
from provision.state.entries import MARKS, TAG, Resource
from provision.state.state import Ledger
from provision.terminal import outcome
from teardown.trigger import others_hanging, refuse_while_ours_is_on


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_function(aws.lambda_, resource.identity["FunctionName"])


def find_logs(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_log_group(aws.logs, resource.identity["logGroupName"])


def others_on(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> list[str]:
    """Triggers of both kinds: those that Lambda polls for, and those that were given the right to invoke it."""
    name = found["FunctionName"]
    return others_hanging(aws, ledger, FunctionName=name) + permitted_others(aws, ledger, name)


def permitted_others(aws: Clients, ledger: Ledger, name: str) -> list[str]:
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
        if ":execute-api:" in source and not is_others_api(aws, ledger, source.split(":")[5].split("/")[0]):
            continue
        principal = statement["Principal"]
        who = " ".join(map(str, principal.values())) if isinstance(principal, dict) else principal
        names.append(f"permission {statement['Sid']} of {who}")
    return names


def is_others_api(aws: Clients, ledger: Ledger, api_id: str) -> bool:
    try:
        api = aws.apigateway.get_rest_api(restApiId=api_id)
    except aws.apigateway.exceptions.NotFoundException:
        return False
    return bool(api.get("tags", {}).get(TAG) != ledger.deployment)


def delete(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    name = resource.identity["FunctionName"]
    refuse_while_ours_is_on(ledger, FunctionName=name)
    aws.lambda_.delete_function(
        FunctionName=name,
    )
    aws.waiting.poll_until("the function to be gone", lambda: find_function(aws.lambda_, name) is None, budget=60)


def restore(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    name = resource.identity["FunctionName"]
    refuse_while_ours_is_on(ledger, FunctionName=name)
    code = resource.was("CodeSha256", found["CodeSha256"])
    if found["CodeSha256"] != code:
        aws.lambda_.update_function_code(
            FunctionName=name,
            ZipFile=kept_package(ledger, code),
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
    ledger.is_put_back(resource)
    aws.lambda_.untag_resource(
        Resource=found["FunctionArn"],
        TagKeys=list(MARKS),
    )


def kept_package(ledger: Ledger, wanted_sha256: str) -> bytes:
    """The code that was there before, from the file beside the ledger."""
    try:
        package = ledger.kept_code.read_bytes()
    except OSError as error:
        raise outcome.Stop(f"its former code, {ledger.kept_code}, cannot be read: {error.strerror}") from error
    if code_sha256(package) != wanted_sha256:
        raise outcome.Stop(f"{ledger.kept_code} is not its former code")
    return package


def restore_log_group(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
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
    ledger.is_put_back(resource)
    aws.logs.untag_resource(
        resourceArn=found["arn"].removesuffix(":*"),
        tagKeys=list(MARKS),
    )


def delete_log_group(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    aws.logs.delete_log_group(
        logGroupName=resource.identity["logGroupName"],
    )
