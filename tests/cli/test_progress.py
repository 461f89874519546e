"""How a run gets on: drawn on a terminal and gone at its end, a line after a long silence elsewhere."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from provision import STEPS
from provision.aws.answers import Call
from provision.aws.calls import Calls
from provision.aws.waiting import Wait, Waiting
from provision.cli.progress import Progress
from provision.record.durations import FILES, RUNS, typical
from provision.settings import Settings
from provision.terminal import screen as screen_module
from provision.terminal.screen import Screen
from sandbox import Sandbox
from tests.rig.clock import Clock, eventually, never
from tests.rig.deployment import Stranger
from tests.rig.emulator import Emulator, text
from tests.rig.programs import Folder
from tests.rig.screens import memory_screen
from tests.rig.terminal import ESCAPE, Terminal
from tests.state.test_adoption import make_policies

PARTS = {step.name: f"{step.number}/8 {step.title}" for step in STEPS} | {"tests": "Tests of the walkthrough"}
ROLE = Wait("the role to be seen", "IAM lags behind.", "cannot be assumed", 4.0, 120.0)


class Run:
    """A run at a step, with a call that is under way, or none."""

    def __init__(self, step: str = "", typical: dict[str, float] | None = None) -> None:
        self.clock = Clock()
        self.calls = Calls(waiting=Waiting(clock=self.clock))
        self.step = step
        self.progress = Progress(PARTS, lambda: self.step, self.calls, typical or {})

    def call(self, operation: str) -> None:
        call = Call(len(self.calls.history) + 1, "lambda", operation, {}, False, self.clock())
        self.calls.history.append(call)
        self.calls._current = call

    def drawn(self, width: int = 80, encoding: str = "utf-8") -> list[str]:
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
        console = Console(file=file, width=width, color_system=None, force_terminal=True)
        console.print(self.progress, soft_wrap=True)
        file.flush()
        raw = file.buffer
        assert isinstance(raw, io.BytesIO)
        return re.sub(r"\x1b\[[\d;]*m", "", raw.getvalue().decode(encoding)).splitlines()


def test_each_step_has_its_state_and_its_time() -> None:
    run = Run("policies", {step.name: 2.0 for step in STEPS} | {"tests": 14.0})
    run.drawn()
    run.clock.sleep(3)
    run.step = "roles"
    run.drawn()  # the view notices then that a step has begun
    run.clock.sleep(7)
    assert run.drawn() == [
        "",
        "  ✓ policies  » roles  · table  · queue  · function",
        "  · trigger  · api  · stage  · tests",
        "  2/8 Roles, 7 s of about 2 s. In all 10 s of about 30 s.",
    ]


def test_without_earlier_runs_nothing_is_said_of_them() -> None:
    assert Run("table").drawn()[-1] == "  3/8 Table, 0 s. In all 0 s."
    one_unknown = {step.name: 2.0 for step in STEPS}
    assert Run("table", one_unknown).drawn()[-1] == "  3/8 Table, 0 s of about 2 s. In all 0 s."


def test_the_call_that_is_under_way_is_named() -> None:
    run = Run("function")
    assert not any("lambda:" in line for line in run.drawn())
    run.call("CreateFunction")
    run.clock.sleep(5)
    assert run.drawn()[-1] == "  lambda:CreateFunction, 5 s"


def test_a_wait_counts_on_until_another_call_begins() -> None:
    run = Run("function")
    run.call("CreateFunction")
    run.progress.wait(ROLE)
    run.clock.sleep(3)
    assert run.drawn()[-1] == "  waiting for the role to be seen: 7 s of at most 120 s"
    run.call("GetFunction")
    assert run.drawn()[-1] == "  lambda:GetFunction, 0 s"


@settings(deadline=None)
@given(
    st.integers(40, 200),
    st.sampled_from(["", *PARTS]),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=200),
)
def test_no_line_is_wider_than_the_window(width: int, step: str, reason: str) -> None:
    run = Run(step)
    run.call("CreateFunction")
    run.progress.wait(Wait(reason, "", "", 1.0, 60.0))
    run.progress.notice = reason
    drawn = run.drawn(width)
    assert all(len(line) < width for line in drawn), drawn
    shown = " ".join(drawn)
    assert all(f" {name} " in f"{shown} " for name in PARTS)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_it_is_drawn_in_every_encoding(encoding: str) -> None:
    states = Run("table").drawn(encoding=encoding)[1]
    assert states.startswith("  + policies  + roles  > table  . queue")


def test_a_long_silence_ends_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.terminal.screen.SILENCE", 0.05)
    run, screen = Run("function"), memory_screen()
    with screen.progress(run.progress):
        run.call("CreateFunction")
        run.clock.sleep(25)
        eventually(lambda: "lambda:CreateFunction, 25 s" in said(screen))
    assert said(screen).startswith("    still      ")


def test_without_a_silence_there_is_no_such_line() -> None:
    run, screen = Run("function"), memory_screen()
    with screen.progress(run.progress):
        run.call("CreateFunction")
        run.clock.sleep(25)
        screen.say("spoken")
    assert said(screen) == "spoken\n"


def said(screen: Screen) -> str:
    assert isinstance(screen.talk.file, io.StringIO)
    return screen.talk.file.getvalue()


class Window(io.StringIO):
    """What is written to a window of 80 columns and 24 rows."""

    def isatty(self) -> bool:
        return True


def test_no_line_is_wiped_however_the_drawing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What draws, and lines that are said meanwhile, take turns: else one takes the other's rows for its own."""
    monkeypatch.setattr(screen_module, "FRAMES", 2000)
    window = Window()
    talk = screen_module.Console(
        file=window, width=80, height=24, force_terminal=True, force_interactive=True, color_system=None
    )
    screen, run = Screen(talk=talk, data=memory_screen().data), Run("function")
    assert screen.draws
    with screen.progress(run.progress):
        for number in range(400):
            run.progress.notice = "a word " * (number % 40)  # the drawing grows and shrinks
            screen.say(f"line {number}")
    emulator = Emulator(80, 24)
    emulator.feed(window.getvalue().replace("\n", "\r\n").encode())
    left = text(emulator.rows, coloured=False)
    assert [int(number) for number in re.findall(r"(?m)^line (\d+)$", left)] == list(range(400))


