"""Step 7: the REST API with its methods, and the permission to invoke the function. The lesson: lessons/api.md

What the console does with one button are five calls here: method, integration, method response, integration response,
permission. Names of APIs repeat, so ours is known by its tag.
https://docs.aws.amazon.com/apigateway/latest/developerguide/getting-started-lambda-non-proxy-integration.html
"""

from __future__ import annotations

import json
from typing import Any

from provision.aws.clients import Clients
from provision.aws.reasons import JUST_MADE
from provision.settings import Settings
from provision.state.entries import TAG, Making
from provision.state.ownership import TwoOfOurs
from provision.state.state import Ledger

NEEDS = ("roles", "queue", "function")

# Milliseconds that API Gateway waits for the function or the queue: its own default, said because it is compared.
# https://docs.aws.amazon.com/apigateway/latest/api/API_Integration.html
INTEGRATION_TIMEOUT = 29_000


def list_apis(apigateway: Any) -> list[dict[str, Any]]:
    """All REST APIs of the account and Region, with their tags as "Tags"."""
    return [
        {**api, "Tags": api.get("tags", {})}
        for page in apigateway.get_paginator("get_rest_apis").paginate(limit=500)
        for api in page["items"]
    ]


def find_api(apis: list[dict[str, Any]], name: str, deployment: str, known_id: str | None) -> dict[str, Any] | None:
    """This deployment's API: names repeat, so its tag says which it is; the id from the ledger, under any name.

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
    """Further APIs with our mark in which there is nothing at all.

    Such a one is left when the answer to CreateRestApi is lost and the list does not show for long what was made.

    An API gets its resources only after its id was noted, so an empty one is never the one that serves. Two that have
    something in them are left to find_api.
    """
    ours = [api for api in apis if api["name"] == name and api["Tags"].get(TAG) == deployment]
    if len(ours) < 2:
        return []
    empty = [api for api in ours if api["id"] != known_id and is_empty(apigateway, api["id"])]
    if len(empty) == len(ours):
        empty.remove(min(empty, key=lambda api: str(api.get("createdDate"))))
    return empty


def is_empty(apigateway: Any, api_id: str) -> bool:
    """Whether an API is as CreateRestApi makes it: the root resource, without a method, and no stage."""
    resources = resources_of(apigateway, api_id)
    return (
        list(resources) == ["/"]
        and not resources["/"].get("resourceMethods")
        and not apigateway.get_stages(restApiId=api_id)["item"]
    )


def find_permission(lambda_: Any, function_name: str, statement_id: str) -> dict[str, Any] | None:
    try:
        policy = json.loads(lambda_.get_policy(FunctionName=function_name)["Policy"])
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    for statement in policy["Statement"]:
        if statement["Sid"] == statement_id:
            return dict(statement)
    return None


def find_method(apigateway: Any, api_id: str, resource_id: str, verb: str) -> dict[str, Any] | None:
    try:
        return dict(apigateway.get_method(restApiId=api_id, resourceId=resource_id, httpMethod=verb))
    except apigateway.exceptions.NotFoundException:
        return None


# Seconds for a list of API Gateway to show what is in the API; nobody publishes a figure.
LISTED = 60.0


def resources_of(apigateway: Any, api_id: str) -> dict[str, dict[str, Any]]:
    """The API's resources by path."""
    paginator = apigateway.get_paginator("get_resources")
    return {
        resource["path"]: resource
        for page in paginator.paginate(restApiId=api_id, limit=500)
        for resource in page["items"]
    }


