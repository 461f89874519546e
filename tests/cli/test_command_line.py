"""The two programs as child processes: exit codes, what goes to stdout and to stderr, and what a user can break."""

from __future__ import annotations

import argparse
import functools
import io
import itertools
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import provision.__main__
import provision.cli.ending
import sandbox.__main__
import teardown.__main__
from provision.cli.results import Result
from provision.cli.session import Session
from provision.state.file import parse
from provision.terminal import outcome
from provision.terminal.command_line import state_folder
from provision.terminal.screen import Screen
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.clock import eventually
from tests.rig.deployment import Stranger
from tests.rig.programs import DEAD, Folder, Gate, is_running

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # the one that AWS's own documentation uses


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


@pytest.fixture
def stranger(sandbox: Sandbox) -> Iterator[Stranger]:
    client = Stranger(sandbox.url)
    yield client
    client.close()


def assert_message(ended: subprocess.CompletedProcess[str], code: int, *fragments: str) -> None:
    """It ended with this code and one message, which has all fragments in it; no traceback, and no data."""
    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(re.findall(r"^(?:aws: \[ERROR\]|Error|\S.*: error): ", ended.stderr, re.MULTILINE)) == 1, ended.stderr
    for fragment in fragments:
        assert fragment in ended.stderr


# What is wrong with the command line or the environment.


