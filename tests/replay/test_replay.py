"""A run is played again: the same pages, in a pipe at once, in a terminal as the person wants it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision import STEPS
from provision.record.fields import FIELDS
from provision.record.recording import NoTranscript, Recording, read, transcripts_in
from provision.replay.command import last_built
from provision.replay.player import Player, Show, print_all, times
from provision.replay.scenes import existing, scenes
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.command_line import CommandLine
from tests.rig.emulator import Emulator, text
from tests.rig.programs import DEAD, Folder
from tests.rig.screens import memory_screen
from tests.rig.terminal import ESCAPE, Terminal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """Built, taken down, and the sandbox gone: nothing but transcripts is left."""
    with Folder(tmp_path_factory.mktemp("replay")) as made:
        made.built = made.run("provision", "--sandbox", "--verbose")  # type: ignore[attr-defined]
        assert made.run("teardown", "--sandbox").returncode == 0
        yield made


def transcripts(folder: Folder) -> list[Path]:
    return transcripts_in(folder.path / ".provision")


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_in_a_pipe_the_whole_run_is_printed_as_it_was(folder: Folder) -> None:
    replayed = folder.run("provision", "replay", AWS_ENDPOINT_URL=DEAD)  # whoever asked AWS would fail
    assert replayed.returncode == outcome.DONE, replayed.stderr
    assert replayed.stderr == ""
    played = lines_of(replayed.stdout)
    live = lines_of(folder.built.stderr)  # type: ignore[attr-defined]
    words = ("created", "erratum", "Done:", "OK", "status 200", "waiting")
    assert [line for line in live if line.startswith(words)] == [line for line in played if line.startswith(words)]
    assert len([line for line in live if line.startswith("created")]) == 16
    assert [line for line in played if line.startswith("Step ")] == [
        f"Step {step.number} of 8: {step.title}" for step in STEPS
    ]


def test_faces_are_shown_when_asked_for(folder: Folder) -> None:
    plain = folder.run("provision", "replay").stdout
    faces = folder.run("provision", "replay", "--faces").stdout
    assert "aws dynamodb create-table" not in plain
    assert "aws dynamodb create-table" in faces and "dynamodb.create_table(" in faces
    assert "DynamoDB > Tables > Create table" in faces


def test_a_teardown_is_played_too(folder: Folder) -> None:
    teardown = str(transcripts(folder)[-1])
    played = folder.run("provision", "replay", teardown).stdout
    assert played.count("deleted  ") == 16
    assert played.index("Stage") < played.index("Policies")
    assert "The proof that nothing is left" in played


def test_transcripts_are_listed_and_what_is_none_is_refused(folder: Folder, tmp_path: Path) -> None:
    shown = folder.run("provision", "replay", "--list")
    listed = shown.stdout.splitlines()
    assert len(listed) == 2 and all(len(line) < 80 for line in listed)
    assert re.fullmatch(r"  1  [-\d]{10} \d\d:\d\d UTC  provision, \d+ s, 39 writing calls, done", listed[0])
    assert listed[1].startswith("  2  ") and "teardown, " in listed[1]
    assert "python -m provision replay 2\n" in shown.stderr
    refused = folder.run("provision", "replay", str(folder.path / ".provision" / "sandbox-us-east-1.json"))
    assert refused.returncode == outcome.USAGE
    assert "is not a transcript that can be played" in refused.stderr and "Traceback" not in refused.stderr
    with Folder(tmp_path) as empty:
        nothing = empty.run("provision", "replay")
        assert nothing.returncode == outcome.LEFT
        assert "There is no transcript" in nothing.stderr


def test_a_run_is_named_by_its_number_in_the_list(folder: Folder) -> None:
    by_number, by_file = (
        folder.run("provision", "replay", run, "--timeline").stdout for run in ("2", str(transcripts(folder)[1]))
    )
    assert by_number == by_file != folder.run("provision", "replay", "1", "--timeline").stdout
    unknown = folder.run("provision", "replay", "3")
    assert unknown.returncode == outcome.USAGE and "There is no run 3." in unknown.stderr
    assert "python -m provision replay --list" in unknown.stderr
    (folder.path / "2").write_bytes(transcripts(folder)[0].read_bytes())  # a file of that name is what was meant
    assert folder.run("provision", "replay", "2", "--timeline").stdout != by_number
    (folder.path / "2").unlink()


def test_the_runs_of_a_learner_are_told_from_those_of_others(folder: Folder, tmp_path: Path) -> None:
    header, *lines = transcripts(folder)[0].read_text(encoding="utf-8").splitlines(keepends=True)
    runs = tmp_path / ".provision" / "transcripts"
    with Folder(tmp_path) as several:
        for number, learner in enumerate(("anna", "ben", "anna", None)):
            path = runs / f"sandbox-us-east-1-{learner}" / f"2026010{number}-000000-000-provision.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            first = json.dumps({**json.loads(header), "learner": learner, "started": f"2026-01-0{number}T00:00:00.0"})
            path.write_text(f"{first}\n{''.join(lines)}", encoding="utf-8")
        of_anna = several.run("provision", "replay", "--list", "--learner", "anna").stdout
        assert re.findall(r"(?m)^ +(\d)  2026", of_anna) == ["1", "3"]  # as in the list of all
        assert re.findall(r"(?m)^ +(\d)  2026", several.run("provision", "replay", "--list").stdout) == list("1234")
        played = several.run("provision", "replay", "--learner", "anna").stdout
        assert "of 2026-01-02 00:00" in played and "POC-Lambda-1-anna" in played
        nobody = several.run("provision", "replay", "--learner", "ana")
        assert nobody.returncode == outcome.LEFT
        assert "There is no run of the learner ana" in nobody.stderr and "Did you mean anna?" in nobody.stderr
        assert "There are runs of anna, ben." in nobody.stderr


def test_a_file_that_somebody_wrote_in_is_refused_by_name_and_field(folder: Folder) -> None:
    header, *events = map(json.loads, transcripts(folder)[0].read_text(encoding="utf-8").splitlines())
    first = {event["type"]: event for event in events}
    for type_, field in ((type_, field) for type_, fields in FIELDS.items() for field in fields):
        whole = header if type_ == "transcript" else first.get(type_)
        if whole is None:
            assert type_ in ("removed", "hop", "wait")  # a quick machine waits for nothing
            continue
        spoilt = {name: value for name, value in whole.items() if name != field}
        lines = [spoilt] if type_ == "transcript" else [header, spoilt]
        file = folder.path / "spoilt.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        with pytest.raises(NoTranscript, match=r"spoilt\.jsonl"):
            read(file)
    refused = folder.run("provision", "replay", "spoilt.jsonl", "--html", "page.html")
    assert refused.returncode == outcome.USAGE
    assert "a line of the type ended has no writes" in refused.stderr and "defect" not in refused.stderr
    for path in transcripts(folder):
        read(path)


@pytest.mark.once_more
def test_in_a_terminal_it_goes_where_the_person_wants(folder: Folder) -> None:
    with Terminal(folder, 100, "provision", "replay", "--speed", "16") as player:
        player.read_until("the end")  # of the recording; the player waits for a key
        assert "\x1bP" not in player.raw  # it asks the terminal nothing: not each understands, and one answers late
        player.read_until("status 200")
        player.ask(" ", "paused")  # first of all: the recording would go on from wherever one goes
        player.ask("3", "Step 3 of 8: Table")
        player.ask("n", "Step 4 of 8: ")
        player.ask("b", "Step 3 of 8: ")
        player.ask("\x1b[C", "Step 4 of 8: ")  # the arrow keys
        player.ask("\x1b[D", "Step 3 of 8: ")
        assert "dynamodb CreateTable" in player.ask(".", "CreateTable")
        assert "DynamoDB > Tables" in player.ask("f", "TableStatus")
        assert "dynamodb.create_table(" in player.ask("f", "TableStatus")
        assert "aws dynamodb create-table" in player.ask("f", "TableStatus")
        assert "x8 " in player.ask("-", "x8 ")
        assert "┆ POC-Lambda-1 ┆" in player.ask("d", "API's role")  # not there yet
        assert not re.search("For the presenter|In the console|The answer", player.text)
        player.ask("p", "For the presenter")
        assert "Why now" in player.ask("t", "To think about")
        player.ask("a", "The answer")
        player.ask("?", "show the calls as console")
        player.type("q")
        assert player.end() == outcome.DONE


@pytest.mark.once_more
def test_for_an_audience_it_takes_keys_too_and_shows_no_account_and_no_id(folder: Folder) -> None:
    ids = {
        entry["entry"]["outputs"]["id"]
        for entry in read(transcripts(folder)[0]).of("entry")
        if entry["entry"]["outputs"].get("id")
    }
    with Terminal(folder, 100, "provision", "replay", "--present", "--faces", "--speed", "16") as player:
        player.read_until("Step 1 of 8")
        player.ask(" ", "paused")
        player.ask("7", "Step 7 of 8")
        player.ask(" ", "Step 8 of 8", seconds=90)
        shown = player.text
        player.type("q")
        assert player.end() == outcome.DONE
    assert "<account>" in shown and "<id of api>" in shown
    assert "123456789012" not in shown and len(ids) > 5 and not any(one in shown for one in ids)


@pytest.mark.once_more
def test_ctrl_c_ends_it_at_once_without_a_word(folder: Folder) -> None:
    with Terminal(folder, 100, "provision", "replay") as player:
        player.read_until("Step 1 of 8")
        player.interrupt()
        assert player.end() == outcome.INTERRUPTED
        assert "call in flight" not in player.text and "Interrupted" not in player.text
        assert "Traceback" not in player.text


@pytest.mark.once_more
def test_what_is_only_coloured_like_a_terminal_is_played_at_once(folder: Folder) -> None:
    """FORCE_COLOR makes of a pipe what it is not; there nobody would see the player, and it would wait for a key."""
    shell = ("sh", "-c", f"'{folder.python}' -m provision replay | cat")
    for variable in ({"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}):
        with Terminal(folder, 100, program=shell, **variable) as terminal:
            assert terminal.end() == outcome.DONE
            assert "of them writing" in terminal.text and "playing" not in terminal.text
    with Terminal(folder, 100, "provision", "replay", TERM="dumb") as terminal:
        assert terminal.end() == outcome.DONE
        assert "of them writing" in terminal.text


@pytest.mark.once_more
@pytest.mark.parametrize("refolds", [False, True], ids=["cuts off", "folds anew"])
def test_a_window_of_another_size_is_drawn_anew(folder: Folder, refolds: bool) -> None:
    emulator = Emulator(100, 30)
    with Terminal(folder, 100, "provision", "replay", rows=30) as player:
        player.read_until("Step 1 of 8")
        emulator.feed(player.written)  # the rest of this page is wiped with it
        for keys, until in ((" ", "paused"), ("3", "attributes of its own"), (".", "CreateTable")):
            player.ask(keys, until)
            player.read_until("paused")
            player.read_until_quiet()
            emulator.feed(player.written)
        for columns, key in ((60, "?: keys"), (140, "+ -: speed")):
            emulator.change(columns, 30, refolds=refolds)
            player.written = b""
            player.resize(columns, 30)
            player.read_until(key)
            player.read_until_quiet()
            emulator.feed(player.written)
            rows = text(emulator.rows[-30:], coloured=False)
            assert rows.count("paused") == 1 and rows.count("Step 3 of 8") == 1, rows
            assert rows.count("CreateTable") == 1
        player.type("q")
        assert player.end() == outcome.DONE


def test_what_is_no_speed_is_refused_and_any_other_is_kept(folder: Folder) -> None:
    for speed in ("0", "-1", "nan", "inf"):
        refused = folder.run("provision", "replay", "--speed", speed)
        assert refused.returncode == outcome.USAGE and "is not above 0" in refused.stderr
    player, _ = play(STORY, [], speed=3)
    assert player.speed == 3
    player, _ = play(STORY, [(0.1, "+")], speed=3)
    assert player.speed == 4
    player, _ = play(STORY, [(0.1, "-")], speed=3)
    assert player.speed == 2
    player, _ = play(STORY, [(0.1, "+"), (0.2, "+")], speed=16)
    assert player.speed == 16


def test_for_an_audience_each_step_says_how_long_it_took(folder: Folder) -> None:
    played = folder.run("provision", "replay", "--present").stdout
    run = read(transcripts(folder)[0])
    begun = {event["step"]: event["at"] for event in run.of("step")}
    took = [f"{done['at'] - begun[done['step']]:.1f} s" for done in run.of("done")]
    assert re.findall(r"(?m)^    took +(\d.*)$", played) == took and len(took) == 8
    assert "    took " not in folder.run("provision", "replay").stdout


@pytest.mark.once_more
def test_colour_goes_by_the_flag_then_by_no_color_then_by_the_terminal(folder: Folder) -> None:
    assert "\x1b[" not in folder.run("provision", "replay").stdout
    coloured = folder.run("provision", "replay", "--color", "always", NO_COLOR="1").stdout
    assert "\x1b[32m" in coloured
    assert ESCAPE.sub("", coloured) == folder.run("provision", "replay").stdout  # nothing else is different
    for arguments, environ in (((), {"NO_COLOR": "1"}), (("--color", "never"), {}), (("--plain",), {})):
        with Terminal(folder, 100, "provision", "replay", "--list", *arguments, **environ) as terminal:
            terminal.end()
            assert not re.search(r"\x1b\[[\d;]*3\dm", terminal.raw)


def test_who_asks_for_plain_text_by_accessible_gets_it(folder: Folder) -> None:
    assert "\x1b[" not in folder.run("provision", "replay", "--color", "always", ACCESSIBLE="1").stdout


@pytest.mark.once_more
def test_without_colour_or_movement_nothing_is_asked(folder: Folder) -> None:
    with Terminal(folder, 100, "provision", "replay", "--plain") as player:
        assert player.end() == outcome.DONE
        assert "\x1b" not in player.raw
        assert "of them writing" in player.text


# The player itself, with a clock of its own.


def play(recording: Recording, keys: list[tuple[float, str]], *, speed: float = 1.0) -> tuple[Player, str]:
    """Play with these keys at these seconds, then quit."""
    screen = memory_screen()
    now = [0.0]
    left = [*keys]

    def next_key(seconds: float) -> str:
        now[0] += seconds
        if left and left[0][0] <= now[0]:
            return left.pop(0)[1]
        return "" if left else "q"

    player = Player(Show(recording, screen), next_key, speed=speed, clock=lambda: now[0])
    player.play(lambda state: None)
    return player, screen.talk.file.getvalue()  # type: ignore[attr-defined]


def recording(*events: dict[str, Any]) -> Recording:
    header = {
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
    return Recording(header, list(events))


def call(at: float, step: str, operation: str) -> dict[str, Any]:
    return {
        "type": "call",
        "at": at,
        "seconds": 0.1,
        "step": step,
        "key": step,
        "number": 1,
        "service": "dynamodb",
        "operation": operation,
        "read": False,
        "parameters": {"TableName": "name"},
        "answer": {},
        "error": None,
        "sent": 1,
    }


STORY = recording(
    {"type": "step", "at": 0.0, "step": "table"},
    call(1.0, "table", "CreateTable"),
    {"type": "wait", "at": 2.0, "step": "table", "reason": "the table to be ready", "means": "", "words": "",
     "elapsed": 0.0, "budget": 300.0, "call": 1},
    call(62.0, "table", "UpdateTable"),
    {"type": "step", "at": 63.0, "step": "queue"},
    call(64.0, "queue", "TagResource"),
    {"type": "ended", "at": 65.0, "exit_code": 0, "calls": 3, "writes": 3},
)  # fmt: skip


def test_it_keeps_the_time_of_the_run_and_shortens_long_silences() -> None:
    due = times(scenes(STORY))
    assert [round(one, 1) for one in due[0]] == [0.0, 1.1, 2.0, 7.0]  # 60 s of silence became five
    assert due[-1][-1] < 12
    _, early = play(STORY, [(1.5, " ")])
    assert "CreateTable" in early and "the table to be ready" not in early
    _, later = play(STORY, [(3.0, " ")])
    assert "the table to be ready" in later and "UpdateTable" not in later


def test_it_plays_faster_and_to_the_end() -> None:
    player, text = play(STORY, [(2.0, " ")], speed=16)
    assert "TagResource" in text and "3 API calls" in text
    assert player.now == player.length


def test_it_goes_to_a_step_and_back_by_one_event() -> None:
    player, text = play(STORY, [(0.1, "4"), (0.2, "."), (0.3, "b"), (0.4, ".")])
    assert player.scenes[player.scene].step == STEPS[2]
    assert text.count("Step 4 of 8") == 1 and text.count("CreateTable") == 1
    player, text = play(STORY, [(0.1, "."), (0.2, "."), (0.3, ",")])
    assert player.event == 2 and player.paused  # the call is shown, the wait no more
    for key in ("9", "0", "x", "KEY_F1"):  # nothing there, or no meaning
        player, _ = play(STORY, [(0.1, " "), (0.2, key)])
        assert player.scene == 0


def test_a_killed_run_says_so(tmp_path: Path) -> None:
    screen = memory_screen()
    print_all(Show(Recording(STORY.header, STORY.events[:-1]), screen))
    assert "The run was killed" in screen.talk.file.getvalue()  # type: ignore[attr-defined]


def test_a_refused_and_stopped_run_is_shown_with_its_reason(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CommandLine(sandbox, tmp_path / "ledger.json", f"r{secrets.token_hex(3)}", monkeypatch) as deployment:
        deployment.aws.dynamodb.create_table(
            TableName=deployment.settings.table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        ended = deployment.provision("--yes")
        assert ended.code == outcome.LEFT
        screen = memory_screen()
        print_all(Show(read(transcripts_in(tmp_path)[-1]), screen))
        text = screen.talk.file.getvalue()  # type: ignore[attr-defined]
        stop = json.loads(transcripts_in(tmp_path)[-1].read_text().splitlines()[-1])["stop"]
        assert stop["what"] in " ".join(text.split()) and stop["advice"][0] in text
        deployment.aws.dynamodb.delete_table(TableName=deployment.settings.table)
        deployment.take_down()


def written(folder: Path, number: int, program: str, *outcomes: str, writes: int = 0) -> Path:
    """A run's transcript, whose step made or found these resources."""
    header = {"at": 0, "type": "transcript", "version": 1, "program": program, "endpoint": None}
    header |= {"account": "123456789012", "region": "us-east-1", "deployment": "poc-1", "partition": "aws"}
    header |= {"started": "2026-11-24T10:00:00.000+00:00"}
    table = {"key": "table", "kind": "dynamodb:table", "identity": {"TableName": "name"}}
    results = [{**table, "outcome": one} for one in outcomes]
    done = {"at": 2, "type": "done", "step": "table", "happened": results}
    events = [header, done, *[call(1, "trials", "PutItem")] * writes]
    path = folder / f"{number}.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return path


