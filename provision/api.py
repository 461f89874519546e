"""Step 7: the REST API with its routes, and the permission to invoke the function. The lesson: lessons/api.md

What the console does with a few buttons takes seven calls: API, resource, method, integration, method response,
integration response, permission. Several APIs may have one name, so the tag says which is ours.
https://docs.aws.amazon.com/apigateway/latest/developerguide/getting-started-lambda-non-proxy-integration.html
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from provision.aws.api_definition import LISTED_SECONDS, find_method, find_spare_apis, resources_of
from provision.aws.clients import Clients
from provision.aws.reasons import JUST_MADE
from provision.documents import resource_policy, same_meaning
from provision.settings import Settings
from provision.state.entries import TAG, Entry
from provision.state.ownership import TwoOfOurs
from provision.state.state import State

NEEDS = ("roles", "queue", "function")

# Milliseconds that API Gateway waits for the function or the queue: its default, set so that it can be compared.
# https://docs.aws.amazon.com/apigateway/latest/api/API_Integration.html
INTEGRATION_TIMEOUT = 29_000

# The API's resources by path, as `resources_of` gives them.
Resources = dict[str, dict[str, Any]]


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """The API with its two routes, then the permission that the first of them needs."""
    provision_api(aws, settings, state)
    provision_permission(aws, settings, state)


def provision_api(aws: Clients, settings: Settings, state: State) -> None:
    """Find the API by its tag; create it, or update it; then each resource and route in it; record its id."""
    known_id = state.known_id("api")
    apis = list_apis(aws.apigateway, known_id)
    spare = find_spare_apis(aws.apigateway, tagged(apis, settings.api, state.deployment), known_id)
    apis = [api for api in apis if api not in spare]
    api = find_api(apis, settings.api, state.deployment, known_id)
    with state.resource("api", "apigateway:rest-api", found=api, name=settings.api) as entry:
        note_namesakes(entry, apis, api, settings.api)
        delete_spare_apis(aws, entry, spare)
        policy = resource_policy(aws, settings)
        if api is not None:
            update_api(aws, settings, entry, api, policy)
            resources = aws.waiting.retry(lambda: wait_until_listed(aws, entry["id"]), JUST_MADE)
        elif policy is None:
            resources = create_api(aws, settings, entry)
        else:
            resources = create_limited_api(aws, settings, entry, policy)
        provision_route(aws, entry, resources, direct_route(aws, settings, state))
        if settings.has_queue_route:
            provision_route(aws, entry, resources, queue_route(aws, settings, state))


def provision_route(aws: Clients, entry: Entry, resources: Resources, route: Route) -> None:
    """Create what is missing of resource, method, integration and responses; update what drifted."""
    resource = provision_resource(aws, entry, resources, route.path)
    place = Place(entry["id"], resource["id"])
    method = find_method(aws.apigateway, place.api_id, resource, "POST")
    if method is None:
        entry.drifted(f"POST {route.path} method", found=None, wanted=route.authorization_type)
        create_method(aws, place, route)
        method = {}
    else:
        update_method(aws, entry, place, route, method)
    anew = integration_drifted(entry, route, method.get("methodIntegration", {}))
    if anew and route.credentials is None:
        integrate_function(aws, place, route)
    elif anew:
        integrate_queue(aws, place, route)
    update_responses(aws, entry, place, route, method, anew=anew)


def provision_resource(aws: Clients, entry: Entry, resources: Resources, path: str) -> dict[str, Any]:
    """The resource at `path`. It is created where there is none, and then it has no methods."""
    if path not in resources:
        entry.drifted(f"resource {path}", found=None, wanted=path)
        parent, _, path_part = path.rpartition("/")
        resources[path] = create_resource(aws, entry["id"], resources[parent or "/"]["id"], path_part)
    return resources[path]


def provision_permission(aws: Clients, settings: Settings, state: State) -> None:
    """Find the statement in the function's policy; add it, or replace it if it drifted; record it."""
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
        if permission is not None and permission_drifted(entry, permission, source_arn):
            # Lambda cannot change a statement, only remove and add it.
            remove_permission(aws, settings)
            permission = None
        if permission is None:
            add_permission(aws, settings, source_arn)


# The console's seven calls.


