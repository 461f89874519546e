"""AWS's slow and unreliable side, played in front of everything else.

moto does at once what AWS does in seconds. Here an answer is delayed, refused or changed as AWS would; what is played
is the table in :mod:`sandbox.weather.behaviours`. Only requests from outside pass through here.

Every decision is drawn from a hash of the seed, the call, the name of the thing and the number of the call, not from a
stream of random numbers, so that other calls and their order change nothing. A change takes effect after its drawn
time, and after two troubles in a row a call passes: to wait and to try again always helps.
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
from typing import Any, NamedTuple

from werkzeug.wrappers import Request, Response

from sandbox.backend import Backend
from sandbox.protocol.operations import Operation, json_object
from sandbox.protocol.refusals import AMZ_JSON, Words, answer, answer_json, refusal
from sandbox.weather.behaviours import (
    ALL_TOGETHER,
    BEGINS,
    ENDS,
    LISTS,
    QUOTAS,
    REFUSES,
    SHOWS,
    TOO_MANY_REQUESTS,
    Lists,
    NotYet,
    Thing,
    expired,
    failure,
    is_about,
    label_of,
    lines,
    name_of,
    settling,
    throttle,
)
from sandbox.weather.forecast import CALM, Forecast, Span

# How often in a row a call about one thing is throttled, failed or lost before it passes.
TROUBLES_IN_A_ROW = 2

# How many of its refusals and changes are remembered.
REMEMBERED = 1000


class Lost(ConnectionError):
    """Close the connection without an answer; the client does not learn whether the call was applied."""


class Fate(NamedTuple):
    """What happens to a call: ``throttled``, ``failed``, ``lost`` or nothing; and whether it is applied first."""

    kind: str = ""
    applied: bool = False
    status: int = 500


class Bucket:
    """A quota: so many calls at once, then one more each time ``seconds`` have passed."""

    def __init__(self, calls: float, seconds: float, now: float) -> None:
        self.calls, self.seconds, self.left, self.seen = calls, seconds, calls, now

    def wait(self, now: float) -> float:
        """Seconds until the next call is allowed; 0 means now."""
        self.left = min(self.calls, self.left + (now - self.seen) / self.seconds)
        self.seen = now
        # A rounding error must not refuse a call that comes just in time.
        return 0.0 if self.left > 1 - 1e-9 else (1 - self.left) * self.seconds


class Weather:
    """The front passes signed calls through ``around``, and requests to a deployed API through ``serve``.

    ``refusals`` has the last thousand things that it did: seconds since the start, call, thing, what, why, and until
    when (None if a retry may help at once). A handler's calls are slow like all others, and DynamoDB may throttle them;
    they are neither failed nor lost, and their sessions do not expire, since Lambda renews them.
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
        self.backend = backend
        self.refusals: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        # By id, a label that is the same in every run.
        self.labels: dict[str, str] = {}
        # Queues and stages whose creation has been seen.
        self.there: set[Thing] = set()
        self._spans: dict[str, Span] = {
            name: value for name, value in dataclasses.asdict(forecast).items() if isinstance(value, tuple)
        }
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._guard = threading.RLock()
        # By span of the forecast and thing.
        self._not_yet: dict[tuple[str, ...], NotYet] = {}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._made: Counter[tuple[str, str]] = Counter()
        self._in_a_row: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._sessions: dict[str, float] = {}

    # For the front

    def around(self, operation: Operation, ask: Callable[[Operation], Response]) -> Response:
        """The answer to the call, after its latency, as the weather lets it pass. Raises Lost."""
        if self.forecast == CALM:
            return ask(operation)
        thing = name_of(operation, self.labels)
        with self._guard:
            self._asked[operation.called, thing] += 1
            number = str(self._asked[operation.called, thing])
            fate = self._fate(operation, thing, number)
        self._wait(operation.called, thing, number)
        with self._guard:
            early = self._before(operation, fate)
            if early is not None:
                return early
            begins = lines(BEGINS, operation)
            read = {line: line.reads(operation, self) for line in begins if line.reads and any(self._spans[line.span])}
        response = ask(operation)
        with self._guard:
            if response.status_code < 300:
                operation = self._note_changes(operation, response, read)
                self._show(operation, response)
                self._list(operation, response)
            return (self._befall(operation, fate) if fate.applied else None) or response

    def serve(self, request: Request) -> Response | None:
        """API Gateway's answer at the URL of a stage that is not served yet; else None."""
        segments = [segment for segment in request.path.split("/") if segment]
        if self.forecast == CALM or segments[:1] != ["restapis"] or segments[3:4] != ["_user_request_"]:
            return None
        api, stage = segments[1:3]
        label = f"{self.labels.get(api, 'api')} {stage}"
        with self._guard:
            self._asked["execute-api", label] += 1
            number = str(self._asked["execute-api", label])
        self._wait("execute-api", label, number)
        with self._guard:
            still = self._still("stage_served", "stage", api, stage)
            if still is None:
                return None
            self._note("execute-api", label, "403 Missing Authentication Token", "stage_served", still)
        body = {"message": "Missing Authentication Token"}
        return answer_json(403, body, {"x-amzn-ErrorType": "MissingAuthenticationTokenException"})

    # About itself

    def describe(self) -> dict[str, Any]:
        """The forecast, the spans, and what was refused or changed; times in seconds since the start."""
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
        """Let all expired sessions begin again, as after a new login."""
        with self._guard:
            self._sessions.clear()

    # Drawing

    def _fraction(self, *parts: str) -> float:
        """A number from 0 to below 1, always the same for the same words and seed."""
        text = "\0".join([str(self.forecast.seed), *parts])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64

    def _wait(self, call: str, thing: str, number: str) -> None:
        least, most = self.forecast.latency
        # Squared, so that most calls are quick and few are slow.
        drawn = self._fraction("latency", call, thing, number) ** 2
        seconds = (least + (most - least) * drawn) * self.forecast.scale
        if seconds > 0:
            self._sleep(seconds)

    def _fate(self, operation: Operation, thing: str, number: str) -> Fate:
        call = operation.called
        throttled, failed, lost = self.forecast.throttled, self.forecast.failed, self.forecast.lost
        if is_handlers(operation):
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

    # Spans

    def _begin(self, span: str, of: Thing, keeps: Any) -> None:
        """Begin a span of a thing, for a drawn time."""
        name = " ".join(self.labels.get(part, part) for part in of)
        self._made[span, name] += 1
        least, most = self._spans[span]
        drawn = self._fraction(span, name, str(self._made[span, name]))
        now = self._clock()
        seconds = (least + (most - least) * drawn) * self.forecast.scale
        key = (span, *of)
        self._not_yet.pop(key, None)
        if seconds > 0:
            self._not_yet[key] = NotYet(now, now + seconds, keeps)

    def _still(self, *key: str) -> NotYet | None:
        """The span of a thing, if it has not passed."""
        one = self._not_yet.get(key)
        if one is not None and one.until <= self._clock():
            del self._not_yet[key]
            return None
        return one

    def _end(self, of: Thing) -> None:
        """The thing is deleted, and its spans with it."""
        self.there.discard(of)
        for key in [key for key in self._not_yet if key[1:] == of]:
            del self._not_yet[key]

    def all(self, span: str, *of: str) -> dict[Thing, NotYet]:
        """All things that begin with these parts and for which this span has not passed."""
        found = {key[1:]: self._still(*key) for key in list(self._not_yet) if key[: len(of) + 1] == (span, *of)}
        return {key: one for key, one in found.items() if one is not None}

    # Playing the table

    def _before(self, operation: Operation, fate: Fate) -> Response | None:
        """The answer to a call that is not carried out, or None. Raises Lost."""
        refused = self._expired(operation)
        if refused is None and not fate.applied:
            refused = self._befall(operation, fate)
        if refused is None and operation.service == "apigateway":
            refused = self._over_quota(operation)
        return refused or self._instead(operation) or self._too_early(operation)

    def _instead(self, operation: Operation) -> Response | None:
        """The answer about a deleted thing that can still be seen."""
        for line in lines(SHOWS, operation):
            for of in line.of(operation, self) if line.instead and operation.protocol != "query" else ():
                still = self._still(line.span, *of)
                if still is not None:
                    body: dict[str, Any] = {}
                    self._tell(operation, line.change(body, still, operation, self._clock()), line.span, still)
                    kind = "application/json" if operation.protocol == "rest" else AMZ_JSON
                    return answer(200, json.dumps(body), kind)
        return None

    def _too_early(self, operation: Operation) -> Response | None:
        for line in lines(REFUSES, operation):
            for of in line.of(operation, self):
                still = self._still(line.span, *of)
                if still is not None:
                    function = operation.function if operation.service == "lambda" else None
                    message = line.words.message.format(
                        thing=of[-1],
                        arn=function.arn if function else operation.text("PolicyArn"),
                        queue=operation.text("EventSourceArn"),
                        function=function.name if function else "",
                    )
                    return self._refuse(operation, line.span, line.words._replace(message=message), still)
        return None

    def _note_changes(self, operation: Operation, response: Response, read: Mapping[Any, Any]) -> Operation:
        """Note what the call created, changed or deleted. Returns the operation, with the id of a new mapping."""
        identity, label = label_of(operation, response.get_data())
        if operation.service == "apigateway" and label:
            self._made[operation.name, label] += 1
            label = f"{label}#{self._made[operation.name, label]}"
        if identity:
            self.labels[identity] = label
            operation = dataclasses.replace(operation, parameters={"UUID": identity, **operation.parameters})
        for calls, things in ENDS:
            for of in things(operation, self) if is_about(calls, operation.service, operation.name) else ():
                self._end(of)
        known = set(self.there)
        for line in lines(BEGINS, operation):
            keeps = read.get(line) if line.keeps is None else line.keeps(json_object(response.get_data()))
            for of in line.of(operation, self):
                if line.once and of in known:
                    continue
                if line.once and of not in self.there:
                    self._end(of)
                    self.there.add(of)
                self._begin(line.span, of, keeps)
        return operation

    def _show(self, operation: Operation, response: Response) -> None:
        for line in lines(SHOWS, operation):
            for of in line.of(operation, self) if not line.instead and operation.protocol != "query" else ():
                still = self._still(line.span, *of)
                if still is not None:
                    body = json_object(response.get_data())
                    told = line.change(body, still, operation, self._clock())
                    if told:
                        self._tell(operation, told, line.span, still)
                        put(response, body)

    def _list(self, operation: Operation, response: Response) -> None:
        """Remove from a list what a read would not find, and add what it still would."""
        for line in lines(LISTS, operation):
            if operation.service == "iam":
                self._hide(operation, response, line)
            elif operation.protocol != "query":
                body = json_object(response.get_data())
                items = self._listed(operation, line, body)
                if operation.service == "sqs" and not items:
                    body.pop(line.members, None)
                else:
                    body[line.members] = items
                put(response, body)

    def _listed(self, operation: Operation, line: Lists, body: Mapping[str, Any]) -> list[Any]:
        items = list(body.get(line.members) or ())
        for (*_, name), still in self.all(line.hidden, line.kind, operation.region).items():
            if name in map(line.name, items):
                items = [item for item in items if line.name(item) != name]
                self._tell(operation, f"no {line.kind} {name}", line.hidden, still)
        for shape in items if line.kind == "mapping" else ():
            settles = self._still("trigger_settling", "mapping", operation.region, shape["UUID"])
            if settles is not None:
                self._tell(operation, settling(shape, settles, operation, self._clock()), "trigger_settling", settles)
        lingering = {} if line.token in body else self.all(line.lingering, line.kind, operation.region)
        for (*_, name), still in lingering.items():
            item = line.item(operation, name, still)
            if item is not None and name not in map(line.name, items):
                items.append(item)
                self._tell(operation, f"the deleted {line.kind} {self.labels.get(name, name)}", line.lingering, still)
        return items

    def _hide(self, operation: Operation, response: Response, line: Lists) -> None:
        """In IAM's XML."""
        hidden = {of[-1]: still for of, still in self.all(line.hidden, line.kind).items()}
        if not hidden:
            return
        tree = ElementTree.fromstring(response.get_data())
        namespace = tree.tag[: tree.tag.index("}") + 1] if tree.tag.startswith("{") else ""
        for parent in list(tree.iter()):
            for member in list(parent):
                name = member.findtext(f"{namespace}{line.members}") or ""
                if name in hidden:
                    parent.remove(member)
                    self._tell(operation, f"no {line.kind} {name}", line.hidden, hidden[name])
        # Without a default namespace ElementTree gives every element a prefix.
        response.set_data(ElementTree.tostring(tree, default_namespace=namespace.strip("{}") or None))

    # What can happen to every call

    def _expired(self, operation: Operation) -> Response | None:
        if not self.forecast.expire or is_handlers(operation):
            return None
        began = self._sessions.setdefault(operation.access_key, self._clock())
        if self._clock() - began < self.forecast.expire * self.forecast.scale:
            return None
        return self._refuse(operation, "expire", expired(operation))

    def _befall(self, operation: Operation, fate: Fate) -> Response | None:
        """What happens to this call. Raises Lost."""
        why = f"{fate.kind}, {'applied' if fate.applied else 'not applied'}"
        if fate.kind == "throttled":
            return self._refuse(operation, "throttled", throttle(operation))
        if fate.kind == "failed":
            return self._refuse(operation, why, failure(operation, fate.status))
        if fate.kind == "lost":
            self._note(operation.called, name_of(operation, self.labels), "closed the connection", why)
            raise Lost(f"{operation.called}: {why}")
        return None

    def _over_quota(self, operation: Operation) -> Response | None:
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
                bucket.left -= 1
            return None
        why = f"quota of {name}" if buckets[-1].wait(now) and name in QUOTAS else "quota of all calls together"
        told = {"Retry-After": str(math.ceil(wait))}
        return self._refuse(operation, why, TOO_MANY_REQUESTS, NotYet(now, now + wait), told)

    def _bucket(self, region: str, name: str, quota: tuple[float, float], now: float) -> Bucket:
        if (region, name) not in self._buckets:
            calls, seconds = quota
            self._buckets[region, name] = Bucket(calls, seconds * self.forecast.scale, now)
        return self._buckets[region, name]

    # Telling

    def _since(self, moment: float) -> float:
        return round(moment - self._began, 3)

    def _note(self, call: str, thing: str, what: str, why: str, still: NotYet | None = None) -> None:
        until = None if still is None else self._since(still.until)
        told = {"time": self._since(self._clock()), "call": call, "thing": thing, "what": what, "why": why}
        self.refusals.append({**told, "until": until})

    def _refuse(
        self,
        operation: Operation,
        why: str,
        words: Words,
        still: NotYet | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        told = f"{words.status} {words.code}: {words.message}"
        self._note(operation.called, name_of(operation, self.labels), told, why, still)
        reason = {"Reason": "CallerRateLimitExceeded"} if operation.service == "lambda" and words.status == 429 else {}
        return refusal(operation, words, headers, reason)

    def _tell(self, operation: Operation, what: str, why: str, still: NotYet) -> None:
        self._note(operation.called, name_of(operation, self.labels), f"showed {what}", why, still)


def is_handlers(operation: Operation) -> bool:
    """Whether the call comes from a handler: an SDK writes AWS_EXECUTION_ENV into its User-Agent."""
    return "exec-env/AWS_Lambda" in operation.request.headers.get("User-Agent", "")


def put(response: Response, body: Mapping[str, Any]) -> None:
    """Replace the body, and drop DynamoDB's checksum of the old one."""
    response.set_data(json.dumps(body))
    response.headers.pop("x-amz-crc32", None)
