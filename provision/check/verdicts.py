"""`check`: whether what is in the account is what the walkthrough asks for, whoever made it. Reads only.

What is asked for is what the steps compare: each step runs against a state that takes everything for its own and holds
every write back, and notes each comparison. leeway.py has what may be otherwise, mistakes.py the usual mistakes. Tags
are not asked for: what a person made by hand has none.

`check_step` is meant to be asked again and again: it makes one to ten reads. In a class that shares an account ask
seldom: API Gateway takes ten calls a second from all of them together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from provision import STEPS, Step
from provision.account.inventory import FINDS
from provision.account.plan import DryState, DryWaiting, HeldBack, WouldWait
from provision.account.planned_answers import PlannedAnswers
from provision.api import list_apis
from provision.aws.answers import Call
from provision.aws.clients import Clients
from provision.aws.credentials import is_of_credentials
from provision.check.handler_code import EXPECTED, look_at_code
from provision.check.leeway import is_alike
from provision.check.mistakes import EXISTS, name_of_mistake
from provision.check.near_misses import near_attribute, near_resource, statement_of
from provision.check.served import Route, Unreadable, defined_routes, differing, exported_routes
from provision.message_queue import find_queue
from provision.settings import Settings
from provision.stage import list_api_keys, list_usage_plans
from provision.state.comparison import COMPARED
from provision.state.entries import Entry, NotYetMade, Resource, shown
from provision.state.file import SCHEMA, StateFile
from provision.state.resources import PLACES, identities, name_of, noun_of
from provision.terminal import outcome

PASS = "pass"
FAIL = "fail"
UNCHECKED = "could not check"

CODE = "code"
OTHER_SETTINGS = "other settings"
ALL_ELSE = "all else"  # of something that is there, where AWS refused to show more, or it is not ready yet

# What the steps compare with what their state file recorded, or found the resource by: here that says nothing.
NOT_ASKED = frozenset({"name", "role id", "roles named", "endpoint or policy changed"})

# Steps that need to know which of the REST APIs is meant.
OF_THE_API = ("api", "stage")

# A tag is not asked for, so neither are these permissions: such a call is answered here.
TAG_READS = frozenset({"ListTagsOfResource", "ListQueueTags", "ListTags", "ListTagsForResource"})


@dataclass(frozen=True)
class Finding:
    """One attribute of one resource, and whether it is as the walkthrough asks.

    `outcome` is "pass", "fail" or "could not check"; then `reason` says why not. `attribute` "exists" is the resource
    itself: `found` is then what is there in its place, if anything is. "all else" is what could not be checked of
    something that is there. `mistake` is the name of the usual mistake that it is. The lesson adds the rest: `why` it
    matters, what to do (`todo`), and the mistake's `title` and `explanation`.
    """

    key: str
    step: str
    noun: str
    name: str
    attribute: str
    outcome: str
    expected: Any = None
    found: Any = None
    reason: str = ""
    mistake: str = ""
    why: str = ""
    todo: str = ""
    title: str = ""
    explanation: str = ""

    @property
    def label(self) -> str:
        """The attribute, behind what it is of."""
        whole = f"{self.noun} {self.name}"
        return whole if self.attribute == EXISTS else f"{whole}, {self.attribute}"

    @property
    def about(self) -> str:
        """The usual mistake that it is; else why it matters."""
        return f"{self.title}. {self.explanation}" if self.title else self.why


@dataclass
class Seen:
    """What never changes, so that it is fetched once: code by its hash, and what a deployment serves.

    `api_id`: which REST API is meant, where that is known and its name does not tell. `ids`: the same of the API key
    and the usage plan, by key.
    """

    api_id: str | None = None
    ids: dict[str, str] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    served: dict[tuple[str, str], dict[str, Route]] = field(default_factory=dict)


def check(aws: Clients, settings: Settings, steps: Sequence[Step] = STEPS, seen: Seen | None = None) -> list[Finding]:
    """Every attribute of these steps, in the order of a build.

    Raises ClientError when the credentials have expired or are refused.
    """
    seen = seen or Seen()
    findings = [one for step in steps for one in check_step(aws, settings, step, seen)]
    return with_region(aws, findings)


def check_step(aws: Clients, settings: Settings, step: Step, seen: Seen | None = None) -> list[Finding]:
    """Every attribute of one step. Pass the same `seen` again to fetch less.

    Raises ClientError when the credentials have expired or are refused.
    """
    seen = seen or Seen()
    with (
        aws.calls.in_step(step.name),
        aws.calls.planning(permit_none_of_it, LookOnce.like(aws.waiting), PlannedAnswers(aws)),
        without_tags(aws),
    ):
        state, why_not = checked_by(aws, settings, step, seen)
    called = identities(aws, settings, state.ids)
    for key, place in PLACES.items():
        if place.step == step.name and key in called and key not in state.reached and is_asked_for(settings, key):
            state.add(key, called[key], EXISTS, UNCHECKED, reason=why_not)
    order = list(PLACES)
    return sorted(state.findings, key=lambda one: order.index(one.key))


def is_asked_for(settings: Settings, key: str) -> bool:
    """As written there is no dead-letter queue, and Lambda makes the log group."""
    return {"dead-letter-queue": settings.has_dead_letter_queue, "log-group": not settings.as_written}.get(key, True)


def state_to_try(aws: Clients, settings: Settings, seen: Seen) -> CheckState:
    """A state with which the walkthrough's tests can run, once all has passed. It permits their calls, and no other."""
    state = CheckState(aws, settings, seen, seen.api_id)
    queue, found = state.record("queue"), find_queue(aws.sqs, settings.queue)
    if queue is not None and found is not None:
        queue.outputs["url"] = found["QueueUrl"]
    return state


