"""Step 8: the deployment and its stage, which give the API its URL. The lesson: lessons/stage.md

A deployment is a snapshot of the API. A stage is a name that points to one. Later changes are served only when the API
is deployed again.
https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-deploy-api.html

With --auth api-key there is a key as well, and the plan that lets it into the stage. A key is no proof of who calls.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from provision.api import find_ours
from provision.aws.api_definition import LISTED_SECONDS, definition_digest
from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.entries import Entry
from provision.state.state import State

NEEDS = ("api",)

RATE = "methodSettings > */* > throttlingRateLimit"
BURST = "methodSettings > */* > throttlingBurstLimit"


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """The stage; where a key is asked for, the key, its plan, and its place in that."""
    provision_stage(aws, settings, state)
    if settings.needs_api_key:
        provision_api_key(aws, settings, state)
        provision_usage_plan(aws, settings, state)
        provision_usage_plan_key(aws, settings, state)


def provision_stage(aws: Clients, settings: Settings, state: State) -> None:
    """Find the stage; deploy the API if the stage serves another definition; limit requests; record its URL."""
    api_id = state.outputs("api")["id"]
    description = definition(aws, settings, api_id)
    stage = find_stage(aws.apigateway, api_id, settings.stage)
    with state.resource(
        "stage",
        "apigateway:stage",
        found=stage,
        parent="api",
        restApiId=api_id,
        stageName=settings.stage,
    ) as entry:
        reopened = state.outputs("api").get("reopened", "")
        if stage is None or is_outdated(entry, stage, description, reopened):
            deploy_api(aws, settings, api_id, description)
        if reopened:
            entry["reopened"] = reopened
        if throttle_drifted(settings, entry, stage or {}):
            throttle_stage(aws, settings, api_id)
        if not settings.needs_api_key and state.record("api-key") is not None:
            entry.note("no request needs the API key any more; key and usage plan stay until teardown")
        entry["url"] = aws.invoke_url(api_id, settings.stage, settings.path_part)


def provision_api_key(aws: Clients, settings: Settings, state: State) -> None:
    """Find the key by its tag; create it, or update it; record its id, and never its value."""
    known_id = state.known_id("api-key")
    keys = list_api_keys(aws.apigateway, known_id)
    key = find_ours("apigateway:api-key", keys, settings.api_key, state.deployment, known_id)
    with state.resource("api-key", "apigateway:api-key", found=key, name=settings.api_key) as entry:
        if key is None:
            create_api_key(aws, settings, entry)
        else:
            update_api_key(aws, settings, entry, key)


def provision_usage_plan(aws: Clients, settings: Settings, state: State) -> None:
    """Find the plan by its tag; create it, or update it; record its id."""
    api_id = state.outputs("api")["id"]
    known_id = state.known_id("usage-plan")
    plans = list_usage_plans(aws.apigateway, known_id)
    plan = find_ours("apigateway:usage-plan", plans, settings.usage_plan, state.deployment, known_id)
    with state.resource("usage-plan", "apigateway:usage-plan", found=plan, name=settings.usage_plan) as entry:
        if plan is None:
            create_usage_plan(aws, settings, entry, api_id)
        else:
            update_usage_plan(aws, settings, entry, plan, api_id)


def provision_usage_plan_key(aws: Clients, settings: Settings, state: State) -> None:
    """Find the key in the plan; put it there; record it."""
    plan_id = state.outputs("usage-plan")["id"]
    key_id = state.outputs("api-key")["id"]
    member = find_usage_plan_key(aws.apigateway, plan_id, key_id)
    with state.resource(
        "usage-plan-key",
        "apigateway:usage-plan-key",
        found=member,
        parent="usage-plan",
        usagePlanId=plan_id,
        keyId=key_id,
    ):
        if member is None:
            create_usage_plan_key(aws, plan_id, key_id)


def deploy_api(aws: Clients, settings: Settings, api_id: str, description: str) -> None:
    """One call creates a deployment and points the stage to it. It creates the stage if there is none.

    https://docs.aws.amazon.com/apigateway/latest/api/API_CreateDeployment.html
    """
    aws.apigateway.create_deployment(
        restApiId=api_id,
        stageName=settings.stage,
        description=description,
    )


def throttle_stage(aws: Clients, settings: Settings, api_id: str) -> None:
    """Answer 429 to what comes faster. "*/*" is every method of the stage; each has these limits to itself.

    A limit is a target, not a guarantee.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """
    aws.apigateway.update_stage(
        restApiId=api_id,
        stageName=settings.stage,
        patchOperations=[
            {"op": "replace", "path": "/*/*/throttling/rateLimit", "value": str(settings.throttle_rate)},
            {"op": "replace", "path": "/*/*/throttling/burstLimit", "value": str(settings.throttle_burst)},
        ],
    )


def create_api_key(aws: Clients, settings: Settings, entry: Entry) -> None:
    """AWS makes up its value. A second call would create a second key of the same name."""
    created = aws.apigateway.create_api_key(
        name=settings.api_key,
        enabled=True,
        tags=entry.tags,
    )
    entry.identify(created)


def create_usage_plan(aws: Clients, settings: Settings, entry: Entry, api_id: str) -> None:
    """It says which stages its keys are let into, and how often. Its limits are each key's, and targets as well."""
    created = aws.apigateway.create_usage_plan(
        name=settings.usage_plan,
        apiStages=[{"apiId": api_id, "stage": settings.stage}],
        throttle={"rateLimit": settings.plan_rate, "burstLimit": settings.plan_burst},
        tags=entry.tags,
    )
    entry.identify(created)


