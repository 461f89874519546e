"""`break` and `heal`: one fault in the learner's own deployment, and back again.

What was there is kept in a file beside the state file before the first write of the fault. So a run that is ended at
any moment is gone on with by the next one: `break` makes the fault that was chosen, `heal` puts back what was kept.

A fault is an update of something recorded. So its writes leave under its entry (`state.resource`), whose owner is
verified as before every update.
"""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from provision import STEPS
from provision.account.inventory import FINDS
from provision.account.plan import DryState, make_plan
from provision.api import find_api, list_apis
from provision.aws.clients import Clients
from provision.check.verdicts import FAIL, PASS, Finding, Seen, check_step
from provision.exercise.faults import BY_NAME, FAULTS, VISIBLE_SECONDS, Before, Fault, look_at_messages
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.file import now
from provision.state.resources import PLACES, name_of, noun_of
from provision.state.state import State
from provision.terminal import outcome
from provision.terminal.disk import write_durably
from provision.trigger import find_trigger

MESSAGES = "messages in both queues"


class ExerciseRefused(outcome.UserError):
    """There is an exercise where none may be, or none where one must be, or its file is of no use.

    A last line of advice that begins with "python -m provision" is a command without its options. Whoever knows them
    writes it out.
    """

    code = "exercise"


@dataclass
class Exercise:
    """The fault that is open, as its file has it. Times are in UTC.

    `before` is what was there. `made`: the fault is there, as far as we know. `messages`: how many there were in both
    queues; None without a dead-letter queue. `hints`: how many were shown. `mended`: when it was first seen to be
    mended by hand; "" if it was not. `healing`: heal has begun, and decided whether it was.
    """

    fault: str
    deployment: str
    endpoint: str | None
    since: str
    before: Before
    as_written: bool
    runtime: str | None
    messages: int | None = None
    made: bool = False
    hints: int = 0
    mended: str = ""
    healing: bool = False

    @property
    def what(self) -> Fault:
        return BY_NAME[self.fault]

    def settings(self, learner: str | None) -> Settings:
        """The deployment's, as `break` was told them."""
        return Settings(learner=learner, runtime_asked=self.runtime, as_written=self.as_written)

    @property
    def seconds(self) -> int | None:
        """From the fault until it was first seen to be mended by hand; None if it was not."""
        if not self.mended:
            return None
        return round((moment(self.mended) - moment(self.since)).total_seconds())


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


# The file.


def path_beside(state: State) -> Path:
    return state.path.with_name(f"{state.path.stem}.exercise.json")


def read(state: State) -> Exercise | None:
    """The exercise that is open in this deployment. Raises ExerciseRefused where its file cannot be used.

    What a sandbox that is gone has left is none.
    """
    path = path_beside(state)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise unusable(path, str(error)) from error
    try:
        found = Exercise(**json.loads(text))
        whole = found.fault in BY_NAME and isinstance(found.before, dict) and bool(moment(found.since))
    except (ValueError, TypeError) as error:
        raise unusable(path, "it is not an exercise") from error
    if not whole:
        raise unusable(path, "it is not an exercise of this version")
    return found if (found.deployment, found.endpoint) == (state.deployment, state.endpoint) else None


def unusable(path: Path, why: str) -> ExerciseRefused:
    return ExerciseRefused(
        f"The exercise's file {path} cannot be used: {why}.",
        means="It kept what was there before the fault. Nothing was changed.",
        advice=("Delete the file, and update what has drifted:", "python -m provision"),
    )


