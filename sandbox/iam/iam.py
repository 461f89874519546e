"""IAM enforced: a call is checked against the policies of its caller, and refused in AWS's words.

Sessions of roles (a function's, API Gateway's, anybody's after AssumeRole) are always held to their policies, users
only if that was asked for. Credentials that IAM never issued are the administrator's, who may do everything.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any
from xml.etree import ElementTree

from sandbox.backend import Backend, BackendError, Credentials, texts
from sandbox.iam.permissions import Need, Permissions, Principal
from sandbox.protocol.constraints import input_of
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import Words
from sandbox.protocol.scope import ACCOUNT, MODULES, as_list

REMEMBERED = 1000

# The services whose refusals are not 403.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/CommonErrors.html
STATUS = {"dynamodb": 400, "logs": 400}
# The services whose codes have no "Exception".
PLAIN = ("iam", "sts", "sqs")

SESSION = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/(?P<session>.+)")
USER = re.compile(r"arn:[^:]+:iam::\d+:user/(?:.+/)?(?P<user>[^/]+)")


# The calls whose policies can ask for the boundary that a role has; for those that set one see `of_iam`.
LIMITED_BY_BOUNDARY = frozenset(
    f"iam {name}"
    for name in (
        "AttachRolePolicy",
        "DetachRolePolicy",
        "PutRolePolicy",
        "DeleteRolePolicy",
        "DeleteRolePermissionsBoundary",
    )
)


class Guard:
    """Decides whether a call may pass. ``enforced_users`` are the IAM users who are held to their policies, "*": all.

    ``refusals`` has the last thousand: time (ISO 8601), principal, action, resource, and AWS's message.
    """

    def __init__(self, backend: Backend, permissions: Permissions, enforced_users: Collection[str] = ()) -> None:
        self.refusals: deque[dict[str, str]] = deque(maxlen=REMEMBERED)
        self._backend = backend
        self._permissions = permissions
        self._enforced = frozenset(enforced_users)

    def check(self, operation: Operation) -> Words | None:
        """The refusal of the call, or None."""
        # https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: no permission is required.
        if operation.name == "GetCallerIdentity":
            return None
        key = operation.access_key
        who = self.identify(key)
        if who is None:
            return None
        context = {**of_request(operation), **self._of_target(operation)}
        for need in needs(operation):
            message = self._permissions.refusal(who, Need(need.action, need.resource, {**context, **need.context}))
            if message is not None:
                return self._refuse(operation, who, need, message)
        return None

    def _of_target(self, operation: Operation) -> dict[str, str | list[str]]:
        """The condition keys that tell of what is there already: a role's boundary, a trigger's function.

        https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
        https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
        """
        if operation.called in LIMITED_BY_BOUNDARY:
            found = self._backend.iam("GetRole", "PermissionsBoundaryArn", {"RoleName": operation.text("RoleName")})
            return {"iam:PermissionsBoundary": found[0]} if found else {}
        if operation.service == "lambda" and operation.text("UUID"):
            arn = self._permissions.function_of_trigger(operation.text("UUID"))
            return {"lambda:FunctionArn": arn} if arn else {}
        return {}

    def _refuse(self, operation: Operation, who: Principal, need: Need, message: str) -> Words:
        code = "AccessDenied" if operation.service in PLAIN else "AccessDeniedException"
        self.refusals.append(
            {
                "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "principal": who.arn,
                "action": need.action,
                "resource": str(need.resource),
                "message": message,
            }
        )
        return Words(STATUS.get(operation.service, 403), code, message)

    def identify(self, access_key: str) -> Principal | None:
        """The role's session or the enforced user with this access key; None for everybody else."""
        return self._backend.kept("iam", "principal", access_key, read=lambda: self._look_up(access_key))

    def _look_up(self, access_key: str) -> Principal | None:
        try:
            answer = self._backend.query("sts", "GetCallerIdentity", {}, credentials=Credentials(access_key))
        except BackendError:
            return None
        tree = ElementTree.fromstring(answer)
        arn, user_id = ("".join(texts(tree, name)).strip() for name in ("Arn", "UserId"))
        session, user = SESSION.fullmatch(arn), USER.fullmatch(arn)
        if session is not None:
            role = f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}"
            issued = self._backend.issued.get(access_key, "")
            return Principal(arn, role, "Role", session["role"], user_id, issued, self._tags("Role", session["role"]))
        if user is not None and {"*", user["user"]} & self._enforced:
            return Principal(arn, arn, "User", user["user"], user_id, tags=self._tags("User", user["user"]))
        return None

    def _tags(self, kind: str, name: str) -> tuple[tuple[str, str], ...]:
        """The tags of a role or user; none of one that is gone. Tags of a session play no part."""
        try:
            tree = ElementTree.fromstring(self._backend.query("iam", f"List{kind}Tags", {f"{kind}Name": name}))
        except BackendError:
            return ()
        return tuple(zip(texts(tree, "Key"), texts(tree, "Value"), strict=True))


