"""Step 8: the deployment and its stage, which give the API its URL. The lesson: lessons/stage.md

A deployment is a snapshot of the API. A stage is a name that points to one. Later changes are served only when the API
is deployed again.
https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-deploy-api.html
"""

from __future__ import annotations

from typing import Any

from provision.aws.api_definition import LISTED_SECONDS, definition_digest
from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.entries import Entry
from provision.state.state import State

NEEDS = ("api",)

RATE = "methodSettings > */* > throttlingRateLimit"
BURST = "methodSettings > */* > throttlingBurstLimit"


def provision(aws: Clients, settings: Settings, state: State) -> None:
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
        entry["url"] = aws.invoke_url(api_id, settings.stage, settings.path_part)


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
