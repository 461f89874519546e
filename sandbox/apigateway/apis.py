"""API Gateway's control plane: moto keeps the definitions, and this does with them what moto does not.

It takes a snapshot at each CreateDeployment, keeps a stage's settings at a redeployment, applies patch operations to
the parts of a method, deletes a resource with all below it, keeps tags, and refuses in AWS's words.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from werkzeug.wrappers import Response

from sandbox.apigateway.access import as_answered, is_policy, whole
from sandbox.apigateway.caller import MAPS, Caller, without_unset
from sandbox.apigateway.execution import TEST_STAGE, Definition, Resource, Snapshot, Stage
from sandbox.apigateway.integrations import DEFAULT_TIMEOUT_MS, GATEWAY
from sandbox.apigateway.keys import Keys
from sandbox.backend import Backend
from sandbox.iam.permissions import Permissions
from sandbox.protocol.refusals import NotSimulated, Refused, answer_json
from sandbox.protocol.scope import last

VERBS = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY")
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html, integration timeout
SHORTEST_TIMEOUT_MS = 50

# https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
SETTABLE: dict[str, tuple[str, ...]] = {
    "method": (
        "authorizationType", "authorizerId", "apiKeyRequired", "operationName", "requestValidatorId",
        "requestParameters", "requestModels",
    ),
    "method response": ("responseModels", "responseParameters"),
    "integration": (
        "uri", "httpMethod", "credentials", "passthroughBehavior", "contentHandling", "timeoutInMillis",
        "cacheNamespace", "connectionType", "requestTemplates", "requestParameters",
    ),
    "integration response": (
        "selectionPattern", "contentHandling", "responseTemplates", "responseParameters",
    ),
    "API": (
        "name", "description", "version", "apiKeySource", "binaryMediaTypes", "minimumCompressionSize", "policy",
        "disableExecuteApiEndpoint", "endpointConfiguration", "securityPolicy", "endpointAccessMode",
    ),
}  # fmt: skip


TARGET = re.compile(r"arn:[\w-]+:apigateway:[\w${}.-]*:[\w${}.-]+:(path|action)/.*", re.DOTALL)
PROXY_TARGET = re.compile(
    r"arn:[^:]+:apigateway:[^:]*:(lambda:path/2015-03-31/functions/.+/invocations|firehose:action/.+)", re.DOTALL
)
# https://docs.aws.amazon.com/apigateway/latest/developerguide/request-response-data-mappings.html
MAPPED_FROM = re.compile(
    r"'.*'|method\.request\.(header|querystring|path|multivalueheader|multivaluequerystring)\.([^.]+)"
    r"|method\.request\.body(?:\..+)?|(?:context|stageVariables)\..+",
    re.DOTALL,
)


def _bad_request(message: str) -> Refused:
    return Refused(400, "BadRequestException", message)


def _not_found(what: str) -> Refused:
    return Refused(404, "NotFoundException", f"Invalid {what} specified")


def _conflict(message: str) -> Refused:
    return Refused(409, "ConflictException", message)


@dataclass
class Kept:
    """What moto does not keep of one API."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)  # by deployment
    descriptions: dict[str, str] = field(default_factory=dict)  # by deployment, if it was changed
    stages: dict[str, Stage] = field(default_factory=dict)
    stage_times: dict[str, tuple[int, int]] = field(default_factory=dict)  # created, last updated
    tags: dict[str, str] | None = None  # if they were changed