class LookOnce(DryWaiting):
    """What is not there at the first look is not ready."""

    def poll_until(self, what: str, look: Callable[[], Any], **arguments: Any) -> Any:
        found = look()
        if not found:
            raise WouldWait(what)
        return found


def permit_none_of_it(call: Call) -> None:
    raise HeldBack


def checked_by(aws: Clients, settings: Settings, step: Step, seen: Seen) -> tuple[CheckState, str]:
    """The state against which the step ran, and why it ended before its end, if it did."""
    state = CheckState(aws, settings, seen, None)
    try:
        if step.name in OF_THE_API:
            apis = [api["id"] for api in list_apis(aws.apigateway) if api["name"] == settings.api]
            api_id = seen.api_id if seen.api_id in apis else apis[0] if len(apis) == 1 else None
            seen.api_id = api_id or seen.api_id
            state = CheckState(aws, settings, seen, api_id)
            if api_id is None and apis:
                return state, state.too_many(apis)
            if api_id is not None and step.name == "api":
                sid = statement_of(aws, settings, api_id)
                settings = replace(settings, permission=sid)
        if step.name == "stage" and settings.needs_api_key:
            seen.ids |= keys_by_name(aws, settings, seen)
            state = CheckState(aws, settings, seen, state.api_id)
        with aws.calls.guarded_by(state.permit):
            step.load().provision(aws, settings, state)
    except ClientError as error:
        return state, refused(error)
    except NotYetMade as needed:
        kind, name = PLACES[needed.args[0]].kind, identities(aws, settings, {})[needed.args[0]]
        return state, f"it needs the {noun_of(kind)} {name_of(kind, name)}, which is not there"
    except WouldWait as wait:
        return state, f"what it needs is not there: {wait}"
    return state, ""


def keys_by_name(aws: Clients, settings: Settings, seen: Seen) -> dict[str, str]:
    """The ids of API key and usage plan, where they are known or only one has the name."""
    found = {}
    for key, name, listed in (
        ("api-key", settings.api_key, list_api_keys),
        ("usage-plan", settings.usage_plan, list_usage_plans),
    ):
        ids = [one["id"] for one in listed(aws.apigateway) if one.get("name") == name]
        if seen.ids.get(key) in ids or len(ids) == 1:
            found[key] = seen.ids[key] if seen.ids.get(key) in ids else ids[0]
    return found


def refused(error: ClientError) -> str:
    """Why something could not be looked at. Raises the error itself where the credentials are what is wrong."""
    if is_of_credentials(error):
        raise error
    return f"{error.operation_name} was refused: {error.response.get('Error', {}).get('Code', '')}"


