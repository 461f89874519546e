"""python docs/generate.py [--check]: write the reference pages that the programs know best themselves.

They are made from the parsers and the programs' tables, not from what --help prints: that is as wide as a terminal, and
another Python words it otherwise. With --check nothing is written: exit code 1, and a line for each page that is stale.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import botocore.exceptions
from botocore.exceptions import ClientError

from provision.aws.reasons import Reason

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))  # this checkout, whichever one is installed

sys.path.insert(0, str(DOCS))

from messages import messages, screen_of  # noqa: E402

import provision.__main__  # noqa: E402
import provision.aws.sandbox_process  # noqa: E402
import sandbox.__main__  # noqa: E402
import sandbox.commands  # noqa: E402
import sandbox.state  # noqa: E402
import teardown.__main__  # noqa: E402
from provision import STEPS  # noqa: E402
from provision.aws import waiting  # noqa: E402
from provision.aws.credentials import DENIED, EXPIRED, REFUSED  # noqa: E402
from provision.cli.errors import explain  # noqa: E402
from provision.errata import ERRATA, Erratum  # noqa: E402
from provision.state.comparison import COMPARED  # noqa: E402
from provision.state.resources import TYPES  # noqa: E402
from provision.terminal import outcome  # noqa: E402
from provision.terminal.command_line import Parser  # noqa: E402

# Each with the words that can be the first of its command line.
PROGRAMS: dict[Callable[[list[str]], int], tuple[str, ...]] = {
    provision.__main__.main: tuple(provision.__main__.COMMANDS),
    teardown.__main__.main: (),
    sandbox.__main__.main: tuple(sandbox.__main__.COMMANDS),
}
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


def parsers() -> Iterator[argparse.ArgumentParser]:
    """Of each program its own parser, then those of its commands that have one."""
    for program, words in PROGRAMS.items():
        top = parser_of(program, [])
        yield top
        for word in words:
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
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
            shown.append(f"| {in_code(form(action))} | {meaning(action, parser)} |")
    return shown


HEADS = {"positional arguments": "argument", "options": "option"}


def command(parser: argparse.ArgumentParser) -> str:
    assert isinstance(parser, Parser)
    usage = str(parser.usage).replace("%(prog)s", parser.prog)
    parts = [f"## {parser.prog}", escaped(parser.description or ""), f"```text\n{usage}\n```"]
    if parser.commands:
        listed = [f"| {in_code(name)} | {escaped(what)} |" for name, what in parser.commands.items()]
        parts.append("\n".join(["| command | what it does |\n| --- | --- |", *listed]))
    for group in parser._action_groups:
        shown = rows(group._group_actions, parser)
        if shown:
            title = group.title or "option"
            head = f"| {HEADS.get(title, title)} | what it does |\n| --- | --- |"
            parts.append("\n".join([head, *shown]))
    parts.append(f"For example:\n\n```bash\n{parser.example}\n```")
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
        f"- In fact: {escaped(one.truth)}",
        f"- If ignored: {escaped(one.ignored)}",
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


# The errors.

ERRORS_PAGE = """\
# Errors

A program that cannot go on says so in one message of three parts, and ends with an [exit code](exit-codes.md):

```text
{example}
```

