"""Where the time of a run went: nothing is counted twice, nothing is lost, and nothing is wider than its room."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from provision import STEPS
from provision.record.recording import Recording, masked, read, transcripts_in
from provision.replay.chart import BLOCKS, as_svg, as_text, bar, lines_of, remarks, summary
from provision.replay.timeline import Timeline, timeline
from provision.terminal import outcome
from tests.rig.programs import DEAD, Folder
from tests.rig.terminal import Terminal

SVG = "{http://www.w3.org/2000/svg}"
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
    parts = shown.in_calls + shown.in_waits + shown.in_the_rest + sum(shown.pauses)
    assert parts == pytest.approx(shown.recording.seconds, abs=1e-6)
    assert shown.seconds == pytest.approx(shown.recording.seconds, abs=1e-6)
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
        assert sum(len(row.calls) for row in shown.rows) == recording.ended["calls"]  # type: ignore[index]
        assert sum(row.writes for row in shown.rows) == recording.ended["writes"]  # type: ignore[index]
        assert shown.in_calls == pytest.approx(sum(call["seconds"] for call in recording.calls), abs=0.01)


def test_the_rows_of_each_program_are_what_it_did(folder: Folder) -> None:
    built, traced, removed = ([row.title for row in timeline(run).rows] for run in runs(folder))
    steps = [f"{step.number} {step.title}" for step in STEPS]
    assert built == ["Before the steps", *steps, "Tests of the result"]
    assert traced == ["Before it sends", "POST /dynamodbmanager", "POST /dynamodbmanager/queue"]
    assert removed == ["Before it deletes", *reversed(steps), "Proof that nothing is left"]


def test_in_a_pipe_the_chart_has_eighty_columns_and_asks_nobody(folder: Folder) -> None:
    ended = folder.run("provision", "replay", "--timeline", AWS_ENDPOINT_URL=DEAD, COLUMNS="200")
    assert ended.returncode == outcome.DONE and ended.stderr == ""
    chart = ended.stdout.split("\n\n")[1]
    assert max(map(len, chart.splitlines())) <= 80 and "█" in chart and "\x1b" not in ended.stdout
    assert "5 Function" in chart and "Total" in chart


def test_an_old_encoding_gets_ascii(folder: Folder) -> None:
    ended = folder.run("provision", "replay", "--timeline", PYTHONIOENCODING="cp1252")
    assert ended.returncode == outcome.DONE and ended.stdout.isascii() and "##" in ended.stdout


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_in_a_terminal_no_line_of_the_chart_is_as_wide_as_the_window(folder: Folder, columns: int) -> None:
    with Terminal(folder, columns, "provision", "replay", "--timeline") as terminal:
        assert terminal.end() == outcome.DONE
        assert max(map(len, terminal.lines)) < columns
        widest = max(len(line) for line in terminal.lines if "┬" in line)
        assert widest == columns - 1
        assert ("4 Queue with access policy" in terminal.text.split("The longest")[0]) == (columns == 200)
        assert re.search(r"\x1b\[[\d;]*34m█", terminal.raw)


def test_plain_has_no_colour_and_present_no_account(folder: Folder) -> None:
    named = with_an_account_in_a_reason(folder)
    with Terminal(folder, 80, "provision", "replay", named, "--timeline", "--plain") as terminal:
        terminal.end()
        assert "\x1b" not in terminal.raw and "█" in terminal.raw and "123456789012" in terminal.raw
    with Terminal(folder, 80, "provision", "replay", named, "--timeline", "--present") as terminal:
        terminal.end()
        assert "iam::<account>:role" in terminal.text and "123456789012" not in terminal.text


def test_a_picture_is_written_and_shows_no_account_unless_told(folder: Folder) -> None:
    named = with_an_account_in_a_reason(folder)
    for more, is_there in (((), False), (("--unmasked",), True)):
        ended = folder.run("provision", "replay", named, "--timeline", "out.svg", *more)
        assert ended.returncode == outcome.DONE and ended.stdout == "", ended.stderr
        assert ("123456789012" in (folder.path / "out.svg").read_text(encoding="utf-8")) == is_there


def with_an_account_in_a_reason(folder: Folder) -> str:
    """The name of a file: the first transcript, with a role's ARN in what AWS said last."""
    first = transcripts_in(folder.path / ".provision")[0].read_text()
    last = wait(1000.0, "trials", "role not yet assumable", elapsed=990.0, words=f"{ROLE} cannot be assumed")
    (folder.path / "run.jsonl").write_text(f"{first}{json.dumps(last)}\n")
    return "run.jsonl"


