"""The pages in docs/: what is generated is fresh, what is linked exists, and the tutorial works as it is written."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import teardown.__main__
from provision.errata import ERRATA
from provision.terminal import outcome
from tests.rig import CHECKOUT
from tests.rig.lesson import Lesson
from tests.rig.programs import Folder

ROOT = CHECKOUT
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def script(name: str) -> ModuleType:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


generate = script("generate")
check = script("check")
messages = script("messages")


# What is generated.


@pytest.mark.parametrize("page", generate.PAGES)
def test_a_generated_page_is_what_the_programs_say_now(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == generate.PAGES[page](), "python docs/generate.py updates it"


def test_check_passes_on_fresh_pages_and_names_a_stale_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main([], tmp_path) == 0
    capsys.readouterr()
    assert generate.main(["--check"], tmp_path) == 0
    assert capsys.readouterr().err == ""

    page = tmp_path / "reference" / "errata.md"
    page.write_text(page.read_text(encoding="utf-8") + "\nby hand\n", encoding="utf-8")
    (tmp_path / "reference" / "commands.md").unlink()
    assert generate.main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert "reference/errata.md is stale" in said and "reference/commands.md is stale" in said
    assert page.read_text(encoding="utf-8").endswith("by hand\n")


def test_an_option_that_the_page_lacks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = teardown.__main__.parser

    def with_one_more() -> argparse.ArgumentParser:
        made = parser()
        made.add_argument("--brand-new", help="not on the page yet")
        return made

    monkeypatch.setattr(teardown.__main__, "parser", with_one_more)
    assert generate.stale(DOCS) == ["reference/commands.md"]


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    _, *parts = re.split(r"^## (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_option_that_a_help_prints_is_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    on_the_page = sections("reference/commands.md")
    programs = {main.__module__.removesuffix(".__main__"): main for main in generate.PROGRAMS}
    for heading, text in on_the_page.items():
        program, *command = heading.removeprefix("python -m ").split()
        with pytest.raises(SystemExit):
            programs[program]([*command, "--help"])
        options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
        assert options == set(re.findall(r"--[a-z][a-z-]+", text)) - {"--help"}, heading
    assert len(on_the_page) >= 12


def test_errata_page_has_them_all() -> None:
    text = (DOCS / "reference" / "errata.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^### Erratum (\d+)$", text, re.MULTILINE)]
    assert sorted(numbers) == [erratum.number for erratum in ERRATA]


def codes(path: Path) -> dict[int, str]:
    """The rows of a table of exit codes."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {int(code): meaning for code, meaning in rows}


def test_the_exit_codes_are_those_of_the_programs() -> None:
    written = codes(DOCS / "reference" / "exit-codes.md")
    assert set(written) == {value for name, value in vars(outcome).items() if name.isupper() and isinstance(value, int)}


# What is linked.


