"""The wheel: what is in it, and that it works where nothing of the checkout is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.rig import CHECKOUT
from tests.rig.programs import SYSTEM_FOLDERS, Folder

ROOT = CHECKOUT
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "*.pyc")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as setuptools leaves a build folder behind, and takes up again what it finds there."""
    source = tmp_path_factory.mktemp("checkout") / "source"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source.parent), str(source)]
    ended = subprocess.run(command, cwd=source.parent, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (built,) = source.parent.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """An empty folder, and an environment of its own with the wheel in it."""
    home = tmp_path_factory.mktemp("installed")
    environment = home / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*command, str(wheel)], check=True, timeout=120)
    # What the wheel depends on is taken from the environment that runs this test: a test talks to this machine only.
    # A folder named in a .pth file is searched for modules, but its own .pth files are not heeded, and among those is
    # the one by which an editable installation would bring the checkout back in.
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with Folder(tmp_path_factory.mktemp("empty")) as folder:
        folder.python = str(python)
        folder.environ["PATH"] = f"{environment / 'bin'}:{SYSTEM_FOLDERS}"
        yield folder


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_the_wheel_holds_every_source_file_and_every_document(wheel: Path) -> None:
    wanted = {"lambda_function.py"}
    for package in ("provision", "teardown", "sandbox"):
        wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py")}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "policies").rglob("*.json")}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "lessons").glob("*.md")}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "lessons" / "exercises").glob("*.md")}
    wanted |= {"provision/replay/web_page.html", "provision/lesson/picture.svg.j2", "provision/account/prices.json"}
    assert {
        "policies/POC-Queue.json",
        "lessons/table.md",
        "policies/as-written/Lambda-Read-SQS.json",
        "provision/table.py",
    } <= wanted
    assert wanted <= names_in(wheel)


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    rooms = {name.split("/")[0] for name in names_in(wheel) if ".dist-info/" not in name}
    assert rooms == {"lambda_function.py", "lessons", "policies", "provision", "sandbox", "teardown"}


def test_the_sandbox_extra_asks_for_what_the_sandbox_imports(wheel: Path) -> None:
    metadata = metadata_of(wheel)
    assert {"sandbox", "test"} <= set(metadata.get_all("Provides-Extra", []))
    asked = [line for line in metadata.get_all("Requires-Dist", []) if 'extra == "sandbox"' in line]
    assert {line.split("[")[0].split(">")[0].split(";")[0].strip() for line in asked} >= {"moto", "flask", "werkzeug"}
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split("<")[0].split(">")[0].split("[")[0] for line in needed} == {
        "blessed",
        "boto3",
        "jinja2",
        "jmespath",
        "markdown-it-py",
        "portalocker",
        "rich",
    }


@pytest.mark.slow
def test_the_modules_come_from_the_wheel(installed: Folder, tmp_path: Path) -> None:
    """Without this the round trip below could pass on the checkout's own files."""
    modules = "provision, teardown, sandbox, lambda_function"
    ended = subprocess.run(
        [installed.python, "-c", f"import {modules}\nfor m in ({modules}): print(m.__file__)"],
        cwd=tmp_path,
        env=installed.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    environment = Path(installed.python).parents[1]
    assert len(ended.stdout.splitlines()) == 4
    for line in ended.stdout.splitlines():
        assert Path(line).is_relative_to(environment), line


@pytest.mark.slow
def test_from_an_empty_folder_it_builds_and_takes_down_in_the_sandbox(installed: Folder) -> None:
    assert {path.name for path in installed.path.iterdir()} == {"home"}
    built = installed.run("provision", "--sandbox", "--no-try")
    assert built.returncode == 0, built.stderr
    # One call by the stage: the function really runs, from the handler in the wheel.
    url = built.stdout.splitlines()[0].split()[-1]
    with urllib.request.urlopen(url, data=b'{"operation": "ping"}', timeout=30) as answer:
        assert json.loads(answer.read()) == "pong"
    assert {path.name for path in installed.path.iterdir()} == {"home", ".provision"}
    end = installed.shell(built.stdout.splitlines()[-1])
    assert end.returncode == 0, end.stderr
    assert "Nothing is left" in end.stderr
    assert "The sandbox is stopped." in end.stderr
