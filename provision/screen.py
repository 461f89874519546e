"""Everything that is printed. Talk goes to stderr, data to stdout; AWS's texts are never read as markup."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from provision import Step, outcome
from provision.aws import Clients
from provision.ledger import Happened, Ledger, Resource
from provision.settings import ERRATA, Erratum, Settings
from provision.tap import Tap
from provision.trial import Trial
from provision.waiting import Wait

HEARTBEAT = 15.0  # seconds between two lines about one wait

STYLES = {
    "created": "green",
    "recovered": "green",
    "mended": "yellow",
    "deleted": "green",
    "gone": "green",
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


class Screen:
    """The terminal, or the pipe, that a program talks to."""

    def __init__(self, *, talk: Console | None = None, data: Console | None = None) -> None:
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
        self.talk = talk or Console(stderr=True, **plain)
        self.data = data or Console(**plain)
        self.asking = False
        self._told: dict[str, float] = {}

    def say(self, text: str = "", style: str = "") -> None:
        self.talk.print(Text(text, style=style), soft_wrap=True)

    def tell(self, text: str = "") -> None:
        """A line of data, on stdout."""
        self.data.print(Text(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.say(f"Warning: {text}", "yellow")

    # Before the first step.

    def banner(self, aws: Clients, settings: Settings, ledger: Ledger) -> None:
        if aws.endpoint and aws.endpoint.startswith("sandbox:"):
            self.say(f"Local AWS      {aws.endpoint} at {aws.base_url} (nothing leaves this machine)", "bold")
        else:
            where = f"endpoint {aws.endpoint}, NOT AWS" if aws.endpoint else "AWS"
            self.say(f"Account        {aws.account_id} ({where})", "bold")
            self.say(f"Caller         {aws.caller} (credentials: {aws.credentials_from})")
        self.say(f"Region         {aws.region} ({aws.region_from.source})")
        state = "new" if ledger.is_new else f"serial {ledger.serial}"
        self.say(f"Ledger         {ledger.path} (deployment {ledger.deployment}, {state})")
        if settings.learner:
            self.say(f"Learner        {settings.learner}")
        if settings.as_written:
            self.say("As written     what the walkthrough literally says, with its faults", "yellow")
        for warning in aws.warnings:
            self.warn(warning)

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
        self.talk.print(Text(f"{question} [y/N] ", style="bold"), end="")
        self.asking = True
        try:
            answer = input()
        except EOFError:
            answer = ""
        finally:
            self.asking = False
        if answer.strip().lower() not in ("y", "yes"):
            raise outcome.Stop("Not done: consent was not given.", means="Nothing was changed.")

    # While steps run.

    def step_started(self, step: Step) -> None:
        self._told.clear()
        self.say()
        self.say(f"{step.number}/8 {step.title}", "bold")

    def step_errata(self, step: Step, settings: Settings) -> None:
        """The corrections that this step makes, or with --as-written leaves out."""
        for erratum in ERRATA:
            if erratum.step == step.name and erratum.as_written:
                done = erratum.as_written if settings.as_written else erratum.done
                self.say(f"    erratum {erratum.number}: {done}", "dim")

    def happened(self, event: Happened) -> None:
        self.line(event.outcome, KINDS[event.kind], name_of(event.kind, event.identity))
        for difference in event.differences:
            self.say(f"               {difference.attribute}: was {short(difference.found)}", "dim")
            self.say(f"               {' ' * len(difference.attribute)}  now {short(difference.wanted)}", "dim")
        for note in event.notes:
            self.say(f"               {note}", "dim")

    def line(self, word: str, kind: str, name: str) -> None:
        text = Text("    ")
        text.append(f"{word:<11}", style=STYLES.get(word, ""))
        text.append(f"{kind:<11} ")
        text.append(name)
        self.talk.print(text, soft_wrap=True)

    def wait(self, wait: Wait) -> None:
        """A line when a wait begins, and one again every fifteen seconds while it lasts."""
        last = self._told.get(wait.reason)
        if last is not None and 0 <= wait.elapsed - last < HEARTBEAT:
            return
        self._told[wait.reason] = wait.elapsed
        self.say(
            f"    waiting    {wait.reason}: {wait.elapsed:.0f} s of at most {wait.budget:.0f} s. {wait.means}", "cyan"
        )
        if wait.words:
            self.say(f"               AWS says: {wait.words}", "dim")

    def trials_started(self) -> None:
        self._told.clear()
        self.say()
        self.say("Tests of the walkthrough", "bold")

    def trial(self, trial: Trial) -> None:
        self.line("OK", "test", f"{trial.title}: {trial.saw}")

    # At the end.

    def counts(self, tap: Tap, seconds: float) -> None:
        calls, writes = len(tap.calls), len(tap.writes())
        self.say()
        self.say(f"{seconds:.1f} s, {calls} API calls, {writes} of them writing.", "dim")

    def built(self, aws: Clients, settings: Settings, ledger: Ledger, arguments: list[str]) -> None:
        """The Invoke URL, a line to paste, and how to take it all down: the last lines, and data."""
        url = ledger.outputs("stage")["url"]
        event = {
            "operation": "create",
            "tableName": settings.table,
            "payload": {"Item": {"id": "1", "name": "Bob"}},
        }
        command = f"curl -d {shlex.quote(json.dumps(event))} {url}"
        self.say()
        self.say(
            "Anyone who knows this URL may call it (erratum 7). It costs next to nothing while nobody does.", "dim"
        )
        self.tell(f"Invoke URL:   {url}")
        self.tell(f"Create Bob:   {command}")
        if settings.has_queue_route:
            self.tell(f"By the queue: {command}/{settings.queue_path_part}")
        look = f"dynamodb scan --table-name {settings.table} --region {aws.region}"
        if aws.base_url:
            credentials = "AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any "
            self.tell(f"Look at it:   {credentials}aws --endpoint-url {aws.base_url} {look}")
        else:
            profile = f" --profile {aws.profile}" if aws.profile else ""
            self.tell(f"Look at it:   aws {look}{profile}")
        self.tell(f"Take it down: {program('teardown', arguments)}")

    def resources(self, title: str, resources: list[Resource], details: dict[str, str]) -> None:
        self.say()
        self.say(title, "bold")
        for resource in resources:
            name = name_of(resource.kind, resource.identity)
            detail = details.get(resource.key)
            self.line("", KINDS.get(resource.kind, resource.kind), f"{name}  ({detail})" if detail else name)

    def errata(self, errata: tuple[Erratum, ...] = ERRATA) -> None:
        for erratum in errata:
            self.tell(f"{erratum.number:>2}  {'at step ' + erratum.step if erratum.step else 'in general'}")
            self.tell(f"    It says:     {erratum.says}")
            self.tell(f"    True is:     {erratum.truth}")
            self.tell(f"    Done:        {erratum.done}")
            if erratum.as_written:
                self.tell(f"    As written:  {erratum.as_written}")

    def stopped(self, stop: outcome.Stop) -> None:
        self.say()
        self.say(f"aws: [ERROR]: {stop.what}", "bold red" if stop.exit_code != outcome.INTERRUPTED else "bold yellow")
        if stop.means:
            self.say(f"  What it means: {stop.means}")
        for number, advice in enumerate(stop.advice):
            self.say(f"  {'What to do:' if not number else '           '}    {advice}")


def short(value: Any) -> str:
    """A value on one line; long documents are cut, names and ARNs never are."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    if text.startswith(("{", "[")) and len(text) > 160:
        return f"{text[:150]}... ({len(text)} characters)"
    return text


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
