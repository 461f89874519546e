"""Reads transcripts. docs/transcript.md has the format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provision import STEPS
from provision.record.fields import flaw_of_line, is_number
from provision.record.transcript import FOLDER, VERSION
from provision.settings import Settings
from provision.terminal import outcome


def invented_ids(calls: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The ids that AWS invented in the answers to these calls, each with a name to show instead."""
    found: dict[str, str] = {}
    for call in calls:
        answer = call["answer"] or {}
        for one in (answer, *answer.get("items", ())):
            if isinstance(one, dict) and isinstance(one.get("id"), str):
                what = one.get("path") or one.get("name") or call["operation"].removeprefix("Create").lower()
                found.setdefault(one["id"], f"id of {what}")
    return found


LEFT_OUT = "<left out>"
# Words of version 0.1, by those of today.
OUTCOMES_OF_BEFORE = {"mended": "updated"}
# What has a message or an item in it, or says who called, by operation: in the parameters, and in the answer.
BODIES = {
    "GetCallerIdentity": ("Arn", "UserId"),
    "GetItem": ("Item",),
    "FilterLogEvents": ("events",),
    "GetLogEvents": ("events",),  # of earlier versions
    "Invoke": ("Payload",),
    "ListAccountAliases": ("AccountAliases",),
    "PutItem": ("Item",),
    "ReceiveMessage": ("Messages",),
    "Scan": ("Items",),
    "SendMessage": ("MessageBody",),
    "TestInvokeMethod": ("body", "log"),
}
# An account's number inside an ARN, also behind an address: arn:aws:sqs:us-east-1:111122223333:POC-Queue
IN_ARN = re.compile(r"(arn:[a-z-]+:[a-z0-9-]*:[a-z0-9-]*:)\d{12}(?!\d)")


class NoTranscript(outcome.UserError):
    """There is no transcript, or the file is not one."""

    exit_code = outcome.USAGE


@dataclass(frozen=True)
class Recording:
    """One run: the first line of its transcript, and all others in their order.

    `path` is None unless it was read from a file.
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
        """How long the run took, as far as the transcript says."""
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
        """The steps that the run came to, in its order, each with its events.

        Events of no step come under "": those before the first step, the smoke tests, the end.
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


def read(path: Path) -> Recording:
    """The run in a file, without a torn last line. Raises NoTranscript."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise NoTranscript(
            f"The transcript {path} cannot be read: {error.strerror}.",
            means="Nothing can be played.",
            advice=("python -m provision replay --list lists the transcripts.",),
        ) from error
    events = list(_events(lines, path))
    if not events or events[0]["type"] != "transcript":
        raise _not_one(path, "its first line is not a transcript's")
    header, *events = events
    if not isinstance(header.get("version"), int) or header["version"] > VERSION:
        raise _not_one(path, f"its version is {header.get('version')}, and this program knows {VERSION} and before")
    if not {"program", "account", "region", "endpoint", "deployment"} <= header.keys():
        raise _not_one(path, "the run ended before it knew where it was")
    for event in (header, *events):
        flaw = flaw_of_line(event)
        if flaw is not None:  # a person or another program may have changed it
            raise _not_one(path, flaw)
    for event in events:
        for one in event.get("happened", []):
            one["outcome"] = OUTCOMES_OF_BEFORE.get(one["outcome"], one["outcome"])
    return Recording(header, events, path)


def _events(lines: list[bytes], path: Path) -> Iterator[dict[str, Any]]:
    """The lines, parsed. Raises NoTranscript."""
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            if number < len(lines):
                raise _not_one(path, f"line {number} is no JSON") from None
            continue  # torn, or empty
        if not isinstance(event, dict) or not isinstance(event.get("type"), str) or not is_number(event.get("at")):
            raise _not_one(path, f"line {number} has no type or time")
        yield event


def _not_one(path: Path, why: str) -> NoTranscript:
    return NoTranscript(
        f"{path} is not a transcript that can be played: {why}.",
        means="A run of provision or teardown writes one beside its state file.",
        advice=("python -m provision replay --list lists the transcripts.",),
    )


def transcripts_in(folder: Path) -> list[Path]:
    """The transcripts beside the state files in a folder, the oldest first."""
    return sorted((folder / FOLDER).glob("*/*.jsonl"), key=lambda path: (path.name, path.parent.name))


def learner_of(path: Path) -> str | None:
    """The learner whose run is in a file; None where it is nobody's, or no transcript."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    learner = header.get("learner") if isinstance(header, dict) else None
    return learner if isinstance(learner, str) else None


def up_to(recording: Recording) -> list[Recording]:
    """The runs of the same deployment up to this one, in the order in which they began."""
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
    """The writing calls that made a step's resources at an endpoint, in all runs up to the one of `path`.

    Empty where no transcript has them.
    """
    try:
        runs = up_to(read(path))
    except NoTranscript:
        return []
    made: list[dict[str, Any]] = []
    for run in runs:
        if run.header["endpoint"] != endpoint:  # the resources of a sandbox that is gone are gone, too
            continue
        for event in run.events:
            if event["type"] == "removed" and event["word"] in ("deleted", "gone"):
                made = [call for call in made if call["key"] != event["key"]]
            elif event["type"] == "call" and run.header["program"] == "provision" and event["step"] == step:
                made += [event] if not event["read"] and event["error"] is None else []
    return made


def invented(recording: Recording) -> dict[str, str]:
    """What an audience need not see, each with a name for it: what is private, and the other ids that AWS invented."""
    entries = [event["entry"] for event in recording.of("entry")]
    known = {one["outputs"]["id"]: f"id of {one['key']}" for one in entries if one.get("outputs", {}).get("id")}
    return {**invented_ids(recording.calls), **known, **private(recording)}


def private(recording: Recording) -> dict[str, str]:
    """What an audience could misuse, each with a name for it: account, callers, and the ids of APIs.

    The id of an API is a part of its address, which anyone may call who knows it.
    """
    account = str(recording.header.get("account") or "")
    return {
        **dict.fromkeys(apis(recording), "id of api"),
        **({account: "account"} if account else {}),
        **dict.fromkeys(callers(recording), "caller"),
    }


def apis(recording: Recording) -> set[str]:
    """The ids of all APIs in a run, also of those that another run made."""
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
    """Who made the calls; AWS's refusals name them, too. The account's root has no name of its own."""
    answers = [one["answer"] or {} for one in recording.calls if one["operation"] == "GetCallerIdentity"]
    found = {answer.get(name) for answer in answers for name in ("Arn", "UserId")}
    account = str(recording.header.get("account") or "")
    return {one for one in found if isinstance(one, str) and one not in ("", account) and not one.endswith(":root")}


def masked(recording: Recording) -> Recording:
    """The same run without what is private, the command line, and the bodies of messages and items."""
    masks = {value: f"<{name}>" for value, name in private(recording).items()}
    longest_first = sorted(masks, key=len, reverse=True)

    def mask(value: Any) -> Any:
        if isinstance(value, dict):
            return {mask(name): mask(member) for name, member in value.items()}
        if isinstance(value, list):
            return [mask(member) for member in value]
        if isinstance(value, str):
            for one in longest_first:
                value = value.replace(one, masks[one])
            return IN_ARN.sub(r"\1<another account>", value)
        return value

    events = [mask(_without_bodies(event)) for event in recording.events]
    return replace(recording, header=mask({**recording.header, "arguments": []}), events=events)


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
