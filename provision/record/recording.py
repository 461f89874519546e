"""Reads transcripts. docs/transcript.md has the format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provision import STEPS
from provision.record.transcript import FOLDER, VERSION
from provision.settings import Settings
from provision.terminal import outcome


def invented_ids(calls: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The ids that AWS invented in the answers to these calls, each with a name to be shown in its place."""
    found: dict[str, str] = {}
    for call in calls:
        answer = call["answer"] or {}
        for one in (answer, *answer.get("items", ())):
            if isinstance(one, dict) and isinstance(one.get("id"), str):
                what = one.get("path") or one.get("name") or call["operation"].removeprefix("Create").lower()
                found.setdefault(one["id"], f"id of {what}")
    return found


ACCOUNT = "<account>"

API = "<api>"

CALLER = "<caller>"

LEFT_OUT = "<left out>"


# What carries a message or an item, by operation: in the parameters, and in the answer.
BODIES = {
    "GetItem": ("Item",),
    "GetLogEvents": ("events",),
    "Invoke": ("Payload",),
    "PutItem": ("Item",),
    "ReceiveMessage": ("Messages",),
    "Scan": ("Items",),
    "SendMessage": ("MessageBody",),
    "TestInvokeMethod": ("body", "log"),
}

# An account's number inside an ARN, also behind an address: arn:aws:sqs:us-east-1:111122223333:POC-Queue
IN_ARN = re.compile(r"(arn:[a-z-]+:[a-z0-9-]*:[a-z0-9-]*:)\d{12}(?!\d)")


# What a line must have to be shown, by its type; of the first line all are texts.
FIELDS = {
    "transcript": ("program", "started", "account", "region", "partition", "deployment"),
    "step": ("step",),
    "call": ("number", "step", "service", "operation", "read", "parameters", "answer", "error", "seconds", "sent"),
    "wait": ("call", "reason", "means", "words", "elapsed", "budget"),
    "entry": ("entry",),
    "done": ("step", "happened"),
    "trial": ("title", "saw"),
    "removed": ("word", "key", "kind", "identity", "remark"),
    "hop": ("route", "place", "after", "took", "source", "saw"),
    "ended": ("exit_code", "calls", "writes"),
}


class NoTranscript(outcome.UserError):
    """There is none, or the file is none that can be played."""

    exit_code = outcome.USAGE


@dataclass(frozen=True)
class Recording:
    """One run: its first line, and all others in the order of their writing.

    `path` is None where it was not read from a file.
    """

    header: dict[str, Any]
    events: list[dict[str, Any]]
    path: Path | None = None

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == kind]

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.of("call")

    @property
    def ended(self) -> dict[str, Any] | None:
        """The last line; None when the run was killed."""
        return next(iter(self.of("ended")), None)

    @property
    def seconds(self) -> float:
        """How long the run took, as far as it was written down."""
        return max((event["at"] + event.get("seconds", 0.0) for event in self.events), default=0.0)

    @property
    def settings(self) -> Settings:
        """The names and values that the run was for."""
        return Settings(
            learner=self.header.get("learner"),
            runtime_asked=self.header.get("runtime"),
            as_written=bool(self.header.get("as_written")),
        )

    def steps(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The walkthrough's steps that the run came to, in the order in which it did, each with what happened in it.

        What belongs to none comes under "": before the first step, the smoke tests, the end.
        """
        known = {step.name for step in STEPS}
        parts: list[tuple[str, list[dict[str, Any]]]] = []
        begun = False  # before it, what a plan looked at belongs to no step yet
        for event in self.events:
            begun = begun or event["type"] == "step"
            step = event.get("step") if event["type"] != "entry" else event["entry"].get("step")
            if event["type"] == "removed":
                step = next((name for name, events in reversed(parts) if name), "")
            name = step if step in known and begun else ""
            if event["type"] in ("trial", "ended"):
                name = ""
            if not parts or parts[-1][0] != name:
                parts.append((name, []))
            parts[-1][1].append(event)
        yield from parts


# Words of version 0.1, by those of today.
OUTCOMES_OF_BEFORE = {"mended": "updated"}


def read(path: Path) -> Recording:
    """The run in a file. A last line that is torn is left out. Raises NoTranscript."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise NoTranscript(
            f"The transcript {path} cannot be read: {error.strerror}.",
            means="Nothing can be played.",
            advice=("python -m provision replay --list names the transcripts that there are.",),
        ) from error
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            if number < len(lines):
                raise _not_one(path, f"line {number} is no JSON") from None
            continue  # torn, or empty
        if not isinstance(event, dict) or "type" not in event or not isinstance(event.get("at"), (int, float)):
            raise _not_one(path, f"line {number} has no type or time")
        events.append(event)
    if not events or events[0]["type"] != "transcript":
        raise _not_one(path, "its first line is not a transcript's")
    header, *events = events
    if not isinstance(header.get("version"), int) or header["version"] > VERSION:
        raise _not_one(path, f"its version is {header.get('version')}, and this program knows {VERSION} and before")
    if not {"program", "account", "region", "endpoint", "deployment"} <= header.keys():
        raise _not_one(path, "the run ended before it knew where it was")
    _check(header, events, path)
    for event in events:
        for one in event.get("happened", []):
            one["outcome"] = OUTCOMES_OF_BEFORE.get(one["outcome"], one["outcome"])
    return Recording(header, events, path)


def _check(header: dict[str, Any], events: list[dict[str, Any]], path: Path) -> None:
    """That a file has all that is shown of it: somebody may have written in it, or another program."""
    for event in (header, *events):
        missing = [name for name in FIELDS.get(event["type"], ()) if name not in event]
        if missing:
            raise _not_one(path, f"a line of the type {event['type']} has no {missing[0]}")
    for name in FIELDS["transcript"]:
        if not isinstance(header[name], str):
            raise _not_one(path, f"its {name} is no text")


