"""What other systems do otherwise, as far as it can be played here: encodings, quoting, files that are held, names."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import portalocker
import pytest
from rich.console import Console

from provision.aws.call_text import aws_command
from provision.aws.waiting import Waiting
from provision.cli.options import state_path
from provision.record.transcript import Transcript
from provision.state.file import StateRefused, text_of
from provision.state.state import State
from provision.terminal import disk, outcome, shell
from provision.terminal.screen import Screen
from provision.terminal.shell import interpreter
from provision.terminal.writing import write_file
from tests.rig import CHECKOUT
from tests.rig.programs import Folder
from tests.rig.screens import memory_screen

# Neither cp1252 nor ASCII has all of these; file names on Windows may.
FOLDER = "Übung Ω 日本"


def started(folder: Folder, encoding: str, *command: str) -> tuple[int, str, str]:
    """A program's exit code, stdout and stderr where the streams have this encoding, and nothing else is UTF-8."""
    ended = subprocess.run(
        [folder.python, "-m", *command],
        cwd=folder.path,
        env={**folder.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=90,
        check=False,
    )
    out, talk = ended.stdout.decode(encoding), ended.stderr.decode(encoding)
    for text in (out, talk):
        assert "Traceback" not in text and "UnicodeEncodeError" not in text, text
    return ended.returncode, out, talk


@pytest.mark.parametrize("encoding", [pytest.param("ascii", marks=pytest.mark.slow), "cp1252"])
def test_every_command_says_all_that_it_has_to_say_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / FOLDER).mkdir()
    with Folder(tmp_path / FOLDER) as folder:
        kept = str(folder.path / ".provision" / "Ω.json")
        here = ("--sandbox", "--state", kept)
        written = kept.encode(encoding, "backslashreplace").decode(encoding)
        code, out, talk = started(folder, encoding, "provision", *here, "--no-try")
        assert (code, f"State file     {written}" in talk) == (0, True)
        assert out.splitlines()[-1] == f"python -m teardown --sandbox --state '{written}'"
        document = json.loads(started(folder, encoding, "provision", "status", *here, "--output", "json")[1])
        assert document["state_file"] == kept
        of_few_letters = (  # where these can be said, they can be in an encoding that has more
            (("provision", *here, "--dry-run"), 1),
            (("provision", "status", *here), 16),
            (("provision", "diagram", *here), 8),
            (("provision", "diagram", *here, "--format", "svg"), 20),
            (("provision", "errata"), 27),
            (("provision", "replay", "--state", kept), 50),
            (("provision", "replay", "--state", kept, "--faces"), 200),
            (("provision", "replay", "--state", kept, "--list"), 1),
            (("provision", "trace", *here), 0),
            (("sandbox", "logs"), 50),
            (("sandbox", "logs", "POC-Lambda-1"), 1),
            (("teardown", *here, "--dry-run"), 16),
        )
        for command, lines in (
            *(of_few_letters if encoding == "ascii" else ()),
            (("sandbox", "status"), 8),
            (("provision", "replay", "--state", kept, "--html", "Ω.html"), 0),
            (("provision", "replay", "--state", kept, "--script", "Ω.sh"), 0),
            (("teardown", *here), 0),
        ):
            code, out, talk = started(folder, encoding, *command)
            assert (code, len(out.splitlines()) >= lines) == (0, True), (command, code, out, talk)
            if "--script" in command:
                assert "bash 'Ω.sh'".encode(encoding, "backslashreplace").decode(encoding) in talk
        assert started(folder, encoding, "provision", "--learner", "Ω", "--sandbox")[0] == 252
        assert started(folder, encoding, "sandbox", "Ω")[0] == 252
        assert (folder.path / "Ω.html").is_file()
        assert b"\r" not in (folder.path / "Ω.sh").read_bytes()


def test_what_an_encoding_lacks_is_written_so_that_it_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding="cp437", newline="\n"))
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # has no encoding to speak of, and is left alone
    shell.write_any_text()
    print("é • … → \ud800")
    sys.stdout.flush()
    assert data.getvalue() == b"\x82 * . \\u2192 \\ud800\n"


@pytest.mark.parametrize(("encoding", "kept"), [("cp1252", r"\u03a9"), ("utf-8", "Ω"), ("utf_16", "Ω")])
def test_a_document_stays_json_in_any_encoding(encoding: str, kept: str) -> None:
    data = io.BytesIO()
    file = io.TextIOWrapper(data, encoding=encoding, errors="strict", newline="\n")
    screen = Screen(talk=memory_screen().talk, data=Console(file=file, width=80))
    screen.use(plain=True, presenting=False, output="json")
    screen.write_json({"learner": "Ω 😀"})
    file.flush()
    text = data.getvalue().decode(encoding)
    assert kept in text
    assert json.loads(text)["learner"] == "Ω 😀"