class Apis:
    """The REST APIs of the sandbox."""

    def __init__(self, backend: Backend, permissions: Permissions) -> None:
        self._backend = backend
        self._permissions = permissions
        self.keys = Keys(backend)
        # Held for every control-plane call, so that nothing comes between looking for a duplicate and creating.
        self._lock = threading.RLock()
        self._kept: defaultdict[str, Kept] = defaultdict(Kept)

    # -- for the data plane

    def stage(self, api: str, name: str) -> Stage | None:
        """The stage, or None. Raises NotSimulated."""
        with self._lock:
            kept = self._kept.get(api)
            if kept is None or not kept.snapshots:
                return None  # nothing was ever deployed
            if name not in kept.stages:
                region = next(iter(kept.snapshots.values())).region
                answer = self._backend.call("apigateway", "GET", f"/restapis/{api}/stages/{name}", region=region)
                if not answer.ok:
                    return None
                stage = answer.json()
                snapshot = kept.snapshots.get(stage["deploymentId"])
                if snapshot is None:
                    raise NotSimulated(
                        f"The sandbox holds no snapshot of deployment {stage['deploymentId']}; deploy the API again."
                    )
                definition = self._backend.call("apigateway", "GET", f"/restapis/{api}", region=region).json()
                kept.stages[name] = Stage(
                    name,
                    snapshot,
                    variables=stage.get("variables") or {},
                    binary_media_types=tuple(definition.get("binaryMediaTypes") or ()),
                    endpoint_disabled=bool(definition.get("disableExecuteApiEndpoint")),
                    method_settings=stage.get("methodSettings") or {},
                )
            return kept.stages[name]

    def as_it_stands(self, caller: Caller, variables: Mapping[str, str]) -> Stage:
        """The definition, deployed or not, as TestInvokeMethod runs it."""
        with self._lock:
            snapshot = _snapshot(caller, caller.items(f"/restapis/{caller.api}/resources"))
            types = caller.get(f"/restapis/{caller.api}").get("binaryMediaTypes")
        return Stage(TEST_STAGE, snapshot, variables, tuple(types or ()))

    # -- the control plane

    def handle(self, caller: Caller) -> Response | None:
        """The answer to a signed request; None for what moto can answer. Raises Refused and NotSimulated."""
        with self._lock:
            if caller.operation.method not in ("GET", "HEAD") and caller.api in self._kept:
                self._kept[caller.api].stages.clear()
            act = ACTS.get(caller.operation.name)
            if act is not None:
                return act(self, caller, caller.api)
            of_keys = self.keys.handle(caller)
            if of_keys is not None:
                return of_keys
            match caller.operation.path.strip("/").split("/"):
                case ["restapis", _, "resources", _, "methods", _, *steps] as segments:
                    return self._method(caller, caller.operation.method, "/" + "/".join(segments[:6]), steps)
                case ["restapis", *_]:
                    return caller.forward()
        return None

    def _see_apis(self, caller: Caller, api: str) -> Response:
        return caller.forward(partial(self._apis_view, caller.region))

    def _see_deployments(self, caller: Caller, api: str) -> Response:
        return caller.forward(lambda body: self._deployments_view(api, body))

    def _see_stages(self, caller: Caller, api: str) -> Response:
        return caller.forward(lambda body: self._stages_view(api, body))

    def _see_resources(self, caller: Caller, api: str) -> Response:
        """GetResources has the methods only with embed=methods; otherwise it has empty maps by verb."""
        embedded = "methods" in caller.operation.request.args.getlist("embed")

        def view(body: Any) -> Any:
            for resource in body.get("item", [body]) if not embedded else ():
                if resource.get("resourceMethods"):
                    resource["resourceMethods"] = {verb: {} for verb in resource["resourceMethods"]}
            return body

        return caller.forward(view)

    def _create_rest_api(self, caller: Caller, api: str) -> Response:
        types = (caller.document.get("endpointConfiguration") or {}).get("types")
        if types == []:
            raise _bad_request("REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.")
        if len(types or ()) > 1:
            raise _bad_request("Cannot create an api with multiple Endpoint Types.")
        if caller.document.get("description") == "":
            raise _bad_request("Description cannot be an empty string")
        if "policy" in caller.document:
            check_policy(caller.document["policy"])
        return self._see_apis(caller, api)

    def _import(self, caller: Caller, api: str) -> Response:
        raise NotSimulated("The sandbox imports no OpenAPI documents.")  # moto reads some of version 3

    def _update_rest_api(self, caller: Caller, api: str) -> Response:
        for operation in _patch_operations(caller):
            if operation.get("path") == "/disableExecuteApiEndpoint" and operation.get("value") == "false":
                operation["value"] = ""  # moto reads any text as true
            if str(operation.get("path")).split("/")[1:2] not in [[name] for name in SETTABLE["API"]]:
                raise _bad_request(f"Invalid patch path {operation.get('path')}")
            if operation.get("path") == "/policy" and operation.get("value"):
                check_policy(operation["value"])
        changed = caller.do("PATCH", f"/restapis/{api}", caller.document).json()
        return answer_json(200, self._apis_view(caller.region, without_unset(changed)))

    def _apis_view(self, region: str, body: Any) -> Any:
        """With the policy as AWS shows it, and tags set after CreateRestApi, as moto keeps only those of that call."""
        for api in body.get("item", [body]):
            policy = api.pop("policy", "")
            if policy:
                api["policy"] = as_answered(whole(policy, str(api["id"]), region))
            kept = self._kept.get(str(api.get("id")))
            if kept is not None and kept.tags is not None:
                api.pop("tags", None)
                api |= {"tags": kept.tags} if kept.tags else {}
        return body

    def _delete_rest_api(self, caller: Caller, api: str) -> Response:
        caller.get(f"/restapis/{api}")
        self.keys.forget_stage(caller, api)
        caller.forward()
        self._kept.pop(api, None)
        return answer_json(202)

    # -- deployments and stages

    def _create_deployment(self, caller: Caller, api: str) -> Response:
        """Create the deployment without its stage, and then create or update the stage.

        From one call, moto would replace an existing stage, whose tags, variables and settings are lost, and would
        never delete a deployment whose stage has moved on.
        """
        wanted = caller.document
        stage = wanted.get("stageName")
        resources = caller.items(f"/restapis/{api}/resources")
        methods = [m for r in resources for m in (r.get("resourceMethods") or {}).values()]
        if not all(method.get("methodIntegration") for method in methods):
            raise _bad_request("No integration defined for method")
        if stage:
            _check_stage_name(stage)
        description = {"description": wanted.get("description") or ""}
        made: Definition = caller.do("POST", f"/restapis/{api}/deployments", description).json()
        self._kept[api].snapshots[made["id"]] = _snapshot(caller, resources)
        if stage:
            self._point_stage(caller, api, stage, made["id"], wanted)
        return answer_json(201, self._deployment_view(api, made))

    def _point_stage(self, caller: Caller, api: str, stage: str, deployment: str, wanted: Definition) -> None:
        path = f"/restapis/{api}/stages"
        if caller.ask("GET", f"{path}/{stage}").ok:
            changes = {"/deploymentId": deployment}
            if wanted.get("stageDescription"):
                changes["/description"] = wanted["stageDescription"]
            changes |= {f"/variables/{k}": v for k, v in (wanted.get("variables") or {}).items()}
            operations = [{"op": "replace", "path": p, "value": v} for p, v in changes.items()]
            caller.do("PATCH", f"{path}/{stage}", {"patchOperations": operations})
        else:
            options = ("variables", "cacheClusterEnabled", "cacheClusterSize", "tracingEnabled")
            details = {name: wanted[name] for name in options if wanted.get(name) is not None}
            details["description"] = wanted.get("stageDescription") or ""
            caller.do("POST", path, details | {"stageName": stage, "deploymentId": deployment})
        self._touch_stage(api, stage)

    def _deployment_view(self, api: str, deployment: Definition) -> Definition:
        changed = self._kept[api].descriptions.get(deployment["id"])
        if changed is not None:
            deployment["description"] = changed
        deployment.pop("stageName", None)  # only moto answers it
        seen: Definition = without_unset(deployment)
        return seen

    def _deployments_view(self, api: str, body: Any) -> Any:
        body["item"] = [self._deployment_view(api, deployment) for deployment in body.get("item", [])]
        return body

    def _deployment(self, caller: Caller, api: str) -> Response:
        name, deployment = caller.operation.name, caller.operation.text("deployment_id")
        self._require_deployment(caller, api, deployment)
        kept = self._kept[api]
        if name == "UpdateDeployment":
            for operation in _patch_operations(caller):
                if operation.get("path") != "/description" or operation.get("op") not in ("replace", "remove"):
                    raise _bad_request("Invalid patch path  specified for operation")
                kept.descriptions[deployment] = str(operation.get("value") or "")
            changed = caller.get(f"/restapis/{api}/deployments/{deployment}")
            return answer_json(200, self._deployment_view(api, changed))
        if name == "DeleteDeployment":
            stages = caller.items(f"/restapis/{api}/stages")
            if any(stage.get("deploymentId") == deployment for stage in stages):
                raise _bad_request("Active stages pointing to this deployment must be moved or deleted")
            caller.forward()
            kept.snapshots.pop(deployment, None)
            kept.descriptions.pop(deployment, None)
            return answer_json(202)
        return caller.forward(lambda body: self._deployment_view(api, body))

    def _export(self, caller: Caller, api: str) -> Response:
        """What a stage serves, as OpenAPI 3: the snapshot of its deployment, not the definition as it stands.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-export-api.html
        """
        wanted = caller.operation
        if wanted.text("export_type") != "oas30":
            raise NotSimulated("The sandbox exports an API as oas30 only.")
        if caller.operation.request.headers.get("Accept", "application/json").endswith("yaml"):
            raise NotSimulated("The sandbox exports an API as JSON only.")
        stage = caller.get(f"/restapis/{api}/stages/{wanted.text('stage_name')}")
        snapshot = self._kept[api].snapshots.get(stage["deploymentId"])
        if snapshot is None:
            raise NotSimulated("The sandbox holds no snapshot of this stage's deployment; deploy the API again.")
        extended = wanted.request.args.get("extensions") in ("integrations", "apigateway")
        paths = {
            resource.path: {
                verb_in_export(verb): exported(method, extended) for verb, method in resource.methods.items()
            }
            for resource in snapshot.resources
            if resource.methods
        }
        title = caller.get(f"/restapis/{api}")["name"]
        version = str(stage["deploymentId"])
        return answer_json(200, {"openapi": "3.0.1", "info": {"title": title, "version": version}, "paths": paths})

    def _require_deployment(self, caller: Caller, api: str, deployment: str | None) -> None:
        if deployment not in [item.get("id") for item in caller.items(f"/restapis/{api}/deployments")]:
            raise _not_found("Deployment identifier")

    def _create_stage(self, caller: Caller, api: str) -> Response:
        wanted = caller.document
        stage = _check_stage_name(wanted.get("stageName"))
        self._require_deployment(caller, api, wanted.get("deploymentId"))
        return self._write_stage(caller, api, stage)

    def _delete_stage(self, caller: Caller, api: str) -> Response:
        caller.forward()
        self.keys.forget_stage(caller, api, caller.operation.text("stage_name"))
        self._kept[api].stage_times.pop(caller.operation.text("stage_name"), None)
        return answer_json(202)

    def _update_stage(self, caller: Caller, api: str) -> Response:
        stage = caller.operation.text("stage_name")
        caller.get(f"/restapis/{api}/stages/{stage}")
        for operation in _patch_operations(caller):
            if operation.get("path") == "/deploymentId":
                self._require_deployment(caller, api, operation.get("value"))
        return self._write_stage(caller, api, stage)

    def _write_stage(self, caller: Caller, api: str, stage: str) -> Response:
        def view(body: Any) -> Any:
            self._touch_stage(api, stage)
            return self._stages_view(api, body)

        return caller.forward(view)

    def _touch_stage(self, api: str, stage: str) -> None:
        now = int(time.time())
        times = self._kept[api].stage_times
        times[stage] = (times.get(stage, (now, now))[0], now)

    def _stages_view(self, api: str, body: Any) -> Any:
        for stage in body.get("item", [body]):
            times = self._kept[api].stage_times.get(str(stage.get("stageName")))
            if times:
                stage["createdDate"], stage["lastUpdatedDate"] = times
            stage.setdefault("cacheClusterStatus", "NOT_AVAILABLE")
            stage.setdefault("tracingEnabled", False)
        return body

    # -- resources

    def _create_resource(self, caller: Caller, api: str) -> Response:
        parent = caller.operation.text("parent_id")
        part = str(caller.document.get("pathPart") or "")
        resources = caller.items(f"/restapis/{api}/resources")
        above = next((resource for resource in resources if resource.get("id") == parent), None)
        if above is None:
            raise _not_found("Resource identifier")  # moto refuses it, too, but keeps a broken resource
        if str(above.get("pathPart")).endswith("+}"):
            raise _bad_request(f"Cannot create a child of a resource with a greedy path variable: {above['pathPart']}")
        if not part:
            raise _bad_request("Resource's path part must be specified")
        if part.startswith("{") != part.endswith("}"):
            raise _bad_request(
                "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the "
                "beginning and the end."
            )
        for sibling in (resource for resource in resources if resource.get("parentId") == parent):
            if sibling.get("pathPart") == part:
                raise _conflict(f"Another resource with the same parent already has this name: {part}")
            if part.startswith("{") and str(sibling.get("pathPart")).startswith("{"):
                raise _bad_request(
                    f"A sibling ({sibling['pathPart']}) of this resource already has a variable path part"
                    " -- only one is allowed"
                )
        return caller.forward()

    def _delete_resource(self, caller: Caller, api: str) -> Response:
        """Delete the resource and all below it, which moto would leave without a parent."""
        resource = caller.operation.text("resource_id")
        resources = caller.items(f"/restapis/{api}/resources")
        parents = {item["id"]: item.get("parentId") for item in resources}
        if resource not in parents:
            raise _not_found("Resource identifier")
        if not parents[resource]:
            raise _bad_request("Can't delete root resource.")
        doomed = [resource]
        for above in doomed:
            doomed.extend(child for child, parent in parents.items() if parent == above)
        for one in reversed(doomed):  # the deepest first: moto reads a resource's path from its parent
            caller.do("DELETE", f"/restapis/{api}/resources/{one}")
        return answer_json(202)

    # -- methods and their parts

    def _method(self, caller: Caller, verb: str, path: str, steps: list[str]) -> Response:
        if verb == "PUT" and not steps:
            return self._put_method(caller, path)
        definition = caller.get(path)
        part = _part(definition, steps)
        if part is None:
            return caller.forward()
        if verb == "PUT":
            return self._put(caller, path, part, definition, steps)
        if not part.value:
            raise _not_found(part.missing)
        if verb == "DELETE":
            caller.forward()
            return answer_json(204)
        if verb == "PATCH":
            for operation in _patch_operations(caller):
                _patch(part.value, operation, part.kind)
            if part.kind == "method":
                check_method(caller, part.value)
            if part.kind == "integration":
                check_integration(part.value, definition)
            self._rewrite(caller, path, definition)
            return answer_json(200, without_unset(caller.get("/".join([path, *steps]))))
        return caller.forward()

    def _put_method(self, caller: Caller, path: str) -> Response:
        if not caller.ask("GET", path.rpartition("/methods/")[0]).ok:
            raise _not_found("Resource identifier")  # AWS says so of an unknown API, too
        if last(path, "/") not in VERBS:
            raise _bad_request(f"Invalid HttpMethod specified. Valid options are {','.join(VERBS)}")
        if caller.ask("GET", path).ok:
            raise _conflict("Method already exists for this resource")
        check_method(caller, caller.document)
        return caller.forward()

    def _put(self, caller: Caller, path: str, part: Part, definition: Definition, steps: list[str]) -> Response:
        if part.kind == "method response" and part.value:
            raise _conflict("Response already exists for this resource")
        if part.kind == "integration response":
            if not definition.get("methodIntegration"):
                raise _not_found("Integration identifier")
            declared = (definition.get("methodResponses") or {}).get(steps[-1])
            if declared is None:
                raise _not_found("Response status code")
            headers = declared.get("responseParameters") or {}
            given = caller.document.get("responseParameters") or {}
            refuse_mappings(undeclared=[name for name in given if name not in headers])
        if part.kind == "method response":
            check_models(caller, caller.document.get("responseModels"))
        if part.kind == "integration":
            check_integration(caller.document, definition)
            # AWS's defaults, which moto leaves empty.
            defaults = {
                "passthroughBehavior": "WHEN_NO_MATCH",
                "timeoutInMillis": DEFAULT_TIMEOUT_MS,
                "cacheNamespace": path.split("/")[4],
            }
            answer = caller.do("PUT", f"{path}/integration", defaults | without_unset(caller.document))
            return answer_json(answer.status, without_unset(answer.json()))
        return caller.forward()

    def _rewrite(self, caller: Caller, path: str, wanted: Definition) -> None:
        """Put the whole method again: moto has no PATCH for its parts, and each PUT removes the parts below it."""

        def put(path: str, definition: Definition, hanging: str = "") -> None:
            caller.do("PUT", path, {k: v for k, v in definition.items() if v is not None and k != hanging})

        integration = wanted.pop("methodIntegration", None)
        put(path, wanted, "methodResponses")
        for status, response in (wanted.get("methodResponses") or {}).items():
            put(f"{path}/responses/{status}", response)
        if integration:
            put(f"{path}/integration", integration, "integrationResponses")
            for status, response in (integration.get("integrationResponses") or {}).items():
                put(f"{path}/integration/responses/{status}", response)

    # -- account and tags

    def _update_account(self, caller: Caller, api: str) -> Response:
        """The role for execution logs must trust API Gateway and may write logs; an empty value removes it."""
        for operation in _patch_operations(caller):
            role = operation.get("value")
            if operation.get("path") != "/cloudwatchRoleArn" or not role:
                continue
            trusted = self._permissions.trusts(str(role), GATEWAY)
            if not (trusted and self._permissions.allows(str(role), "logs:PutLogEvents", None)):
                raise _bad_request(
                    "The role ARN does not have required permissions configured. Please grant trust permission"
                    " for API Gateway and add the required role policy."
                )
        return caller.forward()

    def _tags(self, caller: Caller, api: str) -> Response:
        arn = caller.operation.text("resource_arn")
        match arn.rpartition("::/")[2].split("/"):
            case ["restapis", api, "stages", stage]:
                path = f"/restapis/{api}/stages/{stage}"
            case ["restapis", api]:
                path = f"/restapis/{api}"
            case ["apikeys" | "usageplans" as kind, identity]:
                return self.keys.tags(caller, f"/{kind}/{identity}")
            case _:
                said = "The sandbox keeps tags of REST APIs, their stages, API keys and usage plans"
                raise NotSimulated(f"{said}, not of {arn}.")
        name, of_stage, definition = caller.operation.name, "/stages/" in path, caller.get(path)
        tags = dict((definition if of_stage else self._apis_view(caller.region, definition)).get("tags") or {})
        if name == "GetTags":
            return answer_json(200, {"tags": tags})
        if of_stage:
            caller.forward()
            return answer_json(204)
        if name == "TagResource":
            tags.update(caller.document.get("tags") or {})
        else:
            for key in caller.operation.request.args.getlist("tagKeys"):
                tags.pop(key, None)
        self._kept[api].tags = tags
        return answer_json(204)


