"""The state file: what is recorded is on the disk before it is made, and no accident leaves the file unreadable."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import portalocker
import pytest

from provision.aws.answers import AnswerLost, Call
from provision.aws.calls import UnrecordedWrite
from provision.aws.clients import Clients
from provision.aws.operations import DEAD_LETTER_CALLS, SMOKE_TEST_CALLS
from provision.aws.waiting import Waiting
from provision.cli.runner import run_steps
from provision.settings import Settings
from provision.state import file as file_module
from provision.state.entries import TAG, Resource
from provision.state.file import StateRefused, checksum, parse
from provision.state.ownership import NotOurs, TagLost, TagNotYetVisible, UnknownOwner
from provision.state.resources import PLACES, names
from provision.state.state import NotAgreed, State
from provision.terminal import disk, outcome
from provision.terminal.disk import write_durably
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.deployment import Deployment

TRUST = (CHECKOUT / "policies" / "trust-lambda.json").read_text()

ACCOUNT = "123456789012"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.json"


@pytest.fixture
def run(sandbox: Sandbox, path: Path) -> Iterator[Deployment]:
    """A deployment whose waits take no time, in an account that must be empty again at the end."""
    with Deployment(sandbox.id, sandbox.url, path) as entry:
        entry.waiting = Waiting(sleep=lambda seconds: None)
        yield entry
        assert not any(entry.aws.inventory().values())


def opened(path: Path, *, account: str = ACCOUNT, region: str = "us-east-1", endpoint: str | None = None) -> State:
    return State.open(path, account=account, region=region, endpoint=endpoint)


def a_write(operation: str = "CreateTable", service: str = "dynamodb") -> Call:
    return Call(1, service, operation, {}, False, 0.0)


def make(state: State, key: str = "table", found: dict[str, Any] | None = None, **outputs: str) -> None:
    """Make one resource the way a step does: look, record, one write, note."""
    with state.resource(key, "dynamodb:table", found=found, TableName=f"name-{key}") as entry:
        state.permit(a_write())
        for name, value in outputs.items():
            entry[name] = value


def kept(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def rewrite(path: Path, change: Callable[[dict[str, Any]], object], *, honest: bool = False) -> None:
    """Edit the file by hand; `honest` with a checksum that fits."""
    content = kept(path)
    change(content)
    if honest:
        content["checksum"] = checksum(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def temporary_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".tmp"))


# The record.


def test_a_promise_is_on_the_disk_when_the_first_write_leaves_and_not_before(path: Path) -> None:
    state = opened(path)
    with state.resource("table", "dynamodb:table", found=None, TableName="name"):
        assert not path.exists()
        state.permit(a_write())
        [is_recorded] = kept(path)["resources"]
        assert is_recorded["status"] == "creating"
        assert is_recorded["identity"] == {"TableName": "name"}
        assert is_recorded["kind"] == "dynamodb:table"
    [noted] = kept(path)["resources"]
    assert noted["status"] == "created"


def test_a_block_without_a_write_leaves_the_file_byte_for_byte(path: Path) -> None:
    state = opened(path)
    with state.resource("table", "dynamodb:table", found=None, TableName="name") as entry:
        state.permit(a_write())
        entry["arn"] = "arn:1"
    state.close()
    before, inode = path.read_bytes(), path.stat().st_ino
    again = opened(path)
    ours = {"TableName": "name", "Tags": again.tags}
    with again.resource("table", "dynamodb:table", found=ours, TableName="name") as entry:
        entry["arn"] = "arn:1"
    again.close()
    assert path.read_bytes() == before
    assert path.stat().st_ino == inode
    assert not path.with_name("ledger.json.backup").exists()


def test_an_exception_inside_leaves_the_promise_creating(path: Path) -> None:
    state = opened(path)
    with (
        pytest.raises(RuntimeError, match="cut off"),
        state.resource("table", "dynamodb:table", found=None, TableName="name"),
    ):
        state.permit(a_write())
        raise RuntimeError("cut off")
    assert [entry["status"] for entry in kept(path)["resources"]] == ["creating"]
    assert state.results == []
    with pytest.raises(UnrecordedWrite):  # the record is closed with its block
        state.permit(a_write())


def test_an_exception_before_the_first_write_leaves_no_promise(path: Path) -> None:
    state = opened(path)
    with (
        pytest.raises(RuntimeError),
        state.resource("table", "dynamodb:table", found=None, TableName="name"),
    ):
        raise RuntimeError
    assert not path.exists()


def test_an_id_learned_in_a_block_is_on_the_disk_when_the_next_write_leaves(path: Path) -> None:
    state = opened(path)
    with state.resource("api", "apigateway:rest-api", found=None, name="POC-API") as entry:
        state.permit(a_write("CreateRestApi", "apigateway"))
        entry.identify({"id": "abc123"})
        state.permit(a_write("CreateResource", "apigateway"))
        assert kept(path)["resources"][0]["outputs"] == {"id": "abc123"}


def test_a_update_that_fails_leaves_the_resource_recorded_as_made(path: Path) -> None:
    state = opened(path)
    make(state, arn="arn:1")
    with pytest.raises(RuntimeError):
        make_raising(state)
    [entry] = kept(path)["resources"]
    assert (entry["status"], entry["outputs"]) == ("created", {"arn": "arn:1"})


def make_raising(state: State) -> None:
    found = {"Tags": state.tags}
    with state.resource("table", "dynamodb:table", found=found, TableName="name-table"):
        state.permit(a_write("UpdateTable"))
        raise RuntimeError


def test_what_a_run_learned_the_next_one_reads(path: Path) -> None:
    state = opened(path)
    make(state, arn="arn:1")
    state.close()
    again = opened(path)
    assert again.outputs("table") == {"arn": "arn:1"}
    assert again.identity("table") == {"TableName": "name-table"}
    assert again.deployment == state.deployment
    assert not again.is_new
    with pytest.raises(KeyError):
        again.outputs("queue")


def test_a_resource_made_again_keeps_its_place(path: Path) -> None:
    state = opened(path)
    for key in ("one", "two", "three"):
        make(state, key, arn="old")
    state.close()
    again = opened(path)
    make(again, "two", arn="new")  # somebody deleted it behind our back
    assert [entry["key"] for entry in kept(path)["resources"]] == ["one", "two", "three"]
    assert again.outputs("two") == {"arn": "new"}


def test_what_is_made_again_loses_what_was_known_of_its_predecessor(path: Path) -> None:
    """The id of a deleted resource must not vouch for whatever comes after it."""
    state = opened(path)
    make(state, id="old")
    with (
        pytest.raises(RuntimeError),
        state.resource("table", "dynamodb:table", found=None, TableName="name-table"),
    ):
        state.permit(a_write())
        raise RuntimeError
    [entry] = kept(path)["resources"]
    assert (entry["status"], entry["outputs"]) == ("creating", {})


def test_outcomes_tell_created_unchanged_updated_and_recovered(path: Path) -> None:
    state = opened(path)
    ours = {"Tags": state.tags}
    make(state, "one")
    with state.resource("one", "dynamodb:table", found=ours, TableName="name-one"):
        pass
    with state.resource("one", "dynamodb:table", found=ours, TableName="name-one") as entry:
        assert entry.drifted("billing mode", found="PROVISIONED", wanted="PAY_PER_REQUEST")
        state.permit(a_write("UpdateTable"))
    with (
        pytest.raises(RuntimeError),
        state.resource("two", "dynamodb:table", found=None, TableName="two"),
    ):
        state.permit(a_write())
        raise RuntimeError
    with state.resource("two", "dynamodb:table", found=ours, TableName="two"):
        pass
    assert [event.outcome for event in state.results] == ["created", "unchanged", "updated", "recovered"]
    assert state.results[2].differences[0].found == "PROVISIONED"


def test_a_update_whose_answer_was_lost_is_reported_as_a_update(path: Path) -> None:
    state = opened(path)
    make(state)
    ours = {"Tags": state.tags}
    with (
        pytest.raises(AnswerLost),
        state.resource("table", "dynamodb:table", found=ours, TableName="name-table") as entry,
    ):
        entry.drifted("billing mode", found="PROVISIONED", wanted="PAY_PER_REQUEST")
        state.permit(a_write("UpdateTable"))
        raise AnswerLost(a_write("UpdateTable"), "no answer")
    with state.resource("table", "dynamodb:table", found=ours, TableName="name-table"):
        pass  # the look finds it updated
    event = state.results[-1]
    assert event.outcome == "updated"
    assert [difference.attribute for difference in event.differences] == ["billing mode"]


# The file.


def test_the_serial_counts_saves(path: Path) -> None:
    state = opened(path)
    make(state)  # the record, the note
    assert kept(path)["serial"] == 2
    state.close()
    again = opened(path)
    assert again.serial == 2
    again.save()
    assert kept(path)["serial"] == 3


def test_the_checksum_knows_content_and_no_spelling(path: Path) -> None:
    state = opened(path)
    make(state)
    state.close()
    content = kept(path)
    path.write_text(json.dumps(dict(reversed(content.items())), indent=7), encoding="utf-8")
    opened(path).close()
    assert checksum(content) == content["checksum"]
    assert checksum({**content, "serial": 99}) != content["checksum"]


def test_the_backup_is_what_the_run_found(path: Path) -> None:
    first = opened(path)
    make(first, "one")
    first.close()
    assert not path.with_name("ledger.json.backup").exists()  # there was nothing before
    before = path.read_bytes()
    second = opened(path)
    make(second, "two")
    make(second, "three")
    second.close()
    assert path.with_name("ledger.json.backup").read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_state_file_and_backup_are_readable_by_their_owner_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        make_and_close(path, "one")
        path.chmod(0o666)
        path.with_name(f".ledger.json.{os.getpid()}.tmp").write_text("somebody else's")
        path.with_name(f".ledger.json.{os.getpid()}.tmp").chmod(0o666)
        make_and_close(path, "two")
    finally:
        os.umask(umask)
    for file in (path, path.with_name("ledger.json.backup")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def make_and_close(path: Path, key: str) -> None:
    state = opened(path)
    make(state, key)
    state.close()


def test_a_link_in_the_place_of_a_state_file_is_refused_and_not_followed(path: Path) -> None:
    make_and_close(path, "one")
    link, before = path.with_name("link.json"), path.read_bytes()
    link.symlink_to(path)
    with pytest.raises(StateRefused, match="is a link") as refused:
        opened(link)
    assert f"--state {path}" in refused.value.advice[0]
    assert path.read_bytes() == before
    assert not link.with_name("link.json.lock").exists()


def test_no_temporary_file_is_left_and_those_of_killed_runs_are_removed(path: Path) -> None:
    make_and_close(path, "one")
    assert temporary_files(path.parent) == []
    for name in (".ledger.json.4711.tmp", ".ledger.json.backup.4711.tmp", ".ledger.json.other.4711.tmp", "my.tmp"):
        path.with_name(name).write_text("half a state file")
    opened(path).close()
    assert temporary_files(path.parent) == [".ledger.json.other.4711.tmp", "my.tmp"]


def test_a_state_file_makes_the_folder_it_lives_in(tmp_path: Path) -> None:
    make_and_close(tmp_path / "new" / "deep" / "ledger.json", "one")
    assert (tmp_path / "new" / "deep" / "ledger.json").exists()


# A file that cannot be used.

DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "blank": (lambda path: path.write_bytes(b"\n \n"), "empty"),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), "not JSON"),
    "not text": (lambda path: path.write_bytes(b"\xff\xfe\xfa"), "not JSON"),
    "bottomless": (lambda path: path.write_bytes(b"[" * 100_000), "not JSON"),
    "half": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "not JSON"),
    "torn": (lambda path: path.write_bytes(path.read_bytes()[:300] + path.read_bytes()[:-300]), "not JSON"),
    "a list": (lambda path: path.write_bytes(b"[]"), "not a state file"),
    "somebody's": (lambda path: path.write_bytes(b'{"version": 4, "lineage": "x"}'), "not a state file"),
    "later schema": (lambda path: rewrite(path, lambda it: it.update(schema=2)), "schema 2"),
    "no resources": (lambda path: rewrite(path, lambda it: it.pop("resources"), honest=True), "resources is missing"),
    "no account": (lambda path: rewrite(path, lambda it: it.pop("account"), honest=True), "account is missing"),
    "serial a text": (lambda path: rewrite(path, lambda it: it.update(serial="3"), honest=True), "serial is missing"),
    "endpoint a number": (lambda path: rewrite(path, lambda it: it.update(endpoint=5), honest=True), "endpoint"),
    "no checksum": (lambda path: rewrite(path, lambda it: it.pop("checksum")), "checksum"),
    "edited account": (lambda path: rewrite(path, lambda it: it.update(account="999999999999")), "checksum"),
    "edited name": (
        lambda path: rewrite(path, lambda it: it["resources"][0]["identity"].update(TableName="x")),
        "chec",
    ),
    "edited status": (lambda path: rewrite(path, lambda it: it["resources"][0].update(status="deleted")), "checksum"),
    "entry removed": (lambda path: rewrite(path, lambda it: it["resources"].clear()), "checksum"),
    "entry a text": (lambda path: rewrite(path, lambda it: it["resources"].append("x"), honest=True), "malformed"),
    "entry empty": (lambda path: rewrite(path, lambda it: it["resources"].append({}), honest=True), "malformed"),
    "no such status": (
        lambda path: rewrite(path, lambda it: it["resources"][0].update(status="maybe"), honest=True),
        "malformed",
    ),
    "no such origin": (
        lambda path: rewrite(path, lambda it: it["resources"][0].update(origin="found"), honest=True),
        "malformed",
    ),
    "a name that is none": (
        lambda path: rewrite(path, lambda it: it["resources"][0]["identity"].update(TableName=7), honest=True),
        "malformed",
    ),
    "unknown field": (
        lambda path: rewrite(path, lambda it: it["resources"][0].update(colour="red"), honest=True),
        "malformed",
    ),
    "part of nothing": (
        lambda path: rewrite(path, lambda it: it["resources"][0].update(parent="function-role"), honest=True),
        "part of nothing",
    ),
    "part of itself": (
        lambda path: rewrite(
            path,
            lambda it: it["resources"].append(
                {
                    **it["resources"][0],
                    "key": "stage",
                    "kind": "apigateway:stage",
                    "identity": {"restApiId": "a", "stageName": "b"},
                    "parent": "one",
                }
            ),
            honest=True,
        ),
        "part of nothing",
    ),
    "one key twice": (
        lambda path: rewrite(path, lambda it: it["resources"].append(it["resources"][0]), honest=True),
        "same key",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_once_and_left_as_it_is(path: Path, damage: str) -> None:
    make_and_close(path, "one")
    make_and_close(path, "two")
    backup = path.with_name("ledger.json.backup")
    wreck, says = DAMAGES[damage]
    wreck(path)
    damaged, saved = path.read_bytes(), backup.read_bytes()
    with pytest.raises(StateRefused, match=says) as refused:
        opened(path)
    assert str(path) in refused.value.what
    if "schema" not in says:
        assert f"cp {backup} {path}" in " ".join(refused.value.advice)
    assert (path.read_bytes(), backup.read_bytes()) == (damaged, saved)
    assert temporary_files(path.parent) == []
    shutil.copy(backup, path)  # what the message advises works, at once: the lock is free again
    assert [entry.key for entry in opened(path).resources] == ["one"]


def test_a_backup_that_cannot_be_read_is_not_advised(path: Path) -> None:
    path.write_text("", encoding="utf-8")
    backup = path.with_name("ledger.json.backup")
    backup.write_text("{", encoding="utf-8")
    with pytest.raises(StateRefused) as refused:
        opened(path)
    assert refused.value.advice == (f"Its backup, {backup}, cannot be used either.",)


def test_no_backup_is_named_where_there_is_none(path: Path) -> None:
    path.write_text("", encoding="utf-8")
    with pytest.raises(StateRefused) as refused:
        opened(path)
    assert ".backup" not in " ".join(refused.value.advice)


def test_whatever_bytes_are_cut_or_changed_the_content_is_the_same_or_refused(path: Path) -> None:
    state = opened(path)
    make(state, "one", arn="arn:1")
    whole, content = path.read_bytes(), kept(path)
    chance = random.Random(7)
    variants = [whole[:length] for length in range(len(whole))]
    for _ in range(1500):
        at = chance.randrange(len(whole))
        variants.append(whole[:at] + bytes([chance.randrange(256)]) + whole[at + 1 :])
    refused = 0
    for variant in variants:
        try:
            assert parse(variant, path) == content
        except StateRefused:
            refused += 1
    assert refused > len(whole)


def test_a_file_that_may_not_be_read_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_and_close(path, "one")

    def denied(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(StateRefused, match="cannot be read: Permission denied") as refused:
        opened(path)
    assert refused.value.exit_code == outcome.ENVIRONMENT


# A file that cannot be written.


def failing(error: int) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise OSError(error, os.strerror(error))

    return fail


def break_at(monkeypatch: pytest.MonkeyPatch, place: str, error: int) -> None:
    owner = Path if place == "replace" else os
    monkeypatch.setattr(owner, place, failing(error))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("place", ["open", "fdopen", "fsync", "replace"])
def test_what_cannot_be_written_stops_the_write_that_was_to_follow(
    path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: int
) -> None:
    make_and_close(path, "one")
    before = path.read_bytes()
    state = opened(path)
    break_at(monkeypatch, place, error)
    with (
        pytest.raises(StateRefused, match=os.strerror(error)) as refused,
        state.resource("two", "dynamodb:table", found=None, TableName="two"),
    ):
        state.permit(a_write())
        pytest.fail("a write left without its record")
    assert refused.value.exit_code == outcome.ENVIRONMENT
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert temporary_files(path.parent) == []


@needs_fork
def test_a_really_full_disk_stops_the_write_that_was_to_follow(path: Path) -> None:
    """No stand-in: the operating system refuses to let any file grow."""
    import resource

    make_and_close(path, "one")
    before = path.read_bytes()

    def child() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        state = opened(path)
        try:
            make(state, "two")
        except StateRefused:
            return 7
        return 0

    assert in_child(child) == 7
    assert path.read_bytes() == before
    assert temporary_files(path.parent) == []


def test_after_a_save_that_failed_no_write_leaves_until_one_succeeds(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = opened(path)
    with state.resource("one", "dynamodb:table", found=None, TableName="one"):
        with monkeypatch.context() as patch:
            break_at(patch, "fsync", errno.ENOSPC)
            for _ in range(2):
                with pytest.raises(StateRefused):
                    state.permit(a_write())
        assert not path.exists()
        state.permit(a_write())
        assert kept(path)["resources"][0]["status"] == "creating"


def test_what_cannot_be_recorded_as_deleting_is_not_deleted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = opened(path)
    make(state, "one")
    [resource] = state.standing
    break_at(monkeypatch, "fsync", errno.ENOSPC)
    for _ in range(2):
        with pytest.raises(StateRefused), state.deleting(resource):
            pytest.fail("the deletion went on without being recorded")
    assert kept(path)["resources"][0]["status"] == "created"


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "private_opener", failing(errno.EROFS))
    with pytest.raises(StateRefused, match="cannot be written: Read-only file system") as refused:
        opened(tmp_path / "ledger.json")
    assert "--state" in " ".join(refused.value.advice)
    assert refused.value.exit_code == outcome.ENVIRONMENT


@pytest.mark.parametrize("kind_of_run", ["build", "tear_down"])
def test_a_run_whose_disk_fills_sends_no_write_from_then_on(
    run: Deployment, monkeypatch: pytest.MonkeyPatch, kind_of_run: str
) -> None:
    if kind_of_run == "tear_down":
        run.build()
    saves_left = 9
    sent_afterwards: list[str] = []
    fsync = os.fsync

    def full_after_a_while(descriptor: int) -> None:
        nonlocal saves_left
        saves_left -= 1
        if saves_left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    def watch(aws: Any, state: State) -> None:
        aws.calls.listeners.append(
            lambda call: sent_afterwards.append(call.operation) if saves_left < 0 and not call.is_read else None
        )

    run.prepare = watch
    monkeypatch.setattr(os, "fsync", full_after_a_while)
    with pytest.raises(StateRefused, match="No space left"):
        getattr(run, kind_of_run)()
    assert saves_left < 0
    assert sent_afterwards == []
    monkeypatch.undo()
    run.prepare = lambda aws, state: None
    assert run.tear_down() == []  # the file is whole, and knows everything that was made


# Power failures: what survives is what was synchronised, and nothing else.


class Disk:
    """A folder as it would be found after a power failure at this moment, at worst.

    File content survives as it was at the file's last fsync, names as they were at the folder's last fsync.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.survives: dict[str, bytes] = {}
        self._synced: dict[int, bytes] = {}
        self._linked: dict[str, int] = {}
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        number = os.fstat(descriptor).st_ino
        files = {path.name: path.stat().st_ino for path in self.folder.iterdir() if path.is_file()}
        if number == self.folder.stat().st_ino:
            self._linked = files
            self.survives = {name: self._synced.get(inode, b"") for name, inode in files.items()}
        else:
            for name, inode in files.items():
                if inode == number:
                    self._synced[number] = (self.folder / name).read_bytes()
                    if self._linked.get(name) == number:
                        self.survives[name] = self._synced[number]

    def promises(self, name: str) -> list[dict[str, Any]]:
        """The entries that would be read after the failure; StateRefused if the file would be unreadable."""
        if name not in self.survives:
            return []
        entries: list[dict[str, Any]] = parse(self.survives[name], self.folder / name)["resources"]
        return entries


