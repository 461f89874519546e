"""What a person ends up seeing, screen by screen, held against files that a person has looked at: `tests/golden`.

One life of a deployment in a terminal of 80 columns, from the first build to its end. Its bytes are played to an
emulator, so that colours and places are compared, and no escape codes; what was drawn for a while must be gone.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.replay.test_timeline import HEADER, call, done, ended, step, wait
from tests.rig import CHECKOUT
from tests.rig.deployment import Stranger
from tests.rig.emulator import FOLD, Emulator, text
from tests.rig.lesson import MENU, PAUSE
from tests.rig.programs import SCRIPTS, Folder
from tests.rig.terminal import Terminal

pytestmark = pytest.mark.once_more

GOLDEN = CHECKOUT / "tests" / "golden"
AGAIN = "python -m pytest tests/terminal/test_golden.py --write-golden"
SIZES = {60: 20, 80: 24, 200: 50}  # rows by columns: the smallest is smaller than what is drawn beside a long page

# What differs from run to run has something as wide in its place, before the terminal folds anything.
MASKS = {
    r"\bsb-[0-9a-f]{8}\b": "sb-00000000",
    r"\bpoc-[0-9a-f]{8}\b": "poc-00000000",
    r"\b127\.0\.0\.1([:-])\d{5}\b": r"127.0.0.1\g<1>55555",
    r"\brestapis/[a-z0-9]{10}\b": "restapis/0000000000",
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "00000000-0000-0000-0000-000000000000",
    r"\bAROA[A-Z0-9]{17}\b": "AROA00000000000000000",
    r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC": "2026-01-01 00:00 UTC",
    r"\b\d{8}-\d{6}-\d{3}-": "20260101-000000-000-",
    r"(?<=Recorded {7}provision of )[-\d]{10} [:\d]{8} UTC": "2026-01-01 00:00:00 UTC",
    r"\(\d\.\d\d s(?=[,)])": "(0.00 s",
    # What stands on a short line may be as long as it likes.
    r"(?<![\d.])\d+\.\d s(, \d+ API calls)?\b": "0.0 s",
    r"\b(provision|teardown|lesson), \d+ s, (?=\d+ writing)": r"\1, 0 s, ",
}

# A wait is told only where something was not there at the first look, which a slow machine decides.
WAIT = re.compile(r"(?m)^(?:\{[a-z ]+:)? {4}waiting .*\n(?:(?:\{[a-z ]+:)? {15}\S.*\n)*")


# In few columns the picture is a list of arrows; tests/aws/test_call_text.py holds both against the names.
PICTURE = re.compile(r"(?ms)^ {2,3}client\b.*?(\[there\]  \(not yet\)|\(brackets\): not yet)")


class Life:
    """The screens of one deployment's life in a terminal of one width, by session."""

    def __init__(self, folder: Folder, columns: int) -> None:
        self.folder = folder
        self.columns = columns
        self.sessions: dict[str, list[tuple[str, bytes]]] = {}
        # The name by which a person calls it, whatever the tests were started with.
        self.python = str(Path(SCRIPTS) / "python")

    def run(self, session: str, *command: str, answers: tuple[tuple[str, str], ...] = ()) -> None:
        """One command, with an answer typed behind each of some words; its screen is added to the session's."""
        written = self.written(*command, answers=answers)
        self.sessions.setdefault(session, []).append((" ".join(command), written))

    def read(self, session: str, *command: str) -> None:
        """A lesson whose opening and first page are read to their ends, and left."""
        with self.open(*command) as terminal:
            written, typed, pages = b"", "", 0
            while pages < 2:
                terminal.ask(typed, (MENU, PAUSE))
                written += terminal.written
                pages += MENU in terminal.text
                typed = "\n"
            terminal.ask("q\n", None)
            written += terminal.written
        self.sessions.setdefault(session, []).append((" ".join(command), written))

    def written(self, *command: str, answers: tuple[tuple[str, str], ...] = (), **environ: str) -> bytes:
        with self.open(*command, **environ) as terminal:
            for words, keys in answers:
                terminal.read_until(words)
                terminal.type(keys)
            code = terminal.end()
            return terminal.written + f"[exit code {code}]\r\n".encode() * bool(code)

    def open(self, *command: str, **environ: str) -> Terminal:
        environ = {"PYTHON_COLORS": "0", **environ}  # argparse's own, from Python 3.14 on
        rows, program = SIZES[self.columns], () if self.python == self.folder.python else (self.python, "-m")
        return Terminal(self.folder, self.columns, *command, rows=rows, program=program, **environ)

    def text(self, session: str, *, coloured: bool) -> str:
        return "\n".join(
            f"$ python -m {mask(command)}\n{seen(written, self.columns, coloured=coloured)}"
            for command, written in self.sessions[session]
        )