def test_without_credentials_and_sandbox_one_message_names_both_ways_on(folder: Folder) -> None:
    ended = folder.run("provision")
    assert_message(ended, 253, "python -m provision --sandbox", "python -m provision --profile")
    assert not (folder.path / ".provision").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--sandbox", "--profile", "someone"], "--profile"),
        (["--sandbox", "--endpoint-url", DEAD], "--endpoint-url"),
        (["--sandbox", "--no-such-option"], "--no-such-option"),
        (["--sandb"], "--sandb"),
        (["build-it"], "build-it"),
        (["--sandbox", "--learner", "two words"], "'two words'"),
        (["--sandbox", "--learner", "x" * 41], "39 is the most"),
        (["--sandbox", "--region", "Frankfurt"], "'Frankfurt'"),
        (["--sandbox", "--runtime", "nodejs22.x"], "'nodejs22.x'"),
        (["--endpoint-url", "not a URL"], "'not a URL'"),
        (["--sandbox", "--adopt", "tabel"], "table, dead-letter-queue, queue"),
        (["--sandbox", "--adopt", "api"], "write-policy, read-policy, function-role"),
        (["--sandbox", "--deployment", "poc-1"], "--recover"),
        (["--sandbox", "--recover", "--adopt", "table"], "--adopt"),
        (["--sandbox", "--recover", "--try"], "--try"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_refused_before_anything_is_done(
    folder: Folder, arguments: list[str], named: str
) -> None:
    assert_message(folder.run("provision", *arguments), 252, named)
    assert list(folder.path.iterdir()) == [folder.path / "home"]


def test_teardown_refuses_the_same_contradiction(folder: Folder) -> None:
    assert_message(folder.run("teardown", "--sandbox", "--profile", "someone"), 252, "--profile")


@pytest.mark.parametrize("arguments", [["--region", "Frankfurt"], ["--learner", "-"], ["--runtime", "python"]])
def test_a_malformed_value_is_refused_before_the_first_call(
    folder: Folder, sandbox: Sandbox, arguments: list[str]
) -> None:
    with Gate(sandbox.url) as gate:
        assert_message(folder.run("provision", "--endpoint-url", gate.url, "--yes", *arguments), 252, arguments[1])
        assert gate.requests == 0


def test_a_malformed_region_in_the_environment_is_refused_before_the_first_call(
    folder: Folder, sandbox: Sandbox
) -> None:
    with Gate(sandbox.url) as gate:
        ended = folder.run("provision", "--endpoint-url", gate.url, "--yes", AWS_REGION="Frankfurt")
        assert_message(ended, 252, "'Frankfurt'", "AWS_REGION")
        assert gate.requests == 0


def test_an_endpoint_of_this_machine_where_nothing_answers_is_said_so_at_once(folder: Folder) -> None:
    began = time.monotonic()
    assert_message(folder.run("provision", "--endpoint-url", DEAD, "--yes"), 253, f"Nothing answers at {DEAD}.")
    assert time.monotonic() - began < 5


def test_a_region_that_there_is_not_is_refused_in_the_sandbox_with_the_one_that_was_meant(folder: Folder) -> None:
    ended = folder.run("provision", "--sandbox", "--region", "eu-cental-1")
    assert_message(ended, 252, "There is no Region eu-cental-1 (--region). Did you mean eu-central-1?")
    assert not (folder.path / ".provision").exists()  # no sandbox was started


def test_a_place_where_no_state_file_can_be_is_a_message_and_no_traceback(folder: Folder) -> None:
    (folder.path / ".provision").write_text("a file, not a folder")
    assert_message(folder.run("provision", "--sandbox"), 253, ".provision", "--state")


@pytest.mark.parametrize("program", ["provision", "teardown"])
@pytest.mark.parametrize("content", [b"", b'{"schema": 1, "depl', b'{"schema": 2}'], ids=["empty", "torn", "newer"])
def test_a_state_file_that_cannot_be_used_is_refused_before_the_first_call_with_its_backup_named(
    folder: Folder, sandbox: Sandbox, program: str, content: bytes
) -> None:
    path = folder.path / "ledger.json"
    backup = folder.path / "ledger.json.backup"
    path.write_bytes(content)
    backup.write_bytes(b"the state before")
    with Gate(sandbox.url) as gate:
        ended = folder.run(program, "--endpoint-url", gate.url, "--state", "ledger.json", "--yes")
        assert gate.requests == 0
    named = ["schema 2"] if b"2" in content else [backup.name, "Nothing was called, and nothing was overwritten"]
    assert_message(ended, 1, "ledger.json", *named)
    assert (path.read_bytes(), backup.read_bytes()) == (content, b"the state before")


def test_a_damaged_state_file_of_the_sandbox_is_refused_before_a_sandbox_is_started(folder: Folder) -> None:
    path = folder.path / ".provision" / "sandbox-us-east-1.json"
    path.parent.mkdir()
    path.write_bytes(b"{")
    for program in ("provision", "teardown"):
        assert_message(folder.run(program, "--sandbox"), 1, path.name, "it is not JSON")
    assert list(path.parent.iterdir()) == [path]


def advised(ended: subprocess.CompletedProcess[str], after: str) -> str:
    """The commands that a message advises below a line with these words, as one to paste."""
    lines = ended.stderr.splitlines()
    at = next(number for number, line in enumerate(lines) if after in line)
    return "; ".join(
        itertools.takewhile(lambda line: line.startswith(("cp", "mv", "python")), map(str.strip, lines[at + 1 :]))
    )


@pytest.mark.slow
def test_each_way_on_from_a_damaged_state_file_works_as_it_is_printed(folder: Folder) -> None:
    path = folder.path / ".provision" / "sandbox-us-east-1.json"
    assert folder.run("provision", "--sandbox", "--no-try", "--to", "1").returncode == 0
    assert folder.run("provision", "--sandbox", "--no-try", "--to", "2").returncode == 0
    damaged = path.read_bytes()[:-90]

    path.write_bytes(damaged)
    ended = folder.run("provision", "status", "--sandbox")
    assert_message(ended, 1, "it is not JSON", "which recorded 2 resources")
    assert folder.shell(advised(ended, "the last one made by its tag:")).returncode == 0
    again = folder.run("provision", "--sandbox", "--no-try", "--to", "2")
    assert again.returncode == 0 and len(folder.state()["resources"]) == 7, again.stderr
    assert "created" not in again.stderr

    path.write_bytes(damaged)
    ended = folder.run("teardown", "--sandbox")
    recovered = folder.shell(advised(ended, "Or write it anew from what there is:"))
    assert recovered.returncode == 0 and len(folder.state()["resources"]) == 7, recovered.stderr

    path.write_bytes(damaged)
    ended = folder.run("provision", "--sandbox")
    assert folder.shell(advised(ended, "Or begin anew, with an empty sandbox:")).returncode == 0
    anew = folder.run("provision", "--sandbox", "--no-try", "--to", "1")
    assert (anew.returncode == 0 and "2 created" in anew.stderr) or "created" in anew.stderr, anew.stderr
    assert len(folder.state()["resources"]) == 2

    # An empty sandbox would be no way on for the others who are in it.
    assert folder.run("provision", "--sandbox", "--no-try", "--to", "1", "--learner", "alice").returncode == 0
    path.write_bytes(damaged)
    ended = folder.run("teardown", "--sandbox")
    assert "--recover" in ended.stderr and "begin anew" not in ended.stderr


@pytest.mark.slow
def test_a_folder_that_vanishes_during_the_run_is_one_message_and_the_state_file_can_be_recovered(
    folder: Folder, sandbox: Sandbox, stranger: Stranger
) -> None:
    before = stranger.inventory()
    where = ("--endpoint-url", sandbox.url, "--learner", "vanished", "--state", "kept/ledger.json", "--yes")
    with Gate(sandbox.url, hold="CreateTable") as gate:
        # The state file is bound to the endpoint, so the run through the gate only shows what a lost folder does.
        child = folder.start("provision", *where, "--endpoint-url", gate.url)
        assert gate.arrived.wait(60)
        (folder.path / "kept").rename(folder.path / "lost")
        gate.release.set()
        out, talk = child.communicate(timeout=90)
    assert_message(
        subprocess.CompletedProcess([], child.returncode, out, talk), 253, "cannot be written", "add --recover"
    )
    recovered = folder.run("provision", *where, "--recover")
    assert recovered.returncode == 0, recovered.stderr
    assert "name-vanished" in recovered.stderr
    assert folder.run("provision", *where, "--no-try").returncode == 0
    assert folder.run("teardown", *where).returncode == 0
    assert stranger.inventory() == before


PROGRAMS = {"provision": provision.__main__.program_parser, "sandbox": sandbox.__main__.command_parser}
PARSERS = {
    **PROGRAMS,
    "teardown": teardown.__main__.parser,
    **{f"provision {name}": command.parser for name, command in provision.__main__.COMMANDS.items()},
    **{f"sandbox {name}": functools.partial(sandbox.__main__.parser_of, name) for name in sandbox.__main__.COMMANDS},
}


@pytest.mark.parametrize("command", PARSERS)
def test_the_help_fits_a_small_terminal_and_has_every_option_and_an_example(folder: Folder, command: str) -> None:
    ended = folder.run(*command.split(), "--help", COLUMNS="80")
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    assert lines[0].startswith(f"usage: python -m {command} [")
    assert len(lines) <= (24 if command in PROGRAMS else 48)
    assert max(map(len, lines)) <= 80
    for action in PARSERS[command]()._actions:
        assert action.help
        for option in action.option_strings:
            assert (option in ended.stdout) == (action.help != argparse.SUPPRESS)
    for name in PARSERS[command]().commands:
        assert len(re.findall(rf"^  {name}  +\S", ended.stdout, re.MULTILINE)) == 1
    assert ended.stdout.partition("\nexample:\n  ")[2].startswith(f"python -m {command.removesuffix(' build')}")


# In this order: what an example wants is there then.
IN_ORDER = (
    "sandbox start",
    "sandbox status",
    "provision build",
    "provision doctor",
    "provision status",
    "provision check",
    "provision trace",
)
NO_ORDER = ("provision shell", "provision diagram", "provision replay", "provision errata", "provision", "sandbox logs")
LAST = ("teardown", "sandbox stop", "sandbox")


@pytest.mark.slow
def test_the_example_of_every_help_works_when_it_is_pasted(folder: Folder) -> None:
    examples = {command: parser().example for command, parser in PARSERS.items()}
    for of_an_exercise in (
        "provision break",
        "provision hint",
        "provision heal",
    ):  # tests/exercise/test_exercise.py has them
        assert examples.pop(of_an_exercise).startswith(f"python -m {of_an_exercise} ")
    assert examples.pop("provision report").endswith("--out report.html")  # wants a lesson; test_report.py has it
    assert examples.pop("sandbox run").endswith("run --port 0 --weather aws")  # until Ctrl-C
    assert {*IN_ORDER, *NO_ORDER, *LAST} == set(examples)
    for command in (*IN_ORDER, *NO_ORDER, *LAST):
        program, *arguments = shlex.split(examples[command])[2:]
        ended = folder.run(program, *arguments)
        assert ended.returncode == 0, f"{examples[command]}\n{ended.stderr}"
    assert (folder.path / "picture.svg").is_file() and (folder.path / "page.html").is_file()


@pytest.mark.parametrize(
    ("line", "meant", "command"),
    [
        ("provision stauts", "status", "provision"),
        ("provision --sandbox diagramm", "diagram", "provision"),
        ("provision --snadbox", "--sandbox", "provision build"),
        ("provision build --learnr=anna", "--learner", "provision build"),
        ("provision --to tabel", "table", "provision build"),
        ("provision --sandbox --adopt tabel", "table", "provision build"),
        ("provision --sandbox status --verbos", "--verbose", "provision status"),
        ("provision trace --posion", "--poison", "provision trace"),
        ("provision diagram --format mermiad", "mermaid", "provision diagram"),
        ("provision replay --htlm page.html", "--html", "provision replay"),
        ("provision errata --ouput json", "--output", "provision errata"),
        ("provision errata 99", "", "provision errata"),
        ("provision --sandbox --region eu-cental-1", "eu-central-1", "provision build"),
        ("provision status --learner two,words", "", "provision status"),
        ("provision --sandbox --step", "", "provision build"),
        ("teardown --sandbx", "--sandbox", "teardown"),
        ("teardown --back-to stge", "stage", "teardown"),
        ("sandbox strat", "start", "sandbox"),
        ("sandbox start --wether aws", "--weather", "sandbox start"),
        ("sandbox --prot 4566", "--port", "sandbox run"),
    ],
)
def test_a_wrong_command_line_names_what_was_meant_and_the_help_of_its_command(
    folder: Folder, line: str, meant: str, command: str
) -> None:
    ended = folder.run(*line.split())
    assert_message(ended, 252)
    assert f"did you mean {meant}?" in ended.stderr.lower() if meant else "did you mean" not in ended.stderr
    assert ended.stderr.rstrip().endswith(f": python -m {command} --help")


def test_errata_lists_every_one_of_them(folder: Folder) -> None:
    ended = folder.run("provision", "errata")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("The 30 places where the walkthrough contradicts itself or AWS:\n")
    numbers = re.findall(r"^ ?(\d+)  ", ended.stdout, re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 31))
    for label in ("It says:", "In fact:", "Done:"):
        assert len(re.findall(rf"^    {label} +\S", ended.stdout, re.MULTILINE)) == 30
    one = folder.run("provision", "errata", "7")
    assert one.returncode == 0 and one.stdout.startswith(" 7  step 7") and one.stdout.count("It says:") == 1
    assert "If ignored:  A stranger can write to your table" in one.stdout and "If ignored" not in ended.stdout


