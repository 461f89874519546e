"""Everything that is printed. Talk goes to stderr, data to stdout; AWS's texts are never read as markup."""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from provision import STEPS, Step, outcome
from provision.aws import Clients
from provision.ledger import Happened, Ledger, Resource
from provision.recovery import Recovered
from provision.settings import ERRATA, Erratum, Settings
from provision.tap import Tap
from provision.trial import Trial
from provision.waiting import Wait

HEARTBEAT = 15.0  # seconds between two lines about one wait
INDENT = " " * 15  # of what belongs to the line above it
LINES_OF_ONE_DIFFERENCE = 8

STYLES = {
    "created": "green",
    "recovered": "green",
    "mended": "yellow",
    "adopted": "yellow",
    "deleted": "green",
    "gone": "green",
    "left": "green",
    "OK": "green",
    "kept": "red",
    "failed": "red",
    "unchanged": "dim",
}

# What AWS calls each kind of thing.
KINDS = {
    "iam:policy": "policy",
    "iam:role": "role",
    "iam:role-policy-attachment": "attachment",
    "dynamodb:table": "table",
    "sqs:queue": "queue",
    "logs:log-group": "log group",
    "lambda:function": "function",
    "lambda:event-source-mapping": "trigger",
    "lambda:permission": "permission",
    "apigateway:rest-api": "REST API",
    "apigateway:stage": "stage",
}


def name_of(kind: str, identity: dict[str, str]) -> str:
    """The short name by which a person knows the thing; ARNs are left to those who ask for them."""
    last = {name: value.split(":")[-1].split("/", 1)[-1] for name, value in identity.items()}
    if kind == "iam:role-policy-attachment":
        return f"{last['PolicyArn'].removeprefix('service-role/')} to {identity['RoleName']}"
    if kind == "lambda:event-source-mapping":
        return f"{last['EventSourceArn']} to {identity['FunctionName']}"
    if kind == "lambda:permission":
        return f"{identity['StatementId']} on {identity['FunctionName']}"
    if kind == "apigateway:stage":
        return identity["stageName"]
    if kind == "iam:policy":
        return last["PolicyArn"]
    return ", ".join(identity.values())


class Declined(outcome.Stop):
    """A person was asked and did not say yes."""


