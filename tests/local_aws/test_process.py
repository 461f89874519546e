"""A sandbox in the background, and the command in the foreground."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import portalocker
import pytest

import provision.aws.sandbox_process
from provision.aws.sandbox_process import (
    Running,
    SandboxFailed,
    Wish,
    discard,
    find,
    forget,
    is_named,
    kept_in,
    start,
    stop,
    who_is_at,
    wish_again,
)
from tests.local_aws.sandbox_account import Account, about, eventually

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; a sandbox left there is stopped."""
    yield tmp_path
    left = find(tmp_path)
    if left is not None:
        stop(left)


def test_it_starts_once_is_found_and_stops(folder: Path) -> None:
    assert find(folder) is None
    began = time.monotonic()
    running = start(folder)
    assert time.monotonic() - began < 15
    assert find(folder) == running
    assert start(folder) == running
    described = about(running.url, "/_sandbox", running.key)
    assert (described["id"], described["pid"]) == (running.id, running.pid)
    assert running.pid != os.getpid()
    stop(running)
    assert find(folder) is None
    discard(running)
    assert not running.record.exists() and kept_in(folder) is None
    stop(running)  # gone already, which is what was wanted


def test_two_starts_at_once_give_one_sandbox(folder: Path) -> None:
    started: list[Running] = []
    starts = [threading.Thread(target=lambda: started.append(start(folder))) for _ in range(4)]
    for one in starts:
        one.start()
    for one in starts:
        one.join()
    assert len(started) == 4
    assert len(set(started)) == 1


def test_a_record_whose_sandbox_is_gone_is_stale(folder: Path) -> None:
    first = start(folder)
    record = first.record.read_text()
    stop(first)
    discard(first)
    first.record.write_text(record)
    assert find(folder) is None
    second = start(folder)
    assert second.id != first.id
    stop(first)  # says nothing about the second
    assert find(folder) == second


@pytest.mark.slow
def test_a_record_that_names_another_sandbox_is_stale(folder: Path) -> None:
    running = start(folder)
    written = json.loads(running.record.read_text())
    running.record.write_text(json.dumps({**written, "id": "sb-00000000"}))
    assert find(folder) is None
    running.record.write_text(json.dumps(written))
    assert find(folder) == running


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"id": 1}', '{"id": "x", "url": "http://127.0.0.1:1", "pid": "many"}']
)
def test_an_unreadable_record_is_no_record(folder: Path, text: str) -> None:
    (folder / "sandbox.json").write_text(text)
    assert find(folder) is None


