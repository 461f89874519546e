"""python -m provision replay: play a transcript, or make a page, a script or a timeline of it."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from provision.record.recording import (
    NoTranscript,
    Recording,
    invented,
    learner_of,
    read,
    transcripts_in,
    up_to,
)
from provision.record.sittings import is_sitting, joined, sittings_of
from provision.record.transcript import FOLDER, folder_of
from provision.replay.player import Show, play, print_all
from provision.replay.script import plan
from provision.replay.script_text import script_text
from provision.replay.timeline import timeline
from provision.replay.timeline_table import print_timeline
from provision.replay.web_page import web_page
from provision.terminal import outcome
from provision.terminal.command_line import meant, state_folder
from provision.terminal.screen import Screen
from provision.terminal.shell import program
from provision.terminal.text import plural
from provision.terminal.writing import write_file

MADE = ("created", "recovered", "adopted")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        help="its number in the list, or its file; default: the last that built something, of a lesson all sittings",
    )
    parser.add_argument("--list", action="store_true", help="list the runs, each with its number")
    parser.add_argument("--learner", metavar="NAME", help="of the runs of this learner only")
    parser.add_argument("--state", metavar="PATH", type=Path, help="of the runs on this state file only")
    parser.add_argument("--speed", metavar="X", type=speed, default=1.0, help="how fast; 1 is the run's own speed")
    written = parser.add_mutually_exclusive_group()
    written.add_argument("--html", metavar="OUT", type=Path, help="write one self-contained page instead")
    written.add_argument(
        "--script",
        metavar="OUT",
        type=Path,
        help="write the deployment, as it was after that run, as a script instead: OUT.py in boto3, any other in aws "
        "commands",
    )
    written.add_argument("--timeline", action="store_true", help="show where the time went, as a table with bars")
    parser.add_argument(
        "--unmasked", action="store_true", help="keep account numbers and the bodies of messages in that page"
    )
    parser.add_argument("--faces", action="store_true", help="each call as console page, boto3 and aws command")


def speed(text: str) -> float:
    """How fast to play. Raises argparse's error."""
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0; 2 is twice as fast, 0.5 half as fast")
    return float(text)


def replay(options: argparse.Namespace, screen: Screen) -> int:
    """Play or export. Ctrl-C ends it at once, without a word: no call is under way."""
    try:
        with screen.interruptible():
            return shown(options, screen)
    except KeyboardInterrupt:
        return outcome.INTERRUPTED


def shown(options: argparse.Namespace, screen: Screen) -> int:
    if options.state:
        folder = folder_of(options.state)
        paths = sorted(folder.glob("*.jsonl"))
    else:
        folder = state_folder() / FOLDER
        paths = transcripts_in(state_folder())
    runs = dict(enumerate(paths, start=1))
    if options.learner:
        runs = {number: path for number, path in runs.items() if learner_of(path) == options.learner}
        if not runs:
            raise no_runs_of(options.learner, paths, folder)
    if options.list:
        list_runs(runs, folder, screen)
        if runs:
            where = ["--state", str(options.state)] if options.state else []
            screen.heading("To play the last of them")
            screen.keep(program("provision", ["replay", str(max(runs)), *where]))
        return outcome.DONE
    recording = (
        read(path_of(options.run, runs))
        if options.run
        else last_built(list(runs.values()), folder, with_updates=options.script is not None)
    )
    if options.script:
        scripted(recording, options.script, screen)
        return outcome.DONE
    if not options.run:
        recording = joined(sittings_of(recording))
    if options.html:
        write_file(options.html, web_page(recording, unmasked=options.unmasked), screen)
        return outcome.DONE
    if options.timeline:
        for value, name in invented(recording).items():
            screen.hide(value, name)
        print_timeline(timeline(recording), screen)
        return outcome.DONE
    stage = screen.with_talk_as_data()  # what is played was asked for
    show = Show(recording, stage, with_faces=options.faces)
    if sys.stdin.isatty() and stage.draws:
        play(show, speed=options.speed)
    else:
        print_all(show)
    return outcome.DONE