def test_a_transcript_is_never_overwritten_by_its_picture(folder: Folder) -> None:
    path = transcripts_in(folder.path / ".provision")[0]
    before = path.read_bytes()
    refused = folder.run("provision", "replay", "--timeline", str(path))
    assert refused.returncode == outcome.USAGE and "comes before it" in refused.stderr
    assert path.read_bytes() == before
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
    (one,) = shown.waits
    assert one.seconds == pytest.approx(8.0) and one.during == "" and len(one.pieces) == 4
    assert shown.in_calls == pytest.approx(1.0) and shown.in_the_rest == pytest.approx(1.0)
    assert shown.rows[-1].seconds == pytest.approx(9.0)


def test_a_wait_inside_a_call_is_not_also_the_calls_time() -> None:
    inside = [wait(1.2 + 2 * number, "queue", "blocked", elapsed=0.2 + 2 * number, call=1) for number in range(30)]
    shown = timeline(recording(step(1.0, "queue"), *inside, call(1, 1.0, 61.0, "queue"), done(62.0, "queue")))
    add_up(shown)
    (one,) = shown.waits
    assert one.seconds == pytest.approx(60.8) and one.during == "lambda CreateFunction"
    assert shown.in_calls == pytest.approx(0.2)


def test_a_waiter_tells_after_its_pause_and_two_waits_for_the_same_are_two() -> None:
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
    assert sorted(round(one.seconds, 1) for one in shown.waits) == [1.9, 2.9]


def test_what_a_person_takes_to_read_is_left_out_and_said() -> None:
    events = [step(1.0, "table"), call(1, 1.0, 1.0, "table"), done(2.0, "table")]
    events += [step(1202.0, "queue"), call(2, 1202.0, 1.0, "queue"), done(1203.0, "queue"), ended(1203.0)]
    shown = timeline(recording(*events))
    add_up(shown)
    assert shown.pauses == [1200.0] and shown.length == pytest.approx(3.0)
    assert shown.rows[-1].start == pytest.approx(2.0)
    assert "One pause of 1200 s" in remarks(shown)[0] and "pauses 1200 s" in summary(shown)


def test_silence_inside_a_step_is_no_pause() -> None:
    shown = timeline(recording(step(1.0, "table"), call(1, 40.0, 1.0, "table"), done(41.0, "table"), ended(41.0)))
    assert shown.pauses == [] and shown.length == pytest.approx(41.0)


def test_a_run_that_was_killed_or_failed_says_where() -> None:
    events = refused_four_times()[:-2]
    killed = timeline(recording(*events))
    assert "killed in 5 Function" in remarks(killed)[0]
    stop = {"what": f"An error occurred: {ROLE}", "means": "", "advice": []}
    failed = timeline(recording(*events, ended(10.0, 254, stop=stop)))
    assert remarks(failed) == [f"Stopped in 5 Function: An error occurred: {ROLE}"]
    assert "Stopped" in as_svg(failed) and 'class="stopped"' in as_svg(failed)
    assert remarks(timeline(recording(*refused_four_times()))) == []


def test_a_very_long_wait_beside_short_calls_hides_none_of_them() -> None:
    inside = wait(1.001, "queue", "blocked", elapsed=0.0, call=2)
    events = [step(0.0, "table"), call(1, 0.0, 0.002, "table"), done(0.01, "table"), step(0.02, "queue"), inside]
    events += [call(2, 1.0, 5000.0, "queue"), done(5001.0, "queue"), step(5001.0, "stage")]
    shown = timeline(recording(*events, call(3, 5001.0, 0.002, "stage"), done(5001.01, "stage"), ended(5001.1)))
    for width in (60, 80, 200):
        table, queue, waited, stage = as_text(shown, width=width).plain.splitlines()[2:6]
        assert BLOCKS.call in table and BLOCKS.call in stage and BLOCKS.wait in queue and BLOCKS.wait in waited
        assert queue.count(BLOCKS.wait) > 10 and stage.count(BLOCKS.call) == 1


@pytest.mark.parametrize("length", [0.0, 0.003, 0.9, 59.0, 7200.0, 400_000.0])
def test_an_axis_names_as_many_times_as_there_is_room_for(length: float) -> None:
    shown = timeline(recording(step(0.0, "table"), call(1, 0.0, length, "table"), done(length, "table"), ended(length)))
    for width in (60, 80, 200):
        labels, ruler = as_text(shown, width=width).plain.splitlines()[:2]
        times = re.findall(r"[\d.]+ (?:s|min|h)\b", labels.split("writes")[1])
        assert 1 <= len(times) <= 11 and len(ruler) <= width and (length == 0 or len(times) > 1)


