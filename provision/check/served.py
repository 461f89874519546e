"""Which definition of a REST API a stage serves, whoever deployed it.

The suite writes a digest of the definition into the description of each deployment. Nobody else does. So what a stage
serves is exported, once for each deployment, as that never changes, and held against the definition as it is now.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-export-api.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provision.aws.api_definition import find_method, resources_of
from provision.aws.clients import Clients

INTEGRATION = "x-amazon-apigateway-integration"

DEFAULT_TIMEOUT_MS = 29_000


class Unreadable(Exception):
    """An export that is no OpenAPI document."""


# Of a route both what is defined and what is exported, in one form: by the name of a part its text.
Route = dict[str, Any]


def exported_routes(aws: Clients, api_id: str, stage: str) -> dict[str, Route]:
    """By path, what POST does in the stage's deployment. Authorization and API keys are not looked at.

    Raises Unreadable where the export cannot be read.
    """
    export = aws.apigateway.get_export(
        restApiId=api_id,
        stageName=stage,
        exportType="oas30",
        parameters={"extensions": "integrations"},
        accepts="application/json",
    )
    routes = {}
    for path, methods in paths_of(export["body"].read()).items():
        method = methods.get("post")
        if method is not None:
            integration = method.get(INTEGRATION) or {}
            responses = {
                response.get("statusCode", ""): ("" if pattern == "default" else pattern, response)
                for pattern, response in (integration.get("responses") or {}).items()
            }
            routes[path] = route(integration, responses)
    return routes


def paths_of(document: bytes) -> dict[str, dict[str, Any]]:
    """The paths of an OpenAPI document. Raises Unreadable."""
    try:
        paths = json.loads(document)["paths"]
        return {path: dict(methods) for path, methods in paths.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable("The export of what the stage serves is no OpenAPI document.") from error


def defined_routes(aws: Clients, api_id: str, paths: list[str]) -> dict[str, Route]:
    """By path, what POST does in the definition as it is now."""
    resources = resources_of(aws.apigateway, api_id)
    routes = {}
    for path in paths:
        method = find_method(aws.apigateway, api_id, resources[path], "POST") if path in resources else None
        if method is not None:
            integration = method.get("methodIntegration") or {}
            responses = {
                status: (response.get("selectionPattern") or "", response)
                for status, response in (integration.get("integrationResponses") or {}).items()
            }
            routes[path] = route(integration, responses)
    return routes


def route(integration: Mapping[str, Any], responses: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Route:
    """An integration, with its responses by status code: the pattern, and the rest. An export writes words small."""
    parts = {name: str(integration.get(name) or "").lower() for name in ("type", "httpMethod", "passthroughBehavior")}
    return {
        **parts,
        **{name: integration.get(name) or "" for name in ("uri", "credentials", "contentHandling")},
        "requestParameters": full(integration.get("requestParameters")),
        "requestTemplates": full(integration.get("requestTemplates")),
        "timeoutInMillis": integration.get("timeoutInMillis") or DEFAULT_TIMEOUT_MS,
        "responses": {
            status: (
                pattern,
                full(response.get("responseTemplates")),
                full(response.get("responseParameters")),
                response.get("contentHandling") or "",
            )
            for status, (pattern, response) in responses.items()
        },
    }


def full(values: Mapping[str, Any] | None) -> dict[str, str]:
    """Without what is empty."""
    return {name: text for name, text in (values or {}).items() if text}


def differing(served: Mapping[str, Route], defined: Mapping[str, Route]) -> list[str]:
    """What of the definition the stage does not serve so, in words."""
    words = []
    for path, wanted in defined.items():
        found = served.get(path)
        if found is None:
            words.append(f"no POST {path}")
        else:
            names = [name for name in wanted if found[name] != wanted[name]]
            words += [f"another {name} of POST {path}" for name in names]
    return words
