"""A sandbox in the background, and the file beside the state file that names it.

That file, `sandbox.json`, is a claim: it holds only while something at its URL answers with the same id. A process is
never ended by its number, which the system may have given to another one by now; the sandbox is asked to stop, by its
id.

It also has the key that the sandbox's calls are signed with, so only its owner can read it: who has the key can run
code as the owner. Each start draws a new one.

What is in a sandbox that a program starts is kept in a journal beside that file. So it comes back after a restart of
the machine, with its id. It is gone only when its journal is.

Only the standard library and portalocker are needed here; only the child loads moto.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from provision import BESIDE
from provision.terminal import disk, outcome

RECORD = "sandbox.json"
LOCK = "sandbox.lock"
LOG = "sandbox.log"
KEPT = "sandbox-journal"  # the folder of the journal, beside the record; somebody may have chosen another one
JOURNAL = "journal.jsonl"
# Said where a start has disabled triggers: see sandbox/state.py.
FROM_ELSEWHERE = "Its journal was written in another folder, or by another user. So its triggers are disabled."
START_SECONDS = 30.0  # moto's import takes up to two seconds on a busy laptop, far more on a cold disk
STOP_SECONDS = 30.0  # a stop waits for the functions that are running
ANSWER_SECONDS = 5.0  # on loopback, what does not answer by then does not answer at all
LOG_LINES = 15

OWN = "/_sandbox"  # the paths of requests about the sandbox itself
KEY_HEADER = "X-Sandbox-Key"  # what such a request shows

# All that a sandbox's process knows of AWS. Some versions of moto make boto3 clients of their own; without credentials
# those would look for some at the address of EC2's metadata service.
PLAIN_AWS = {
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
FOREIGN = ("AWS_", "BOTO_", "BOTO3_", "MOTO_")

# The variables of the user's that a sandbox's process keeps. A handler can read them all (on Linux in /proc), whatever
# its own environment is: so nothing that may be secret.
KEPT_VARIABLES = re.compile(
    r"PATH|HOME|USER|LOGNAME|USERNAME|TZ|LANG|LANGUAGE|LC_\w+|TMPDIR|TEMP|TMP|TERM|COLORTERM|COLUMNS|LINES|NO_COLOR|"
    r"FORCE_COLOR|CLICOLOR|CLICOLOR_FORCE|PYTHON[A-Z0-9]+|VIRTUAL_ENV|LD_LIBRARY_PATH|DYLD_\w+|COVERAGE_FILE|COVERAGE_PROCESS_START|(no|http|https|all)_proxy|"
    # Windows does not start a program without some of these.
    r"SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|USERPROFILE|APPDATA|LOCALAPPDATA|PROGRAMDATA|PROGRAMFILES.*|"
    r"NUMBER_OF_PROCESSORS|PROCESSOR_\w+|OS|__CF_USER_TEXT_ENCODING|__PYVENV_LAUNCHER__",
    re.IGNORECASE,
)
IN_A_URL = re.compile(r"(?<=//)[^/@]*@")  # the name and password for a proxy


class SandboxFailed(outcome.UserError):
    """The sandbox did not start, or did not stop; `log` has the last lines that it wrote.

    Where those end in an error message of its own (Error, What it means, What to do), that one is shown.
    """

    exit_code = outcome.ENVIRONMENT
    code = "sandbox"

    def __init__(self, what: str, log: str = "", *, advice: tuple[str, ...] = ()) -> None:
        refusal = refusal_in(log)
        if refusal is not None:
            what, means, advice = refusal
        else:
            last = [line.strip() for line in log.splitlines()[-3:]]
            means = f"Its last lines: {' / '.join(last)}" if last else ""
        super().__init__(what, means=means, advice=advice)
        self.log = log


def refusal_in(log: str) -> tuple[str, str, tuple[str, ...]] | None:
    """The last error message in a log, as `Screen.stopped` writes one; None without one."""
    _, found, told = f"\n{log}".rpartition("\nError: ")
    if not found:
        return None
    what, *more = told.splitlines()
    means, advice = "", []
    for line in more:
        if line.startswith("  What it means: "):
            means = line.partition(": ")[2]
        elif line.startswith("  What to do: "):
            advice = [line.partition(": ")[2].strip()]
        elif advice and line.startswith("    "):
            advice.append(line.strip())
    return what, means, tuple(advice)


@dataclass(frozen=True)
class Running:
    """A sandbox that answered. `record` is the file that names it; `pid` is for messages only.

    `stays`: somebody started it by hand, so no teardown ends it. `key`: the secret access key of its calls; empty where
    it is open to everybody on this machine.
    """

    id: str
    url: str
    pid: int
    record: Path
    stays: bool = False
    key: str = field(default="", repr=False)


@dataclass(frozen=True)
class Wish:
    """How to start a sandbox; see `sandbox.Sandbox`. `port` 0 takes a free one; `open`: without a key."""

    port: int = 0
    weather: str = "calm"
    enforced_users: tuple[str, ...] = ()
    stays: bool = False
    state_dir: Path | None = None
    open: bool = False

    def arguments(self) -> list[str]:
        """The arguments of `python -m sandbox run` that start it so."""
        enforced = [part for user in self.enforced_users for part in ("--enforce", user)]
        stays = ["--stays"] if self.stays else []
        state = ["--state-dir", str(self.state_dir)] if self.state_dir else []
        open_to_all = ["--open"] if self.open else []
        return ["--port", str(self.port), "--weather", self.weather, *enforced, *stays, *state, *open_to_all]


def find(folder: Path) -> Running | None:
    """The sandbox that the folder's `sandbox.json` names, if it answers; None with a stale or unreadable file.

    A record may have come with a cloned project: a sandbox is on this machine, and nowhere else is asked.
    """
    record = folder / RECORD
    try:
        written = json.loads(_read(record))
        stays = written.get("stays") is True
        key = str(written.get("key") or "")
        named = Running(str(written["id"]), str(written["url"]), int(written["pid"]), record, stays, key)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return named if re.fullmatch(r"http://127\.0\.0\.1:\d+", named.url) and answers(named) else None


def last_url(folder: Path) -> str | None:
    """Where the folder's last sandbox was, by its record; it need not answer any more."""
    try:
        return str(json.loads(_written(folder / RECORD) or "{}")["url"])
    except (ValueError, KeyError, TypeError):
        return None