def test_a_run_of_which_nothing_but_the_beginning_is_there_is_drawn() -> None:
    shown = timeline(recording())
    add_up(shown)
    assert "Total" in as_text(shown, width=60).plain
    check_svg(shown)


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
    drawn = as_text(shown, width=width, encoding=encoding)
    assert isinstance(drawn, Text) and max(map(len, drawn.plain.splitlines())) <= width
    drawn.plain.encode(encoding)
    for line in lines_of(shown):
        cells = bar(line, shown.length, 40)
        assert len(cells) == 40
        assert not line.pieces or any(cells)
    check_svg(shown)


# As a picture.


def words_of(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def boxes_of(root: ElementTree.Element) -> list[tuple[str, float, float, float, float]]:
    """Each text with the place that it takes up: left, top, right, bottom; by an estimate of its characters."""
    found = []
    for text in root.iter(f"{SVG}text"):
        words, kind = text.text or "", text.get("class")
        size = 18 if kind == "title" else 13
        wide = len(words) * size * 0.56
        x, y = float(text.get("x", "0")), float(text.get("y", "0"))
        left = x - wide if kind == "number" else x
        found.append((words, left, y - size * 0.8, left + wide, y + size * 0.2))
    return found


def check_svg(shown: Timeline) -> None:
    """Well formed, self-contained, inside its own edges; no text upon another."""
    svg = as_svg(shown)
    root = words_of(svg)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    assert root.find(f"{SVG}title") is not None and root.find(f"{SVG}desc") is not None
    assert not list(root.iter(f"{SVG}script")) and not re.search(r"href|src=|url\((?!#)|@import", svg)
    texts = boxes_of(root)
    for words, left, top, right, bottom in texts:
        assert left >= 0 and top >= 0 and right <= width and bottom <= height, words
    for number, (words, left, top, right, bottom) in enumerate(texts):
        for other, other_left, other_top, other_right, other_bottom in texts[number + 1 :]:
            apart = right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
            assert apart, f"{words!r} is upon {other!r}"
    for rect in root.iter(f"{SVG}rect"):
        x, y = float(rect.get("x", "0")), float(rect.get("y", "0"))
        assert x >= 0 and x + float(rect.get("width", "0")) <= width + 0.1
        assert y >= 0 and y + float(rect.get("height", "0")) <= height


def test_the_picture_of_each_run_is_well_formed_and_nothing_lies_upon_anything(folder: Folder) -> None:
    for one in runs(folder):
        check_svg(timeline(masked(one)))


def test_each_bar_says_what_it_is_and_no_text_is_markup() -> None:
    evil = "</title><script>alert(1)</script>\x00\x1b\ud800"
    events = refused_four_times()
    for event in events:
        if event["type"] == "wait":
            event["reason"], event["words"] = f"role {evil}", evil
    shown = timeline(recording(*events))
    check_svg(shown)
    titles = [title.text or "" for title in words_of(as_svg(shown)).iter(f"{SVG}title")]
    assert sum(title.startswith("wait, 2.0 s: role </title>") for title in titles) == 8  # in its step, and by itself
    assert "call, 0.6 s: lambda CreateFunction" in titles


def test_the_check_sees_texts_that_overlap_and_overflow() -> None:
    root = words_of(as_svg(timeline(recording(*refused_four_times()))))
    first, second = list(root.iter(f"{SVG}text"))[:2]
    second.set("y", str(float(first.get("y", "0")) + 3))
    (_, _, top, _, bottom), (_, _, other_top, _, _) = boxes_of(root)[:2]
    assert top < other_top < bottom
    first.text = "x" * 200
    assert boxes_of(root)[0][3] > float(root.get("viewBox", "").split()[2])


def test_a_runs_picture_is_dark_in_the_dark_and_light_on_paper() -> None:
    svg = as_svg(timeline(recording(*refused_four_times())))
    assert svg.index("prefers-color-scheme: dark") < svg.index("@media print")  # what comes later wins


def test_the_longest_label_leaves_room_for_bars(tmp_path: Path) -> None:
    hop = {"type": "hop", "at": 2.0, "route": f"POST /{'x' * 60}/queue", "place": "table", "after": 1.0, "took": None}
    shown = timeline(recording(call(1, 1.0, 1.0, "trace"), hop, ended(2.0), program="trace"))
    check_svg(shown)
    assert max(map(len, as_text(shown, width=60).plain.splitlines())) <= 60
