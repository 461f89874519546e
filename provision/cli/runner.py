"""Runs the steps in order, and runs a step again when its look cannot be the last word.

That is when the answer to a write was lost, when AWS contradicts what the step had seen, and before a create that AWS
would carry out twice without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from botocore.exceptions import ClientError

from provision import STEPS, Step
from provision.aws.answers import AnswerLost, Call
from provision.aws.clients import Clients
from provision.aws.operations import DELETING_VERBS
from provision.aws.reasons import ALREADY_THERE, JUST_MADE
from provision.aws.waiting import Wait
from provision.settings import Settings
from provision.state.entries import ResourceResult
from provision.state.ownership import TagNotYetVisible
from provision.state.resources import TYPES, names
from provision.state.state import State

# How often a step is run after lost answers. Each time its look finds what the lost call made, if it did.
TRIES = 6
# Seconds before the first such look; before each later one twice as many, until there are eight. A look that comes too
# early makes nothing twice: AWS refuses the second create of a name, and the others are held back (see DuplicateGuard).
FIRST_READ_SECONDS = 1.0

# The creates that AWS would carry out again without a word (names of APIs repeat, deployments and versions have none).
# All other creates it refuses when the resource is there.
CREATED_TWICE = {row.created_twice_by: kind for kind, row in TYPES.items() if row.created_twice_by}
# Not there is believed of such a resource after so many looks, five seconds apart, when a call may have made it; after
# fewer when it is merely recorded and not seen. Nobody says how long API Gateway's lists lag; should half a minute not
# be enough, the next run finds two of ours and takes the unfinished one away (provision/api.py).
GONE_READS = 6
READS_IF_RECORDED = 3
READ_EVERY_SECONDS = 5.0

# Seconds in which the tag of something recorded may come into sight; inferred from the minute that others lag at most.
TAG_BUDGET_SECONDS = 60.0


class NotVisibleYet(Exception):
    """A create was held back that AWS may have carried out already: the step has to look again before."""

    def __init__(self, call: Call) -> None:
        super().__init__(f"{call.service} {call.operation}")
        self.call = call


class DuplicateGuard:
    """The guard of a step: before `permit` it holds back the creates that might be repetitions, for some more looks."""

    def __init__(self, state: State, permit: Callable[[Call], None]) -> None:
        self.state = state
        self.permit = permit
        self.looks_left: dict[str, int] = {}
        self.doubt_what_is_recorded()

    def doubt_what_is_recorded(self) -> None:
        """A create whose resource is recorded might be a repetition: the step did not see what is there."""
        for entry in self.state.standing:
            row = TYPES[entry.kind]
            # A stage is deployed anew whenever the API was updated, so only an unfinished one is in doubt.
            if row.names_repeat or (entry.kind == "apigateway:stage" and entry.status == "creating"):
                operation = row.created_twice_by
                self.looks_left[operation] = GONE_READS if entry.status == "creating" else READS_IF_RECORDED

    def answer_lost(self, call: Call) -> None:
        self.doubt_what_is_recorded()
        if call.operation in CREATED_TWICE:
            self.looks_left[self.what(call)] = GONE_READS

    def __call__(self, call: Call) -> None:
        what = self.what(call)
        if self.looks_left.get(what, 0) > 0:
            self.looks_left[what] -= 1
            raise NotVisibleYet(call)
        self.looks_left.pop(what, None)
        self.permit(call)

    @staticmethod
    def what(call: Call) -> str:
        """The operation; of the policies, of which there are two, with the ARN."""
        return f"{call.operation} {call.parameters.get('PolicyArn', '')}".strip()


def run_steps(
    aws: Clients,
    settings: Settings,
    state: State,
    *,
    started: Callable[[Step], None],
    ended: Callable[[Step, list[ResourceResult]], None],
    steps: Sequence[Step] = STEPS,
) -> None:
    """Run the steps, all of them as a rule. Errors pass.

    `started` and `ended` are told, the latter with what the step did. A state file that records other names than the
    settings' is refused before the first call.
    """
    state.check_names(names(aws, settings))
    begun: dict[str, list[Callable[[], None]]] = {}  # by step, the waits that it put off
    for step in steps:
        with aws.calls.in_step(step.name):
            started(step)
            first = len(state.results)
            try:
                for needed in step.load().NEEDS:
                    take(begun.pop(needed, []))
                begun[step.name] = run_step(step, aws, settings, state)
                if step == steps[-1]:
                    for waits in begun.values():
                        take(waits)
            finally:
                ended(step, state.results[first:])


def take(waits: Sequence[Callable[[], None]]) -> None:
    for wait in waits:
        wait()


def run_step(step: Step, aws: Clients, settings: Settings, state: State) -> list[Callable[[], None]]:
    """Run one step, again where its look cannot be the last word. The waits that it put off, for the caller to take."""
    first = len(state.results)
    guard = DuplicateGuard(state, aws.calls.permit)
    again = RetryBudget(aws)
    state.wait_for_tags()
    with aws.calls.guarded_by(guard):
        while True:
            try:
                with aws.waiting.putting_off() as waits:
                    step.load().provision(aws, settings, state)
                return waits
            except AnswerLost as lost:
                guard.answer_lost(lost.call)
                again.after_lost_answer(lost)
            except NotVisibleYet as unseen:
                again.after_no_sight(unseen)
            except TagNotYetVisible:
                if not again.after_no_tag():
                    state.give_up_on_tags()
            except ClientError as error:
                guard.doubt_what_is_recorded()
                again.after_contradiction(error)
            finally:
                state.results[first:] = once_each(state.results[first:])


class RetryBudget:
    """The pauses between the tries of one step, and when there have been enough: then the error is raised."""

    def __init__(self, aws: Clients) -> None:
        self.waiting = aws.waiting
        self.lost = 0
        self.began: dict[str, float] = {}
        self.contradicted = 0
        self.untagged = 0

    def after_lost_answer(self, lost: AnswerLost) -> None:
        self.lost += 1
        if self.lost >= TRIES:
            raise lost
        means = "Whether AWS acted is open: the step looks again and goes on from what it finds."
        budget = sum(settle(number) for number in range(1, TRIES))
        self._pause("answer lost", means, str(lost), budget, settle(self.lost))

    def after_no_sight(self, unseen: NotVisibleYet) -> None:
        means = (
            f"{unseen.call.operation} may have been carried out already, and AWS would do it twice: "
            "not there is believed after several looks."
        )
        self._pause(
            "what may be there already to be seen", means, "", GONE_READS * READ_EVERY_SECONDS, READ_EVERY_SECONDS
        )

    def after_no_tag(self) -> bool:
        """Wait for a tag; False when it has been waited for long enough. Tags can be seen later than what has them."""
        self.untagged += 1
        if self.untagged * READ_EVERY_SECONDS >= TAG_BUDGET_SECONDS:
            return False
        means = "It is recorded in the state file; without the tag it would be somebody else's."
        self._pause("the tag to be seen", means, "", TAG_BUDGET_SECONDS, READ_EVERY_SECONDS)
        return True

    def after_contradiction(self, error: ClientError) -> None:
        """AWS says that it is there, or no longer there, and the look had seen the contrary."""
        gone = JUST_MADE.matches(error) and error.operation_name.startswith(DELETING_VERBS)
        if not (gone or ALREADY_THERE.matches(error)) or self.contradicted * READ_EVERY_SECONDS >= ALREADY_THERE.budget:
            raise error
        self.contradicted += 1
        name = "gone already, but still seen" if gone else ALREADY_THERE.name
        means = "It was there when the step looked: the step looks again." if gone else ALREADY_THERE.means
        answer = error.response["Error"]
        words = f"{answer.get('Code')}: {answer.get('Message')}"
        self._pause(name, means, words, ALREADY_THERE.budget, READ_EVERY_SECONDS)

    def _pause(self, reason: str, means: str, words: str, budget: float, seconds: float) -> None:
        elapsed = self.waiting.clock() - self.began.setdefault(reason, self.waiting.clock())
        self.waiting.pause(Wait(reason, means, words, elapsed, budget), seconds)


def settle(number: int) -> float:
    """Seconds before the look after the `number`-th lost answer in a row."""
    return min(FIRST_READ_SECONDS * 2.0 ** (number - 1), 8.0)


def once_each(results: list[ResourceResult]) -> list[ResourceResult]:
    """Every resource once, over several tries of a step: what a later try found unchanged, an earlier one made."""
    by_key: dict[str, ResourceResult] = {}
    for event in results:
        if event.key not in by_key or event.outcome != "unchanged":
            by_key[event.key] = event
    return list(by_key.values())
