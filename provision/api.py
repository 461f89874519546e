"""Step 7: the REST API with its routes, and the permission to invoke the function. The lesson: lessons/api.md

What the console does with a few buttons are seven calls here: API, resource, method, integration, method response,
integration response, permission. Names of APIs repeat, so ours is known by its tag.
https://docs.aws.amazon.com/apigateway/latest/developerguide/getting-started-lambda-non-proxy-integration.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from provision.aws.api_definition import LISTED_SECONDS, find_method, is_empty, resources_of
from provision.aws.clients import Clients
from provision.aws.reasons import JUST_MADE
from provision.settings import Settings
from provision.state.entries import TAG, Entry
from provision.state.ownership import TwoOfOurs
from provision.state.state import State

NEEDS = ("roles", "queue", "function")

# Milliseconds that API Gateway waits for the function or the queue: its own default, said because it is compared.
# https://docs.aws.amazon.com/apigateway/latest/api/API_Integration.html
INTEGRATION_TIMEOUT = 29_000


@dataclass(frozen=True)
class Route:
    """POST on one path of the API, and what answers it.

    `credentials` is the role that API Gateway takes for the call; None where the function's own policy permits it.
    `responses` has for each status code the pattern of the backend's status that leads to it; None for all others.
    """

    path: str
    uri: str
    credentials: str | None
    passthrough: str
    content_handling: str | None
    request_parameters: dict[str, str]
    request_templates: dict[str, str]
    responses: dict[str, str | None]


@dataclass(frozen=True)
class Place:
    """Where a route stands: the API and the resource, by AWS's ids."""

    api_id: str
    resource_id: str


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """The API with its routes, then the permission for the first of them."""
    provision_api(aws, settings, state)
    provision_permission(aws, settings, state)


def provision_api(aws: Clients, settings: Settings, state: State) -> None:
    """Find the API by its tag; create it, or update it; then each resource and route in it; record its id."""
    recorded = state.record("api")
    known_id = recorded.outputs.get("id") if recorded else None
    apis = list_apis(aws.apigateway)
    spare = find_spare_apis(aws.apigateway, apis, settings.api, state.deployment, known_id)
    apis = [api for api in apis if api not in spare]
    api = find_api(apis, settings.api, state.deployment, known_id)
    with state.resource("api", "apigateway:rest-api", found=api, name=settings.api) as entry:
        note_namesakes(entry, apis, api, settings.api)
        delete_spare_apis(aws, entry, spare)
        if api is None:
            create_api(aws, settings, entry)
        else:
            update_api(aws, settings, entry, api)
        api_id = entry["id"]
        place = Place(api_id, provision_resource(aws, entry, api_id, "/", settings.path_part))
        provision_route(aws, entry, place, direct_route(aws, settings, state))
        if settings.has_queue_route:
            parent = f"/{settings.path_part}"
            place = Place(api_id, provision_resource(aws, entry, api_id, parent, settings.queue_path_part))
            provision_route(aws, entry, place, queue_route(aws, settings, state))


def provision_resource(aws: Clients, entry: Entry, api_id: str, parent: str, path_part: str) -> str:
    """The id of the resource `path_part` below the path `parent`; it is created where there is none."""
    path = f"{parent.rstrip('/')}/{path_part}"
    resources = aws.waiting.retry(lambda: wait_until_listed(aws, api_id, parent), JUST_MADE)
    if path in resources:
        return str(resources[path]["id"])
    entry.drifted(f"resource {path}", found=None, wanted=path)
    return create_resource(aws, api_id, resources[parent]["id"], path_part)


def provision_route(aws: Clients, entry: Entry, place: Place, route: Route) -> None:
    """Find the method; create what is missing of method, integration and responses, or update it."""
    method = find_method(aws.apigateway, place.api_id, place.resource_id, "POST")
    if method is None:
        entry.drifted(f"POST {route.path} method", found=None, wanted="NONE")
        create_method(aws, place)
    else:
        update_method(aws, entry, place, route, method)
    method = method or {}
    integration = method.get("methodIntegration", {})
    replaced = integration_differs(entry, route, integration)
    if replaced and route.credentials is None:
        integrate_function(aws, place, route)
    elif replaced:
        integrate_queue(aws, place, route)
    # To put an integration again takes its responses away.
    kept = {} if replaced else integration.get("integrationResponses", {})
    provision_responses(aws, entry, place, route, method.get("methodResponses", {}), kept, anew=replaced)


