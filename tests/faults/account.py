"""An account in this process: the sandbox's planes on one thread, behind boto3 clients that open no socket.

Because everything is in one process and on one thread, a fork copies the account and the program in the middle of
a call exactly as they are. That is what the sweep is built on.
"""

from __future__ import annotations

import copy
import functools
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

import lambda_function
from sandbox.backend import Backend
from sandbox.lambda_.functions import Functions, Invocation
from sandbox.lambda_.mappings import Mappings
from sandbox.server import Front

URL = "http://127.0.0.1:4599"  # nobody listens there: no request of this process reaches a socket
REGION = "us-east-1"
SERVICES = ("iam", "dynamodb", "sqs", "lambda", "apigateway", "logs", "sts")


def hurry_moto() -> None:
    """Keep what moto finds out anew at each request: the methods of a class."""
    import moto.core.responses

    moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)


class InProcess(Functions):
    """Lambda's data plane without worker processes: the handler is called here, on the account's own thread."""

    def _run(self, function: Any, task: Any) -> Invocation:
        event = json.loads(task.payload)
        try:
            context = SimpleNamespace(
                invoked_function_arn=function.name.arn, get_remaining_time_in_millis=lambda: 10_000
            )
            answer = lambda_function.lambda_handler(event, context)
        except Exception as error:  # noqa: BLE001 - as Lambda does: whatever the handler raises is the answer
            failed = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
            return Invocation(200, failed.encode(), "Unhandled", "", task.request_id)
        return Invocation(200, json.dumps(answer).encode(), None, "", task.request_id)


class Body(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self, *args: object, **keywords: object) -> Iterator[bytes]:
        yield self.read()


