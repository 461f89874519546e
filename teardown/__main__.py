# PYTHON_ARGCOMPLETE_OK
"""python -m teardown: remove what provision built, and prove that nothing is left."""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to end in order, Ctrl-C just ends it

if __name__ == "__main__":
    from provision.terminal import installed

    installed.check()

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from provision import STEPS, Step
from provision.account.inventory import FoundResource, take_inventory
from provision.account.outcomes import outcome_of, planned_of
from provision.account.plan import DryState, Planned, changes
from provision.account.recovery import TIMES, state_files_in
from provision.aws import sandbox_process
from provision.aws.clients import SANDBOX_ACCOUNT, Clients, Target
from provision.cli.completion import COMPLETERS
from provision.cli.deployment import check_state, clients_at, come_back, path_of_state, took_before
from provision.cli.ending import explained, run_program
from provision.cli.options import (
    add_plan_options,
    add_target_options,
    check_target,
    settings_of,
    state_path,
    step_named,
    target_arguments,
)
from provision.cli.progress import Progress
from provision.cli.results import Result
from provision.cli.session import Session
from provision.cli.views.banner import hide_ids, show_banner
from provision.cli.views.build import show_counts
from provision.cli.views.plan import show_plan
from provision.cli.views.resources import show_removed, show_things
from provision.exercise.exercise import close_what_is_gone
from provision.lesson.place import Place
from provision.settings import DEFAULT_REGION, Settings
from provision.state.entries import Resource
from provision.state.file import holder_of, in_use, parse
from provision.state.resources import TYPES, name_of
from provision.state.state import State
from provision.terminal import outcome, prompts
from provision.terminal.command_line import Parser, state_folder
from provision.terminal.completion import complete
from provision.terminal.screen import Screen
from provision.terminal.shell import program, write_any_text
from provision.terminal.text import plural
from teardown.backwards import Left, close, contents, is_to_be_left, prove, take_down, what_stays
from teardown.looks import Looks

GOOD = "bold green"


def main(arguments: list[str] | None = None) -> int:
    complete(parser(), {}, COMPLETERS)
    write_any_text()
    return run(sys.argv[1:] if arguments is None else arguments).exit_code


def run(arguments: list[str]) -> Result:
    """The teardown that this command line means, and how it ended; as provision's own."""
    session = Session(Screen(), "teardown")
    again = program("teardown", arguments)
    return run_program(lambda: teardown(arguments, session), session, again=again, given=arguments)


def parser() -> Parser:
    parser = Parser(
        prog="python -m teardown",
        description="Remove what provision built, and prove that nothing is left.",
        example="python -m teardown --sandbox",
    )
    parser.add_version()
    add_target_options(parser)
    parser.add_argument(
        "--include-adopted",
        action="store_true",
        help="delete what was adopted, too (default: it is put back as it was found, and left)",
    )
    add_plan_options(parser)
    parser.add_argument(
        "--back-to", metavar="N", type=step_named, help="remove the steps from the last back to N, so that N comes next"
    )
    return parser


def teardown(arguments: list[str], session: Session) -> Result:
    session.note(command="teardown")
    command_line = parser()
    options = command_line.parse_args(arguments)
    options.arguments = arguments
    session.begin(options)
    check_target(command_line, options)
    if options.detailed_exitcode and not options.dry_run:
        command_line.error("--detailed-exitcode only goes with --dry-run")
    if options.dry_run:
        session.note(command="plan")
    settings = settings_of(options)
    check_state(options)
    if options.sandbox:
        teardown_sandbox(options, settings, session)
        return session.result
    target = Target(
        profile=options.profile, region=options.region, endpoint_url=options.endpoint_url, sources=options.sources
    )
    aws = clients_at(target, session)
    teardown_at(path_of_state(options, aws), aws, options, settings, session)
    return session.result


