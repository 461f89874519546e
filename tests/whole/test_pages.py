"""Each command that a page tells a reader to paste runs, in the state in which the reader is then, in a real shell.

The tutorial is followed in test_docs.py, a lesson in a terminal included.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.rig.programs import Folder
from tests.whole.test_docs import BLOCK, DOCS, ROOT, Shell, not_said

# Why a command is not expected to run here, each with what it says instead: an exit code, or None where it is not
# tried at all, and words.
ACCOUNT = (253, "credentials")
PROFILE = (253, "There is no profile")
TERMINAL = (252, "this is not a terminal")
CONFIRM = (252, "--yes")  # a person is asked
EMULATOR = (253, "Nothing answers at http://localhost:4566")
AWS_COMMAND = (None, "needs an account, by the aws command alone; tests/replay/test_script.py runs such a script")
READS_KEY = (None, "needs an account with a key; tests/steps/test_api_key.py runs the line that a build prints")
SIGNS_IN = (None, "opens a browser")
INSTALLS = (None, "fetches packages: .ci/run runs the README's and CONTRIBUTING's in a fresh checkout")
FOREGROUND = (None, "runs until Ctrl-C; tests/local_aws/test_process.py ends it so")
TAKES_MINUTES = (None, "five minutes; tests/account/test_request_trace.py follows one in no time")
OWN_TESTS = (None, "runs tests of this suite once more")
Reason = tuple[int | None, str]

NEW_ENVIRONMENT: dict[str, Reason] = {"python3 -m venv .venv": INSTALLS, ". .venv/bin/activate": INSTALLS}
SANDBOX_EXTRA: dict[str, Reason] = {"pip install --quiet --editable '.[sandbox]'": INSTALLS}
NOT_RUN: dict[str, dict[str, Reason]] = {
    "README.md": {
        **NEW_ENVIRONMENT,
        **SANDBOX_EXTRA,
        "python -m provision --profile NAME --region REGION": PROFILE,
        "pip install --quiet --editable '.[test]'": INSTALLS,
        "python -m pytest": OWN_TESTS,
    },
    "docs/index.md": {**NEW_ENVIRONMENT, **SANDBOX_EXTRA},
    "docs/how-to/automation.md": {"python -m provision --yes": ACCOUNT, "python -m teardown --yes": ACCOUNT},
    "docs/how-to/change-the-lesson.md": {"python -m pytest tests/lesson/test_lessons.py": OWN_TESTS},
    "docs/how-to/class.md": {
        "python -m provision --learner anna --step": TERMINAL,
        "python -m provision --learner ben --step": TERMINAL,
        "python -m provision --sandbox --step": TERMINAL,
        'python -m provision report --sandbox --name "Anna"': (1, "There is no lesson"),
        "python -m teardown --learner anna": ACCOUNT,
        'for name in anna ben carla; do python -m teardown --learner "$name" --yes || break; done': ACCOUNT,
    },
    "docs/how-to/exercises.md": {
        "python -m provision check --sandbox": (1, "not mended yet"),
        "python -m provision heal --sandbox": (None, "it takes minutes; tests/exercise/test_exercise.py heals each"),
        "python -m provision break --profile NAME --region REGION": PROFILE,
        "python -m provision break --profile class --learner anna --seed 7": PROFILE,
        "python -m provision heal --profile class --learner anna --output json": PROFILE,
    },
    "docs/how-to/other-emulator.md": {
        "python -m provision --endpoint-url http://localhost:4566": EMULATOR,
        "python -m teardown --endpoint-url http://localhost:4566": EMULATOR,
        "python -m sandbox run": FOREGROUND,
    },
    "docs/how-to/own-account.md": {
        "aws login --profile NAME": SIGNS_IN,
        "python -m provision doctor --profile NAME --region REGION": (1, "There is no profile"),
        "python -m provision --profile NAME --region REGION --dry-run": PROFILE,
        "python -m provision --profile NAME --region REGION": PROFILE,
        "python -m provision status --profile NAME --region REGION": PROFILE,
        "aws apigateway get-api-key --api-key ID --include-value --query value --output text": READS_KEY,
        "python -m teardown --profile NAME --region REGION": PROFILE,
        "python -m provision --profile NAME --region OTHER-REGION --learner second": PROFILE,
    },
    "docs/how-to/shell-completion.md": {"pip install -e '.[completion]'": INSTALLS},
    "docs/how-to/show-it.md": {
        "python -m provision --present --step": TERMINAL,
        "python -m provision trace --sandbox --poison": TAKES_MINUTES,
        "bash poc.sh": AWS_COMMAND,
        "bash poc.sh teardown": AWS_COMMAND,
    },
    "docs/how-to/take-over-and-recover.md": {
        "python -m provision --adopt api-role --adopt queue": ACCOUNT,
        "python -m teardown": ACCOUNT,
        "python -m teardown --include-adopted": ACCOUNT,
        "python -m provision --learner NAME": ACCOUNT,
        "python -m provision --recover": ACCOUNT,
    },
}
# What a reader of the page has done before.
BEFORE = dict.fromkeys(("docs/how-to/automation.md", "docs/how-to/show-it.md"), "python -m provision --sandbox")
GUIDES = sorted(f"docs/how-to/{path.name}" for path in (DOCS / "how-to").glob("*.md"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """A working folder in an environment that is entered, with what the pages' commands need."""
    with Folder(tmp_path) as made:
        made.environ |= {"PYTHONPATH": str(ROOT), "COLUMNS": "400"}
        yield made