# The members of an integration that an export has as they are.
EXPORTED = (
    "uri",
    "httpMethod",
    "credentials",
    "contentHandling",
    "requestParameters",
    "requestTemplates",
    "timeoutInMillis",
)


ACTS: dict[str, Callable[[Apis, Caller, str], Response]] = {
    "CreateRestApi": Apis._create_rest_api,
    **dict.fromkeys(("GetRestApis", "GetRestApi"), Apis._see_apis),
    **dict.fromkeys(("ImportRestApi", "PutRestApi"), Apis._import),
    "UpdateRestApi": Apis._update_rest_api,
    "DeleteRestApi": Apis._delete_rest_api,
    "CreateDeployment": Apis._create_deployment,
    "GetDeployments": Apis._see_deployments,
    **dict.fromkeys(("GetDeployment", "UpdateDeployment", "DeleteDeployment"), Apis._deployment),
    **dict.fromkeys(("GetStages", "GetStage"), Apis._see_stages),
    "GetExport": Apis._export,
    "CreateStage": Apis._create_stage,
    "UpdateStage": Apis._update_stage,
    "DeleteStage": Apis._delete_stage,
    **dict.fromkeys(("GetResources", "GetResource"), Apis._see_resources),
    "CreateResource": Apis._create_resource,
    "DeleteResource": Apis._delete_resource,
    "UpdateAccount": Apis._update_account,
    **dict.fromkeys(("GetTags", "TagResource", "UntagResource"), Apis._tags),
}


