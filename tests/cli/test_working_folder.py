"""What lies in the working folder decides nothing: no module, no document, no handler of the suite comes from there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.package import code_sha256, source, zipped
from provision.settings import Settings
from provision.terminal import outcome
from tests.rig.programs import Folder

MODULES = ("boto3", "botocore", "rich", "portalocker", "lambda_function", "policies", "lessons", "json", "argparse")


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Folder]:
    """A folder with a module of each of these names, as a file or a package; whichever runs leaves its name."""
    with Folder(tmp_path) as folder:
        for number, name in enumerate((*MODULES, "provision", "teardown", "sandbox")):
            text = f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\n"
            if number % 2 and name != "lambda_function":
                (tmp_path / name).mkdir()
                (tmp_path / name / "__init__.py").write_text(text)
            else:
                (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "policies").mkdir(exist_ok=True)
        for document in (Path(__file__).parents[2] / "policies").glob("*.json"):
            (tmp_path / "policies" / document.name).write_text('{"Statement": [{"Action": "*", "Resource": "*"}]}')
        yield folder


def ran(folder: Folder) -> str:
    file = folder.path / "ran"
    return file.read_text() if file.exists() else ""


def test_an_installed_command_runs_and_reads_nothing_of_the_working_folder(hostile: Folder) -> None:
    planned = hostile.shell("poc-provision --sandbox --dry-run --plain")
    assert planned.returncode == outcome.DONE, planned.stderr
    assert ran(hostile) == ""
    assert "dynamodb:PutItem" in planned.stdout + planned.stderr
    assert '"Action": "*"' not in planned.stdout + planned.stderr


def test_with_python_m_the_same_holds_for_everything_but_the_programs_own_name(hostile: Folder) -> None:
    """`python -m provision` is the folder's own `provision` where it has one; nobody can help that but -P."""
    for name in ("provision.py", "provision", "sandbox.py", "sandbox", "json.py", "json", "argparse.py", "argparse"):
        path = hostile.path / name
        if path.is_dir():
            (path / "__init__.py").unlink()
            path.rmdir()
        elif path.exists():
            path.unlink()
    planned = hostile.run("provision", "--sandbox", "--dry-run", "--plain", fresh=True)
    assert planned.returncode == outcome.DONE, planned.stderr
    assert ran(hostile) == ""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P came with Python 3.11")
def test_with_p_python_m_is_as_safe_as_an_installed_command(hostile: Folder) -> None:
    shown = hostile.shell(f"{sys.executable} -P -m provision errata 1")
    assert shown.returncode == outcome.DONE, shown.stderr
    assert ran(hostile) == ""


def test_the_trap_springs_where_python_looks_into_the_working_folder(hostile: Folder) -> None:
    assert hostile.shell(f"{sys.executable} -c 'import rich'").returncode == 0
    assert ran(hostile) == "rich "


@pytest.mark.slow
def test_the_function_that_is_uploaded_is_the_suites(hostile: Folder) -> None:
    built = hostile.shell("poc-provision --sandbox --to function --yes")
    assert built.returncode == outcome.DONE, built.stderr
    entry = next(one for one in hostile.state()["resources"] if one["key"] == "function")
    assert entry["outputs"]["CodeSha256"] == code_sha256(zipped(source(Settings())))
    assert ran(hostile) == ""