# In a terminal.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    with Folder(tmp_path_factory.mktemp("progress")) as made:
        yield made


@pytest.mark.once_more
@pytest.mark.parametrize(
    ("options", "environ", "draws"),
    [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, True),  # no colour is not no movement
        (("--plain",), {}, False),
        ((), {"ACCESSIBLE": "1"}, False),
        ((), {"TERM": "dumb"}, False),
        ((), {"TTY_INTERACTIVE": "0"}, False),
    ],
)
@pytest.mark.sweep(3)
def test_it_moves_only_where_it_may(
    folder: Folder, sandbox: Sandbox, options: tuple[str, ...], environ: dict[str, str], draws: bool
) -> None:
    learner = "moves" + "".join([*options, *environ]).lower().replace("_", "")
    where = ("--endpoint-url", sandbox.url, "--learner", learner, "--yes", "--to", "2", "--verbose", *options)
    with Terminal(folder, 80, "provision", *where, **environ) as terminal:
        assert terminal.end() == 0, terminal.text
    assert ("» policies" in terminal.text) == draws
    assert ("\x1b[2K" in terminal.raw) == draws, "a line is wiped to be drawn anew"
    assert "    created    policy     Lambda-Read-SQS" in terminal.text


@pytest.mark.once_more
def test_a_question_and_its_answer_stay_on_the_screen(folder: Folder, sandbox: Sandbox) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "answered")
    with Terminal(folder, 80, "provision", *where, "--to", "1") as terminal:
        terminal.read_until("[y/N] ")
        terminal.type("y\n")
        assert terminal.end() == 0, terminal.text
        emulator = Emulator(80, 24)
        emulator.feed(terminal.written)
    shown = text(emulator.rows, coloured=False)
    assert (
        f"Build at {sandbox.url}, which is not AWS? [y/N] y\n\n  1/8 Policies     created    Lambda-Write" in shown
    ), shown


def test_a_pipe_that_is_called_a_terminal_gets_no_drawing(folder: Folder, sandbox: Sandbox) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "forced", "--yes", "--to", "2")
    ended = folder.run("provision", *where, FORCE_COLOR="1")
    assert ended.returncode == 0 and "\x1b[" in ended.stderr and "\x1b[2K" not in ended.stderr


