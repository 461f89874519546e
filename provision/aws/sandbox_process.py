"""A sandbox in the background, remembered beside a state file.

The record (``sandbox.json``) is a claim like any other: it holds only while something at its URL answers with the
same id. A process is never ended by its number, which the system may have given to somebody else by now; the
sandbox is asked to stop, by its id.

Only the standard library and portalocker are needed here; moto is loaded by the child alone.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import portalocker

from provision import BESIDE
from provision.terminal import disk, outcome

RECORD = "sandbox.json"
LOCK = "sandbox.lock"
LOG = "sandbox.log"

# moto's import alone takes up to two seconds on a busy laptop, far more on a cold disk.
START_SECONDS = 30.0

# A stop waits for the batches in flight, whose functions may take their time.
STOP_SECONDS = 30.0

# Loopback: what does not answer in this time does not answer at all.
ANSWER_SECONDS = 5.0

LOG_LINES = 15

# All that a sandbox's own process knows of AWS. moto, depending on its version, makes boto3 clients of its own;
# without credentials they would look for some at the address of EC2's metadata service.
PLAIN_AWS = {
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
FOREIGN = ("AWS_", "BOTO_", "BOTO3_", "MOTO_")


class SandboxFailed(outcome.UserError):
    """The sandbox did not start, or did not stop; ``log`` holds the last lines that it wrote.

    Where its own last words are a refusal (Error, What it means, What to do), that is what is told.
    """

    exit_code = outcome.ENVIRONMENT
    code = "sandbox"

    def __init__(self, what: str, log: str = "", *, advice: tuple[str, ...] = ()) -> None:
        refusal = refusal_in(log)
        if refusal is not None:
            what, means, advice = refusal
        else:
            last = [line.strip() for line in log.splitlines()[-3:]]
            means = f"The last that it wrote: {' / '.join(last)}" if last else ""
        super().__init__(what, means=means, advice=advice)
        self.log = log


def refusal_in(log: str) -> tuple[str, str, tuple[str, ...]] | None:
    """The last refusal in a log, as `Screen.stopped` writes one into a file; None without one."""
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
    """A sandbox that answered. ``record`` is the file that names it; ``pid`` is for messages only.

    ``stays``: somebody started it by hand, so no teardown ends it.
    """

    id: str
    url: str
    pid: int
    record: Path
    stays: bool = False


@dataclass(frozen=True)
class Wish:
    """How a sandbox is to be started; see :class:`sandbox.Sandbox`. ``port`` 0 takes a free one."""

    port: int = 0
    weather: str = "calm"
    enforced_users: tuple[str, ...] = ()
    stays: bool = False
    state_dir: Path | None = None

    def arguments(self) -> list[str]:
        """The command line of ``python -m sandbox run`` that grants it."""
        enforced = [part for user in self.enforced_users for part in ("--enforce", user)]
        stays = ["--stays"] if self.stays else []
        state = ["--state-dir", str(self.state_dir)] if self.state_dir else []
        return ["--port", str(self.port), "--weather", self.weather, *enforced, *stays, *state]


def find(folder: Path) -> Running | None:
    """The sandbox that the folder's record names, if it is alive; a stale or unreadable record is None."""
    record = folder / RECORD
    try:
        written = json.loads(_read(record))
        stays = written.get("stays") is True
        named = Running(str(written["id"]), str(written["url"]), int(written["pid"]), record, stays)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return named if answers(named) else None


def _read(record: Path) -> str:
    try:
        return record.read_text(encoding="utf-8")
    except PermissionError:
        time.sleep(0.05)  # Windows says so while somebody is replacing or removing it
        return record.read_text(encoding="utf-8")


def answers(running: Running) -> bool:
    """Whether the sandbox of this id is at this address; another one that took over the port is not it."""
    return describe(running) is not None


def describe(running: Running) -> dict[str, Any] | None:
    """What it says of itself (id, pid, port, started, moto, python, weather, enforced_users); None if it is gone."""
    try:
        with _loopback().open(f"{running.url}/_sandbox", timeout=ANSWER_SECONDS) as answer:
            described = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return described if isinstance(described, dict) and described.get("id") == running.id else None


def who_is_at(port: int) -> str | None:
    """The id of the sandbox at this port of this machine, or None."""
    try:
        with _loopback().open(f"http://127.0.0.1:{port}/_sandbox", timeout=1) as answer:
            described = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return str(described["id"]) if isinstance(described, dict) and "id" in described else None


