"""Where the time of a run went: nothing is counted twice, nothing is lost, and nothing is wider than its room."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from provision import STEPS
from provision.record.recording import Recording, read, transcripts_in
from provision.replay.timeline import Timeline, timeline
from provision.replay.timeline_table import BLOCKS, cells, table
from provision.replay.web_page import web_page
from provision.terminal import outcome
from tests.rig.programs import DEAD, Folder
from tests.rig.terminal import Terminal

ROLE = "arn:aws:iam::123456789012:role/SQS-Lambda-DynamoDB-Role"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """Built, traced, taken down: three transcripts."""
    with Folder(tmp_path_factory.mktemp("timeline")) as made:
        for command in (("provision",), ("provision", "trace"), ("teardown",)):
            assert made.run(*command, "--sandbox").returncode == outcome.DONE
        yield made


def runs(folder: Folder) -> list[Recording]:
    return [read(path) for path in transcripts_in(folder.path / ".provision")]


def add_up(shown: Timeline) -> None:
    """Calls, waits, pauses and the rest are the whole run, and no two bars have a moment in common."""
    parts = sum(map(shown.seconds_of, ("call", "wait", "rest"))) + sum(shown.pauses)
    assert parts == pytest.approx(shown.recording.seconds, abs=1e-6)
    pieces = sorted((piece.start, piece.end) for row in shown.rows for piece in row.pieces if piece.seconds)
    for (_, end), (start, _) in itertools.pairwise(pieces):
        assert end <= start + 1e-6
    for one, other in itertools.pairwise(shown.rows):
        assert one.start <= one.end + 1e-9 and one.end <= other.start + 1e-9
    assert all(row.start >= 0 and row.end <= shown.length + 1e-6 for row in shown.rows)


# Real runs.


def test_every_call_of_a_run_is_in_one_row_and_the_times_add_up(folder: Folder) -> None:
    for recording in runs(folder):
        shown = timeline(recording)
        add_up(shown)
        assert sum(row.calls for row in shown.rows) == recording.ended["calls"]  # type: ignore[index]
        assert sum(row.writes for row in shown.rows) == recording.ended["writes"]  # type: ignore[index]
        assert shown.seconds_of("call") == pytest.approx(sum(call["seconds"] for call in recording.calls), abs=0.01)


def test_the_rows_of_each_program_are_what_it_did(folder: Folder) -> None:
    built, traced, removed = ([row.title for row in timeline(run).rows] for run in runs(folder))
    steps = [f"{step.number} {step.title}" for step in STEPS]
    assert built == ["Before the steps", *steps, "Tests, and the end"]
    assert traced == ["POST /dynamodbmanager", "POST /dynamodbmanager/queue"]
    assert removed == [*reversed(steps), "The proof that nothing is left"]


def test_in_a_pipe_the_chart_has_eighty_columns_and_asks_nobody(folder: Folder) -> None:
    ended = folder.run("provision", "replay", "--timeline", AWS_ENDPOINT_URL=DEAD, COLUMNS="200")
    assert ended.returncode == outcome.DONE and ended.stderr == ""
    chart = ended.stdout.split("\n\n")[1]
    assert max(map(len, chart.splitlines())) <= 80 and "█" in chart and "\x1b" not in ended.stdout
    assert "5 Function" in chart and "Total" in chart


def test_an_old_encoding_gets_ascii(folder: Folder) -> None:
    ended = folder.run("provision", "replay", "--timeline", PYTHONIOENCODING="cp1252")
    assert ended.returncode == outcome.DONE and ended.stdout.isascii() and "##" in ended.stdout


@pytest.mark.once_more
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_in_a_terminal_no_line_of_the_table_is_as_wide_as_the_window(folder: Folder, columns: int) -> None:
    with Terminal(folder, columns, "provision", "replay", "--timeline") as terminal:
        assert terminal.end() == outcome.DONE
        assert max(map(len, terminal.lines)) < columns
        assert "4 Queue" in terminal.text.split("The longest")[0]
        assert re.search(r"\x1b\[[\d;]*34m█", terminal.raw)


@pytest.mark.once_more
def test_plain_has_no_colour_and_present_no_account(folder: Folder) -> None:
    named = with_an_account_in_a_reason(folder)
    with Terminal(folder, 80, "provision", "replay", named, "--timeline", "--plain") as terminal:
        terminal.end()
        assert "\x1b" not in terminal.raw and "█" in terminal.raw and "123456789012" in terminal.raw
    with Terminal(folder, 80, "provision", "replay", named, "--timeline", "--present") as terminal:
        terminal.end()
        assert "iam::<account>:role" in terminal.text and "123456789012" not in terminal.text


def test_a_page_shows_no_account_unless_told(folder: Folder) -> None:
    run = read(folder.path / with_an_account_in_a_reason(folder))
    assert "123456789012" not in web_page(run) and "123456789012" in web_page(run, unmasked=True)


def with_an_account_in_a_reason(folder: Folder) -> str:
    """The name of a file: the first transcript, with a role's ARN in what AWS said last."""
    first = transcripts_in(folder.path / ".provision")[0].read_text()
    last = wait(1000.0, "trials", "role not yet assumable", elapsed=990.0, words=f"{ROLE} cannot be assumed")
    (folder.path / "run.jsonl").write_text(f"{first}{json.dumps(last)}\n")
    return "run.jsonl"