class Screen:
    """The terminal, or the pipe, that a program talks to."""

    def __init__(self, *, talk: Console | None = None, data: Console | None = None) -> None:
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
        self.talk = talk or Console(stderr=True, **plain)
        self.data = data or Console(**plain)
        self.asking = False
        self._told: dict[str, float] = {}

    def say(self, text: str = "", style: str = "") -> None:
        """Talk, in sentences."""
        words = text.lstrip(" ")
        self.prose(text[: len(text) - len(words)], words, style)

    def say_at_once(self, text: str) -> None:
        """Talk from within a signal's handler: past the console, which may be in the middle of a line just then."""
        with suppress(OSError, ValueError):  # what stands in for stderr may be no file
            os.write(self.talk.file.fileno(), f"\n{text}\n".encode())

    def keep(self, text: str, style: str = "") -> None:
        """Talk with something in it that a person may copy: left as one line, however long."""
        self.talk.print(Text(text, style=style), soft_wrap=True)

    def tell(self, text: str = "") -> None:
        """A line of data, on stdout."""
        self.data.print(Text(text), soft_wrap=True)

    def prose(self, begin: str, text: str, style: str = "", *, data: bool = False) -> None:
        """Sentences behind a label: in a terminal they go on below themselves, in a pipe they stay one line.

        Only between words; nothing that a person would copy (an ARN, a URL, a path) is ever divided.
        """
        console = self.data if data else self.talk
        line = begin + text
        if console.is_terminal and text:
            line = textwrap.fill(
                text,
                # One column less: a line that fills the last one makes some terminals add an empty one.
                width=max(console.width - 1, len(begin) + 20),
                initial_indent=begin,
                subsequent_indent=" " * len(begin),
                break_long_words=False,
                break_on_hyphens=False,
            )
        console.print(Text(line, style=style), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.prose("Warning: ", text, "yellow")

    # Before the first step.

    def banner(self, aws: Clients, settings: Settings, ledger: Ledger) -> None:
        self.place(aws)
        state = "new" if ledger.is_new else f"{len(ledger.standing)} things recorded"
        self.keep(f"Deployment     {ledger.deployment} ({state})")
        self.keep(f"Ledger         {ledger.path}")
        if settings.learner:
            self.say(f"Learner        {settings.learner}")
        if settings.as_written:
            self.say("As written     what the walkthrough literally says, with its faults", "yellow")
        for warning in aws.warnings:
            self.warn(warning)

    def place(self, aws: Clients) -> None:
        """Account, caller and Region, each with where it came from."""
        if aws.endpoint and aws.endpoint.startswith("sandbox:"):
            self.keep(f"Local AWS      {aws.base_url} on this machine ({aws.endpoint})", "bold")
        else:
            if aws.endpoint:
                self.keep(f"Endpoint       {aws.endpoint}, which is NOT AWS", "bold yellow")
            alias = f" ({aws.alias})" if aws.alias else ""
            self.keep(f"Account        {aws.account_id}{alias}", "bold")
            self.keep(f"Caller         {aws.caller}")
            self.keep(f"Credentials    {aws.credentials_from}")
        self.say(f"Region         {aws.region} ({aws.region_from.source})")

    def ask(self, question: str, *, flag: str) -> None:
        """Ask for consent. Raises Stop when it is refused, or when nobody is there to be asked."""
        if not sys.stdin.isatty():
            raise outcome.Stop(
                f"{question} Nobody is there to be asked: this is not a terminal.",
                means="Nothing was changed.",
                advice=(f"Add {flag} to say yes beforehand.",),
                exit_code=outcome.USAGE,
            )
        self.say()
        self.asking = True  # before the question can be seen: from here on Ctrl-C ends the program at once
        try:
            self.talk.print(Text(f"{question} [y/N] ", style="bold"), end="")
            wait_for_a_line()
            answer = input()
        except EOFError:
            answer = ""
        finally:
            self.asking = False
        if answer.strip().lower() not in ("y", "yes"):
            raise Declined("Not done: consent was not given.", means="Nothing was changed.")

    def agrees(self, question: str) -> bool:
        """Whether a person, asked now, says yes."""
        try:
            self.ask(question, flag="--yes")
        except Declined:
            return False
        return True

    # While steps run.

    def step_started(self, step: Step) -> None:
        self._told.clear()
        self.say()
        self.say(f"{step.number}/8 {step.title}", "bold")

    def step_ended(self, step: Step, happened: list[Happened], settings: Settings) -> None:
        """What the step did; and, unless there was nothing to do, the errata that have to do with it."""
        for event in happened:
            self.line(event.outcome, KINDS[event.kind], name_of(event.kind, event.identity))
            for difference in event.differences:
                room = self.talk.width - len(INDENT) - 1
                for line in difference_lines(difference.attribute, difference.found, difference.wanted, room):
                    self.keep(INDENT + line, "dim")
            for note in event.notes:
                self.prose(INDENT, note, "dim")
        if all(event.outcome == "unchanged" for event in happened):
            return
        for erratum in ERRATA:
            if erratum.step == step.name and erratum.as_written:
                self.prose(f"    erratum {erratum.number:<2} It says: ", erratum.says, "dim")
                done = erratum.as_written if settings.as_written else erratum.done
                self.prose(f"{INDENT}Done:    ", done, "dim")

    def line(self, word: str, kind: str, name: str) -> None:
        text = Text("    ")
        text.append(f"{word:<10} ", style=STYLES.get(word, ""))
        text.append(f"{kind:<11}")
        text.append(name)
        self.talk.print(text, soft_wrap=True)

    def wait(self, wait: Wait) -> None:
        """A line when a wait begins, and one again every fifteen seconds while it lasts."""
        last = self._told.get(wait.reason)
        if last is not None and 0 <= wait.elapsed - last < HEARTBEAT:
            return
        self._told[wait.reason] = wait.elapsed
        most = f"at most {wait.budget:.0f} s"
        so_far = most if last is None else f"{wait.elapsed:.0f} s so far, {most}"
        # Without words of AWS nothing was refused: something that was asked for is still to come.
        what = wait.reason if wait.words else f"for {wait.reason}"
        self.prose("    waiting    ", f"{what} ({so_far}). {wait.means}".rstrip(), "cyan")
        if wait.words and last is None:
            self.prose(f"{INDENT}AWS says: ", wait.words, "dim")

    def trials_started(self) -> None:
        self._told.clear()
        self.say()
        self.say("Tests of the walkthrough", "bold")

    def trial(self, trial: Trial) -> None:
        text = Text("    ")
        text.append(f"{'OK':<11}", style=STYLES["OK"])
        text.append(trial.title)
        self.talk.print(text, soft_wrap=True)
        self.say(INDENT + trial.saw, "dim")

    # At the end.

    def counts(self, tap: Tap, seconds: float) -> None:
        calls, writes = len(tap.calls), len(tap.writes())
        self.say()
        self.say(f"{seconds:.1f} s, {calls} API calls, {writes} of them writing.", "dim")

    def built(self, aws: Clients, settings: Settings, ledger: Ledger, arguments: list[str]) -> None:
        """The Invoke URL, lines to paste, and how to take it all down: the last lines, and data.

        What they are for is talk, so that on stdout each line but the first is a command and nothing else.
        """
        url = ledger.outputs("stage")["url"]
        event = {
            "operation": "create",
            "tableName": settings.table,
            "payload": {"Item": {"id": "1", "name": "Bob"}},
        }
        command = f"curl -d {shlex.quote(json.dumps(event))} {url}"
        self.say()
        self.prose(
            "", "Anyone who knows this URL may call it (erratum 7). It costs next to nothing while nobody does.", "dim"
        )
        self.tell(f"Invoke URL:   {url}")
        self.say()
        self.say("To create Bob, paste", "bold")
        self.tell(command)
        if settings.has_queue_route:
            self.say("To create him by way of the queue, so that nobody waits for the function", "bold")
            self.tell(f"{command}/{settings.queue_path_part}")
        self.say("To look at the table", "bold")
        look = f"dynamodb scan --table-name {settings.table} --region {aws.region}"
        if aws.base_url:
            credentials = "AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any "
            self.tell(f"{credentials}aws --endpoint-url {aws.base_url} {look}")
        else:
            profile = f" --profile {shlex.quote(aws.profile)}" if aws.profile else ""
            self.tell(f"aws {look}{profile}")
        self.say("To take everything down", "bold")
        self.tell(program("teardown", arguments))

    def resources(self, title: str, resources: list[Resource], details: dict[str, str]) -> None:
        self.say()
        self.say(title, "bold")
        for resource in resources:
            name = name_of(resource.kind, resource.identity)
            detail = details.get(resource.key)
            self.line("", KINDS.get(resource.kind, resource.kind), f"{name}  ({detail})" if detail else name)

    def recovered(self, recovered: Recovered) -> None:
        """What the new ledger will record, and what it will not."""
        adopted = {
            one.key: "a person made it, and it was adopted" for one in recovered.resources if one.origin == "adopted"
        }
        self.resources(f"To be recorded, of deployment {recovered.deployment}", recovered.resources, adopted)
        if recovered.left_out:
            self.say()
            self.say("Not to be recorded", "bold")
        for thing, why in recovered.left_out:
            self.line("", KINDS[thing.kind], f"{name_of(thing.kind, thing.identity)}  ({why})")

    def errata(self, errata: tuple[Erratum, ...] = ERRATA) -> None:
        titles = {step.name: f"step {step.number}, {step.title}" for step in STEPS}
        for erratum in errata:
            self.tell(f"{erratum.number:>2}  {titles[erratum.step] if erratum.step else 'the walkthrough as a whole'}")
            self.prose("    It says:     ", erratum.says, data=True)
            self.prose("    True is:     ", erratum.truth, data=True)
            self.prose("    Done:        ", erratum.done, data=True)
            if erratum.as_written:
                self.prose("    As written:  ", erratum.as_written, data=True)

    def stopped(self, stop: outcome.Stop) -> None:
        what = stop.what
        style = "bold red"
        if stop.exit_code == outcome.INTERRUPTED or isinstance(stop, Declined):
            style = "bold yellow"
        elif what.startswith("An error occurred ("):
            what = f"aws: [ERROR]: {what}"  # in the exact words of the AWS CLI
        else:
            what = f"Error: {what}"
        self.say()
        self.say(what, style)
        for kind, identity, remark in stop.things:
            self.line("", KINDS[kind], name_of(kind, identity))
            if remark:
                self.prose(INDENT, remark, "dim")
        if stop.means:
            self.prose("  What it means: ", stop.means)
        for number, advice in enumerate(stop.advice):
            self.keep(f"  {'What to do:' if not number else '           '}    {advice}")


def difference_lines(attribute: str, found: Any, wanted: Any, room: int) -> list[str]:
    """What was and what is now, of a document only the places that differ. What needs more than `room` is spread."""
    lines = []
    for place, was, now in differing_places(attribute, document(found), document(wanted)):
        line = f"{place}: was {short(was)}, now {short(now)}"
        removed, added = in_one_only(was, now), in_one_only(now, was)
        if is_list_of_names(was) and is_list_of_names(now) and len(added) < len(now) and len(removed) < len(was):
            lines += [f"{place}: removed {name}" for name in removed] + [f"{place}: added {name}" for name in added]
        elif len(line) <= room:
            lines.append(line)
        else:
            lines += [f"{place}", f"    was {short(was)}", f"    now {short(now)}"]
    if not lines:  # equal place by place, and yet not the same to the service
        lines = [attribute, f"    was {short(found)}", f"    now {short(wanted)}"]
    if len(lines) > LINES_OF_ONE_DIFFERENCE:
        more = len(lines) - LINES_OF_ONE_DIFFERENCE
        lines = [*lines[:LINES_OF_ONE_DIFFERENCE], f"... and {more} lines more"]
    return lines


def differing_places(place: str, found: Any, wanted: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each place of two parsed documents that differs, by its name, with what stands there in the one and the other."""
    if isinstance(found, list) or isinstance(wanted, list):
        one, other = as_list(found), as_list(wanted)
        if all(isinstance(member, dict) and "Sid" in member for member in one + other):
            found = {member["Sid"]: member for member in one}
            wanted = {member["Sid"]: member for member in other}
        elif len(one) == len(other) and any(isinstance(member, dict) for member in one + other):
            found, wanted = dict(enumerate(one)), dict(enumerate(other))
        else:
            if sorted(map(short, one)) != sorted(map(short, other)):
                yield place, found, wanted
            return
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in [*found, *(name for name in wanted if name not in found)]:
            below = place if name == "Statement" else f"{place} > {name}"
            yield from differing_places(below, found.get(name), wanted.get(name))
    elif found != wanted:
        yield place, found, wanted


def is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(member, str) for member in value)


def in_one_only(one: Any, other: Any) -> list[Any]:
    return [member for member in as_list(one) if member not in as_list(other)]


def document(value: Any) -> Any:
    """A JSON object that came as text, parsed; everything else as it is."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def short(value: Any) -> str:
    """A value on one line; long documents are cut, names and ARNs never are."""
    if value is None or value in ("", [], {}):
        return "nothing"
    if is_list_of_names(value):
        return ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    if text.startswith(("{", "[")) and len(text) > 160:
        return f"{text[:150]}... ({len(text)} characters)"
    return text


def wait_for_a_line() -> None:
    """Return once somebody has typed a line, or soon after a signal.

    input() alone misses a Ctrl-C that comes just before it begins to read, and then waits for a key.
    """
    if sys.platform == "win32":
        return  # select() knows sockets only there
    with suppress(OSError, ValueError):  # not a real terminal
        while not select.select([sys.stdin], [], [], 0.2)[0]:
            continue


def program(name: str, arguments: list[str]) -> str:
    """The command line that starts a program of this suite, the way this one was started."""
    return shlex.join([interpreter(), "-m", name, *arguments])


def interpreter() -> str:
    """How a person calls this Python here: by name where that finds it, else by the shortest path."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and Path(found).absolute() == Path(sys.executable).absolute():
            return name
    here = os.path.relpath(sys.executable)
    return sys.executable if here.startswith("..") else here