def teardown_sandbox(options: argparse.Namespace, settings: Settings, session: Session) -> None:
    """The sandbox's own ending: when it is gone its resources are, too; when nobody else uses it, it is stopped."""
    screen = session.screen
    region = options.region or DEFAULT_REGION
    path = options.state or state_path(SANDBOX_ACCOUNT, region, "sandbox:", options.learner, state_folder())
    folder = path.absolute().parent
    running = come_back(options, folder, screen)
    if running is None:
        close_without_sandbox(path, region, options, screen)
        return
    sandbox = running.id, running.url
    target = Target(region=options.region, sandbox=sandbox, sandbox_key=running.key, sources=options.sources)
    aws = clients_at(target, session)
    teardown_at(path, aws, options, settings, session)
    if options.dry_run:
        return
    users = sorted({*files_in_use(folder), *(one for one in state_files_in(folder) if uses_sandbox(one, aws.endpoint))})
    if users:
        here = Path.cwd()
        names = ", ".join(str(user.relative_to(here) if user.is_relative_to(here) else user) for user in users)
        screen.keep(f"The sandbox goes on: {names} still use{'s' if len(users) == 1 else ''} it.")
        return
    if running.stays:
        screen.keep(f"The sandbox goes on, as it was started by hand. To end it: {program('sandbox', ['stop'])}")
        return
    try:
        sandbox_process.stop(running)
        sandbox_process.discard(running)
    except sandbox_process.SandboxFailed as error:
        raise outcome.UserError(
            "The sandbox did not stop.",
            means=f"Everything in it was removed. {error}",
            advice=("Run the same command again.",),
        ) from error
    screen.say("The sandbox is stopped.")


def kind_of_state(options: argparse.Namespace) -> type[State]:
    return DryState if options.dry_run else State


def close_without_sandbox(path: Path, region: str, options: argparse.Namespace, screen: Screen) -> None:
    if not path.exists():
        name_other_state_files(path, screen)
        screen.say("Nothing to do: no sandbox is running here, and none can come back from a journal.", GOOD)
        return
    state = kind_of_state(options).open(path, account=SANDBOX_ACCOUNT, region=region, endpoint="sandbox:")
    try:
        if state.resources:
            close_as_gone(state, screen)
        else:
            screen.say("Nothing to do: the state file is empty, and no sandbox is running.", GOOD)
    finally:
        state.close()


def close_as_gone(state: State, screen: Screen) -> None:
    closed = "would be closed" if isinstance(state, DryState) else "is closed"
    screen.say(f"The sandbox {state.endpoint} is gone, and everything in it, too. The state file {closed}.", GOOD)
    turn_back(state, None)
    state.forget_sandbox(state.endpoint)
    state.close_books({"things": [], "sandbox": "gone"})
    if not isinstance(state, DryState):
        close_what_is_gone(state)


def teardown_at(path: Path, aws: Clients, options: argparse.Namespace, settings: Settings, session: Session) -> None:
    screen = session.screen
    State.check(path)
    if not path.exists():
        holder = holder_of(path)
        if holder is not None:  # a lesson, or a run before its first write
            raise in_use(path, holder)
        session.note_place(aws)
        name_other_state_files(path, screen)
        look_in_account(path, aws, options, settings, screen)
        return
    began = time.monotonic()
    state = kind_of_state(options).open(
        path,
        account=aws.account_id,
        region=aws.region,
        endpoint=aws.endpoint,
        on_save=session.transcript.entries,
        may_write=options.yes or options.sandbox,
    )
    with closing(state), aws.calls.guarded_by(state.permit):
        session.write_down("teardown", options.arguments, aws, settings, state, keep=not options.dry_run)
        hide_ids(screen, aws, state)
        show_banner(screen, aws, settings, state, options.sources)
        if state.endpoint != aws.endpoint and state.resources:
            close_as_gone(state, screen)
        elif options.back_to and state.resources and not steps_from(state, options.back_to):
            turn_back(state, options.back_to)
            catch_up_with_the_proof(aws, state, screen)
            screen.say(f"Nothing to do: step {options.back_to.number} comes next already.", GOOD)
        elif state.resources and isinstance(state, DryState):
            dry_run(aws, state, options, session)
        elif state.resources:
            remove_all(aws, state, options, session, began)
        else:
            removed = f"Everything was removed already ({state.receipt.get('at')})." if state.receipt else ""
            screen.say(removed or "The state file is empty, and has no receipt of a teardown.", "bold")
            look_in_account(path, aws, options, settings, screen, removed=state.deployment if removed else None)