def of_request(operation: Operation) -> dict[str, str | list[str]]:
    """The condition keys that the request gives."""
    context: dict[str, str | list[str]] = {
        "aws:SourceIp": operation.request.remote_addr or "127.0.0.1",
        "aws:RequestedRegion": operation.region,
        "aws:UserAgent": operation.request.headers.get("User-Agent", ""),
    }
    tags = tags_given(operation)
    keys = list(tags) or keys_taken_off(operation)
    if keys:
        context["aws:TagKeys"] = keys
    return context | {f"aws:RequestTag/{key}": value for key, value in tags.items()}


# Which permissions a call needs
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html


def needs(operation: Operation) -> Iterator[Need]:
    """All of them have to be granted. For a service that is not in NEEDS the resource is "*"."""
    listed = NEEDS.get(operation.service)
    if listed is None:
        yield Need(f"{operation.service}:{operation.name}", "*")
        return
    yield from listed(operation)
    for role, service in roles_passed(operation):
        yield Need("iam:PassRole", role, {"iam:PassedToService": service})
    if operation.called in TAGGED_AT_CREATION and tags_given(operation):
        yield from to_tag(operation)


# To create something with tags takes the right to tag it, too. By the call, the action.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-tagging-iam-policy.html
TAGGED_AT_CREATION = {
    "iam CreatePolicy": "iam:TagPolicy",
    "iam CreateRole": "iam:TagRole",
    "iam CreateUser": "iam:TagUser",
    "dynamodb CreateTable": "dynamodb:TagResource",
    "sqs CreateQueue": "sqs:TagQueue",
    "lambda CreateFunction": "lambda:TagResource",
    "lambda CreateEventSourceMapping": "lambda:TagResource",
    "logs CreateLogGroup": "logs:TagResource",
    "apigateway CreateRestApi": "apigateway:PUT",
    "apigateway CreateApiKey": "apigateway:PUT",
    "apigateway CreateUsagePlan": "apigateway:PUT",
}


def to_tag(operation: Operation) -> Iterator[Need]:
    """The right to tag what a call creates; of a trigger and what API Gateway has nobody knows the id yet."""
    action = TAGGED_AT_CREATION[operation.called]
    if operation.called == "lambda CreateEventSourceMapping":
        yield Need(action, f"arn:aws:lambda:{operation.region}:{ACCOUNT}:event-source-mapping:*")
    elif operation.service == "apigateway":
        yield Need(action, f"arn:aws:apigateway:{operation.region}::/tags/*")
    else:
        yield from (Need(action, need.resource) for need in NEEDS[operation.service](operation))


