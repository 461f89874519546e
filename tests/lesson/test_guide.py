"""`--step` in a real terminal: a whole lesson, with turning back, skipping, quitting, and going on later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from provision.record.recording import read, transcripts_in
from provision.terminal import outcome
from provision.terminal.prompts import in_parts
from tests.rig.lesson import LESSON, PAUSE, PROMPT, Lesson
from tests.rig.programs import Folder
from tests.rig.screens import memory_screen
from tests.rig.terminal import Terminal

pytestmark = pytest.mark.once_more


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


def entries(folder: Folder) -> list[str]:
    """The steps that the state file has resources of."""
    return list(dict.fromkeys(entry["step"] for entry in folder.state()["resources"]))


def test_a_lesson_from_its_first_page_to_its_last(folder: Folder) -> None:
    with Lesson(folder, 100) as lesson:
        first = lesson.turn()
        for words in (
            "Step 1 of 8: Policies",
            "What it is for",
            "Why now",
            "IAM > Policies",
            "┆ table name ┆",
            "Erratum 4",
        ):
            assert words in first
        assert "iam.get_policy" not in first

        calls = lesson.turn("l\n")
        assert "CreatePolicy" in calls and "Policy name:" in calls
        assert "it also calls CreatePolicyVersion, DeletePolicyVersion, TagPolicy" in " ".join(calls.split())
        (plan,) = [line.split(" -m ")[1] for line in calls.splitlines() if "--dry-run" in line]
        assert plan.endswith(" --dry-run --to 1")
        assert "aws iam create-policy" in folder.run(*plan.split()).stdout  # while the lesson goes on
        code = lesson.turn("code\n")
        assert "def provision(aws: Clients, settings: Settings, state: State)" in code
        assert "provision/policies.py" in code
        assert code.index("def provision") < code.index("aws.iam.create_policy(")
        assert "event source mapping polls the queue" in " ".join(lesson.turn("a\n").split())
        assert "Point at Resource" in lesson.turn("p\n")
        assert "'xyz' is not a choice" in lesson.ask("xyz\n", "> ")
        assert "r or Enter run this step" in lesson.turn("?\n")
        assert "the full name of a resource in AWS" in lesson.turn("w\n")
        assert not (folder.path / ".provision" / "sandbox-us-east-1.json").exists()  # nothing was made until now

        # Run it: each call when the learner is ready for it.
        face = lesson.ask("\n", "Call 1 of 2")
        assert "iam CreatePolicy" in face
        assert "IAM > Policies > Create policy" in face
        assert "iam.create_policy(\n" in face
        assert "aws iam create-policy" in face
        assert "Policy.Arn: arn:aws:iam::123456789012:policy/Lambda-Write-DynamoDB" in face
        assert "'later' is not a choice" in lesson.ask("later\n", "Call 1 of 2")
        rest = lesson.turn("\n")
        assert "Lambda-Read-SQS  (recorded, then made)" in rest
        assert "--policy-arn arn:aws:iam::123456789012:policy/Lambda-Read-SQS" in rest
        assert "Step 1 is done" in rest
        assert "AWS_ACCESS_KEY_ID" not in face and rest.count("AWS_ACCESS_KEY_ID") == 1  # once a page
        assert "    export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any\n" in rest

        # Skip the roles; the queue needs them, and offers them again.
        assert "Step 2 of 8: Roles" in lesson.turn("\n")
        assert "Step 3 of 8: Table" in lesson.turn("s\n")
        assert "Step 3 is done" in lesson.turn("r\n")
        queue = lesson.turn("n\n")
        assert "│ table name │" in queue and "┆ POC-Queue     ┆" in queue  # lit up, and not
        assert "needs what does not exist yet: step 2 (Roles)" in queue
        assert "run this step" not in queue

        # Quit, and go on later.
        quitted = lesson.ask("q\n", None)
        assert "--sandbox --step" in quitted
        assert lesson.child.wait(30) == outcome.DONE
    assert entries(folder) == ["policies", "table"]

    with Lesson(folder, 100) as lesson:
        assert "Going on with step 4" in lesson.turn()
        assert "Step 2 of 8: Roles" in lesson.turn("\n")
        lesson.ask("\n", "Call 1 of 5")
        assert "Step 2 is done" in lesson.turn("x\n")

        # Turning back deletes nothing.
        back = lesson.turn("b\n")
        assert "Step 1 of 8: Policies" in back and "This step is done." in back
        assert "teardown --sandbox --back-to 1" in back
        assert "unchanged" in lesson.turn("r\n")  # once more changes nothing

        lesson.turn("4\n")
        for step, calls in ((4, 2), (5, 3), (6, 1), (7, 16), (8, 1)):
            done = f"Step {step} is done"
            if calls > 1:
                lesson.ask("r\n", f"Call 1 of {calls}")
            lesson.ask("x\n" if calls > 1 else "r\n", done)
            lesson.read_until(PROMPT)
            if step < 8:
                assert f"Step {step + 1} of 8" in lesson.turn("n\n")
        tested = lesson.turn("t\n")
        assert tested.count("OK  ") == 5
        ended = lesson.ask("n\n", None)
        assert "Invoke URL:" in ended and "provision trace --sandbox" in ended and "replay --html" in ended
        assert lesson.child.wait(30) == outcome.DONE
    assert len(folder.state()["resources"]) == 16
    runs = [read(path) for path in transcripts_in(folder.path / ".provision")]
    assert [run.ended is not None and run.ended["exit_code"] for run in runs] == [0, 0]
    assert folder.run("provision", "--sandbox", "--no-try").stderr.count("created") == 0


def test_a_long_page_stops_at_the_end_of_a_section_wherever_the_screen_is_full(folder: Folder) -> None:
    with Lesson(folder, 80, rows=200) as lesson:
        whole = page_in(lesson.turn())
        assert lesson.stops == 0
    stops = {}
    for rows in (40, 24):
        with Lesson(folder, 80, rows=rows) as lesson:
            shown = lesson.turn()
            stops[rows] = lesson.stops
            screens = page_in(shown).split(f"\nMore of page 1. Enter: go on; e: to its end; {PAUSE}\n")
            assert "".join(screens) == whole  # nothing is lost, or said twice
            assert all(len(screen.splitlines()) <= rows for screen in screens)
            calls = lesson.turn("l\n")
            assert lesson.stops > 0 and "More of the calls" in calls
    assert 0 < stops[40] < stops[24]


def page_in(shown: str) -> str:
    """From the line above a page's title to the prompt below its choices."""
    return shown[shown.index("=====") :]