def steps_from(state: State, step: Step | None) -> list[Resource]:
    """What stands that is to go, the last first: of all steps, or of one and those after it."""
    keep = steps_before(step)
    return [resource for resource in reversed(state.standing) if resource.step not in keep]


def steps_before(step: Step | None) -> list[str]:
    return [one.name for one in STEPS if step is not None and one.number < step.number]


def turn_back(state: State, step: Step | None) -> None:
    """A lesson that was begun goes on with the first of the steps that were taken down; None means all of them."""
    place = Place.read(state.path)
    if not place.is_new and not isinstance(state, DryState):
        place.note((step or STEPS[0]).name)


# A plan's word for what a teardown tells, where it is another.
WORDS = {"deleted": "delete", "left": "put back", "kept": "stay"}


def dry_run(aws: Clients, state: DryState, options: argparse.Namespace, session: Session) -> None:
    """`--dry-run`: the same walk through the state file, with every write held back."""
    planned: list[Planned] = []

    def note(word: str, resource: Resource, remark: str) -> None:
        calls = state.planned[resource.key].calls if resource.key in state.planned else ()
        word = "stay" if resource.is_used else WORDS.get(word, word)
        notes = (remark,) if remark else ()
        planned.append(Planned(resource.key, resource.kind, resource.identity, word, calls=calls, notes=notes))

    with explained(aws):
        keep = steps_before(options.back_to)
        take_down(Looks(aws, state), tell=note, include_adopted=options.include_adopted, keep=keep)
    has_work = options.detailed_exitcode and any(map(changes, planned))
    session.note(*(planned_of(one, aws) for one in planned), exit_code=outcome.CHANGES if has_work else outcome.DONE)
    show_plan(session.screen, planned, aws)


PROOF = "proof"


def progress_of(
    aws: Clients, state: State, screen: Screen, backwards: Sequence[Resource], now: Callable[[], str]
) -> Progress:
    """What is shown while it is removed, with what earlier teardowns here took where that can be seen."""
    took = took_before("teardown", aws, state, screen)
    titles = {step.name: step.title for step in STEPS}
    parts = {resource.step: titles.get(resource.step, resource.step) for resource in backwards}
    return Progress(parts | {PROOF: "Reading back what was removed"}, now, aws.calls, took)


def remove_all(aws: Clients, state: State, options: argparse.Namespace, session: Session, began: float) -> None:
    """Show what will go and ask once; then delete it, the last first, and read it back."""
    screen = session.screen
    with explained(aws):
        looks = Looks(aws, state)
        stays = what_stays(looks, include_adopted=options.include_adopted)
        backwards = steps_from(state, options.back_to)
        show_and_ask(looks, options, screen, backwards, stays)
        left = remove_and_prove(looks, options, session, backwards, stays)
    resources = [entry for entry in state.resources if entry.status == "deleted"]
    close(state, left)
    close_what_is_gone(state)
    show_left(screen, left)
    show_counts(screen, aws.calls, time.monotonic() - began)
    refuse_what_is_left(left)
    tell_the_end(aws, state, options, screen, resources)


def catch_up_with_the_proof(aws: Clients, state: State, screen: Screen) -> None:
    """Read back what an interrupted run deleted, and perhaps did not read back. Raises UserError for what is there."""
    if isinstance(state, DryState):
        return
    with explained(aws):
        left = prove(aws, state)
    close(state, left)
    show_left(screen, left)
    refuse_what_is_left(left)


def show_left(screen: Screen, left: Sequence[Left]) -> None:
    if left:
        show_things(screen, "Left", [one.resource for one in left], {one.resource.key: one.why for one in left})


def refuse_what_is_left(left: Sequence[Left]) -> None:
    """Raise UserError if anything is."""
    if left:
        raise outcome.UserError(
            f"{len(left)} of the recorded resources {'is' if len(left) == 1 else 'are'} left.",
            means="They stay in the state file; the list above says why each of them is still there.",
            advice=("Remove what stands in the way, then run the same command again.",),
            code="left",
        )