def test_a_port_where_something_else_answers_is_no_sandbox(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def answer() -> None:
            connection, _ = other.accept()
            connection.recv(1000)
            connection.sendall(b"220 welcome to something else\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        record = {"id": "sb-00000000", "url": f"http://127.0.0.1:{port}", "pid": 1}
        (folder / "sandbox.json").write_text(json.dumps(record))
        assert find(folder) is None


def test_forgetting_leaves_the_record_of_another(folder: Path) -> None:
    record = folder / "sandbox.json"
    record.write_text('{"id": "sb-22222222"}')
    forget(Running("sb-11111111", "http://127.0.0.1:1", 1, record))
    assert record.exists()
    forget(Running("sb-22222222", "http://127.0.0.1:1", 1, record))
    assert not record.exists()


@pytest.mark.slow
def test_it_starts_from_any_folder_and_with_a_broken_environment(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A working folder with a package of the same name, no HOME, a proxy and AWS settings of all kinds."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "sandbox").mkdir()
    (elsewhere / "sandbox" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("HOME", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "there-is-none")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(elsewhere / "none"))
    running = start(folder)
    monkeypatch.undo()
    account = Account(running.url, running.key)
    function = account.function(
        "import boto3\n"
        "def lambda_handler(event, context):\n"
        "    return boto3.client('sqs').list_queues()['QueueUrls']\n",
        Role=account.role(["sqs:ListQueues"]),
        Timeout=20,
    )
    url, _ = account.queue()
    assert account.invoke(function) == [url]


def test_nothing_of_the_users_aws_settings_reaches_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the user")
    monkeypatch.setenv("AWS_PROFILE", "of the user")
    monkeypatch.setenv("MOTO_DOCKER_NETWORK_NAME", "of the user")
    given = provision.aws.sandbox_process.child_environment()
    assert "of the user" not in given.values()
    assert given["AWS_ACCESS_KEY_ID"] == "sandbox"
    assert given["AWS_CONFIG_FILE"] == given["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull


def test_a_sandbox_that_cannot_start_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = folder / "broken"
    broken.mkdir()
    (broken / "werkzeug.py").write_text("raise ImportError('no werkzeug today')")
    monkeypatch.setattr(
        provision.aws.sandbox_process,
        "child_environment",
        lambda: {"PATH": os.environ["PATH"], "PYTHONPATH": str(broken)},
    )
    with pytest.raises(SandboxFailed, match="The sandbox is not installed") as failed:
        start(folder)
    assert failed.value.exit_code == 253
    assert "pip install -e '.[sandbox]'" in failed.value.advice[0]
    assert "Traceback" not in failed.value.log


def test_one_that_ends_without_a_word_of_its_own_shows_the_last_lines_that_it_wrote(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = folder / "broken"
    broken.mkdir()
    (broken / "werkzeug.py").write_text("raise SystemExit('first\\nsecond')", encoding="utf-8")
    monkeypatch.setattr(
        provision.aws.sandbox_process,
        "child_environment",
        lambda: {"PATH": os.environ["PATH"], "PYTHONPATH": str(broken)},
    )
    with pytest.raises(SandboxFailed, match="with status") as failed:
        start(folder)
    assert failed.value.means.endswith("first / second")


def test_of_several_refusals_in_a_log_the_last_one_is_told() -> None:
    log = "url\n\nError: old\n  What it means: x\n\nError: new.\n  What it means: much: more\n" + (
        "  What to do:    this\n                 or that\n"
    )
    assert provision.aws.sandbox_process.refusal_in(log) == ("new.", "much: more", ("this", "or that"))
    assert provision.aws.sandbox_process.refusal_in("no Error: here") is None


def test_a_record_that_is_being_replaced_is_read_once_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to open a file in the moment in which it is replaced."""
    record = folder / "sandbox.json"
    record.write_text("{}", encoding="utf-8")
    refusals = [PermissionError(13, "Permission denied", str(record))]
    read_text = Path.read_text

    def refusing(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if refusals:
            raise refusals.pop()
        return read_text(path, encoding, errors)

    monkeypatch.setattr(Path, "read_text", refusing)
    assert find(folder) is None and not refusals


@pytest.mark.slow
def test_a_sandbox_whose_folder_is_removed_ends(folder: Path) -> None:
    """Nobody could find it again, and it would go on for ever."""
    running = start(folder / "kept")
    shutil.rmtree(folder / "kept")
    eventually(lambda: not provision.aws.sandbox_process.answers(running), seconds=20)


def test_a_folder_whose_file_system_knows_no_locks_is_told_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> None:
        raise portalocker.LockException("No locks available") from OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(portalocker, "lock", refused)
    with pytest.raises(SandboxFailed, match="cannot be locked: No locks available"):
        start(folder)


@pytest.mark.slow
def test_a_killed_sandbox_leaves_nobody_stuck_and_no_worker_behind(folder: Path) -> None:
    running = start(folder)
    account = Account(running.url, running.key)
    function = account.function(
        "import os, time\ndef lambda_handler(event, context):\n    time.sleep(event)\n    return os.getpid()\n",
        Timeout=60,
    )
    idle = account.invoke(function, 0)
    os.kill(running.pid, signal.SIGKILL)  # started by this test, and found by its handle just now
    eventually(lambda: find(folder) is None)

    eventually(lambda: has_ended(idle))
    again = start(folder)
    assert again.id == running.id, "it comes back from its journal"


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"


# A regular expression that takes for ever, and lets no other thread of its process run meanwhile.
HOLDS_THE_INTERPRETER = """
import os, pathlib, re
def lambda_handler(event, context):
    pathlib.Path(event).write_text(f"{os.getpid()} {os.environ['HOME']}")
    re.match("(a+)+$", "a" * 60 + "b")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such signal")
def test_a_handler_that_holds_the_interpreter_ends_with_a_killed_sandbox_and_the_next_removes_what_is_left(
    folder: Path,
) -> None:
    running = start(folder)
    account = Account(running.url, running.key)
    function = account.function(HOLDS_THE_INTERPRETER, Timeout=600)
    told = folder / "told"
    account.functions.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(str(told)))
    eventually(lambda: told.exists() and " " in told.read_text())
    pid, home = told.read_text().split()
    left = Path(home).parent
    os.kill(running.pid, signal.SIGKILL)  # started by this test, and found by its handle just now
    eventually(lambda: has_ended(int(pid)))
    assert left.is_dir()
    start(folder)
    assert not left.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no /proc")
@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
def test_a_handler_reads_nothing_of_the_users_environment_in_that_of_the_sandbox(
    folder: Path, monkeypatch: pytest.MonkeyPatch, background: bool
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "MY_PASSWORD"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("https_proxy", "http://me:canary@127.0.0.1:9")
    command = None if background else Foreground("--port", "0", "--record", str(folder / "sandbox.json"))
    if command is not None:
        command.url()
    running = start(folder) if background else find(folder)
    assert running is not None
    seen = Path(f"/proc/{running.pid}/environ").read_text(encoding="utf-8")
    assert "PATH=" in seen and "canary" not in seen
    assert running.key not in seen
    stop(running)
    if command is not None:
        assert command.end()[0] == 0


def test_each_start_draws_a_key_that_only_its_owner_can_read(folder: Path) -> None:
    first = start(folder)
    record = folder / "sandbox.json"
    assert len(first.key) >= 32 and stat.S_IMODE(record.stat().st_mode) == 0o600
    assert first.key not in repr(first) + (folder / "sandbox.log").read_text()
    if sys.platform == "linux":  # every user reads the command lines of all
        assert first.key not in Path(f"/proc/{first.pid}/cmdline").read_text(encoding="utf-8")
    assert "open" in about(first.url, "/_sandbox", first.key)
    stop(first)
    second = start(folder)
    assert second.id == first.id and second.key != first.key
    with pytest.raises(urllib.error.HTTPError):
        about(second.url, "/_sandbox", first.key)


def test_an_open_one_takes_any_credentials_and_says_so(folder: Path) -> None:
    command = Foreground("--port", "0", "--open")
    Account(command.url(), "any").sqs.create_queue(QueueName="open")
    _, _, err = command.end(signal.SIGTERM)
    assert "Warning: --open: every user of this machine can call this sandbox, and run code as you" in " ".join(
        err.split()
    )
    assert "Any credentials work:" in err


# The command


class Foreground:
    """``python -m sandbox`` as a person would run it."""

    def __init__(self, *arguments: str, cwd: Path = CHECKOUT, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", *arguments],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, **environment},
        )

    def url(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.mark.sweep(2)
@pytest.mark.once_more
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_cleanly(number: int, status: int) -> None:
    command = Foreground("--port", "0")
    url = command.url()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    identity = str(who_is_at(int(url.rpartition(":")[2])))
    ended, out, err = command.end(number)
    assert (ended, out) == (status, "")
    assert identity in err
    assert f"aws --endpoint-url {url} dynamodb list-tables" in err
    assert "Traceback" not in err


def test_the_record_appears_once_it_listens(folder: Path) -> None:
    command = Foreground("--port", "0", "--record", str(folder / "sandbox.json"))
    command.url()
    running = find(folder)
    assert running is not None
    assert running.pid == command.process.pid
    assert [one.name for one in folder.iterdir()] == ["sandbox.json"]
    stop(running)
    assert command.end()[0] == 0


def test_a_port_in_use_is_told_in_one_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, err = Foreground("--port", str(port)).end()
    assert (status, out) == (253, "")
    assert "Traceback" not in err
    assert f"port {port}" in err
    assert "Another program listens there already." in err
    assert "--port 0" in err


@pytest.mark.once_more
def test_a_port_that_another_sandbox_has_is_told_with_its_id() -> None:
    first = Foreground("--port", "0")
    url = first.url()
    identity = str(who_is_at(int(url.rpartition(":")[2])))
    status, _, err = Foreground("--port", url.rpartition(":")[2]).end()
    first.end(signal.SIGTERM)
    assert status == 253
    assert f"The sandbox {identity} listens there already." in err


def test_a_record_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    status, _, err = Foreground("--port", "0", "--record", str(tmp_path / "none" / "record.json")).end()
    assert status == 253
    assert f"{tmp_path / 'none' / 'record.json'} cannot be used" in err
    assert "Traceback" not in err


@pytest.mark.once_more
def test_its_record_goes_with_it(folder: Path) -> None:
    command = Foreground("--port", "0", "--record", str(folder / "sandbox.json"))
    command.url()
    assert command.end(signal.SIGTERM)[0] == 0
    assert not list(folder.iterdir())


@pytest.mark.parametrize("arguments", [["--port", "many"], ["--port", "70000"], ["--nonsense"], ["extra"]])
def test_a_usage_error_is_252(arguments: list[str]) -> None:
    status, out, err = Foreground(*arguments).end()
    assert (status, out) == (252, "")
    assert re.search(r"^The (options|commands): python -m sandbox( run)? --help$", err, re.MULTILINE)


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "moto.py").write_text("raise ModuleNotFoundError(\"No module named 'moto'\", name='moto')")
    status, out, err = Foreground("--port", "0", PYTHONPATH=str(tmp_path)).end()
    assert (status, out) == (253, "")
    assert "pip install -e '.[sandbox]'" in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.once_more
@pytest.mark.skipif(shutil.which("aws", path=str(Path(sys.executable).parent)) is None, reason="no aws command here")
def test_the_printed_aws_line_works() -> None:
    command = Foreground("--port", "0")
    command.url()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert command.process.stderr is not None
    line = next(one for one in command.process.stderr if "list-tables" in one)
    told = subprocess.run(
        ["bash", "-c", line],
        env={"PATH": path},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    command.end(signal.SIGTERM)
    assert json.loads(told.stdout) == {"TableNames": []}, told.stderr


def test_a_record_of_another_name_names_its_sandbox_too(tmp_path: Path) -> None:
    record = tmp_path / "other.json"
    named = Running("sb-0123abcd", "http://127.0.0.1:1", 1, record)
    assert not is_named(named)
    record.write_text('{"id": "sb-0123abcd"}')
    assert is_named(named)
    record.write_text('{"id": "sb-99999999"}')
    assert not is_named(named)


def test_what_comes_back_from_a_journal_is_as_it_was(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    record = {"id": "sb-1", "state_dir": str(journal), "weather": "aws,seed=3", "enforced_users": ["bob"]}
    (tmp_path / "sandbox.json").write_text(json.dumps({**record, "stays": True}))
    assert wish_again(tmp_path) == Wish(), "there is no journal yet"
    (journal / "journal.jsonl").touch()
    assert wish_again(tmp_path) == Wish(0, "aws,seed=3", ("bob",), stays=True, state_dir=journal)
    (tmp_path / "sandbox.json").write_text("{}")
    assert wish_again(tmp_path) == Wish()


def test_the_journal_beside_the_record_is_found_also_where_the_folder_was_moved(tmp_path: Path) -> None:
    own = tmp_path / "sandbox-journal"
    own.mkdir()
    (own / "journal.jsonl").touch()
    assert wish_again(tmp_path) == Wish(state_dir=own)
    record = {"id": "sb-1", "state_dir": "/was/here", "weather": "calm", "enforced_users": []}
    (tmp_path / "sandbox.json").write_text(json.dumps(record))
    assert wish_again(tmp_path) == Wish(state_dir=own)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("stays", [False, True])
def test_one_that_nobody_calls_for_a_day_ends_and_its_journal_stays(folder: Path, stays: bool) -> None:
    program = "import sys, sandbox.__main__ as main; main.IDLE_SECONDS = 0.5; sys.exit(main.main(sys.argv[1:]))"
    words = ["run", "--port", "0", "--record", str(folder / "sandbox.json"), "--state-dir", str(folder / "kept")]
    child = subprocess.Popen(
        [sys.executable, "-c", program, *words, *(["--stays"] if stays else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: find(folder) or child.poll() is not None)
        if stays:  # somebody started it by hand: they may have told others its port
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(2)
            running = find(folder)
            assert running is not None
            stop(running)
        assert child.wait(10) == 0
        assert kept_in(folder) == folder / "kept"
    finally:
        child.kill()
        child.communicate()


def test_a_copied_folder_comes_back_from_its_own_journal(tmp_path: Path) -> None:
    process = provision.aws.sandbox_process
    first = tmp_path / "first"
    (first / process.KEPT).mkdir(parents=True)
    (first / process.KEPT / process.JOURNAL).touch()
    kept = {"state_dir": str(first / process.KEPT), "weather": "aws", "enforced_users": [], "stays": False}
    (first / process.RECORD).write_text(json.dumps(kept), encoding="utf-8")
    copy = shutil.copytree(first, tmp_path / "copy")
    assert kept_in(first) == first / process.KEPT
    again = wish_again(copy)
    assert (again.state_dir, again.weather) == (copy / process.KEPT, "aws")