def provision_responses(
    aws: Clients,
    entry: Entry,
    place: Place,
    route: Route,
    method_responses: dict[str, Any],
    integration_responses: dict[str, Any],
    *,
    anew: bool,
) -> None:
    """For each status code the method response, and the integration response that leads to it; no others.

    The pattern of another one could catch what one of these is for.
    """
    label = f"POST {route.path}"
    for status_code in route.responses:
        if status_code not in method_responses:
            entry.drifted(f"{label} method response {status_code}", found=None, wanted="Empty")
            create_method_response(aws, place, status_code)
    # What must go goes first: two integration responses cannot have the same pattern, not even for a moment.
    missing = []
    for status_code, pattern in route.responses.items():
        found = integration_responses.get(status_code)
        if anew or response_differs(entry, f"{label} integration response {status_code}", found, pattern):
            missing.append(status_code)
            if found is not None:
                delete_integration_response(aws, place, status_code)
    for status_code in sorted(integration_responses.keys() - route.responses.keys()):
        part = f"{label} integration response {status_code}"
        entry.drifted(part, found=integration_responses[status_code], wanted=None)
        delete_integration_response(aws, place, status_code)
    for status_code in missing:
        pattern = route.responses[status_code]
        if pattern is None:
            create_default_response(aws, place, status_code)
        else:
            create_integration_response(aws, place, status_code, pattern)
    for status_code in sorted(method_responses.keys() - route.responses.keys()):
        entry.drifted(f"{label} method response {status_code}", found=method_responses[status_code], wanted=None)
        delete_method_response(aws, place, status_code)


def provision_permission(aws: Clients, settings: Settings, state: State) -> None:
    """Find the statement in the function's policy; add it, or add it anew where it says something else; record it."""
    api_id = state.outputs("api")["id"]
    source_arn = aws.arn("execute-api", f"{api_id}/*/POST/{settings.path_part}")
    permission = find_permission(aws.lambda_, settings.function, settings.permission)
    with state.resource(
        "permission",
        "lambda:permission",
        found=permission,
        parent="function",
        FunctionName=settings.function,
        StatementId=settings.permission,
    ) as entry:
        if permission is not None and permission_differs(entry, permission, source_arn):
            # A statement cannot be changed, only removed and added again.
            remove_permission(aws, settings)
            permission = None
        if permission is None:
            add_permission(aws, settings, source_arn)


# The console's seven calls.


def create_api(aws: Clients, settings: Settings, entry: Entry) -> None:
    """An API with its root resource and nothing else. A second call would make a second API of the same name."""
    created = aws.apigateway.create_rest_api(
        name=settings.api,
        endpointConfiguration={"types": ["REGIONAL"]},
        tags=entry.tags,
    )
    entry.identify(created)


def create_resource(aws: Clients, api_id: str, parent_id: str, path_part: str) -> str:
    """A part of a path, below another resource; its id."""
    created = aws.apigateway.create_resource(
        restApiId=api_id,
        parentId=parent_id,
        pathPart=path_part,
    )
    return str(created["id"])


def create_method(aws: Clients, place: Place) -> None:
    """POST, for everybody: without authorization, without an API key."""
    aws.apigateway.put_method(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        authorizationType="NONE",
        apiKeyRequired=False,
    )


def integrate_function(aws: Clients, place: Place, route: Route) -> None:
    """To the function, without proxy: it gets the body as its event, the caller gets what it returns."""
    aws.apigateway.put_integration(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        type="AWS",
        integrationHttpMethod="POST",  # Lambda is always invoked by POST, whatever the method's own verb
        uri=route.uri,
        passthroughBehavior=route.passthrough,
        contentHandling=route.content_handling,
        timeoutInMillis=INTEGRATION_TIMEOUT,
    )


