"""`--step` in a real terminal: a whole lesson, with turning back, skipping, quitting, and going on later."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from provision.record.recording import read, transcripts_in
from provision.terminal import outcome
from provision.terminal.prompts import in_parts
from tests.rig import CHECKOUT
from tests.rig.lesson import GUESS, LESSON, MENU, PAUSE, QUESTION, Lesson
from tests.rig.programs import Folder
from tests.rig.screens import memory_screen
from tests.rig.terminal import Terminal
from tests.rig.warm_aws import WarmAws

pytestmark = pytest.mark.once_more


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


def entries(folder: Folder) -> list[str]:
    """The steps that the state file has resources of."""
    return list(dict.fromkeys(entry["step"] for entry in folder.state()["resources"]))


def test_a_lesson_from_its_first_page_to_its_last(folder: Folder) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        opening = lesson.turn()
        assert "What you build" in opening and "Nothing: this is a local AWS" in opening and "┆ table name ┆" in opening
        first = lesson.turn("\n")
        for words in ("Step 1 of 9: Policies", "What it is for", "Why now", "IAM > Policies", "  4  dynamodb:Scan is"):
            assert words in first
        assert "iam.get_policy" not in first

        calls = lesson.turn("l\n")
        assert "CreatePolicy" in calls and "Policy name:" in calls
        assert "it also calls CreatePolicyVersion, DeletePolicyVersion, TagPolicy" in " ".join(calls.split())
        assert "iam.create_policy(\n" in lesson.ask("l\n", PAUSE) or "iam.create_policy(\n" in lesson.ask("f\n", PAUSE)
        lesson.ask("f\n", PAUSE)
        assert "aws iam create-policy" in lesson.text and "poc-deployment" in lesson.text
        assert " -m provision shell --sandbox\n" in lesson.text
        lesson.ask("f\n", PAUSE)
        lesson.turn("s\n")
        code = lesson.turn("code\n")
        assert "def provision(aws: Clients, settings: Settings, state: State)" in code
        assert "provision/policies.py" in code
        assert code.index("aws.iam.create_policy(") < code.index("def provision")
        assert "event source mapping polls the queue" in " ".join(lesson.turn("a\n").split())
        assert "Point at Resource" in lesson.turn("p\n")
        errata = lesson.turn("e\n")
        assert "Erratum 4 of the walkthrough" in errata and "Erratum 5 of the walkthrough" in errata
        assert "'xyz' is not a choice" in lesson.turn("xyz\n")
        assert "r or Enter  run this step" in lesson.turn("?\n")
        assert "the full name of a resource in AWS" in lesson.turn("w\n")
        assert not (folder.path / ".provision" / "sandbox-us-east-1.json").exists()  # nothing was made until now

        # Run it: first a question, then each call when the learner is ready for it.
        assert "To how many identities" in lesson.ask("\n", GUESS)
        face = lesson.ask("b\n", "Call 1 of 2")
        lesson.read_until(PAUSE)
        assert "iam CreatePolicy" in face
        assert "IAM > Policies > Create policy" in face and "create_policy(" not in face
        assert "Policy.Arn: arn:aws:iam::123456789012:policy/Lambda-Write-DynamoDB" in face
        assert "'later' is not a choice" in lesson.ask("later\n", PAUSE)
        assert "  f  the same call in another form\n  s  leave out the rest" in lesson.ask("?\n", PAUSE)
        assert "iam.create_policy(\n" in lesson.ask("f\n", "f: aws  ")
        lesson.read_until(PAUSE)
        shell = lesson.ask("f\n", "f: console  ")
        lesson.read_until(PAUSE)
        assert "aws iam create-policy" in shell
        assert "provision shell" not in shell  # it is said once for each page
        rest = lesson.ask("\n", "Call 2 of 2")
        lesson.read_until(PAUSE)
        assert "aws iam create-policy" in rest  # the face that was turned to
        asked = lesson.ask("\n", QUESTION)
        assert "created    policy     Lambda-Read-SQS" in asked
        assert "--policy-arn arn:aws:iam::123456789012:policy/Lambda-Read-SQS" in asked
        assert "You expected: One: the role of the function.\n" in asked and "You were right" not in asked
        assert "The local AWS answered: None: that is another call (0).\n" in asked
        assert "Step 1 is done" in asked and "Why does its role need the permission?" in asked
        assert "event source mapping polls the queue" in " ".join(lesson.turn("Lambda polls\n").split())

        # Skip the roles; the queue needs them, and offers them again.
        assert "Step 2 of 9: Roles" in lesson.turn("\n")
        assert "Step 3 of 9: Table" in lesson.turn("n\n")
        assert "Step 3 is done" in lesson.turn("r\n")
        queue = lesson.turn("n\n")
        assert "│ table name │" in queue and "┆ POC-Queue     ┆" in queue  # lit up, and not
        assert "needs what does not exist yet: step 2 (Roles)" in queue
        assert "run it" not in queue

        # Quit, and go on later.
        quitted = lesson.quit()
        assert "--sandbox --step" in quitted
        assert lesson.child.wait(30) == outcome.DONE
    assert entries(folder) == ["policies", "table"]
    place = json.loads((folder.path / ".provision" / "sandbox-us-east-1.lesson.json").read_text())
    assert {page: done["how"] for page, done in place["done"].items()} == {"policies": "shown", "table": "shown"}
    assert place["answers"]["policies"] == {
        "guess": "One: the role of the function",
        "aws": "0",
        "answer": "Lambda polls",
    }

    with Lesson(folder, 100) as lesson:
        assert "Going on with page 4" in lesson.turn()
        assert "Step 2 of 9: Roles" in lesson.turn("\n")
        assert "Step 2 is done" in lesson.turn("r\n")

        # Turning back deletes nothing.
        back = lesson.turn("b\n")
        assert "Step 1 of 9: Policies" in back and "This step is done." in back
        assert "teardown --sandbox --back-to 1" in back
        assert "Nothing was changed" in lesson.turn("r\n")  # once more changes nothing

        lesson.turn("4\n")
        for step in range(4, 9):
            assert f"Step {step} is done" in lesson.turn("r\n")
            assert f"Step {step + 1} of 9" in lesson.turn("n\n")
        tested = lesson.turn("\n")
        assert tested.count("OK  ") == 5
        assert "Invoke URL:" in tested and "curl -w" in tested
        ended = lesson.ask("\n", None)
        assert "Five things to try next" in ended and "teardown --sandbox" in ended
        assert lesson.child.wait(30) == outcome.DONE
    assert len(folder.state()["resources"]) == 16
    runs = [read(path) for path in transcripts_in(folder.path / ".provision")]
    assert [run.ended is not None and run.ended["exit_code"] for run in runs] == [0, 0]
    assert folder.run("provision", "--sandbox", "--no-try").stderr.count("created") == 0


def test_a_command_pasted_beside_the_lesson_makes_what_the_lesson_takes_as_its_own(
    folder: Folder, warm_aws: WarmAws
) -> None:
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        lesson.turn("3\n")
        lesson.ask("l\n", PAUSE)
        lesson.ask("f\n", PAUSE)
        shown = lesson.ask("f\n", PAUSE)
        command = shown[shown.index("aws dynamodb create-table") : shown.index("Call 1 of 1")]
        warm_aws.paste([command], folder.path, folder.sandbox["key"])
        lesson.turn("s\n")
        ran = lesson.turn("r\n")
        assert "Nothing was changed" in ran and "Step 3 is done" in ran
        assert lesson.ask("q\n", None) and lesson.child.wait(30) == outcome.DONE
    (entry,) = folder.state()["resources"]
    assert entry["origin"] == "created"
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE


def test_enter_held_down_stops_at_the_first_question_and_runs_nothing_twice(folder: Folder) -> None:
    with Lesson(folder, 80, rows=24) as lesson:
        lesson.ask("\n" * 60, GUESS)
        lesson.read_until_quiet()
        assert "Step 1 of 9: Policies" in lesson.text and "Step 2 of 9" not in lesson.text
        assert "is not a choice" in lesson.text  # an empty line is no guess
        lesson.quit()
    assert not (folder.path / ".provision" / "sandbox-us-east-1.json").exists()


def test_a_long_page_stops_wherever_the_screen_is_full_and_loses_nothing(folder: Folder) -> None:
    with Lesson(folder, 80, "--to", "1", rows=400) as lesson:
        lesson.turn()
        whole = page_in(lesson.turn("1\n"))
        assert "Step 1 of 9: Policies" in whole
    stops = {}
    for rows in (40, 24):
        with Lesson(folder, 80, "--to", "1", rows=rows) as lesson:
            lesson.turn()
            shown = lesson.turn("1\n")
            stops[rows] = lesson.stops
            screens = re.split(r"\nPage 1\.  Enter: go on  s: skip the rest  q: quit > \n", page_in(shown))
            assert "".join(screens) == whole  # nothing is lost, or said twice
            assert all(len(screen.splitlines()) <= rows for screen in screens)
            menu = shown[shown.rindex("\nStep 1 of 9, ") :].strip().splitlines()
            assert len(menu) <= 2 and max(map(len, menu)) <= 80
            code = lesson.turn("c\n")
            assert lesson.stops > 0 and "The code." in code
            lesson.quit()
    assert 0 < stops[40] < stops[24]


def page_in(shown: str) -> str:
    """From the line above a page's title to the prompt below its choices."""
    return shown[shown.rindex("=====") :]


