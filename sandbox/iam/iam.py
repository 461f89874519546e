"""IAM that bites: a call is held against the policies of the one who signed it, and refused in AWS's words.

Sessions of roles (a function's, API Gateway's, anybody's who called AssumeRole) are always held to their policies,
users where that was asked for. Credentials that IAM never issued are the administrator's, whom nothing is refused.

A policy of the identity or of the resource (a queue's, a function's) has to allow the call, and none may deny it; a
boundary of the identity has to allow it, too. Within one account, which is all there is here, that is the whole rule:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
Libraries for policies check documents or ask AWS; none that is kept decides a call, so the deciding is ours.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from sandbox.backend import Backend, BackendError, Credentials
from sandbox.iam.permissions import Context, Held, Roles, Statement, matches
from sandbox.lambda_.functions import Functions
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import Words, last, refusal
from sandbox.protocol.scope import ACCOUNT, FunctionName, as_list, parse_document

if TYPE_CHECKING:
    from werkzeug.wrappers import Request, Response

REMEMBERED = 1000

# A queue's policy is read again after so many seconds: a write is seen passing a moment before moto has done it.
KEPT = 1.0

# Of the services whose refusals are not 403.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/CommonErrors.html
STATUS = {"dynamodb": 400, "logs": 400}
# Codes without "Exception": IAM, STS and SQS.
PLAIN = ("iam", "sts", "sqs")

SESSION = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/(?P<session>.+)")
USER = re.compile(r"arn:[^:]+:iam::\d+:user/(?:.+/)?(?P<user>[^/]+)")


@dataclass(frozen=True)
class Principal:
    """Who calls: ``arn`` as GetCallerIdentity says it, ``kind`` Role or User with its name, ``user_id`` AWS's id."""

    arn: str
    kind: str
    name: str
    user_id: str

    @property
    def policy_arn(self) -> str:
        """As policies name it: the role of a session, the user itself."""
        session = SESSION.fullmatch(self.arn)
        return self.arn if session is None else f"arn:{session['partition']}:iam::{session['account']}:role/{self.name}"

    def is_named_by(self, principal: Any, *, account_too: bool) -> bool:
        """Whether a Principal element speaks of it. ``account_too``: also where it names the whole account."""
        # moto writes the bare text where AddPermission was given an ARN, and AWS {"AWS": ...}.
        named = as_list(principal.get("AWS") if isinstance(principal, dict) else principal)
        account = self.arn.split(":")[4]
        accounts = (account, f"arn:{self.arn.split(':')[1]}:iam::{account}:root") if account_too else ()
        return any(one in ("*", self.arn, self.policy_arn, *accounts) for one in named)


@dataclass(frozen=True)
class Need:
    """One permission that a call takes, with condition keys of its own."""

    action: str
    resource: str
    context: Mapping[str, str | list[str]] = field(default_factory=dict)


