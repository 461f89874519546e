"""The state file on the disk: its form, its checksum, its lock."""

from __future__ import annotations

import datetime
import errno
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from provision.settings import AccountRules
from provision.state.entries import Resource
from provision.state.resources import TYPES
from provision.terminal import outcome
from provision.terminal.disk import make_folder_durably, open_private, refuse_link, try_lock, unlock, write_durably
from provision.terminal.redaction import without_secrets
from provision.terminal.shell import own_command, to_copy
from provision.terminal.text import plural

SCHEMA = 1


class StateRefused(outcome.UserError):
    """The state file cannot be used: unreadable, damaged, of another account, or held by another process."""

    code = "state-file"


class StateDamaged(StateRefused):
    """The state file at `path` was cut or edited. The advice is about its backup; `--recover` is for who can run it."""

    def __init__(self, path: Path, how: str, *, advice: tuple[str, ...]) -> None:
        super().__init__(
            f"The state file {path} cannot be used: {how}.",
            means="What it recorded may still exist. Nothing was called, and nothing was overwritten.",
            advice=advice,
        )
        self.path = path


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def in_file(resource: Resource) -> dict[str, Any]:
    """An entry as the file has it. `before` is there only where there is something in it."""
    entry = dict(vars(resource))
    if not resource.before:
        del entry["before"]
    return entry


def text_of(lock: IO[str]) -> str:
    try:
        lock.seek(0)
        return lock.read().strip()
    except OSError:  # on Windows what is locked cannot be read either
        return ""


def holder_of(path: Path) -> str | None:
    """Who holds the lock of the state file at `path`, which need not be there yet; None if nobody does."""
    try:
        with open_private(path.with_name(path.name + ".lock"), "r+") as lock:
            if not try_lock(lock):
                return text_of(lock) or "another process"
            unlock(lock)
    except OSError:
        pass
    return None


def in_use(path: Path, holder: str) -> StateRefused:
    return StateRefused(
        f"The state file {path} is in use by {holder}.",
        means="Two programs at work on one deployment would undo each other's work.",
        advice=("Wait until it has ended, or end it, then run the same command again.",),
    )


def take_lock(path: Path) -> IO[str]:
    """The lock of the file at `path`, on another file, which is never renamed. Raises StateRefused."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        make_folder_durably(path.parent)
        lock = open_private(lock_path, "a+")
    except OSError as error:
        raise StateRefused(
            f"The state file's folder {path.parent} cannot be written: {error.strerror}.",
            means="Without a state file nothing is built: what was made could not be found again.",
            advice=("Choose another place with --state PATH.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error
    try:
        locked = try_lock(lock)
        if not locked:  # a program that only asks who holds it has it for a moment
            time.sleep(0.05)
            locked = try_lock(lock)
    except OSError as error:
        lock.close()
        raise StateRefused(
            f"The state file {path} cannot be locked: {error}.",
            means="This file system knows no locks, so a second program could not be kept out.",
            advice=("Choose a place on a local disk with --state PATH.",),
        ) from error
    if not locked:
        holder = text_of(lock) or "another process"
        lock.close()
        raise in_use(path, holder)
    holder = without_secrets(f"process {os.getpid()} on {socket.gethostname()}, started {now()}: {own_command()}")
    with suppress(OSError):  # for a message only; a full disk is told of where it matters
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), f"{holder}\n".encode("utf-8", "replace"))
    return lock


def release_lock(lock: IO[str] | None) -> None:
    """Give it up, and take the holder's name out of it."""
    if lock is not None:
        with suppress(OSError):
            os.ftruncate(lock.fileno(), 0)
        unlock(lock)
        lock.close()


def read_bytes(path: Path) -> bytes | None:
    """What is in the file; None where there is none. Raises StateRefused."""
    try:
        refuse_link(path)
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateRefused(
            f"The state file {path} cannot be read: {error.strerror}.",
            means="What it records may still exist in the account.",
            advice=("Make it readable, then run the same command again.",),
            exit_code=outcome.ENVIRONMENT,
        ) from error


