"""Undoes step 7: the permission to invoke the function, and the API with all that is in it."""

from __future__ import annotations

from typing import Any

from provision.api import find_api, find_permission
from provision.aws import Clients
from provision.ledger import Ledger, Resource
from teardown.kept import Kept


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_api(aws.apigateway, resource.identity["name"], ledger.deployment, resource.outputs.get("id"))


def find_permission_of(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_permission(aws.lambda_, resource.identity["FunctionName"], resource.identity["StatementId"])


def remove_permission(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    aws.lambda_.remove_permission(
        FunctionName=resource.identity["FunctionName"],
        StatementId=resource.identity["StatementId"],
    )


def delete_api(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    """Deletes resources, methods, deployments and all, at once. AWS allows one such call in 30 seconds per account.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    """
    api_id = found["id"]
    stages = aws.apigateway.get_stages(restApiId=api_id)["item"]
    if stages:
        raise Kept([f"stage {stage['stageName']}" for stage in stages])
    aws.apigateway.delete_rest_api(
        restApiId=api_id,
    )

    def gone() -> bool:
        try:
            aws.apigateway.get_rest_api(restApiId=api_id)
        except aws.apigateway.exceptions.NotFoundException:
            return True
        return False

    aws.waiting.poll_until("the API to be gone", gone, budget=60)