def kept_in(folder: Path) -> Path | None:
    """The folder of the journal from which the folder's sandbox can come back; None without one."""
    return wish_again(folder).state_dir


def wish_again(folder: Path) -> Wish:
    """How the folder's sandbox comes back, as it was: from its journal, if it has one."""
    own = folder / KEPT
    there = Wish(state_dir=own.absolute()) if has_journal(own) else Wish()
    try:
        written = json.loads(_written(folder / RECORD) or "{}")
        state_dir = Path(written["state_dir"])
        if there.state_dir is not None and state_dir.name == KEPT:
            state_dir = there.state_dir  # the whole folder may have been moved or copied
        if not has_journal(state_dir):
            return there
        enforced = tuple(map(str, written["enforced_users"]))
        stays = written.get("stays") is True
        opened = written.get("open") is True
        return Wish(0, str(written["weather"]), enforced, stays=stays, state_dir=state_dir, open=opened)
    except (ValueError, KeyError, TypeError, AttributeError):
        return there


def has_journal(state_dir: Path) -> bool:
    return (state_dir / JOURNAL).is_file()


def _read(record: Path) -> str:
    try:
        return record.read_text(encoding="utf-8")
    except PermissionError:
        time.sleep(0.05)  # Windows says so while somebody is replacing or removing it
        return record.read_text(encoding="utf-8")


def answers(running: Running) -> bool:
    """Whether the sandbox of this id is at this address; another one may have taken over the port."""
    return describe(running) is not None