@pytest.mark.once_more
def test_what_was_typed_before_the_question_is_no_answer(folder: Folder, sandbox: Sandbox) -> None:
    with Terminal(folder, 80, "provision", "--endpoint-url", sandbox.url, "--learner", "hasty") as terminal:
        terminal.read_until("State file")
        terminal.type("y\n")
        terminal.read_until("which is not AWS? [y/N]")
        never(lambda: terminal.child.poll() is not None, 0.5)  # it waits for an answer
        terminal.type("n\n")
        assert terminal.end() == 1


@pytest.mark.once_more
def test_while_a_person_is_asked_nothing_is_drawn(folder: Folder, sandbox: Sandbox) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "asked", "--yes", "--adopt", "--to", "1")
    make_policies(Stranger(sandbox.url), Settings(learner="asked"))
    with Terminal(folder, 80, "provision", *where) as terminal:
        terminal.read_until("Take it over? [y/N]")
        while_asked = terminal.raw.partition("[y/N]")[2]
        assert "\x1b[?25h" in terminal.raw, "the cursor is there again"
        assert ESCAPE.sub("", while_asked).strip() == ""
        terminal.type("n\n")
        assert terminal.end() == 1
    assert "2 resources with these names exist already" in " ".join(terminal.text.split())


# What earlier runs took.


def written(folder: Path, number: int, **changed: Any) -> Path:
    """A run with one writing step, from the `number`-th second to twice as many, and tests after that."""
    header = {"at": 0, "type": "transcript", "version": 1, "program": "provision", "endpoint": None}
    header |= {"account": "123456789012", "region": "us-east-1", "deployment": "poc-1", "partition": "aws"}
    header |= {"started": "2026-11-24T10:00:00.000+00:00"}
    header |= {name: value for name, value in changed.items() if name in header}
    call = {"type": "call", "seconds": 0.5, "operation": "CreateTable", "service": "dynamodb", "number": 1, "sent": 1}
    call |= {"parameters": {}, "answer": {}, "error": None}
    ended = {"at": 2.0 * number + 4, "type": "ended", "exit_code": changed.get("exit_code", 0), "calls": 4}
    events = [
        header,
        {"at": 0, "type": "step", "step": "policies"},
        {**call, "at": 0.1, "step": "policies", "read": True},
        {"at": 0.5, "type": "done", "step": "policies", "happened": []},
        {"at": number, "type": "step", "step": "table"},
        {**call, "at": number + 0.1, "step": "table", "read": changed.get("read", False)},
        {"at": 2 * number, "type": "done", "step": "table", "happened": []},
        {**call, "at": 2 * number + 1, "step": "trials", "read": True},
        {**call, "at": 2 * number + 3, "step": "trials", "read": True},
        *([] if changed.get("killed") else [{**ended, "writes": 0 if changed.get("read") else 1}]),
    ]
    path = folder / f"{number:03d}.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return path


def test_typical_is_the_median_of_the_last_runs(tmp_path: Path) -> None:
    paths = [written(tmp_path, number) for number in range(1, 10)]
    assert RUNS == 5
    assert typical(paths, "provision", None) == {"table": 7, "tests": 2.5, "": 18.0}


@pytest.mark.parametrize(
    "changed",
    [{"endpoint": "sandbox:sb-1"}, {"program": "teardown"}, {"exit_code": 254}, {"killed": True}, {"read": True}],
)
def test_other_runs_say_nothing_of_this_one(tmp_path: Path, changed: dict[str, Any]) -> None:
    paths = [written(tmp_path, 3), written(tmp_path, 50, **changed)]
    assert typical(paths, "provision", None) == typical(paths[:1], "provision", None) != {}
    assert typical(paths[1:], "provision", None) == {}


def test_a_sandbox_is_like_any_other_sandbox(tmp_path: Path) -> None:
    paths = [written(tmp_path, 3, endpoint="sandbox:sb-1")]
    assert typical(paths, "provision", "sandbox:sb-2")["table"] == 3


def test_what_is_no_transcript_is_passed_over_and_few_are_read(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("no JSON\n", encoding="utf-8")
    assert typical([tmp_path / "none.jsonl"], "provision", None) == {}
    paths = [written(tmp_path, 3), *(written(tmp_path, 10 + number, killed=True) for number in range(FILES))]
    assert typical(paths, "provision", None) == {}