def test_without_a_file_the_last_run_is_played_that_made_something(tmp_path: Path) -> None:
    runs = [
        written(tmp_path, 1, "provision", "created"),
        written(tmp_path, 2, "provision", "updated", writes=8),
        written(tmp_path, 3, "provision", "unchanged"),
        written(tmp_path, 4, "teardown", writes=16),
    ]
    assert last_built(runs, tmp_path).path == runs[0]
    assert last_built(runs[1:], tmp_path).path == runs[1]  # it changed something at least
    assert last_built(runs[2:], tmp_path).path == runs[3]
    with pytest.raises(NoTranscript):
        last_built([], tmp_path)


HOPS = [
    {"type": "hop", "at": at, "route": route, "place": place, "after": after, "took": None, "source": "", "saw": saw}
    for at, route, place, after, saw in (
        (1.0, "POST /direct", "client", 0.0, "status 200"),
        (1.2, "POST /direct", "API Gateway", None, "not visible here"),
        (2.0, "POST /direct/queue", "client", 0.0, "status 200, with a message id"),
        (3.0, "POST /direct/queue", "queue", 0.5, "the message is in the queue"),
    )
]


def test_a_followed_request_is_played_hop_by_hop() -> None:
    ended = {"type": "ended", "at": 4.0, "exit_code": 0, "calls": 0, "writes": 0}
    traced = Recording({**STORY.header, "program": "trace"}, [*HOPS, ended])
    assert [scene.title for scene in scenes(traced)] == ["POST /direct", "POST /direct/queue", "The end"]
    screen = memory_screen()
    print_all(Show(traced, screen))
    played = lines_of(screen.data.file.getvalue())  # type: ignore[attr-defined]
    assert [line for line in played if "client" in line or "queue  " in line or "visible" in line] == [
        "0.000 s  client            status 200",
        "API Gateway       not visible here",
        "0.000 s  client            status 200, with a message id",
        "0.500 s  queue             the message is in the queue",
    ]