def anchors(path: Path) -> set[str]:
    """The headings of a page, as GitHub and the site turn them into addresses."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def broken(path: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    lead_nowhere = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            lead_nowhere.append(link)
    return lead_nowhere


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_a_broken_link_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# What it is, and why\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#what-it-is-and-why) [c](gone.md) [d](there.md#gone) [e](#gone) "
        "[f](https://example.com/)\n\n```bash\n[g](gone.md)\n```\n",
        encoding="utf-8",
    )
    assert broken(page) == ["gone.md", "there.md#gone", "#gone"]


def test_the_front_page_names_every_page() -> None:
    named = set(re.findall(r"^- \[[^]]+\]\(([^)]+)\)", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {path.relative_to(DOCS).as_posix() for path in PAGES} - {"index.md"}


# The built site: nothing in it may come from elsewhere. .ci/run builds it, and runs the same check.

OWN = """<html><head><link rel="stylesheet" href="_static/a.css"><link rel="canonical" href="https://example.com/">
<style>body { background: url(_static/b.png) }</style></head><body><a href="https://example.com/">for people</a>
<script src="_static/c.js"></script><img src="data:image/png;base64,AAAA" srcset="a.png 1x, b.png 2x"></body></html>"""


def site(folder: Path, page: str = OWN, style: str = "body { color: red }") -> Path:
    (folder / "_static").mkdir()
    (folder / "index.html").write_text(page, encoding="utf-8")
    (folder / "_static" / "a.css").write_text(style, encoding="utf-8")
    return folder


def test_a_site_of_its_own_resources_passes(tmp_path: Path) -> None:
    assert check.main([str(site(tmp_path))]) == 0


@pytest.mark.parametrize(
    "element",
    [
        '<script src="https://cdn.example.com/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.com/css">',
        '<link rel="preload" as="font" href="https://fonts.example.com/a.woff2">',
        '<img src="http://example.com/badge.svg">',
        '<img src="a.png" srcset="a.png 1x, https://example.com/b.png 2x">',
        '<p style="background: url(https://example.com/a.png)"></p>',
        "<style>@import 'https://example.com/a.css';</style>",
        '<iframe src="https://example.com/"></iframe>',
        '<svg><image href="https://example.com/a.png"/></svg>',
    ],
)
def test_a_page_that_fetches_from_elsewhere_fails(
    element: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(site(tmp_path, OWN.replace("</body>", f"{element}</body>")))]) == 1
    assert capsys.readouterr().err.startswith("fetched from elsewhere: index.html: ")


def test_a_style_sheet_that_fetches_from_elsewhere_fails(tmp_path: Path) -> None:
    site(tmp_path, style='@font-face { src: url("https://example.com/a.woff2") }')
    assert check.from_elsewhere(tmp_path) == ["_static/a.css: https://example.com/a.woff2"]


def test_a_folder_without_a_site_fails(tmp_path: Path) -> None:
    assert check.main([str(tmp_path)]) == 1


# The tutorial, command by command.

BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^>]+) -->\n)?```(?P<kind>bash|text)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
API = re.compile(r"/restapis/\w+/")
# What is another one each time: where it stands in the page or in an output, it counts as the same.
OTHER_EACH_TIME = [
    (ADDRESS, "ADDRESS"),
    (API, "API"),
    (re.compile(r"\b(sb|poc)-[0-9a-f]{8}\b"), "ID"),
    (re.compile(r"\d{8}-\d{6}-\d{3}"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "TIME"),
    (re.compile(r"\d+\.\d+ s\b"), "SECONDS"),
    (re.compile(r"\b\d+ (s,|KiB|API calls)"), r"NUMBER \1"),
    (re.compile(r"^\d\d:\d\d:\d\d\.\d{3}"), "TIME"),
    (re.compile(r"(RequestId: )[0-9a-f-]{36}"), r"\1ID"),
    (re.compile(r"([Dd]uration: )\d+(\.\d+)? ms"), r"\1MS"),
    (re.compile(r"\s+"), " "),
]


def same_each_time(line: str) -> str:
    for pattern, instead in OTHER_EACH_TIME:
        line = pattern.sub(instead, line)
    return line.strip()


def not_said(shown: str, said: str) -> list[str]:
    """The lines that a page shows and that do not come, in this order, in what was said; "..." is anything."""
    lines = iter([same_each_time(line) for line in said.splitlines()])
    missing = []
    for line in filter(None, map(same_each_time, shown.splitlines())):
        start = line.removesuffix("...").rstrip()
        if start and not any(one == line or (start != line and one.startswith(start)) for one in lines):
            missing.append(line)
    return missing


def test_what_the_page_shows_is_held_against_what_was_said() -> None:
    said = (
        "Deployment     poc-0ea04d49 (new)\n\n1/8 Policies\n    created    policy     A\n11.6 s, 93 API calls, 38 of it"
    )
    assert not_said("Deployment poc-fc518a32 (new)\n...\n created policy A\n5.1 s, 90 API calls, 38 of it", said) == []
    assert not_said("Deployment poc-fc518a32 (n...", said) == []
    assert not_said("1/8 Policies\nDeployment poc-fc518a32 (new)", said) == ["Deployment ID (new)"]
    assert not_said("5.1 s, 90 API calls, 37 of it", said) == ["SECONDS, NUMBER API calls, 37 of it"]


class Shell:
    """A shell that stays: what one command sets, the next one finds."""

    def __init__(self, folder: Folder) -> None:
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=folder.path,
            env=folder.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, commands: str) -> str:
        """What they wrote. They must end well."""
        code, said = self.ended(commands)
        assert code == 0, f"{commands}\n{said}"
        return said

    def ended(self, commands: str) -> tuple[int, str]:
        """Their exit code, and what they wrote."""
        assert self._bash.stdin is not None and self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {commands}\n}} < /dev/null\nprintf '\\n=== %s\\n' $?\n")
        self._bash.stdin.flush()
        written: list[str] = []
        for line in self._bash.stdout:
            if line.startswith("=== "):
                return int(line.split()[1]), "".join(written)
            written.append(line)
        raise AssertionError(f"the shell ended: {commands}\n{''.join(written)}")

    def close(self) -> None:
        self._bash.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        made.environ["PYTHONPATH"] = str(ROOT)
        made.environ["COLUMNS"] = "400"
        yield made


def lesson(folder: Folder) -> None:
    """What the tutorial tells a person to type: step 5 and those after it."""
    with Lesson(folder, 100) as guide:
        assert "Step 5 of 9: Function" in guide.turn()
        for step in (5, 6, 7, 8):
            assert f"Step {step} is done" in guide.turn("\n")
            assert f"Step {step + 1} of 9" in guide.turn("\n")
        assert "queue route: a request" in guide.turn("\n")
        guide.type("\n")
        assert guide.end() == 0


def test_the_tutorial_begins_as_it_is_written(folder: Folder) -> None:
    """To the run that has nothing to do any more."""
    follow_the_tutorial(folder, commands=2)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tutorial_works_as_it_is_written(folder: Folder) -> None:
    follow_the_tutorial(folder)


def follow_the_tutorial(folder: Folder, commands: int | None = None) -> None:
    """Run its blocks of commands, or the first few of them, and hold what the page shows against what was said."""
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    shell = Shell(folder)
    said, address, api, left = "", None, None, commands
    try:
        for block in BLOCK.finditer(text):
            if block["kind"] == "text":
                assert not said or not_said(block["text"], said) == [], said
            elif (block["note"] or "").startswith("not tested"):
                continue
            elif (block["note"] or "").startswith("a person"):
                lesson(folder)
                said = ""
            elif left == 0:
                break
            else:
                lines = block["text"]
                if address and api:  # those of one's own screen in the place of the page's
                    lines = API.sub(api[0], ADDRESS.sub(address[0], lines))
                said = shell.run(lines)
                left = None if left is None else left - 1
                address, api = ADDRESS.search(said) or address, API.search(said) or api
    finally:
        shell.close()


# The first page, and how the site is built.


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_site_is_built_by_a_command_of_contributing_into_a_folder_that_git_ignores() -> None:
    (command,) = re.findall(
        r"<!-- command: docs -->\n```bash\n(.+)\n```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    )
    assert " -W " in command and command.endswith(" docs build/docs")
    assert {"build/", ".venv-docs/"} <= set((ROOT / ".gitignore").read_text(encoding="utf-8").splitlines())


@pytest.mark.skipif(importlib.util.find_spec("furo") is None, reason="the docs extra is not installed")
def test_the_site_is_built_without_a_warning_and_of_its_own_resources(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", str(DOCS), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stderr
    assert check.from_elsewhere(tmp_path) == []


# The page of errors.

A_NEW_MESSAGE = """
def give_up(path):
    raise outcome.UserError(
        f"{path} is {'not' if path else 'never'} there.",
        means=MEANS,
        advice=(f"Run {program('provision', ['--sandbox'])}", *more),
        exit_code=outcome.SERVICE,
    )
"""


def test_a_message_that_somebody_adds_comes_into_the_page() -> None:
    (found,) = messages.messages_in(A_NEW_MESSAGE, "provision.new", {"MEANS": "It means this."})
    assert messages.screen_of(found.stop).splitlines() == [
        "Error: <path> is not there.",
        "  What it means: It means this.",
        "  What to do:    Run python -m provision --sandbox",
        "                 <more>",
    ]
    assert found.stop.exit_code == outcome.SERVICE


def test_the_page_has_the_messages_of_all_rooms_and_every_exit_code() -> None:
    found = list(messages.messages(generate.modules()))
    assert len(found) >= 60
    modules = {one.module for one in found}
    assert {
        "provision.aws.connect",
        "provision.state.state",
        "provision.settings",
        "teardown.__main__",
        "provision.replay.script",
    } <= modules
    assert {one.stop.exit_code for one in found} == set(generate.CODE_TITLES)


def test_a_screen_in_the_page_is_the_one_that_a_person_sees(tmp_path: Path) -> None:
    with Folder(tmp_path) as user:
        said = user.run("provision", "--yes").stderr
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    assert said.strip() in page