def scripted(recording: Recording, path: Path, screen: Screen) -> None:
    """Write what a deployment's runs up to this one have built as one script."""
    if path.suffix == ".jsonl":
        raise outcome.UserError(
            f"--script writes a script, and {path} is named like a transcript, which would be overwritten.",
            means="Nothing was written.",
            advice=("The run comes before it: replay RUN --script OUT",),
            exit_code=outcome.USAGE,
        )
    write_file(path, script_text(plan(up_to(recording)), path.name), screen)
    runs = "python" if path.suffix == ".py" else "bash"
    command = f"{runs} {shlex.quote(str(path))}"
    screen.keep(f"It builds with        {command}")
    screen.keep(f"It takes down with    {command} teardown")


def path_of(run: str, runs: Mapping[int, Path]) -> Path:
    """The transcript that a run's number or file means. Raises NoTranscript."""
    path = Path(run)
    if path.exists() or not run.isascii() or not run.isdigit():
        return path
    if int(run) in runs:
        return runs[int(run)]
    raise NoTranscript(
        f"There is no run {run}.",
        means="Nothing can be played.",
        advice=(f"List the runs: {program('provision', ['replay', '--list'])}",),
    )


def no_runs_of(learner: str, paths: Sequence[Path], folder: Path) -> NoTranscript:
    """The error for a learner of whom there is no run."""
    others = sorted({one for one in map(learner_of, paths) if one})
    near = meant(learner, others)
    return NoTranscript(
        f"There is no run of the learner {learner} in {folder}.{f' D{near[1:]}' if near else ''}",
        means=f"There are runs of {', '.join(others)}." if others else "There is none of any learner.",
        advice=(f"List all runs: {program('provision', ['replay', '--list'])}",),
        exit_code=outcome.LEFT,
    )


def list_runs(runs: Mapping[int, Path], folder: Path, screen: Screen) -> None:
    """Each run with its number and what it was: data. Where they are: talk."""
    several = len({path.parent for path in runs.values()}) > 1
    for number, path in runs.items():
        of = f"  {path.parent.name}" if several else ""
        try:
            screen.between_words(Text(f"{number:>3}  {in_words(read(path))}{of}"), data=True, below=5)
        except NoTranscript as stop:
            screen.tell(f"{number:>3}  {stop.what}")
    if runs:
        screen.say(f"They are files in {folder}.", "dim")


def in_words(recording: Recording) -> str:
    header, ended = recording.header, recording.ended
    how = "killed" if ended is None else "done" if ended["exit_code"] == 0 else f"ended with {ended['exit_code']}"
    writes = sum(not call["read"] for call in recording.calls)
    when = f"{header['started'][:10]} {header['started'][11:16]} UTC"
    what = "lesson" if is_sitting(recording) else header["program"]
    return f"{when}  {what}, {recording.seconds:.0f} s, {plural(writes, 'writing call')}, {how}"


def last_built(paths: list[Path], folder: Path, *, with_updates: bool = False) -> Recording:
    """The last run of provision that made something; else the last that changed something; else the last run.

    `with_updates`: the last that made or changed something comes first.
    """
    last = changed = None
    for path in reversed(paths):
        try:
            recording = read(path)
        except NoTranscript:
            continue
        last = last or recording
        if recording.header["program"] != "provision":
            continue
        changes = any(not call["read"] for call in recording.calls)
        if makes_something(recording) or (with_updates and changes):
            return recording
        if changes:
            changed = changed or recording
    if last is None:
        raise NoTranscript(
            f"There is no transcript in {folder}.",
            means="Every run of provision and teardown writes one beside its state file.",
            advice=(f"Build something first: {program('provision', ['--sandbox'])}", "or name the file of a RUN."),
            exit_code=outcome.LEFT,
        )
    return changed or last


def makes_something(recording: Recording) -> bool:
    """Whether a step made a resource: people want to see that again, rather than an update or a test."""
    return any(one["outcome"] in MADE for done in recording.of("done") for one in done["happened"])