def seen(written: bytes, columns: int, *, coloured: bool) -> str:
    """What is on a terminal of that width in the end, scrolled back to the beginning."""
    return WAIT.sub("", text(played(written, columns).rows, coloured=coloured))


@functools.cache
def played(written: bytes, columns: int) -> Emulator:
    emulator = Emulator(columns, SIZES[columns])
    emulator.feed(mask(written.decode()).encode())
    return emulator


def mask(written: str) -> str:
    for pattern, instead in MASKS.items():
        written = re.sub(pattern, instead, written)
    return written


def compared(name: str, shown: str, folder: Path, *, write: bool) -> str:
    """How a file of `folder` and what was shown differ; "" where they do not. Or the file is written."""
    path = folder / name
    if write:
        folder.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
        return ""
    wanted = path.read_text(encoding="utf-8") if path.exists() else ""
    return "".join(
        difflib.unified_diff(wanted.splitlines(True), shown.splitlines(True), f"tests/golden/{name}", "seen now")
    )


def live(life: Life) -> None:
    """Build, look, drift, update, be refused, be asked, learn, and take everything down."""
    here = ("--sandbox",)
    life.run("build", "provision", *here)
    life.run("diagram", "provision", "diagram", *here)
    if life.columns == 80:
        life.run("nothing-to-do", "provision", *here)
        life.run("present", "provision", "status", *here, "--present")
        life.run("errata", "provision", "errata")
        looks_as_well_without_colour(life)
    url = life.folder.sandbox["url"]
    stranger = Stranger(url, key=life.folder.sandbox["key"])
    try:
        drift(stranger)
        in_the_way(stranger, "bob")
        stranger.dynamodb.put_item(TableName="name", Item={"id": {"S": "1"}})
    finally:
        stranger.close()
    life.run("drift", "provision", *here, "--dry-run")
    life.run("drift", "provision", "status", *here)
    life.run("drift", "provision", *here, "--no-try")
    life.run("refused", "provision", *here, "--learner", "bob")
    life.run("refused", "provision", *here, "--learner", "Bob & Eve")
    life.run("refused", "provision", *here, "--to", "9")
    emulator = life.folder.run("sandbox", "start", "--open", "--folder", "emulator").stdout.strip()
    there = ("--endpoint-url", emulator, "--learner", "ann")
    life.run("consent", "provision", *there, "--to", "1", answers=(("[y/N] ", "n\n"),))
    life.run("consent", "provision", *there, "--to", "1", answers=(("[y/N] ", "y\n"),))
    if life.columns == 80:
        life.run("consent", "teardown", *there, answers=(("[y/N] ", "y\n"),))
    life.folder.run("sandbox", "stop", "--folder", "emulator")
    life.read("lesson", "provision", *here, "--learner", "eve", "--step")
    life.run("teardown", "teardown", *here)
    life.run("replay", "provision", "replay", "--list")
    built = ("--state", ".provision/sandbox-us-east-1.json")
    life.run("player", "provision", "replay", *built, "--speed", "1000", answers=(("the end", "q"),))
    a_run_on_aws(life.folder.path / "run.jsonl")
    life.run("replay", "provision", "replay", "run.jsonl", "--timeline")