def test_where_nobody_can_be_asked_nothing_is_written_and_the_flag_is_named(
    folder: Folder, sandbox: Sandbox, stranger: Stranger
) -> None:
    before = stranger.inventory()
    ended = folder.run("provision", "--endpoint-url", sandbox.url, "--learner", "unasked")
    assert_message(ended, 252, "--yes")
    assert stranger.inventory() == before
    assert not list((folder.path / ".provision").glob("*.json"))


def test_teardown_asks_too(folder: Folder, sandbox: Sandbox, stranger: Stranger) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "asked")
    assert folder.run("provision", *where, "--yes", "--no-try").returncode == 0
    built = stranger.inventory()
    assert_message(folder.run("teardown", *where), 252, "--yes")
    assert stranger.inventory() == built


# The sandbox, from nothing to nothing.


def test_the_round_trip_in_the_sandbox(folder: Folder) -> None:
    first = folder.run("provision", "--sandbox")
    assert first.returncode == 0, first.stderr
    url, create, by_queue, look, lesson, take_down = first.stdout.splitlines()
    assert re.fullmatch(r"Invoke URL: +http://127\.0\.0\.1:\d+/\S+/dynamodbmanager", url)
    address = url.split()[-1]
    assert create.startswith("curl -w '\\n' -d '{") and create.endswith(f" {address}")
    assert by_queue == create.replace('"1"', '"2"').replace("Bob", "Rob") + "/queue"
    assert '"operation": "list"' in look and look.endswith(f" {address}")
    assert lesson == "python -m provision --sandbox --step"
    assert take_down == "python -m teardown --sandbox"
    for number, title in enumerate(("Policies", "Roles", "Table", "Queue", "Function", "SQS", "REST API", "Stage"), 1):
        assert f"{number}/8 {title}" in first.stderr
    assert "Tests        5 passed" in first.stderr
    assert "\x1b" not in first.stdout + first.stderr

    before = folder.state()
    second = folder.run("provision", "--sandbox")
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "Nothing to do" in second.stderr
    assert "passed" not in second.stderr
    assert "    created" not in second.stderr
    assert folder.state() == before

    pid = folder.sandbox["pid"]
    assert is_running(pid)
    end = folder.shell(take_down)
    assert (end.returncode, end.stdout) == (0, ""), end.stderr
    assert "Nothing is left: all 16 recorded resources" in end.stderr
    assert "The sandbox is stopped." in end.stderr
    assert not (folder.path / ".provision" / "sandbox.json").exists()
    wait_until_ended(pid)
    assert folder.state()["resources"] == []
    assert len(folder.state()["receipt"]["things"]) == 16

    assert not (folder.path / ".provision" / "sandbox-journal").exists()

    again = folder.shell(take_down)
    assert (again.returncode, again.stdout) == (0, ""), again.stderr
    assert "Nothing to do" in again.stderr