def _not_one(path: Path, why: str) -> NoTranscript:
    return NoTranscript(
        f"{path} is not a transcript that can be played: {why}.",
        means="A run of provision or teardown writes one beside its state file.",
        advice=("python -m provision replay --list names the transcripts that there are.",),
    )


def transcripts_in(folder: Path) -> list[Path]:
    """The transcripts beside the state files in a folder, the oldest first."""
    return sorted((folder / FOLDER).glob("*/*.jsonl"), key=lambda path: (path.name, path.parent.name))


def up_to(recording: Recording) -> list[Recording]:
    """The runs of a run's deployment until and with that run, in the order in which they began."""
    if recording.path is None:
        return [recording]
    others = [recording]
    for path in sorted(recording.path.parent.glob("*.jsonl")):
        if path == recording.path:
            continue
        try:
            other = read(path)
        except NoTranscript:
            continue
        if other.header.get("deployment") == recording.header.get("deployment"):
            others.append(other)
    in_order = sorted(others, key=lambda one: str(one.header.get("started")))
    return in_order[: [one.path for one in in_order].index(recording.path) + 1]


def calls_that_made(step: str, path: Path, endpoint: str | None) -> list[dict[str, Any]]:
    """The writing calls that made what there is of a step at an endpoint, in whichever run until the one of `path`.

    As far as there are transcripts of it: none at all is an empty list.
    """
    try:
        runs = up_to(read(path))
    except NoTranscript:
        return []
    made: list[dict[str, Any]] = []
    for run in runs:
        if run.header["endpoint"] != endpoint:  # a sandbox that is gone took its resources along
            continue
        for event in run.events:
            if event["type"] == "removed" and event["word"] in ("deleted", "gone"):
                made = [call for call in made if call["key"] != event["key"]]
            elif event["type"] == "call" and run.header["program"] == "provision" and event["step"] == step:
                made += [event] if not event["read"] and event["error"] is None else []
    return made


def invented(recording: Recording) -> dict[str, str]:
    """What an audience could misuse, each with a name for it: account, caller, and the ids that AWS invented."""
    found = {str(recording.header.get("account") or ""): "account"}
    for event in recording.of("entry"):
        known = event["entry"].get("outputs", {}).get("id", "")
        found.setdefault(known, f"id of {event['entry']['key']}")
    found = {
        **dict.fromkeys(apis(recording), "id of api"),
        **invented_ids(recording.calls),
        **found,
        **dict.fromkeys(callers(recording), "caller"),
    }
    return {value: name for value, name in found.items() if value}


def apis(recording: Recording) -> set[str]:
    """The ids of APIs that are in a run, which need not be the one that made them."""
    found = {
        event["entry"].get("outputs", {}).get("id")
        for event in recording.of("entry")
        if event["entry"]["kind"] == "apigateway:rest-api"
    }
    for one in recording.calls:
        found.add((one["parameters"] or {}).get("restApiId"))
        answer = one["answer"] or {}
        if one["operation"] in ("CreateRestApi", "GetRestApi"):
            found.add(answer.get("id"))
        elif one["operation"] == "GetRestApis":
            found |= {item.get("id") for item in answer.get("items", ()) if isinstance(item, dict)}
    return {api_id for api_id in found if isinstance(api_id, str) and api_id}


def callers(recording: Recording) -> set[str]:
    """Who made the calls: AWS names it in what it refuses, too. The account's root has no name of its own."""
    answers = [one["answer"] or {} for one in recording.calls if one["operation"] == "GetCallerIdentity"]
    found = {answer.get(name) for answer in answers for name in ("Arn", "UserId")}
    account = str(recording.header.get("account") or "")
    return {one for one in found if isinstance(one, str) and one not in ("", account) and not one.endswith(":root")}


def masked(recording: Recording) -> Recording:
    """The same run without account numbers, ids of APIs, callers, command line, and bodies of messages and items.

    The id of an API is a part of its address, which anyone may call who knows it.
    """
    masks = {
        str(recording.header.get("account") or ""): ACCOUNT,
        **dict.fromkeys(apis(recording), API),
        **dict.fromkeys(callers(recording), CALLER),
    }
    hidden = sorted(filter(None, masks), key=len, reverse=True)

    def mask(value: Any) -> Any:
        if isinstance(value, dict):
            return {mask(name): mask(member) for name, member in value.items()}
        if isinstance(value, list):
            return [mask(member) for member in value]
        if isinstance(value, str):
            text = value
            for one in hidden:
                text = text.replace(one, masks[one])
            return IN_ARN.sub(r"\1<another account>", text)
        return value

    events = [mask(_without_bodies(_without_caller(event))) for event in recording.events]
    header = {**recording.header, "arguments": []}
    return replace(recording, header=mask(header), events=events)


def _without_bodies(event: dict[str, Any]) -> dict[str, Any]:
    names = BODIES.get(event.get("operation", ""), ())
    if event["type"] != "call" or not names:
        return event
    without = dict(event)
    for part in ("parameters", "answer"):
        fields = event.get(part)
        if isinstance(fields, Mapping):
            without[part] = {name: LEFT_OUT if name in names else value for name, value in fields.items()}
    return without


def _without_caller(event: dict[str, Any]) -> dict[str, Any]:
    answer = event.get("answer")
    if event.get("operation") == "GetCallerIdentity" and isinstance(answer, dict):
        return {**event, "answer": {name: LEFT_OUT for name in answer if name != "Account"}}
    if event.get("operation") == "ListAccountAliases" and isinstance(answer, dict):
        return {**event, "answer": {"AccountAliases": LEFT_OUT}}
    return event