class StateFile:
    """The file at a path, read and written as a whole, and held by its lock until `close`.

    `data` is what it holds, None where there is none. Without `locked` it is only read. Raises StateRefused when it
    cannot be read, or is held by another process.
    """

    def __init__(self, path: Path, *, locked: bool = True) -> None:
        self.path = path
        if path.is_symlink():
            raise StateRefused(
                f"The state file {path} is a link, and links are not followed.",
                means="Each name of a file would have a lock of its own. Nothing was done.",
                advice=(f"Name the file itself: --state {path.resolve()}",),
            )
        self._lock = take_lock(self.path) if locked else None
        self._backed_up = False
        try:
            self.data = read_bytes(self.path)
            if locked:
                remove_leavings(self.path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        lock, self._lock = self._lock, None
        release_lock(lock)

    def write(self, content: dict[str, Any]) -> None:
        """Write it so that it is whole at every moment; once, what was found is put beside it. Raises StateRefused."""
        data = in_lines({**content, "checksum": checksum(content)}).encode()
        try:
            if self.data is not None and not self._backed_up:
                write_durably(self.path.with_name(self.path.name + ".backup"), self.data)
            self._backed_up = True
            write_durably(self.path, data)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.data = data
        with suppress(OSError):  # from now on the file has the id
            self.id_path.unlink(missing_ok=True)

    # The deployment's id, before there is a state file.

    @property
    def id_path(self) -> Path:
        """Where the id of a deployment is kept of which nothing is recorded yet."""
        return self.path.with_name(self.path.name + ".id")

    def fixed_id(self) -> str | None:
        """The id that an earlier look has fixed; None where there was none, or it cannot be read."""
        try:
            found = self.id_path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return found if re.fullmatch(r"poc-[0-9a-f]{8}", found) else None

    def fix_id(self, deployment: str) -> None:
        """Keep the id beside the state file, so that each later run has it. Raises StateRefused."""
        if self.fixed_id() == deployment:
            return
        try:
            make_folder_durably(self.path.parent)
            write_durably(self.id_path, f"{deployment}\n".encode())
        except OSError as error:
            raise cannot_write(self.id_path, error) from error


def check_bound_to(path: Path, content: Mapping[str, Any], account: str, region: str, endpoint: str | None) -> None:
    """Raise StateRefused unless the file's content belongs to this account, Region and endpoint."""
    mine = {"account": content["account"], "Region": content["region"], "endpoint": content["endpoint"] or "AWS"}
    here = {"account": account, "Region": region, "endpoint": endpoint or "AWS"}
    for what, recorded in mine.items():
        if what == "endpoint" and recorded.startswith("sandbox:") and here[what].startswith("sandbox:"):
            continue  # another sandbox: the one that was recorded is gone, and the caller says so
        if recorded != here[what]:
            raise StateRefused(
                f"The state file {path} belongs to {what} {recorded}, and this run is for {here[what]}.",
                means="A state file never acts anywhere but where its resources are.",
                advice=("Use the matching --profile, --region or --endpoint-url, or another --state PATH.",),
            )


def cannot_write(path: Path, error: OSError) -> StateRefused:
    """What an OSError means for the state file, or for what is kept beside it."""
    return StateRefused(
        f"The state file {path} cannot be written: {error.strerror}.",
        means="The program stops before its next call, so that nothing is made that is not recorded.",
        advice=(
            ("Put its folder back, and run the same command again;", "if it is lost, add --recover.")
            if error.errno == errno.ENOENT
            else ("Make room or give write permission, then run the same command again.",)
        ),
        exit_code=outcome.ENVIRONMENT,
    )


def remove_leavings(path: Path) -> None:
    """Remove the temporary files of runs that were killed while they saved. Whoever holds the lock may do so."""
    leaving = re.compile(rf"\.{re.escape(path.name)}(\.backup|\.before\.zip)?\.[0-9]+\.tmp")
    for other in path.parent.iterdir():
        if leaving.fullmatch(other.name):
            with suppress(OSError):  # it harms nobody
                other.unlink()


def in_lines(content: Mapping[str, Any]) -> str:
    """The content as JSON, a member or a resource to a line. It is written at each step, and so must be quick."""
    members = {name: json.dumps(value) for name, value in content.items()}
    if content["resources"]:
        members["resources"] = "[\n    " + ",\n    ".join(map(json.dumps, content["resources"])) + "\n  ]"
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {text}" for name, text in members.items()) + "\n}\n"


