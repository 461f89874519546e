"""``python -m sandbox start | stop | status | logs``, each as a process of its own in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox_account import Account, eventually

import sandbox.process

CHECKOUT = Path(sandbox.process.__file__).parent.parent
ENVIRON = {**os.environ, "PYTHONPATH": str(CHECKOUT)}


class Told:
    """What a command answered."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments],
            cwd=folder,
            env=ENVIRON,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.code, self.out, self.err = ended.returncode, ended.stdout, ended.stderr
        assert "Traceback" not in self.err


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working folder; a sandbox that is left in it is stopped."""
    yield tmp_path
    Told(tmp_path, "stop")


def record(folder: Path) -> Path:
    return folder / ".provision" / "sandbox.json"


def test_it_starts_in_the_background_once_and_outlives_the_command_that_started_it(folder: Path) -> None:
    first = Told(folder, "start")
    assert first.code == 0, first.err
    url = first.out.strip()
    with urllib.request.urlopen(f"{url}/_sandbox") as answer:
        described = json.loads(answer.read())
    written = json.loads(record(folder).read_bytes())
    assert (written["id"], written["url"], written["pid"]) == (described["id"], url, described["pid"])
    again = Told(folder, "start")
    assert (again.code, again.out.strip()) == (0, url)
    assert "running there already" in again.err
    status = Told(folder, "status", "--json")
    shown = json.loads(status.out)
    assert (status.code, shown["running"], shown["id"], shown["url"]) == (0, True, written["id"], url)
    stopped = Told(folder, "stop")
    assert stopped.code == 0
    assert written["id"] in stopped.err
    assert not record(folder).exists()
    assert Told(folder, "stop").code == 0


def test_none_running_is_told_by_the_exit_code(folder: Path) -> None:
    told = Told(folder, "status", "--json")
    assert (told.code, json.loads(told.out)["running"]) == (1, False)
    assert "python -m sandbox start" in told.err
    assert Told(folder, "logs").code == 1
    assert Told(folder, "logs", "POC-Lambda-1").code == 1


def test_a_record_left_by_a_crash_is_recognised_and_replaced(folder: Path) -> None:
    Told(folder, "start")
    pid = json.loads(record(folder).read_bytes())["pid"]
    os.kill(pid, signal.SIGKILL)  # ours, started above
    eventually(lambda: not json.loads(Told(folder, "status", "--json").out)["running"])
    status = Told(folder, "status", "--json")
    assert json.loads(status.out) == {"running": False, "folder": ".provision", "stale_record": True}
    assert "gone" in status.err
    restarted = Told(folder, "start")
    assert restarted.code == 0
    assert "is of a sandbox that is gone" in restarted.err


def test_two_run_side_by_side_in_two_folders(folder: Path) -> None:
    try:
        one, other = Told(folder, "start"), Told(folder, "start", "--folder", "other")
        assert one.code == other.code == 0
        assert one.out != other.out
        Account(one.out.strip()).sqs.create_queue(QueueName="only-here")
        assert "QueueUrls" not in Account(other.out.strip()).sqs.list_queues()
    finally:
        assert Told(folder, "stop", "--folder", "other").code == 0
    assert Told(folder, "status").code == 0


def test_weather_and_enforced_users_reach_it_and_a_running_one_is_not_changed(folder: Path) -> None:
    asked = ("--weather", "aws,seed=7,scale=0.1", "--enforce", "ana", "--enforce", "ben")
    assert Told(folder, "start", *asked).code == 0
    shown = json.loads(Told(folder, "status", "--json").out)
    assert (shown["weather"], shown["enforced_users"]) == ("aws,seed=7,scale=0.1", ["ana", "ben"])
    with urllib.request.urlopen(f"{shown['url']}/_sandbox/weather") as answer:
        assert json.loads(answer.read())["forecast"]["seed"] == 7
    assert Told(folder, "start", *asked).code == 0
    other = Told(folder, "start", "--weather", "aws,seed=8", "--enforce", "*")
    assert other.code == 253
    assert "weather aws,seed=7,scale=0.1, not aws,seed=8" in other.err
    assert "ana, ben held to policies, not *" in other.err
    assert "python -m sandbox stop" in other.err


def test_a_port_that_is_taken_is_told_by_start(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = Told(folder, "start", "--port", str(other.getsockname()[1]))
    assert told.code == 253
    assert "Choose another with --port" in told.err
    assert not record(folder).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("start", "--weather", "hail"), "there are calm and aws"),
        (("run", "--weather", "aws,seed=x"), "seed"),
        (("start", "--port", "70000"), "70000 is no port"),
        (("nonsense",), "choose from"),
        (("stop", "--port", "1"), "--port"),
    ],
)
def test_a_usage_error_is_252_and_starts_nothing(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    told = Told(folder, *arguments)
    assert (told.code, told.out) == (252, "")
    assert words in told.err
    assert not record(folder).exists()


def test_a_folder_that_cannot_be_made_is_one_message(folder: Path) -> None:
    (folder / "file").write_text("")
    told = Told(folder, "start", "--folder", "file/below")
    assert told.code == 253
    assert "file/below" in told.err


def test_the_log_has_a_line_for_each_call_and_that_of_a_function_its_events(folder: Path) -> None:
    account = Account(Told(folder, "start").out.strip())
    function = account.function("def lambda_handler(event, context):\n    print('seen', event)\n")
    account.invoke(function, {"number": 5})
    own = Told(folder, "logs").out
    assert "INFO 201 lambda CreateFunction" in own
    assert "INFO 200 lambda Invoke" in own

    def written() -> str:
        return Told(folder, "logs", function).out

    eventually(lambda: "seen {'number': 5}" in written())
    assert "START RequestId" in written()
    missing = Told(folder, "logs", "no-such-function")
    assert missing.code == 1
    assert "no such function" in missing.err


def test_a_followed_log_goes_on_until_the_sandbox_ends(folder: Path) -> None:
    account = Account(Told(folder, "start").out.strip())
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "logs", "--follow"],
        cwd=folder,
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline().startswith("http://127.0.0.1:")
        account.sqs.list_queues()
        while "sqs ListQueues" not in following.stdout.readline():
            assert following.poll() is None
        Told(folder, "stop")
        _, talk = following.communicate(timeout=30)
    assert following.returncode == 0
    assert "has ended" in talk


def test_what_was_started_by_hand_is_not_stopped_by_teardown(folder: Path) -> None:
    Told(folder, "start")
    for program in (["provision", "--sandbox", "--no-try"], ["teardown", "--sandbox", "--yes"]):
        ended = subprocess.run(
            [sys.executable, "-m", *program],
            cwd=folder,
            env=ENVIRON,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
    assert "The sandbox goes on, as it was started by hand" in ended.stderr
    assert Told(folder, "status").code == 0
