"""Undoes step 7: the permission to invoke the function, and the API with all that is in it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from provision.api import list_apis
from provision.aws.api_definition import is_empty
from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.entries import TAG, Resource
from provision.state.state import State


def find(aws: Clients, state: State, resource: Resource) -> dict[str, Any] | None:
    """The API with the recorded id; else one that carries this deployment's tag, under any name.

    "IsSpare" says of the latter whether it is an empty one, which a lost answer left behind. "Others" are the ids of
    the others with the tag.
    """
    noted = resource.outputs.get("id")
    apis = list_apis(aws.apigateway)
    found = next((api for api in apis if api["id"] == noted), None)
    if found is not None:
        others = [api["id"] for api in apis if has_our_tag(state, api) and api is not found]
        return {**found, "Others": others}
    ours = []
    for api in apis:
        with suppress(aws.apigateway.exceptions.NotFoundException):  # the list lags: it is deleted already
            if has_our_tag(state, api):
                ours.append({**api, "IsSpare": is_empty(aws.apigateway, api["id"])})
    first = min(ours, key=lambda api: bool(api["IsSpare"]), default=None)
    return first and {**first, "Others": [api["id"] for api in ours if api is not first]}


def has_our_tag(state: State, api: dict[str, Any]) -> bool:
    """Whether the API carries this deployment's tag."""
    return bool(api["Tags"].get(TAG) == state.deployment)


def permission_is_part(aws: Clients, state: State, resource: Resource, function: dict[str, Any]) -> bool:
    """Whether it is the statement that step 7 adds to our function."""
    return (
        resource.identity["FunctionName"] == function["FunctionName"]
        and resource.identity["StatementId"] == Settings().permission
    )


def remove_permission(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Remove the statement from the function's policy."""
    aws.lambda_.remove_permission(
        FunctionName=resource.identity["FunctionName"],
        StatementId=resource.identity["StatementId"],
    )


def restore_permission(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Put the statement back as it was. Lambda cannot change a statement, only remove and add it."""
    statement = resource.was("statement", resource.description)
    if not statement:
        return
    principal = statement["Principal"]
    conditions = statement.get("Condition", {})
    optional = {
        "SourceArn": conditions.get("ArnLike", {}).get("AWS:SourceArn"),
        "SourceAccount": conditions.get("StringEquals", {}).get("AWS:SourceAccount"),
    }
    if same_permission(found, statement):
        return
    remove_permission(aws, state, resource, found)
    aws.lambda_.add_permission(
        FunctionName=resource.identity["FunctionName"],
        StatementId=resource.identity["StatementId"],
        Action=statement["Action"],
        Principal=principal if isinstance(principal, str) else next(iter(principal.values())),
        **{name: value for name, value in optional.items() if value},
    )


def same_permission(found: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two statements say the same."""
    return all(found.get(part) == other.get(part) for part in ("Action", "Principal", "Condition"))


def others_on(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """The stages that the suite did not create: DeleteRestApi deletes all stages of the API."""
    ours = {
        (entry.identity["restApiId"], Settings().stage) for entry in state.resources if entry.kind == "apigateway:stage"
    }
    return [
        f"stage {stage['stageName']}"
        for stage in aws.apigateway.get_stages(restApiId=found["id"])["item"]
        if (found["id"], stage["stageName"]) not in ours
    ]


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """The API is deleted with its resources, methods and deployments. AWS allows one call in 30 seconds per account.

    A lost answer to CreateRestApi may have left empty ones with our tag: they are deleted, too.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    """
    spare = [api_id for api_id in found["Others"] if is_empty(aws.apigateway, api_id)]
    for api_id in [found["id"], *spare]:
        aws.apigateway.delete_rest_api(
            restApiId=api_id,
        )
