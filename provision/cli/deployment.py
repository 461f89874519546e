"""The deployment that a command line means: its target, its clients, its ledger."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.aws import sandbox_process
from provision.aws.clients import SANDBOX_ACCOUNT, Clients, Target, connect
from provision.cli.options import FOLDER, ledger_path
from provision.cli.session import Session
from provision.cli.views.banner import hide_ids, show_banner
from provision.record.durations import typical
from provision.record.recording import transcripts_in
from provision.settings import DEFAULT_REGION, Settings
from provision.state.state import L, Ledger
from provision.terminal import outcome
from provision.terminal.screen import Screen
from provision.terminal.shell import program


def path_of_ledger(options: argparse.Namespace, aws: Clients) -> Path:
    path: Path = options.state or ledger_path(aws.account_id, aws.region, aws.endpoint, options.learner, FOLDER)
    return path


def path_before_connecting(options: argparse.Namespace) -> Path | None:
    """Where the ledger is, as far as that is known without asking AWS for the account."""
    if options.state:
        return Path(options.state)
    if options.sandbox:
        return ledger_path(SANDBOX_ACCOUNT, options.region or DEFAULT_REGION, "sandbox:", options.learner, FOLDER)
    return None


def check_ledger(options: argparse.Namespace) -> None:
    """Refuse a damaged ledger before the first call, where its place is known by then. Raises LedgerRefused."""
    path = path_before_connecting(options)
    if path is not None:
        Ledger.check(path)


@contextmanager
def deployment(
    command: str,
    given: list[str],
    options: argparse.Namespace,
    settings: Settings,
    session: Session,
    *,
    kind: type[L],
) -> Iterator[tuple[Clients, L]]:
    """Clients and ledger, until the end of the block; its banner is shown, and the command's transcript begun.

    `given` are the command's words. Of a `kind` that writes nothing there is no transcript beside it. Only provision
    itself starts a sandbox that is asked for and not running.
    """
    check_ledger(options)
    builds = command == "provision"
    screen = session.screen
    aws = connected(options, session, start=builds)
    ledger = open_ledger(aws, options, screen, kind)
    try:
        words = given if builds else [command, *given]
        session.write_down(command, words, aws, settings, ledger, keep=kind is Ledger)
        hide_ids(screen, aws, ledger)
        show_banner(screen, aws, settings, ledger, options.sources)
        yield aws, ledger
    finally:
        ledger.close()


def open_ledger(aws: Clients, options: argparse.Namespace, screen: Screen, kind: type[L]) -> L:
    """The deployment's ledger, locked. One of a sandbox that is gone begins anew."""
    path = path_of_ledger(options, aws)
    ledger = kind.open(path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
    if ledger.endpoint != aws.endpoint:
        if ledger.standing:
            gone = f"The sandbox {ledger.endpoint} is gone, and what was in it, too."
            screen.warn(f"{gone} {'Building' if kind is Ledger else 'A run would build'} anew in {aws.endpoint}.")
        ledger.forget_sandbox(str(aws.endpoint))
    aws.tap.permit = ledger.permit
    return ledger


def connected(options: argparse.Namespace, session: Session, *, start: bool = True) -> Clients:
    """Clients for what the options mean; with `start` a sandbox that is asked for and not running is started."""
    return connect(resolve_target(options, session.screen, start=start), session.tap)


def resolve_target(options: argparse.Namespace, screen: Screen, *, start: bool) -> Target:
    sandbox = None
    if options.sandbox:
        folder = (options.state or FOLDER / "x").absolute().parent
        sandbox = start_sandbox(folder, screen) if start else find_sandbox(folder)
    return Target(
        profile=options.profile,
        region=options.region,
        endpoint_url=options.endpoint_url,
        sandbox=sandbox,
        sources=options.sources,
    )


def find_sandbox(folder: Path) -> tuple[str, str]:
    """Id and URL of the sandbox of this folder. Raises Stop: a new one has nothing in it that could be recovered."""
    running = sandbox_process.find(folder)
    if running is None:
        raise outcome.Stop(
            f"No sandbox is running in {folder}.",
            means="There is nothing: what is in a sandbox is gone with it.",
            advice=(f"Build anew: {program('provision', ['--sandbox'])}",),
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
        raise outcome.Stop(
            f"The folder {folder} cannot be written: {error.strerror}.",
            means="The ledger and the sandbox's own records are kept there.",
            advice=("Work in a folder of your own, or choose another place with --state PATH.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error
    return running.id, running.url


def took_before(program: str, aws: Clients, ledger: Ledger, screen: Screen) -> dict[str, float]:
    """Seconds that each step of a program, and "" for the whole of it, took in earlier runs here; empty where nothing
    is drawn that could say so."""
    if not screen.draws:
        return {}
    return typical(transcripts_in(ledger.path.parent), program, aws.endpoint)