def wait_until_ended(pid: int) -> None:
    eventually(lambda: not is_running(pid), 20)


def test_with_everything_of_the_user_broken_the_sandbox_is_built_and_tried(folder: Folder) -> None:
    broken = folder.path / "config"
    broken.write_text("[profile broken\nregion = nowhere\n]]]")
    ended = folder.run(
        "provision",
        "--sandbox",
        AWS_PROFILE="broken",
        AWS_DEFAULT_PROFILE="broken",
        AWS_CONFIG_FILE=str(broken),
        AWS_SHARED_CREDENTIALS_FILE=str(broken),
        AWS_CA_BUNDLE=str(folder.path / "nowhere.pem"),
        AWS_ENDPOINT_URL=DEAD,
        AWS_ENDPOINT_URL_SQS=DEAD,
        AWS_ENDPOINT_URL_LAMBDA=DEAD,
        AWS_USE_FIPS_ENDPOINT="true",
        AWS_REGION="eu-central-1",
        AWS_DEFAULT_REGION="nowhere",
        AWS_LAMBDA_FUNCTION_NAME="POC-Lambda-1",
        HTTP_PROXY=DEAD,
        HTTPS_PROXY=DEAD,
        http_proxy=DEAD,
        https_proxy=DEAD,
        ALL_PROXY=DEAD,
        HOME=str(folder.path / "nowhere"),
    )
    assert ended.returncode == 0, ended.stderr
    assert "Tests        5 passed" in ended.stderr
    assert folder.state()["region"] == "us-east-1"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A folder with a sandbox in which everything is built, for tests that only look again."""
    with Folder(tmp_path_factory.mktemp("built")) as made:
        ended = made.run("provision", "--sandbox", "--no-try")
        assert ended.returncode == 0, ended.stderr
        assert "Tests of the walkthrough" not in ended.stderr
        yield made


@pytest.mark.sweep(4)
@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_PROFILE": "broken"},
        {"AWS_CONFIG_FILE": "setup.cfg", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"},
        {"AWS_ENDPOINT_URL_SQS": DEAD},
        {"AWS_ENDPOINT_URL": DEAD},
        {"HTTP_PROXY": DEAD, "HTTPS_PROXY": DEAD, "http_proxy": DEAD},
        {"HOME": None},
        {"HOME": "/nowhere"},
        {"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"},
    ],
    ids=lambda environ: "-".join(environ),
)
def test_the_users_environment_changes_nothing_about_the_sandbox(built: Folder, environ: dict[str, str | None]) -> None:
    ended = built.run("provision", "--sandbox", **environ)
    assert ended.returncode == 0, ended.stderr
    assert "   Region us-east-1\n" in ended.stderr
    assert "Nothing to do" in ended.stderr or "Nothing was changed" in ended.stderr


def test_a_set_endpoint_does_matter_without_the_sandbox(built: Folder) -> None:
    """The other side of the tests above: the same variable is heeded where it should be."""
    environ = {"AWS_ENDPOINT_URL": built.sandbox["url"], "AWS_REGION": "eu-central-1"}
    environ |= {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": built.sandbox["key"]}
    ended = built.run("provision", "--learner", "elsewhere", **environ)
    assert_message(ended, 252, built.sandbox["url"], "--yes")
    assert "Region         eu-central-1 (AWS_REGION)" in ended.stderr


def test_a_killed_sandbox_comes_back_with_all_that_was_in_it(folder: Folder) -> None:
    """As after a restart of the machine, or a power failure: its last line may be torn, its port another program's."""
    built = folder.run("provision", "--sandbox", "--no-try")
    create, _, look = [line for line in built.stdout.splitlines() if line.startswith("curl")]
    assert folder.shell(create).returncode == 0
    assert "Bob" in folder.shell(look).stdout
    journal = folder.path / ".provision" / "sandbox-journal"
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (journal, *journal.iterdir())]
    assert modes == [0o700, 0o600, 0o600]
    url = folder.sandbox["url"]
    before = Stranger(url, key=folder.sandbox["key"])
    dead = before.sqs.get_queue_url(QueueName="POC-Queue-DLQ")["QueueUrl"]
    sent = before.sqs.send_message(QueueUrl=dead, MessageBody="waits")["MessageId"]
    before.close()
    killed = kill_sandbox(folder)
    with (journal / "journal.jsonl").open("a") as torn:
        torn.write('{"number": 99, "at":')

    with eventually(lambda: taken(int(url.rpartition(":")[2]))):
        status = folder.run("provision", "status", "--sandbox")
    assert status.returncode == 0, status.stderr
    assert "had ended. It is started again from its journal" in status.stderr
    now = folder.sandbox["url"]
    assert f"It answers at {now} now, not at {url}." in status.stderr
    assert folder.sandbox["id"] == killed
    assert "Bob" in folder.shell(look.replace(url, now)).stdout
    after = Stranger(now, key=folder.sandbox["key"])
    assert [one["MessageId"] for one in after.sqs.receive_message(QueueUrl=dead)["Messages"]] == [sent]
    after.close()

    kill_sandbox(folder)
    again = folder.run("provision", "--sandbox", "--no-try")
    assert again.returncode == 0 and "Nothing to do: all 16 resources" in again.stderr, again.stderr
    kill_sandbox(folder)
    end = folder.run("teardown", "--sandbox")
    assert end.returncode == 0 and "Nothing is left" in end.stderr, end.stderr
    assert not journal.exists() and not (folder.path / ".provision" / "sandbox.json").exists()