@pytest.mark.parametrize(
    ("words", "posix", "windows"),
    [
        (["python", "-m", "teardown"], "python -m teardown", "python -m teardown"),
        (["a b", "c"], "'a b' c", '"a b" c'),
        (["http://x/?a=1&b=2"], "'http://x/?a=1&b=2'", '"http://x/?a=1&b=2"'),
        (['{"id": "1"}'], '\'{"id": "1"}\'', r'"{\"id\": \"1\"}"'),
        ([r".venv\Scripts\python.exe", ""], r"'.venv\Scripts\python.exe' ''", r'.venv\Scripts\python.exe ""'),
    ],
)
def test_a_line_to_paste_is_quoted_for_the_shell_at_hand(words: list[str], posix: str, windows: str) -> None:
    assert shell.command_line(words, windows=False) == posix
    assert shell.command_line(words, windows=True) == windows


@pytest.mark.parametrize(
    ("variables", "url", "needed"),
    [
        ({}, "http://127.0.0.1:4566", {}),
        ({"http_proxy": "http://proxy:3128"}, "http://127.0.0.1:4566", {"no_proxy": "127.0.0.1"}),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://localhost:4566/x", {"no_proxy": "localhost"}),
        ({"http_proxy": "http://proxy:3128", "NO_PROXY": "x,127.0.0.1"}, "http://127.0.0.1:4566", {}),
        ({"https_proxy": "http://proxy:3128"}, "http://127.0.0.1:4566", {}),
        ({"http_proxy": "http://proxy:3128"}, "https://abc.execute-api.us-east-1.amazonaws.com", {}),
        ({"http_proxy": "http://proxy:3128"}, None, {}),
    ],
)
def test_a_line_to_paste_reaches_this_machine_past_a_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str | None, needed: dict[str, str]
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert shell.past_proxy(url) == needed
    line = aws_command("sqs", "ListQueues", {}, endpoint_url=url)
    assert line.startswith("".join(f"{name}={value} " for name, value in needed.items()) + "aws sqs list-queues")


@pytest.mark.slow
def test_with_a_proxy_the_lines_at_the_end_of_a_build_work_as_they_stand(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        folder.environ["http_proxy"] = "http://127.0.0.1:9"
        said = folder.run("sandbox", "start").stderr + folder.run("provision", "--sandbox", "--no-try").stdout
        lines = [line for line in said.splitlines() if " curl " in line or " aws " in line]
        assert len(lines) == 4
        for line in lines:
            ended = folder.shell(line)
            assert ended.returncode == 0 and "proxy" not in ended.stderr, (line, ended.stderr)


def test_variables_are_set_for_one_command_only() -> None:
    variables = {"A": "any", "B": "other"}
    assert shell.with_variables(variables, ["aws", "x"], windows=False) == "A=any B=other aws x"
    assert shell.with_variables(variables, ["aws", "x"], windows=True) == 'cmd /c "set A=any&& set B=other&& aws x"'


def test_an_interpreter_on_another_drive_is_named_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_another_drive(path: str) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", on_another_drive)
    monkeypatch.setenv("PATH", "")
    assert interpreter() == sys.executable


def test_a_file_that_somebody_reads_is_replaced_as_soon_as_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [PermissionError(13, "Access is denied")] * 3
    replace, slept = Path.replace, []

    def refusing(path: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refusing)
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_bytes(b"new")
    old.write_bytes(b"old")
    with pytest.raises(PermissionError):
        disk.replace(new, old, patience=0)
    disk.replace(new, old, patience=2, sleep=slept.append)
    assert (old.read_bytes(), new.exists(), len(slept)) == (b"new", False, 2)


class Unreadable(io.StringIO):
    def read(self, size: int | None = -1) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_held_lock_that_cannot_be_read_is_told_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows a locked file cannot be read, and portalocker 2 hands on the system's words only."""

    def held(file: IO[str], flags: Any) -> None:
        raise portalocker.LockException("Permission denied") from OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(portalocker, "lock", held)
    monkeypatch.setattr("provision.state.file.text_of", lambda lock, read=text_of: read(Unreadable()))
    with pytest.raises(StateRefused, match="is in use by another process") as refused:
        State.open(tmp_path / "ledger.json", account="1", region="us-east-1", endpoint=None)
    assert refused.value.exit_code == outcome.LEFT


@pytest.mark.parametrize("endpoint", ["http://[::1]:4566", "http://localhost:4566", "sandbox:sb-1", None])
def test_a_state_files_name_is_one_on_every_file_system(endpoint: str | None) -> None:
    name = state_path("123456789012", "us-east-1", endpoint, "ana", Path()).name
    assert re.fullmatch(r"[A-Za-z0-9.-]+", name)
    assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name)