def roles_passed(operation: Operation) -> Iterator[tuple[str, str]]:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html"""
    if operation.service == "lambda" and operation.text("Role"):
        yield operation.text("Role"), "lambda.amazonaws.com"
    if operation.service == "apigateway":
        roles = [operation.text("credentials")]
        if operation.name in ("UpdateAccount", "UpdateIntegration"):
            roles += [
                str(one.get("value") or "")
                for one in as_list(operation.parameters.get("patchOperations"))
                if isinstance(one, dict) and str(one.get("path")) in ("/cloudwatchRoleArn", "/credentials")
            ]
        for role in roles:
            if ":role/" in role:
                yield role, "apigateway.amazonaws.com"


def of_iam(operation: Operation) -> Iterator[Need]:
    text = operation.text
    arn = f"arn:aws:iam::{ACCOUNT}:"
    path = text("Path") or "/"
    named = {
        "role": text("RoleName"),
        "user": text("UserName"),
        "group": text("GroupName"),
        "instance-profile": text("InstanceProfileName"),
    }
    resource = next((f"{arn}{kind}{path}{name}" for kind, name in named.items() if name), "*")
    context: dict[str, str | list[str]] = {}
    if text("PolicyArn") and resource != "*":
        context["iam:PolicyARN"] = text("PolicyArn")
    if text("PermissionsBoundary"):
        context["iam:PermissionsBoundary"] = text("PermissionsBoundary")
    if resource == "*":
        resource = text("PolicyArn") or (f"{arn}policy{path}{text('PolicyName')}" if text("PolicyName") else "*")
    yield Need(f"iam:{operation.name}", resource, context)


def of_sts(operation: Operation) -> Iterator[Need]:
    yield Need(f"sts:{operation.name}", operation.text("RoleArn") or "*")


# The action of each part of a transaction.
IN_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


def of_dynamodb(operation: Operation) -> Iterator[Need]:
    def table(name: Any) -> str:
        text = str(name)
        return text if text.startswith("arn:") else f"arn:aws:dynamodb:{operation.region}:{ACCOUNT}:table/{text}"

    parameters = operation.parameters
    action = f"dynamodb:{operation.name}"
    if operation.name in ("BatchGetItem", "BatchWriteItem"):
        for name in sorted(parameters.get("RequestItems") or {}):
            yield Need(action, table(name))
    elif operation.name in ("TransactGetItems", "TransactWriteItems"):
        for item in as_list(parameters.get("TransactItems")):
            for kind, part in item.items() if isinstance(item, dict) else ():
                yield Need(f"dynamodb:{IN_TRANSACTION.get(kind, kind)}", table((part or {}).get("TableName")))
    elif operation.text("IndexName"):
        yield Need(action, f"{table(operation.text('TableName'))}/index/{operation.text('IndexName')}")
    elif operation.text("TableName"):
        yield Need(action, table(operation.text("TableName")), leading_key(parameters))
    else:
        yield Need(action, operation.text("ResourceArn") or "*")


def leading_key(parameters: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """dynamodb:LeadingKeys and dynamodb:Attributes, if the request gives them.

    The request does not say which part of a key is the partition key, so only keys of one attribute count.
    """
    key = parameters.get("Key")
    context: dict[str, str | list[str]] = {}
    if isinstance(key, dict) and len(key) == 1:
        context["dynamodb:LeadingKeys"] = [str(value) for one in key.values() for value in as_list(list(one.values()))]
    if isinstance(parameters.get("AttributesToGet"), list):
        context["dynamodb:Attributes"] = [str(one) for one in parameters["AttributesToGet"]]
    return context


def of_sqs(operation: Operation) -> Iterator[Need]:
    name, action = operation.queue, operation.name.removesuffix("Batch")
    if operation.name == "ListQueues" or not name:
        yield Need(f"sqs:{action}", "*")
    else:
        yield Need(f"sqs:{action}", f"arn:aws:sqs:{operation.region}:{ACCOUNT}:{name}")


INVOKING = ("Invoke", "InvokeAsync", "InvokeWithResponseStream")


def of_lambda(operation: Operation) -> Iterator[Need]:
    name, text = operation.name, operation.text
    function = operation.function.arn if operation.function and text("FunctionName") else "*"
    context: dict[str, str | list[str]] = {}
    if name in ("CreateEventSourceMapping", "ListEventSourceMappings"):
        resource, context = "*", {"lambda:FunctionArn": function} if function != "*" else {}
    elif text("UUID"):
        resource = f"arn:aws:lambda:{operation.region}:{ACCOUNT}:event-source-mapping:{text('UUID')}"
    else:
        resource = text("Resource") or function
    yield Need(f"lambda:{'InvokeFunction' if name in INVOKING else name}", resource, context)


def of_apigateway(operation: Operation) -> Iterator[Need]:
    """Actions are verbs, resources are paths.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-iam-policy-examples.html
    """
    resource = f"arn:aws:apigateway:{operation.region}::{operation.path}"
    yield Need(f"apigateway:{operation.method}", resource)
    if sets_policy(operation):
        yield Need("apigateway:UpdateRestApiPolicy", resource)


def sets_policy(operation: Operation) -> bool:
    """Whether it gives a REST API a resource policy. AWS says it of an update; that it holds at creation is assumed.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies-create-attach.html
    """
    patched = as_list(operation.parameters.get("patchOperations"))
    return (operation.name == "CreateRestApi" and bool(operation.text("policy"))) or (
        operation.name == "UpdateRestApi"
        and any(isinstance(one, dict) and one.get("path") == "/policy" for one in patched)
    )


def of_logs(operation: Operation) -> Iterator[Need]:
    text = operation.text
    arn = f"arn:aws:logs:{operation.region}:{ACCOUNT}:log-group:"
    if text("logStreamName") and operation.name in ("PutLogEvents", "GetLogEvents", "DeleteLogStream"):
        resource = f"{arn}{text('logGroupName')}:log-stream:{text('logStreamName')}"
    elif text("logGroupName"):
        resource = f"{arn}{text('logGroupName')}:*"
    elif operation.name.startswith("DescribeLogGroups"):
        resource = f"{arn}*"
    else:
        resource = text("logGroupIdentifier") or text("resourceArn") or "*"
    yield Need(f"logs:{operation.name}", resource)


NEEDS: dict[str, Callable[[Operation], Iterator[Need]]] = {
    "iam": of_iam,
    "sts": of_sts,
    "dynamodb": of_dynamodb,
    "sqs": of_sqs,
    "lambda": of_lambda,
    "apigateway": of_apigateway,
    "logs": of_logs,
}


def keys_taken_off(operation: Operation) -> list[str]:
    """The keys of the tags that a call removes; those of a REST service stand in its query, one by one."""
    if not operation.name.startswith("Untag"):
        return []
    given = operation.parameters
    listed = given.get("TagKeys") or given.get("tagKeys") or given.get("tags")
    return [str(key) for key in operation.request.args.getlist("tagKeys") or as_list(listed)]


def tags_given(operation: Operation) -> dict[str, str]:
    """The tags in a request, as a list or a map; not what only looks so, as in the payload of an invocation."""
    given = operation.parameters.get("Tags") or operation.parameters.get("tags")
    if not given or operation.service not in MODULES:
        return {}
    taken = input_of(operation.service, operation.name)
    if taken is None or not {"Tags", "tags"} & set(taken.members):
        return {}
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items()}
    if isinstance(given, list):
        return {str(one.get("Key")): str(one.get("Value", "")) for one in given if isinstance(one, dict)}
    return {}
