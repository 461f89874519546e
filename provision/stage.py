"""Step 8: the deployment and its stage, which give the API its URL. The lesson: lessons/stage.md

A deployment is a snapshot of the API; a stage is a name that points to one. What is changed afterwards is not served
before the API is deployed again.
https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-deploy-api.html
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from provision.api import LISTED, find_method, resources_of
from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.state import Ledger

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
    digest = aws.waiting.poll_until(
        f"the routes of {api_id}",
        lambda: definition_digest(aws.apigateway, api_id, routes(settings)),
        budget=LISTED,
        means="Step 7 has made them; what lists them may lag behind.",
    )
    description = f"definition {digest}"
    stage = find_stage(aws.apigateway, api_id, settings.stage)
    with ledger.making(
        "stage",
        "apigateway:stage",
        found=stage,
        parent="api",
        restApiId=api_id,
        stageName=settings.stage,
    ) as made:
        reopened = ledger.outputs("api").get("reopened", "")
        differs = stage is not None and made.differs("what it serves", found=stage["deployedAs"], wanted=description)
        if stage is not None:
            differs |= made.differs("default endpoint opened", found=made.get("reopened") or "", wanted=reopened)
        if stage is None or differs:
            aws.apigateway.create_deployment(
                restApiId=api_id,
                stageName=settings.stage,
                description=description,
            )
        if reopened:
            made["reopened"] = reopened
        made["url"] = aws.invoke_url(api_id, settings.stage, settings.path_part)


def routes(settings: Settings) -> list[str]:
    """The paths that step 7 makes, each with POST. What somebody else added to the API is theirs to deploy."""
    direct = f"/{settings.path_part}"
    return [direct, f"{direct}/{settings.queue_path_part}"] if settings.has_queue_route else [direct]


def definition_digest(apigateway: Any, api_id: str, paths: list[str]) -> str | None:
    """Twelve hexadecimal digits that change whenever POST on one of the paths would be answered differently.

    None while one of them is not seen whole.
    """
    resources = resources_of(apigateway, api_id)
    definition = {}
    for path in paths:
        method = find_method(apigateway, api_id, resources[path]["id"], "POST") if path in resources else None
        if method is None or "methodIntegration" not in method:
            return None
        definition[path] = behaviour(method)
    text = json.dumps(definition, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# What of a method decides how a call is answered, in the words of GetMethod. Named one by one: AWS adds fields of its
# own, a newer botocore shows more of them, and two people with different ones must come to the same digest.
METHOD = ("authorizationType", "apiKeyRequired", "requestValidatorId")
INTEGRATION = (
    "type",
    "httpMethod",
    "uri",
    "credentials",
    "passthroughBehavior",
    "contentHandling",
    "requestParameters",
    "requestTemplates",
    "timeoutInMillis",
)
INTEGRATION_RESPONSE = ("selectionPattern", "responseParameters", "responseTemplates", "contentHandling")


def behaviour(method: dict[str, Any]) -> dict[str, Any]:
    """The part of a method's definition that decides how a call is answered."""
    integration = method.get("methodIntegration") or {}
    return {
        **present(method, METHOD),
        "responses": sorted(method.get("methodResponses") or {}),
        "integration": present(integration, INTEGRATION),
        "integration responses": {
            status_code: present(response, INTEGRATION_RESPONSE)
            for status_code, response in (integration.get("integrationResponses") or {}).items()
        },
    }


def present(definition: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """These of its fields, without what is empty: a missing field, None, "", {} and {"application/json": None}."""
    fields = {}
    for name in names:
        value = definition.get(name)
        if isinstance(value, dict):
            value = {key: text for key, text in value.items() if text}
        if value:
            fields[name] = value
    return fields
