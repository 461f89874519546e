"""What AWS would answer to a plan's writes, and to the reads after them: nothing of it is sent.

Only what a step reads after a write is answered here; every other read goes to AWS. A value that AWS alone makes up is
"(known after step 7: id of POC-API)".
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from provision import STEPS
from provision.aws.answers import Call
from provision.aws.clients import Clients

# The one field of a write's answer that a step notes: an id that AWS makes up.
IDS = {
    "CreatePolicy": "Policy.PolicyId",
    "CreateRole": "Role.RoleId",
    "CreateTable": "TableDescription.TableId",
    "CreateEventSourceMapping": "UUID",
    "CreateRestApi": "id",
    "CreateResource": "id",
    "CreateApiKey": "id",
    "CreateUsagePlan": "id",
}

# How a value begins that AWS has not made up yet.
KNOWN_AFTER = "(known after step"

# What the services say of something that is not there.
NOT_THERE = {
    "iam": "NoSuchEntity",
    "dynamodb": "ResourceNotFoundException",
    "sqs": "QueueDoesNotExist",
    "lambda": "ResourceNotFoundException",
    "apigateway": "NotFoundException",
    "logs": "ResourceNotFoundException",
}

# The lists that a step asks an account for, by the field that holds them.
LISTS = {
    "GetRestApis": "items",
    "GetApiKeys": "items",
    "GetUsagePlans": "items",
    "ListEventSourceMappings": "EventSourceMappings",
    "DescribeLogGroups": "logGroups",
}

# The writes that change how a method answers, in whatever way.
OF_METHODS = frozenset(
    {
        "PutMethod",
        "UpdateMethod",
        "PutIntegration",
        "PutMethodResponse",
        "DeleteMethodResponse",
        "PutIntegrationResponse",
        "DeleteIntegrationResponse",
    }
)


class PlannedAnswers:
    """Answers in AWS's place. `aws.is_empty`: nothing is there to be asked, so every read is answered here."""

    def __init__(self, aws: Clients) -> None:
        self.aws = aws
        self.queues: dict[str, dict[str, Any]] = {}  # by URL, what a plan creates or sets: attributes and tags
        self.urls: dict[str, str] = {}  # by name, the URLs of queues that it creates
        self.groups: dict[str, dict[str, Any]] = {}  # by name
        self.paths: dict[str, list[dict[str, str]]] = {}  # by API, the resources that it creates
        self.methods: dict[tuple[str, str], list[Call]] = {}  # by API and resource, the writes to its POST
        self.keys: set[str] = set()  # the API keys that it creates; they are in no usage plan

    # What the listener asks.

    def answer(self, call: Call) -> dict[str, Any] | None:
        """The answer as botocore would parse it; None for a read that AWS must answer."""
        if not call.is_read:
            return self.to_write(call)
        answer = self.to_read(call)
        if answer is None and self.aws.is_empty:
            return {LISTS[call.operation]: []} if call.operation in LISTS else not_there(call)
        return answer

    def amend(self, call: Call, answer: dict[str, Any]) -> None:
        """Add to AWS's own answer to a read what the plan's writes would have changed of it by then."""
        asked = call.parameters
        if call.operation == "GetQueueAttributes" and asked["QueueUrl"] in self.queues:
            answer.setdefault("Attributes", {}).update(self.queues[asked["QueueUrl"]]["attributes"])
        elif call.operation == "ListQueueTags" and asked["QueueUrl"] in self.queues:
            answer.setdefault("Tags", {}).update(self.queues[asked["QueueUrl"]]["tags"])
        elif call.operation == "GetResources":
            self.change_methods(asked["restApiId"], answer["items"])
            self.add_paths(asked["restApiId"], answer["items"])
        elif call.operation == "GetMethod":
            for write in self.methods.get((asked["restApiId"], asked["resourceId"]), []):
                carry_out(write, answer)

    # Writes.

    def to_write(self, call: Call) -> dict[str, Any]:
        asked = copy.deepcopy(call.parameters)
        if call.operation == "CreateQueue":
            return self.create_queue(call, asked)
        if call.operation in ("SetQueueAttributes", "TagQueue"):
            queue = self.queues.setdefault(asked["QueueUrl"], {"attributes": {}, "tags": {}})
            queue["attributes"].update(asked.get("Attributes", {}))
            queue["tags"].update(asked.get("Tags", {}))
        elif call.operation == "CreateLogGroup":
            name = asked["logGroupName"]
            arn = self.aws.arn("logs", f"log-group:{name}:*")
            self.groups[name] = {"logGroupName": name, "arn": arn, "creationTime": known_after(call, "creationTime")}
            self.groups[name]["tags"] = asked["tags"]
        elif call.operation in OF_METHODS:
            self.methods.setdefault((asked["restApiId"], asked["resourceId"]), []).append(call)
        known = known_after(call, what_is_known(call))
        if call.operation == "CreateRestApi":
            root = {"id": known_after(call, "id of /"), "parentId": "", "pathPart": "", "path": "/"}
            self.paths[known] = [root]
            return {"id": known, "rootResourceId": root["id"]}
        if call.operation == "CreateApiKey":
            self.keys.add(known)
        elif call.operation == "CreateResource":
            part = {"id": known, "parentId": asked["parentId"], "pathPart": asked["pathPart"]}
            self.paths.setdefault(asked["restApiId"], []).append(part)
        return nested(IDS[call.operation], known) if call.operation in IDS else {}

    def create_queue(self, call: Call, asked: Mapping[str, Any]) -> dict[str, str]:
        name = asked["QueueName"]
        self.urls[name] = url = known_after(call, f"URL of {name}")
        made = {"QueueArn": self.aws.arn("sqs", name), "CreatedTimestamp": known_after(call, "CreatedTimestamp")}
        self.queues[url] = {"attributes": {**asked["Attributes"], **made}, "tags": asked["tags"]}
        return {"QueueUrl": url}

    # Reads.

    def to_read(self, call: Call) -> dict[str, Any] | None:
        asked, operation = call.parameters, call.operation
        url = self.urls.get(asked.get("QueueName", ""))
        if operation == "GetQueueUrl" and url:
            return {"QueueUrl": url}
        if operation in ("GetQueueAttributes", "ListQueueTags") and asked["QueueUrl"] in self.urls.values():
            queue = copy.deepcopy(self.queues[asked["QueueUrl"]])
            return {"Attributes": queue["attributes"]} if operation == "GetQueueAttributes" else {"Tags": queue["tags"]}
        if operation == "DescribeLogGroups" and asked.get("logGroupNamePrefix") in self.groups:
            return {"logGroups": [{**self.groups[asked["logGroupNamePrefix"]], "tags": None}]}
        if operation == "ListTagsForResource":
            arn = f"{asked['resourceArn']}:*"
            return next(({"tags": one["tags"]} for one in self.groups.values() if one["arn"] == arn), None)
        if operation == "GetEventSourceMapping" and asked["UUID"].startswith(KNOWN_AFTER):
            return not_there(call)
        if operation == "GetUsagePlans" and asked.get("keyId") in self.keys:
            return {"items": []}
        if call.service == "apigateway" and "restApiId" in asked:
            return self.of_api(call)
        return None

    def of_api(self, call: Call) -> dict[str, Any] | None:
        """What is read of a REST API. Of one that is not there yet nothing is there but what the plan creates."""
        api_id = call.parameters["restApiId"]
        planned = self.paths.get(api_id, [])
        is_new = any(one.get("path") == "/" for one in planned)
        if call.operation == "GetMethod":
            resource_id = call.parameters["resourceId"]
            method = self.planned_method(api_id, resource_id)
            if method is not None:
                return method
            return not_there(call) if any(one["id"] == resource_id for one in planned) else None
        if not is_new:
            return None
        if call.operation == "GetResources":
            items: list[dict[str, Any]] = []
            self.add_paths(api_id, items)
            return {"items": items}
        return not_there(call)

    def add_paths(self, api_id: str, items: list[dict[str, Any]]) -> None:
        """Add the resources that the plan creates to a list of an API's, each with its path and its method."""
        paths = {one["id"]: one["path"] for one in items}
        for part in self.paths.get(api_id, []):
            if part["parentId"] in paths:
                part = {**part, "path": f"{paths[part['parentId']].rstrip('/')}/{part['pathPart']}"}
            if "path" in part:
                paths[part["id"]] = part["path"]
                method = self.planned_method(api_id, part["id"])
                items.append({**part, "resourceMethods": {"POST": method}} if method else part)

    def change_methods(self, api_id: str, items: list[dict[str, Any]]) -> None:
        """Change the methods embedded in a list of an API's resources. One that is not embedded is read by itself."""
        for resource in items:
            methods = resource.setdefault("resourceMethods", {})
            planned = self.planned_method(api_id, resource["id"])
            if planned is not None:
                methods["POST"] = planned
            elif methods.get("POST"):
                for write in self.methods.get((api_id, resource["id"]), []):
                    carry_out(write, methods["POST"])

    def planned_method(self, api_id: str, resource_id: str) -> dict[str, Any] | None:
        """The method that the plan creates on this resource; None if it creates none."""
        writes = self.methods.get((api_id, resource_id), [])
        if not writes or writes[0].operation != "PutMethod":
            return None
        method: dict[str, Any] = {}
        for write in writes:
            carry_out(write, method)
        return method