def test_at_a_stop_a_learner_reads_on_or_skips_the_rest(folder: Folder) -> None:
    with Lesson(folder, 80, "--to", "1", rows=24) as lesson:
        lesson.read_until(PAUSE)
        assert "'n' is not a choice" in lesson.ask("n\n", PAUSE)
        assert "0 to 9 to turn to that page" in lesson.ask("?\n", PAUSE)
        assert "Step 4 of 9: Queue" in lesson.ask("4\n", PAUSE)  # a number means the same as in the menu
        lesson.ask("2\n", PAUSE)
        assert "This step is done" not in lesson.ask("s\n", MENU)
        lesson.ask("1\n", PAUSE)
        assert "This step is done" in lesson.turn("\n") and lesson.stops > 0
        lesson.ask("1\n", PAUSE)
        assert "Your place and what was made are kept" in lesson.quit()  # q means the same everywhere


def test_in_a_pipe_no_page_stops() -> None:
    screen = memory_screen()
    lines = [partial(screen.say, f"part {number}") for number in range(100)]
    in_parts(screen, lines, "never asked", below=15)
    assert screen.talk.file.getvalue().split("\n")[:-1] == [  # type: ignore[attr-defined]
        f"part {number}" for number in range(100)
    ]


@pytest.mark.slow
def test_a_latecomer_catches_up_and_a_page_taken_down_comes_again(folder: Folder) -> None:
    with Lesson(folder, 80, "--to", "2") as lesson:
        caught_up = lesson.turn()
        assert "2/8 Roles" in caught_up and "Step 3 of 9: Table" in caught_up
        assert "Step 3 is done" in lesson.turn("r\n")
        lesson.turn("n\n")
        lesson.quit()
    assert folder.run("teardown", "--sandbox", "--back-to", "2").returncode == outcome.DONE
    with Lesson(folder, 80) as lesson:
        assert "Step 2 of 9: Roles" in lesson.turn()  # the page of last time, 4, comes after what is to be made again
        lesson.quit()


