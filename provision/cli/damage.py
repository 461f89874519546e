"""What to do about a damaged state file: its backup, `--recover`, or in the sandbox to begin anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from provision.account.recovery import state_files_in
from provision.aws import sandbox_process
from provision.cli.options import target_arguments
from provision.state.file import StateDamaged
from provision.terminal import outcome
from provision.terminal.command_line import state_folder
from provision.terminal.shell import program, to_move


def with_ways_on(stop: StateDamaged, options: argparse.Namespace) -> outcome.UserError:
    """The same, with each command to go on."""
    either = "Or write" if stop.advice else "Write"
    advice = (
        *stop.advice,
        f"{either} it anew from what there is:",
        f"    {to_move(stop.path)}",
        f"    {program('provision', [*target_arguments(options), '--recover'])}",
    )
    return stop.with_words(advice=(*advice, *(begin_anew(stop.path) if options.sandbox else ())))


def begin_anew(path: Path) -> tuple[str, ...]:
    """The commands that empty the sandbox; none where other deployments are in it."""
    folder = path.absolute().parent
    if any(other.absolute() != path.absolute() for other in state_files_in(folder)):
        return ()
    where = [] if folder == state_folder().absolute() else ["--folder", str(path.parent)]
    running = sandbox_process.find(folder)
    journal = sandbox_process.kept_in(folder)
    commands = [program("sandbox", ["stop", *where])] if running is not None else []
    commands += [to_move(path.parent / journal.name if journal.parent == folder else journal)] if journal else []
    return (
        "Or begin anew, with an empty sandbox:",
        *(f"    {command}" for command in (*commands, to_move(path))),
    )