def test_at_a_stop_a_learner_reads_on_to_the_end_or_no_more(folder: Folder) -> None:
    with Lesson(folder, 80, rows=24) as lesson:
        lesson.read_until(PAUSE)
        assert "'n' is not a choice" in lesson.ask("n\n", PAUSE)
        rest = lesson.ask("e\n", PROMPT)
        assert "To think about" in rest and PAUSE not in rest
        lesson.ask("1\n", PAUSE)
        for key in ("x", "q"):  # as between the calls of a step
            assert "To think about" not in lesson.ask(f"{key}\n", PROMPT)
            lesson.ask("1\n", PAUSE)
        assert "To think about" in lesson.turn("\n") and lesson.stops > 0
        lesson.ask("q\n", None)


def test_in_a_pipe_no_page_stops() -> None:
    screen = memory_screen()
    lines = [partial(screen.say, f"part {number}") for number in range(100)]
    in_parts(screen, lines, "never asked", below=15)
    assert screen.talk.file.getvalue().split("\n")[:-1] == [  # type: ignore[attr-defined]
        f"part {number}" for number in range(100)
    ]


def test_a_latecomer_catches_up_and_a_page_taken_down_comes_again(folder: Folder) -> None:
    with Lesson(folder, 80, "--to", "2") as lesson:
        caught_up = lesson.turn()
        assert "2/8 Roles" in caught_up and "Step 3 of 8: Table" in caught_up
        lesson.ask("r\n", "Step 3 is done")
        lesson.read_until(PROMPT)
        lesson.turn("n\n")
        lesson.ask("q\n", None)
    assert folder.run("teardown", "--sandbox", "--back-to", "2").returncode == outcome.DONE
    with Lesson(folder, 80) as lesson:
        assert "Step 2 of 8: Roles" in lesson.turn()  # the page of last time, 4, comes after what is to be made again
        lesson.ask("q\n", None)


