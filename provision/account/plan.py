"""`--dry-run`: the steps themselves, with no write sent. What they would have done is the plan.

Each write is answered in AWS's place, and so is what a step reads after it (planned_answers.py). So a step goes on to
its end, and the plan has every call that the run makes, in its order. What AWS makes up is said to be unknown yet.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from provision import STEPS, Step
from provision.account.planned_answers import PlannedAnswers
from provision.aws.answers import Call
from provision.aws.call_text import aws_command
from provision.aws.clients import Clients
from provision.aws.reasons import Reason
from provision.aws.waiting import Wait, Waiting
from provision.settings import Settings
from provision.state import resources
from provision.state.entries import Difference, Entry, NotYetMade, Resource
from provision.state.file import StateFile
from provision.state.ownership import NotOurs, NotTheRecorded, TagLost
from provision.state.resources import PLACES, names, step_of
from provision.state.state import State
from provision.terminal.json_values import plain

# An id that AWS has not given yet.
NOT_KNOWN = "(not known yet)"


@dataclass(frozen=True)
class Planned:
    """What a run would do to one resource.

    `word` is "unchanged", "drifted" (and left so), "create", "update", "adopt" (and update), "later" or "in the way";
    of a teardown "delete", "put back", "gone", "stay" or "failed". `calls` are the writing calls, in their order; of a
    resource to be deleted only the first of them is known. `needs` names the steps, or the resource of the same step,
    that must be there before more can be said; `theirs` whose it is that is in the way; `notes` are sentences about it;
    `compared` is how many attributes were compared.
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


# By what a run would have noted as the outcome; every other one is "unchanged".
WORDS = {"created": "create", "updated": "update", "adopted": "adopt", "recovered": "update"}


class HeldBack(Exception):
    """The write that deletes a resource was held back: nobody knows what follows it."""


class WouldWait(Exception):
    """The step would wait here for something that never comes without the writes."""


class DryState(State):
    """A state file that is read and never written. It notes what each block of a step would do."""

    def __init__(self, *arguments: Any, **hooks: Any) -> None:
        super().__init__(*arguments, **hooks)
        self.as_opened = copy.deepcopy(self.resources)  # what it records, before any record of this plan
        self.planned: dict[str, Planned] = {}
        self.calls: list[Call] = []  # of the block that is open
        self.another: NotTheRecorded | TagLost | None = None  # why a run would stop, beside what is somebody else's

    writes = False
    late_tags = "believe"  # a run waits until they are seen

    @classmethod
    def of(cls, state: State) -> DryState:
        """The same deployment, for a plan. What a person answers about adoption in it holds for the run, too."""
        dry = cls(StateFile(state.path, locked=False), copy.deepcopy(state.content()), adopt=state.adopt)
        dry._adopted, dry._by_hand = state._adopted, state._by_hand
        dry.rules = state.rules
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
        began: Entry | None = None
        try:
            with super().resource(key, kind, found=found, parent=parent, **identity) as entry:
                began = entry
                yield entry
            word = WORDS.get(self.results[-1].outcome, "unchanged")
        except WouldWait:
            word = "create" if found is None else "update"
            if found is None:
                self._put(Resource(key, kind, step_of(key), dict(identity), parent=parent))  # as recorded, and no more
        except (NotOurs, NotTheRecorded, TagLost) as met:
            self.planned[key] = Planned(key, kind, dict(identity), "in the way", theirs=met.theirs)
            recorded = self.record(key)
            if recorded is not None:
                recorded.status = "creating"  # nobody knows what a later step would get of it
            if isinstance(met, NotOurs):
                raise
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

    def use(self, key: str, kind: str, outputs: Mapping[str, str], note: str, **identity: str) -> None:
        super().use(key, kind, outputs, note, **identity)
        self.planned[key] = Planned(key, kind, dict(identity), "unchanged", notes=(note,))

    def permit(self, call: Call) -> None:
        """Note the write. A deletion ends with it."""
        self.calls.append(call)
        if not self._open:
            raise HeldBack


@dataclass
class DryWaiting(Waiting):
    """Looks once and never waits: a plan takes it that what is waited for comes."""

    def retry_while(self, *reasons: Reason, unless: Callable[[], str | None] | None = None) -> Iterator[Any]:
        yield nullcontext()

    def poll_until(self, what: str, look: Callable[[], Any], **arguments: Any) -> Any:
        """What the look finds. A look that says no more than whether it is so, is taken to say yes before long."""
        found = look()
        if found is None:
            raise WouldWait(what)
        return found

    def looks_again(self, wait: Wait) -> None:
        raise WouldWait(wait.reason)

    @classmethod
    def like(cls, waiting: Waiting) -> DryWaiting:
        return cls(clock=waiting.clock, sleep=waiting.sleep, tell=waiting.tell)


def make_plan(aws: Clients, settings: Settings, state: DryState, steps: Sequence[Step] = STEPS) -> list[Planned]:
    """Go through the steps without a write; what would become of each resource, in the order of a build.

    Of a step in which something is in the way the rest comes later. Everything else that a step raises passes.
    """
    state.check_names(names(aws, settings))
    needs: dict[str, str] = {}
    with aws.calls.planning(state.permit, DryWaiting.like(aws.waiting), PlannedAnswers(aws)):
        for step in steps:
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


def command_of(call: Call, aws: Clients) -> str:
    """The `aws` command that makes a call of a plan."""
    parameters = plain(call.parameters)
    where = {"region": aws.region, "endpoint_url": aws.base_url, "profile": aws.profile}
    return aws_command(call.service, call.operation, parameters, **where)


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
    called = resources.identities(aws, settings, dict.fromkeys(("api", "api-key", "usage-plan"), NOT_KNOWN))
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