class Account:
    """One account, empty at first. `answer` is its door; `clients` are a stranger's, past every fault."""

    def __init__(self) -> None:
        hurry_moto()
        self.backend = Backend()
        self.backend.open()
        self.functions = InProcess(self.backend, lambda: URL)
        self.mappings = Mappings(self.backend, self.functions, polling=False)
        self.front = Front(self.backend, self.functions, self.mappings)
        session = boto3.Session(aws_access_key_id="stranger", aws_secret_access_key="stranger", region_name=REGION)
        config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
        self.clients = {service: session.client(service, endpoint_url=URL, config=config) for service in SERVICES}
        for client in self.clients.values():
            client.meta.events.register_first("before-send.*.*", self._answer)
        resource = boto3.Session(
            aws_access_key_id="function", aws_secret_access_key="function", region_name=REGION
        ).resource("dynamodb", endpoint_url=URL)
        resource.meta.client.meta.events.register_first("before-send.*.*", self._answer)
        lambda_function.dynamodb = lambda: resource  # type: ignore[assignment]

    def close(self) -> None:
        self.functions.stop()

    def _answer(self, request: AWSPreparedRequest, **event: Any) -> AWSResponse:
        return self.answer(request)

    def answer(self, request: AWSPreparedRequest) -> AWSResponse:
        """What the account answers to a request that botocore is about to send."""
        body = request.body or b""
        if hasattr(body, "read"):
            body = body.read()
        body = body.encode() if isinstance(body, str) else bytes(body)
        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value) for name, value in request.headers.items()
        }
        status, answered_headers, answered = self.ask(request.method, request.url, headers, body)
        return AWSResponse(request.url, status, answered_headers, Body(answered))

    def ask(self, method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """One HTTP request to the account: status, headers and body of the answer."""
        parts = urlsplit(url)
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(parts.path or "/").encode().decode("latin-1"),
            "RAW_URI": (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            "REQUEST_URI": (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            "QUERY_STRING": parts.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "4599",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1:4599",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "CONTENT_LENGTH": str(len(body)),
        }
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., Any]:
            started[:] = [status, headers]
            return lambda data: None

        answered = self.front(environ, start_response)
        try:
            content = b"".join(answered)
        finally:
            getattr(answered, "close", lambda: None)()
        status, answered_headers = started
        return int(status.split(None, 1)[0]), dict(answered_headers), content

    def post(self, url: str, event: dict[str, Any]) -> tuple[int, str]:
        """A POST to a deployed API: status and text of the answer."""
        body = json.dumps(event).encode()
        status, _, answered = self.ask("POST", url, {"Content-Type": "application/json"}, body)
        return status, answered.decode("utf-8", "replace")

    def pump(self) -> None:
        """Let the triggers deliver what waits in their queues. On the sandbox pollers do this all the time."""
        for mapping in list(self.mappings._shelf.values()):
            if mapping.enabled:
                self.mappings.pump(mapping.uuid)

    # What is in it

    def inventory(self) -> dict[str, Any]:
        """Everything in the account, by kind and identity, as the services' own list and read calls show it.

        Complete down to tags and policy versions, with AWS's immutable ids; without what moves by itself.
        """
        return {
            "iam:policy": self._policies(),
            "iam:role": self._roles(),
            "iam:role-policy-attachment": self._attachments(),
            "dynamodb:table": self._tables(),
            "sqs:queue": self._queues(),
            "logs:log-group": self._log_groups(),
            "lambda:function": self._functions(),
            "lambda:permission": self._permissions(),
            "lambda:event-source-mapping": self._mappings(),
            "apigateway:rest-api": self._apis(),
            "apigateway:stage": self._stages(),
            "apigateway:api-key": self._api_keys(),
            "apigateway:usage-plan": self._usage_plans(),
            "apigateway:usage-plan-key": self._usage_plan_keys(),
        }

    def _api_keys(self) -> dict[str, Any]:
        keys = self.clients["apigateway"].get_api_keys()["items"]
        return {key["id"]: {name: key.get(name) for name in ("name", "enabled", "tags")} for key in keys}

    def _usage_plans(self) -> dict[str, Any]:
        plans = self.clients["apigateway"].get_usage_plans()["items"]
        return {
            plan["id"]: {name: plan.get(name) for name in ("name", "apiStages", "throttle", "tags")} for plan in plans
        }

    def _usage_plan_keys(self) -> dict[str, Any]:
        apigateway = self.clients["apigateway"]
        return {
            f"{plan['id']} {key['id']}": key["type"]
            for plan in apigateway.get_usage_plans()["items"]
            for key in apigateway.get_usage_plan_keys(usagePlanId=plan["id"])["items"]
        }

    def _policies(self) -> dict[str, Any]:
        iam = self.clients["iam"]
        return {
            policy["PolicyName"]: {
                "id": policy["PolicyId"],
                "versions": {
                    version["VersionId"]: canonical(
                        iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=version["VersionId"])[
                            "PolicyVersion"
                        ]["Document"]
                    )
                    for version in iam.list_policy_versions(PolicyArn=policy["Arn"])["Versions"]
                },
                "default": policy["DefaultVersionId"],
                "tags": by_key(iam.list_policy_tags(PolicyArn=policy["Arn"])["Tags"]),
            }
            for policy in iam.list_policies(Scope="Local")["Policies"]
        }

    def _roles(self) -> dict[str, Any]:
        iam = self.clients["iam"]
        return {
            role["RoleName"]: {
                "id": role["RoleId"],
                "trust": canonical(role["AssumeRolePolicyDocument"]),
                "inline": iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"],
                "tags": by_key(iam.list_role_tags(RoleName=role["RoleName"])["Tags"]),
            }
            for role in iam.list_roles()["Roles"]
        }

    def _attachments(self) -> dict[str, Any]:
        iam = self.clients["iam"]
        return {
            f"{role['RoleName']} {policy['PolicyName']}": policy["PolicyArn"]
            for role in iam.list_roles()["Roles"]
            for policy in iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
        }

    def _tables(self) -> dict[str, Any]:
        dynamodb = self.clients["dynamodb"]
        tables = {}
        for name in dynamodb.list_tables()["TableNames"]:
            table = dynamodb.describe_table(TableName=name)["Table"]
            tables[name] = {
                "id": str(table["CreationDateTime"]),
                "key": table["KeySchema"],
                "attributes": table["AttributeDefinitions"],
                "billing": table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
                "items": sorted(
                    (item for item in dynamodb.scan(TableName=name)["Items"]), key=lambda item: str(item["id"])
                ),
                "tags": by_key(dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]),
            }
        return tables

    def _queues(self) -> dict[str, Any]:
        sqs = self.clients["sqs"]
        queues = {}
        for url in sqs.list_queues().get("QueueUrls", []):
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            attributes.pop("LastModifiedTimestamp", None)
            queues[url.rsplit("/", 1)[1]] = {
                **{name: canonical(value) for name, value in attributes.items()},
                "tags": sqs.list_queue_tags(QueueUrl=url).get("Tags", {}),
            }
        return queues

    def _log_groups(self) -> dict[str, Any]:
        logs = self.clients["logs"]
        return {
            group["logGroupName"]: {
                "id": group["creationTime"],
                "retention": group.get("retentionInDays"),
                "tags": logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*")).get("tags", {}),
            }
            for group in logs.describe_log_groups()["logGroups"]
        }

    def _functions(self) -> dict[str, Any]:
        lambda_ = self.clients["lambda"]
        functions = {}
        for listed in lambda_.list_functions()["Functions"]:
            function = lambda_.get_function(FunctionName=listed["FunctionName"])
            configuration = function["Configuration"]
            functions[listed["FunctionName"]] = {
                **{
                    name: configuration.get(name)
                    for name in ("Runtime", "Role", "Handler", "Timeout", "MemorySize", "CodeSha256", "Environment")
                },
                "tags": function.get("Tags", {}),
            }
        return functions

    def _permissions(self) -> dict[str, Any]:
        lambda_ = self.clients["lambda"]
        permissions = {}
        for listed in lambda_.list_functions()["Functions"]:
            name = listed["FunctionName"]
            try:
                policy = json.loads(lambda_.get_policy(FunctionName=name)["Policy"])
            except lambda_.exceptions.ResourceNotFoundException:
                continue
            for statement in policy["Statement"]:
                permissions[f"{name} {statement['Sid']}"] = statement
        return permissions

    def _mappings(self) -> dict[str, Any]:
        lambda_ = self.clients["lambda"]
        return {
            mapping["UUID"]: {
                **{
                    name: mapping.get(name)
                    for name in ("EventSourceArn", "FunctionArn", "State", "BatchSize", "FunctionResponseTypes")
                },
                "tags": lambda_.list_tags(Resource=mapping["EventSourceMappingArn"]).get("Tags", {}),
            }
            for mapping in lambda_.list_event_source_mappings()["EventSourceMappings"]
        }

    def _apis(self) -> dict[str, Any]:
        apigateway = self.clients["apigateway"]
        apis = {}
        for api in apigateway.get_rest_apis(limit=500)["items"]:
            resources = {}
            for resource in apigateway.get_resources(restApiId=api["id"], limit=500)["items"]:
                methods = {}
                for verb in resource.get("resourceMethods", {}):
                    method = apigateway.get_method(restApiId=api["id"], resourceId=resource["id"], httpMethod=verb)
                    method.pop("ResponseMetadata")
                    methods[verb] = method
                resources[resource["path"]] = {"id": resource["id"], "methods": methods}
            apis[api["id"]] = {
                "name": api["name"],
                "endpoint": api.get("endpointConfiguration"),
                "disabled": api.get("disableExecuteApiEndpoint", False),
                "resources": resources,
                "deployments": sorted(
                    deployment["id"] for deployment in apigateway.get_deployments(restApiId=api["id"])["items"]
                ),
                "tags": api.get("tags", {}),
            }
        return apis

    def _stages(self) -> dict[str, Any]:
        apigateway = self.clients["apigateway"]
        stages = {}
        for api in apigateway.get_rest_apis(limit=500)["items"]:
            for stage in apigateway.get_stages(restApiId=api["id"])["item"]:
                deployment = apigateway.get_deployment(restApiId=api["id"], deploymentId=stage["deploymentId"])
                stages[f"{api['id']} {stage['stageName']}"] = {
                    "deployment": stage["deploymentId"],
                    "description": deployment.get("description"),
                }
        return stages