def test_what_is_made_for_bash_has_no_carriage_return_whatever_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    fdopen = os.fdopen

    def opened(descriptor: int, mode: str = "r", **options: Any) -> Any:
        modes.append(mode)
        return fdopen(descriptor, mode, **options)

    monkeypatch.setattr(os, "fdopen", opened)
    write_file(tmp_path / "poc.sh", "text\n", memory_screen())
    assert modes and all("b" in mode for mode in modes), "Windows would write CR LF in a file of text"


def test_a_transcripts_lines_end_as_they_do_everywhere(tmp_path: Path) -> None:
    opened = State.open(tmp_path / "l.json", account="1", region="us-east-1", endpoint=None)
    transcript = Transcript(Waiting())
    transcript.begin("provision", opened)
    transcript.ended(0, 0, 0, None)
    opened.close()
    assert transcript.path is not None
    assert b"\r" not in transcript.path.read_bytes()
    assert ":" not in transcript.path.name


def test_no_program_reads_another_one_in_the_encoding_of_the_day() -> None:
    """ruff's PLW1514 sees open, read_text and write_text; not what a child process writes."""
    for room in ("provision", "teardown", "sandbox"):
        for module in (CHECKOUT / room).rglob("*.py"):
            assert not reads_a_program_as_text(module.read_text(encoding="utf-8")), module
    assert reads_a_program_as_text("subprocess.run(words, text=True)")
    assert reads_a_program_as_text("Popen(words, universal_newlines=True)")
    assert not reads_a_program_as_text("subprocess.run(words, encoding='utf-8')  # not text=True")


def reads_a_program_as_text(source: str) -> bool:
    """Whether a call of it has `text=True`, or the older name of that."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return any(
        word.arg == "universal_newlines"
        or (word.arg == "text" and isinstance(word.value, ast.Constant) and word.value.value is True)
        for call in calls
        for word in call.keywords
    )


# What a person asked to have in a file.


def test_a_file_is_written_anew_whole_or_not_at_all(tmp_path: Path) -> None:
    """No stand-in: the operating system refuses to let a file grow beyond a few bytes."""
    page = tmp_path / "page.html"
    page.write_text("the old one", encoding="utf-8")
    program = (
        "import resource, signal, sys; from pathlib import Path; from provision.terminal import disk\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "disk.write(Path(sys.argv[1]), 'new ' * 1000)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(page)], capture_output=True, text=True, check=False, cwd=CHECKOUT
    )
    assert "OSError" in ended.stderr
    assert page.read_text(encoding="utf-8") == "the old one"
    assert list(tmp_path.iterdir()) == [page]
    disk.write(page, "new")
    assert page.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [page]


def test_what_cannot_be_encoded_is_written_as_a_question_mark(tmp_path: Path) -> None:
    write_file(tmp_path / "page.html", "a lone surrogate \udc80", memory_screen())
    assert (tmp_path / "page.html").read_bytes() == b"a lone surrogate ?"


def test_a_file_that_is_written_anew_keeps_its_bits_and_its_link(tmp_path: Path) -> None:
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    page.write_text("old", encoding="utf-8")
    page.chmod(0o640)
    link.symlink_to("page.html")
    disk.write(link, "new")
    assert link.is_symlink() and page.read_text(encoding="utf-8") == "new"
    assert page.stat().st_mode & 0o777 == 0o640
    disk.write(tmp_path / "another.html", "first")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "another.html").stat().st_mode & 0o777 == 0o666 & ~umask
    link.unlink()
    link.symlink_to("not-there-yet.html")
    disk.write(link, "made")
    assert link.is_symlink() and (tmp_path / "not-there-yet.html").read_text(encoding="utf-8") == "made"


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    program = "from pathlib import Path; from provision.terminal import disk; disk.write(Path('/dev/stdout'), 'x')"
    for command, wanted in (('{} -c "$1" | cat', "x"), ('{} -c "$1" > out; {} -c "$1" >> out; cat out', "xx")):
        shell = command.replace("{}", sys.executable)
        ended = subprocess.run(
            ["sh", "-c", shell, "sh", program],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )
        assert (ended.stderr, ended.stdout) == ("", wanted)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    disk.write(pipe, "through it")
    assert reader.communicate(timeout=30)[0] == "through it"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
def test_what_may_not_be_written_is_not_replaced_either(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old", encoding="utf-8")
    page.chmod(0o444)
    with pytest.raises(PermissionError):
        disk.write(page, "new")
    page.chmod(0o644)
    tmp_path.chmod(0o555)
    try:
        disk.write(page, "new")
    finally:
        tmp_path.chmod(0o755)
    assert page.read_text(encoding="utf-8") == "new"