def start(
    folder: Path,
    wish: Wish | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Running:
    """The folder's sandbox, started as wished if there is none; two starts at once give one sandbox."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    deadline = clock() + START_SECONDS
    with _only_one(folder, deadline - clock()):
        running = find(folder)
        if running is not None:
            return running
        (folder / RECORD).unlink(missing_ok=True)
        child: subprocess.Popen[bytes] | None = None
        try:
            with (folder / LOG).open("wb") as log, _signals_held_back():
                child = _spawn(folder, log, wish or Wish())
            while clock() < deadline:
                running = find(folder)
                if running is not None:
                    return running
                if child.poll() is not None:
                    raise SandboxFailed(f"The sandbox ended at once, with status {child.returncode}.", _tail(folder))
                sleep(0.05)
            raise SandboxFailed(f"The sandbox did not answer within {START_SECONDS:.0f} seconds.", _tail(folder))
        except BaseException:  # Ctrl-C, too: nobody would know of it
            if child is not None:
                _end(child)
            raise


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM come behind the block: between a child's start and its name nobody could end it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only there are signals handled
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
    """End a child of ours: the handle, not the number, says which process that is."""
    child.terminate()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def stop(
    running: Running,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask the sandbox to stop and wait until it is gone. One that is gone already is success."""
    request = urllib.request.Request(
        f"{running.url}/_sandbox/stop", data=b"", method="POST", headers={"X-Sandbox-Id": running.id}
    )
    if answers(running):
        # A sandbox that goes while it answers has done what it was asked.
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            _loopback().open(request, timeout=ANSWER_SECONDS),
        ):
            pass
        deadline = clock() + STOP_SECONDS
        while answers(running):
            if clock() >= deadline:
                raise SandboxFailed(f"{running.id} did not stop within {STOP_SECONDS:.0f} seconds.")
            sleep(0.05)
    forget(running)


def remember(record: Path, described: dict[str, Any]) -> None:
    """Write the record, whole or not at all; the child does this once it listens."""
    descriptor, name = tempfile.mkstemp(prefix=f"{record.name}-", dir=record.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(described, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        disk.replace(Path(name), record)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def forget(running: Running) -> None:
    """Remove the record, unless it speaks of another sandbox by now."""
    try:
        written = json.loads(_read(running.record))
    except (OSError, ValueError):
        return
    if isinstance(written, dict) and written.get("id") == running.id:
        with contextlib.suppress(OSError):  # it is stale then, and will be recognised as such
            running.record.unlink(missing_ok=True)


def _loopback() -> urllib.request.OpenerDirector:
    # A proxy from the environment would be asked for our 127.0.0.1, and would look for it at home.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextlib.contextmanager
def _only_one(folder: Path, seconds: float) -> Any:
    """An OS lock: released by the system when its holder dies, so it cannot be left behind."""
    lock = portalocker.Lock(folder / LOCK, mode="a", timeout=seconds, check_interval=0.05)
    try:
        lock.acquire()
    except portalocker.exceptions.LockException as error:
        raise SandboxFailed(
            f"Another start holds {folder / LOCK}.", advice=("Wait until it has ended, and try again.",)
        ) from error
    try:
        yield
    finally:
        lock.release()


def _spawn(folder: Path, log: IO[bytes], wish: Wish) -> subprocess.Popen[bytes]:
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        # A console that nobody sees: without any, each process of a handler would open a window of its own.
        detached = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", "run", "--verbose", "--record", str(folder / RECORD), *wish.arguments()],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        # `-m` looks in the working folder first: a folder of the user's own called sandbox would be run instead.
        cwd=BESIDE,
        env=child_environment(),
        **detached,
    )


def child_environment() -> dict[str, str]:
    """The user's environment without anything that speaks of AWS, or that would change what moto does."""
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith(FOREIGN)}
    # From a checkout, the folder above this one; from an installed wheel, site-packages, where it is no news.
    parts = [str(BESIDE), kept.get("PYTHONPATH", "")]
    kept["PYTHONPATH"] = os.pathsep.join(part for part in parts if part)
    kept["PYTHONIOENCODING"] = "utf-8"  # what it writes goes into the log, whatever the terminal's encoding is
    return kept | PLAIN_AWS


def _tail(folder: Path) -> str:
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_LINES:])