def canonical(value: Any) -> Any:
    """A JSON document that came as text, parsed; everything else as it is."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def by_key(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def fold(value: Any, names: dict[str, str]) -> Any:
    """The value with each of AWS's own ids replaced by its name in `names`, so that two builds compare."""
    if not names:
        return value
    pattern = re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))

    def folded(one: Any) -> Any:
        if isinstance(one, dict):
            return {folded(key): folded(member) for key, member in one.items()}
        if isinstance(one, list):
            return [folded(member) for member in one]
        if isinstance(one, str):
            return pattern.sub(lambda found: names[found.group()], one)
        return names.get(str(one), one)

    return folded(json.loads(json.dumps(value, default=str)))


def shape(inventory: dict[str, Any], before: dict[str, Any], deployment: str) -> dict[str, Any]:
    """What was added to an account, with its ids and history left out: two builds of the same compare equal.

    Keys that AWS invents (of APIs, mappings, stages) become numbers in order, so that a second one shows.
    """
    added = {
        kind: {key: copy.deepcopy(value) for key, value in resources.items() if key not in before[kind]}
        for kind, resources in inventory.items()
    }
    names = {deployment: "<deployment>"}
    for number, (api_id, api) in enumerate(sorted(added["apigateway:rest-api"].items())):
        names[api_id] = f"<api {number}>"
        for path, resource in api["resources"].items():
            names[resource["id"]] = f"<resource {number} {path}>"
            resource.pop("id")
        api.pop("deployments")
    for kind in ("apigateway:api-key", "apigateway:usage-plan"):
        names |= {known: f"<{kind} {number}>" for number, known in enumerate(sorted(added[kind]))}
    for number, uuid in enumerate(sorted(added["lambda:event-source-mapping"])):
        names[uuid] = f"<mapping {number}>"
    for stage in added["apigateway:stage"].values():
        stage.pop("deployment")
    for policy in added["iam:policy"].values():
        policy.pop("id")
        policy["versions"] = policy["versions"][policy.pop("default")]
    for role in added["iam:role"].values():
        role.pop("id")
    for kind in ("dynamodb:table", "logs:log-group"):
        for resource in added[kind].values():
            resource.pop("id")
    for table in added["dynamodb:table"].values():
        table["items"] = [item for item in table["items"] if not item["id"]["S"].startswith("trial-")]
    for queue in added["sqs:queue"].values():
        for name in list(queue):
            if name == "CreatedTimestamp" or name.startswith("ApproximateNumber"):
                queue.pop(name)
    folded: dict[str, Any] = fold(added, names)
    return folded


def differing(found: Any, wanted: Any, place: str = "") -> list[str]:
    """The places at which two inventories differ, each with both values, for the report of a failure."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        lines = []
        for key in sorted({*found, *wanted}, key=str):
            lines += differing(found.get(key), wanted.get(key), f"{place}/{key}")
        return lines
    return [] if found == wanted else [f"{place}: {found!r:.300} instead of {wanted!r:.300}"]


def environment() -> None:
    """Nothing of the user's AWS environment: neither the program nor the account looks there."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "BOTO_")):
            del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true"
    )