def ran(lesson: Lesson, step: int, keys: str = "r\n") -> str:
    """Run the step whose page is open."""
    shown = lesson.turn(keys)
    assert f"Step {step} is done" in shown
    return shown


@pytest.mark.slow
def test_what_was_left_out_is_offered_before_any_test_of_the_whole(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "5").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        assert "Step 6 of 9: SQS trigger" in lesson.turn()
        assert "Step 7 of 9: REST API" in lesson.turn("n\n")
        ran(lesson, 7)
        lesson.turn("n\n")
        ran(lesson, 8)
        tests = lesson.turn("n\n")
        assert "Step 9 of 9, Tests   Enter: go to step 6" in tests and "run the tests" not in tests
        quitted = lesson.quit()
        assert "Invoke URL" not in quitted and "--sandbox --step" in quitted
        assert "To take down what there is\n" in quitted and "teardown --sandbox\n" in quitted
    with Lesson(folder, 100) as lesson:
        assert "Step 9 of 9, Tests" in lesson.turn()
        assert "Step 6 of 9: SQS trigger" in lesson.turn("\n")
        ran(lesson, 6)
        last = lesson.turn("9\n")
        assert "Enter: run the tests" in last and "n: finish" in last
        assert "Invoke URL" in lesson.turn("\n")
        assert "Five things to try next" in lesson.ask("\n", None)


