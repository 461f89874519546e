"""A shell completes the programs' command lines: from the parsers, in a real bash and, where there is one, zsh."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision import STEPS
from provision.state.resources import ADOPTABLE
from tests.rig.programs import Folder
from tests.rig.terminal import Terminal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    with Folder(tmp_path_factory.mktemp("completion")) as made:
        yield made


def completions(folder: Folder, line: str, tmp_path: Path) -> set[str]:
    """What the program answers a shell that asks how the line goes on at its end."""
    answer = tmp_path / "answer"
    module = line.split()[2]
    asked = subprocess.run(
        [folder.python, "-m", module],
        cwd=folder.path,
        env={
            **folder.environ,
            "_ARGCOMPLETE": "3",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 0 and asked.stdout == b"", asked.stderr
    return {word.strip() for word in answer.read_text().split("\013") if word}


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python -m provision st", {"status"}),
        ("python -m provision --sand", {"--sandbox"}),
        ("python -m provision --to ", {step.name for step in STEPS}),
        ("python -m provision --adopt q", {key for key in ADOPTABLE if key.startswith("q")}),
        ("python -m provision --region us-w", {"us-west-1", "us-west-2"}),
        ("python -m provision --color ", {"auto", "always", "never"}),
        ("python -m provision trace --po", {"--poison"}),
        ("python -m provision --sandbox status --de", {"--debug"}),
        ("python -m provision diagram --format m", {"mermaid"}),
        ("python -m provision replay --ht", {"--html"}),
        ("python -m teardown --back-to t", {"table", "trigger"}),
        ("python -m teardown --po", set()),
        ("python -m provision --learner ", set()),
        ("python -m provision status --learner ", set()),
        ("python -m sandbox run --port ", set()),
        ("python -m provision di", {"diagram"}),
        ("python -m provision build --det", {"--detailed-exitcode"}),
        ("python -m provision --vers", {"--version"}),
        ("python -m sandbox st", {"start", "status", "stop"}),
        ("python -m sandbox run --we", {"--weather"}),
        ("python -m sandbox logs --region us-w", {"us-west-1", "us-west-2"}),
    ],
)
def test_the_parsers_answer(folder: Folder, tmp_path: Path, line: str, expected: set[str]) -> None:
    assert completions(folder, line, tmp_path) == expected


def test_profiles_are_those_of_the_configuration(folder: Folder, tmp_path: Path) -> None:
    config = Path(folder.environ["HOME"]) / ".aws" / "config"
    config.parent.mkdir(exist_ok=True)
    config.write_text("[profile class-a]\n[profile class-b]\n[default]\n", encoding="utf-8")
    assert completions(folder, "python -m provision --profile cl", tmp_path) == {"class-a", "class-b"}
    config.unlink()


ACTIVATE = 'eval "$(activate-global-python-argcomplete --dest=-)"; PS1="rea""dy> "\n'
SHELLS = {
    "bash": (("--norc", "-i"), ACTIVATE),
    "zsh": (("-f", "-i"), f"autoload -U compinit; compinit -u -D; {ACTIVATE}"),
}


def test_learners_are_those_of_whom_there_are_runs(folder: Folder, tmp_path: Path) -> None:
    for learner in ("anna", "ben"):
        run = folder.path / ".provision" / "transcripts" / f"sandbox-us-east-1-{learner}" / "1-provision.jsonl"
        run.parent.mkdir(parents=True)
        run.write_text(json.dumps({"at": 0, "type": "transcript", "learner": learner}) + "\n", encoding="utf-8")
    assert completions(folder, "python -m provision replay --learner ", tmp_path) == {"anna", "ben"}
    assert completions(folder, "python -m teardown --learner a", tmp_path) == {"anna"}
    shutil.rmtree(folder.path / ".provision")


@pytest.mark.sweep(2)
@pytest.mark.once_more
@pytest.mark.parametrize("shell", SHELLS)
def test_a_key_completes_a_command_line_in_a_shell(folder: Folder, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    options, set_up = SHELLS[shell]
    path = f"{Path(sys.executable).parent}{os.pathsep}{folder.environ['PATH']}"
    with Terminal(folder, 120, *options, program=[program], PATH=path) as terminal:
        terminal.type(set_up)
        terminal.read_until("ready> ")
        terminal.ask("python -m provision --detailed-e\t", "--detailed-exitcode ")
        terminal.ask("--dry\t", "--dry-run ")
        (folder.path / "a-file").touch()
        if shell == "bash":  # zsh offers no files unasked
            terminal.ask("--learner \t\t", "NAME")
            assert "a-file" not in terminal.text