def taken(port: int) -> socket.socket | None:
    """The port, held; None while what was killed has not let go of it."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


@pytest.mark.slow
def test_a_sandbox_whose_journal_is_gone_leaves_nobody_stuck(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--no-try", "--to", "1").returncode == 0
    gone = lose_sandbox(folder)

    anew = folder.run("provision", "--sandbox", "--no-try", "--to", "1")
    assert anew.returncode == 0, anew.stderr
    assert f"{gone} is gone" in anew.stderr
    assert "unchanged" not in anew.stderr
    assert folder.state()["endpoint"] == f"sandbox:{folder.sandbox['id']}" != f"sandbox:{gone}"

    gone = lose_sandbox(folder)
    status = folder.run("provision", "status", "--sandbox")
    assert_message(status, 1, "No sandbox is running", "the last teardown has ended it", "Build anew:")
    end = folder.run("teardown", "--sandbox")
    assert (end.returncode, end.stdout) == (0, ""), end.stderr
    assert f"{gone} is gone" in end.stderr
    assert folder.state()["resources"] == []
    again = folder.run("teardown", "--sandbox")
    assert again.returncode == 0
    assert "Nothing to do" in again.stderr


@pytest.mark.slow
def test_a_journal_that_cannot_be_replayed_is_moved_away_by_the_printed_command(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--no-try", "--to", "1").returncode == 0
    kill_sandbox(folder)
    journal = folder.path / ".provision" / "sandbox-journal" / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"answer": "', '"answer": "0'))
    refused = folder.run("provision", "status", "--sandbox")
    assert_message(refused, 253, "sandbox-journal", "To begin with an empty sandbox, move the journal away:")
    (line,) = [line for line in refused.stderr.splitlines() if "move the journal away: " in line]
    subprocess.run(shlex.split(line.partition("away: ")[2]), check=True)
    anew = folder.run("provision", "--sandbox", "--no-try", "--to", "1")
    assert anew.returncode == 0 and "is gone" in anew.stderr, anew.stderr


def lose_sandbox(folder: Folder) -> str:
    """End the folder's sandbox, and remove its journal; its id."""
    gone = kill_sandbox(folder)
    shutil.rmtree(folder.path / ".provision" / "sandbox-journal")
    return gone


