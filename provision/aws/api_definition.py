"""What there is in a REST API: its resources and methods, and a digest of what they do.

API Gateway serves what was deployed, not what is defined now. The description of each deployment has a digest of the
definition. If the digest differs, the API must be deployed again.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

# Seconds until API Gateway's lists show what is in the API. AWS publishes no figure.
LISTED_SECONDS = 60.0

# The fields of GetMethod's answer that decide how a call is answered. They are named one by one: AWS adds fields, newer
# botocores show more of them, and with each botocore the digest must be the same.
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


def resources_of(apigateway: Any, api_id: str) -> dict[str, dict[str, Any]]:
    """The API's resources by path, with their methods.

    https://docs.aws.amazon.com/apigateway/latest/api/API_GetResources.html
    """
    paginator = apigateway.get_paginator("get_resources")
    return {
        resource["path"]: resource
        for page in paginator.paginate(restApiId=api_id, limit=500, embed=["methods"])
        for resource in page["items"]
    }


def find_method(apigateway: Any, api_id: str, resource: dict[str, Any], verb: str) -> dict[str, Any] | None:
    """The method of a resource from `resources_of`, with its integration and responses; None if there is none.

    How much of a method GetResources embeds AWS's page does not say, and emulators may embed nothing. So a method that
    came without the responses of its integration is asked for by itself.
    """
    method = (resource.get("resourceMethods") or {}).get(verb)
    if method is None or (method.get("methodIntegration") or {}).get("integrationResponses"):
        return method
    try:
        return dict(apigateway.get_method(restApiId=api_id, resourceId=resource["id"], httpMethod=verb))
    except apigateway.exceptions.NotFoundException:
        return None


def find_spare_apis(apigateway: Any, ours: list[dict[str, Any]], known_id: str | None) -> list[dict[str, Any]]:
    """The empty ones among several APIs with our tag: one is kept, and spare are the others.

    A spare one is left when the answer to CreateRestApi was lost and the list did not show the API for long. Resources
    are created only after the id is recorded, so an empty API never serves. APIs that are not empty are never spare.
    """
    if len(ours) < 2:
        return []
    empty = [api for api in ours if api["id"] != known_id and is_empty(apigateway, api["id"])]
    if len(empty) == len(ours):
        empty.remove(min(empty, key=lambda api: str(api.get("createdDate"))))
    return empty


def is_empty(apigateway: Any, api_id: str) -> bool:
    """Whether an API is as CreateRestApi creates it: the root resource without a method, and no stage."""
    resources = resources_of(apigateway, api_id)
    return (
        list(resources) == ["/"]
        and not resources["/"].get("resourceMethods")
        and not apigateway.get_stages(restApiId=api_id)["item"]
    )


def definition_digest(apigateway: Any, api_id: str, paths: list[str]) -> str | None:
    """A digest that changes whenever POST on one of the paths would be answered differently.

    None while one of them is not visible with its integration.
    """
    resources = resources_of(apigateway, api_id)
    definition = {}
    for path in paths:
        method = find_method(apigateway, api_id, resources[path], "POST") if path in resources else None
        if method is None or "methodIntegration" not in method:
            return None
        definition[path] = behaviour(method)
    text = json.dumps(definition, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
    """These fields, without the empty ones: missing, None, "", {} and {"application/json": None} are the same."""
    fields = {}
    for name in names:
        value = definition.get(name)
        if isinstance(value, dict):
            value = {key: text for key, text in value.items() if text}
        if value:
            fields[name] = value
    return fields