@pytest.mark.slow
def test_a_step_that_was_skipped_once_comes_next_when_it_was_gone_back_to(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "5").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        lesson.turn("n\n")
        ran(lesson, 7)
        lesson.quit()
    place = folder.path / ".provision" / "sandbox-us-east-1.lesson.json"
    assert json.loads(place.read_text())["step"] == "api"
    planned = folder.run("teardown", "--sandbox", "--back-to", "6", "--dry-run")
    assert planned.returncode == outcome.DONE
    assert json.loads(place.read_text())["step"] == "api"  # it has only been planned
    assert folder.run("teardown", "--sandbox", "--back-to", "6").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        assert "Going on with page 6, SQS trigger" in lesson.turn()
        lesson.turn("n\n")
        lesson.quit()
    again = folder.run("teardown", "--sandbox", "--back-to", "6")
    assert "step 6 comes next already" in again.stderr
    with Lesson(folder, 100) as lesson:
        assert "Going on with page 6, SQS trigger" in lesson.turn()
        lesson.quit()
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE
    assert json.loads(place.read_text())["step"] == "policies"


@pytest.mark.slow
def test_the_page_that_was_left_comes_again_also_when_none_before_it_was_run(folder: Folder) -> None:
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        assert "Step 5 of 9: Function" in lesson.turn("5\n")
        lesson.quit()
    with Lesson(folder, 100) as lesson:
        assert "Beginning with page 5, Function" in lesson.turn()
        lesson.quit()
    assert folder.run("sandbox", "stop").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        assert "Beginning with page 5, Function" in lesson.turn()  # the sandbox comes back from its journal
        lesson.quit()
    lose_the_sandbox(folder)
    with Lesson(folder, 100) as lesson:
        assert "What you build" in lesson.turn()  # it is another sandbox, and empty
        lesson.quit()


def lose_the_sandbox(folder: Folder) -> None:
    """It is stopped, and its journal removed: what was in it is gone."""
    assert folder.run("sandbox", "stop").returncode == outcome.DONE
    shutil.rmtree(folder.path / ".provision" / "sandbox-journal")


def test_a_teardown_begins_no_lesson(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "1").returncode == outcome.DONE
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE
    assert list((folder.path / ".provision").glob("*.lesson.json")) == []