def with_region(aws: Clients, findings: Sequence[Finding]) -> list[Finding]:
    """The same, but where IAM has its part and the Region has nothing, the table may be in another one."""
    there = {one.key: one.outcome for one in findings if one.attribute == EXISTS}
    iam = [word for key, word in there.items() if PLACES[key].kind.startswith("iam:")]
    regional = [word for key, word in there.items() if not PLACES[key].kind.startswith("iam:")]
    if PASS not in iam or PASS in regional or "table" not in there:
        return list(findings)
    return [
        judged(replace(one, found=f"nothing of the walkthrough in the Region {aws.region}"))
        if (one.key, one.attribute, one.outcome) == ("table", EXISTS, FAIL)
        else one
        for one in findings
    ]


def judged(finding: Finding) -> Finding:
    """With the usual mistake that it is."""
    if finding.outcome != FAIL:
        return finding
    mistake = name_of_mistake(finding.key, finding.attribute, finding.found, finding.expected)
    return replace(finding, mistake=mistake)


class NoFile(StateFile):
    """In the place of a state file: nothing is read, and nothing is written."""

    def __init__(self) -> None:
        self.path = Path(os.devnull)
        self.data = None

    def close(self) -> None:
        """Nothing is held."""


class CheckState(DryState):
    """A state in which everything is as if this deployment had made it, whoever did. It notes what is compared."""

    def __init__(self, aws: Clients, settings: Settings, seen: Seen, api_id: str | None) -> None:
        place = {"account": aws.account_id, "region": aws.region, "endpoint": aws.endpoint}
        super().__init__(NoFile(), {"schema": SCHEMA, "deployment": "check", **place, "serial": 0, "resources": []})
        self.aws, self.settings, self.seen, self.api_id = aws, settings, seen, api_id
        self.ids = {**seen.ids, "api": api_id or ""}
        self.findings: list[Finding] = []
        self.reached: set[str] = set()
        self.resources = [
            Resource(key, PLACES[key].kind, PLACES[key].step, identity, outputs, status="created")
            for key, identity in identities(aws, settings, self.ids).items()
            if (outputs := outputs_by_name(aws, settings, key, self.ids)) is not None
        ]

    @contextmanager
    def resource(
        self, key: str, kind: str, *, found: Mapping[str, Any] | None, parent: str | None = None, **identity: str
    ) -> Iterator[Entry]:
        self.reached.add(key)
        entry = CheckedEntry(self, key, kind, identity, found)
        if found is None:
            self.add_missing(key, identity)
        else:
            self.add(key, identity, EXISTS, PASS)
        self._open.append(entry)
        try:
            yield entry
        except HeldBack:
            pass
        except WouldWait as wait:
            self.add(key, identity, ALL_ELSE, UNCHECKED, reason=f"not ready yet: {wait}")
        except ClientError as error:
            self.add(key, identity, ALL_ELSE, UNCHECKED, reason=refused(error))
        finally:
            self._open.pop()
        if found is not None and COMPARED[kind].reported:
            entry.compare_with_defaults()
            left = {one.attribute: one.found for one in entry.left}
            usual = {one.attribute: one.wanted for one in entry.left}
            self.add(key, identity, OTHER_SETTINGS, FAIL if left else PASS, expected=usual, found=left)

    def leaves_alone(self, key: str, kind: str, found: Mapping[str, Any] | None, **identity: str) -> bool:
        return self.settings.as_written  # it asks for no log group

    def use(self, key: str, kind: str, outputs: Mapping[str, str], note: str, **identity: str) -> None:
        self.add(key, identity, EXISTS, PASS)

    def permit(self, call: Call) -> None:
        """A smoke test's calls may leave. Every other write is held back: it ends the block of what is not there."""
        if self._smoke_test_allows(call):
            return
        if not self._open or self._open[-1].found is None:
            raise HeldBack

    # What is noted.

    def add(self, key: str, identity: Mapping[str, str], attribute: str, word: str, **more: Any) -> None:
        kind = PLACES[key].kind
        self.reached.add(key)
        noun, name = noun_of(kind), name_of(kind, identity)
        self.findings.append(judged(Finding(key, PLACES[key].step, noun, name, attribute, word, **more)))

    def add_missing(self, key: str, identity: Mapping[str, str]) -> None:
        """It is not there: because what it joins is not, or by itself."""
        try:
            needed = self.what_is_missing(key)
            if needed:
                self.add(key, identity, EXISTS, UNCHECKED, reason=f"it needs the {needed}, which is not there")
                return
            near = near_resource(self.aws, self.settings, key, identity)
        except ClientError as error:
            refused(error)
            near = None
        self.add(key, identity, EXISTS, FAIL, found=near)

    def what_is_missing(self, key: str) -> str:
        """The first of what a resource joins that is not there; "" if all is."""
        called = identities(self.aws, self.settings, self.ids)
        for joined in PLACES[key].joins:
            kind = PLACES[joined].kind
            if kind in FINDS and FINDS[kind](self.aws, called[joined]) is None:
                return f"{noun_of(kind)} {name_of(kind, called[joined])}"
        return ""

    def too_many(self, ids: Sequence[str]) -> str:
        """Several APIs have the name, and nothing tells which of them is meant."""
        name = {"name": self.settings.api}
        self.reached.add("api")
        self.add("api", name, EXISTS, FAIL, expected=f"one REST API called {self.settings.api}", found=list(ids))
        return f"there are {len(ids)} REST APIs called {self.settings.api}, and nothing tells which is meant"


