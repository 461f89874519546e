"""`--dry-run`: the steps themselves, with every write held back. What they would have done is the plan.

For a resource that is not there a step ends at the creating call. For one that is there it goes on to the end, and each
write is answered here, so that all differences show. What needs something that is not there yet comes later.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from provision import STEPS, Step
from provision.aws.answers import EXPECTED, Call, protocol_of
from provision.aws.clients import Clients
from provision.aws.operations import READS
from provision.aws.reasons import Reason
from provision.aws.waiting import Wait, Waiting
from provision.settings import Settings
from provision.state import resources
from provision.state.entries import Difference, Entry, NotYetMade, Resource
from provision.state.file import StateFile
from provision.state.ownership import NotOurs, NotTheRecorded
from provision.state.resources import PLACES, names, step_of
from provision.state.state import State

# An id that AWS has not given yet.
NOT_KNOWN = "(not known yet)"


@dataclass(frozen=True)
class Planned:
    """What a run would do to one resource.

    `word` is "unchanged", "drifted" (and left so), "create", "update", "adopt" (and update), "later" or "in the way";
    of a teardown "delete", "put back", "gone", "stay" or "failed". `calls` are the writing calls, in their order; of a
    resource to be created or deleted only the first of them is known. `needs` names the steps, or the resource of the
    same step, that must be there before more can be said; `theirs` whose it is that is in the way; `notes` are
    sentences about it; `compared` is how many attributes were compared.
    """

    key: str
    kind: str
    identity: dict[str, str]
    word: str
    differences: tuple[Difference, ...] = ()
    calls: tuple[Call, ...] = ()
    notes: tuple[str, ...] = ()
    needs: str = ""
    theirs: str = ""
    compared: int = 0


class HeldBack(Exception):
    """The write that creates a resource was held back: nobody knows what follows it in its block."""


class WouldWait(Exception):
    """The step would wait here for something that never comes without the writes."""


class DryState(State):
    """A state file that is read and never written. It notes what each block of a step would do."""

    def __init__(self, *arguments: Any, **hooks: Any) -> None:
        super().__init__(*arguments, **hooks)
        self.as_opened = copy.deepcopy(self.resources)  # what it records, before any record of this plan
        self.planned: dict[str, Planned] = {}
        self.calls: list[Call] = []  # of the block that is open
        self.another: NotTheRecorded | None = None  # why a run would stop, beside what is somebody else's

    writes = False

    @classmethod
    def of(cls, state: State) -> DryState:
        """The same deployment, for a plan. What a person answers about adoption in it holds for the run, too."""
        dry = cls(StateFile(state.path, locked=False), copy.deepcopy(state.content()), adopt=state.adopt)
        dry._adopted = state._adopted
        return dry

    def forget_plan(self) -> None:
        """From now on it says again what it records, and not what would be there by the plan."""
        self.resources = self.as_opened

    def save(self) -> None:
        """Nothing: neither account nor state file changes."""

    def keep_code(self, package: bytes) -> None:
        """Nothing: the code is not replaced."""

    def close_books(self, receipt: dict[str, Any]) -> None:
        """Nothing: no resource is deleted."""

    @contextmanager
    def resource(
        self, key: str, kind: str, *, found: Mapping[str, Any] | None, parent: str | None = None, **identity: str
    ) -> Iterator[Entry]:
        self.calls = []
        word = "create"
        began: Entry | None = None
        try:
            with super().resource(key, kind, found=found, parent=parent, **identity) as entry:
                began = entry
                yield entry
            words = {"updated": "update", "adopted": "adopt", "recovered": "update"}
            word = words.get(self.results[-1].outcome, "unchanged")
        except (HeldBack, WouldWait):
            if found is not None:
                word = "update"
            else:
                self._put(Resource(key, kind, step_of(key), dict(identity), parent=parent))  # as recorded, and no more
        except NotOurs as met:
            self.planned[key] = Planned(key, kind, dict(identity), "in the way", theirs=met.theirs)
            raise
        except NotTheRecorded as met:
            self.planned[key] = Planned(key, kind, dict(identity), "in the way", theirs=met.theirs)
            self.another = met
            raise NotOurs(kind, identity, met.theirs, self.deployment, key=key) from met
        differences, notes = (tuple(began.differences), tuple(began.notes)) if began is not None else ((), ())
        if word == "update" and not differences and not self.calls:
            word = "unchanged"  # an answer was lost, and there is nothing to do but to note that
        planned = Planned(key, kind, dict(identity), word, differences, tuple(self.calls), notes)
        if began is not None and found is not None:
            began.compare_with_defaults()  # where the block would have waited it did not come to that
            planned = with_left(planned, began.left, len(began.compared))
        self.planned[key] = planned

    @contextmanager
    def deleting(self, resource: Resource) -> Iterator[None]:
        self.calls = []
        try:
            with super().deleting(resource):
                yield
        except (HeldBack, WouldWait):
            resource.status = "deleted"  # for what comes after it
        planned = Planned(resource.key, resource.kind, resource.identity, "delete", calls=tuple(self.calls))
        self.planned[resource.key] = planned

    def leaves_alone(self, key: str, kind: str, found: Mapping[str, Any] | None, **identity: str) -> bool:
        if not super().leaves_alone(key, kind, found, **identity):
            return False
        self.planned[key] = Planned(key, kind, dict(identity), "unchanged", notes=self.results[-1].notes)
        return True

    def permit(self, call: Call) -> None:
        """Note the write. It ends the block of a resource that is not there."""
        self.calls.append(call)
        if not self._open or self._open[-1].found is None:
            raise HeldBack


@dataclass
class DryWaiting(Waiting):
    """Looks once and never waits: without the writes nothing comes."""

    def retry_while(self, *reasons: Reason, unless: Callable[[], str | None] | None = None) -> Iterator[Any]:
        yield nullcontext()

    def poll_until(self, what: str, look: Callable[[], Any], **arguments: Any) -> Any:
        found = look()
        if found is None or found is False:
            raise WouldWait(what)
        return found

    def looks_again(self, wait: Wait) -> None:
        raise WouldWait(wait.reason)

    @classmethod
    def like(cls, waiting: Waiting) -> DryWaiting:
        return cls(clock=waiting.clock, sleep=waiting.sleep, tell=waiting.tell)


@dataclass
class Answers:
    """Answers each write in place of AWS. It remembers the resources that an API would have by then."""

    resources: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._asked: Mapping[str, Any] = {}

    def put_on(self, client: Any) -> None:
        """Register after the listener, so that it hears each call first."""
        for name, handler in self._handlers.items():
            client.meta.events.register_last(name, handler)

    def take_off(self, client: Any) -> None:
        for name, handler in self._handlers.items():
            client.meta.events.unregister(name, handler)

    @property
    def _handlers(self) -> dict[str, Callable[..., Any]]:
        return {
            "provide-client-params.*.*": self.note,
            "before-call.*.*": self.answer,
            "after-call.api-gateway.GetResources": self.add,
        }

    def note(self, params: Mapping[str, Any], **event: Any) -> None:
        self._asked = params

    def answer(self, model: Any, **event: Any) -> tuple[Any, dict[str, Any]] | None:
        """A success with the one field that a step relies on; None for a read, which goes to AWS."""
        if model.name in READS.get(model.service_model.service_name, frozenset()):
            return None
        body = b"<RequestId>" if protocol_of(model) == "query" else b""
        http = SimpleNamespace(status_code=200, headers={}, content=body)
        if model.name == "CreateResource":
            return http, self.resource(self._asked)
        parsed: Any = NOT_KNOWN
        for name in reversed(EXPECTED.get(model.name, "").split(".")):
            parsed = {name: parsed}
        return http, parsed

    def resource(self, asked: Mapping[str, Any]) -> dict[str, str]:
        known = self.resources.setdefault(asked["restApiId"], [])
        entry = {"id": f"planned{len(known)}", "parentId": asked["parentId"], "pathPart": asked["pathPart"]}
        known.append(entry)
        return entry

    def add(self, parsed: dict[str, Any], **event: Any) -> None:
        paths = {one["id"]: one["path"] for one in parsed.get("items", [])}
        for entry in self.resources.get(self._asked.get("restApiId", ""), []):
            if entry["parentId"] in paths:
                paths[entry["id"]] = f"{paths[entry['parentId']].rstrip('/')}/{entry['pathPart']}"
                parsed["items"].append({**entry, "path": paths[entry["id"]]})


@contextmanager
def answering(aws: Clients) -> Iterator[None]:
    """Inside the block each write is answered in AWS's place."""
    answers = Answers()
    for client in aws.clients:
        answers.put_on(client)
    try:
        yield
    finally:
        for client in aws.clients:
            answers.take_off(client)