def kill_sandbox(folder: Folder) -> str:
    """End the folder's sandbox, which this test had started, without a chance to clean up; its id."""
    record = folder.sandbox
    os.kill(record["pid"], signal.SIGKILL)
    wait_until_ended(record["pid"])
    return str(record["id"])


def test_a_deprecated_runtime_is_warned_of_and_one_that_lambda_refuses_is_explained(
    folder: Folder, sandbox: Sandbox
) -> None:
    where = ("--endpoint-url", sandbox.url, "--learner", "old", "--yes", "--no-try")
    refused = folder.run("provision", *where, "--runtime", "python3.7")
    assert_message(refused, 254, "Step 5 (Function)", "python3.7 is no longer supported", "What to do:", "--runtime")
    # In the words of the AWS CLI, so that a search engine finds them.
    call = "when calling the CreateFunction operation: "
    assert f"aws: [ERROR]: An error occurred (InvalidParameterValueException) {call}" in refused.stderr

    warned = folder.run("provision", *where, "--runtime", "python3.9")
    assert warned.returncode == 0, warned.stderr
    assert "Warning: Runtime python3.9 is deprecated" in warned.stderr


# Interruptions.


class Talk:
    """What a child says on stderr, line by line, as it comes."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._arriving: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(child.stderr,), daemon=True)
        self._thread.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self._arriving.put(line)
        self._arriving.put(None)

    def wait_for(self, fragment: str, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while True:
            line = self._arriving.get(timeout=max(until - time.monotonic(), 0.01))
            assert line is not None, f"never said {fragment!r}: {self.rest()}"
            self.lines.append(line)
            if fragment in line:
                return

    def rest(self) -> str:
        """All of it, once the child has ended."""
        self._thread.join(30)
        while not self._arriving.empty():
            line = self._arriving.get()
            if line is not None:
                self.lines.append(line)
        return "".join(self.lines)


@pytest.mark.once_more
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_interrupted_during_a_call_it_ends_after_it_and_goes_on_later(
    folder: Folder, sandbox: Sandbox, stranger: Stranger, number: signal.Signals
) -> None:
    learner = f"stop-{number.name}"
    with Gate(sandbox.url, hold="CreateTable") as gate:
        child = folder.start("provision", "--endpoint-url", gate.url, "--learner", learner, "--yes", "--no-try")
        talk = Talk(child)
        assert gate.arrived.wait(30)
        child.send_signal(number)
        talk.wait_for("Stopping after the call in flight")
        assert child.poll() is None
        gate.release.set()
        assert child.wait(30) == 130
        said = talk.rest()
        assert "Traceback" not in said
        assert "5/8" not in said
        assert child.stdout is not None and child.stdout.read() == ""

        state = only_ledger(folder)
        assert [entry["key"] for entry in state["resources"]][-1] == "table"
        assert f"name-{learner}" in stranger.dynamodb.list_tables()["TableNames"]

        resume = re.search(r"Go on with: (.*)", said)
        assert resume is not None
        if number == signal.SIGINT:
            completed = folder.shell(resume[1])
            assert completed.returncode == 0, completed.stderr
            assert_complete(only_ledger(folder))


@pytest.mark.once_more
def test_interrupted_during_the_tests_of_the_result_it_says_how_to_go_on(folder: Folder, sandbox: Sandbox) -> None:
    with Gate(sandbox.url, hold="invocations") as gate:
        child = folder.start("provision", "--endpoint-url", gate.url, "--learner", "trial", "--yes", "--verbose")
        talk = Talk(child)
        assert gate.arrived.wait(30)
        child.send_signal(signal.SIGINT)
        talk.wait_for("Stopping after the call in flight")
        gate.release.set()
        assert child.wait(30) == 130
        said = talk.rest()
        assert child.stdout is not None and child.stdout.read() == ""
    assert "Tests of the walkthrough" in said
    assert "Go on with: python -m provision --endpoint-url" in said
    assert_complete(only_ledger(folder))


@pytest.mark.once_more
def test_a_second_ctrl_c_ends_it_at_once_and_what_was_in_flight_is_found_again(
    folder: Folder, sandbox: Sandbox, stranger: Stranger
) -> None:
    with Gate(sandbox.url, hold="CreateTable") as gate:
        child = folder.start(
            "provision", "--endpoint-url", gate.url, "--learner", "twice", "--yes", "--no-try", "--verbose"
        )
        talk = Talk(child)
        assert gate.arrived.wait(30)
        child.send_signal(signal.SIGINT)
        talk.wait_for("Stopping after the call in flight")
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130  # although nothing has answered yet
        said = talk.rest()
        assert child.stdout is not None
        child.stdout.close()
        assert "Traceback" not in said
        assert only_ledger(folder)["resources"][-1]["status"] == "creating"
        gate.release.set()
        assert gate.passed.wait(30)

        resume = re.search(r"Go on with: (.*)", said)
        assert resume is not None
        completed = folder.shell(resume[1])
        assert completed.returncode == 0, completed.stderr
        assert "    recovered  table      name-twice" in completed.stderr
    assert_complete(only_ledger(folder))


def only_ledger(folder: Folder) -> dict[str, Any]:
    """The one state file in the folder, whole and with the right checksum."""
    (path,) = (folder.path / ".provision").glob("*.json")
    return parse(path.read_bytes(), path)


def assert_complete(state: dict[str, Any]) -> None:
    keys = [entry["key"] for entry in state["resources"]]
    assert len(keys) == len(set(keys)) == 16
    assert {entry["status"] for entry in state["resources"]} == {"created"}


# In this process, where the seconds between two looks can be shortened, and failures brought about.


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder for programs that run in this process, and short sleeps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Session, "sleep", lambda session, seconds: time.sleep(seconds / 20))
    return tmp_path


@pytest.mark.slow
def test_two_learners_share_a_sandbox_until_the_last_one_has_gone(
    here: Path, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = ["--sandbox", "--learner", "alice"]
    bob = ["--sandbox", "--learner", "bob", "--state", ".provision/the one of bob.json"]
    assert provision.__main__.main([*alice, "--no-try"]) == 0
    assert provision.__main__.main([*bob, "--no-try"]) == 0
    take_down = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(take_down)[1:] == ["-m", "teardown", *bob]
    assert folder.state("sandbox-us-east-1-alice.json")["endpoint"] == folder.state("the one of bob.json")["endpoint"]
    pid = folder.sandbox["pid"]

    stranger = Stranger(folder.sandbox["url"], key=folder.sandbox["key"])
    assert sorted(stranger.inventory()["functions"]) == ["POC-Lambda-1-alice", "POC-Lambda-1-bob"]
    assert teardown.__main__.main(alice) == 0
    assert "The sandbox goes on" in capsys.readouterr().err
    assert is_running(pid)
    assert sorted(stranger.inventory()["functions"]) == ["POC-Lambda-1-bob"]
    stranger.close()

    assert teardown.__main__.main(bob) == 0
    assert "The sandbox is stopped." in capsys.readouterr().err
    assert not (here / ".provision" / "sandbox.json").exists()


@pytest.mark.slow
def test_what_the_walkthrough_literally_says_is_built_updated_and_taken_down(
    here: Path, sandbox: Sandbox, stranger: Stranger, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stranger.inventory()
    where = ["--endpoint-url", sandbox.url, "--learner", "literal", "--yes"]
    assert provision.__main__.main([*where, "--as-written"]) == 0
    literal = capsys.readouterr()
    assert len(literal.out.splitlines()) == 5  # no queue route
    assert "Tests        3 passed" in literal.err
    assert stranger.inventory()["functions"]["POC-Lambda-1-literal"]["runtime"] == "python3.9"

    assert provision.__main__.main([*where, "--as-written"]) == 0
    again = capsys.readouterr().err
    assert "Nothing to do" in again
    assert "passed" not in again
    assert provision.__main__.main([*where, "--as-written", "--try"]) == 0
    asked_for = capsys.readouterr().err
    assert "Nothing was changed" in asked_for
    assert "Tests        3 passed" in asked_for

    assert provision.__main__.main([*where, "--no-try"]) == 0
    mended = capsys.readouterr()
    assert "Action: added dynamodb:Scan" in mended.err
    assert "Runtime: was python3.9, now python3.13" in mended.err
    assert "passed" not in mended.err
    assert len(mended.out.splitlines()) == 6

    assert teardown.__main__.main(where) == 0
    assert stranger.inventory() == before


def test_an_unforeseen_error_is_kept_in_a_file_without_any_secret(
    here: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other_secret = SECRET[::-1]

    token = "IQoJb3JpZ2luX2VjE" * 20
    message = f"no foreseen error: {SECRET} and {other_secret} and {token}"

    def fail(aws: object, settings: object, state: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr("provision.table.provision", fail)
    assert provision.__main__.main(["--endpoint-url", sandbox.url, "--learner", "unlucky", "--yes"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Error: RuntimeError: no foreseen error" in said.err
    assert "Traceback" not in said.err
    named = re.search(r"The traceback is in (\S+\.log)\.", said.err)
    assert named is not None
    log = here / named[1]
    text = log.read_text()
    assert "Traceback" in text and "RuntimeError: no foreseen error" in text and 'test_command_line.py", line' in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for words in (said.err, text):
        for secret in (SECRET, other_secret, token[:17]):
            assert secret not in words


def test_a_result_that_does_not_work_is_a_failure_with_what_was_expected_and_seen(
    here: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--endpoint-url", sandbox.url, "--learner", "broken", "--yes"]
    with monkeypatch.context() as patch:
        broken = b"def lambda_handler(event, context):\n    raise ValueError('not what was sent')\n"
        patch.setattr("provision.function.source", lambda settings: broken)
        patch.setattr("provision.account.smoke_tests.ARRIVAL_SECONDS", 0.1)
        assert provision.__main__.main(where) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "expected the payload back, saw 'not what was sent'" in said.err
    assert said.err.count("\n    failed ") == 3, "the routes are tried all the same, and no message is waited for"
    assert "stackTrace" not in said.err
    assert provision.__main__.main(where) == 0  # updated, and tried again
    assert "Tests        5 passed" in capsys.readouterr().err


class InterruptedWhileWriting(io.RawIOBase):
    """A file, in the middle of whose first write Ctrl-C arrives."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = path.open("wb", buffering=0)
        self.interrupted = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.file.fileno()

    def write(self, data: Any) -> int:
        if not self.interrupted:
            self.interrupted = True
            signal.raise_signal(signal.SIGINT)
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()
        super().close()