def create_api(aws: Clients, settings: Settings, entry: Entry) -> Resources:
    """An API with its root resource and nothing else. A second call would create a second API of the same name."""
    created = aws.apigateway.create_rest_api(
        name=settings.api,
        endpointConfiguration={"types": ["REGIONAL"]},
        tags=entry.tags,
    )
    entry.identify(created)
    return {"/": {"id": created["rootResourceId"]}}


def create_limited_api(aws: Clients, settings: Settings, entry: Entry, policy: dict[str, Any]) -> Resources:
    """The same with a resource policy, which says who may call it, and from where."""
    created = aws.apigateway.create_rest_api(
        name=settings.api,
        endpointConfiguration={"types": ["REGIONAL"]},
        policy=json.dumps(policy),
        tags=entry.tags,
    )
    entry.identify(created)
    return {"/": {"id": created["rootResourceId"]}}


def create_resource(aws: Clients, api_id: str, parent_id: str, path_part: str) -> dict[str, Any]:
    """One part of a path, below another resource."""
    created: dict[str, Any] = aws.apigateway.create_resource(
        restApiId=api_id,
        parentId=parent_id,
        pathPart=path_part,
    )
    return created


def create_method(aws: Clients, place: Place, route: Route) -> None:
    """POST. With the authorization NONE it is for everybody, with AWS_IAM for whoever signs the request.

    With `apiKeyRequired` it is for whoever has the key that step 8 makes.
    """
    aws.apigateway.put_method(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        authorizationType=route.authorization_type,
        apiKeyRequired=route.needs_api_key,
    )


def integrate_function(aws: Clients, place: Place, route: Route) -> None:
    """To the function, without proxy: the body is its event, and what it returns is the answer."""
    aws.apigateway.put_integration(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        type="AWS",
        integrationHttpMethod="POST",  # Lambda's Invoke is always a POST, whatever the method's own verb
        uri=route.uri,
        passthroughBehavior=route.passthrough,
        contentHandling=route.content_handling,
        timeoutInMillis=INTEGRATION_TIMEOUT,
    )


def integrate_queue(aws: Clients, place: Place, route: Route) -> None:
    """To the queue: API Gateway assumes the role and calls SendMessage, with the body as the message."""
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
    """A status code that the method may answer with. Every API has the model Empty."""
    aws.apigateway.put_method_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
        responseModels={"application/json": "Empty"},
    )


def create_default_response(aws: Clients, place: Place, status_code: str) -> None:
    """For every answer that no pattern matches."""
    aws.apigateway.put_integration_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
    )


def create_integration_response(aws: Clients, place: Place, status_code: str, pattern: str) -> None:
    """For the answers whose HTTP status matches the pattern."""
    aws.apigateway.put_integration_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
        selectionPattern=pattern,
    )


def add_permission(aws: Clients, settings: Settings, source_arn: str) -> None:
    """A statement in the function's policy: this API may invoke it, from this method and path, in any stage."""
    aws.lambda_.add_permission(
        FunctionName=settings.function,
        StatementId=settings.permission,
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=source_arn,
    )


# What the two routes are.


@dataclass(frozen=True)
class Route:
    """POST on one path of the API, and what answers it.

    `credentials` is the role that API Gateway assumes for the call; None where the function's policy permits it.
    `responses` has for each status code the pattern of the backend's status that leads to it; None: every other one.
    """

    path: str
    authorization_type: str
    needs_api_key: bool
    uri: str
    credentials: str | None
    passthrough: str
    content_handling: str | None
    request_parameters: dict[str, str]
    request_templates: dict[str, str]
    responses: dict[str, str | None]


@dataclass(frozen=True)
class Place:
    """The API and the resource of a route, by AWS's ids."""

    api_id: str
    resource_id: str