def provision(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    make_api(aws, settings, ledger)
    allow_invoking(aws, settings, ledger)


def make_api(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    recorded = ledger.record("api")
    known_id = recorded.outputs.get("id") if recorded else None
    apis = list_apis(aws.apigateway)
    spare = find_spare_apis(aws.apigateway, apis, settings.api, ledger.deployment, known_id)
    apis = [api for api in apis if api not in spare]
    api = find_api(apis, settings.api, ledger.deployment, known_id)
    with ledger.making("api", "apigateway:rest-api", found=api, name=settings.api) as made:
        for other in apis:
            if other is not api and other["name"] == settings.api:
                made.note(f"another API called {settings.api} (id {other['id']}) is somebody else's, and is left alone")
        for one in spare:
            made.differs("APIs with this deployment's mark", found=f"one more, empty ({one['id']})", wanted="one")
            aws.apigateway.delete_rest_api(
                restApiId=one["id"],
            )
        if api is None:
            created = aws.apigateway.create_rest_api(
                name=settings.api,
                endpointConfiguration={"types": ["REGIONAL"]},
                tags=ledger.tags,
            )
            made.identify(created)
        else:
            if made.lacks_mark():
                aws.apigateway.tag_resource(
                    resourceArn=f"arn:{aws.partition}:apigateway:{aws.region}::/restapis/{api['id']}",
                    tags=made.tags,
                )
            changes = []
            if made.differs("name", found=api["name"], wanted=settings.api):
                changes.append({"op": "replace", "path": "/name", "value": settings.api})
            types = api.get("endpointConfiguration", {}).get("types")
            if made.differs("endpoint type", found=types, wanted=["REGIONAL"]):
                path = f"/endpointConfiguration/types/{types[0]}"
                changes.append({"op": "replace", "path": path, "value": "REGIONAL"})
            if made.differs(
                "disableExecuteApiEndpoint", found=api.get("disableExecuteApiEndpoint", False), wanted=False
            ):
                changes.append({"op": "replace", "path": "/disableExecuteApiEndpoint", "value": "false"})
                # It takes effect with the next deployment: step 8 sees by this number that one is due.
                # https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-disable-default-endpoint.html
                made["reopened"] = int(made.get("reopened") or 0) + 1
            if changes:
                aws.apigateway.update_rest_api(
                    restApiId=api["id"],
                    patchOperations=changes,
                )
        api_id = made["id"]
        is_new = api is None

        resource_id = make_resource(aws, made, api_id, "/", settings.path_part, is_new)
        make_direct_route(aws, settings, ledger, made, api_id, resource_id, is_new)
        if settings.has_queue_route:
            parent = f"/{settings.path_part}"
            resource_id = make_resource(aws, made, api_id, parent, settings.queue_path_part, is_new)
            make_queue_route(aws, settings, ledger, made, api_id, resource_id, is_new)


def make_resource(aws: Clients, made: Making, api_id: str, parent_path: str, path_part: str, is_new: bool) -> str:
    """The id of the resource `path_part` below `parent_path`."""
    path = f"{parent_path.rstrip('/')}/{path_part}"

    def look() -> dict[str, dict[str, Any]] | None:
        resources = resources_of(aws.apigateway, api_id)
        return resources if parent_path in resources else None

    for attempt in aws.waiting.retry_while(JUST_MADE):
        with attempt:
            resources = aws.waiting.poll_until(
                f"resource {parent_path} of {api_id}", look, budget=LISTED, means="API Gateway's lists may lag behind."
            )
    if path in resources:
        return str(resources[path]["id"])
    if not is_new:
        made.differs(f"resource {path}", found=None, wanted=path)
    created = aws.apigateway.create_resource(
        restApiId=api_id,
        parentId=resources[parent_path]["id"],
        pathPart=path_part,
    )
    return str(created["id"])


def make_direct_route(
    aws: Clients,
    settings: Settings,
    ledger: Ledger,
    made: Making,
    api_id: str,
    resource_id: str,
    is_new: bool,
) -> None:
    """POST to the function, without proxy: the function gets the body as its event, the caller its result."""
    function_arn = ledger.outputs("function")["arn"]
    # The path of Lambda's own Invoke API, with its date; https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    uri = f"arn:{aws.partition}:apigateway:{aws.region}:lambda:path/2015-03-31/functions/{function_arn}/invocations"
    label = f"POST /{settings.path_part}"
    method = find_method(aws.apigateway, api_id, resource_id, "POST")
    make_method(aws, made, label, api_id, resource_id, method, is_new)

    integration = (method or {}).get("methodIntegration", {})
    wanted: dict[str, Any] = {
        "type": "AWS",
        "httpMethod": "POST",
        "uri": uri,
        "credentials": None,
        "passthroughBehavior": "WHEN_NO_MATCH",
        "contentHandling": "CONVERT_TO_TEXT",
        "requestParameters": {},
        "requestTemplates": {},
        "timeoutInMillis": INTEGRATION_TIMEOUT,
    }
    replaced = False
    if integration_differs(made, label, integration, wanted, is_new):
        replaced = True
        aws.apigateway.put_integration(
            restApiId=api_id,
            resourceId=resource_id,
            httpMethod="POST",
            type="AWS",
            integrationHttpMethod="POST",  # Lambda is always invoked by POST, whatever the method's own verb
            uri=uri,
            passthroughBehavior="WHEN_NO_MATCH",
            contentHandling="CONVERT_TO_TEXT",
            timeoutInMillis=INTEGRATION_TIMEOUT,
        )

    make_responses(
        aws, made, label, api_id, resource_id, method, {"200": None}, is_new=is_new, integration_replaced=replaced
    )


def make_queue_route(
    aws: Clients,
    settings: Settings,
    ledger: Ledger,
    made: Making,
    api_id: str,
    resource_id: str,
    is_new: bool,
) -> None:
    """POST to the queue: API Gateway calls SendMessage with the role APIGateway-SQS and the body as the message.

    https://repost.aws/knowledge-center/api-gateway-rest-api-sqs-errors
    """
    uri = f"arn:{aws.partition}:apigateway:{aws.region}:sqs:path/{aws.account_id}/{settings.queue}"
    credentials = ledger.outputs("api-role")["arn"]
    # A single-quoted value is a literal to API Gateway.
    request_parameters = {"integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"}
    send_message = "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"
    # curl -d names its body a form unless told otherwise; either way the body is the message.
    request_templates = {
        "application/json": send_message,
        "application/x-www-form-urlencoded": send_message,
    }
    label = f"POST /{settings.path_part}/{settings.queue_path_part}"
    method = find_method(aws.apigateway, api_id, resource_id, "POST")
    make_method(aws, made, label, api_id, resource_id, method, is_new)

    integration = (method or {}).get("methodIntegration", {})
    wanted = {
        "type": "AWS",
        "httpMethod": "POST",
        "uri": uri,
        "credentials": credentials,
        "passthroughBehavior": "NEVER",
        "contentHandling": None,
        "requestParameters": request_parameters,
        "requestTemplates": request_templates,
        "timeoutInMillis": INTEGRATION_TIMEOUT,
    }
    replaced = False
    if integration_differs(made, label, integration, wanted, is_new):
        replaced = True
        aws.apigateway.put_integration(
            restApiId=api_id,
            resourceId=resource_id,
            httpMethod="POST",
            type="AWS",
            integrationHttpMethod="POST",
            uri=uri,
            credentials=credentials,
            requestParameters=request_parameters,
            requestTemplates=request_templates,
            passthroughBehavior="NEVER",
            timeoutInMillis=INTEGRATION_TIMEOUT,
        )

    # Without the two patterns SQS's own errors would reach the caller as 200.
    responses = {"200": None, "400": "4\\d{2}", "500": "5\\d{2}"}
    make_responses(
        aws, made, label, api_id, resource_id, method, responses, is_new=is_new, integration_replaced=replaced
    )


def make_method(
    aws: Clients,
    made: Making,
    label: str,
    api_id: str,
    resource_id: str,
    method: dict[str, Any] | None,
    is_new: bool,
) -> None:
    if method is None:
        if not is_new:
            made.differs(f"{label} method", found=None, wanted="NONE")
        aws.apigateway.put_method(
            restApiId=api_id,
            resourceId=resource_id,
            httpMethod="POST",
            authorizationType="NONE",
            apiKeyRequired=False,
        )
        return
    changes = []
    if made.differs(f"{label} authorizationType", found=method["authorizationType"], wanted="NONE"):
        changes.append({"op": "replace", "path": "/authorizationType", "value": "NONE"})
    if made.differs(f"{label} apiKeyRequired", found=method.get("apiKeyRequired", False), wanted=False):
        changes.append({"op": "replace", "path": "/apiKeyRequired", "value": "false"})
    if made.differs(f"{label} requestValidatorId", found=method.get("requestValidatorId"), wanted=None):
        changes.append({"op": "replace", "path": "/requestValidatorId"})
    if changes:
        aws.apigateway.update_method(
            restApiId=api_id,
            resourceId=resource_id,
            httpMethod="POST",
            patchOperations=changes,
        )


def integration_differs(
    made: Making, label: str, integration: dict[str, Any], wanted: dict[str, Any], is_new: bool
) -> bool:
    """Whether the integration must be put (again); of a new API's nothing is reported, all of it is new."""
    if not integration:
        if not is_new:
            made.differs(f"{label} integration", found=None, wanted=wanted["uri"])
        return True
    return attributes_differ(
        made, f"{label} integration", {"timeoutInMillis": INTEGRATION_TIMEOUT, **integration}, wanted
    )


def response_differs(made: Making, label: str, response: dict[str, Any] | None, pattern: str | None) -> bool:
    """Whether the integration response must be put (again)."""
    if response is None:
        return made.differs(label, found=None, wanted=pattern or "the default one")
    wanted: dict[str, Any] = {
        "selectionPattern": pattern,
        "responseParameters": {},
        "responseTemplates": {},
        "contentHandling": None,
    }
    # The console leaves templates with nothing in them, {"application/json": None}.
    templates = {kind: text for kind, text in (response.get("responseTemplates") or {}).items() if text}
    return attributes_differ(made, label, {**response, "responseTemplates": templates}, wanted)


def attributes_differ(made: Making, label: str, found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Compare each attribute that is wanted; what is empty and what is missing are the same to API Gateway."""
    differs = False
    for attribute, value in wanted.items():
        same = (found.get(attribute) or None) == (value or None)
        differs |= made.differs(f"{label} {attribute}", found=found.get(attribute), wanted=value, same=same)
    return differs


def make_responses(
    aws: Clients,
    made: Making,
    label: str,
    api_id: str,
    resource_id: str,
    method: dict[str, Any] | None,
    responses: dict[str, str | None],
    *,
    is_new: bool,
    integration_replaced: bool,
) -> None:
    """For each status code the method response, and the integration response that leads to it.

    `responses` maps the status code to the selection pattern of SQS's HTTP status, None for the default one. To put
    an integration again takes its responses away, so they are put again, too. A response that is not among them is
    taken away: its pattern could catch what one of them is for.
    """
    method_responses = (method or {}).get("methodResponses", {})
    integration = (method or {}).get("methodIntegration", {})
    integration_responses = {} if integration_replaced else integration.get("integrationResponses", {})
    for status_code in responses:
        if status_code not in method_responses:
            if not is_new:
                made.differs(f"{label} method response {status_code}", found=None, wanted="Empty")
            aws.apigateway.put_method_response(
                restApiId=api_id,
                resourceId=resource_id,
                httpMethod="POST",
                statusCode=status_code,
                responseModels={"application/json": "Empty"},
            )
    # What must go goes first: two integration responses cannot have the same pattern, not even for a moment.
    missing = []
    for status_code, pattern in responses.items():
        found = integration_responses.get(status_code)
        part = f"{label} integration response {status_code}"
        if is_new or integration_replaced:
            missing.append(status_code)
        elif response_differs(made, part, found, pattern):
            missing.append(status_code)
            if found is not None:
                delete_integration_response(aws, api_id, resource_id, status_code)
    for status_code in sorted(integration_responses.keys() - responses.keys()):
        part = f"{label} integration response {status_code}"
        made.differs(part, found=integration_responses[status_code], wanted=None)
        delete_integration_response(aws, api_id, resource_id, status_code)
    for status_code in missing:
        selection_pattern = responses[status_code]
        if selection_pattern is None:
            aws.apigateway.put_integration_response(
                restApiId=api_id,
                resourceId=resource_id,
                httpMethod="POST",
                statusCode=status_code,
            )
        else:
            aws.apigateway.put_integration_response(
                restApiId=api_id,
                resourceId=resource_id,
                httpMethod="POST",
                statusCode=status_code,
                selectionPattern=selection_pattern,
            )
    for status_code in sorted(method_responses.keys() - responses.keys()):
        made.differs(f"{label} method response {status_code}", found=method_responses[status_code], wanted=None)
        aws.apigateway.delete_method_response(
            restApiId=api_id,
            resourceId=resource_id,
            httpMethod="POST",
            statusCode=status_code,
        )


def delete_integration_response(aws: Clients, api_id: str, resource_id: str, status_code: str) -> None:
    aws.apigateway.delete_integration_response(
        restApiId=api_id,
        resourceId=resource_id,
        httpMethod="POST",
        statusCode=status_code,
    )


def allow_invoking(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    """The function's own policy names who may invoke it: this API, this method and path, in any stage."""
    api_id = ledger.outputs("api")["id"]
    source_arn = aws.arn("execute-api", f"{api_id}/*/POST/{settings.path_part}")
    permission = find_permission(aws.lambda_, settings.function, settings.permission)
    with ledger.making(
        "permission",
        "lambda:permission",
        found=permission,
        parent="function",
        FunctionName=settings.function,
        StatementId=settings.permission,
    ) as made:
        if permission is not None:
            wanted = {
                "Action": "lambda:InvokeFunction",
                "Principal": {"Service": "apigateway.amazonaws.com"},
                "Condition": {"ArnLike": {"AWS:SourceArn": source_arn}},
            }
            differing = [name for name in wanted if made.differs(name, found=permission.get(name), wanted=wanted[name])]
            if differing:
                if made.is_adopted:
                    conditions = permission.get("Condition", {})
                    others = set(conditions) - {"ArnLike", "StringEquals"}
                    others |= set(conditions.get("StringEquals", {})) - {"AWS:SourceAccount"}
                    made.cannot_mend("conditions beside the source", found=sorted(others), wanted=[])
                made.replaces("statement", permission)
                # A statement cannot be changed, only removed and added again.
                aws.lambda_.remove_permission(
                    FunctionName=settings.function,
                    StatementId=settings.permission,
                )
                permission = None
        if permission is None:
            aws.lambda_.add_permission(
                FunctionName=settings.function,
                StatementId=settings.permission,
                Action="lambda:InvokeFunction",
                Principal="apigateway.amazonaws.com",
                SourceArn=source_arn,
            )