def _check_stage_name(name: object) -> str:
    if not isinstance(name, str) or re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name) is None:
        # The message is from field reports, older than the hyphen.
        raise _bad_request("Stage name only allows a-zA-Z0-9-_")
    return name


def _snapshot(caller: Caller, resources: list[Definition]) -> Snapshot:
    found = (Resource(item["id"], item["path"], item.get("resourceMethods") or {}) for item in resources)
    policy = str(caller.get(f"/restapis/{caller.api}").get("policy") or "")
    return Snapshot(caller.api, caller.region, tuple(found), whole(policy, caller.api, caller.region))


# --------------------------------------------------------------------------------------------------- patch operations


@dataclass
class Part:
    """The part of a method that a path below /methods/{verb} names."""

    kind: str
    value: Definition | None
    missing: str  # what AWS calls invalid if there is no value


def _part(method: Definition, steps: list[str]) -> Part | None:
    integration = method.get("methodIntegration") or {}
    match steps:
        case []:
            return Part("method", method, "Method identifier")
        case ["responses", status]:
            response = (method.get("methodResponses") or {}).get(status)
            return Part("method response", response, "Response status code")
        case ["integration"]:
            return Part("integration", integration, "Integration identifier")
        case ["integration", "responses", status]:
            response = (integration.get("integrationResponses") or {}).get(status)
            missing = "Response status code" if integration else "Integration identifier"
            return Part("integration response", response, missing)
    return None