def test_a_timeline_is_for_the_screen_alone(folder: Folder) -> None:
    both = folder.run("provision", "replay", "--timeline", "--html", "x.html")
    assert both.returncode == outcome.USAGE


# Runs as they would be on AWS, by hand.

HEADER = {
    "program": "provision",
    "started": "2026-11-24T10:00:00.000+00:00",
    "account": "123456789012",
    "region": "us-east-1",
    "partition": "aws",
    "deployment": "poc-1",
    "endpoint": None,
    "learner": None,
    "as_written": False,
    "runtime": "python3.13",
}


def recording(*events: dict[str, Any], **header: Any) -> Recording:
    return Recording({**HEADER, **header}, list(events))


def call(number: int, at: float, took: float, step: str, *, read: bool = False) -> dict[str, Any]:
    return {
        "type": "call",
        "at": at,
        "seconds": took,
        "step": step,
        "key": step,
        "number": number,
        "service": "lambda",
        "operation": "CreateFunction",
        "read": read,
        "parameters": {},
        "answer": {},
        "error": None,
        "sent": 1,
    }


def wait(
    at: float, step: str, reason: str, *, elapsed: float = 0.0, call: int | None = None, words: str = ""
) -> dict[str, Any]:
    return {
        "type": "wait",
        "at": at,
        "step": step,
        "reason": reason,
        "means": "It passes.",
        "words": words,
        "elapsed": elapsed,
        "budget": 120.0,
        "call": call,
    }


def step(at: float, name: str) -> dict[str, Any]:
    return {"type": "step", "at": at, "step": name}


def done(at: float, name: str) -> dict[str, Any]:
    return {"type": "done", "at": at, "step": name, "happened": []}


def ended(at: float, code: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "ended", "at": at, "exit_code": code, "calls": 0, "writes": 0, **more}


def refused_four_times() -> list[dict[str, Any]]:
    """A function that is made at the fifth try, with a pause of two seconds before each but the first."""
    events = [step(1.0, "function")]
    for number in range(4):
        at = 1.0 + 2.1 * number
        events += [call(number + 1, at, 0.1, "function"), wait(at + 0.1, "function", "role", elapsed=2.1 * number)]
    return [*events, call(5, 9.4, 0.6, "function"), done(10.0, "function"), ended(10.0)]


def test_a_call_that_is_tried_again_is_a_wait_with_calls_in_it() -> None:
    shown = timeline(recording(*refused_four_times()))
    add_up(shown)
    ((took, row, _),) = shown.longest("wait")
    assert took == pytest.approx(8.0) and sum(piece.kind == "wait" for piece in row.pieces) == 4
    assert shown.seconds_of("call") == pytest.approx(1.0) and shown.seconds_of("rest") == pytest.approx(1.0)
    assert shown.rows[-1].end - shown.rows[-1].start == pytest.approx(9.0)


def test_a_wait_inside_a_call_is_not_also_the_calls_time() -> None:
    inside = [wait(1.2 + 2 * number, "queue", "blocked", elapsed=0.2 + 2 * number, call=1) for number in range(30)]
    shown = timeline(recording(step(1.0, "queue"), *inside, call(1, 1.0, 61.0, "queue"), done(62.0, "queue")))
    add_up(shown)
    ((took, _, _),) = shown.longest("wait")
    assert took == pytest.approx(60.8)
    assert shown.seconds_of("call") == pytest.approx(0.2)


def test_a_waiter_tells_after_its_pause_and_what_is_waited_for_twice_is_told_once() -> None:
    looks = [
        step(0.0, "table"),
        call(1, 0.0, 0.1, "table", read=True),
        wait(2.0, "table", "ready", elapsed=2.0),
        call(2, 2.0, 0.1, "table", read=True),
        call(3, 5.0, 0.1, "table", read=True),
        wait(8.0, "table", "ready", elapsed=3.0),
        call(4, 8.0, 0.1, "table", read=True),
        done(8.1, "table"),
    ]
    shown = timeline(recording(*looks))
    add_up(shown)
    assert [round(took, 1) for took, _, _ in shown.longest("wait")] == [4.8]


def test_what_a_person_takes_to_read_is_left_out_and_said() -> None:
    events = [step(1.0, "table"), call(1, 1.0, 1.0, "table"), done(2.0, "table")]
    events += [step(1202.0, "queue"), call(2, 1202.0, 1.0, "queue"), done(1203.0, "queue"), ended(1203.0)]
    shown = timeline(recording(*events))
    add_up(shown)
    assert shown.pauses == [1200.0] and shown.length == pytest.approx(3.0)
    assert shown.rows[-1].start == pytest.approx(2.0)
    total, left_out = shown.remarks()
    assert "pauses 1200 s" in total and "left out of the table" in left_out