def describe(running: Running) -> dict[str, Any] | None:
    """What it says of itself (id, pid, port, started, weather, open, ...); None if it is gone."""
    described = _described(running.url, ANSWER_SECONDS, running.key)
    return described if described.get("id") == running.id else None


def who_is_at(port: int) -> str | None:
    """The id of the sandbox at this port of this machine, or None."""
    described = _described(f"http://127.0.0.1:{port}", 1, but_its_id=True)
    return str(described["id"]) if "id" in described else None


def _described(url: str, seconds: float, key: str = "", *, but_its_id: bool = False) -> dict[str, Any]:
    """What the sandbox at this address says of itself; nothing where none answers in that time, or takes the key.

    `but_its_id`: that it tells without the key, too.
    """
    try:
        with _loopback().open(_request(url, OWN, key), timeout=seconds) as answer:
            described = json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused, contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            described = json.loads(refused.read()) if but_its_id else {}
            return described if isinstance(described, dict) else {}
        return {}
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    return described if isinstance(described, dict) else {}


def _request(url: str, path: str, key: str, **more: Any) -> urllib.request.Request:
    request = urllib.request.Request(url + path, **more)
    request.add_header(KEY_HEADER, key)
    return request


def start(folder: Path, wish: Wish | None = None) -> Running:
    """The folder's sandbox, started as `wish` says if there is none. Two starts at once give one sandbox.

    Without a wish the last one comes back from its journal, and a new one keeps a journal in the folder.
    """
    folder = folder.absolute()
    _own(folder)
    with _only_one(folder):
        running = find(folder)
        if running is not None:
            return running
        if wish is None:
            again = wish_again(folder)
            wish = again if again.state_dir is not None else Wish(state_dir=folder / KEPT)
        stale = _written(folder / RECORD)  # it stays until the child replaces it: it may say where a journal is
        child: subprocess.Popen[bytes] | None = None
        try:
            with disk.open_private(folder / LOG, "w") as log, _signals_held_back():
                child = _spawn(folder, log, wish)
            return _wait_for(child, folder, stale)
        except BaseException:  # also after Ctrl-C: nobody would know of the child
            if child is not None:
                _end(child)
            raise


def _own(folder: Path) -> None:
    """Make the folder; refuse a link where a sandbox writes. Raises UserError, or OSError where it cannot be made."""
    try:
        disk.make_folder_durably(folder)
        for name in (LOCK, LOG, KEPT):
            disk.refuse_link(folder / name)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EPERM):
            raise
        raise SandboxFailed(
            f"{error.filename or folder} cannot be written: {error.strerror}.",
            advice=("Remove it, or choose another place with --state PATH.",),
        ) from error


def _written(record: Path) -> str | None:
    """What the record says; None where there is none that can be read."""
    try:
        return _read(record)
    except (OSError, ValueError):
        return None