def test_every_write_leaves_with_its_promise_safe_from_a_power_failure(
    run: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(run.path.parent, monkeypatch)
    checked = []

    def watch(aws: Any, state: State) -> None:
        def before_send(**event: Any) -> None:
            call = aws.calls.history[-1]
            if call.is_read:
                return
            [wanted] = [entry.resource for entry in state._open] or state._deleting
            entries = {entry["key"]: entry for entry in disk.promises("ledger.json")}
            assert entries[wanted.key]["identity"] == wanted.identity
            assert entries[wanted.key]["status"] in ("creating", "deleting")
            checked.append(call.operation)

        for client in (aws.iam, aws.dynamodb, aws.sqs, aws.lambda_, aws.apigateway, aws.logs):
            client.meta.events.register_first("before-send.*.*", before_send)

    run.prepare = watch
    run.build()
    assert len(checked) == len(run.writes) > 20
    checked.clear()
    assert run.tear_down() == []
    assert len(checked) == len(run.writes) > 10


def in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def in_place_synced_late(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        os.fsync(file.fileno())
        file.write(data[len(data) // 2 :])


def renamed_without_fsync(path: Path, data: bytes) -> None:
    temporary = path.with_name("t")
    temporary.write_bytes(data)
    temporary.replace(path)
    sync_folder(path)


def renamed_without_fsync_of_the_folder(path: Path, data: bytes) -> None:
    temporary = path.with_name("t")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


@pytest.mark.parametrize(
    "protocol",
    [
        in_place,
        in_place_synced_late,
        renamed_without_fsync,
        renamed_without_fsync_of_the_folder,
        write_durably,
    ],
)
def test_the_power_failure_finds_every_weaker_way_to_save(
    path: Path, monkeypatch: pytest.MonkeyPatch, protocol: Callable[[Path, bytes], None]
) -> None:
    disk = Disk(path.parent, monkeypatch)
    monkeypatch.setattr(file_module, "write_durably", protocol)
    state = opened(path)
    sync_folder(path)
    safe = True
    for key in ("one", "two", "three"):
        with state.resource(key, "dynamodb:table", found=None, TableName=key):
            state.permit(a_write())
            try:
                safe &= key in [entry["key"] for entry in disk.promises("ledger.json")]
            except StateRefused:
                safe = False
    assert safe == (protocol is write_durably)


# Kills.


def in_child(work: Callable[[], int]) -> int:
    """Run `work` in a child process; the status it ends with, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class DiesAt:
    """Ends the process, without any clean-up, at the n-th resource it does to files. Writes are torn in the middle."""

    def __init__(self, number: int) -> None:
        self.left = number
        for owner, name in (
            (os, "open"),
            (os, "fsync"),
            (os, "close"),
            (os, "fdopen"),
            (Path, "replace"),
            (Path, "unlink"),
        ):
            setattr(owner, name, self.watched(getattr(owner, name)))

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os._exit(9)

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.step()
            result = function(*arguments, **options)
            if function.__name__ == "fdopen":
                write = result.write
                result = Torn(result, self.step, write)
            return result

        return call


class Torn:
    """A file whose writes reach the disk in two halves, with a chance to die between them."""

    def __init__(self, file: Any, step: Callable[[], None], write: Callable[[bytes], int]) -> None:
        self.file, self.step, self._write = file, step, write

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self._write(data[: len(data) // 2])
        self.file.flush()
        self.step()
        self._write(data[len(data) // 2 :])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@needs_fork
@pytest.mark.parametrize("had_one", [False, True])
def test_a_kill_at_any_file_operation_leaves_the_old_or_the_new_state_file(path: Path, had_one: bool) -> None:
    if had_one:
        make_and_close(path, "old")
    before = path.read_bytes() if had_one else None

    for number in range(1, 100):
        reset(path, before)

        def child(number: int = number) -> int:
            state = opened(path)
            DiesAt(number)
            with state.resource("new", "dynamodb:table", found=None, TableName="new"):
                state.permit(a_write())
            return 0

        code = in_child(child)
        found = opened(path)
        keys = [entry.key for entry in found.resources]
        found.close()
        assert keys in ([], ["old"], ["new"], ["old", "new"])
        assert ("old" in keys) == had_one
        assert temporary_files(path.parent) == []  # opening it cleaned up
        if code == 0:
            assert "new" in keys
            break
        assert code == 9
    assert number > 14  # both saves, and every operation in them, had their turn


def reset(path: Path, content: bytes | None) -> None:
    for other in path.parent.iterdir():
        other.unlink()
    if content is not None:
        path.write_bytes(content)


@pytest.mark.slow
@needs_fork
def test_a_state_file_that_is_killed_while_it_saves_holds_all_it_said_it_had_saved(path: Path) -> None:
    chance = random.Random(3)
    acknowledged = 0
    for _ in range(25):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                state = opened(path)
                for number in range(100_000):
                    make(state, f"resource-{number % 40}")
                    os.write(writing, f"{state.serial}\n".encode())
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = [int(pipe.readline())]  # now it is at work
            time.sleep(chance.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said += [int(line) for line in pipe.read().split()]
        found = opened(path)  # readable, and its lock went with its holder
        found.close()
        acknowledged += len(said)
        assert found.serial >= max(said)
    assert acknowledged > 25  # most were killed some saves later


# The lock.

HOLDER = """
import sys, time
from pathlib import Path
from provision.state.state import NotAgreed, State

held = State.open(Path(sys.argv[1]), account="123456789012", region="us-east-1", endpoint=None)
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_refused_by_name_of_the_first_whose_lock_dies_with_it(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(StateRefused, match=rf"in use by process {holder.pid} on ") as refused:
                opened(path)
            assert str(path) in refused.value.what
            assert f": -c {path}." in refused.value.what  # its command line: a program's is python -m ...
        finally:
            holder.kill()
    opened(path).close()


def test_one_process_cannot_open_a_state_file_twice_until_it_closed_it(path: Path) -> None:
    first = opened(path)
    with pytest.raises(StateRefused, match=f"process {os.getpid()}"):
        opened(path)
    first.close()
    first.close()  # harms nobody
    opened(path).close()


def test_a_place_without_locks_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portalocker, "lock", failing(errno.ENOLCK))
    with pytest.raises(StateRefused, match="cannot be locked") as refused:
        opened(path)
    assert "--state" in " ".join(refused.value.advice)


# Where a state file may act.


@pytest.mark.parametrize(
    ("here", "recorded", "now"),
    [
        ({"account": "999999999999"}, ACCOUNT, "999999999999"),
        ({"region": "eu-central-1"}, "us-east-1", "eu-central-1"),
        ({"endpoint": "http://127.0.0.1:4566"}, "AWS", "http://127.0.0.1:4566"),
        ({"endpoint": "sandbox:sb-1"}, "AWS", "sandbox:sb-1"),
    ],
)
def test_a_state_file_acts_only_where_its_resources_are(
    path: Path, here: dict[str, str], recorded: str, now: str
) -> None:
    make_and_close(path, "one")
    before = path.read_bytes()
    with pytest.raises(StateRefused) as refused:
        opened(path, **here)
    assert recorded in refused.value.what
    assert now in refused.value.what
    assert path.read_bytes() == before
    opened(path).close()


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:4566"])
def test_a_sandbox_state_file_never_drives_anything_else(path: Path, endpoint: str | None) -> None:
    state = opened(path, endpoint="sandbox:sb-1")
    make(state)
    state.close()
    with pytest.raises(StateRefused, match="sandbox:sb-1"):
        opened(path, endpoint=endpoint)


def test_a_state_file_of_a_sandbox_that_is_gone_begins_anew_in_another(path: Path) -> None:
    state = opened(path, endpoint="sandbox:sb-1")
    make(state)
    state.close()
    again = opened(path, endpoint="sandbox:sb-2")
    assert again.endpoint == "sandbox:sb-1"  # the caller sees it, and says so
    again.forget_sandbox("sandbox:sb-2")
    assert again.standing == []
    again.close()
    assert kept(path)["endpoint"] == "sandbox:sb-1"  # nothing was written yet
    with pytest.raises(StateRefused, match="account"):
        opened(path, account="999999999999", endpoint="sandbox:sb-2")


def test_a_state_file_is_for_one_deployment_and_not_for_another_learners(path: Path) -> None:
    """To record hers in the place of ours would forget ours, and leave it behind for good."""
    make_and_close(path, "table")
    before = path.read_bytes()
    state = opened(path)
    for found in (None, {"Tags": state.tags}):
        with (
            pytest.raises(StateRefused, match="records dynamodb:table name-table, and this run is for name-alice"),
            state.resource("table", "dynamodb:table", found=found, TableName="name-alice"),
        ):
            pytest.fail("the block must not begin")
    assert path.read_bytes() == before
    state.note_gone(state.standing[0])
    with state.resource("table", "dynamodb:table", found=None, TableName="name-alice"):
        pass


@pytest.mark.parametrize(
    "key", ["write-policy", "function-role", "table", "queue", "log-group", "function", "trigger", "api"]
)
def test_a_state_file_of_other_names_is_refused_before_the_first_call(run: Deployment, path: Path, key: str) -> None:
    """Not at the step of that name, when the steps before it have updated what is not this state file's."""
    aws = run.connect()
    state = run.open(aws)
    for name, identity in names(aws, run.settings).items():
        kind = PLACES[name].kind
        other = {field: f"{value}-of-bob" if name == key else value for field, value in identity.items()}
        with state.resource(name, kind, found=None, **other):
            state.permit(a_write("Create", kind.partition(":")[0]))
    before, calls = path.read_bytes(), len(aws.calls.history)
    with pytest.raises(StateRefused, match="-of-bob, and this run is for"):
        run_steps(aws, run.settings, state, started=pytest.fail, ended=pytest.fail)
    assert (path.read_bytes(), len(aws.calls.history)) == (before, calls)
    state.close()


def test_a_part_follows_its_parent_to_another_id(path: Path) -> None:
    """An API that was made again has another id, and its stage is another stage."""
    state = opened(path)
    make(state, "api")
    for api_id in ("one", "two"):
        with state.resource("stage", "apigateway:stage", found=None, parent="api", restApiId=api_id):
            state.permit(a_write("CreateDeployment", "apigateway"))
    assert kept(path)["resources"][1]["identity"] == {"restApiId": "two"}


def test_another_learner_with_the_same_state_file_is_refused_and_loses_nothing(run: Deployment) -> None:
    run.build()
    built = run.aws.inventory()
    with pytest.raises(StateRefused, match="records iam:policy"):
        run.build(Settings(learner="alice"))
    assert run.aws.inventory() == built
    assert run.tear_down() == []


# Whose is it?

THEIRS = {"TableName": "name", "TableId": "theirs", "Tags": {}}


def look_at(state: State, found: dict[str, Any], key: str = "table") -> str:
    """What a step finds under our name; the outcome of its block."""
    with state.resource(key, "dynamodb:table", found=found, TableName="name-table"):
        pass
    return state.results[-1].outcome


def test_what_is_found_and_neither_recorded_nor_marked_is_not_ours(path: Path) -> None:
    state = opened(path)
    for tags in ({}, {"team": "blue"}, {TAG: "poc-ffffffff"}):
        with pytest.raises(NotOurs, match="name-table") as refused:
            look_at(state, {**THEIRS, "Tags": tags})
        assert state.deployment in refused.value.means
        assert "--learner" in " ".join(refused.value.advice)
        assert tags.get(TAG, "no tag") in refused.value.means
    assert not path.exists()


def test_a_namesake_made_after_ours_was_deleted_is_not_ours(path: Path) -> None:
    state = opened(path)
    make(state, id="ours")
    with pytest.raises(NotOurs, match="name-table") as refused:
        look_at(state, THEIRS)
    assert "TableId theirs" in refused.value.means
    assert "TableId ours" in refused.value.means


def test_a_mark_is_ours_even_when_nothing_is_recorded(path: Path) -> None:
    state = opened(path)
    assert look_at(state, {"TableId": "it", "Tags": state.tags}) == "unchanged"
    assert state.outputs("table") == {"id": "it"}


def test_tags_that_cannot_be_read_prove_nothing(path: Path) -> None:
    state = opened(path)
    with pytest.raises(UnknownOwner, match="tags could not be read"):
        look_at(state, {"TableId": "it", "Tags": None})
    make(state, id="other")
    with pytest.raises(UnknownOwner):
        look_at(state, {"TableId": "it", "Tags": None})


def test_the_recorded_id_is_a_claim_that_changes_nothing_without_the_tag(path: Path) -> None:
    state = opened(path)
    make(state, id="it")
    with pytest.raises(TagNotYetVisible):  # it was recorded a moment ago
        look_at(state, {"TableId": "it", "Tags": {}})
    state.late_tags = "refuse"
    with pytest.raises(TagLost, match="carries no tag") as refused:
        look_at(state, {"TableId": "it", "Tags": {}})
    assert f"{TAG}={state.deployment}" in " ".join(refused.value.advice)
    with pytest.raises(UnknownOwner):
        look_at(state, {"TableId": "it", "Tags": None})
    with pytest.raises(NotOurs, match="exists already"):
        look_at(state, {"TableId": "it", "Tags": {TAG: "poc-ffffffff"}})


def test_only_what_was_recorded_a_moment_ago_is_waited_for(path: Path) -> None:
    state = opened(path)
    make(state, id="it")
    for since in ("2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00", "2020-01-01", "then", ""):
        state.resources[0].since = since
        with pytest.raises(TagLost) as refused:
            look_at(state, {"TableId": "it", "Tags": {}})
        assert not isinstance(refused.value, TagNotYetVisible)


def test_what_carries_no_tags_is_as_much_ours_as_its_parent(path: Path) -> None:
    state = opened(path)
    stage = {"stageName": "Staging"}
    with (
        pytest.raises(NotOurs, match="Staging exists already"),
        state.resource("stage", "apigateway:stage", found=stage, parent="api", stageName="Staging"),
    ):
        pytest.fail("the block must not begin")
    make(state, "api")
    with state.resource("stage", "apigateway:stage", found=stage, parent="api", stageName="Staging"):
        pass
    assert state.results[-1].outcome == "unchanged"
    assert kept(path)["resources"][1]["parent"] == "api"
    state.note_gone(state.standing[0])
    with (
        pytest.raises(NotOurs, match="Staging exists already"),
        state.resource("stage", "apigateway:stage", found=stage, parent="api", stageName="Staging"),
    ):
        pytest.fail("the block must not begin")


def recorded(**outputs: str) -> Resource:
    return Resource("table", "dynamodb:table", "table", {"TableName": "name"}, outputs, status="created")


def test_only_what_carries_our_mark_is_ours_to_delete(path: Path) -> None:
    state = opened(path)
    assert state.is_ours(recorded(id="it"), {"TableId": "it", "Tags": state.tags})
    assert state.is_ours(recorded(), {"TableId": "it", "Tags": state.tags})  # its answer was lost
    assert not state.is_ours(recorded(id="ours"), THEIRS)
    assert not state.is_ours(recorded(), THEIRS)
    assert state.is_ours(recorded(), {"stageName": "Staging"})  # no tags: its parent was asked
    with pytest.raises(UnknownOwner):
        state.is_ours(recorded(id="it"), {"TableId": "it", "Tags": None})


@pytest.mark.parametrize("tags", [{}, {TAG: "poc-ffffffff"}])
def test_an_id_in_the_file_alone_deletes_nothing_and_forgets_nothing(path: Path, tags: dict[str, str]) -> None:
    state = opened(path)
    with pytest.raises(TagLost) as refused:
        state.is_ours(recorded(id="it"), {"TableId": "it", "Tags": tags})
    assert f"{TAG}={state.deployment}" in " ".join(refused.value.advice)


@pytest.mark.parametrize("going", [{"TableStatus": "DELETING"}, {"State": "Deleting"}])
def test_what_is_going_already_needs_no_mark(path: Path, going: dict[str, str]) -> None:
    assert opened(path).is_ours(recorded(id="it"), {"TableId": "it", "Tags": {}, **going})


def test_a_poisoned_state_file_does_not_delete_what_is_a_strangers(run: Deployment) -> None:
    role_name = run.settings.api_role
    theirs = run.aws.iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=TRUST)["Role"]
    state = run.open(run.connect())
    state.save()
    state.close()
    entry = Resource("api-role", "iam:role", "roles", {"RoleName": role_name}, {"id": theirs["RoleId"]}, since="then")
    entry.status = "created"
    rewrite(run.path, lambda content: content["resources"].append(vars(entry)), honest=True)
    [left] = run.tear_down()
    assert "carries no tag" in left.why
    run.aws.iam.delete_role(RoleName=role_name)  # it is still there
    assert [kept["key"] for kept in run.state["resources"]] == ["api-role"]


# The guard.


def test_a_write_outside_everything_is_stopped(path: Path) -> None:
    state = opened(path)
    make(state)
    before = path.read_bytes()
    with pytest.raises(UnrecordedWrite, match="dynamodb CreateTable"):
        state.permit(a_write())
    assert path.read_bytes() == before


@pytest.fixture
def guarded(run: Deployment) -> Iterator[tuple[Clients, State]]:
    """The suite's clients with the guard on them; a table and two queues are there, one queue is recorded."""
    run.aws.dynamodb.create_table(
        TableName="name",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    run.aws.sqs.create_queue(QueueName="somebodys")
    url = run.aws.sqs.create_queue(QueueName="POC-Queue")["QueueUrl"]
    aws = run.connect()
    state = run.open(aws)
    state.resources = [
        recorded(),
        Resource("queue", "sqs:queue", "queue", {"QueueName": "POC-Queue"}, {"url": url}, status="created"),
    ]
    yield aws, state
    state.close()
    for url in run.aws.sqs.list_queues()["QueueUrls"]:
        run.aws.sqs.delete_queue(QueueUrl=url)
    for name in run.aws.dynamodb.list_tables()["TableNames"]:
        run.aws.dynamodb.delete_table(TableName=name)


def forbidden(aws: Clients) -> list[Callable[[], object]]:
    """Writes that no smoke test may make."""
    queue_url = aws.sqs.get_queue_url(QueueName="POC-Queue")["QueueUrl"]
    somebodys = aws.sqs.get_queue_url(QueueName="somebodys")["QueueUrl"]
    return [
        lambda: aws.sqs.send_message(QueueUrl=somebodys, MessageBody="x"),
        lambda: aws.lambda_.invoke(FunctionName="somebodys"),
        lambda: aws.apigateway.test_invoke_method(restApiId="abc", resourceId="x", httpMethod="POST"),
        lambda: aws.dynamodb.delete_item(TableName="somebodys", Key={"id": {"S": "1"}}),
        lambda: aws.dynamodb.delete_table(TableName="name"),
        lambda: aws.dynamodb.put_item(TableName="name", Item={"id": {"S": "1"}}),
        lambda: aws.iam.create_role(RoleName="mine", AssumeRolePolicyDocument="{}"),
        lambda: aws.sqs.purge_queue(QueueUrl=queue_url),
        lambda: aws.sqs.receive_message(QueueUrl=queue_url),
        lambda: aws.lambda_.delete_function(FunctionName="POC-Lambda-1"),
        lambda: aws.apigateway.create_rest_api(name="mine"),
        lambda: aws.logs.create_log_group(logGroupName="mine"),
    ]


def allowed_to_trials(aws: Clients) -> list[Callable[[], object]]:
    queue_url = aws.sqs.get_queue_url(QueueName="POC-Queue")["QueueUrl"]
    return [
        lambda: aws.sqs.send_message(QueueUrl=queue_url, MessageBody="x"),
        lambda: aws.dynamodb.delete_item(TableName="name", Key={"id": {"S": "1"}}),
    ]


def test_no_call_of_the_suites_clients_writes_without_a_promise(
    guarded: tuple[Clients, State], run: Deployment
) -> None:
    aws, _ = guarded
    before = run.aws.inventory()
    for write in [*forbidden(aws), *allowed_to_trials(aws)]:
        with pytest.raises(UnrecordedWrite):
            write()
    aws.dynamodb.describe_table(TableName="name")  # reads pass
    assert run.aws.inventory() == before
    assert aws.calls.writes() == []


def test_a_trial_may_send_and_invoke_and_nothing_else(guarded: tuple[Clients, State], run: Deployment) -> None:
    aws, state = guarded
    for service, operations in SMOKE_TEST_CALLS.items():
        for operation, parameter in operations.items():
            call = Call(1, service, operation, {parameter: "POC-Queue"}, False, 0.0)
            with state.smoke_test("echo"):
                state.permit(call)
            with pytest.raises(UnrecordedWrite):
                state.permit(call)
    before = run.aws.inventory()
    with state.smoke_test("echo"):
        for write in allowed_to_trials(aws):
            write()
        for write in forbidden(aws):
            with pytest.raises(UnrecordedWrite):
                write()
    assert run.aws.inventory() == before
    assert [call.operation for call in aws.calls.writes()] == ["SendMessage", "DeleteItem"]
    assert not run.path.exists()


def test_a_trial_takes_messages_out_of_the_dead_letter_queue_alone(guarded: tuple[Clients, State]) -> None:
    _, state = guarded
    urls = [entry.outputs["url"] for entry in state.resources if entry.kind == "sqs:queue"]
    dead = {"url": "http://127.0.0.1/1/dead"}
    state.resources.append(
        Resource("dead-letter-queue", "sqs:queue", "queue", {"QueueName": "dead"}, dead, status="created")
    )
    for operation in DEAD_LETTER_CALLS:
        taking = Call(1, "sqs", operation, {"QueueUrl": dead["url"]}, False, 0.0)
        with state.smoke_test("trace"):
            state.permit(taking)
            for url in [*urls, None]:
                with pytest.raises(UnrecordedWrite):
                    state.permit(Call(1, "sqs", operation, {"QueueUrl": url}, False, 0.0))
        with pytest.raises(UnrecordedWrite):
            state.permit(taking)


def test_a_deletion_lets_its_writes_pass_and_no_later_ones(guarded: tuple[Clients, State], run: Deployment) -> None:
    aws, state = guarded
    later = forbidden(aws)
    with state.deleting(recorded()):
        aws.dynamodb.delete_table(TableName="name")
    assert run.aws.inventory()["tables"] == {}
    for write in later:
        with pytest.raises(UnrecordedWrite):
            write()


def test_before_a_person_has_agreed_no_write_leaves_and_nothing_is_recorded(path: Path) -> None:
    state = State.open(path, account=ACCOUNT, region="us-east-1", endpoint=None, may_write=False)
    with pytest.raises(NotAgreed, match="CreateTable was about to be sent, and nobody has agreed"):
        make(state)
    assert not path.exists()
    state.allow_writes()
    make(state)
    assert path.exists()


# Deleting.


def test_a_deletion_is_recorded_before_it_begins_and_when_it_is_done(path: Path) -> None:
    state = opened(path)
    make(state, "one")
    [resource] = state.standing
    with state.deleting(resource):
        assert kept(path)["resources"][0]["status"] == "deleting"
    assert kept(path)["resources"][0]["status"] == "deleted"
    assert state.standing == []
    assert state.record("one") is None


def test_a_deletion_that_fails_stays_open(path: Path) -> None:
    state = opened(path)
    make(state, "one")
    with contextlib.suppress(RuntimeError), state.deleting(state.standing[0]):
        raise RuntimeError
    assert kept(path)["resources"][0]["status"] == "deleting"
    assert [resource.key for resource in state.standing] == ["one"]
    with pytest.raises(UnrecordedWrite):
        state.permit(a_write("DeleteTable"))


def test_what_was_to_be_deleted_and_is_wanted_again_is_recorded_as_made(path: Path) -> None:
    state = opened(path)
    make(state, "one")
    with contextlib.suppress(RuntimeError), state.deleting(state.standing[0]):
        raise RuntimeError
    with state.resource("one", "dynamodb:table", found={"Tags": state.tags}, TableName="name-one"):
        pass
    assert kept(path)["resources"][0]["status"] == "created"
    assert state.outputs("one") == {}


def test_what_somebody_else_deleted_is_recorded_as_deleted(path: Path) -> None:
    state = opened(path)
    make(state, "one")
    state.note_gone(state.standing[0])
    assert kept(path)["resources"][0]["status"] == "deleted"


def test_closed_books_keep_what_is_left_and_the_receipt_until_something_is_made_again(path: Path) -> None:
    state = opened(path)
    make(state, "one")
    make(state, "two")
    state.note_gone(state.standing[1])
    state.close_books({"looks": 3})
    assert [entry["key"] for entry in kept(path)["resources"]] == ["one"]
    assert "receipt" not in kept(path)  # something is left, so nothing is proved
    state.note_gone(state.standing[0])
    state.close_books({"looks": 3})
    assert kept(path)["resources"] == []
    assert kept(path)["receipt"]["looks"] == 3
    state.close()
    again = opened(path)
    assert again.receipt is not None
    make(again, "one")
    assert "receipt" not in kept(path)