def ran(lesson: Lesson, step: int, keys: str = "r\n") -> str:
    """Run the step whose page is open, and look at none of its calls but the first."""
    shown = lesson.ask(keys, ("Call 1 of", PROMPT))
    if PROMPT not in shown:
        shown += lesson.ask("x\n", PROMPT)
    assert f"Step {step} is done" in shown
    return shown


def test_what_was_left_out_is_offered_at_the_end_before_any_test_of_the_whole(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "5").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        assert "Step 6 of 8: SQS trigger" in lesson.turn()
        assert "Step 7 of 8: REST API" in lesson.turn("s\n")
        ran(lesson, 7)
        lesson.turn("n\n")
        ended = ran(lesson, 8)
        assert "n or Enter go to step 6, SQS trigger, which was left out" in ended
        assert "test the whole architecture" not in ended and "finish" not in ended
        assert "not whole, as this was left out: step 6 (SQS trigger)" in lesson.turn("8\n")
        quitted = lesson.ask("q\n", None)
        assert "Invoke URL" not in quitted and "--sandbox --step" in quitted
        assert "To take down what there is\n" in quitted and "teardown --sandbox\n" in quitted
    with Lesson(folder, 100) as lesson:
        assert "Step 8 of 8" in lesson.turn()
        assert "Step 6 of 8: SQS trigger" in lesson.turn("\n")
        ran(lesson, 6)
        last = lesson.turn("8\n")
        assert "left out" not in last and "n or Enter finish" in last and "test the whole architecture" in last
        assert "Invoke URL" in lesson.ask("n\n", None)


def test_a_step_that_was_skipped_once_comes_next_when_it_was_gone_back_to(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "5").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        lesson.turn("s\n")
        ran(lesson, 7)
        lesson.ask("q\n", None)
    place = folder.path / ".provision" / "sandbox-us-east-1.lesson.json"
    assert json.loads(place.read_text())["step"] == "api"
    planned = folder.run("teardown", "--sandbox", "--back-to", "6", "--dry-run")
    assert planned.returncode == outcome.DONE
    assert json.loads(place.read_text())["step"] == "api"  # it has only been planned
    assert folder.run("teardown", "--sandbox", "--back-to", "6").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        assert "Going on with step 6, SQS trigger" in lesson.turn()
        lesson.turn("s\n")
        lesson.ask("q\n", None)
    again = folder.run("teardown", "--sandbox", "--back-to", "6")
    assert "step 6 comes next already" in again.stderr
    with Lesson(folder, 100) as lesson:
        assert "Going on with step 6, SQS trigger" in lesson.turn()
        lesson.ask("q\n", None)
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE
    assert json.loads(place.read_text())["step"] == "policies"


def test_the_page_that_was_left_comes_again_also_when_none_before_it_was_run(folder: Folder) -> None:
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        assert "Step 5 of 8: Function" in lesson.turn("5\n")
        lesson.ask("q\n", None)
    with Lesson(folder, 100) as lesson:
        assert "Beginning with step 5, Function" in lesson.turn()
        lesson.ask("q\n", None)
    assert folder.run("sandbox", "stop").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        assert "Beginning with step 5, Function" in lesson.turn()  # the sandbox comes back from its journal
        lesson.ask("q\n", None)
    lose_the_sandbox(folder)
    with Lesson(folder, 100) as lesson:
        assert "Step 1 of 8: Policies" in lesson.turn()  # it is another sandbox, and empty
        lesson.ask("q\n", None)