@pytest.mark.slow
def test_the_calls_of_a_step_are_shown_again_with_all_their_faces_on_another_day_too(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "3").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        lesson.turn("3\n")
        assert "DynamoDB > Tables > Create table" in lesson.ask("l\n", PAUSE)
        assert "dynamodb.create_table(\n" in lesson.ask("f\n", PAUSE)
        assert "aws dynamodb create-table" in lesson.ask("f\n", PAUSE)
        lesson.turn("\n")
        lesson.quit()
    assert folder.run("teardown", "--sandbox", "--back-to", "3").returncode == outcome.DONE
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        before = lesson.turn("l\n")
        assert "CreateTable\n" in before and "dynamodb.create_table(" not in before  # it is to be made again
        ran(lesson, 3)
        assert lesson.turn("l\n").count("dynamodb CreateTable") == 1
        lesson.quit()


@pytest.mark.slow
def test_a_sandbox_that_was_stopped_during_a_lesson_is_named_and_the_next_lesson_goes_on(folder: Folder) -> None:
    with Lesson(folder, 100, "--to", "1") as lesson:
        lesson.turn()
        assert folder.run("sandbox", "stop").returncode == outcome.DONE
        failed = " ".join(lesson.turn("r\n").split())
        assert "does not answer: most likely it was stopped" in failed and "starts the sandbox again" in failed
        assert "Check the network" not in failed
        lesson.quit()
    with Lesson(folder, 100, "--to", "1") as lesson:
        assert "It is started again from its journal" in lesson.turn()
        ran(lesson, 2)
        lesson.quit()
    lose_the_sandbox(folder)
    with Lesson(folder, 100) as lesson:
        begun = lesson.turn()
        assert "is gone, and what was in it, too" in begun and "What you build" in begun
        lesson.quit()


def test_keys_that_were_pressed_while_a_step_ran_choose_nothing(folder: Folder) -> None:
    with Lesson(folder, 100, "--to", "2") as lesson:
        lesson.turn()
        assert "Step 3 is done" in lesson.turn("r\na\n\n\n\n")  # the last three wait until it is done
        assert "Step 4 of 9: Queue" in lesson.turn("n\n")
        lesson.quit()
    assert entries(folder) == ["policies", "roles", "table"]


def test_who_looks_at_the_step_of_the_function_learns_where_its_code_is(folder: Folder) -> None:
    with Lesson(folder, 200, "--as-written") as lesson:
        lesson.turn()
        assert "What it sends" not in lesson.turn("c\n")
        lesson.turn("5\n")
        assert "What it sends to Lambda is" in lesson.turn("c\n") and "as_written_handler.py." in lesson.text
        lesson.quit()


def test_where_consent_is_asked_a_no_leads_back_to_the_page_and_the_commands_bear_the_profile(folder: Folder) -> None:
    assert folder.run("sandbox", "start").returncode == outcome.DONE
    config = folder.path / "config"
    key = folder.sandbox["key"]
    config.write_text(f"[profile trainer]\naws_access_key_id = any\naws_secret_access_key = {key}\n")
    there = ("--endpoint-url", folder.sandbox["url"], "--profile", "trainer", "--region", "us-east-1")
    with Terminal(folder, 100, "provision", *there, "--step", rows=200, AWS_CONFIG_FILE=str(config)) as lesson:
        lesson.read_until(MENU)
        lesson.ask("1\n", MENU)
        lesson.ask("r\n", GUESS)
        lesson.ask("s\n", "which is not AWS? [y/N] ")
        declined = lesson.ask("n\n", MENU)
        assert "consent was not given" in declined and "Enter: run it" in declined
        lesson.ask("r\n", GUESS)
        lesson.ask("s\n", "which is not AWS? [y/N] ")
        lesson.ask("y\n", PAUSE)
        lesson.ask("f\n", PAUSE)
        face = lesson.ask("f\n", PAUSE)
        assert "--profile trainer \\\n" in face
        lesson.ask("s\n", QUESTION)
        seen = lesson.text
        assert seen.count("--profile trainer --policy-arn") == 2
        lesson.ask("\n", MENU)
        quitted = lesson.ask("q\n", None)
        assert quitted.count("--profile trainer --region us-east-1 --endpoint-url") == 2  # to go on, and to take down
        assert "provision shell" not in face  # the profile has credentials