def show_and_ask(
    looks: Looks,
    options: argparse.Namespace,
    screen: Screen,
    backwards: Sequence[Resource],
    stays: Mapping[str, str],
) -> None:
    """What will be put back, removed, and left. Asks before the first change, unless that was answered beforehand.

    In the sandbox nobody is asked: what goes is told when it goes.
    """
    aws, state = looks.aws, looks.state
    to_go = [resource for resource in backwards if resource.key not in stays]
    to_put_back = [one for one in to_go if is_to_be_left(state, one, options.include_adopted)]
    to_go = [resource for resource in to_go if resource not in to_put_back]
    to_put_back = [resource for resource in to_put_back if not resource.is_used]
    if to_put_back:
        show_things(screen, "Adopted: to be put back as it was found, and left", to_put_back, {})
    if to_go and not options.sandbox:
        show_things(screen, "To be removed", to_go, contents(looks))
    if stays:
        show_things(screen, "To stay as it is", [one for one in backwards if one.key in stays], stays)
    if options.back_to:
        for sentence in dict.fromkeys(TYPES[resource.kind].made_again for resource in reversed(to_go)):
            if sentence:
                screen.say(sentence)
    if (to_go or to_put_back) and not (options.yes or options.sandbox):
        where = aws.endpoint or f"account {aws.account_id}, Region {aws.region}"
        restore_one = f", and put back {len(to_put_back)}" if to_put_back else ""
        prompts.ask(screen, f"Remove {plural(len(to_go), 'resource')} from {where}{restore_one}?", flag="--yes")
    state.allow_writes()


def remove_and_prove(
    looks: Looks,
    options: argparse.Namespace,
    session: Session,
    backwards: Sequence[Resource],
    stays: Mapping[str, str],
) -> list[Left]:
    """Delete it, and read back what was deleted; what is left."""
    aws, state, screen = looks.aws, looks.state, session.screen
    acknowledged: set[str] = set()

    def tell(word: str, resource: Resource, remark: str) -> None:
        if word == "deleted" and not remark:
            acknowledged.add(resource.key)
        session.transcript.removed(word, resource, remark)
        session.note(outcome_of(resource, word, resource.step, remark=remark))
        show_removed(screen, word, resource, remark, told=word == "kept" and resource.key in stays)

    screen.say()
    screen.say("Removing", "bold")
    turn_back(state, options.back_to)
    keep = steps_before(options.back_to)
    proving = False
    progress = progress_of(aws, state, screen, backwards, lambda: PROOF if proving else aws.calls.step)
    with session.progress(progress):
        left = take_down(looks, tell=tell, stays=stays, include_adopted=options.include_adopted, keep=keep)
        proving = True
        seen = prove(aws, state, acknowledged)
        session.note(*(outcome_of(one.resource, "failed", one.resource.step, remark=one.why) for one in seen))
        return left + seen


def tell_the_end(
    aws: Clients, state: State, options: argparse.Namespace, screen: Screen, resources: Sequence[Resource]
) -> None:
    """Nothing is left: what was proved, and what was somebody else's."""
    namesakes = [name_of(entry.kind, entry.identity) for entry in resources if "namesake" in entry.outputs]
    if namesakes:
        screen.say(f"Somebody else's, and not touched: what is called {', '.join(namesakes)} by now.")
    left = [entry for entry in resources if "left" in entry.outputs]
    were_there = [name_of(entry.kind, entry.identity) for entry in left if not entry.is_used]
    used = [name_of(entry.kind, entry.identity) for entry in left if entry.is_used]
    if used:
        screen.say(f"Somebody else's, only used, and left as it is: {', '.join(used)}.")
    if were_there:
        screen.say(f"Adopted, put back as it was found, and left: {', '.join(were_there)}.")
    if state.standing and options.back_to:
        screen.say(
            f"Back to step {options.back_to.number}, {options.back_to.title}: what it and the steps after it made was "
            "read back, each resource from its own service, and none is there.",
            GOOD,
        )
        go_on = program("provision", [*target_arguments(options, aws), *screen.look, "--step"])
        screen.keep(f"To go on from there: {go_on}")
        return
    of_ours = " of ours" if left else ""
    screen.say(
        f"Nothing{of_ours} is left: all {len(resources) - len(left)} recorded resources{of_ours} were read back, "
        "each from its own service, and none is there. The receipt is in the state file.",
        GOOD,
    )