def lose_the_sandbox(folder: Folder) -> None:
    """It is stopped, and its journal removed: what was in it is gone."""
    assert folder.run("sandbox", "stop").returncode == outcome.DONE
    shutil.rmtree(folder.path / ".provision" / "sandbox-journal")


def test_a_teardown_begins_no_lesson(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "1").returncode == outcome.DONE
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE
    assert list((folder.path / ".provision").glob("*.lesson.json")) == []


def test_the_calls_of_a_step_are_shown_again_with_all_their_faces_on_another_day_too(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "3").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        lesson.turn("3\n")
        shown = lesson.turn("l\n")
        assert shown.count("dynamodb CreateTable") == 1
        for words in ("DynamoDB > Tables > Create table", "dynamodb.create_table(\n", "aws dynamodb create-table"):
            assert words in shown
        lesson.ask("q\n", None)
    assert folder.run("teardown", "--sandbox", "--back-to", "3").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        before = lesson.turn("l\n")
        assert "CreateTable\n" in before and "dynamodb.create_table(" not in before  # it is to be made again
        ran(lesson, 3)
        assert lesson.turn("l\n").count("dynamodb CreateTable") == 1
        lesson.ask("q\n", None)


def test_a_sandbox_that_was_stopped_during_a_lesson_is_named_and_the_next_lesson_goes_on(folder: Folder) -> None:
    with Lesson(folder, 100, "--to", "1") as lesson:
        lesson.turn()
        assert folder.run("sandbox", "stop").returncode == outcome.DONE
        failed = " ".join(lesson.ask("r\n", PROMPT).split())
        assert "does not answer: most likely it was stopped" in failed and "starts the sandbox again" in failed
        assert "Check the network" not in failed
        lesson.ask("q\n", None)
    with Lesson(folder, 100, "--to", "1") as lesson:
        assert "It is started again from its journal" in lesson.turn()
        ran(lesson, 2)
        lesson.ask("q\n", None)
    lose_the_sandbox(folder)
    with Lesson(folder, 100) as lesson:
        begun = lesson.turn()
        assert "is gone, and what was in it, too" in begun and "Step 1 of 8: Policies" in begun
        lesson.ask("q\n", None)


def test_keys_that_were_pressed_while_a_step_ran_choose_nothing(folder: Folder) -> None:
    with Lesson(folder, 100, "--to", "2") as lesson:
        lesson.turn()
        assert "Step 3 is done" in lesson.ask("r\n\n\n\n", PROMPT)  # the last three wait until it is done
        assert "Step 4 of 8: Queue" in lesson.turn("n\n")
        lesson.ask("q\n", None)
    assert entries(folder) == ["policies", "roles", "table"]


def test_who_looks_at_the_step_of_the_function_learns_where_its_code_is(folder: Folder) -> None:
    with Lesson(folder, 200, "--as-written") as lesson:
        lesson.turn()
        assert "What it sends" not in lesson.turn("c\n")
        lesson.turn("5\n")
        assert "What it sends to Lambda is" in lesson.turn("c\n") and "as_written_handler.py." in lesson.text
        lesson.ask("q\n", None)


