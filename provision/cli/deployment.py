"""The deployment that a command line means: its target, its clients, its state file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from provision.aws import sandbox_process
from provision.aws.clients import SANDBOX_ACCOUNT, Clients, Target, connect
from provision.cli.options import check_target, settings_of, state_path
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
) -> Iterator[tuple[Clients, L]]:
    """Clients and state file, until the end of the block; its banner is shown, and the command's transcript begun.

    `given` are the command's words. Of a `kind` that writes nothing there is no transcript beside it. Only provision
    itself starts a sandbox that is asked for and not running. `adopt` and `may_write` are State.open's.
    """
    check_state(options)
    builds = command == "provision"
    screen = session.screen
    aws = connected(options, session, start=builds)
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
        words = given if builds else [command, *given]
        session.write_down(command, words, aws, settings, state, keep=kind is State)
        hide_ids(screen, aws, state)
        show_banner(screen, aws, settings, state, options.sources)
        yield aws, state


def begin_anew(aws: Clients, state: State, screen: Screen) -> None:
    """Where a state file's sandbox is gone, so is what it records."""
    if state.endpoint == aws.endpoint:
        return
    if state.standing:
        gone = f"The sandbox {state.endpoint} is gone, and what was in it, too."
        screen.warn(f"{gone} {'Building' if type(state) is State else 'A run would build'} anew in {aws.endpoint}.")
    state.forget_sandbox(str(aws.endpoint))


def connected(options: argparse.Namespace, session: Session, *, start: bool = True) -> Clients:
    """Clients for what the options mean; with `start` a sandbox that is asked for and not running is started."""
    return connect(resolve_target(options, session.screen, start=start), session.calls)


def resolve_target(options: argparse.Namespace, screen: Screen, *, start: bool) -> Target:
    sandbox = None
    if options.sandbox:
        folder = (options.state or state_folder() / "x").absolute().parent
        sandbox = start_sandbox(folder, screen) if start else find_sandbox(folder)
    return Target(
        profile=options.profile,
        region=options.region,
        endpoint_url=options.endpoint_url,
        sandbox=sandbox,
        sources=options.sources,
    )


def find_sandbox(folder: Path) -> tuple[str, str]:
    """Id and URL of the sandbox of this folder. Raises UserError: a new one would have nothing in it."""
    running = sandbox_process.find(folder)
    if running is None:
        kept = sandbox_process.kept_in(folder)
        raise outcome.UserError(
            f"No sandbox is running in {folder}.",
            means=(
                "There is nothing: what is in a sandbox is gone with it."
                if kept is None
                else f"The one that was there is in its journal, {kept}."
            ),
            advice=(
                f"{'Build anew' if kept is None else 'Start it again, and go on'}: "
                f"{program('provision', ['--sandbox'])}",
            ),
        )
    return running.id, running.url


def start_sandbox(folder: Path, screen: Screen) -> tuple[str, str]:
    """Id and URL of the sandbox of this folder, started if absent."""
    try:
        running = sandbox_process.find(folder)
        if running is None:
            screen.say("Starting a local AWS ...")
            running = sandbox_process.start(folder)
    except OSError as error:
        raise outcome.UserError(
            f"The folder {folder} cannot be written: {error.strerror}.",
            means="The state file and the sandbox's own records are kept there.",
            advice=("Work in a folder of your own, or choose another place with --state PATH.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error
    return running.id, running.url


def took_before(program: str, aws: Clients, state: State, screen: Screen) -> dict[str, float]:
    """Seconds that each step of a program, and "" for the whole of it, took in earlier runs here; empty where nothing
    is drawn that could say so."""
    if not screen.draws:
        return {}
    return typical(transcripts_in(state.path.parent), program, aws.endpoint)
