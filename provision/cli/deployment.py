"""The deployment that a command line means: its target, its clients, its state file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from provision.aws import sandbox_process
from provision.aws.clients import NO_SANDBOX, SANDBOX_ACCOUNT, Clients, Target
from provision.aws.sandbox_process import Running
from provision.cli.options import check_target, settings_of, source_of, state_path, target_arguments
from provision.cli.session import Session
from provision.cli.views.banner import hide_ids, show_banner
from provision.record.durations import typical
from provision.record.recording import transcripts_in
from provision.settings import DEFAULT_REGION, Settings
from provision.state.state import Adopt, L, State, adopt_nothing
from provision.terminal import outcome
from provision.terminal.command_line import Parser, state_folder
from provision.terminal.screen import Screen
from provision.terminal.shell import program


def begun(command_line: Parser, given: list[str], session: Session) -> tuple[argparse.Namespace, Settings]:
    """The options and settings of a command that works on a deployment. The session looks as they say."""
    options = command_line.parse_args(given)
    session.begin(options)
    check_target(command_line, options)
    return options, settings_of(options)


def path_of_state(options: argparse.Namespace, aws: Clients) -> Path:
    path: Path = options.state or state_path(aws.account_id, aws.region, aws.endpoint, options.learner, state_folder())
    return path


def path_before_connecting(options: argparse.Namespace) -> Path | None:
    """Where the state file is, as far as that is known without asking AWS for the account."""
    if options.state:
        return Path(options.state)
    if options.sandbox:
        return state_path(
            SANDBOX_ACCOUNT, options.region or DEFAULT_REGION, "sandbox:", options.learner, state_folder()
        )
    return None


def check_state(options: argparse.Namespace) -> None:
    """Refuse a damaged state file before the first call, where its place is known by then. Raises StateRefused."""
    path = path_before_connecting(options)
    if path is not None:
        State.check(path)


@contextmanager
def deployment(
    command: str,
    given: list[str],
    options: argparse.Namespace,
    settings: Settings,
    session: Session,
    *,
    kind: type[L],
    adopt: Adopt = adopt_nothing,
    may_write: bool = True,
) -> Iterator[tuple[Clients, Settings, L]]:
    """Clients, settings and state file, until the end of the block; the banner is shown, and the transcript begun.

    The settings are those given, with what the state file keeps of the account's rules.

    `given` are the command's words. Of a `kind` that writes nothing there is no transcript beside it. Only a build
    starts a new sandbox, and a plan goes without one; every command has one again that ended and left its journal.
    `adopt` and `may_write` are State.open's.
    """
    check_state(options)
    builds = command == "provision"
    screen = session.screen
    without: Without = "refuse" if not builds else "start" if kind is State else "plan"
    aws = connected(options, session, without=without)
    path, on_save = path_of_state(options, aws), session.transcript.entries
    state = kind.open(
        path,
        account=aws.account_id,
        region=aws.region,
        endpoint=aws.endpoint,
        adopt=adopt,
        on_save=on_save,
        may_write=may_write,
    )
    with closing(state), aws.calls.guarded_by(state.permit):
        begin_anew(aws, state, screen)
        settings = replace(settings, rules=settings.rules.over(state.kept_rules))
        state.rules = settings.rules
        words = given if builds else [command, *given]
        session.write_down(command, words, aws, settings, state, keep=kind is State)
        hide_ids(screen, aws, state)
        show_banner(screen, aws, settings, state, options.sources)
        yield aws, settings, state


def begin_anew(aws: Clients, state: State, screen: Screen) -> None:
    """Where a state file's sandbox is gone, so is what it records."""
    if state.endpoint == aws.endpoint:
        return
    if state.standing:
        gone = f"The sandbox {state.endpoint} is gone, and what was in it, too."
        where = "another one" if aws.is_empty else aws.endpoint
        screen.warn(f"{gone} {'Building' if type(state) is State else 'A run would build'} anew in {where}.")
    state.forget_sandbox(str(aws.endpoint))


Without = Literal["start", "plan", "refuse"]


def connected(options: argparse.Namespace, session: Session, *, without: Without = "start") -> Clients:
    """Clients for what the options mean.

    `without`: what to do where a sandbox is asked for and none is running. "plan" gives clients that call nothing.
    """
    return clients_at(resolve_target(options, session.screen, without=without), session)


def clients_at(target: Target, session: Session) -> Clients:
    """Raises CannotConnect and BadSetting."""
    from provision.aws import connect  # with boto3, which takes a quarter of a second to import

    return connect.connect(target, session.calls)


def resolve_target(options: argparse.Namespace, screen: Screen, *, without: Without) -> Target:
    from provision.aws.connect import refuse_unknown_region  # as above

    sandbox, key = None, ""
    if options.sandbox:
        if options.region:
            refuse_unknown_region(options.region, source_of(options, "region"))
        folder = (options.state or state_folder() / "x").absolute().parent
        if without == "plan" and sandbox_process.find(folder) is None and sandbox_process.kept_in(folder) is None:
            sandbox = NO_SANDBOX
        else:
            running = sandbox_of(options, folder, screen, start=without == "start")
            sandbox, key = (running.id, running.url), running.key
    return Target(
        profile=options.profile,
        region=options.region,
        endpoint_url=options.endpoint_url,
        sandbox=sandbox,
        sandbox_key=key,
        sources=options.sources,
    )


def sandbox_of(options: argparse.Namespace, folder: Path, screen: Screen, *, start: bool) -> Running:
    """The sandbox of this folder, from its journal if it does not run; with `start` a new one if there is none.

    Raises UserError.
    """
    running = come_back(options, folder, screen)
    if running is not None:
        return running
    if not start:
        raise outcome.UserError(
            f"No sandbox is running in {folder}: nothing is there.",
            means="None was started, or the last teardown has ended it.",
            advice=(f"Build anew: {program('provision', ['--sandbox'])}",),
        )
    screen.say("Starting a local AWS ...")
    return started(folder)


def come_back(options: argparse.Namespace, folder: Path, screen: Screen) -> Running | None:
    """The sandbox of this folder, started again from its journal if it has ended; None without one.

    A sandbox whose folder was moved, or copied, comes back with its triggers disabled: see sandbox/state.py.
    """
    running = sandbox_process.find(folder)
    if running is not None or sandbox_process.kept_in(folder) is None:
        return running
    before = sandbox_process.last_url(folder)
    screen.keep("The local AWS had ended. It is started again from its journal ...")
    running = started(folder)
    if before not in (None, running.url):
        screen.keep(f"Its port was taken by another program. It answers at {running.url} now, not at {before}.")
    described = sandbox_process.describe(running) or {}
    if described.get("disabled_triggers"):
        screen.warn(f"{sandbox_process.FROM_ELSEWHERE} A build enables them:")
        screen.keep("    " + program("provision", target_arguments(options)))
    return running


def started(folder: Path) -> Running:
    try:
        return sandbox_process.start(folder)
    except OSError as error:
        raise outcome.UserError(
            f"The folder {folder} cannot be written: {error.strerror}.",
            means="The state file and the sandbox's own records are kept there.",
            advice=("Work in a folder of your own, or choose another place with --state PATH.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error


def took_before(program: str, aws: Clients, state: State, screen: Screen) -> dict[str, float]:
    """Seconds that each step of a program, and "" for the whole of it, took in earlier runs here; empty where nothing
    is drawn that could say so."""
    if not screen.draws:
        return {}
    return typical(transcripts_in(state.path.parent), program, aws.endpoint)