class Guard:
    """The front's gate. ``enforced_users`` are names of IAM users that are held to their policies, "*" for all.

    ``refusals`` are the last thousand: time (ISO 8601), principal, action, resource, and AWS's words.
    """

    def __init__(
        self, backend: Backend, roles: Roles, functions: Functions, enforced_users: Collection[str] = ()
    ) -> None:
        self.refusals: deque[dict[str, str]] = deque(maxlen=REMEMBERED)
        self._backend = backend
        self._roles = roles
        self._functions = functions
        self._enforced = frozenset(enforced_users)
        self._principals: dict[str, tuple[int, Principal | None]] = {}
        self._queues: dict[str, tuple[float, list[Statement]]] = {}
        self._trusts: dict[str, tuple[int, list[Statement]]] = {}

    def check(self, request: Request, operation: Operation) -> Response | None:
        """The refusal, or None."""
        # https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: no permission is required.
        if operation.name == "GetCallerIdentity":
            return None
        principal = self._principal(operation.access_key)
        if principal is None:
            return None
        context = self._context(request, operation, principal)
        for need in needs(operation):
            why = self._refused(principal, need, {**context, **need.context})
            if why is not None:
                return self._refuse(request, operation, principal, need, why)
        return None

    def _refuse(self, request: Request, operation: Operation, principal: Principal, need: Need, why: str) -> Response:
        action = need.action
        if action.startswith("sqs:"):
            action = action.lower()  # SQS alone writes its actions so (field reports)
            why = why.replace(need.action, action)
        message = f"User: {principal.arn} is not authorized to perform: {action} on resource: {need.resource}{why}"
        code = "AccessDenied" if operation.service in PLAIN else "AccessDeniedException"
        self.refusals.append(
            {
                "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "principal": principal.arn,
                "action": need.action,
                "resource": need.resource,
                "message": message,
            }
        )
        return refusal(request, operation, Words(STATUS.get(operation.service, 403), code, message))

    # Who

    def _principal(self, access_key: str) -> Principal | None:
        """The role's session or the enforced user behind an access key; None for everybody else."""
        serial = self._backend.iam_serial
        kept = self._principals.get(access_key)
        if kept is None or kept[0] != serial:
            kept = self._principals[access_key] = (serial, self._identify(access_key))
        return kept[1]

    def _identify(self, access_key: str) -> Principal | None:
        try:
            answer = self._backend.query("sts", "GetCallerIdentity", {}, credentials=Credentials(access_key))
        except BackendError:
            return None
        told = {
            node.tag.rpartition("}")[2]: (node.text or "").strip() for node in ElementTree.fromstring(answer).iter()
        }
        arn, user_id = told.get("Arn", ""), told.get("UserId", "")
        session, user = SESSION.fullmatch(arn), USER.fullmatch(arn)
        if session is not None:
            return Principal(arn, "Role", session["role"], user_id)
        if user is not None and {"*", user["user"]} & self._enforced:
            return Principal(arn, "User", user["user"], user_id)
        return None

    def _context(self, request: Request, operation: Operation, principal: Principal) -> dict[str, str | list[str]]:
        """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html"""
        now = time.time()
        context: dict[str, str | list[str]] = {
            "aws:PrincipalArn": principal.policy_arn,
            "aws:PrincipalAccount": ACCOUNT,
            "aws:PrincipalType": "AssumedRole" if principal.kind == "Role" else "User",
            "aws:userid": principal.user_id,
            "aws:SourceIp": request.remote_addr or "127.0.0.1",
            "aws:SecureTransport": "false",
            "aws:RequestedRegion": operation.region,
            "aws:UserAgent": request.headers.get("User-Agent", ""),
            "aws:CurrentTime": datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds"),
            "aws:EpochTime": str(int(now)),
        }
        if principal.kind == "User":
            context["aws:username"] = principal.name
        tags = tags_given(operation)
        if tags:
            context["aws:TagKeys"] = list(tags)
            context |= {f"aws:RequestTag/{key}": value for key, value in tags.items()}
        return context

    # Whether

    def _refused(self, principal: Principal, need: Need, context: Context) -> str | None:
        """How AWS's sentence goes on when the need is not granted; None when it is."""
        held = self._roles.held(principal.kind, principal.name)
        of_resource = self._resource_policy(need)

        def effects(statements: Iterable[Statement]) -> set[Any]:
            return {one.get("Effect") for one in statements if matches(one, need.action, need.resource, context)}

        by_identity = effects(held.statements)
        by_resource = effects(one for one in of_resource if _grants(one, principal))
        denied_there = effects(one for one in of_resource if _denies(one, principal))
        if "Deny" in by_identity:
            return " with an explicit deny in an identity-based policy"
        if "Deny" in denied_there:
            return " with an explicit deny in a resource-based policy"
        within = _within(held, need, context)
        if within == "Deny":
            return " with an explicit deny in a permissions boundary"
        if need.action == "sts:AssumeRole":
            # A trust policy that names the account leaves the word to the identity's own policies.
            trusting = effects(
                one for one in of_resource if principal.is_named_by(one.get("Principal"), account_too=True)
            )
            trusted = "Allow" in by_resource or ("Allow" in trusting and "Allow" in by_identity)
            return None if trusted else ""
        if "Allow" in by_resource:
            return None
        if "Allow" not in by_identity:
            return f" because no identity-based policy allows the {need.action} action"
        return None if within == "Allow" else f" because no permissions boundary allows the {need.action} action"

    def _resource_policy(self, need: Need) -> list[Statement]:
        if need.action.startswith("sqs:") and need.resource.count(":") == 5:
            return self._queue_policy(need.resource)
        if need.action == "lambda:InvokeFunction":
            return list(self._functions.resource_policy(FunctionName.parse(need.resource, need.resource.split(":")[3])))
        if need.action == "sts:AssumeRole":
            return self._trust(need.resource)
        return []

    def _queue_policy(self, arn: str) -> list[Statement]:
        kept = self._queues.get(arn)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        _, _, _, region, account, name = arn.split(":")
        url = f"http://sqs.{region}.amazonaws.com/{account}/{name}"
        try:
            read = self._backend.sqs(
                "GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["Policy"]}, region=region
            )
        except BackendError:
            return []  # no such queue: SQS says so itself, to those who may ask
        statements = _statements(str((read.get("Attributes") or {}).get("Policy") or "{}"))
        self._queues[arn] = (time.monotonic() + KEPT, statements)
        return statements

    def _trust(self, role_arn: str) -> list[Statement]:
        serial = self._backend.iam_serial
        kept = self._trusts.get(role_arn)
        if kept is None or kept[0] != serial:
            try:
                answer = self._backend.query("iam", "GetRole", {"RoleName": last(role_arn, "/")})
            except BackendError:
                return []
            texts = [
                node.text or ""
                for node in ElementTree.fromstring(answer).iter()
                if node.tag.rpartition("}")[2] == "AssumeRolePolicyDocument"
            ]
            kept = self._trusts[role_arn] = (serial, [one for text in texts for one in _statements(text)])
        return kept[1]