def make_plan(aws: Clients, settings: Settings, state: DryState, steps: Sequence[Step] = STEPS) -> list[Planned]:
    """Go through the steps without a write; what would become of each resource, in the order of a build.

    Of a step in which something is in the way the rest comes later. Everything else that a step raises passes.
    """
    state.check_names(names(aws, settings))
    needs: dict[str, str] = {}
    with aws.calls.planning(state.permit, DryWaiting.like(aws.waiting)), answering(aws):
        for step in steps:
            if step.name == "stage" and changes(state.planned.get("api")):
                needs[step.name] = "api"  # what it serves is compared with what the API will be by then
                continue
            with aws.calls.in_step(step.name):
                try:
                    step.load().provision(aws, settings, state)
                except NotYetMade as later:
                    needs[step.name] = later.args[0]
                except NotOurs as met:
                    needs[step.name] = met.key
                except WouldWait as wait:
                    needs[step.name] = f"the end of a wait for {wait}"
    planned = []
    called = identities(aws, settings)
    for key, identity in called.items():
        kind, name = PLACES[key].kind, PLACES[key].step
        if key in state.planned:
            planned.append(state.planned[key])
            continue
        for step in steps:
            if step.name == name:
                needed = in_words(needs.get(name, ""), step, called)
                planned.append(Planned(key, kind, identity, "later", needs=needed))
    return planned


def changes(planned: Planned | None) -> bool:
    """Whether there is something to do."""
    return planned is not None and planned.word not in ("unchanged", "drifted", "gone", "stay")


def with_left(planned: Planned, left: Sequence[Difference], compared: int) -> Planned:
    """The same, with so many attributes more, and those of them that a run leaves as they are."""
    word = "drifted" if left and planned.word == "unchanged" else planned.word
    differences = (*planned.differences, *left)
    return replace(planned, word=word, differences=differences, compared=planned.compared + compared)


def identities(aws: Clients, settings: Settings) -> dict[str, dict[str, str]]:
    """By key, the identity of each resource that a run would make, in the order of a build."""
    called = resources.identities(aws, settings, NOT_KNOWN)
    if not settings.has_dead_letter_queue:
        del called["dead-letter-queue"]
    return called


def in_words(needed: str, step: Step, called: Mapping[str, Mapping[str, str]]) -> str:
    """What must be there before a resource can be created: an earlier step, or a resource of the same step."""
    if needed not in PLACES:
        return needed or f"the rest of step {step.number}"
    if PLACES[needed].step == step.name:
        return list(called[needed].values())[-1]
    other = next(one for one in STEPS if one.name == PLACES[needed].step)
    return f"step {other.number}, {other.title}"