def create_usage_plan_key(aws: Clients, plan_id: str, key_id: str) -> None:
    """Until the key is in a plan with the stage, the URL answers 403 to it."""
    aws.apigateway.create_usage_plan_key(
        usagePlanId=plan_id,
        keyId=key_id,
        keyType="API_KEY",
    )


def update_api_key(aws: Clients, settings: Settings, entry: Entry, key: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html"""
    if entry.needs_tag():
        aws.apigateway.tag_resource(
            resourceArn=f"arn:{aws.partition}:apigateway:{aws.region}::/apikeys/{key['id']}",
            tags=entry.tags,
        )
    changes = []
    if entry.drifted("name", found=key.get("name"), wanted=settings.api_key):
        changes.append({"op": "replace", "path": "/name", "value": settings.api_key})
    if entry.drifted("enabled", found=key.get("enabled", False), wanted=True):
        changes.append({"op": "replace", "path": "/enabled", "value": "true"})
    if changes:
        aws.apigateway.update_api_key(
            apiKey=key["id"],
            patchOperations=changes,
        )


def update_usage_plan(aws: Clients, settings: Settings, entry: Entry, plan: dict[str, Any], api_id: str) -> None:
    """Stages of others in it are theirs.

    https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
    """
    if entry.needs_tag():
        aws.apigateway.tag_resource(
            resourceArn=f"arn:{aws.partition}:apigateway:{aws.region}::/usageplans/{plan['id']}",
            tags=entry.tags,
        )
    changes = []
    if entry.drifted("name", found=plan.get("name"), wanted=settings.usage_plan):
        changes.append({"op": "replace", "path": "/name", "value": settings.usage_plan})
    ours, stages = f"{api_id}:{settings.stage}", stages_of(plan)
    if entry.drifted("apiStages", found=stages, wanted=[ours], same=ours in stages):
        changes.append({"op": "add", "path": "/apiStages", "value": ours})
    throttle = plan.get("throttle", {})
    op = "replace" if throttle else "add"
    for name, wanted in (("rateLimit", settings.plan_rate), ("burstLimit", settings.plan_burst)):
        if entry.drifted(f"throttle > {name}", found=throttle.get(name), wanted=wanted):
            changes.append({"op": op, "path": f"/throttle/{name}", "value": str(wanted)})
    if changes:
        aws.apigateway.update_usage_plan(
            usagePlanId=plan["id"],
            patchOperations=changes,
        )


def throttle_drifted(settings: Settings, entry: Entry, stage: dict[str, Any]) -> bool:
    """Whether the limits must be set. Without limits of ours they are compared with the account's, and left."""
    if settings.throttle_rate is None:
        return False
    found = stage.get("methodSettings", {}).get("*/*", {})
    drifted = entry.drifted(RATE, found=found.get("throttlingRateLimit"), wanted=settings.throttle_rate)
    drifted |= entry.drifted(BURST, found=found.get("throttlingBurstLimit"), wanted=settings.throttle_burst)
    return drifted


def is_outdated(entry: Entry, stage: dict[str, Any], description: str, reopened: str) -> bool:
    """Whether the stage serves another definition, or the endpoint was opened or its policy changed since."""
    drifted = entry.drifted("what it serves", found=stage["deployedAs"], wanted=description)
    drifted |= entry.drifted("endpoint or policy changed", found=entry.get("reopened") or "", wanted=reopened)
    return drifted


def find_stage(apigateway: Any, api_id: str, name: str) -> dict[str, Any] | None:
    """The stage as GetStage gives it, with its deployment's description as "deployedAs"; None if there is none."""
    try:
        stage = apigateway.get_stage(restApiId=api_id, stageName=name)
        deployment = apigateway.get_deployment(restApiId=api_id, deploymentId=stage["deploymentId"])
    except apigateway.exceptions.NotFoundException:
        return None
    return {**stage, "deployedAs": deployment.get("description", "")}


def list_api_keys(apigateway: Any, known_id: str | None = None) -> list[dict[str, Any]]:
    """All API keys of the account and Region without their values, with their tags as "Tags".

    The list may lag. If it does not show the key with `known_id`, that one is asked for by its id.
    """
    pages = apigateway.get_paginator("get_api_keys").paginate(limit=500)
    keys = [key for page in pages for key in page["items"]]
    if known_id is not None and all(key["id"] != known_id for key in keys):
        with suppress(apigateway.exceptions.NotFoundException):
            keys.append(apigateway.get_api_key(apiKey=known_id))
    return [{**key, "Tags": key.get("tags", {})} for key in keys]


def list_usage_plans(apigateway: Any, known_id: str | None = None) -> list[dict[str, Any]]:
    """The same of the usage plans."""
    pages = apigateway.get_paginator("get_usage_plans").paginate(limit=500)
    plans = [plan for page in pages for plan in page["items"]]
    if known_id is not None and all(plan["id"] != known_id for plan in plans):
        with suppress(apigateway.exceptions.NotFoundException):
            plans.append(apigateway.get_usage_plan(usagePlanId=known_id))
    return [{**plan, "Tags": plan.get("tags", {})} for plan in plans]


def plans_of_key(apigateway: Any, key_id: str) -> list[dict[str, Any]]:
    """The usage plans that a key is in; none of a key that is gone, for which AWS may also answer NotFoundException."""
    try:
        pages = apigateway.get_paginator("get_usage_plans").paginate(keyId=key_id, limit=500)
        return [plan for page in pages for plan in page["items"]]
    except apigateway.exceptions.NotFoundException:
        return []


def find_usage_plan_key(apigateway: Any, plan_id: str, key_id: str) -> dict[str, Any] | None:
    """The key's place in the plan; None where it is not in it.

    The plan is asked for by its key: the answer to GetUsagePlanKey would have the key's value.
    """
    is_in = any(plan["id"] == plan_id for plan in plans_of_key(apigateway, key_id))
    return {"usagePlanId": plan_id, "keyId": key_id} if is_in else None


def stages_of(plan: dict[str, Any]) -> list[str]:
    """The stages of a usage plan, as patch operations name them."""
    return [f"{one['apiId']}:{one['stage']}" for one in plan.get("apiStages", [])]


def definition(aws: Clients, settings: Settings, api_id: str) -> str:
    """A digest of the routes of step 7, for the deployment's description. Routes of others are theirs to deploy."""
    direct = f"/{settings.path_part}"
    paths = [direct, f"{direct}/{settings.queue_path_part}"] if settings.has_queue_route else [direct]
    digest = aws.waiting.poll_until(
        f"the routes of {api_id}",
        lambda: definition_digest(aws.apigateway, api_id, paths),
        budget=LISTED_SECONDS,
        means="Step 7 has created them; API Gateway's lists may lag behind.",
    )
    return f"definition {digest}"