def _wait_for(child: subprocess.Popen[bytes], folder: Path, stale: str | None) -> Running:
    """The sandbox once it answers. While it replays a long journal it says so in its log, and is waited for."""
    said, deadline = -1, 0.0
    while True:
        running = find(folder) if _written(folder / RECORD) != stale else None
        if running is not None:
            return running
        if child.poll() is not None:
            raise SandboxFailed(f"The sandbox ended at once, with status {child.returncode}.", _tail(folder))
        size = (folder / LOG).stat().st_size
        if size != said:
            said, deadline = size, time.monotonic() + START_SECONDS
        elif time.monotonic() >= deadline:
            raise SandboxFailed(f"The sandbox did not answer within {START_SECONDS:.0f} seconds.", _tail(folder))
        time.sleep(0.05)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block: before a child has a name, nobody could end it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread only
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End our own child. The handle says which process that is; its number might not."""
    child.terminate()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def stop(running: Running) -> None:
    """Ask the sandbox to stop and wait until it is gone; one that is gone already is fine."""
    named = {"X-Sandbox-Id": running.id}
    request = _request(running.url, f"{OWN}/stop", running.key, data=b"", method="POST", headers=named)
    if answers(running):
        # The sandbox may stop before it has answered.
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            _loopback().open(request, timeout=ANSWER_SECONDS),
        ):
            pass
        deadline = time.monotonic() + STOP_SECONDS
        while answers(running):
            if time.monotonic() >= deadline:
                raise SandboxFailed(f"{running.id} did not stop within {STOP_SECONDS:.0f} seconds.")
            time.sleep(0.05)
    forget(running)


def discard(running: Running) -> None:
    """Remove the journal that a stopped sandbox has beside its record, and the record. One elsewhere stays."""
    own = running.record.absolute().parent / KEPT
    if kept_in(running.record.parent) == own:
        shutil.rmtree(own, ignore_errors=True)  # what stays comes back empty
        forget(running)


def remember(record: Path, described: dict[str, Any]) -> None:
    """Write the file that names the sandbox. The child does this once it listens."""
    disk.write_durably(record, (json.dumps(described, indent=2) + "\n").encode())


def forget(running: Running) -> None:
    """Remove the file that names the sandbox, unless it names another one by now, or one that can come back."""
    try:
        written = json.loads(_read(running.record))
    except (OSError, ValueError):
        return
    if isinstance(written, dict) and written.get("id") == running.id and not kept_in(running.record.parent):
        with contextlib.suppress(OSError):  # a file that stays is recognised as stale
            running.record.unlink(missing_ok=True)


def is_named(running: Running) -> bool:
    """Whether its record names it: one that no record names is found by nobody."""
    written = _written(running.record)
    return written is not None and f'"{running.id}"' in written


def _loopback() -> urllib.request.OpenerDirector:
    # Not through a proxy of the environment: its 127.0.0.1 is another machine.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """A lock of the operating system, which releases it when the holder dies."""
    deadline = time.monotonic() + START_SECONDS
    with disk.open_private(folder / LOCK, "a") as lock:
        while not try_lock(lock, folder):
            if time.monotonic() >= deadline:
                raise SandboxFailed(
                    f"Another start holds {folder / LOCK}.", advice=("Wait until it has ended, and try again.",)
                )
            time.sleep(0.05)
        try:
            yield
        finally:
            disk.unlock(lock)


def try_lock(lock: IO[str], folder: Path) -> bool:
    try:
        return disk.try_lock(lock)
    except OSError as error:
        raise SandboxFailed(
            f"The folder {folder} cannot be locked: {error}.",
            advice=("Its file system knows no locks: choose a folder on a local disk.",),
        ) from error


def _spawn(folder: Path, log: IO[str], wish: Wish) -> subprocess.Popen[bytes]:
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        # A hidden console: without one, each process of a handler would open a window.
        detached = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", "run", "--verbose", "--record", str(folder / RECORD), *wish.arguments()],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        # `-m` looks in the working folder first, and would run a folder of the user's called sandbox.
        cwd=BESIDE,
        env=child_environment(),
        **detached,
    )


def child_environment() -> dict[str, str]:
    """The environment of a sandbox in the background."""
    kept = clean_environment(os.environ)
    # The checkout; of an installed wheel site-packages, which are on the path anyway.
    parts = [str(BESIDE), kept.get("PYTHONPATH", "")]
    kept["PYTHONPATH"] = os.pathsep.join(part for part in parts if part)
    kept["PYTHONIOENCODING"] = "utf-8"  # of the log, whatever the terminal's encoding is
    return kept


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the environment a sandbox's process may have, and the plain AWS variables."""
    kept = {name: value for name, value in environ.items() if KEPT_VARIABLES.fullmatch(name)}
    without_passwords = {name: IN_A_URL.sub("", kept[name]) for name in kept if name.lower().endswith("_proxy")}
    return kept | without_passwords | PLAIN_AWS


def _tail(folder: Path) -> str:
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_LINES:])