The first line says what happened. Where AWS refused a call these are AWS's own words, in the form in which the AWS CLI
has them, with the error code and the name of the operation. "What it means" says at which step, and what that leaves:
what was made is in the state file. "What to do" has commands to copy, with your own options, and AWS's request id. Then
come the files that tell more: the run's transcript, and with `--debug` the log. With `--output json` the parts are
`what`, `means`, `advice`, `transcript` and `log`, and there is a [code](json-output.md#errors).

An error that nobody foresaw is a defect of the suite. Then the first line has its name, and the traceback is in a file
`.provision/error-<time>.log`, without secrets.
"""

CODES_PAGE = """\
## What AWS refuses

| error code of AWS | exit code | what it means | what to do |
| --- | --- | --- | --- |
"""

REASONS_PAGE = """\
## What passes by itself

These refusals are waited for, and told on the screen. When the time is used up the run ends with 254 and AWS's words.

| waited for | error code of AWS | with the words | at most |
| --- | --- | --- | --- |
"""

MESSAGES_PAGE = """\
## All messages

By exit code; what is only known in a run stands in <brackets>, and of two wordings the first is shown.
"""

SHORT_PAGE = """\
### In a list, or with the message around it

These stand behind a resource in teardown's list, or need no way on.

"""

CODE_TITLES = {
    outcome.LEFT: "something is somebody else's, is left, or was refused here",
    outcome.INTERRUPTED: "somebody ended it",
    outcome.USAGE: "the command line, or a value on it, is wrong",
    outcome.ENVIRONMENT: "credentials, configuration, connection or disk",
    outcome.SERVICE: "AWS answered with an error",
}

BOTOCORE_PAGE = """\
## What boto3 itself raises

Each of botocore's exceptions ends in such a message, too.

| exception | exit code | what it means | what to do |
| --- | --- | --- | --- |
"""


def modules() -> list[ModuleType]:
    """All modules of the programs, so that every kind of ending is known."""
    found = []
    for package in (provision, teardown):
        for one in sorted(
            pkgutil.walk_packages(package.__path__, f"{package.__name__}."), key=lambda module: module.name
        ):
            if not one.name.endswith(".as_written_handler"):  # a handler, which says so when it is imported
                found.append(importlib.import_module(one.name))
    return [*found, sandbox.__main__, sandbox.commands, provision.aws.sandbox_process, sandbox.state]


def errors() -> str:
    all_messages = list(messages(modules()))
    example = next(one.stop for one in all_messages if one.stop.what.startswith("There are no AWS credentials"))
    parts = [MADE + "\n" + ERRORS_PAGE.format(example=screen_of(example)).rstrip()]
    parts.append(CODES_PAGE + "\n".join(codes()))
    parts.append(REASONS_PAGE + "\n".join(reasons()))
    parts.append(MESSAGES_PAGE.rstrip())
    for code, title in CODE_TITLES.items():
        of_code = [one.stop for one in all_messages if one.stop.exit_code == code and one.stop.advice]
        screens = dict.fromkeys(map(screen_of, of_code))
        parts.append(f"### {code}: {title}")
        parts += [f"```text\n{screen}\n```" for screen in screens]
    parts.append(SHORT_PAGE + "\n".join(f"- {escaped(one.stop.what)}" for one in all_messages if not one.stop.advice))
    parts.append(BOTOCORE_PAGE + "\n".join(of_botocore()))
    return "\n\n".join(parts) + "\n"


OTHER = "any other"


def codes() -> Iterator[str]:
    by_meaning: dict[tuple[str, ...], list[str]] = {}
    for code in [*sorted(EXPIRED), *sorted(REFUSED - EXPIRED), *sorted(DENIED), OTHER]:
        answer: Any = {"Error": {"Code": code, "Message": "..."}, "ResponseMetadata": {}}
        stop = explain(ClientError(answer, "CreateTable"), step="3 (Table)", profile=None)
        assert stop is not None
        row = (str(stop.exit_code), escaped(stop.means), "<br>".join(map(escaped, stop.advice)))
        by_meaning.setdefault(row, []).append(in_code(code) if code != OTHER else OTHER)
    for row, named in by_meaning.items():
        yield f"| {', '.join(named)} | {' | '.join(row)} |"


def reasons() -> Iterator[str]:
    for reason in [one for one in vars(waiting).values() if isinstance(one, Reason)]:
        said = " or ".join(f'"{escaped(one)}"' for one in reason.fragments) or "any"
        named = ", ".join(map(in_code, reason.codes))
        yield f"| {escaped(reason.name)} | {named} | {said} | {reason.budget:.0f} s |"


def of_botocore() -> Iterator[str]:
    """By family: botocore's list grows, and whatever is new in it belongs to one of these."""
    for error in (
        botocore.exceptions.NoCredentialsError(),
        botocore.exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        botocore.exceptions.CredentialRetrievalError(provider="process", error_msg="..."),
        botocore.exceptions.TokenRetrievalError(provider="sso", error_msg="..."),
        botocore.exceptions.SSOError(),
        botocore.exceptions.ConnectionError(error="..."),
        botocore.exceptions.HTTPClientError(error="..."),
        botocore.exceptions.WaiterError(name="TableExists", reason="...", last_response={}),
        botocore.exceptions.BotoCoreError(),
    ):
        stop = explain(error, step="3 (Table)", profile=None)
        assert stop is not None
        kind = type(error).__name__
        which = "any other" if kind == "BotoCoreError" else f"{in_code(kind)} and what is made from it"
        yield f"| {which} | {stop.exit_code} | {escaped(stop.means)} | {'<br>'.join(map(escaped, stop.advice))} |"


COMPARISON_PAGE = """\
# What is compared

`status`, `--dry-run` and a run compare what there is with what should be, attribute by attribute. What a step sets, a
run updates. What it leaves as AWS makes it is compared with AWS's default: a difference may be meant, so a run leaves
it, reports it, and runs the walkthrough's tests. `status` and `--dry-run` also ask for what only a call of its own
shows. What AWS refuses to show them is named, and is no drift. Nobody looks at what holds for a whole account: its
quotas, service control policies, throttles.
"""


def comparison() -> str:
    parts = [MADE + "\n" + COMPARISON_PAGE.rstrip()]
    for kind, one in COMPARED.items():
        noun = TYPES[kind].noun
        lists: dict[str, Iterable[str]] = {
            "Compared, and updated": one.updated,
            "Compared, and reported": one.reported,
            "Asked for, and reported": [look.attribute for look in one.looks],
            "Not looked at": [one.not_compared] if one.not_compared else [],
        }
        lines = [f"- {title}: {', '.join(map(escaped, words))}" for title, words in lists.items() if words]
        parts.append("\n".join([f"## {noun[0].upper()}{noun[1:]}", "", *lines]))
    return "\n\n".join(parts) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/comparison.md": comparison,
    "reference/commands.md": commands,
    "reference/errata.md": errata,
    "reference/errors.md": errors,
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