def outputs_by_name(aws: Clients, settings: Settings, key: str, ids: Mapping[str, str]) -> dict[str, str] | None:
    """What later steps ask for of this resource, as far as its name tells; None where AWS's id would have to."""
    api_id = ids.get("api", "")
    if key in ("api", "permission", "stage") and not api_id:
        return None
    if key in ("api-key", "usage-plan"):
        return {"id": ids[key]} if ids.get(key) else None
    return {
        "function-role": {"arn": aws.arn("iam", f"role/{settings.function_role_in_arn}", region=""), "id": ""},
        "api-role": {"arn": aws.arn("iam", f"role/{settings.api_role_in_arn}", region=""), "id": ""},
        "dead-letter-queue": {"arn": aws.arn("sqs", settings.dead_letter_queue)},
        "queue": {"arn": aws.arn("sqs", settings.queue)},
        "function": {"arn": aws.arn("lambda", f"function:{settings.function}")},
        "api": {"id": api_id},
        "stage": {"url": aws.invoke_url(api_id, settings.stage, settings.path_part)},
    }.get(key, {})


class CheckedEntry(Entry):
    """What a step sees of a resource. It never has anything to update, and notes each comparison."""

    def __init__(
        self,
        state: CheckState,
        key: str,
        kind: str,
        identity: Mapping[str, str],
        found: Mapping[str, Any] | None,
    ) -> None:
        resource = next((one for one in state.resources if one.key == key), None)
        super().__init__(resource or Resource(key, kind, PLACES[key].step, dict(identity)), found, state.deployment)
        self.state = state
        self.identity = dict(identity)
        self.why_not: dict[str, str] = {}  # by the beginning of attributes of an API, why they cannot be checked

    def needs_tag(self) -> bool:
        return False

    def must_be_replaced(self, attribute: str, *, found: Any, wanted: Any) -> None:
        self.drifted(attribute, found=found, wanted=wanted)

    def drifted(self, attribute: str, *, found: Any, wanted: Any, same: bool | None = None) -> bool:
        """Never: nothing is to be updated. What was compared is a finding."""
        self.compared.append(attribute)
        if self.found is None or attribute in NOT_ASKED:
            return False
        why_not = next((why for begin, why in self.why_not.items() if attribute.startswith(begin)), "")
        if why_not:
            self.add(attribute, UNCHECKED, reason=why_not, expected=wanted)
            return False
        special = SPECIAL.get((self.resource.kind, attribute))
        try:
            if special is not None:
                attribute, found, wanted, holds = special(self.state, self.found, found, wanted)
            else:
                alike = is_alike(self.state.settings, self.resource.kind, attribute, found, wanted)
                holds = (found == wanted if same is None else same) or bool(alike)
                if not holds and found is None:
                    found = near_attribute(self.state.aws, self.resource.outputs.get("id", ""), attribute)
        except ClientError as error:
            self.add(attribute, UNCHECKED, reason=refused(error), expected=wanted)
        except (outcome.UserError, Unreadable) as error:
            self.add(attribute, UNCHECKED, reason=str(error), expected=wanted)
        else:
            self.add(
                attribute, PASS if holds else FAIL, found=only_asked_for(attribute, found, wanted), expected=wanted
            )
            if not holds:
                self.why_not.update(what_then(attribute))
        return False

    def add(self, attribute: str, word: str, **more: Any) -> None:
        self.state.add(self.resource.key, self.identity, attribute, word, **more)