def looks_as_well_without_colour(life: Life) -> None:
    """A run that has nothing to do says the same words with and without colour, and with nothing that moves."""
    ((_, coloured),) = life.sessions["nothing-to-do"]
    words = seen(coloured, life.columns, coloured=False)
    without = life.written("provision", "--sandbox", NO_COLOR="1")
    assert seen(without, life.columns, coloured=False) == words
    assert re.findall(r"\{[a-z ]*(?:red|green|yellow|blue|cyan)\b", seen(without, life.columns, coloured=True)) == []
    plain = life.written("provision", "--sandbox", "--plain")
    assert seen(plain, life.columns, coloured=True) == words
    assert b"\x1b" not in plain


def a_run_on_aws(path: Path) -> None:
    """A transcript with times that are always the same: an API and its stage, with a wait that took most of it."""
    events = [step(0.4, "function"), call(1, 0.5, 0.3, "function"), done(1.0, "function")]
    events += [step(1.0, "trigger"), call(2, 1.1, 0.4, "trigger"), call(3, 1.6, 0.1, "trigger", read=True)]
    events += [
        wait(1.8 + 15 * number, "trigger", "the trigger to be enabled", elapsed=15.0 * number) for number in (0, 1)
    ]
    events += [call(4, 21.8, 0.2, "trigger", read=True), done(22.1, "trigger"), ended(22.2)]
    header = {"at": 0, "type": "transcript", "version": 1, **HEADER}
    path.write_text("".join(json.dumps(event) + "\n" for event in (header, *events)), encoding="utf-8")


def drift(stranger: Stranger) -> None:
    """A queue's attribute and a policy are changed from outside."""
    queue = stranger.sqs.get_queue_url(QueueName="POC-Queue")["QueueUrl"]
    stranger.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "0"})
    statement = {"Sid": "VisualEditor0", "Effect": "Allow", "Action": ["sqs:ReceiveMessage"], "Resource": "*"}
    stranger.iam.create_policy_version(
        PolicyArn="arn:aws:iam::123456789012:policy/Lambda-Read-SQS",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        SetAsDefault=True,
    )


