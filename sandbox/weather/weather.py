"""AWS's slow and unreliable side, played in front of everything else: what is not so yet, not now, or not at all.

moto does at once what AWS does in seconds. Here each answer is held back, refused or changed as AWS would have done
it: what was just made is not seen everywhere, tables and functions pass through their states, quotas are kept, and
now and then a call is slow, throttled, failed or lost. Only requests from outside pass here.

Every decision is drawn from a hash of the seed, the call, the name of the thing and how often that was asked, not
from one stream of random numbers: other calls, and their order, change nothing. What is not so yet is so after its
drawn time, and after two troubles in a row the same call passes: to wait and to ask again always helps.

Numbers of seconds and probabilities are chosen for a lesson; AWS publishes none, save for the quotas and the queue's
name. Sources of the words are named beside them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from sandbox.backend import Backend, BackendError, Credentials
from sandbox.protocol.operations import Operation, json_object
from sandbox.protocol.refusals import AMZ_JSON, Words, answer, by_json, last, refusal
from sandbox.protocol.scope import FunctionName
from sandbox.weather.forecast import CALM, Forecast, Span
from sandbox.weather.spans import (
    ITEM_LISTS,
    NAMING,
    NOT_WHILE_PENDING,
    NOT_WHILE_UPDATING,
    SEEN,
    TABLE_DATA,
    NotYet,
    TooEarly,
    _changed,
    attributes_given,
    called,
    function_of,
    is_handlers,
    policy_given,
    queue_of,
    roles_named,
    table_of,
    tables_of,
)

if TYPE_CHECKING:
    from werkzeug.wrappers import Request, Response


class Lost(ConnectionError):
    """The connection is to be closed without an answer. Whether the call was applied, nobody is told."""


class Fate(NamedTuple):
    """What is thrown for a call: ``throttled``, ``failed``, ``lost`` or nothing; and whether it is applied first."""

    kind: str = ""
    applied: bool = False
    status: int = 500


class Bucket:
    """A quota: so many calls at once, then one for each ``seconds`` that pass."""

    def __init__(self, calls: float, seconds: float, now: float) -> None:
        self.calls, self.seconds, self.left, self.seen = calls, seconds, calls, now

    def wait(self, now: float) -> float:
        """Seconds until the next call is allowed; 0: now."""
        self.left = min(self.calls, self.left + (now - self.seen) / self.seconds)
        self.seen = now
        # What a float has lost on its way must not refuse the call that comes just in time.
        return 0.0 if self.left > 1 - 1e-9 else (1 - self.left) * self.seconds

    def take(self) -> None:
        self.left -= 1


# Of one account in one Region, not raisable: calls at once, and seconds for one more.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
QUOTAS: dict[str, tuple[float, float]] = {
    "CreateRestApi": (1, 3),
    "CreateRestApi (edge)": (1, 30),
    "DeleteRestApi": (1, 30),
    "PutRestApi": (1, 1),
    "CreateDeployment": (1, 5),
    "UpdateAccount": (1, 20),
    "CreateResource": (5, 1 / 5),
    "DeleteResource": (5, 1 / 5),
    "GetResources": (5, 2 / 5),
}

ALL_TOGETHER = (40, 1 / 10)


# How often in a row a call about one thing is throttled, failed or lost; then it passes.
TROUBLES_IN_A_ROW = 2


# How many of its doings are remembered.
REMEMBERED = 1000


FATE = "sandbox.weather.fate"


class Weather:
    """The front asks ``before`` a signed call, ``after`` it unless that refused, and ``serve`` before one to an API.

    ``refusals`` tells what it did, the last thousand: seconds since it began, call, thing, what, why, and until when
    (None where asking again may help at once). Calls that run in handlers are slow like all others, and DynamoDB may
    throttle them; they are neither failed nor lost, and their sessions do not expire, as Lambda renews them.
    """

    def __init__(
        self,
        forecast: Forecast,
        backend: Backend,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.forecast = forecast
        self.refusals: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._spans: dict[str, Span] = {
            name: value for name, value in dataclasses.asdict(forecast).items() if isinstance(value, tuple)
        }
        self._backend = backend
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._guard = threading.RLock()
        # By what is not so yet, which is a span of the forecast, and of what.
        self._not_yet: dict[tuple[str, ...], NotYet] = {}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._made: Counter[tuple[str, str]] = Counter()
        self._in_a_row: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._sessions: dict[str, float] = {}
        # Names that stay the same from run to run, for ids that do not.
        self._labels: dict[str, str] = {}
        self._queues: set[tuple[str, str]] = set()
        self._stages: set[tuple[str, str]] = set()

    # The front's three doors

    def before(self, request: Request, operation: Operation) -> Response | None:
        """The refusal, or None; takes as long as the call's latency. Raises Lost."""
        if self.forecast == CALM:
            return None
        call, thing = called(operation), self._thing(operation)
        with self._guard:
            self._asked[call, thing] += 1
            number = str(self._asked[call, thing])
            fate = self._fate(request, operation, call, thing, number)
        self._wait(call, thing, number)
        look = {
            "iam": self._before_iam,
            "dynamodb": self._before_dynamodb,
            "lambda": self._before_lambda,
            "sqs": self._before_sqs,
        }.get(operation.service)
        with self._guard:
            request.environ[FATE] = fate
            refused = self._expired(request, operation)
            if refused is None and not fate.applied:
                refused = self._befall(request, operation, fate)
            if refused is None and operation.service == "apigateway":
                refused = self._over_quota(request, operation)
            if refused is None and look is not None:
                try:
                    refused = look(request, operation)
                except TooEarly as early:
                    refused = self._refuse(request, operation, early.why, early.words, early.still)
            return refused

    def after(self, request: Request, operation: Operation, response: Response) -> Response:
        """What is told of the answer; also notes what the call has made or changed. Raises Lost."""
        if self.forecast == CALM:
            return response
        look = {
            "iam": self._after_iam,
            "dynamodb": self._after_dynamodb,
            "lambda": self._after_lambda,
            "sqs": self._after_sqs,
            "apigateway": self._after_apigateway,
        }.get(operation.service)
        fate = request.environ.get(FATE, Fate())
        with self._guard:
            if look is not None:
                response = look(request, operation, response)
            return (self._befall(request, operation, fate) if fate.applied else None) or response

    def serve(self, request: Request) -> Response | None:
        """API Gateway's answer at the URL of a stage that is not served yet, or None."""
        if self.forecast == CALM:
            return None
        segments = [segment for segment in request.path.split("/") if segment]
        if segments[:1] != ["restapis"] or segments[3:4] != ["_user_request_"]:
            return None
        api, stage = segments[1:3]
        label = f"{self._labels.get(api, 'api')} {stage}"
        with self._guard:
            self._asked["execute-api", label] += 1
            number = str(self._asked["execute-api", label])
        self._wait("execute-api", label, number)
        with self._guard:
            still = self._still("stage_served", api, stage)
            if still is None:
                return None
            self._note("execute-api", label, "403 Missing Authentication Token", "stage_served", still)
        return answer(
            403,
            json.dumps({"message": "Missing Authentication Token"}),
            "application/json",
            {"x-amzn-ErrorType": "MissingAuthenticationTokenException"},
        )

    # What else can be asked

    def describe(self) -> dict[str, Any]:
        """The weather, what is not so yet, and what it did; times in seconds since it began."""
        with self._guard:
            now = self._clock()
            return {
                "forecast": dataclasses.asdict(self.forecast),
                "time": self._since(now),
                "not_yet": [
                    {"what": key[0], "thing": " ".join(key[1:]), "until": self._since(one.until)}
                    for key, one in self._not_yet.items()
                    if one.until > now
                ],
                "refusals": list(self.refusals),
            }

    def renew(self) -> None:
        """All expired sessions begin anew, as if everybody had logged in again."""
        with self._guard:
            self._sessions.clear()

    # Drawing

    def _fraction(self, *parts: str) -> float:
        """From 0 to below 1, always the same for the same words and seed."""
        text = "\0".join([str(self.forecast.seed), *parts])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64

    def _wait(self, call: str, thing: str, number: str) -> None:
        least, most = self.forecast.latency
        # Squared: most calls are quick and a few are slow.
        drawn = self._fraction("latency", call, thing, number) ** 2
        seconds = (least + (most - least) * drawn) * self.forecast.scale
        if seconds > 0:
            self._sleep(seconds)

    def _fate(self, request: Request, operation: Operation, call: str, thing: str, number: str) -> Fate:
        throttled, failed, lost = self.forecast.throttled, self.forecast.failed, self.forecast.lost
        if is_handlers(request):
            throttled, failed, lost = (throttled if operation.service == "dynamodb" else 0), 0, 0
        drawn = self._fraction("fate", call, thing, number)
        if drawn >= throttled + failed + lost or self._in_a_row[call, thing] >= TROUBLES_IN_A_ROW:
            self._in_a_row[call, thing] = 0
            return Fate()
        self._in_a_row[call, thing] += 1
        if drawn < throttled:
            return Fate("throttled")
        return Fate(
            "failed" if drawn < throttled + failed else "lost",
            applied=self._fraction("applied", call, thing, number) < 0.5,
            status=500 if self._fraction("status", call, thing, number) < 0.5 else 503,
        )

    def _begin(self, what: str, *of: str, label: str = "", keeps: Any = None) -> None:
        """From now on, for a time drawn here, it is not so yet. ``label`` names it where ``of`` is a random id."""
        name = label or " ".join(of)
        self._made[what, name] += 1
        least, most = self._spans[what]
        drawn = self._fraction(what, name, str(self._made[what, name]))
        now = self._clock()
        seconds = (least + (most - least) * drawn) * self.forecast.scale
        key = (what, *of)
        self._not_yet.pop(key, None)
        if seconds > 0:
            self._not_yet[key] = NotYet(now, now + seconds, keeps)

    def _still(self, what: str, *of: str) -> NotYet | None:
        key = (what, *of)
        one = self._not_yet.get(key)
        if one is not None and one.until <= self._clock():
            del self._not_yet[key]
            return None
        return one

    def _hold_back(self, what: str, *of: str, says: Words) -> None:
        """Raise TooEarly while it is not so yet."""
        still = self._still(what, *of)
        if still is not None:
            raise TooEarly(what, still, says)

    def _end(self, *of: str) -> None:
        """The thing is gone, and with it what was not so yet about it."""
        for key in [key for key in self._not_yet if key[1:] == of]:
            del self._not_yet[key]

    def _all(self, what: str, *of: str) -> dict[tuple[str, ...], NotYet]:
        """By thing, all that begin with ``of`` of which this is not so yet."""
        keys = [key for key in self._not_yet if key[: len(of) + 1] == (what, *of)]
        found = {key[1:]: self._still(*key) for key in keys}
        return {key: one for key, one in found.items() if one is not None}

    # Telling

    def _since(self, moment: float) -> float:
        return round(moment - self._began, 3)

    def _note(self, call: str, thing: str, what: str, why: str, still: NotYet | None = None) -> None:
        self.refusals.append(
            {
                "time": self._since(self._clock()),
                "call": call,
                "thing": thing,
                "what": what,
                "why": why,
                "until": None if still is None else self._since(still.until),
            }
        )

    def _refuse(
        self,
        request: Request,
        operation: Operation,
        why: str,
        words: Words,
        still: NotYet | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        told = f"{words.status} {words.code}: {words.message}"
        self._note(called(operation), self._thing(operation), told, why, still)
        return refusal(request, operation, words, headers)

    def _show(self, operation: Operation, what: str, why: str, still: NotYet) -> None:
        self._note(called(operation), self._thing(operation), f"showed {what}", why, still)

    def _thing(self, operation: Operation) -> str:
        """What the call is about, in names that are the same in every run."""
        text = operation.text
        if operation.service == "lambda":
            function = function_of(operation)
            parts = [function.name if function else "", self._labels.get(text("UUID"), "")]
            parts += [last(text("EventSourceArn"), ":"), self._labels.get(last(text("Resource"), ":"), "")]
        elif operation.service == "apigateway":
            parts = [self._labels.get(text(key), "") for key in ("restapi_id", "resource_id", "parent_id")]
            parts += [
                text(key) for key in ("name", "pathPart", "http_method", "status_code", "stage_name", "stageName")
            ]
        else:
            parts = [last(text(key), "/") for key in NAMING.get(operation.service, ())]
        return " ".join(part for part in parts if part)

    # What can happen to every call

    def _expired(self, request: Request, operation: Operation) -> Response | None:
        if not self.forecast.expire or is_handlers(request):
            return None
        began = self._sessions.setdefault(operation.access_key, self._clock())
        if self._clock() - began < self.forecast.expire * self.forecast.scale:
            return None
        # ExpiredToken and 403 in IAM, STS and SQS (marco-hoyer/cfn-sphere#55, aws/aws-sdk-go#249); the others name it
        # ExpiredTokenException (https://docs.aws.amazon.com/lambda/latest/api/CommonErrors.html), with 400 where the
        # protocol knows no other refusal. What SQS's JSON protocol says is inferred from its older one.
        code = "ExpiredToken" if operation.service in ("iam", "sts", "sqs") else "ExpiredTokenException"
        status = 400 if operation.service in ("dynamodb", "logs") else 403
        words = Words(status, code, "The security token included in the request is expired")
        return self._refuse(request, operation, "expire", words)

    def _befall(self, request: Request, operation: Operation, fate: Fate) -> Response | None:
        """What was thrown for this call. Raises Lost."""
        why = f"{fate.kind}, {'applied' if fate.applied else 'not applied'}"
        if fate.kind == "throttled":
            return self._refuse(request, operation, "throttled", throttle(operation))
        if fate.kind == "failed":
            return self._refuse(request, operation, why, failure(operation, fate.status))
        if fate.kind == "lost":
            self._note(called(operation), self._thing(operation), "closed the connection", why)
            raise Lost(f"{called(operation)}: {why}")
        return None

    def _over_quota(self, request: Request, operation: Operation) -> Response | None:
        if not self.forecast.quotas:
            return None
        name = operation.name
        if name == "CreateRestApi":
            types = operation.parameters.get("endpointConfiguration") or {}
            # AWS makes an edge-optimised API unless told otherwise (CreateRestApi, API reference).
            name += "" if {"REGIONAL", "PRIVATE"} & set(types.get("types") or ()) else " (edge)"
        now = self._clock()
        buckets = [self._bucket(operation.region, "", ALL_TOGETHER, now)]
        if name in QUOTAS:
            buckets.append(self._bucket(operation.region, name, QUOTAS[name], now))
        wait = max(bucket.wait(now) for bucket in buckets)
        if not wait:
            for bucket in buckets:
                bucket.take()
            return None
        why = f"quota of {name}" if buckets[-1].wait(now) and name in QUOTAS else "quota of all calls together"
        told = {"Retry-After": str(math.ceil(wait))}
        return self._refuse(request, operation, why, TOO_MANY_REQUESTS, NotYet(now, now + wait), headers=told)

    def _bucket(self, region: str, name: str, quota: tuple[float, float], now: float) -> Bucket:
        if (region, name) not in self._buckets:
            calls, seconds = quota
            self._buckets[region, name] = Bucket(calls, seconds * self.forecast.scale, now)
        return self._buckets[region, name]

    # What comes too early, and what is shown otherwise, service by service

    # -- IAM

    def _before_iam(self, request: Request, operation: Operation) -> Response | None:
        """https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency"""
        name, role, arn = operation.name, operation.text("RoleName"), operation.text("PolicyArn")
        policy = last(arn, "/")
        looks = name.startswith(("Get", "List"))
        if looks or name in ("AttachRolePolicy", "PutRolePolicy", "TagRole"):
            says = Words(404, "NoSuchEntity", f"The role with name {role} cannot be found.")
            self._hold_back("entity_visible", "role", role, says=says)
        if looks or name in ("AttachRolePolicy", "CreatePolicyVersion", "TagPolicy"):
            # getmoto/moto#6482 has AWS's words for attaching, hashicorp/terraform#5979 for the others.
            is_not = "does not exist or is not attachable" if name == "AttachRolePolicy" else "was not found"
            says = Words(404, "NoSuchEntity", f"Policy {arn} {is_not}.")
            self._hold_back("entity_visible", "policy", policy, says=says)
        if name == "DeleteRole":
            self._hold_back("detachment_seen", "role", role, says=ROLE_STILL_ATTACHED)
        if name == "DeletePolicy":
            self._hold_back("detachment_seen", "policy", policy, says=POLICY_STILL_ATTACHED)
        return None

    def _after_iam(self, request: Request, operation: Operation, response: Response) -> Response:
        if response.status_code >= 300:
            return response
        role = operation.text("RoleName")
        policy = operation.text("PolicyName") or last(operation.text("PolicyArn"), "/")
        match operation.name:
            case "CreateRole":
                self._begin("entity_visible", "role", role)
                self._begin("role_assumable", "role", role)
                self._begin("role_known_to_queues", "role", role)
            case "CreatePolicy":
                self._begin("entity_visible", "policy", policy)
            case "AttachRolePolicy" | "PutRolePolicy":
                self._begin("permissions_seen", "role", role)
            case "DetachRolePolicy":
                self._begin("detachment_seen", "role", role)
                self._begin("detachment_seen", "policy", policy)
            case "DeleteRole":
                self._end("role", role)
            case "DeletePolicy":
                self._end("policy", policy)
            case "ListRoles":
                self._hide_members(operation, response, "RoleName", "role")
            case "ListPolicies":
                self._hide_members(operation, response, "PolicyName", "policy")
        return response

    def _hide_members(self, operation: Operation, response: Response, element: str, kind: str) -> None:
        """Take out of a list what a read would not find."""
        hidden = {of[1]: still for of, still in self._all("entity_visible", kind).items()}
        if not hidden:
            return
        tree = ElementTree.fromstring(response.get_data())
        namespace = tree.tag[: tree.tag.index("}") + 1] if tree.tag.startswith("{") else ""
        for parent in list(tree.iter()):
            for member in list(parent):
                name = member.findtext(f"{namespace}{element}") or ""
                if name in hidden:
                    parent.remove(member)
                    self._show(operation, f"no {kind} {name}", "entity_visible", hidden[name])
        # ElementTree gives every element a prefix unless it is told which namespace is the usual one.
        response.set_data(ElementTree.tostring(tree, default_namespace=namespace.strip("{}") or None))

    # -- DynamoDB

    def _before_dynamodb(self, request: Request, operation: Operation) -> Response | None:
        name, region, table = operation.name, operation.region, table_of(operation)
        for one in tables_of(operation):
            self._hold_back("table_creating", "table", region, one, says=NO_TABLE)
            self._hold_back("table_deleting", "table", region, one, says=NO_TABLE)
        deleting = self._still("table_deleting", "table", region, table)
        if deleting is not None and name in ("DescribeTable", "DeleteTable"):
            # "If table is already in the DELETING state, no error is returned": API_DeleteTable.html.
            self._show(operation, "DELETING", "table_deleting", deleting)
            part = "Table" if name == "DescribeTable" else "TableDescription"
            return answer(200, json.dumps({part: deleting.keeps}), AMZ_JSON)
        if name in ("DescribeTable", "ListTagsOfResource"):
            # "DescribeTable immediately after a CreateTable request": API_DescribeTable.html.
            says = NO_TABLE._replace(message=f"{NO_TABLE.message}: Table: {table} not found")
            self._hold_back("table_visible", "table", region, table, says=says)
        for what, doing in TABLE_IN_USE.get(name, {}).items():
            message = f"Attempt to change a resource which is still in use: Table is being {doing}: {table}"
            self._hold_back(what, "table", region, table, says=Words(400, "ResourceInUseException", message))
        return None

    def _after_dynamodb(self, request: Request, operation: Operation, response: Response) -> Response:
        if response.status_code >= 300:
            return response
        name, region, table = operation.name, operation.region, table_of(operation)
        if name == "ListTables":
            return self._list_tables(operation, response)
        if name == "CreateTable":
            self._begin("table_visible", "table", region, table)
            self._begin("table_creating", "table", region, table)
        elif name == "UpdateTable":
            self._begin("table_updating", "table", region, table)
        elif name == "DeleteTable":
            body = json_object(response.get_data())
            if "TableStatus" not in (body.get("TableDescription") or {}):
                return response
            body["TableDescription"]["TableStatus"] = "DELETING"
            self._end("table", region, table)
            self._begin("table_deleting", "table", region, table, keeps=body["TableDescription"])
            return _changed(response, body)
        elif name != "DescribeTable":
            return response
        for what, status in (("table_creating", "CREATING"), ("table_updating", "UPDATING")):
            still = self._still(what, "table", region, table)
            if still is not None:
                body = json_object(response.get_data())
                for part in ("Table", "TableDescription"):
                    if part in body:
                        body[part]["TableStatus"] = status
                self._show(operation, status, what, still)
                return _changed(response, body)
        return response

    def _list_tables(self, operation: Operation, response: Response) -> Response:
        """What reads do not find yet is not listed; what they still find is, on the last page."""
        body = json_object(response.get_data())
        names = list(body.get("TableNames") or ())
        for (_, _, name), still in self._all("table_visible", "table", operation.region).items():
            if name in names:
                names.remove(name)
                self._show(operation, f"no table {name}", "table_visible", still)
        if "LastEvaluatedTableName" not in body:
            for (_, _, name), still in self._all("table_deleting", "table", operation.region).items():
                names.append(name)
                self._show(operation, f"{name}, which is DELETING", "table_deleting", still)
        return _changed(response, {**body, "TableNames": names})

    # -- Lambda

    def _before_lambda(self, request: Request, operation: Operation) -> Response | None:
        name, region, function = operation.name, operation.region, function_of(operation)
        if name in ("CreateFunction", "UpdateFunctionConfiguration"):
            role = last(operation.text("Role"), "/")
            self._hold_back("role_assumable", "role", role, says=ROLE_NOT_ASSUMABLE)
        if function is not None and name in NOT_WHILE_PENDING:
            self._hold_back("function_pending", "function", function.region, function.name, says=PENDING)
        if function is not None and name in NOT_WHILE_UPDATING:
            # alexcasalboni/aws-lambda-power-tuning#134 has the words.
            message = (
                f"The operation cannot be performed at this time. An update is in progress for resource: {function.arn}"
            )
            says = Words(409, "ResourceConflictException", message)
            self._hold_back("function_updating", "function", function.region, function.name, says=says)
        if function is not None and name == "CreateEventSourceMapping":
            self._hold_back_mapping(operation, function)
        if name in ("UpdateEventSourceMapping", "DeleteEventSourceMapping"):
            # aws/amazon-chime-sdk-js#610 has the words for deleting; those for updating are inferred from them.
            doing = "update" if name == "UpdateEventSourceMapping" else "delete"
            message = f"Cannot {doing} the event source mapping because it is in use."
            says = Words(400, "ResourceInUseException", message)
            self._hold_back("trigger_settling", "mapping", region, operation.text("UUID"), says=says)
            self._hold_back("trigger_deleting", "mapping", region, operation.text("UUID"), says=says)
        return None

    def _hold_back_mapping(self, operation: Operation, function: FunctionName) -> None:
        """Of a queue and a function whose mapping is still Deleting, or with a role that may not read yet."""
        queue_arn = operation.text("EventSourceArn")
        for (_, _, identity), still in self._all("trigger_deleting", "mapping", operation.region).items():
            if (still.keeps.get("EventSourceArn"), still.keeps.get("FunctionArn")) == (queue_arn, function.arn):
                # hashicorp/terraform-provider-aws#15539 has the words.
                message = (
                    f'An event source mapping with SQS arn (" {queue_arn} ") and function (" {function.name} ") '
                    f"already exists. Please update or delete the existing mapping with UUID {identity}"
                )
                raise TooEarly("trigger_deleting", still, Words(409, "ResourceConflictException", message))
        role = self._role_of(operation, function)
        self._hold_back("role_assumable", "role", role, says=ROLE_NOT_PERMITTED)
        self._hold_back("permissions_seen", "role", role, says=ROLE_NOT_PERMITTED)

    def _role_of(self, operation: Operation, function: FunctionName) -> str:
        """The name of the role that the function runs with; empty where there is no such function."""
        answer = self._backend.call(
            "lambda",
            "GET",
            f"/2015-03-31/functions/{quote(function.name)}/configuration",
            region=function.region,
            credentials=Credentials(operation.access_key),
        )
        return last(str(answer.json().get("Role", "")), "/") if answer.ok else ""

    def _after_lambda(self, request: Request, operation: Operation, response: Response) -> Response:
        name = operation.name
        if "EventSourceMapping" in name:
            return self._after_mapping(operation, response)
        function = function_of(operation)
        if function is None or response.status_code >= 300:
            return response
        of = ("function", function.region, function.name)
        if name == "CreateFunction":
            self._begin("function_pending", *of)
        elif name in ("UpdateFunctionCode", "UpdateFunctionConfiguration"):
            if not operation.parameters.get("DryRun"):
                self._begin("function_updating", *of)
        elif name == "DeleteFunction":
            if not operation.text("Qualifier") and function.qualifier is None:
                self._end(*of)
            return response
        elif name not in ("GetFunction", "GetFunctionConfiguration"):
            return response
        pending, updating = self._still("function_pending", *of), self._still("function_updating", *of)
        if pending is None and updating is None:
            return response
        body = json_object(response.get_data())
        configuration = body.get("Configuration", body)
        # What CreateFunction and the updates answer on AWS, as remembered; no page shows the two reasons together.
        being_made = "The function is being created."
        configuration["LastUpdateStatus"] = "InProgress"
        configuration["LastUpdateStatusReason"] = being_made
        configuration["LastUpdateStatusReasonCode"] = "Creating"
        if pending is not None:
            configuration.update({"State": "Pending", "StateReason": being_made, "StateReasonCode": "Creating"})
            self._show(operation, "State Pending", "function_pending", pending)
        elif updating is not None:
            self._show(operation, "LastUpdateStatus InProgress", "function_updating", updating)
        return _changed(response, body)

    def _after_mapping(self, operation: Operation, response: Response) -> Response:
        name, region = operation.name, operation.region
        if name == "ListEventSourceMappings":
            return self._list_mappings(operation, response)
        identity = operation.text("UUID")
        if name == "GetEventSourceMapping" and response.status_code == 404:
            deleting = self._still("trigger_deleting", "mapping", region, identity)
            if deleting is None:
                return response
            self._show(operation, "Deleting", "trigger_deleting", deleting)
            return answer(200, json.dumps(deleting.keeps), "application/json")
        if response.status_code >= 300:
            return response
        body = json_object(response.get_data())
        of = ("mapping", region, str(body.get("UUID", identity)))
        label = f"{last(str(body.get('EventSourceArn', '')), ':')} {last(str(body.get('FunctionArn', '')), ':')}"
        if name in ("CreateEventSourceMapping", "UpdateEventSourceMapping"):
            self._labels[of[2]] = label
            self._begin("trigger_settling", *of, label=label, keeps=body.get("State"))
        elif name == "DeleteEventSourceMapping":
            self._end(*of)
            self._begin("trigger_deleting", *of, label=label, keeps=body)
        elif name == "GetEventSourceMapping":
            still = self._still("trigger_settling", *of)
            if still is not None:
                body = self._settling(body, still)
                self._show(operation, body["State"], "trigger_settling", still)
                return _changed(response, body)
        return response

    def _settling(self, shape: Mapping[str, Any], still: NotYet) -> dict[str, Any]:
        """A mapping that is Creating in the first half of its time, and Enabling in the second if it will be that."""
        state = still.keeps
        if state == "Creating" and shape.get("State") == "Enabled":
            state = "Creating" if self._clock() < (still.since + still.until) / 2 else "Enabling"
        return {**shape, "State": state}

    def _list_mappings(self, operation: Operation, response: Response) -> Response:
        if response.status_code >= 300:
            return response
        body = json_object(response.get_data())
        listed: list[dict[str, Any]] = []
        for shape in body.get("EventSourceMappings") or ():
            still = self._still("trigger_settling", "mapping", operation.region, shape["UUID"])
            if still is not None:
                shape = self._settling(shape, still)
                self._show(operation, shape["State"], "trigger_settling", still)
            listed.append(shape)
        present = {shape["UUID"] for shape in listed}
        queue, function = operation.text("EventSourceArn"), function_of(operation)
        if "NextMarker" not in body:
            for of, still in self._all("trigger_deleting", "mapping", operation.region).items():
                shape = still.keeps
                if of[2] in present or (queue and shape.get("EventSourceArn") != queue):
                    continue
                if function is not None and shape.get("FunctionArn") != function.arn:
                    continue
                listed.append(shape)
                self._show(operation, "Deleting", "trigger_deleting", still)
        return _changed(response, {**body, "EventSourceMappings": listed})

    # -- SQS. Deleted queues and stale attributes are shown in the JSON protocol, which SDKs have spoken since 2023.

    def _before_sqs(self, request: Request, operation: Operation) -> Response | None:
        name, region, queue = operation.name, operation.region, queue_of(operation)
        if name in ("CreateQueue", "SetQueueAttributes"):
            for role in roles_named(policy_given(operation)):
                self._hold_back("role_known_to_queues", "role", role, says=POLICY_INVALID)
        if name == "CreateQueue":
            self._hold_back("queue_name_blocked", "queue", region, queue, says=QUEUE_DELETED_RECENTLY)
            return None
        lingering = self._still("queue_lingering", "queue", region, queue)
        if lingering is not None and by_json(request):
            return self._show_deleted(operation, lingering)
        if name != "DeleteQueue":
            self._hold_back("queue_visible", "queue", region, queue, says=NO_QUEUE)
        if name == "DeleteQueue" and self._spans["queue_lingering"] != (0, 0):
            tags = self._read(operation, "ListQueueTags", {})
            seen = self._read(operation, "GetQueueAttributes", {"AttributeNames": ["All"]})
            request.environ[SEEN] = {"Attributes": seen.get("Attributes") or {}, "Tags": tags.get("Tags") or {}}
        elif name == "SetQueueAttributes" and self._spans["attributes_stale"] != (0, 0):
            names = list(attributes_given(operation))
            seen = self._read(operation, "GetQueueAttributes", {"AttributeNames": ["All"]}) if names else {}
            request.environ[SEEN] = {one: (seen.get("Attributes") or {}).get(one) for one in names}
        return None

    def _read(self, operation: Operation, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The queue as it is just before the call; empty where there is none."""
        try:
            return self._backend.sqs(
                action,
                {"QueueUrl": operation.text("QueueUrl"), **parameters},
                region=operation.region,
                credentials=Credentials(operation.access_key),
            )
        except BackendError:
            return {}

    def _show_deleted(self, operation: Operation, still: NotYet) -> Response | None:
        """A read of a queue whose deletion is not seen everywhere: "takes up to 60 seconds", API_DeleteQueue.html."""
        kept = still.keeps
        asked = operation.parameters.get("AttributeNames") or ()
        answers: dict[str, dict[str, Any]] = {
            "GetQueueUrl": {"QueueUrl": kept["QueueUrl"]},
            "GetQueueAttributes": {
                "Attributes": {
                    name: value for name, value in kept["Attributes"].items() if "All" in asked or name in asked
                }
            },
            "ListQueueTags": {"Tags": kept["Tags"]},
        }
        if operation.name not in answers:
            return None
        self._show(operation, "the deleted queue", "queue_lingering", still)
        return answer(200, json.dumps(answers[operation.name]), AMZ_JSON)

    def _after_sqs(self, request: Request, operation: Operation, response: Response) -> Response:
        if response.status_code >= 300:
            return response
        name, region, queue = operation.name, operation.region, queue_of(operation)
        of = ("queue", region, queue)
        if name == "CreateQueue" and (region, queue) not in self._queues:
            self._queues.add((region, queue))
            self._end(*of)
            self._begin("queue_visible", *of)
        elif name == "DeleteQueue":
            self._queues.discard((region, queue))
            self._begin("queue_name_blocked", *of)
            kept = {"QueueUrl": operation.text("QueueUrl"), **request.environ.get(SEEN, {})}
            if "Attributes" in kept:
                self._begin("queue_lingering", *of, keeps=kept)
        elif name == "SetQueueAttributes" and SEEN in request.environ:
            former = self._still("attributes_stale", *of)
            seen = {**request.environ[SEEN], **(former.keeps if former else {})}
            self._begin("attributes_stale", *of, keeps=seen)
        elif name == "GetQueueAttributes" and by_json(request):
            return self._stale(operation, response)
        elif name == "ListQueues" and by_json(request):
            return self._list_queues(operation, response)
        return response

    def _stale(self, operation: Operation, response: Response) -> Response:
        """The attributes as they were before: "up to 60 seconds to propagate", API_SetQueueAttributes.html."""
        still = self._still("attributes_stale", "queue", operation.region, queue_of(operation))
        if still is None:
            return response
        asked = operation.parameters.get("AttributeNames") or ()
        body = json_object(response.get_data())
        attributes = dict(body.get("Attributes") or {})
        for name, value in still.keeps.items():
            if value is None:
                attributes.pop(name, None)
            elif "All" in asked or name in asked:
                attributes[name] = value
        if attributes == body.get("Attributes"):
            return response
        self._show(operation, f"the former {', '.join(still.keeps)}", "attributes_stale", still)
        return _changed(response, {**body, "Attributes": attributes})

    def _list_queues(self, operation: Operation, response: Response) -> Response:
        body = json_object(response.get_data())
        urls = list(body.get("QueueUrls") or ())
        for (_, _, name), still in self._all("queue_visible", "queue", operation.region).items():
            urls = [url for url in urls if last(url, "/") != name]
            self._show(operation, f"no queue {name}", "queue_visible", still)
        if "NextToken" not in body:
            for (_, _, name), still in self._all("queue_lingering", "queue", operation.region).items():
                if name.startswith(operation.text("QueueNamePrefix")):
                    urls.append(still.keeps["QueueUrl"])
                    self._show(operation, f"the deleted queue {name}", "queue_lingering", still)
        return _changed(response, {**body, "QueueUrls": urls} if urls else {})

    # -- API Gateway

    def _after_apigateway(self, request: Request, operation: Operation, response: Response) -> Response:
        if response.status_code >= 300:
            return response
        name, api = operation.name, operation.text("restapi_id")
        if name in ("CreateRestApi", "CreateResource"):
            body = json_object(response.get_data())
            said = str(body.get("name") or body.get("pathPart") or "")
            self._made[name, said] += 1
            self._labels[str(body.get("id"))] = f"{said}#{self._made[name, said]}"
        elif name in ("CreateDeployment", "CreateStage"):
            stage = operation.text("stageName")
            # A stage that is there serves its former deployment meanwhile.
            if stage and (api, stage) not in self._stages:
                self._stages.add((api, stage))
                label = f"{self._labels.get(api, 'api')} {stage}"
                self._begin("stage_served", api, stage, label=label)
        elif name == "DeleteStage":
            self._stages.discard((api, operation.text("stage_name")))
            self._end(api, operation.text("stage_name"))
        elif name == "DeleteRestApi":
            for one, stage in [pair for pair in self._stages if pair[0] == api]:
                self._stages.discard((one, stage))
                self._end(one, stage)
        return response


# AWS's words, and how each service puts them on the wire

# DeleteRole and DeletePolicy, which terraform-provider-aws sends again for a while (internal/service/iam).
ROLE_STILL_ATTACHED = Words(409, "DeleteConflict", "Cannot delete entity, must detach all policies first.")

POLICY_STILL_ATTACHED = Words(409, "DeleteConflict", "Cannot delete a policy attached to entities.")

# "or its status might not be ACTIVE": ResourceNotFoundException, API model of DynamoDB.
NO_TABLE = Words(400, "ResourceNotFoundException", "Requested resource not found")

# boto/boto3#1466
ROLE_NOT_ASSUMABLE = Words(
    400, "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."
)

# Since 2025; before, it began with "The provided execution role" (aws/aws-cdk#6770).
ROLE_NOT_PERMITTED = Words(
    400,
    "InvalidParameterValueException",
    "The function execution role does not have permissions to call ReceiveMessage on SQS",
)

# remotion-dev/remotion#1186
PENDING = Words(
    409,
    "ResourceConflictException",
    "The operation cannot be performed at this time. The function is currently in the following state: Pending",
)

# hashicorp/terraform-provider-aws#35861, aws/aws-cdk#15602
POLICY_INVALID = Words(400, "InvalidAttributeValue", "Invalid value for the parameter Policy.")

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
QUEUE_DELETED_RECENTLY = Words(
    400,
    "AWS.SimpleQueueService.QueueDeletedRecently",
    "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
)

# "you must wait at least one second after the queue is created to be able to use the queue": API_CreateQueue.html.
NO_QUEUE = Words(400, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")

# boto/boto3#876
TOO_MANY_REQUESTS = Words(429, "TooManyRequestsException", "Too Many Requests")


# What a table may not be while it is changed: vdesabou/kafka-docker-playground#8703 (created),
# sebdah/dynamic-dynamodb#36 (updated), Wantworthy/dynode#26 (deleted).
TABLE_IN_USE: dict[str, dict[str, str]] = {
    "CreateTable": {"table_deleting": "deleted"},
    "UpdateTable": {"table_deleting": "deleted", "table_creating": "created", "table_updating": "updated"},
    "DeleteTable": {"table_creating": "created", "table_updating": "updated"},
    "TagResource": {"table_creating": "created"},
    "UntagResource": {"table_creating": "created"},
}


def throttle(operation: Operation) -> Words:
    """A throttled call, as its service words it."""
    if operation.service == "apigateway":
        return TOO_MANY_REQUESTS
    if operation.service == "lambda":
        return Words(429, "TooManyRequestsException", "Rate exceeded")  # fyoorer/ShadowClone#25
    if operation.service == "sqs":
        # Status and code: botocore's data/_retry.json; the words: Particular/docs.particular.net#3438.
        return Words(403, "RequestThrottled", "Request is throttled.")
    if operation.service == "dynamodb" and operation.name in TABLE_DATA | ITEM_LISTS:
        # praetorian-inc/chariot-ui#684, an on-demand table.
        message = (
            "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your "
            "table or index so please try again shortly. If exceptions persist, check if you have a hot key: "
            "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"
        )
        return Words(400, "ThrottlingException", message)
    # IAM's and STS's code has no suffix; the message is common to many services (aws/aws-sdk-ruby#825).
    code = "Throttling" if operation.service in ("iam", "sts") else "ThrottlingException"
    return Words(400, code, "Rate exceeded")


def failure(operation: Operation, status: int) -> Words:
    """AWS's own failure, as the service names it: its API model, else its CommonErrors page.

    The messages are those pages' descriptions; no report shows what AWS itself says.
    """
    if status == 503:
        exceptions = ("apigateway", "logs")
        code = "ServiceUnavailableException" if operation.service in exceptions else "ServiceUnavailable"
        return Words(503, code, "Service is unable to handle request.")
    code = {"iam": "ServiceFailure", "dynamodb": "InternalServerError", "lambda": "ServiceException"}.get(
        operation.service, "InternalFailure"
    )
    return Words(500, code, "The request processing has failed because of an unknown error.")