def _patch_operations(caller: Caller) -> list[Definition]:
    operations = caller.document.get("patchOperations")
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise _bad_request("Invalid patch operations specified")
    return operations


def _patch(target: Definition, operation: Definition, kind: str) -> None:
    """One patch operation; paths escape / as ~1 (RFC 6901)."""
    steps = [part.replace("~1", "/").replace("~0", "~") for part in str(operation.get("path")).split("/")[1:]]
    verb, value = operation.get("op"), operation.get("value")
    name = steps[0] if steps else ""
    whole_map = name in MAPS and len(steps) == 1 and verb == "remove"
    if name not in SETTABLE[kind] or (len(steps) != (2 if name in MAPS else 1) and not whole_map):
        raise _bad_request(f"Invalid patch path {operation.get('path')}")
    if verb not in ("add", "replace", "remove"):
        raise NotSimulated(f"The sandbox does not know the patch operation {verb}.")
    if name == "apiKeyRequired" or (name in ("requestParameters", "responseParameters") and "method" in kind):
        value = value in (True, "true")
    if name == "timeoutInMillis" and verb != "remove":
        try:
            value = int(str(value))
        except ValueError:
            raise _bad_request(f"Invalid timeout {value}") from None
    if len(steps) == 2:
        values = target[name] = dict(target.get(name) or {})
        if verb == "remove":
            values.pop(steps[1], None)
        else:
            values[steps[1]] = value if value is not None else ""
    elif verb == "remove":
        target[name] = {} if name in MAPS else None
    else:
        target[name] = value if value != "" else None