def save(state: State, exercise: Exercise) -> None:
    """Write it so that it is whole at every moment. Raises UserError."""
    path = path_beside(state)
    try:
        write_durably(path, (json.dumps(asdict(exercise), indent=2) + "\n").encode())
    except OSError as error:
        raise outcome.UserError(
            f"The exercise's file {path} cannot be written: {error.strerror}.",
            means="Without it nobody would know what was there before. So nothing was changed.",
            advice=("Make room, or the folder writable, then run the same command again.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error


def has_open_exercise(state: State) -> bool:
    """Whether a fault is there, as far as can be read, that nobody has seen mended."""
    try:
        exercise = read(state)
    except ExerciseRefused:
        return False
    return exercise is not None and exercise.made and not exercise.mended


def close(state: State) -> None:
    path_beside(state).unlink(missing_ok=True)


def close_what_is_gone(state: State) -> None:
    """For teardown: the exercise is over when the resource that has the fault is gone, or all of them are."""
    try:
        exercise = read(state)
    except ExerciseRefused:
        is_over = not state.standing  # which resource it is in, nobody can tell
    else:
        is_over = exercise is None or state.record(exercise.what.key) is None
    if is_over:
        close(state)


# The fault.


def refuse_unless_as_built(aws: Clients, settings: Settings, state: State) -> None:
    """Raise ExerciseRefused unless all of the deployment is there, ours, and as the steps set it."""
    if not state.is_whole:
        raise ExerciseRefused(
            "There is nothing to break: the architecture is not built to its end.",
            means="Nothing was changed.",
            advice=("Build it, then try again:", "python -m provision"),
        )
    planned = make_plan(aws, settings, DryState.of(state))
    others = tuple((one.kind, one.identity, one.word) for one in planned if one.word != "unchanged")
    if others:
        raise ExerciseRefused(
            "Something is not as it should be already, so it would not be clear what an exercise has broken.",
            means="Nothing was changed.",
            advice=("Update it, then try again:", "python -m provision"),
            resources=others,
        )


def chosen(aws: Clients, settings: Settings, state: State, name: str | None, seed: int | None) -> Exercise:
    """An exercise with the fault of that name, or with one by lot. Raises ExerciseRefused where it cannot be made."""
    faults = [BY_NAME[name]] if name else random.Random(seed).sample(FAULTS, len(FAULTS))
    why_not = ""
    for fault in faults:
        why_not = obstacle(settings, state, fault)
        if why_not:
            continue
        before = fault.look(aws, settings, state)
        why_not = fault.obstacle(before)
        if not why_not:
            exercise = Exercise(
                fault.name,
                state.deployment,
                state.endpoint,
                now(),
                before,
                settings.as_written,
                settings.runtime_asked,
            )
            if settings.has_dead_letter_queue:
                exercise.messages = int(look_at_messages(aws, settings, state)["messages"])
            return exercise
    raise ExerciseRefused(
        f"This fault cannot be made here. {why_not}" if name else f"No fault can be made here. {why_not}",
        means="Nothing was changed.",
        advice=("For another one, by lot:", "python -m provision break")
        if name
        else ("Build a deployment of your own, with --learner NAME.",),
    )


def obstacle(settings: Settings, state: State, fault: Fault) -> str:
    """Why the deployment has no place for a fault; "" if it has.

    What is adopted is left alone: it is somebody's, may be in use, and teardown gives it back as it was before the
    deployment, not as it was before the fault.
    """
    if fault.corrected_only and settings.as_written:
        return "What the walkthrough builds as it is written has no place for it."
    for entry in entries_of(state, fault):
        if entry.is_adopted:
            return f"The {noun_of(entry.kind)} {name_of(entry.kind, entry.identity)} was adopted, and is left alone."
    return ""


def entries_of(state: State, fault: Fault) -> list[Resource]:
    """Those whose owner is verified: the fault's own, and before each what it is a part of."""
    keys: list[str] = []
    for key in fault.keys:
        entry = state.record(key)
        keys += [entry.parent] if entry is not None and entry.parent else []
        keys.append(key)
    return [entry for key in dict.fromkeys(keys) if (entry := state.record(key)) is not None]


def found_of(aws: Clients, state: State, entry: Resource) -> dict[str, Any] | None:
    """AWS's description of what is recorded; None if it is gone."""
    known = entry.outputs.get("id")
    if entry.kind == "apigateway:rest-api":
        return find_api(list_apis(aws.apigateway, known), entry.identity["name"], state.deployment, known)
    if entry.kind == "lambda:event-source-mapping":
        identity = entry.identity
        return find_trigger(aws.lambda_, identity["EventSourceArn"], identity["FunctionName"], known)
    return FINDS[entry.kind](aws, entry.identity)


@contextmanager
def opened(aws: Clients, state: State, fault: Fault) -> Iterator[None]:
    """Inside the block the fault's writes may leave. Raises as an update does where something is not ours.

    Of what is a part of another resource, a permission, the whole must be there; the part itself may be the fault.
    """
    with ExitStack() as stack:
        for entry in entries_of(state, fault):
            found = found_of(aws, state, entry)
            if found is None and not (entry.parent and entry.key == fault.key):
                raise ExerciseRefused(
                    f"The {noun_of(entry.kind)} {name_of(entry.kind, entry.identity)} is gone.",
                    means="What is gone cannot be put back as it was.",
                    advice=("Make it again, then run heal again:", "python -m provision"),
                )
            stack.enter_context(
                state.resource(entry.key, entry.kind, found=found, parent=entry.parent, **entry.identity)
            )
        yield


def make(aws: Clients, settings: Settings, state: State, exercise: Exercise) -> None:
    """Make the fault. What was there is on the disk before. A run that was ended before is gone on with."""
    fault = exercise.what
    save(state, exercise)
    with opened(aws, state, fault):
        if not fault.is_repeatable and fault.look(aws, settings, state) != exercise.before:
            fault.undo(aws, settings, state, exercise.before)
        fault.make(aws, settings, state, exercise.before)
    exercise.made = True
    exercise.since = now()
    save(state, exercise)


def undo(aws: Clients, settings: Settings, state: State, exercise: Exercise) -> None:
    """Put back what was there, wait until it is seen, and close the exercise."""
    fault = exercise.what
    with opened(aws, state, fault):
        if fault.look(aws, settings, state) != exercise.before:
            fault.undo(aws, settings, state, exercise.before)
        aws.waiting.poll_until(
            "what was put back to be visible",
            lambda: fault.is_back(fault.look(aws, settings, state), exercise.before),
            budget=VISIBLE_SECONDS,
        )
    close(state)


# Whether it is mended.


def findings_on(aws: Clients, settings: Settings, state: State, exercise: Exercise) -> list[Finding]:
    """What `check` says of what the fault is in."""
    fault = exercise.what
    names = {PLACES[key].step for key in fault.keys}
    seen = Seen(api_id=state.outputs("api")["id"])
    found = [one for step in STEPS if step.name in names for one in check_step(aws, settings, step, seen)]
    return [*found, *messages(aws, settings, state, exercise)]


def messages(aws: Clients, settings: Settings, state: State, exercise: Exercise) -> list[Finding]:
    """Whether there are more messages in both queues than before the exercise: a finding more, while it is open."""
    if exercise.messages is None:
        return []
    key, count = "dead-letter-queue", int(look_at_messages(aws, settings, state)["messages"])
    entry = state.record(key)
    assert entry is not None
    word = PASS if count <= exercise.messages else FAIL
    noun, name = noun_of(entry.kind), name_of(entry.kind, entry.identity)
    return [Finding(key, "queue", noun, name, MESSAGES, word, expected=exercise.messages, found=count)]


def note_if_mended(state: State, exercise: Exercise, findings: Sequence[Finding]) -> bool:
    """Whether all that `check` looked at of what the fault is in passes. When that was first so is kept."""
    mended = all(one.outcome == PASS for one in findings if one.key in exercise.what.keys)
    if not exercise.made or exercise.healing:
        return bool(exercise.mended)
    if mended != bool(exercise.mended):
        exercise.mended = now() if mended else ""
        save(state, exercise)
    return mended