def test_where_consent_is_asked_a_no_leads_back_to_the_page_and_the_commands_bear_the_profile(folder: Folder) -> None:
    assert folder.run("sandbox", "start").returncode == outcome.DONE
    config = folder.path / "config"
    config.write_text("[profile trainer]\naws_access_key_id = any\naws_secret_access_key = any\n")
    there = ("--endpoint-url", folder.sandbox["url"], "--profile", "trainer", "--region", "us-east-1")
    with Terminal(folder, 100, "provision", *there, "--step", rows=200, AWS_CONFIG_FILE=str(config)) as lesson:
        lesson.read_until(PROMPT)
        lesson.ask("r\n", "which is not AWS? [y/N] ")
        declined = lesson.ask("n\n", PROMPT)
        assert "consent was not given" in declined and "r or Enter run this step" in declined
        lesson.ask("r\n", "which is not AWS? [y/N] ")
        face = lesson.ask("y\n", "Call 1 of 2")
        assert "--profile trainer \\\n" in face
        seen = lesson.ask("x\n", PROMPT)
        assert seen.count("--profile trainer --policy-arn") == 2
        quitted = lesson.ask("q\n", None)
        assert quitted.count("--profile trainer --region us-east-1 --endpoint-url") == 2  # to go on, and to take down
        assert "AWS_ACCESS_KEY_ID" not in seen  # the profile has credentials


def test_an_error_of_aws_does_not_end_the_lesson(folder: Folder) -> None:
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        (folder.path / ".provision" / "sandbox-us-east-1.json").mkdir()  # no state file can be written in its place
        failed = lesson.turn("r\n")
        assert "What to do:" in failed and "Step 1 is done" not in failed
        (folder.path / ".provision" / "sandbox-us-east-1.json").rmdir()
        lesson.ask("r\n", "Call 1 of 2")
        lesson.ask("x\n", "Step 1 is done")
        lesson.read_until(PROMPT)
        lesson.ask("q\n", None)


def test_ctrl_c_and_the_end_of_input_leave_a_lesson_that_can_be_gone_on_with(folder: Folder) -> None:
    with Lesson(folder, 80) as lesson:
        lesson.read_until(PAUSE)
        lesson.interrupt()
        lesson.read_until(None)
        assert lesson.child.wait(30) == outcome.INTERRUPTED
        assert "Go on with:" in lesson.text and "--step" in lesson.text
        assert "No call was in flight: a question waited" in lesson.text
    with Lesson(folder, 80) as lesson:
        lesson.turn()
        assert "Your place is kept" in lesson.ask("\x04", None)  # Ctrl-D


def test_without_a_terminal_it_asks_nothing_and_names_the_way_on(folder: Folder) -> None:
    ended = folder.run(*LESSON)
    assert ended.returncode == outcome.USAGE
    assert "this is not a terminal" in ended.stderr and "--to N" in ended.stderr
    assert not (folder.path / ".provision").exists()


def test_a_spoiled_note_of_the_place_costs_the_place_only(folder: Folder) -> None:
    place = folder.path / ".provision" / "sandbox-us-east-1.lesson.json"
    place.parent.mkdir()
    for spoiled in ("{", "[]", '{"step": "nothing", "endpoint": null}', '{"step": "queue"}', '{"step": ["queue"]}'):
        place.write_text(spoiled)
        with Lesson(folder, 80) as lesson:
            assert "Step 1 of 8: Policies" in lesson.turn()
            lesson.ask("q\n", None)


def test_plain_has_no_escape_and_present_shows_no_account_or_id(folder: Folder) -> None:
    with Lesson(folder, 80, "--plain") as lesson:
        lesson.read_until(PAUSE)
        assert "\x1b" not in lesson.raw
        lesson.turn("\n")
        assert "\x1b" not in lesson.raw
        lesson.ask("q\n", None)
    with Terminal(folder, 100, "provision", "--sandbox", "--present") as shown:
        shown.read_until(None)
        api = next(entry for entry in folder.state()["resources"] if entry["key"] == "api")
        assert "123456789012" not in shown.text and api["outputs"]["id"] not in shown.text
        assert "<id of api>" in shown.text
    told = folder.run("provision", "--sandbox")
    assert api["outputs"]["id"] in told.stdout  # who does not present gets what can be copied


def test_a_lesson_begins_behind_what_was_built_without_one(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "4").returncode == outcome.DONE
    with Lesson(folder, 80) as lesson:
        first = lesson.turn()
        assert "Going on with step 5, Function." in first and "Step 5 of 8: Function" in first
        lesson.ask("q\n", None)