def name_other_state_files(path: Path, screen: Screen) -> None:
    """No state file does not mean that there is nothing: say where it was looked for."""
    screen.keep(f"There is no state file at {path}.", "bold")
    others = state_files_in(path.absolute().parent)
    if others:
        screen.keep("Other state files in that folder: " + ", ".join(other.name for other in others))


def look_in_account(
    path: Path,
    aws: Clients,
    options: argparse.Namespace,
    settings: Settings,
    screen: Screen,
    *,
    removed: str | None = None,
) -> None:
    """Without a state file, or with one that records nothing: is there anything of the suite? Reads only.

    `removed` is the deployment of which a receipt says that all was removed: then one look, for its own tag only.
    """
    screen.say("Looking in the account ...")
    with explained(aws, step="looking in the account"):
        seen = take_inventory(aws, settings, times=1 if removed else TIMES)
    resources = [one for one in seen.resources if removed in (None, one.tag)]
    where = f"account {aws.account_id}, Region {aws.region}"
    unanswered = ", ".join(map(str, seen.unanswered))
    if resources:
        raise outcome.UserError(
            f"{plural(len(resources), 'resource')} with the suite's names or tags in {where}, and no state file "
            "here says whose."
            if removed is None
            else f"{plural(len(resources), 'resource')} with this deployment's tag in {where}, although the state file "
            "says that everything was removed.",
            means="Nothing was changed." + (f" Not everything could be looked at: {unanswered}." if unanswered else ""),
            advice=advice_on(resources, path, aws, options, is_removed=removed is not None),
            resources=tuple((resource.kind, resource.identity, resource.described) for resource in resources),
        )
    if seen.unanswered:
        raise outcome.UserError(
            f"Not everything in {where} could be looked at: {unanswered}.",
            means="Whether something is left there is open.",
            advice=("Ask for the permission to read it, then run the same command again.",),
        )
    what = "this deployment's tag" if removed else "the suite's names"
    screen.say(f"Nothing with {what} was found in {where}. Nothing to do.", GOOD)
    if seen.not_listed:
        screen.say(f"Not looked at: {', '.join(map(str, seen.not_listed))}. Only --auth api-key makes them.", "dim")


def advice_on(
    resources: Sequence[FoundResource], path: Path, aws: Clients, options: argparse.Namespace, *, is_removed: bool
) -> tuple[str, ...]:
    """What to do about resources that the state file does not record."""
    recover = "    " + program("provision", [*target_arguments(options, aws), "--recover"])
    if is_removed:
        return f"Move {path} away, write the state file anew, and run this again:", recover
    can_recover = not path.exists() and any(resource.key and resource.tag for resource in resources)
    return (
        "Run this where the state file is, or name it with --state PATH.",
        "If they were made for another --learner, name that one.",
        *(("If the state file is lost, write it anew and run this again:", recover) if can_recover else ()),
    )


def files_in_use(folder: Path) -> list[Path]:
    """The state files that a program is at work with; one that has written nothing yet has only its lock there."""
    paths = (lock.with_name(lock.name.removesuffix(".lock")) for lock in folder.glob("*.json.lock"))
    return [path for path in paths if holder_of(path) is not None]


def uses_sandbox(path: Path, endpoint: str | None) -> bool:
    try:
        content = parse(path.read_bytes(), path)
    except (OSError, outcome.UserError):
        return True  # what cannot be read may still need it
    return content["endpoint"] == endpoint and any(entry["status"] != "deleted" for entry in content["resources"])


if __name__ == "__main__":
    sys.exit(main())
