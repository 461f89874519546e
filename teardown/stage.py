"""Undoes step 8: the stage. Its deployments are deleted with the API."""

from __future__ import annotations

from typing import Any

from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.state import State


def find(aws: Clients, state: State, resource: Resource) -> dict[str, Any] | None:
    """The stage as GetStage gives it; None if there is none."""
    try:
        stage = aws.apigateway.get_stage(
            restApiId=resource.identity["restApiId"],
            stageName=resource.identity["stageName"],
        )
    except aws.apigateway.exceptions.NotFoundException:
        return None
    return dict(stage)


def is_part(aws: Clients, state: State, resource: Resource, api: dict[str, Any]) -> bool:
    """Whether it is the stage that step 8 creates in our API."""
    return resource.identity["restApiId"] == api["id"] and resource.identity["stageName"] == Settings().stage


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Its URL stops answering. The deployments stay until the API is deleted."""
    aws.apigateway.delete_stage(
        restApiId=resource.identity["restApiId"],
        stageName=resource.identity["stageName"],
    )
