"""One self-contained web page made of a transcript. It works as an attachment of a mail, and without JavaScript.

It fetches nothing. JavaScript adds convenience: one step at a time, a picture that grows, buttons that copy.
web_page.html, .css and .js are the page; this module says what it shows.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from provision.errata import ERRATA, Erratum
from provision.lesson.call import Faces, faces
from provision.lesson.page import Page, names, read
from provision.lesson.picture import as_svg
from provision.lesson.views import CONSOLE_MARKS
from provision.lesson.web import environment
from provision.record.recording import Recording, masked
from provision.replay.scenes import Event, Scene, existing, scenes, seconds_of
from provision.replay.timeline import in_short, timeline
from provision.state.resources import name_of, noun_of
from provision.terminal import outcome

# Short titles for the bar of links; a screen reader and a pointer get the whole title.
SHORT = {"Tests, and the end": "Tests", "The end": "End", "The proof that nothing is left": "Proof"}


@dataclass(frozen=True)
class Written:
    """A writing call: its faces, its waits, and its place in the time of the page, in percent."""

    call: Event
    faces: Faces
    console: str
    waits: list[Event]
    left: float
    width: float


@dataclass(frozen=True)
class View:
    """A page of the run. `there` and `new` are the keys of what existed after it, and of what it made."""

    number: int
    scene: Scene
    lesson: Page | None
    errata: list[Erratum]
    there: set[str]
    new: set[str]
    writes: list[Written]
    other_waits: list[Event]

    @property
    def took(self) -> float | None:
        return seconds_of(self.scene)

    @property
    def reads(self) -> list[Event]:
        return [call for call in self.of("call") if call["read"]]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.scene.events if event["type"] == kind]


def web_page(recording: Recording, *, unmasked: bool = False) -> str:
    """The page of one run; unless `unmasked` without account numbers, callers and the bodies of messages."""
    shown = recording if unmasked else masked(recording)
    templates = environment("provision.replay")
    templates.filters |= {"in_short": in_short, "sha256": sha256}
    pages = list(views(shown))
    steps = [(view.number, view.scene.title, view.scene.step) for view in pages]
    links = [
        (number, f"Step {step.number}: {step.title}", str(step.number))
        if step
        else (number, title, SHORT.get(title, title))
        for number, title, step in steps
    ]
    return templates.get_template("web_page.html").render(
        title=title_of(shown),
        facts=facts_of(shown),
        links=[*links, (len(pages), "Where the time went", "Time")],
        picture=Markup(as_svg(shown.settings)),
        pages=pages,
        time=timeline(shown),
        settings=shown.settings,
        marks=CONSOLE_MARKS,
        named=lambda kind, identity: f"{noun_of(kind)} {name_of(kind, identity)}",
    )


def sha256(script: str) -> str:
    """How a Content-Security-Policy names an inline script: https://www.w3.org/TR/CSP3/#grammardef-hash-source"""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def title_of(recording: Recording) -> str:
    what = "A decoupled serverless architecture"
    there = existing(recording, recording.events)
    if recording.header["program"] == "trace":
        return f"{what}, a request followed through it"
    if recording.header["program"] == "teardown":
        return f"{what}, taken down" if not there else f"{what}, taken down in part"
    return f"{what}, built" if "stage" in there else f"{what}, built in part"


def when(header: dict[str, Any]) -> str:
    """When the run began; of a lesson in several sittings also when the last of them did."""
    first, last = (f"{header.get(name, '')[:16].replace('T', ' ')} UTC" for name in ("started", "last_started"))
    return f"{first}, in {header['sittings']} sittings, the last {last}" if "sittings" in header else first


def facts_of(recording: Recording) -> dict[str, str]:
    header, ended = recording.header, recording.ended
    where = "AWS" if header.get("endpoint") is None else f"{header['endpoint']}, which is not AWS"
    account = "" if header["account"] == "<account>" else f", account {header['account']}"
    writes = sum(not call["read"] for call in recording.calls)
    facts = {
        "When": when(header),
        "Where": f"{where}{account}, Region {header['region']}",
        "Deployment": header["deployment"],
        "It took": f"{recording.seconds:.1f} s, {len(recording.calls)} API calls, {writes} of them writing",
    }
    if header.get("learner"):
        facts["Learner"] = header["learner"]
    if ended is None:
        facts["Ended"] = "killed: what it did last may be missing"
    elif ended["exit_code"] != outcome.DONE:
        facts["Ended"] = ended["stop"]["what"] if ended.get("stop") else f"with exit code {ended['exit_code']}"
    return facts


def views(recording: Recording) -> Iterator[View]:
    header = recording.header
    known = names(recording.settings, account=header["account"], region=header["region"], partition=header["partition"])
    so_far: list[Event] = []
    there = existing(recording, so_far)
    for number, scene in enumerate(scenes(recording)):
        so_far += scene.events
        before, there = there, existing(recording, so_far)
        page = read(scene.step.name, known) if scene.step else None
        errata = [one for one in ERRATA if scene.step and one.step == scene.step.name]
        waits = [event for event in scene.events if event["type"] == "wait"]
        writes = list(written(scene, page, header["region"]))
        inside = {one.call["number"] for one in writes}
        others = last_of([wait for wait in waits if wait["call"] not in inside])
        lesson = page if header["program"] == "provision" else None
        yield View(number, scene, lesson, errata, there, there - before, writes, others)


def written(scene: Scene, page: Page | None, region: str) -> Iterator[Written]:
    """The writing calls of a page."""
    events = [event for event in scene.events if event["type"] in ("call", "wait")]
    begin = min((event["at"] for event in events), default=0.0)
    length = max(max((event["at"] + event.get("seconds", 0.0) for event in events), default=0.0) - begin, 0.001)
    for call in (event for event in events if event["type"] == "call" and not event["read"]):
        shown = faces(call, page, region=region)
        # Without the spaces that align fields in a terminal: the box folds its lines.
        console = "\n".join(re.sub(r"^(\S.*?:) {2,}", r"\1 ", line) for line in shown.console)
        waits = last_of([event for event in events if event["type"] == "wait" and event["call"] == call["number"]])
        left, width = 100 * (call["at"] - begin) / length, 100 * call["seconds"] / length
        yield Written(call, shown, console, waits, left, width)


def last_of(waits: list[Event]) -> list[Event]:
    """The last event of each wait."""
    return list({wait["reason"]: wait for wait in waits}.values())