def what_then(attribute: str) -> dict[str, str]:
    """By the beginning of attributes of an API, why they cannot be checked while this one fails."""
    what, _, path = attribute.partition(" ")
    if what == "resource":
        why = f"it needs the resource {path}, which is not there"
        return {f"{begin} {path}{end}": why for begin in ("resource", "POST") for end in ("/", " ")}
    path, _, part = path.partition(" ")
    begins = {"method": "", "integration": "integration ", "integration type": "integration response "}
    if what != "POST" or part not in begins:
        return {}
    why = f"it needs the {part} of {path}, which is not there"
    if part == "integration type":
        why = "another type of integration has other responses, or none"
    return {f"POST {path} {begins[part]}": why}


def only_asked_for(attribute: str, found: Any, wanted: Any) -> Any:
    """What is shown of what was found: of variables those that are asked for, as others may be secrets."""
    if attribute == "Environment" and isinstance(found, Mapping):
        return {name: found[name] for name in wanted if name in found}
    return shown(attribute, found)


# Attributes that need more than the step's description: their name, what is found, what is expected, whether it holds.
Special = Callable[[CheckState, Mapping[str, Any], Any, Any], tuple[str, Any, Any, bool]]


def check_code(state: CheckState, function: Mapping[str, Any], found: str, wanted: str) -> tuple[str, str, str, bool]:
    """By the code itself, as its hash is that of the zip. It is fetched once for each hash."""
    if found == wanted:
        return CODE, EXPECTED, EXPECTED, True
    if found not in state.seen.code:
        state.seen.code[found] = look_at_code(state.aws, state.settings, function)
    what = state.seen.code[found]
    return CODE, what, EXPECTED, what == EXPECTED


def check_served(state: CheckState, stage: Mapping[str, Any], found: str, wanted: str) -> tuple[str, Any, str, bool]:
    """By an export of what the stage serves, where the deployment's description does not have our digest."""
    expected = "the API as it is defined now"
    if found == wanted:
        return "what it serves", expected, expected, True
    api_id, deployment = str(state.api_id), stage["deploymentId"]
    if (api_id, deployment) not in state.seen.served:
        state.seen.served[api_id, deployment] = exported_routes(state.aws, api_id, state.settings.stage)
    direct = f"/{state.settings.path_part}"
    paths = [direct, f"{direct}/{state.settings.queue_path_part}"] if state.settings.has_queue_route else [direct]
    differences = differing(state.seen.served[api_id, deployment], defined_routes(state.aws, api_id, paths))
    return "what it serves", differences or expected, expected, not differences


SPECIAL: Mapping[tuple[str, str], Special] = {
    ("lambda:function", "CodeSha256"): check_code,
    ("apigateway:stage", "what it serves"): check_served,
}


@contextmanager
def without_tags(aws: Clients) -> Iterator[None]:
    """Inside the block nothing has tags, and nobody is asked for them. Such a call does not leave, and is not noted."""

    def answer(model: Any, **event: Any) -> tuple[Any, dict[str, Any]] | None:
        if model.name not in TAG_READS:
            return None
        return SimpleNamespace(status_code=200, headers={}, content=b"{}"), {}

    for client in aws.clients:
        client.meta.events.register_first("before-call.*.*", answer)
    try:
        yield
    finally:
        for client in aws.clients:
            client.meta.events.unregister("before-call.*.*", answer)
