"""Which room may import which: the contracts in setup.cfg hold, and a breach of each is noticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig import CHECKOUT

ROOT = CHECKOUT
PROGRAMS = ("provision", "teardown", "sandbox")
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, encoding="utf-8")


def test_each_room_imports_only_what_it_may() -> None:
    ended = lint_imports(ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("provision/terminal/disk.py", "import provision.aws.calls", "only what stands below it"),
        ("provision/record/log.py", "def late(): import provision.cli.progress", "only what stands below it"),
        ("provision/package.py", "if TYPE_CHECKING: import provision.state.state", "only what stands below it"),
        ("provision/cli/runner.py", "import sandbox.state", "neither teardown nor sandbox"),
        ("teardown/table.py", "import sandbox.state", "do not know each other"),
        (
            "sandbox/dynamodb/tables.py",
            "import provision.state.state",
            "The sandbox takes only terminal and its own start",
        ),
        ("sandbox/__main__.py", "import provision.cli.options", "The sandbox takes only terminal and its own start"),
    ],
)
@pytest.mark.sweep(3)
def test_an_import_that_may_not_be_is_noticed(tmp_path: Path, path: str, line: str, contract: str) -> None:
    for name in PROGRAMS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    with (tmp_path / path).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    ended = lint_imports(tmp_path)
    assert ended.returncode != 0
    broken = [told for told in ended.stdout.splitlines() if " BROKEN" in told]
    assert any(contract in told for told in broken), ended.stdout + ended.stderr


def test_code_that_nothing_calls_is_noticed(tmp_path: Path) -> None:
    for name in PROGRAMS:
        (tmp_path / name).mkdir()
    (tmp_path / "provision" / "table.py").write_text("def find_table_of_nobody():\n    return 1\n", encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ended = subprocess.run(
        [sys.executable, "-m", "vulture", *PROGRAMS], cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "unused function 'find_table_of_nobody'" in ended.stdout