def direct_route(aws: Clients, settings: Settings, state: State) -> Route:
    """POST to the function."""
    function_arn = state.outputs("function")["arn"]
    return Route(
        path=f"/{settings.path_part}",
        authorization_type=settings.authorization_type,
        needs_api_key=settings.needs_api_key,
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
        authorization_type=settings.authorization_type,
        needs_api_key=settings.needs_api_key,
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


def full_policy(aws: Clients, api_id: str, policy: str) -> str:
    """A resource policy with the API's whole ARN, as API Gateway keeps it, and with its quotes as they are.

    GetRestApi shows each quote behind a backslash, and each slash too (hashicorp/terraform-provider-aws#4397).
    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies-examples.html
    """
    text = policy.replace('\\"', '"').replace("\\/", "/")
    return text.replace('"execute-api:/', f'"{aws.arn("execute-api", api_id)}/')


def update_api(
    aws: Clients, settings: Settings, entry: Entry, api: dict[str, Any], policy: dict[str, Any] | None
) -> None:
    """API Gateway takes patch operations, each with the path of one attribute.

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
    wanted = "" if policy is None else full_policy(aws, api["id"], json.dumps(policy))
    found = full_policy(aws, api["id"], api.get("policy") or "")
    if entry.drifted("policy", found=found, wanted=wanted, same=same_meaning(found, wanted)):
        changes.append({"op": "replace", "path": "/policy", "value": wanted})
    if any(change["path"] in ("/disableExecuteApiEndpoint", "/policy") for change in changes):
        # Both take effect with the next deployment. By this number step 8 sees that one is due.
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-disable-default-endpoint.html
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies-create-attach.html
        entry["reopened"] = int(entry.get("reopened") or 0) + 1
    if changes:
        aws.apigateway.update_rest_api(
            restApiId=api["id"],
            patchOperations=changes,
        )


def update_method(aws: Clients, entry: Entry, place: Place, route: Route, method: dict[str, Any]) -> None:
    """Authorization, API key and validator: each of them could refuse callers."""
    label = f"POST {route.path}"
    changes = []
    wanted = route.authorization_type
    if entry.drifted(f"{label} authorizationType", found=method["authorizationType"], wanted=wanted):
        changes.append({"op": "replace", "path": "/authorizationType", "value": wanted})
    needed = method.get("apiKeyRequired", False)
    if entry.drifted(f"{label} apiKeyRequired", found=needed, wanted=route.needs_api_key):
        changes.append({"op": "replace", "path": "/apiKeyRequired", "value": str(route.needs_api_key).lower()})
    if entry.drifted(f"{label} requestValidatorId", found=method.get("requestValidatorId"), wanted=None):
        changes.append({"op": "replace", "path": "/requestValidatorId"})
    if changes:
        aws.apigateway.update_method(
            restApiId=place.api_id,
            resourceId=place.resource_id,
            httpMethod="POST",
            patchOperations=changes,
        )


def update_responses(
    aws: Clients, entry: Entry, place: Place, route: Route, method: dict[str, Any], *, anew: bool
) -> None:
    """For each status code the method response, and the integration response that leads to it. Delete all others.

    The pattern of another one could match what one of these is for. Putting an integration `anew` deletes its
    responses.
    """
    label = f"POST {route.path}"
    method_responses = method.get("methodResponses", {})
    integration_responses = {} if anew else method.get("methodIntegration", {}).get("integrationResponses", {})
    for status_code in route.responses:
        if status_code not in method_responses:
            entry.drifted(f"{label} method response {status_code}", found=None, wanted="Empty")
            create_method_response(aws, place, status_code)
    # Delete before you create: two integration responses cannot have the same pattern, not even for a moment.
    missing = []
    for status_code, pattern in route.responses.items():
        found = integration_responses.get(status_code)
        if anew or response_drifted(entry, f"{label} integration response {status_code}", found, pattern):
            missing.append(status_code)
            if found is not None:
                delete_integration_response(aws, place, status_code)
    for status_code in sorted(integration_responses.keys() - route.responses.keys()):
        found = integration_responses[status_code]
        entry.drifted(f"{label} integration response {status_code}", found=found, wanted=None)
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


def integration_drifted(entry: Entry, route: Route, integration: dict[str, Any]) -> bool:
    """Whether the integration must be put."""
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
    return attributes_drifted(entry, label, {"timeoutInMillis": INTEGRATION_TIMEOUT, **integration}, wanted)


def response_drifted(entry: Entry, label: str, response: dict[str, Any] | None, pattern: str | None) -> bool:
    """Whether the integration response must be put."""
    if response is None:
        return entry.drifted(label, found=None, wanted=pattern or "the default one")
    wanted: dict[str, Any] = {
        "selectionPattern": pattern,
        "responseParameters": {},
        "responseTemplates": {},
        "contentHandling": None,
    }
    # The console leaves empty templates, {"application/json": None}.
    templates = {kind: text for kind, text in (response.get("responseTemplates") or {}).items() if text}
    return attributes_drifted(entry, label, {**response, "responseTemplates": templates}, wanted)


def attributes_drifted(entry: Entry, label: str, found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Compare each wanted attribute. To API Gateway an empty attribute and a missing one are the same."""
    drifted = False
    for attribute, value in wanted.items():
        same = (found.get(attribute) or None) == (value or None)
        drifted |= entry.drifted(f"{label} {attribute}", found=found.get(attribute), wanted=value, same=same)
    return drifted


def permission_drifted(entry: Entry, permission: dict[str, Any], source_arn: str) -> bool:
    """Whether the statement must be replaced. What is adopted must be a statement that AddPermission can restore."""
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
    """Report which other APIs have the name."""
    for other in apis:
        if other is not ours and other["name"] == name:
            entry.note(f"another API called {name} (id {other['id']}) is somebody else's, and is left alone")


def delete_spare_apis(aws: Clients, entry: Entry, spare: list[dict[str, Any]]) -> None:
    """Delete the empty APIs that a lost answer to CreateRestApi left behind."""
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
    """Delete its integration response first."""
    aws.apigateway.delete_method_response(
        restApiId=place.api_id,
        resourceId=place.resource_id,
        httpMethod="POST",
        statusCode=status_code,
    )


def remove_permission(aws: Clients, settings: Settings) -> None:
    """Remove the statement from the function's policy."""
    aws.lambda_.remove_permission(
        FunctionName=settings.function,
        StatementId=settings.permission,
    )


def list_apis(apigateway: Any, known_id: str | None = None) -> list[dict[str, Any]]:
    """All REST APIs of the account and Region, with their tags as "Tags".

    The list may lag. If it does not show the API with `known_id`, that one is asked for by its id.
    """
    pages = apigateway.get_paginator("get_rest_apis").paginate(limit=500)
    apis = [api for page in pages for api in page["items"]]
    if known_id is not None and all(api["id"] != known_id for api in apis):
        with suppress(apigateway.exceptions.NotFoundException):
            apis.append(apigateway.get_rest_api(restApiId=known_id))
    return [{**api, "Tags": api.get("tags", {})} for api in apis]


def find_api(apis: list[dict[str, Any]], name: str, deployment: str, known_id: str | None) -> dict[str, Any] | None:
    """The API that carries this deployment's tag, or has the recorded id, under any name. Raises TwoOfOurs."""
    return find_ours("apigateway:rest-api", apis, name, deployment, known_id)


def find_ours(
    kind: str, listed: list[dict[str, Any]], name: str, deployment: str, known_id: str | None
) -> dict[str, Any] | None:
    """Of what API Gateway lists, the one with this deployment's tag, or with the recorded id, under any name.

    Others of the same name are somebody else's, and are left alone. Raises TwoOfOurs.
    """
    ours = [one for one in listed if one["id"] == known_id or tagged([one], name, deployment)]
    if len(ours) > 1:
        raise TwoOfOurs(kind, name, [one["id"] for one in ours])
    return ours[0] if ours else None


def tagged(apis: list[dict[str, Any]], name: str, deployment: str) -> list[dict[str, Any]]:
    """Those of this name that carry this deployment's tag."""
    return [api for api in apis if api["name"] == name and api["Tags"].get(TAG) == deployment]


def find_permission(lambda_: Any, function_name: str, statement_id: str) -> dict[str, Any] | None:
    """The statement of the function's policy with this id; None if there is none."""
    statements = permissions_of(lambda_, function_name)
    return next((statement for statement in statements if statement["Sid"] == statement_id), None)


def permissions_of(lambda_: Any, function_name: str) -> list[dict[str, Any]]:
    """The statements of the function's policy."""
    try:
        policy = json.loads(lambda_.get_policy(FunctionName=function_name)["Policy"])
    except lambda_.exceptions.ResourceNotFoundException:
        return []
    return list(policy["Statement"])


def wait_until_listed(aws: Clients, api_id: str) -> Resources:
    """The API's resources by path, once its root is among them."""
    return aws.waiting.poll_until(
        f"the resources of {api_id}",
        lambda: resources_of(aws.apigateway, api_id) or None,
        budget=LISTED_SECONDS,
        means="API Gateway's lists may lag behind.",
    )