# --------------------------------------------------------------------------------------------------- what is answered


def verb_in_export(verb: str) -> str:
    return "x-amazon-apigateway-any-method" if verb == "ANY" else verb.lower()


def exported(method: Definition, extended: bool) -> Definition:
    """A method as GetExport has it; with its integration where the extensions are asked for.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-integration.html
    """
    operation: Definition = {"responses": {status: {} for status in method.get("methodResponses") or {}}}
    integration = method.get("methodIntegration")
    if not extended or not integration:
        return operation
    kept = without_unset(integration)
    responses = {
        answer.get("selectionPattern") or "default": {
            "statusCode": status,
            **{
                name: value
                for name, value in answer.items()
                if name not in ("selectionPattern", "statusCode") and value
            },
        }
        for status, answer in (integration.get("integrationResponses") or {}).items()
    }
    operation["x-amazon-apigateway-integration"] = {
        **{name: kept[name] for name in EXPORTED if kept.get(name)},
        "type": str(integration.get("type", "")).lower(),
        "passthroughBehavior": str(integration.get("passthroughBehavior") or "WHEN_NO_MATCH").lower(),
        "responses": responses,
    }
    return operation


def check_policy(text: Any) -> None:
    if not is_policy(text):
        raise _bad_request(
            "Invalid policy document. Please check the policy syntax and ensure that Principals are valid."
        )