def _statements(document: str) -> list[Statement]:
    """Of a policy document; one that cannot be read allows nothing."""
    try:
        return as_list(parse_document(document).get("Statement"))
    except (ValueError, AttributeError):
        return []


def _grants(statement: Statement, principal: Principal) -> bool:
    return principal.is_named_by(statement.get("Principal"), account_too=False)


def _denies(statement: Statement, principal: Principal) -> bool:
    """An explicit deny reaches everybody of an account that it names, and everybody whom it does not spare."""
    if statement.get("Effect") != "Deny":
        return False
    if "NotPrincipal" in statement:
        return not principal.is_named_by(statement["NotPrincipal"], account_too=True)
    return principal.is_named_by(statement.get("Principal"), account_too=True)


def _within(held: Held, need: Need, context: Context) -> str:
    """What the boundary says: Allow (also where there is none), Deny, or nothing."""
    if held.boundary is None:
        return "Allow"
    effects = {one.get("Effect") for one in held.boundary if matches(one, need.action, need.resource, context)}
    return "Deny" if "Deny" in effects else "Allow" if "Allow" in effects else ""


# Which permissions a call takes
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html


def needs(operation: Operation) -> Iterator[Need]:
    """Every one of them has to be granted. Of a service that is not listed here the resource is "*"."""
    listed = NEEDS.get(operation.service)
    if listed is None:
        yield Need(f"{operation.service}:{operation.name}", "*")
        return
    yield from listed(operation)
    for role, service in roles_passed(operation):
        yield Need("iam:PassRole", role, {"iam:PassedToService": service})


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
    """dynamodb:LeadingKeys and dynamodb:Attributes, where the request itself tells them.

    Which part of a key is the partition key the request does not tell, so only keys of one attribute count.
    """
    key = parameters.get("Key")
    context: dict[str, str | list[str]] = {}
    if isinstance(key, dict) and len(key) == 1:
        context["dynamodb:LeadingKeys"] = [str(value) for one in key.values() for value in as_list(list(one.values()))]
    if isinstance(parameters.get("AttributesToGet"), list):
        context["dynamodb:Attributes"] = [str(one) for one in parameters["AttributesToGet"]]
    return context


def of_sqs(operation: Operation) -> Iterator[Need]:
    name = operation.text("QueueName") or last(operation.text("QueueUrl").rstrip("/"), "/")
    if not name and operation.path.count("/") == 2:
        name = last(operation.path, "/")  # the query protocol lets the path name the queue
    action = operation.name.removesuffix("Batch") if operation.name.endswith("Batch") else operation.name
    if operation.name == "ListQueues" or not name:
        yield Need(f"sqs:{action}", "*")
    else:
        yield Need(f"sqs:{action}", f"arn:aws:sqs:{operation.region}:{ACCOUNT}:{name}")


INVOKING = ("Invoke", "InvokeAsync", "InvokeWithResponseStream")


def of_lambda(operation: Operation) -> Iterator[Need]:
    name, text = operation.name, operation.text
    function = FunctionName.parse(text("FunctionName"), operation.region).arn if text("FunctionName") else "*"
    context: dict[str, str | list[str]] = {}
    if name in ("CreateEventSourceMapping", "ListEventSourceMappings"):
        resource, context = "*", {"lambda:FunctionArn": function} if function != "*" else {}
    elif text("UUID"):
        resource = f"arn:aws:lambda:{operation.region}:{ACCOUNT}:event-source-mapping:{text('UUID')}"
    else:
        resource = text("Resource") or function
    yield Need(f"lambda:{'InvokeFunction' if name in INVOKING else name}", resource, context)


def of_apigateway(operation: Operation) -> Iterator[Need]:
    """Its actions are the verbs, its resources the paths.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-iam-policy-examples.html
    """
    yield Need(f"apigateway:{operation.method}", f"arn:aws:apigateway:{operation.region}::{operation.path}")


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


def tags_given(operation: Operation) -> dict[str, str]:
    """The tags that a request wants to put on something, in whichever form its service has them."""
    parameters = operation.parameters
    given = parameters.get("Tags") or parameters.get("tags")
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items()}
    if isinstance(given, list):
        return {str(one.get("Key")): str(one.get("Value", "")) for one in given if isinstance(one, dict)}
    numbered = re.compile(r"Tags?\.(?:member\.)?(\d+)\.Key")
    return {
        str(value): str(parameters.get(name.removesuffix("Key") + "Value", ""))
        for name, value in parameters.items()
        if numbered.fullmatch(name)
    }