def test_a_run_that_did_not_come_to_a_step_has_a_page() -> None:
    ended = {"type": "ended", "at": 4.0, "exit_code": 253, "calls": 0, "writes": 0}
    for program in ("provision", "trace", "teardown"):
        for events in ([], [ended]):
            empty = Recording({**STORY.header, "program": program}, events)
            assert scenes(empty)
            player, _ = play(empty, [(number / 10, key) for number, key in enumerate("nb.,dtap3", start=1)])
            assert 0 <= player.scene < len(player.scenes)


def test_what_exists_is_told_by_what_the_run_did(folder: Folder) -> None:
    build, teardown = (read(path) for path in transcripts(folder))
    there = [existing(build, scene.events) for scene in scenes(build) if scene.step]
    assert there[0] == {"write-policy", "read-policy"} and there[2] == {"table"}
    assert len(existing(build, build.events)) == 16
    assert len(existing(teardown, [])) == 16
    assert existing(teardown, []) - existing(teardown, scenes(teardown)[0].events) == {"stage"}
    assert existing(teardown, teardown.events) == set()
    killed = Recording(build.header, [one for one in build.events if one["type"] != "done"])
    assert len(existing(killed, killed.events)) == 16
    kept = {"type": "removed", "at": 9.0, "word": "kept", "key": "table", "kind": "", "identity": {}, "remark": ""}
    assert existing(teardown, [*teardown.events, kept]) == {"table"}