def test_an_error_of_aws_does_not_end_the_lesson(folder: Folder) -> None:
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        lesson.turn("1\n")
        (folder.path / ".provision" / "sandbox-us-east-1.json").mkdir()  # no state file can be written in its place
        failed = lesson.turn("r\n")
        assert "What to do:" in failed and "Step 1 is done" not in failed
        (folder.path / ".provision" / "sandbox-us-east-1.json").rmdir()
        assert "Step 1 is done" in lesson.turn("r\n")
        lesson.quit()


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
            assert "What you build" in lesson.turn()
            lesson.quit()


def test_a_trainers_own_pages_are_shown_and_a_mistake_in_one_costs_that_page_only(folder: Folder) -> None:
    own = folder.path / "own"
    own.mkdir()
    table = (CHECKOUT / "lessons" / "table.md").read_text()
    (own / "table.md").write_text(table.replace("## Question", "## Our exercise\n\nName it {table}.\n\n## Question"))
    (own / "roles.md").write_text("# Roles\n\n## What it is for\n\nFor {nobody}.\n")
    with Lesson(folder, 100, "--lessons", str(own)) as lesson:
        lesson.turn()
        roles = lesson.turn("2\n")
        assert "roles.md: line 5: nothing is called {nobody}" in roles and "The rest of the lesson works" in roles
        exercise = lesson.turn("3\n")
        assert "Our exercise\n\nName it name." in exercise and "Step 3 of 9: Table" in exercise
        assert "Step 3 is done" in lesson.turn("r\n")
        lesson.quit()


def test_a_lesson_speaks_another_language_where_there_are_words_for_it(folder: Folder) -> None:
    with Lesson(folder, 100, "--lessons", str(CHECKOUT / "lessons" / "de")) as lesson:
        lesson.read_until("q: beenden")
        lesson.ask("s\n", "?: Tasten > ")
        page = lesson.ask("3\n", ("?: Tasten > ", "q: beenden > "))
        assert "Schritt 3 von 9: Tabelle" in page and "Wozu sie da ist" not in page and "Wozu" in page
        assert "Partition" in page and "What it is for" not in page
        lesson.ask("q\n", None)


def test_plain_has_no_escape_and_present_shows_no_account_or_id(folder: Folder) -> None:
    with Lesson(folder, 80, "--plain") as lesson:
        lesson.read_until(PAUSE)
        assert "\x1b" not in lesson.raw
        lesson.turn("\n")
        assert "\x1b" not in lesson.raw
        lesson.quit()
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
        assert "Going on with page 5, Function." in first and "Step 5 of 9: Function" in first
        lesson.quit()


@pytest.mark.slow
def test_where_all_is_built_already_a_lesson_says_that_it_is_for_reading_and_how_to_do_it(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--no-try").returncode == outcome.DONE
    for _ in range(2):  # also when it was opened before
        with Lesson(folder, 100) as lesson:
            first = lesson.turn()
            assert "these pages are for reading" in first and "-m teardown --sandbox\n" in first
            lesson.quit()


@pytest.mark.slow
def test_a_question_that_was_left_by_quitting_is_asked_when_its_page_comes_again(folder: Folder) -> None:
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        lesson.ask("3\n", PAUSE)
        lesson.ask("s\n", MENU)
        lesson.ask("r\n", GUESS)
        lesson.ask("s\n", PAUSE)
        lesson.ask("s\n", QUESTION)
        lesson.quit()
    with Lesson(folder, 100) as lesson:
        lesson.read_until(PAUSE)
        assert "You put two items with the same id" in lesson.ask("s\n", QUESTION)
        assert "One. A new item replaces" in lesson.ask("one\n", MENU)
        assert "Your answer" not in lesson.turn("3\n")
        lesson.quit()