def integrate_queue(aws: Clients, place: Place, route: Route) -> None:
    """To the queue: API Gateway takes the role and calls SendMessage, with the body as the message."""
    aws.apigateway.put_integration(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        type="AWS",
        integrationHttpMethod="POST",
        uri=route.uri,
        credentials=route.credentials,
        requestParameters=route.request_parameters,
        requestTemplates=route.request_templates,
        passthroughBehavior=route.passthrough,
        timeoutInMillis=INTEGRATION_TIMEOUT,
    )


def create_method_response(aws: Clients, place: Place, status_code: str) -> None:
    """A status code that the method may answer with; Empty is a model that every API has."""
    aws.apigateway.put_method_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
        responseModels={"application/json": "Empty"},
    )


def create_default_response(aws: Clients, place: Place, status_code: str) -> None:
    """Without a pattern: for every answer that no pattern fits."""
    aws.apigateway.put_integration_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
    )


def create_integration_response(aws: Clients, place: Place, status_code: str, pattern: str) -> None:
    """For the answers whose HTTP status fits the pattern."""
    aws.apigateway.put_integration_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
        selectionPattern=pattern,
    )


def add_permission(aws: Clients, settings: Settings, source_arn: str) -> None:
    """The function's own policy names who may invoke it: this API, this method and path, in any stage."""
    aws.lambda_.add_permission(
        FunctionName=settings.function,
        StatementId=settings.permission,
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=source_arn,
    )


# What the two routes are.


def direct_route(aws: Clients, settings: Settings, state: State) -> Route:
    """POST to the function."""
    function_arn = state.outputs("function")["arn"]
    return Route(
        path=f"/{settings.path_part}",
        # The path of Lambda's own Invoke API, with its date.
        # https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
        uri=f"arn:{aws.partition}:apigateway:{aws.region}:lambda:path/2015-03-31/functions/{function_arn}/invocations",
        credentials=None,
        passthrough="WHEN_NO_MATCH",
        content_handling="CONVERT_TO_TEXT",
        request_parameters={},
        request_templates={},
        responses={"200": None},
    )


def queue_route(aws: Clients, settings: Settings, state: State) -> Route:
    """POST to the queue: SendMessage by SQS's query protocol, with the role APIGateway-SQS.

    https://repost.aws/knowledge-center/api-gateway-rest-api-sqs-errors
    """
    send_message = "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"
    return Route(
        path=f"/{settings.path_part}/{settings.queue_path_part}",
        uri=f"arn:{aws.partition}:apigateway:{aws.region}:sqs:path/{aws.account_id}/{settings.queue}",
        credentials=state.outputs("api-role")["arn"],
        passthrough="NEVER",
        content_handling=None,
        # A single-quoted value is a literal to API Gateway.
        request_parameters={"integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"},
        # curl -d names its body a form unless told otherwise; either way the body is the message.
        request_templates={"application/json": send_message, "application/x-www-form-urlencoded": send_message},
        # Without the two patterns SQS's own errors would reach the caller as 200.
        responses={"200": None, "400": "4\\d{2}", "500": "5\\d{2}"},
    )


# What is there, and what differs.


def update_api(aws: Clients, settings: Settings, entry: Entry, api: dict[str, Any]) -> None:
    """API Gateway changes attributes by patch operations, each with the path of one attribute.

    https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
    """
    if entry.needs_tag():
        aws.apigateway.tag_resource(
            resourceArn=f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/{api['id']}",
            tags=entry.tags,
        )
    changes = []
    if entry.drifted("name", found=api["name"], wanted=settings.api):
        changes.append({"op": "replace", "path": "/name", "value": settings.api})
    types = api.get("endpointConfiguration", {}).get("types")
    if entry.drifted("endpoint type", found=types, wanted=["REGIONAL"]):
        path = f"/endpointConfiguration/types/{types[0]}"
        changes.append({"op": "replace", "path": path, "value": "REGIONAL"})
    closed = api.get("disableExecuteApiEndpoint", False)
    if entry.drifted("disableExecuteApiEndpoint", found=closed, wanted=False):
        changes.append({"op": "replace", "path": "/disableExecuteApiEndpoint", "value": "false"})
        # It takes effect with the next deployment: step 8 sees by this number that one is due.
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-disable-default-endpoint.html
        entry["reopened"] = int(entry.get("reopened") or 0) + 1
    if changes:
        aws.apigateway.update_rest_api(
            restApiId=api["id"],
            patchOperations=changes,
        )


