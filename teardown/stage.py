"""Undoes step 8: the stage. The deployments it served go with the API."""

from __future__ import annotations

from typing import Any

from provision.aws.clients import Clients
from provision.settings import Settings
from provision.stage import find_stage
from provision.state.entries import Resource
from provision.state.state import Ledger


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_stage(aws.apigateway, resource.identity["restApiId"], resource.identity["stageName"])


def is_part(aws: Clients, ledger: Ledger, resource: Resource, api: dict[str, Any]) -> bool:
    return resource.identity["restApiId"] == api["id"] and resource.identity["stageName"] == Settings().stage


def delete(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    aws.apigateway.delete_stage(
        restApiId=resource.identity["restApiId"],
        stageName=resource.identity["stageName"],
    )