def test_ctrl_c_in_the_middle_of_a_line_is_no_failure(tmp_path: Path) -> None:
    talk = io.TextIOWrapper(
        io.BufferedWriter(InterruptedWhileWriting(tmp_path / "talk")), encoding="utf-8", write_through=True
    )
    screen = Screen(talk=Console(file=talk))
    session = Session(screen)

    def body() -> Result:
        screen.say("A line that Ctrl-C interrupts.")
        return session.result

    assert provision.cli.ending.run_program(body, session).exit_code == 0
    talk.close()
    assert session.calls.stopping
    said = (tmp_path / "talk").read_text()
    assert "Stopping after the call in flight" in said
    assert "A line that Ctrl-C interrupts." in said


def test_without_its_extra_the_sandbox_says_what_to_install(folder: Folder) -> None:
    absent = folder.path / "absent"
    (absent / "moto").mkdir(parents=True)
    (absent / "moto" / "__init__.py").write_text("raise ImportError(\"No module named 'moto'\")\n")
    ended = folder.run("provision", "--sandbox", PYTHONPATH=str(absent))
    assert_message(ended, 253, "No module named 'moto'", "pip install")
    assert not list((folder.path / ".provision").glob("*.json"))


def test_a_command_may_stand_behind_options(folder: Folder) -> None:
    nothing = folder.run("provision", "--endpoint-url", DEAD, "status")
    assert nothing.returncode == outcome.ENVIRONMENT and "Building" not in nothing.stderr
    usage = folder.run("provision", "--learner", "status", "--sandbox", "trace", "--no-such-option")
    assert usage.returncode == outcome.USAGE
    assert "python -m provision trace: error: unrecognized arguments: --no-such-option" in usage.stderr
    shown = folder.run("provision", "--sandbox", "diagram", "--format", "mermaid")
    assert shown.returncode == 0 and shown.stdout.startswith("flowchart")