def in_the_way(stranger: Stranger, learner: str) -> None:
    stranger.dynamodb.create_table(
        TableName=f"name-{learner}",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.mark.timeout(400)
def test_a_life_looks_as_it_should(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    write = request.config.getoption("--write-golden")
    with Folder(tmp_path) as folder:
        life = Life(folder, 80)
        live(life)
    shown = {
        f"{session}-80{'-colour' * coloured}.txt": life.text(session, coloured=coloured)
        for session in life.sessions
        for coloured in (False, True)
    }
    differences = [compared(name, words, GOLDEN, write=write) for name, words in shown.items()]
    if any(differences):
        pytest.fail("".join(differences) + f"\nWhere it should look so, write it anew and look at it:\n    {AGAIN}")


# Other widths have no files: what is seen there is what is seen at 80, folded otherwise.

RULE = re.compile(r"={9,}|[─│┌┐└┘├┤┬┴┼█▏▎▍▌▋▊▉░]+")  # what is drawn as wide as the window
PROMPT = re.compile(
    r"(?m)^(?:What you build|Page \d)\.\s+Enter: go on[^>]*>"
)  # comes the more often, the fewer rows there are
COMMAND = re.compile(r"(?m)^\$ (.*)\n")
# What a person copies, or a value as it is, is one line, which the terminal itself may fold.
NEVER_DIVIDED = re.compile(
    r"https?://|\barn:aws:|\.provision/|^ *(curl|AWS_|python|--[a-z])|: python -m |^ +(was|wanted|found) "
)
# Other words, too: the list has other runs in it, an axis has other marks, of a long value each part says where it is.
OTHER_WORDS = ("drift", "replay")


def unlike_at_80(session: str, words: str, coloured: str, folder: Path = GOLDEN) -> list[str]:
    """In what the screens of a session in another width differ from those at 80, other than by folding."""
    at_80 = screens((folder / f"{session}-80.txt").read_text(encoding="utf-8"))
    unlike = []
    for command, screen in screens(words):
        unlike += [f"divided by the terminal: {line}" for line in folded(screen) if not NEVER_DIVIDED.search(line)]
        wanted = next((other for name, other in at_80 if name == command), None)
        if wanted is None:
            unlike.append(f"not at 80: {command}")
        elif session in OTHER_WORDS:
            unlike += [
                f"no word of {command} at 80: {word}" for word in sorted(plain_words(screen) - plain_words(wanted))
            ]
        elif characters(screen) != characters(wanted):
            unlike.append("".join(difflib.unified_diff(folds(wanted), folds(screen), "at 80", "seen now", n=1)))
    styles = re.findall(r"\{([a-z ]+):", (folder / f"{session}-80-colour.txt").read_text(encoding="utf-8"))
    unlike += [f"not coloured so at 80: {style}" for style in set(re.findall(r"\{([a-z ]+):", coloured)) - set(styles)]
    return unlike


def screens(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a session, each with what was seen."""
    parts = COMMAND.split(text)[1:]
    return zip(parts[::2], parts[1::2], strict=True)


def folded(screen: str) -> list[str]:
    """The lines that the terminal has folded, whole."""
    return [line.replace(FOLD, "") for line in screen.replace(f"{FOLD}\n", FOLD).splitlines() if FOLD in line]


def folds(screen: str) -> list[str]:
    """One word a line, so that it does not matter where lines end."""
    whole = PICTURE.sub(" the picture ", screen.replace(f"{FOLD}\n", ""))
    return [f"{word}\n" for word in PROMPT.sub("", RULE.sub(" ", whole)).split()]


def characters(screen: str) -> str:
    return "".join(folds(screen)).replace("\n", "")


def plain_words(screen: str) -> set[str]:
    return {word for one in folds(screen) for word in re.findall(r"\w{3,}", one) if not word.isdigit()}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("columns", [60, 200])
def test_a_life_in_another_width_is_the_same_folded_otherwise(columns: int, tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        life = Life(folder, columns)
        live(life)
    assert len(life.sessions) > 6
    unlike = [
        f"{session}: {one}"
        for session in life.sessions
        for one in unlike_at_80(session, life.text(session, coloured=False), life.text(session, coloured=True))
    ]
    assert unlike == []


@pytest.mark.parametrize("columns", [60, 200])
def test_a_page_in_another_width_is_the_same_folded_otherwise(columns: int, tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        life = Life(folder, columns)
        life.run("errata", "provision", "errata")
    shown = life.text("errata", coloured=False)
    assert unlike_at_80("errata", shown, life.text("errata", coloured=True)) == []
    assert max(map(len, shown.splitlines())) <= columns


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("    created    table\n               name of it\n", []),
        ("    created    table name\n               of it\n", []),
        ("    created    table name\n", ["-of\n-it\n"]),
        ("    created    table nam…\n               of it\n", ["+nam…\n"]),
        ("1/8 going on\n    created    table name\n               of it\n", ["+going\n+on\n"]),
        ("    created    table↩\n name of it\n", ["divided by the terminal:     created    table name of it"]),
        ("    {red:created}    table name of it\n", ["not coloured so at 80: red"]),
    ],
    ids=["the same", "folded otherwise", "cut", "shortened", "a remnant", "divided", "another colour"],
)
def test_what_is_unlike_at_80_is_told(now: str, told: list[str], tmp_path: Path) -> None:
    screen = "$ python -m provision\n    {}    table name of it\n"
    (tmp_path / "x-80.txt").write_text(screen.format("created"), encoding="utf-8")
    (tmp_path / "x-80-colour.txt").write_text(screen.format("{green:created}"), encoding="utf-8")
    words = re.sub(r"\{[a-z]+:(\w+)\}", r"\1", now)
    unlike = unlike_at_80("x", f"$ python -m provision\n{words}", now, tmp_path)
    assert len(unlike) == len(told)
    assert all(one in said for one, said in zip(told, unlike, strict=True))


# That the comparison can fail.


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (b"    \x1b[32mcreated\x1b[0m    table\r\n", ""),
        (b"    \x1b[31mcreated\x1b[0m    table\r\n", "+    {red:created}    table\n"),
        (b"    \x1b[2mcreated\x1b[0m    table\r\n", "+    {dim:created}    table\n"),
        (b"    created    table\r\n", "+    created    table\n"),
        (b"    \x1b[32mcreated\x1b[0m    tables\r\n", "+    {green:created}    tables\n"),
        (b"    \x1b[32mcreated\x1b[0m    table\r\n\r\n  1 s", "+  1 s\n"),
        (b"  1 s\r\x1b[2K    \x1b[32mcreated\x1b[0m    table\r\n  2 s\r\x1b[2K", ""),
    ],
    ids=["the same", "another colour", "dim", "no colour", "another word", "a remnant", "a remnant wiped away"],
)
def test_what_differs_is_told(now: bytes, told: str, tmp_path: Path) -> None:
    wanted = "    {green:created}    table\n"
    assert compared("x-80-colour.txt", wanted, tmp_path, write=True) == ""
    assert compared("x-80-colour.txt", wanted, tmp_path, write=False) == ""
    difference = compared("x-80-colour.txt", seen(now, 80, coloured=True), tmp_path, write=False)
    assert bool(difference) is bool(told) and told in difference


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    assert "+a line\n" in compared("x-60.txt", "a line\n", tmp_path, write=False)


def test_masks_are_as_wide_as_what_they_hide_and_waits_are_left_out() -> None:
    hidden = "http://127.0.0.1:43210/restapis/a1b2c3d4e5 sandbox:sb-7d2aa30f poc-fc518a32 2026-11-27 18:24 UTC"
    assert len(mask(hidden)) == len(hidden) and not re.search("43210|a1b2|7d2a|fc51|11-27", mask(hidden))
    waits = b"    waiting    for an item (at most 120 s).\r\n               It comes.\r\n    OK         it came\r\n"
    assert seen(waits, 60, coloured=False) == "    OK         it came\n"


def test_the_emulator_tells_its_own_folds_from_ours() -> None:
    assert (
        seen(b"x" * 61 + b"\r\nshort\r\n", 60, coloured=False) == "x" * 60 + "\N{LEFTWARDS ARROW WITH HOOK}\nx\nshort\n"
    )


# A window that is made smaller and larger while something is drawn.


@pytest.mark.parametrize("refolds", [False, True], ids=["cuts off", "folds anew"])
def test_a_window_of_another_size_keeps_no_remnant(sandbox: Sandbox, tmp_path: Path, refolds: bool) -> None:
    learner = f"sized-{secrets.token_hex(3)}"  # the sandbox is shared, also with a first try of this test
    where = ("--endpoint-url", sandbox.url, "--learner", learner, "--yes", "--no-try", "--verbose")
    emulator = Emulator(100, 30)
    with Folder(tmp_path) as folder, Terminal(folder, 100, "provision", *where, rows=30) as terminal:
        for words, columns, rows in (("2/8", 60, 20), ("4/8", 140, 40), ("7/8", 60, 12), (None, 0, 0)):
            shown = len(terminal.written)
            terminal.read_until(words)
            emulator.feed(terminal.written[shown:])
            if columns:
                terminal.resize(columns, rows)
                emulator.change(columns, rows, refolds=refolds)
        assert terminal.child.wait(30) == 0
    left = text(emulator.rows, coloured=False)
    assert "\n\n\n" not in left, "a row that was drawn is left, if an empty one"
    assert not re.search("[»✓·]|In all|: \\d+ s", left), left
    assert len(re.findall("(?m)^    created ", left)) == 16