def commands_of(block: str) -> list[str]:
    """Each command of a block: a line, or a part of one that runs when what is before it has ended well."""
    assert "\\\n" not in block
    return [part for line in block.splitlines() for part in line.split(" && ")]


def commands_in(page: str) -> list[str]:
    return [
        one for block in BLOCK.finditer(read(page)) if block["kind"] == "bash" for one in commands_of(block["text"])
    ]


def filled_in(command: str) -> str:
    """With values of a reader's own."""
    for placeholder, value in {"OTHER-REGION": "eu-west-1", "REGION": "eu-central-1", "NAME": "somebody"}.items():
        command = command.replace(f" {placeholder}", f" {value}")
    return command


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def follow(text: str, folder: Folder, not_run: Mapping[str, Reason], *, before: str = "") -> None:
    """Run a page's commands, and hold each text below them against what they said."""
    shell, said = Shell(folder), ""
    try:
        shell.run(before or "true")
        for block in BLOCK.finditer(text):
            if block["kind"] == "text":
                assert not said.strip() or not_said(block["text"], said) == [], said
                said = ""
                continue
            for command in commands_of(block["text"]):
                if command not in not_run:
                    said += shell.run(command)
                elif not_run[command][0] is not None:
                    code, refused = shell.ended(filled_in(command))
                    assert code == not_run[command][0] or command.startswith("for "), f"{command}\n{refused}"
                    assert not_run[command][1] in refused, f"{command}\n{refused}"
    finally:
        shell.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_first_page_is_followed_to_the_letter(folder: Folder) -> None:
    follow(read("README.md"), folder, NOT_RUN["README.md"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_that_a_build_ends_with_create_bob_and_rob_and_list_them(folder: Folder) -> None:
    built = folder.shell("python -m provision --sandbox")
    bob, rob, everybody = (line for line in built.stdout.splitlines() if line.startswith("curl "))
    assert folder.shell(bob).returncode == 0 and folder.shell(rob).returncode == 0
    listed = f"for try in 1 2 3 4 5 6 7 8 9; do {everybody} | tee last | grep -q Rob && break; done; cat last"
    assert re.findall(r'"name": "(\w+)"', folder.shell(listed).stdout) == ["Bob", "Rob"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ["docs/index.md", *GUIDES])
def test_a_guide_is_followed_to_the_letter(folder: Folder, page: str) -> None:
    if "jq " in read(page) and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    follow(read(page), folder, NOT_RUN.get(page, {}), before=BEFORE.get(page, ""))


def too_many(page: str, not_run: Mapping[str, Reason]) -> list[str]:
    """What is named as not to be run, and stands on no page."""
    return [command for command in not_run if command not in commands_in(page)]


@pytest.mark.parametrize("page", NOT_RUN)
def test_nothing_is_left_out_that_is_on_no_page(page: str) -> None:
    assert too_many(page, NOT_RUN[page]) == []
    assert too_many(page, {"python -m provision --unheard-of": INSTALLS}) != []


def test_what_could_run_is_not_left_out(folder: Folder) -> None:
    command = "python -m provision errata 7"
    follow(f"```bash\n{command}\n```\n", folder, {})
    with pytest.raises(AssertionError, match=command):
        follow(f"```bash\n{command}\n```\n", folder, {command: ACCOUNT})


def test_the_tutorial_leaves_out_only_what_installs() -> None:
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    left_out = [block["text"] for block in BLOCK.finditer(text) if (block["note"] or "").startswith("not tested")]
    assert [commands_of(one) for one in left_out] == [
        ["python3 -m venv .venv", ". .venv/bin/activate", "pip install --quiet --editable '.[sandbox]' awscli"]
    ]
