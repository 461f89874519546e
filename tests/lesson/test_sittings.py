"""A lesson that is left and gone on with: replayed as one run, and started again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.record.recording import Recording, read, transcripts_in
from provision.record.sittings import joined, sittings_of
from provision.terminal import outcome
from tests.rig.lesson import Lesson
from tests.rig.programs import Folder

pytestmark = pytest.mark.once_more


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


def take(folder: Folder, *pages: str) -> None:
    """A sitting in which the steps of these pages are run."""
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        for page in pages:
            lesson.turn(f"{page}\n")
            assert "is done" in lesson.turn("r\n")
        lesson.quit()
        assert lesson.child.wait(30) == outcome.DONE


def written(folder: Folder, *arguments: str) -> str:
    """A page of a run, as replay writes it."""
    ended = folder.run("provision", "replay", *arguments, "--html", "page.html")
    assert ended.returncode == outcome.DONE, ended.stderr
    return (folder.path / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_lesson_in_two_sittings_is_shown_whole_and_each_sitting_alone(folder: Folder) -> None:
    take(folder, "1", "2")
    take(folder, "3")
    whole = written(folder)
    assert all(call in whole for call in ("iam.create_policy(", "iam.create_role(", "dynamodb.create_table("))
    assert re.findall(r"Step (\d) of 8", re.sub(r"<[^>]+>", "", whole)) == ["1", "2", "3"]
    assert "in 2 sittings, the last " in whole and "The run ended well" in whole
    played = folder.run("provision", "replay", "--faces").stdout
    assert "Sittings       2" in played and "create_policy(" in played and "create_table(" in played
    listed = folder.run("provision", "replay", "--list").stdout
    assert listed.count("  lesson, ") == 2
    assert "create_policy(" in written(folder, "1") and "create_table(" not in written(folder, "1")
    assert "create_policy(" not in written(folder, "2") and "create_table(" in written(folder, "2")
    timeline = folder.run("provision", "replay", "--timeline").stdout
    assert "1 Policies" in timeline and "3 Table" in timeline

    # A teardown that leaves nothing ends the lesson.
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE
    take(folder, "1")
    assert "dynamodb.create_table(" not in written(folder)


def test_calls_are_numbered_on_and_what_only_looks_is_of_no_step() -> None:
    def sitting(*events: dict[str, Any]) -> Recording:
        header = {"program": "provision", "started": "2026-11-24T10:00:00+00:00", "arguments": ["--step"]}
        return Recording(header, [{"at": float(at), **event} for at, event in enumerate(events)])

    look = {"type": "call", "number": 1, "step": "table", "read": True, "seconds": 0.5}
    step = {"type": "step", "step": "roles"}
    create = {"type": "call", "number": 2, "step": "roles", "read": False, "seconds": 0.5}
    wait = {"type": "wait", "step": "roles", "call": 2}
    ended = {"type": "ended", "exit_code": 0, "calls": 2, "writes": 1}
    first, second = sitting(look, step, create, wait, ended), sitting(look, step, create, wait, ended)
    run = joined([first, second])
    assert [(one["number"], one["step"]) for one in run.calls] == [(1, ""), (2, "roles"), (3, ""), (4, "roles")]
    assert [one["call"] for one in run.of("wait")] == [2, 4]
    assert [one["at"] for one in run.events] == sorted(one["at"] for one in run.events)
    assert run.ended is not None and (run.ended["calls"], run.ended["writes"]) == (4, 2)
    assert len(run.of("ended")) == 1 and run.header["sittings"] == 2
    assert joined([first]) is first and sittings_of(first) == [first]  # of no file


def test_a_plain_build_after_a_sitting_is_shown_alone(folder: Folder) -> None:
    take(folder, "1")
    assert folder.run("provision", "--sandbox", "--to", "3").returncode == outcome.DONE
    lesson, build = (read(path) for path in transcripts_in(folder.path / ".provision"))
    assert [len(sittings_of(one)) for one in (lesson, build)] == [1, 1]
    assert "create_policy(" not in written(folder)


def test_on_the_first_page_a_learner_starts_again_and_keeps_what_was_made(folder: Folder) -> None:
    place = folder.path / ".provision" / "sandbox-us-east-1.lesson.json"
    with Lesson(folder, 100) as lesson:
        lesson.turn()
        assert "start again" not in lesson.turn("?\n")  # nothing has begun
        lesson.turn("1\n")
        lesson.turn("r\n")
        assert "x: start again" in lesson.turn("0\n")
        assert "Forget what you did and answered?" in lesson.ask("x\n", "[y/N] ")
        lesson.turn("n\n")
        assert list(json.loads(place.read_text())["done"]) == ["policies"]
        lesson.ask("x\n", "[y/N] ")
        forgotten = lesson.turn("y\n")
        assert "It is forgotten. What was made stays." in forgotten and "teardown --sandbox" in forgotten
        assert "x: start again" not in forgotten
        saved = json.loads(place.read_text())
        assert (saved["done"], saved["answers"]) == ({}, {})
        assert "This step is done" in lesson.turn("1\n")
        lesson.quit()
