"""``python -m sandbox start | stop | status | logs``, each as a process of its own in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import sandbox.commands
from tests.local_aws.sandbox_account import Account, about, eventually, key_in
from tests.rig.programs import end, plain_environ, start

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRON = plain_environ()
SCHEMA = json.loads((CHECKOUT / "docs" / "output.schema.json").read_text(encoding="utf-8"))


class Told:
    """What a command answered."""

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        ended = end(start("sandbox", *arguments, folder=folder, environ={**ENVIRON, **environ}))
        self.code, self.out, self.err = ended.returncode, ended.stdout, ended.stderr
        assert "Traceback" not in self.err

    @property
    def document(self) -> dict[str, Any]:
        """What --output json wrote, checked."""
        found: dict[str, Any] = json.loads(self.out)
        jsonschema.validate(found, SCHEMA, format_checker=jsonschema.FormatChecker())
        assert set(found) == set(SCHEMA["$defs"]["sandbox"]["properties"])
        assert (found["program"], found["exit_code"]) == ("sandbox", self.code)
        return found

    def refused(self, code: int, *words: str) -> None:
        """It ended with this code, and stderr says what happened, what that means and what to do, in one line each."""
        assert (self.code, self.out) == (code, ""), self.err
        lines = self.err.splitlines()
        assert [line[:16] for line in lines if line.startswith("  ")][0:2] == [
            "  What it means:",
            "  What to do:   ",
        ], lines
        assert sum(line.startswith("Error: ") for line in lines) == 1
        for word in words:
            assert word in self.err


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
    described = about(url, "/_sandbox", key_in(folder / ".provision"))
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
    shown = status.document
    assert (shown["running"], shown["folder"], shown["stale_record"]) == (False, ".provision", True)
    assert "gone" in status.err
    assert "log of the last one" in Told(folder, "logs", "--follow").err
    restarted = Told(folder, "start")
    assert restarted.code == 0
    assert "is of a sandbox that is gone" in restarted.err


def test_two_run_side_by_side_in_two_folders(folder: Path) -> None:
    try:
        one, other = Told(folder, "start"), Told(folder, "start", "--folder", "other")
        assert one.code == other.code == 0
        assert one.out != other.out
        Account(one.out.strip(), key_in(folder / ".provision")).sqs.create_queue(QueueName="only-here")
        assert "QueueUrls" not in Account(other.out.strip(), key_in(folder / "other")).sqs.list_queues()
    finally:
        assert Told(folder, "stop", "--folder", "other").code == 0
    assert Told(folder, "status").code == 0


def test_weather_and_enforced_users_reach_it_and_a_running_one_is_not_changed(folder: Path) -> None:
    asked = ("--weather", "aws,seed=7,scale=0.1", "--enforce", "ana", "--enforce", "ben")
    assert Told(folder, "start", *asked).code == 0
    shown = json.loads(Told(folder, "status", "--json").out)
    assert (shown["weather"], shown["enforced_users"]) == ("aws,seed=7,scale=0.1", ["ana", "ben"])
    assert about(shown["url"], "/_sandbox/weather", key_in(folder / ".provision"))["forecast"]["seed"] == 7
    assert Told(folder, "start", *asked).code == 0
    other = Told(folder, "start", "--weather", "aws,seed=8", "--enforce", "*")
    other.refused(253)
    assert "weather aws,seed=7,scale=0.1, not aws,seed=8" in other.err
    assert "ana, ben held to policies, not *" in other.err
    assert "python -m sandbox stop" in other.err


def test_a_port_that_is_taken_is_told_by_start(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = Told(folder, "start", "--port", str(other.getsockname()[1]))
    told.refused(253, "cannot listen on port", "Another program listens there", "Choose another with --port")
    assert not record(folder).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("start", "--weather", "hail"), "there are calm and aws"),
        (("run", "--weather", "aws,seed=x"), "seed"),
        (("start", "--port", "70000"), "70000 is no port"),
        (("nonsense",), "there are run, start, stop, status, logs"),
        (("statu",), "did you mean status?"),
        (("start", "--prt", "1"), "python -m sandbox start: error: unrecognized arguments: --prt 1"),
        (("logs", "--region", "mars!"), "not the name of an AWS Region"),
        (("stop", "--port", "1"), "--port"),
    ],
)
def test_a_usage_error_is_252_and_starts_nothing(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    told = Told(folder, *arguments)
    assert (told.code, told.out) == (252, "")
    assert words in told.err
    assert not record(folder).exists()


def test_a_usage_error_is_a_document_too(folder: Path) -> None:
    for arguments, words in (
        (("logs", "--follow", "--output", "json"), "one document at the end"),
        (("statu", "--output=json"), "did you mean status?"),
        (("status", "--json", "--prt"), "unrecognized arguments: --prt"),
    ):
        told = Told(folder, *arguments)
        error = told.document["error"]
        assert (told.code, error["code"]) == (252, "usage") and words in error["what"] and words in told.err


def test_a_folder_that_cannot_be_made_is_one_message(folder: Path) -> None:
    (folder / "file").write_text("")
    told = Told(folder, "start", "--folder", "file/below")
    told.refused(253, "file/below", "--folder")
    for command in ("stop", "status", "logs"):
        assert Told(folder, command, "--folder", "file/below").code in (0, 1)


@pytest.mark.parametrize("command", ["start", "stop", "status", "logs"])
def test_a_record_that_cannot_be_read_is_one_message(folder: Path, command: str) -> None:
    record(folder).mkdir(parents=True)
    Told(folder, command).refused(253, "sandbox.json cannot be used")
    record(folder).rmdir()


def test_the_log_has_a_line_for_each_call_and_that_of_a_function_its_events(folder: Path) -> None:
    account = Account(Told(folder, "start").out.strip(), key_in(folder / ".provision"))
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
    missing.refused(1, "There is no function no-such-function in us-east-1.", f"There are: {function}.")
    Told(folder, "logs", "what: a name").refused(1, "There is no function what: a name")
    Told(folder, "logs", function, "--region", "eu-west-1").refused(1, "There is none at all in eu-west-1.")


def test_a_function_that_has_not_run_has_nothing_in_its_log_yet(folder: Path) -> None:
    account = Account(Told(folder, "start").out.strip(), key_in(folder / ".provision"))
    function = account.function("def lambda_handler(event, context):\n    print('seen')\n")
    told = Told(folder, "logs", function)
    assert (told.code, told.out, "Nothing yet." in told.err) == (0, "", True)
    assert Told(folder, "logs", function, "--output", "json").document["lines"] == []
    account.invoke(function, {})
    eventually(lambda: len(Told(folder, "logs", function, "--output", "json").document["lines"]) >= 3)


def test_each_command_can_answer_with_a_document(folder: Path) -> None:
    as_json = ("--output", "json")
    started = Told(folder, "start", *as_json).document
    assert started["new"] and started["url"].startswith("http://127.0.0.1:")
    again = Told(folder, "start", *as_json).document
    assert (again["new"], again["id"]) == (False, started["id"])
    assert Told(folder, "status", *as_json).document["id"] == started["id"]
    assert f"{started['id']} is running." in Told(folder, "logs", *as_json).document["lines"]
    wrong = Told(folder, "start", "--weather", "aws", *as_json)
    assert (wrong.code, "not as you asked" in wrong.document["error"]["what"]) == (253, True)
    assert Told(folder, "stop", *as_json).document["stopped"] == started["id"]
    assert Told(folder, "stop", *as_json).document["stopped"] is None
    assert Told(folder, "logs", "f", *as_json).document["error"]["what"] == "No sandbox is running in .provision."


@pytest.mark.parametrize("command", [(), ("run",), ("start",), ("stop",), ("status",), ("logs",)])
def test_each_help_fits_a_small_screen_and_says_what_each_value_is(folder: Path, command: tuple[str, ...]) -> None:
    told = Told(folder, *command, "--help", COLUMNS="80")
    lines = told.out.splitlines()
    assert (told.code, told.err) == (0, "")
    assert len(lines) < 24 and max(map(len, lines)) < 80
    values = re.findall(r"^  --[a-z-]+ (\S+)", told.out, re.MULTILINE)
    assert set(values) <= {"PORT", "TEXT", "USER", "DIR", "FILE", "REGION", "{text,json}", "WHEN"}


@pytest.mark.once_more
@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_an_interrupted_start_leaves_no_sandbox_behind(folder: Path, number: int, name: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "start"],
        cwd=folder, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    ) as starting:  # fmt: skip
        eventually((folder / ".provision" / "sandbox.log").exists)
        starting.send_signal(number)
        out, talk = starting.communicate(timeout=30)
    assert (starting.returncode, out) == (130, ""), talk
    assert "is ended again" in talk and "Traceback" not in talk
    assert Told(folder, "status").code == 1
    assert not record(folder).exists()


@pytest.mark.sweep(2)
@pytest.mark.parametrize("command", [["start"], ["status"], ["logs"], ["status", "--json"]])
def test_a_reader_that_has_seen_enough_is_no_failure(folder: Path, command: list[str]) -> None:
    Told(folder, "start")
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", *command],
        cwd=folder, env=ENVIRON, stdout=writing, stderr=subprocess.PIPE, encoding="utf-8",
    ) as told:  # fmt: skip
        os.close(writing)
        _, talk = told.communicate(timeout=30)
    assert told.returncode == 0
    assert "Traceback" not in talk and "Broken" not in talk


@pytest.mark.once_more
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_followed_log_is_ended_by_a_signal_without_a_word(folder: Path, number: int, code: int) -> None:
    Told(folder, "start")
    with start("sandbox", "logs", "-f", folder=folder, environ=ENVIRON) as following:
        assert following.stdout is not None
        assert following.stdout.readline().startswith("http://127.0.0.1:")
        following.send_signal(number)
        _, talk = following.communicate(timeout=30)
    assert (following.returncode, talk) == (code, "")


def test_a_log_that_begins_anew_is_read_from_its_beginning_and_no_character_is_torn(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes("one longer line \u2013 ".encode()[:-2])
    read = sandbox.commands.new_text(log)
    assert read() == "one longer line "
    log.write_bytes("one longer line \u2013 two\n".encode())
    assert read() == "\u2013 two\n"
    log.write_bytes(b"anew\n")
    assert read() == "anew\n"


def test_a_followed_log_goes_on_until_the_sandbox_ends(folder: Path) -> None:
    account = Account(Told(folder, "start").out.strip(), key_in(folder / ".provision"))
    with start("sandbox", "logs", "--follow", folder=folder, environ=ENVIRON) as following:
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
        ended = end(start(*program, folder=folder, environ=ENVIRON))
        assert ended.returncode == 0, ended.stderr
    assert "The sandbox goes on, as it was started by hand" in ended.stderr
    assert Told(folder, "status").code == 0