def update_method(aws: Clients, entry: Entry, place: Place, route: Route, method: dict[str, Any]) -> None:
    """Authorization, API key and validator: each of them could turn callers away."""
    label = f"POST {route.path}"
    changes = []
    if entry.drifted(f"{label} authorizationType", found=method["authorizationType"], wanted="NONE"):
        changes.append({"op": "replace", "path": "/authorizationType", "value": "NONE"})
    if entry.drifted(f"{label} apiKeyRequired", found=method.get("apiKeyRequired", False), wanted=False):
        changes.append({"op": "replace", "path": "/apiKeyRequired", "value": "false"})
    if entry.drifted(f"{label} requestValidatorId", found=method.get("requestValidatorId"), wanted=None):
        changes.append({"op": "replace", "path": "/requestValidatorId"})
    if changes:
        aws.apigateway.update_method(
            restApiId=place.api_id,
            resourceId=place.resource_id,
            httpMethod="POST",
            patchOperations=changes,
        )


def integration_differs(entry: Entry, route: Route, integration: dict[str, Any]) -> bool:
    """Whether the integration must be put (again)."""
    label = f"POST {route.path} integration"
    if not integration:
        return entry.drifted(label, found=None, wanted=route.uri)
    wanted = {
        "type": "AWS",
        "httpMethod": "POST",
        "uri": route.uri,
        "credentials": route.credentials,
        "passthroughBehavior": route.passthrough,
        "contentHandling": route.content_handling,
        "requestParameters": route.request_parameters,
        "requestTemplates": route.request_templates,
        "timeoutInMillis": INTEGRATION_TIMEOUT,
    }
    return attributes_differ(entry, label, {"timeoutInMillis": INTEGRATION_TIMEOUT, **integration}, wanted)


def response_differs(entry: Entry, label: str, response: dict[str, Any] | None, pattern: str | None) -> bool:
    """Whether the integration response must be put (again)."""
    if response is None:
        return entry.drifted(label, found=None, wanted=pattern or "the default one")
    wanted: dict[str, Any] = {
        "selectionPattern": pattern,
        "responseParameters": {},
        "responseTemplates": {},
        "contentHandling": None,
    }
    # The console leaves templates with nothing in them, {"application/json": None}.
    templates = {kind: text for kind, text in (response.get("responseTemplates") or {}).items() if text}
    return attributes_differ(entry, label, {**response, "responseTemplates": templates}, wanted)