def known_after(call: Call, what: str) -> str:
    """What stands in the place of a value that AWS makes up when it carries out this call."""
    number = next((step.number for step in STEPS if step.name == call.step), 0)
    return f"{KNOWN_AFTER} {number}: {what})"


def what_is_known(call: Call) -> str:
    """In words, what AWS makes up; of an API and its resources there are several in one command."""
    if call.operation == "CreateEventSourceMapping":
        return "UUID of the event source mapping"  # a step asks with it, and boto3 sends no UUID below 36 characters
    name = call.parameters.get("pathPart") or call.parameters.get("name")
    return f"id of {name}" if name else IDS.get(call.operation, "").rpartition(".")[-1]


def not_there(call: Call) -> dict[str, Any]:
    """An error, as botocore would parse it."""
    return {"Error": {"Code": NOT_THERE[call.service], "Message": "not there"}}


def nested(path: str, value: str) -> dict[str, Any]:
    """{"Role": {"RoleId": value}} for "Role.RoleId"."""
    answer: Any = value
    for name in reversed(path.split(".")):
        answer = {name: answer}
    return dict(answer)


def carry_out(write: Call, method: dict[str, Any]) -> None:
    """Change a method, as GetMethod gives it, as this write would.

    https://docs.aws.amazon.com/apigateway/latest/api/API_PutIntegration.html: it deletes the integration's responses.
    """
    asked = {name: value for name, value in write.parameters.items() if name not in ("restApiId", "resourceId")}
    code = asked.get("statusCode")
    integration = method.setdefault("methodIntegration", {}) if "Integration" in write.operation else {}
    if write.operation == "PutMethod":
        method.update(asked)
    elif write.operation == "UpdateMethod":
        for change in asked["patchOperations"]:
            value = change.get("value")
            method[change["path"].strip("/")] = {"false": False, "true": True}.get(value, value)
    elif write.operation == "PutIntegration":
        method["methodIntegration"] = {**asked, "httpMethod": asked["integrationHttpMethod"]}
    elif write.operation == "PutMethodResponse":
        method.setdefault("methodResponses", {})[code] = asked
    elif write.operation == "DeleteMethodResponse":
        method.get("methodResponses", {}).pop(code, None)
    elif write.operation == "PutIntegrationResponse":
        integration.setdefault("integrationResponses", {})[code] = asked
    elif write.operation == "DeleteIntegrationResponse":
        integration.get("integrationResponses", {}).pop(code, None)
