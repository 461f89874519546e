"""`shell`: plain `aws` and boto3 reach the sandbox, and nothing of the user's own keys reaches them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.aws import sandbox_process
from provision.cli import shell
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.programs import Folder
from tests.rig.terminal import Terminal

SHELL = ("provision", "shell", "--sandbox")
BOTO3 = "import boto3; print(boto3.client('dynamodb').list_tables()['TableNames'])"
# Its terminal becomes that of the session: only then Ctrl-C is a signal, and bash has jobs.
WITH_KEYBOARD = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', *sys.argv[1:]])"
)
OWN = {"AWS_ACCESS_KEY_ID": "AKIAOWN", "AWS_SECRET_ACCESS_KEY": "own-secret", "AWS_SESSION_TOKEN": "own-token"}

needs_aws = pytest.mark.skipif(shutil.which("aws") is None, reason="the aws command is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """In which a table has been built, and whose user has an AWS account."""
    with Folder(tmp_path_factory.mktemp("shell")) as made:
        assert made.run("provision", "--sandbox", "--to", "3").returncode == 0
        home = Path(made.environ["HOME"])
        (home / ".aws").mkdir()
        (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id=AKIAFILE\naws_secret_access_key=x\n")
        (home / ".bashrc").write_text("export AWS_PROFILE=mine AWS_ACCESS_KEY_ID=AKIASTARTUP\nPS1='$ '\n")
        made.environ |= {**OWN, "SHELL": "/bin/bash"}
        yield made


@needs_aws
def test_a_command_runs_with_plain_aws_and_boto3_and_ends_with_its_own_exit_code(folder: Folder) -> None:
    listed = folder.run(*SHELL, "--", "aws", "dynamodb", "list-tables", "--output", "json")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert json.loads(listed.stdout) == {"TableNames": ["name"]}
    queues = folder.run(*SHELL, "--", "aws", "sqs", "list-queues")  # the AWS CLI 1 has an address of its own for SQS
    assert (queues.returncode, queues.stdout, queues.stderr) == (0, "", "")
    assert folder.run(*SHELL, "--", folder.python, "-c", BOTO3).stdout == "['name']\n"
    missing = folder.run(*SHELL, "--", "aws", "dynamodb", "describe-table", "--table-name", "nothing")
    assert missing.returncode != 0 and "ResourceNotFoundException" in missing.stderr
    assert folder.run(*SHELL, "--", "bash", "-c", "exit 7").returncode == 7
    assert folder.run(*SHELL, "--", "bash", "-c", "kill -9 $$").returncode == 128 + 9
    assert folder.run("provision", "--sandbox", "shell", "--", "bash", "-c", "exit 3").returncode == 3


def test_a_command_sees_nothing_of_the_users_own_aws(folder: Folder) -> None:
    seen = folder.run(*SHELL, "--", "env", AWS_PAGER="", AWS_ENDPOINT_URL_SQS="http://127.0.0.1:9").stdout
    variables = dict(line.partition("=")[::2] for line in seen.splitlines())
    assert variables["AWS_ENDPOINT_URL"] == folder.sandbox["url"] and variables["AWS_REGION"] == "us-east-1"
    assert variables["AWS_PAGER"] == ""  # how it looks stays
    assert "AWS_SESSION_TOKEN" not in variables and "AWS_ENDPOINT_URL_SQS" not in variables
    assert "own" not in " ".join(value for name, value in variables.items() if name.startswith("AWS_"))
    assert "AKIA" not in folder.run(*SHELL, "--", "aws", "configure", "list").stdout
    assert "AKIAOWN" in folder.shell("env").stdout  # it would have been seen


@needs_aws
@pytest.mark.once_more
def test_in_a_terminal_it_says_where_one_is_and_ctrl_c_belongs_to_what_runs_there(folder: Folder) -> None:
    with Terminal(folder, 80, *SHELL, rows=24, program=[folder.python, "-c", WITH_KEYBOARD]) as terminal:
        terminal.read_until("(sandbox) $ ")
        said = " ".join(terminal.text.split())
        assert f"Local AWS {folder.sandbox['url']} Region us-east-1" in said
        assert "Account 123456789012" in said and "To leave this shell: exit" in said
        assert '"name"' in terminal.ask("aws dynamodb list-tables\n", "(sandbox) $ ")
        terminal.ask("echo [$AWS_PROFILE$AWS_SESSION_TOKEN]\n", "[]")  # its startup file set one
        terminal.read_until("(sandbox) $ ")
        # One program, which is in front when it speaks: between two of them the shell may lose a Ctrl-C.
        terminal.ask("sh -c \"echo be''gun; exec sleep 60\"\n", "begun\n")
        terminal.ask("\x03", "(sandbox) $ ", seconds=20)
        stood = terminal.ask(f"{folder.python} -m provision status\n", "(sandbox) $ ")
        assert "3/8 Table" in stood and "unchanged" in stood
        terminal.type("exit 5\n")
        assert terminal.end() == 5


@pytest.mark.slow
def test_a_sandbox_that_has_ended_comes_back_from_its_journal(folder: Folder) -> None:
    running = sandbox_process.find(folder.path / ".provision")
    assert running is not None
    sandbox_process.stop(running)
    again = folder.run(*SHELL, "--", folder.python, "-c", BOTO3)
    assert again.stdout == "['name']\n" and "started again from its journal" in again.stderr


def test_what_cannot_be_is_told_in_one_message(folder: Folder, tmp_path: Path) -> None:
    absent = folder.run(*SHELL, "--state", str(tmp_path / "state.json"), "--", "env")
    assert absent.returncode == outcome.LEFT and absent.stdout == ""
    assert "No sandbox is running" in absent.stderr and "python -m provision --sandbox" in absent.stderr
    unheard = folder.run(*SHELL, "--", "unheard-of")
    assert unheard.returncode == outcome.USAGE and "unheard-of cannot be started" in unheard.stderr
    assert "-- aws s3" in folder.run(*SHELL, "aws", "s3").stderr
    assert folder.run(*SHELL, "--").returncode == outcome.USAGE


def test_elsewhere_the_profile_and_the_region_are_those_of_the_options(folder: Folder, sandbox: Sandbox) -> None:
    home = Path(folder.environ["HOME"])
    (home / ".aws" / "config").write_text("[profile class]\naws_access_key_id=AKIACLASS\naws_secret_access_key=x\n")
    where = ("--endpoint-url", sandbox.url, "--profile", "class", "--region", "eu-west-1")
    seen = folder.run("provision", "shell", *where, "--", "env").stdout.splitlines()
    assert {"AWS_PROFILE=class", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1"} <= set(seen)
    assert f"AWS_ENDPOINT_URL={sandbox.url}" in seen
    assert not [one for one in seen if "AKIAOWN" in one or "own-token" in one]  # keys would win over the profile


def test_a_shell_ends_when_the_next_sandbox_has_its_url_and_another_key(tmp_path: Path) -> None:
    record, url = tmp_path / sandbox_process.RECORD, "http://127.0.0.1:4566"
    options: Any = SimpleNamespace(state=tmp_path / "state.json", sandbox=True, profile=None, region=None,
                                   endpoint_url=None, learner=None)  # fmt: skip
    aws: Any = SimpleNamespace(is_sandbox=True, base_url=url, sandbox_key="the-first")
    words = shell.ended_words(aws, options)

    def at_prompt() -> str:
        bash = ["bash", "--norc", "-c", f"{words}; echo stays"]
        ended = subprocess.run(bash, capture_output=True, text=True, timeout=20, check=True)
        return ended.stdout + ended.stderr

    sandbox_process.remember(record, {"url": url, "key": "the-first"})
    assert at_prompt() == "stays\n"
    sandbox_process.remember(record, {"url": url, "key": "the-second"})
    assert "so this shell ends, too" in at_prompt() and "stays" not in at_prompt()
    record.unlink()
    assert "so this shell ends, too" in at_prompt()


@pytest.mark.once_more
def test_a_shell_whose_sandbox_has_ended_says_so_and_ends(tmp_path: Path) -> None:
    with Folder(tmp_path) as made:
        assert made.run("provision", "--sandbox", "--to", "3").returncode == 0
        with Terminal(made, 80, *SHELL, rows=24, SHELL="/bin/bash") as terminal:
            terminal.read_until("(sandbox) ")
            terminal.ask("echo be''fore\n", "before\n")
            terminal.read_until("(sandbox) ")
            assert made.run("teardown", "--sandbox").returncode == 0
            terminal.written = b""
            terminal.type("\n")
            assert terminal.end() == 0
            assert "has ended, so this shell ends, too" in " ".join(terminal.text.split())