def test_silence_inside_a_step_is_no_pause() -> None:
    shown = timeline(recording(step(1.0, "table"), call(1, 40.0, 1.0, "table"), done(41.0, "table"), ended(41.0)))
    assert shown.pauses == [] and shown.length == pytest.approx(41.0)


def test_a_run_that_was_killed_or_failed_says_where() -> None:
    events = refused_four_times()[:-2]
    killed = timeline(recording(*events))
    assert "killed in 5 Function" in [*killed.remarks()][1]
    stop = {"what": f"An error occurred: {ROLE}", "means": "", "advice": []}
    failed = timeline(recording(*events, ended(10.0, 254, stop=stop)))
    assert [*failed.remarks()][1:] == [f"Stopped in 5 Function: An error occurred: {ROLE}"]
    assert [*timeline(recording(*refused_four_times())).remarks()][1:] == []


def test_a_very_long_wait_beside_short_calls_hides_none_of_them() -> None:
    inside = wait(1.001, "queue", "blocked", elapsed=0.0, call=2)
    events = [step(0.0, "table"), call(1, 0.0, 0.002, "table"), done(0.01, "table"), step(0.02, "queue"), inside]
    events += [call(2, 1.0, 5000.0, "queue"), done(5001.0, "queue"), step(5001.0, "stage")]
    shown = timeline(recording(*events, call(3, 5001.0, 0.002, "stage"), done(5001.01, "stage"), ended(5001.1)))
    for width in (60, 80, 200):
        lines = drawn(shown, width).splitlines()
        made, queue, stage = (next(one for one in lines if one.startswith(begin)) for begin in "348")
        assert BLOCKS["call"] in made and BLOCKS["wait"] in queue and BLOCKS["call"] in stage
        assert queue.count(BLOCKS["wait"]) >= 10 and stage.count(BLOCKS["call"]) == 1


def drawn(shown: Timeline, width: int, encoding: str = "utf-8") -> str:
    """The table as a console of that encoding prints it."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    Console(file=file, width=width).print(table(shown, width))
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def test_a_run_of_which_nothing_but_the_beginning_is_there_is_drawn() -> None:
    shown = timeline(recording())
    add_up(shown)
    assert "Total" in drawn(shown, 60)
    web_page(recording())


# Any run at all.

STEP_NAMES = [one.name for one in STEPS]
times = st.floats(0, 5000, allow_nan=False).map(lambda value: round(value, 4))


@st.composite
def any_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events in the order of their times, or in none; waits of calls that there are, and that there are not."""
    events: list[dict[str, Any]] = []
    now = 0.0
    in_order = draw(st.booleans())
    for number in range(draw(st.integers(0, 25))):
        now = now + draw(times) / draw(st.sampled_from([1, 100, 10_000])) if in_order else draw(times)
        name = draw(st.sampled_from([*STEP_NAMES, "trials", ""]))
        kind = draw(st.sampled_from(["step", "done", "call", "call", "wait", "trial"]))
        if kind == "call":
            events.append(call(number, now, draw(times) / 100, name, read=draw(st.booleans())))
        elif kind == "wait":
            about = draw(st.none() | st.integers(0, 25))
            reason = draw(st.sampled_from(["one", "another"]))
            events.append(wait(now, name, reason, elapsed=draw(times) / 10, call=about, words=draw(st.text())))
        elif kind == "trial":
            events.append({"type": "trial", "at": now, "title": "t", "saw": "s"})
        elif name in STEP_NAMES:
            events.append(step(now, name) if kind == "step" else done(now, name))
    if draw(st.booleans()):
        events.append(ended(now, draw(st.sampled_from([0, 1]))))
    return events


@settings(max_examples=150, deadline=None)
@given(any_events(), st.integers(60, 220), st.sampled_from(["utf-8", "cp1252", "ascii"]))
def test_bars_never_overflow_and_times_always_add_up(events: list[dict[str, Any]], width: int, encoding: str) -> None:
    shown = timeline(recording(*events))
    add_up(shown)
    lines = drawn(shown, width, encoding).splitlines()
    assert max(map(len, lines)) <= width
    for row in shown.rows:
        bar = cells(row, shown.length, 40)
        assert len(bar) == 40 and (not row.pieces or {"call", "wait"} & set(bar))


def test_no_text_is_markup() -> None:
    evil = "</title><script>alert(1)</script>\x00\x1b[/red]"
    events = refused_four_times()
    for event in events:
        if event["type"] == "wait":
            event["reason"], event["words"] = f"role {evil}", evil
    run = recording(*events)
    text = web_page(run)
    assert text.count("<script") == 1
    assert text.count('title="wait, 2.0 s: role &lt;/title&gt;') == 4
    assert 'title="call, 0.6 s: lambda CreateFunction"' in text


def test_the_longest_label_leaves_room_for_bars() -> None:
    hop = {"type": "hop", "at": 2.0, "route": f"POST /{'x' * 60}/queue", "place": "table", "after": 1.0, "took": None}
    shown = timeline(recording(call(1, 1.0, 1.0, "trace"), hop, ended(2.0), program="trace"))
    assert max(map(len, drawn(shown, 60).splitlines())) <= 60 and BLOCKS["call"] in drawn(shown, 60)
