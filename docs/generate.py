"""python docs/generate.py [--check]: write the reference pages that the programs know best themselves.

They are made from the parsers and the errata, not from what --help prints: that is as wide as a terminal, and another
Python words it otherwise. With --check nothing is written: exit code 1, and a line for each page that is stale.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))  # this checkout, whichever one is installed

import provision.__main__  # noqa: E402
import sandbox.__main__  # noqa: E402
import teardown.__main__  # noqa: E402
from provision import STEPS  # noqa: E402
from provision.settings import ERRATA, Erratum  # noqa: E402

PROGRAMS: tuple[Callable[[list[str]], int], ...] = (
    provision.__main__.main,
    teardown.__main__.main,
    sandbox.__main__.main,
)
MADE = "<!-- Written by docs/generate.py. Change the program, and run it again. -->\n"


def escaped(text: str) -> str:
    """Text that is no markup in Markdown, also in a table."""
    return re.sub(r"([\\`*<\[|]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def in_code(text: str) -> str:
    return "`{}`".format(text.replace("|", r"\|"))


# The commands.


def parser_of(program: Callable[[list[str]], int], arguments: list[str]) -> argparse.ArgumentParser:
    """The parser that answers this command line's --help."""
    asked: list[argparse.ArgumentParser] = []
    with (
        mock.patch.object(argparse.ArgumentParser, "print_help", lambda parser, file=None: asked.append(parser)),
        contextlib.suppress(SystemExit),
    ):
        program([*arguments, "--help"])
    return asked[0]


def words(parser: argparse.ArgumentParser) -> list[str]:
    """What can be the first word of its command line: the names of its commands, if it has any."""
    return [word for action in parser._actions if not action.option_strings for word in action.choices or ()]


def parsers() -> Iterator[argparse.ArgumentParser]:
    """Of each program its own parser, then those of its commands that have one."""
    for program in PROGRAMS:
        top = parser_of(program, [])
        yield top
        for word in words(top):
            parser = parser_of(program, [word])
            if parser.prog != top.prog:
                yield parser


def form(action: argparse.Action) -> str:
    """How it is written on a command line."""
    value = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    if isinstance(value, tuple):
        value = " ".join(value)
    if action.nargs == "?":
        value = f"[{value}]"
    elif action.nargs in ("*", "+"):
        value = f"{value} ..."
    if not action.option_strings:
        return value
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {value}"


def meaning(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = escaped((action.help or "") % {**vars(action), "prog": parser.prog})
    for group in parser._mutually_exclusive_groups:
        if action in group._group_actions:
            others = [in_code(other.option_strings[0]) for other in group._group_actions if other is not action]
            text += f" (not together with {', '.join(others)})"
    return text


def rows(actions: list[argparse.Action], parser: argparse.ArgumentParser) -> list[str]:
    shown = []
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            shown += [f"| `{one.dest}` | {escaped(one.help or '')} |" for one in action._choices_actions]
        elif action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
            shown.append(f"| {in_code(form(action))} | {meaning(action, parser)} |")
    return shown


HEADS = {"positional arguments": "argument", "options": "option"}


def command(parser: argparse.ArgumentParser) -> str:
    usage = [parser.prog, *(form(one) for one in parser._actions if not one.option_strings), "[OPTION ...]"]
    parts = [f"## {parser.prog}", f"```text\n{' '.join(usage)}\n```"]
    if parser.description:
        parts.insert(1, escaped(parser.description))
    for group in parser._action_groups:
        shown = rows(group._group_actions, parser)
        if shown:
            title = group.title or "option"
            head = f"| {HEADS.get(title, title)} | what it does |\n| --- | --- |"
            parts.append("\n".join([head, *shown]))
    if parser.epilog:
        parts.append(escaped(parser.epilog))
    return "\n\n".join(parts)


COMMANDS = """\
# Commands

Every command, with the options that it takes, as its `--help` has them. An option is never abbreviated. How a command
can end: [exit codes](exit-codes.md).
"""


def commands() -> str:
    return "\n".join([MADE, COMMANDS, "\n\n".join(map(command, parsers()))]) + "\n"


# The errata.

ERRATA_PAGE = """\
# Errata

The walkthrough contradicts itself and AWS in {count} places. Here is each, by the step at which it is shown: what the
walkthrough says, what is true, and what the suite does about it. `python -m provision errata` prints the same.
Where `--as-written` does something else, that is said, too; where it is not, both do the same.
"""


def erratum(one: Erratum) -> str:
    lines = [
        f"### Erratum {one.number}",
        "",
        f"- It says: {escaped(one.says)}",
        f"- True is: {escaped(one.truth)}",
        f"- Done: {escaped(one.done)}",
    ]
    if one.as_written:
        lines.append(f"- With `--as-written`: {escaped(one.as_written)}")
    return "\n".join(lines)


def errata() -> str:
    parts = [MADE + "\n" + ERRATA_PAGE.format(count=len(ERRATA)).rstrip()]
    places = [(step.name, f"## Step {step.number}: {step.title}") for step in STEPS]
    for name, heading in [*places, (None, "## The walkthrough as a whole")]:
        about = [one for one in ERRATA if one.step == name]
        if about:
            parts += [heading, *map(erratum, about)]
    return "\n\n".join(parts) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands,
    "reference/errata.md": errata,
}


def stale(folder: Path) -> list[str]:
    """The pages that are not what they would be if they were written now."""
    return [
        name
        for name, page in PAGES.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != page()
    ]


def main(arguments: list[str], folder: Path = DOCS) -> int:
    options = argparse.ArgumentParser(prog="python docs/generate.py", description=(__doc__ or "").partition(": ")[2])
    options.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is stale")
    check = options.parse_args(arguments).check
    old = stale(folder)
    for name in old:
        if check:
            print(f"{folder / name} is stale. Write it anew: python docs/generate.py", file=sys.stderr)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(PAGES[name](), encoding="utf-8")
            print(f"Written: {folder / name}", file=sys.stderr)
    return 1 if old and check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