def test_in_a_subfolder_the_deployment_of_the_folder_above_is_found(folder: Folder) -> None:
    assert folder.run("provision", "--sandbox", "--to", "1").returncode == outcome.DONE
    below = folder.path / "notes"
    below.mkdir()
    with Folder(below) as inside:
        without = inside.run("teardown")
        assert without.returncode == outcome.ENVIRONMENT
        assert "../.provision/sandbox-us-east-1.json is a sandbox's state file" in without.stderr
        assert "python -m teardown --sandbox" in without.stderr
        gone = inside.run("teardown", "--sandbox")
        assert gone.returncode == outcome.DONE and "all 2 recorded resources" in gone.stderr
        assert "State file     ../.provision/sandbox-us-east-1.json" in gone.stderr
    assert not (below / ".provision").exists()


def test_the_state_folder_is_not_looked_for_beyond_the_project_or_with_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "project" / "src"
    inner.mkdir(parents=True)
    (tmp_path / ".provision").mkdir()
    monkeypatch.chdir(inner)
    assert state_folder() == Path("../../.provision")
    monkeypatch.setattr("provision.terminal.command_line.is_mine", lambda folder: False)
    assert state_folder() == Path(".provision")
    monkeypatch.undo()
    monkeypatch.chdir(inner)
    (tmp_path / "project" / ".git").mkdir()
    assert state_folder() == Path(".provision")
    (inner / ".provision").mkdir()
    assert state_folder() == Path(".provision")


@pytest.mark.parametrize("program", ["provision", "teardown", "sandbox"])
def test_in_a_python_without_the_suite_each_program_says_so(folder: Folder, program: str) -> None:
    """The environment was not entered: no traceback, not even for --help."""
    command = [sys.executable, "-S", "-m", program, "--help"]  # -S: nothing that was installed is found
    environ = {"PYTHONPATH": str(CHECKOUT)}
    ended = subprocess.run(command, cwd=folder.path, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == outcome.ENVIRONMENT
    assert ended.stderr.startswith(f"Not installed in this Python ({sys.executable}): boto3, portalocker, rich.\n")
    assert "activate" in ended.stderr and "pip install" in ended.stderr
