"""Step 8: the deployment and its stage, which give the API its URL.

Console: API Gateway > POC-API > Actions > Deploy API > [New Stage], stage name: Staging, Deploy. A deployment is a
snapshot of the API; a stage is a name that points to one. What is changed afterwards is not served before the API is
deployed again, so this comes last.
https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-deploy-api.html
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from provision.api import find_method, resources_of
from provision.aws import Clients
from provision.ledger import Ledger
from provision.settings import Settings

NEEDS = ("api",)


def find_stage(apigateway: Any, api_id: str, name: str) -> dict[str, Any] | None:
    """The stage, with the description of the deployment it points to as "deployedAs"."""
    try:
        stage = apigateway.get_stage(restApiId=api_id, stageName=name)
        deployment = apigateway.get_deployment(restApiId=api_id, deploymentId=stage["deploymentId"])
    except apigateway.exceptions.NotFoundException:
        return None
    return {**stage, "deployedAs": deployment.get("description", "")}


def provision(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    api_id = ledger.outputs("api")["id"]
    # What the stage serves is judged from AWS: the description of the deployment it points to carries the digest of
    # the definition that was deployed. Somebody else's deployment carries another, or none.
    description = f"definition {definition_digest(aws.apigateway, api_id)}"
    stage = find_stage(aws.apigateway, api_id, settings.stage)
    with ledger.making(
        "stage",
        "apigateway:stage",
        found=stage,
        parent="api",
        restApiId=api_id,
        stageName=settings.stage,
    ) as made:
        if stage is None or made.differs("what it serves", found=stage["deployedAs"], wanted=description):
            aws.apigateway.create_deployment(
                restApiId=api_id,
                stageName=settings.stage,
                description=description,
            )
        made["url"] = aws.invoke_url(api_id, settings.stage, settings.path_part)


def definition_digest(apigateway: Any, api_id: str) -> str:
    """Twelve hexadecimal digits that change whenever a method, integration or response of the API does."""
    definition = {}
    for path, resource in resources_of(apigateway, api_id).items():
        for verb in resource.get("resourceMethods", {}):
            method = find_method(apigateway, api_id, resource["id"], verb) or {}
            definition[f"{verb} {path}"] = behaviour(method)
    text = json.dumps(definition, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# What AWS adds on its own, and what has no influence on what a caller sees.
NO_BEHAVIOUR = frozenset({"ResponseMetadata", "cacheNamespace", "cacheKeyParameters"})


def behaviour(part: Any) -> Any:
    """A part of a definition without what is empty, missing or without influence on its behaviour."""
    if isinstance(part, dict):
        cleaned = {name: behaviour(value) for name, value in part.items() if name not in NO_BEHAVIOUR}
        return {name: value for name, value in cleaned.items() if value not in (None, "", {}, [], False)}
    if isinstance(part, list):
        return [behaviour(value) for value in part]
    return part