def checksum(content: Mapping[str, Any]) -> str:
    """sha256 of the content without its checksum, independent of spacing and order of keys."""
    plain = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


FIELDS = {"deployment": str, "account": str, "region": str, "serial": int, "resources": list}

RESOURCE_FIELDS = {"key": str, "kind": str, "step": str, "identity": dict, "outputs": dict, "origin": str}

STATUSES = ("creating", "created", "deleting", "deleted")

ORIGINS = ("created", "adopted", "by hand", "used")


def parse(data: bytes, path: Path) -> dict[str, Any]:
    """The content of the state file, checked. Raises StateRefused naming what is wrong and the backup."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON" if data.strip() else "it is empty") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise _damaged(path, "it is not a state file")
    if content["schema"] != SCHEMA:
        raise StateRefused(
            f"The state file {path} has schema {content['schema']!r}; this version of the suite reads schema {SCHEMA}.",
            advice=("Use the version of the suite that wrote it.",),
        )
    damage = _damage(content)
    if damage is not None:
        raise _damaged(path, damage)
    return content


def _damage(content: dict[str, Any]) -> str | None:
    """What is wrong with a file of the right schema, in words; None when nothing is."""
    for name, kind in FIELDS.items():
        if not isinstance(content.get(name), kind):
            return f"its {name} is missing"
    if "endpoint" not in content or not isinstance(content["endpoint"], str | None):
        return "its endpoint is not an address"
    if not _is_of_tests(content.get("tests", {"at": "", "failed": {}})):
        return "what it says of the tests is malformed"
    if not _is_of_rules(content.get("rules", {})):
        return "what it says of the account's rules is malformed"
    if not all(map(_is_well_formed, content["resources"])):
        return "one of its entries is malformed"
    kinds = {entry["key"]: entry["kind"] for entry in content["resources"]}
    if len(kinds) != len(content["resources"]):
        return "two of its entries have the same key"
    for entry in content["resources"]:
        whole, parent = TYPES[entry["kind"]].part_of or None, entry.get("parent")
        if kinds.get(parent) != whole or (parent is None) != (whole is None):
            return "one of its entries is part of nothing that it could be part of"
    if content.get("checksum") != checksum(content):
        return "its checksum does not fit its content"
    return None


def _is_well_formed(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) - set(Resource.__dataclass_fields__):
        return False
    if not all(isinstance(entry.get(name), kind) for name, kind in RESOURCE_FIELDS.items()):
        return False
    if not isinstance(entry.get("since", ""), str) or not isinstance(entry.get("parent"), str | None):
        return False
    before = entry.get("before", {})
    if not isinstance(before, dict) or not all(map(_is_json, before.values())):
        return False
    if not all(isinstance(text, str) for text in (*entry["identity"].values(), *entry["outputs"].values())):
        return False
    if entry["kind"] not in TYPES or set(entry["identity"]) != set(TYPES[entry["kind"]].identity):
        return False
    return entry.get("status") in STATUSES and entry["origin"] in ORIGINS


def _is_of_tests(tests: Any) -> bool:
    failed = tests.get("failed") if isinstance(tests, dict) and isinstance(tests.get("at"), str) else None
    return isinstance(failed, dict) and all(isinstance(saw, str) for saw in failed.values())


def _is_of_rules(rules: Any) -> bool:
    try:
        AccountRules.from_file(rules)
    except (outcome.UserError, TypeError, ValueError, AttributeError):
        return False
    return True


def _is_json(text: Any) -> bool:
    try:
        json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(text, str)


def _damaged(path: Path, how: str) -> StateDamaged:
    return StateDamaged(path, how, advice=_advice_on_backup(path))


def _advice_on_backup(path: Path) -> tuple[str, ...]:
    """How to put the backup back, if there is one that can be read."""
    backup = path.with_name(path.name + ".backup")
    if not backup.exists():
        return ()
    try:
        content = parse(read_bytes(backup) or b"", backup)
    except StateRefused:
        return (f"Its backup, {backup}, cannot be used either.",)
    count = sum(entry["status"] != "deleted" for entry in content["resources"])
    return (
        f"Put back the state before the last run, which recorded {plural(count, 'resource')}. The next run finds what",
        "the last one made by its tag:",
        f"    {to_copy(backup, path)}",
    )
