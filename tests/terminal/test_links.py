"""A `.provision` that came with a cloned project: no link in it is followed, and it is its owner's alone."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from provision.aws import sandbox_process
from provision.aws.waiting import Waiting
from provision.record import log
from provision.record.transcript import Transcript
from provision.state.state import State
from provision.terminal import disk, outcome
from provision.terminal.command_line import state_folder
from tests.rig.programs import Folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes links, which Windows allows to few")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


def opened(folder: Path) -> State:
    return State.open(folder / "state.json", account="123456789012", region="us-east-1", endpoint=None)


def save(folder: Path) -> None:
    state = opened(folder)
    try:
        state.save()
    finally:
        state.close()


def write_log(folder: Path) -> None:
    level = logging.getLogger().level
    try:
        log.begin(folder, "provision")
    finally:
        log.end()
        logging.getLogger().setLevel(level)


def write_transcript(folder: Path) -> None:
    """The run goes on without one: what cannot be written becomes a warning."""
    warnings: list[str] = []
    state = opened(folder)
    try:
        Transcript(Waiting(), warnings.append).begin("provision", state)
    finally:
        state.close()
    if warnings:
        raise OSError(warnings[0])


WRITERS: list[tuple[str, Callable[[Path], object]]] = [
    ("state.json", save),
    ("state.json.lock", save),
    ("logs", write_log),
    ("transcripts", write_transcript),
    ("transcripts/state", write_transcript),
    (sandbox_process.LOCK, sandbox_process.start),
    (sandbox_process.LOG, sandbox_process.start),
    (sandbox_process.KEPT, sandbox_process.start),
]


@pytest.mark.parametrize(("name", "write"), WRITERS)
@pytest.mark.parametrize("there", [True, False])
def test_no_link_is_followed(tmp_path: Path, name: str, write: Callable[[Path], object], there: bool) -> None:
    folder, victim = tmp_path / ".provision", tmp_path / "victim"
    is_folder = "." not in name
    if there and is_folder:
        victim.mkdir()
    elif there:
        victim.write_text("precious")
    link = folder / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    with pytest.raises((outcome.UserError, OSError), match="link"):
        write(folder)
    assert link.is_symlink()
    if not there:
        assert not victim.exists()
    elif is_folder:
        assert list(victim.iterdir()) == []
    else:
        assert victim.read_text() == "precious"


def test_what_replaces_a_file_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    """The backup, the id, a record, the place of a lesson, an exercise: all are written so."""
    victim, link = tmp_path / "victim", tmp_path / "state.json.backup"
    victim.write_text("precious")
    link.symlink_to(victim)
    (tmp_path / f".{link.name}.{os.getpid()}.tmp").symlink_to(victim)
    disk.write_durably(link, b"new")
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("precious", "new", False)


def test_a_dangling_gitignore_makes_no_file_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ".provision"
    folder.mkdir()
    (folder / ".gitignore").symlink_to(tmp_path / "victim")
    save(folder)
    assert not (tmp_path / "victim").exists()


def test_the_folder_and_all_in_it_is_its_owners_alone_and_hidden_from_git(tmp_path: Path) -> None:
    folder = tmp_path / ".provision"
    umask = os.umask(0)
    try:
        folder.mkdir(mode=0o777)
        (folder / "state.json.lock").write_text("")
        save(folder)
        save(folder)
        write_log(folder)
        write_transcript(folder)
    finally:
        os.umask(umask)
    modes = {path.relative_to(tmp_path): stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    modes = {path: mode for path, mode in modes.items() if path.name != ".gitignore"}
    assert len(modes) >= 8
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
    assert (folder / ".gitignore").read_text() == "*\n"


def test_a_link_in_the_place_of_the_folder_or_somebody_elses_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "project" / "src"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    (inner / ".provision").symlink_to(tmp_path)
    with pytest.raises(outcome.UserError, match="is a link"):
        state_folder()
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".provision").mkdir()
    assert state_folder() == Path(".provision")
    monkeypatch.setattr("provision.terminal.command_line.is_mine", lambda folder: False)
    with pytest.raises(outcome.UserError, match="belongs to somebody else"):
        state_folder()


def test_a_link_above_that_somebody_else_made_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "project"
    inner.mkdir()
    monkeypatch.chdir(inner)
    (tmp_path / ".provision").symlink_to(tmp_path / "victim")
    with pytest.raises(outcome.UserError, match="is a link"):
        state_folder()
    lstat = Path.lstat
    theirs = SimpleNamespace(st_uid=os.getuid() + 1, st_mode=stat.S_IFLNK)
    monkeypatch.setattr(Path, "lstat", lambda path: theirs if os.path.islink(path) else lstat(path))  # noqa: PTH114
    assert state_folder() == Path(".provision")
    (inner / ".provision").symlink_to(tmp_path)
    with pytest.raises(outcome.UserError, match="is a link"):
        state_folder()


def test_a_link_that_comes_between_look_and_open_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, link = tmp_path / "victim", tmp_path / "state.json.lock"
    victim.write_text("precious")
    link.symlink_to(victim)
    monkeypatch.setattr(disk, "refuse_link", lambda path: None)
    for mode in ("w", "a", "a+", "r+"):
        with pytest.raises(OSError, match="link"):
            disk.open_private(link, mode)
    assert victim.read_text() == "precious"


def test_a_private_file_is_private_from_the_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fchmod", lambda descriptor, mode: None)
    umask = os.umask(0)
    try:
        disk.open_private(tmp_path / "new", "w").close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_folders_of_the_users_own_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("logs", "transcripts"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    write_log(tmp_path)
    write_transcript(tmp_path)
    for name in ("logs", "transcripts"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o755
        assert not (tmp_path / name / ".gitignore").exists()
    made = tmp_path / "transcripts" / "state"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert (made / ".gitignore").read_text() == "*\n"


def test_a_record_that_names_another_machine_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sandbox_process, "answers", lambda running: bool(asked.append(running.url)) or True)
    for url in ("http://sandbox.example:4566", "http://127.0.0.1.example:1", "http://127.0.0.1:1@sandbox.example"):
        record = {"id": "sandbox-1", "url": url, "pid": 1}
        (tmp_path / sandbox_process.RECORD).write_text(json.dumps(record))
        assert sandbox_process.find(tmp_path) is None
    assert asked == []
    (tmp_path / sandbox_process.RECORD).write_text(json.dumps({**record, "url": "http://127.0.0.1:4566"}))
    assert sandbox_process.find(tmp_path) is not None


@pytest.mark.parametrize(
    "command",
    [
        ("provision", "--sandbox"),
        ("provision", "status", "--sandbox"),
        ("teardown", "--sandbox"),
        ("sandbox", "status"),
    ],
    ids=" ".join,
)
def test_each_program_says_that_the_folder_is_a_link_and_writes_nothing(
    folder: Folder, command: tuple[str, ...]
) -> None:
    victim = folder.path / "victim"
    victim.mkdir()
    (folder.path / ".provision").symlink_to(victim)
    ended = folder.run(*command)
    assert ended.returncode == outcome.ENVIRONMENT, ended.stderr
    assert "is a link, and links are not followed" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(victim.iterdir()) == []


def test_the_time_of_a_log_is_no_name_that_somebody_can_take(tmp_path: Path) -> None:
    """A link with the very name of the log: it is refused."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / ".provision" / "logs"
    folder.mkdir(parents=True)
    now = datetime.now(timezone.utc)
    for second in range(5):
        name = f"{now.replace(microsecond=0):%Y%m%d-%H%M}{now.second + second:02d}-{os.getpid()}-provision.log"
        (folder / name).symlink_to(victim)
    with pytest.raises(OSError, match="link"):
        write_log(tmp_path / ".provision")
    assert victim.read_text() == "precious"
