"""A lesson in which the learner does each step by hand, with the real `aws` command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision import STEPS, Step
from provision.lesson.checked import read_mistakes
from provision.lesson.page import names
from provision.settings import Settings
from provision.terminal import outcome
from tests.rig.by_hand import ByBoto3, printed_calls, wrong_at_first
from tests.rig.deployment import ACCOUNT, REGION
from tests.rig.handmade import Aws, document, steps_with_aws
from tests.rig.lesson import MENU, PAUSE, QUESTION, Lesson
from tests.rig.programs import Folder
from tests.rig.terminal import Terminal
from tests.rig.warm_aws import WarmAws

pytestmark = pytest.mark.once_more


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


@pytest.mark.slow
def test_what_is_made_by_hand_is_seen_taken_over_tested_and_torn_down(folder: Folder, warm_aws: WarmAws) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        lesson.turn()
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        typed = steps_with_aws(person, Settings())
        for step in STEPS:
            page = lesson.turn(f"{step.number}\n")
            assert "h: by hand" in page
            lesson.ask("h\n", PAUSE)
            lesson.ask("s\n", PAUSE)
            next(typed)
            lesson.read_until(QUESTION)
            assert f"Step {step.number} is done, by hand." in lesson.text
            lesson.turn("\n")
        assert lesson.turn("9\n") and "Invoke URL" in lesson.turn("r\n")
        lesson.ask("n\n", None)
    origins = {entry["key"]: entry["origin"] for entry in folder.state()["resources"]}
    assert {origins[key] for key in ("table", "queue", "log-group", "function", "trigger", "api", "function-role")} == {
        "by hand"
    }
    place = json.loads((folder.path / ".provision" / "sandbox-us-east-1.lesson.json").read_text())
    assert {place["done"][step.name]["how"] for step in STEPS} == {"by hand"}
    status = folder.run("provision", "status", "--sandbox")
    assert status.returncode == outcome.DONE, status.stdout
    torn = folder.run("teardown", "--sandbox")
    assert torn.returncode == outcome.DONE and "and none is there" in torn.stderr


@pytest.mark.parametrize("steps", [STEPS[2:3], pytest.param(STEPS, marks=pytest.mark.slow)], ids=["table", "all"])
def test_the_boto3_lines_of_a_lesson_do_its_steps(folder: Folder, steps: list[Step]) -> None:
    with Lesson(folder, 200, rows=100) as lesson:
        lesson.turn()
        learner = ByBoto3(folder.sandbox["url"], folder.path, folder.sandbox["key"])
        for step in steps:
            lesson.turn(f"{step.number}\n")
            for line in printed_calls(lesson):
                learner.run(line)
            assert f"Step {step.number} is done, by hand." in lesson.ask("\n", QUESTION)
            lesson.turn("\n")
        lesson.quit()
        learner.stranger.close()
    place = json.loads((folder.path / ".provision" / "sandbox-us-east-1.lesson.json").read_text())
    assert {page: (done["how"], done["tries"]) for page, done in place["done"].items()} == {
        step.name: ("by hand", 1) for step in steps
    }
    if steps == STEPS:
        tried = folder.run("provision", "status", "--sandbox", "--try")
        assert tried.returncode == outcome.DONE, tried.stdout
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE


@pytest.mark.slow
def test_a_step_done_wrong_is_told_by_its_mistake_and_taken_over_once_it_is_mended(
    folder: Folder, warm_aws: WarmAws
) -> None:
    mistakes = read_mistakes(names(Settings(), account=ACCOUNT, region=REGION))
    with Lesson(folder, 200, rows=100) as lesson:
        lesson.turn()
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        right, wrong = steps_with_aws(person, Settings()), wrong_at_first(person, Settings())
        for step in STEPS:
            lesson.turn(f"{step.number}\n")
            lesson.ask("h\n", PAUSE)
            lesson.ask("s\n", PAUSE)
            mistake = mistakes[next(wrong)]
            told = lesson.ask("\n", mistake.title)
            lesson.read_until(PAUSE)
            assert "is done" not in told and mistake.todo[:30] in lesson.text
            next(wrong)
            lesson.written = b""
            next(right)
            lesson.read_until(QUESTION)
            assert f"Step {step.number} is done, by hand." in lesson.text
            lesson.turn("\n")
        lesson.quit()
    status = folder.run("provision", "status", "--sandbox", "--try")
    assert status.returncode == outcome.DONE, status.stdout
    torn = folder.run("teardown", "--sandbox")
    assert torn.returncode == outcome.DONE and "and none is there" in torn.stderr


def test_the_lesson_looks_while_the_learner_works_and_says_what_is_wrong(folder: Folder, warm_aws: WarmAws) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        lesson.turn()
        lesson.turn("3\n")
        shown = lesson.ask("h\n", "Call 1 of 1")
        lesson.read_until(PAUSE)
        assert "poc-deployment" not in shown and "aws dynamodb create-table" in shown
        assert "has no console" in shown and " -m provision shell --sandbox" in shown
        assert "Table name:" in lesson.ask("f\n", PAUSE)
        boto3 = lesson.ask("f\n", "f: aws")
        lesson.read_until(PAUSE)
        assert "dynamodb.create_table(" in boto3 and "Tags" not in boto3
        assert "0 of 1 resources right" in lesson.ask("\n", PAUSE)
        assert "'x' is not a choice" in lesson.ask("x\n", PAUSE)
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        create = ("dynamodb", "create-table", "--table-name", "name", "--billing-mode", "PAY_PER_REQUEST")
        number = ("--attribute-definitions", "AttributeName=id,AttributeType=N")
        person(*create, *number, "--key-schema", "AttributeName=id,KeyType=HASH")
        seen = lesson.ask("", "billing mode")  # it looks by itself
        lesson.read_until(PAUSE)
        assert "right    table name, billing mode" in seen
        told = lesson.ask("\n", "0 of 1 resources right")
        lesson.read_until(PAUSE)
        assert "The partition key is no string" in told and "What to do: A key cannot be changed." in told
        for key in ("o", "r"):
            refused = " ".join(lesson.ask(f"{key}\n", "The lesson goes on looking.").split())
            lesson.read_until(PAUSE)
            assert "What to do: A key cannot be changed. Delete the table" in refused and "--adopt" not in refused
        person("dynamodb", "delete-table", "--table-name", "name")
        lesson.read_until("wrong    table name\n")
        string = ("--attribute-definitions", "AttributeName=id,AttributeType=S")
        lesson.written = b""
        person(*create, *string, "--key-schema", "AttributeName=id,KeyType=HASH")
        lesson.read_until(QUESTION)
        assert "All of it is right" in lesson.text and "Step 3 is done, by hand." in lesson.text
        lesson.turn("\n")
        lesson.quit()
    place = json.loads((folder.path / ".provision" / "sandbox-us-east-1.lesson.json").read_text())
    assert (place["done"]["table"]["how"], place["done"]["table"]["tries"]) == ("by hand", 2)
    (entry,) = folder.state()["resources"]
    assert entry["origin"] == "by hand" and entry["status"] == "created"


def test_the_commands_below_what_is_missing_correct_it_and_no_stop_cuts_a_command(
    folder: Folder, warm_aws: WarmAws
) -> None:
    with Lesson(folder, 80, "--to", "3", rows=24) as lesson:
        lesson.turn()
        lesson.ask("h\n", PAUSE)
        command = aws_commands(lesson.ask("\n", PAUSE))[0]
        assert "--queue-name POC-Queue \\\n" in command and command.rstrip().endswith("}'")
        lesson.ask("s\n", PAUSE)
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        for name in ("POC-Queue-DLQ", "POC-Queue"):
            person("sqs", "create-queue", "--queue-name", name)
        lesson.read_until("right    queue POC-Queue, ")
        lesson.read_until("0 of 2 resources right")
        lesson.read_until(PAUSE)
        lesson.written = b""
        # A look of before may still write the prompt once more: what is missing comes after it.
        lesson.ask("\n", "MessageRetentionPeriod (seconds): found 345600, expected 1209600")
        lesson.read_until("With aws")
        lesson.read_until_quiet()
        told = lesson.text
        corrections = aws_commands(told[told.index("With aws") :])
        assert len(corrections) == 2
        warm_aws.paste(corrections, folder.path, folder.sandbox["key"])
        lesson.read_until(QUESTION)
        assert "Step 4 is done, by hand." in lesson.text
        lesson.turn("\n")
        lesson.quit()


def aws_commands(shown: str) -> list[str]:
    """The `aws` commands on a screen, each to its end."""
    return re.findall(r"^ *(aws (?:.*\\\n)+.*\n)", shown.replace("\r", ""), flags=re.MULTILINE)


def test_at_a_word_what_is_there_is_taken_over_and_updated_or_the_program_does_the_step(
    folder: Folder, warm_aws: WarmAws
) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        lesson.turn()
        lesson.turn("1\n")
        lesson.ask("h\n", PAUSE)
        lesson.ask("s\n", "o: take it over, and correct it")
        lesson.read_until(PAUSE)
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        empty = document({"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"})
        person("iam", "create-policy", "--policy-name", "Lambda-Write-DynamoDB", "--policy-document", empty)
        lesson.read_until("right    ")
        lesson.read_until(PAUSE)
        taken = lesson.ask("o\n", QUESTION)
        assert "Step 1 is done, by hand." in taken
        lesson.turn("\n")
        lesson.turn("3\n")
        lesson.ask("h\n", PAUSE)
        lesson.ask("s\n", PAUSE)
        assert "Step 3 is done (" in lesson.turn("r\n")
        assert lesson.text.endswith(MENU)
        lesson.quit()
    origins = {entry["key"]: entry["origin"] for entry in folder.state()["resources"]}
    assert origins == {"write-policy": "by hand", "read-policy": "created", "table": "created"}
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE


def test_where_others_work_too_what_came_is_taken_over_at_a_word_only(folder: Folder, warm_aws: WarmAws) -> None:
    assert folder.run("sandbox", "start").returncode == outcome.DONE
    url = folder.sandbox["url"]
    secret = folder.sandbox["key"]
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "us-east-1"}
    there = ("--endpoint-url", url, "--state", str(folder.path / "state.json"))
    with Terminal(folder, 100, "provision", *there, "--step", rows=200, **keys) as lesson:
        lesson.read_until(MENU)
        lesson.ask("3\n", MENU)
        lesson.ask("h\n", PAUSE)
        lesson.ask("s\n", PAUSE)
        lesson.written = b""
        create_table(Aws(url, warm_aws.command, folder.path, secret))
        lesson.read_until("[y/N] ")
        assert "There since you began: table name, first seen " in lesson.text
        assert "done, by hand" not in lesson.ask("n\n", MENU)
        assert not (folder.path / "state.json").exists()
        assert "before you begin: table name." in lesson.ask("h\n", "[y/N] ")
        lesson.ask("y\n", "which is not AWS? [y/N] ")  # and not once more whose it is
        assert "Step 3 is done, by hand." in lesson.ask("y\n", QUESTION)
        lesson.ask("q\n", None)


def create_table(person: Aws) -> None:
    person(
        *("dynamodb", "create-table", "--table-name", "name", "--billing-mode", "PAY_PER_REQUEST"),
        *("--attribute-definitions", "AttributeName=id,AttributeType=S"),
        *("--key-schema", "AttributeName=id,KeyType=HASH"),
    )


def test_what_was_there_before_is_taken_over_at_a_word_only(folder: Folder, warm_aws: WarmAws) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        lesson.turn()
        lesson.turn("3\n")
        create_table(Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"]))
        asked = lesson.ask("h\n", "[y/N] ")
        assert "There already, before you begin: table name." in asked and "a teardown deletes it" in asked
        assert "done, by hand" not in lesson.ask("n\n", MENU)
        assert not (folder.path / ".provision" / "sandbox-us-east-1.json").exists()
        lesson.ask("h\n", "[y/N] ")
        assert "Step 3 is done, by hand." in lesson.ask("y\n", QUESTION)
        lesson.turn("\n")
        lesson.quit()
    (entry,) = folder.state()["resources"]
    assert entry["origin"] == "by hand"