def check_method(caller: Caller, wanted: Definition) -> None:
    """Raise Refused for a method that names what the API does not have."""
    api = f"/restapis/{caller.api}"
    authorizer, validator = wanted.get("authorizerId"), wanted.get("requestValidatorId")
    needs_one = wanted.get("authorizationType") in ("CUSTOM", "COGNITO_USER_POOLS")
    if needs_one and not (authorizer and caller.ask("GET", f"{api}/authorizers/{authorizer}").ok):
        raise _bad_request(
            "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires "
            "a valid authorizer."
        )
    if validator and not caller.ask("GET", f"{api}/requestvalidators/{validator}").ok:
        raise _bad_request("Invalid Request Validator identifier specified")
    check_models(caller, wanted.get("requestModels"))


def check_models(caller: Caller, wanted: Definition | None) -> None:
    """AWS has two models in each API; moto has none."""
    for name in (wanted or {}).values():
        if name not in ("Empty", "Error") and not caller.ask("GET", f"/restapis/{caller.api}/models/{name}").ok:
            raise _bad_request(f"Invalid model identifier specified: {name}")


def check_integration(wanted: Definition, method: Definition) -> None:
    """Raise Refused for what moto accepts or breaks on; the messages were seen on AWS."""
    if wanted.get("type") in ("AWS", "AWS_PROXY"):
        check_target(str(wanted["type"]), str(wanted.get("uri") or ""))
    timeout = wanted.get("timeoutInMillis")
    if isinstance(timeout, int) and not SHORTEST_TIMEOUT_MS <= timeout <= DEFAULT_TIMEOUT_MS:
        raise _bad_request(f"Timeout should be between {SHORTEST_TIMEOUT_MS} ms and {DEFAULT_TIMEOUT_MS} ms")
    behavior = wanted.get("passthroughBehavior")
    if behavior is not None and behavior not in ("WHEN_NO_MATCH", "WHEN_NO_TEMPLATES", "NEVER"):
        raise _bad_request("Invalid passthrough behavior specified")  # not seen in AWS's words
    declared, undeclared, unreadable = method.get("requestParameters") or {}, [], []
    for expression in map(str, (wanted.get("requestParameters") or {}).values()):
        found = MAPPED_FROM.fullmatch(expression)
        if found is None:
            unreadable.append(expression)
        elif found[1] and f"method.request.{found[1].removeprefix('multivalue')}.{found[2]}" not in declared:
            undeclared.append(expression)
    refuse_mappings(unreadable, undeclared)


def check_target(kind: str, uri: str) -> None:
    if not uri.startswith("arn:"):
        raise _bad_request("Invalid ARN specified in the request")
    if not TARGET.fullmatch(uri):
        raise _bad_request("AWS ARN for integration must contain path or action")
    if kind == "AWS_PROXY" and not PROXY_TARGET.fullmatch(uri):
        raise _bad_request(
            "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations."
        )


def refuse_mappings(unreadable: Sequence[str] = (), undeclared: Sequence[str] = ()) -> None:
    errors = [
        *(f"Invalid mapping expression specified: {one}" for one in unreadable),
        *(f"Invalid mapping expression parameter specified: {one}" for one in undeclared),
    ]
    if errors:
        raise _bad_request(
            f"Invalid mapping expression specified: Validation Result: warnings : [], errors : [{', '.join(errors)}]"
        )