def attributes_differ(entry: Entry, label: str, found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Compare each attribute that is wanted; what is empty and what is missing are the same to API Gateway."""
    drifted = False
    for attribute, value in wanted.items():
        same = (found.get(attribute) or None) == (value or None)
        drifted |= entry.drifted(f"{label} {attribute}", found=found.get(attribute), wanted=value, same=same)
    return drifted


def permission_differs(entry: Entry, permission: dict[str, Any], source_arn: str) -> bool:
    """Whether the statement must be added anew. One that a person made must be one that can be put back."""
    wanted = {
        "Action": "lambda:InvokeFunction",
        "Principal": {"Service": "apigateway.amazonaws.com"},
        "Condition": {"ArnLike": {"AWS:SourceArn": source_arn}},
    }
    differing = [name for name in wanted if entry.drifted(name, found=permission.get(name), wanted=wanted[name])]
    if differing and entry.is_adopted:
        conditions = permission.get("Condition", {})
        others = set(conditions) - {"ArnLike", "StringEquals"}
        others |= set(conditions.get("StringEquals", {})) - {"AWS:SourceAccount"}
        entry.must_be_replaced("conditions beside the source", found=sorted(others), wanted=[])
    return bool(differing)


def note_namesakes(entry: Entry, apis: list[dict[str, Any]], ours: dict[str, Any] | None, name: str) -> None:
    """Say which other APIs have the name."""
    for other in apis:
        if other is not ours and other["name"] == name:
            entry.note(f"another API called {name} (id {other['id']}) is somebody else's, and is left alone")


def delete_spare_apis(aws: Clients, entry: Entry, spare: list[dict[str, Any]]) -> None:
    """What a lost answer to CreateRestApi left behind."""
    for one in spare:
        entry.drifted("APIs with this deployment's tag", found=f"one more, empty ({one['id']})", wanted="one")
        aws.apigateway.delete_rest_api(
            restApiId=one["id"],
        )


def delete_integration_response(aws: Clients, place: Place, status_code: str) -> None:
    """The method response of the same status code stays."""
    aws.apigateway.delete_integration_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
    )


def delete_method_response(aws: Clients, place: Place, status_code: str) -> None:
    """Its integration response must be gone by then."""
    aws.apigateway.delete_method_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
    )


def remove_permission(aws: Clients, settings: Settings) -> None:
    """Take the statement out of the function's policy."""
    aws.lambda_.remove_permission(
        FunctionName=settings.function,
        StatementId=settings.permission,
    )


def list_apis(apigateway: Any) -> list[dict[str, Any]]:
    """All REST APIs of the account and Region, with their tags as "Tags"."""
    return [
        {**api, "Tags": api.get("tags", {})}
        for page in apigateway.get_paginator("get_rest_apis").paginate(limit=500)
        for api in page["items"]
    ]


def find_api(apis: list[dict[str, Any]], name: str, deployment: str, known_id: str | None) -> dict[str, Any] | None:
    """This deployment's API: names repeat, so its tag says which it is; the id from the state file, under any name.

    Others of the same name are somebody else's, and are left alone. Raises TwoOfOurs.
    """
    ours = [
        api for api in apis if api["id"] == known_id or (api["name"] == name and api["Tags"].get(TAG) == deployment)
    ]
    if len(ours) > 1:
        raise TwoOfOurs("apigateway:rest-api", name, [api["id"] for api in ours])
    return ours[0] if ours else None


def find_spare_apis(
    apigateway: Any, apis: list[dict[str, Any]], name: str, deployment: str, known_id: str | None
) -> list[dict[str, Any]]:
    """Further APIs with our tag in which there is nothing at all.

    Such a one is left when the answer to CreateRestApi is lost and the list does not show for long what was made. An
    API gets its resources only after its id was noted, so an empty one is never the one that serves. Two that have
    something in them are left to find_api.
    """
    ours = [api for api in apis if api["name"] == name and api["Tags"].get(TAG) == deployment]
    if len(ours) < 2:
        return []
    empty = [api for api in ours if api["id"] != known_id and is_empty(apigateway, api["id"])]
    if len(empty) == len(ours):
        empty.remove(min(empty, key=lambda api: str(api.get("createdDate"))))
    return empty


def find_permission(lambda_: Any, function_name: str, statement_id: str) -> dict[str, Any] | None:
    """The statement of the function's policy with this id; None if there is none."""
    try:
        policy = json.loads(lambda_.get_policy(FunctionName=function_name)["Policy"])
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    for statement in policy["Statement"]:
        if statement["Sid"] == statement_id:
            return dict(statement)
    return None


def wait_until_listed(aws: Clients, api_id: str, path: str) -> dict[str, dict[str, Any]]:
    """The API's resources by path, as soon as one of that path is among them."""

    def look() -> dict[str, dict[str, Any]] | None:
        resources = resources_of(aws.apigateway, api_id)
        return resources if path in resources else None

    return aws.waiting.poll_until(
        f"resource {path} of {api_id}", look, budget=LISTED_SECONDS, means="API Gateway's lists may lag behind."
    )
