"""Undoes step 8: the stage, whose deployments are deleted with the API; and the API key with its usage plan."""

from __future__ import annotations

from typing import Any

from provision.aws.clients import Clients
from provision.aws.reasons import STAGES_STILL_ON
from provision.settings import Settings
from provision.stage import find_stage, list_api_keys, list_usage_plans, plans_of_key, stages_of
from provision.state.entries import TAG, Resource
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


def find_usage_plan(aws: Clients, state: State, resource: Resource) -> dict[str, Any] | None:
    """The plan with the recorded id; else one that carries this deployment's tag, under any name."""
    return recorded_or_tagged(state, resource, list_usage_plans(aws.apigateway, resource.outputs.get("id")))


def find_api_key(aws: Clients, state: State, resource: Resource) -> dict[str, Any] | None:
    """The same of the key."""
    return recorded_or_tagged(state, resource, list_api_keys(aws.apigateway, resource.outputs.get("id")))


def recorded_or_tagged(state: State, resource: Resource, listed: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Of what API Gateway lists, the one with the recorded id, else the first with this deployment's tag."""
    ours = [one for one in listed if one["Tags"].get(TAG) == state.deployment]
    known = [one for one in listed if one["id"] == resource.outputs.get("id")]
    return next(iter([*known, *ours]), None)


def key_is_part(aws: Clients, state: State, resource: Resource, plan: dict[str, Any]) -> bool:
    """Whether it is our key that is in our plan: another one in it is somebody else's."""
    return resource.identity["usagePlanId"] == plan["id"] and resource.identity["keyId"] in ids_of_our_keys(aws, state)


def ids_of_our_keys(aws: Clients, state: State) -> set[str]:
    """The ids of the keys with this deployment's tag."""
    return {key["id"] for key in list_api_keys(aws.apigateway) if key["Tags"].get(TAG) == state.deployment}


def delete_usage_plan_key(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Take the key out of the plan: the URL answers 403 to it. Key and plan stay."""
    aws.apigateway.delete_usage_plan_key(
        usagePlanId=resource.identity["usagePlanId"],
        keyId=resource.identity["keyId"],
    )


def others_on_usage_plan(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """Somebody else's keys and stages in the plan: they would lose their limits, or be let in no more.

    A stage that is gone does not count.
    """
    ours = ids_of_our_keys(aws, state)
    pages = aws.apigateway.get_paginator("get_usage_plan_keys").paginate(usagePlanId=found["id"], limit=500)
    names = [f"API key {key['id']}" for page in pages for key in page["items"] if key["id"] not in ours]
    stages = {entry.identity["restApiId"] for entry in state.resources if entry.kind == "apigateway:stage"}
    for stage in found.get("apiStages", []):
        is_ours = stage["apiId"] in stages and stage["stage"] == Settings().stage
        if not is_ours and find_stage(aws.apigateway, stage["apiId"], stage["stage"]) is not None:
            names.append(f"stage {stage['stage']} of REST API {stage['apiId']}")
    return names


def delete_usage_plan(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Take its stages off first. Else AWS says "there are API Stages associated with it" (aws/aws-sdk-js#3841)."""
    stages = stages_of(found)
    if stages:
        aws.apigateway.update_usage_plan(
            usagePlanId=found["id"],
            patchOperations=[{"op": "remove", "path": "/apiStages", "value": stage} for stage in stages],
        )
    for attempt in aws.waiting.retry_while(STAGES_STILL_ON):
        with attempt:
            aws.apigateway.delete_usage_plan(
                usagePlanId=found["id"],
            )


def others_on_api_key(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """Somebody else's usage plans with the key in them: their callers may have it."""
    plans = plans_of_key(aws.apigateway, found["id"])
    return [f"usage plan {plan['id']}" for plan in plans if plan.get("tags", {}).get(TAG) != state.deployment]


def delete_api_key(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Whoever has its value can do nothing with it any more.

    A lost answer to CreateApiKey may have left another one with our tag. It is in no plan, and goes, too.
    """
    for key in list_api_keys(aws.apigateway):
        is_spare = key["Tags"].get(TAG) == state.deployment and key["id"] != found["id"]
        if is_spare and not plans_of_key(aws.apigateway, key["id"]):
            aws.apigateway.delete_api_key(
                apiKey=key["id"],
            )
    aws.apigateway.delete_api_key(
        apiKey=found["id"],
    )
