"""One self-contained page out of a transcript: it works from a mail's attachment, and without JavaScript.

Nothing in it is fetched from anywhere. What JavaScript adds is convenience: one step at a time, a picture that grows,
buttons that copy.
"""

from __future__ import annotations

import re
from html import escape
from importlib import resources
from string import Template
from typing import Any

from markdown_it import MarkdownIt

from lessons.call import Faces, faces
from lessons.page import Page, names, read
from lessons.picture import as_svg
from provision.kinds import KINDS, name_of
from provision.screen import CONSOLE_MARKS
from provision.settings import ERRATA, Settings
from replay.player import Scene, scenes
from replay.recording import Recording, masked


def web_page(recording: Recording, *, unmasked: bool = False) -> str:
    """The page of one run. Account numbers, callers and the bodies of messages are left out unless told otherwise."""
    shown = recording if unmasked else masked(recording)
    header = shown.header
    known = names(shown.settings, account=header["account"], region=header["region"], partition=header["partition"])
    pages = scenes(shown)
    sections = [
        section(shown, scene, number, read(scene.step.name, known) if scene.step else None)
        for number, scene in enumerate(pages)
    ]
    links = [
        f'<li><a href="#page-{number}">{escape(str(scene.step.number) if scene.step else scene.title)}</a></li>'
        for number, scene in enumerate(pages)
    ]
    text = (resources.files("replay") / "web_page.html").read_text(encoding="utf-8")
    return Template(text).substitute(
        title=escape(title(shown)),
        header=heading(shown),
        links="\n".join(links),
        picture=as_svg(shown.settings),
        sections="\n".join(sections),
    )


def title(recording: Recording) -> str:
    what = "A decoupled serverless architecture"
    return f"{what}, built" if recording.header["program"] == "provision" else f"{what}, taken down"


def heading(recording: Recording) -> str:
    header = recording.header
    where = "AWS" if header.get("endpoint") is None else f"{header['endpoint']}, which is not AWS"
    writes = sum(not call["read"] for call in recording.calls)
    facts = {
        "When": f"{header['started'][:16].replace('T', ' ')} UTC",
        "Where": f"{where}, account {header['account']}, Region {header['region']}",
        "Deployment": header["deployment"],
        "It took": f"{recording.seconds:.1f} s, {len(recording.calls)} API calls, {writes} of them writing",
    }
    if header.get("learner"):
        facts["Learner"] = header["learner"]
    if recording.ended is None:
        facts["Ended"] = "killed: what it did last may be missing"
    rows = "\n".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f'<h1>{escape(title(recording))}</h1>\n<dl class="facts">\n{rows}\n</dl>'


def section(recording: Recording, scene: Scene, number: int, page: Page | None) -> str:
    building = recording.header["program"] == "provision"
    step = scene.step
    # With the page of a step the picture shows what is there when it is done.
    light = f' data-light="{step.number if building else step.number - 1}"' if step is not None else ""
    parts = [
        f'<section id="page-{number}"{light} aria-labelledby="title-{number}">',
        f'<h2 id="title-{number}" tabindex="-1">{escape(scene.title)}</h2>',
    ]
    if page is not None and building:
        parts += [f"<h3>{name}</h3>{rendered(text)}" for name, text in lesson_of(page)]
        parts += [errata_of(step.name, recording.settings) if step is not None else ""]
    parts.append(results(scene))
    waits = [event for event in scene.events if event["type"] == "wait"]
    calls = [event for event in scene.events if event["type"] == "call"]
    writes = [call for call in calls if not call["read"]]
    if writes:
        parts.append("<h3>The calls that changed something, each with its place in the time of the page</h3>")
    time = span([*calls, *waits])
    for call in writes:
        about = [wait for wait in waits if wait["call"] == call["number"]]
        parts.append(call_of(call, faces(call, page, region=recording.header["region"]), about, time))
    others = [wait for wait in waits if wait["call"] not in {call["number"] for call in writes}]
    parts += wait_lines(others)
    parts.append(reads_of([call for call in calls if call["read"]]))
    if page is not None and building:
        parts.append(f"<h3>To think about</h3>{rendered(page.question)}")
        parts.append(f"<details><summary>The answer</summary>{rendered(page.answer)}</details>")
    parts.append("</section>")
    return "\n".join(part for part in parts if part)


def lesson_of(page: Page) -> list[tuple[str, str]]:
    return [("What it is for", page.purpose), ("Why now", page.why_now), ("In the console", page.console)]


def rendered(markdown: str) -> str:
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown))


def errata_of(step: str, settings: Settings) -> str:
    rows = []
    for erratum in ERRATA:
        if erratum.step == step:
            rows.append(
                f"<p><strong>Erratum {erratum.number}.</strong> It says: {escape(erratum.says)} "
                f"True is: {escape(erratum.truth)} Done: {escape(erratum.done_here(settings))}</p>"
            )
    return f'<aside aria-label="Errata of the walkthrough">{"".join(rows)}</aside>' if rows else ""


def results(scene: Scene) -> str:
    """What became of each thing, the tests that passed, and how the run ended."""
    lines, after = [], []
    for event in scene.events:
        if event["type"] == "done":
            lines += [made(one["outcome"], one["kind"], one["identity"], "") for one in event["happened"]]
        elif event["type"] == "removed":
            lines.append(made(event["word"], event["kind"], event["identity"], event["remark"]))
        elif event["type"] == "trial":
            lines.append(f'<li><span class="word">passed</span> {escape(event["title"])}: {escape(event["saw"])}</li>')
        elif event["type"] == "ended":
            after.append(ending(event))
    happened = f'<h3>What happened</h3><ul class="made">{"".join(lines)}</ul>' if lines else ""
    return happened + "".join(after)


def made(word: str, kind: str, identity: dict[str, str], remark: str) -> str:
    name = f"{KINDS.get(kind, kind)} {name_of(kind, identity)}" + (f" ({remark})" if remark else "")
    return f'<li><span class="word {escape(word)}">{escape(word)}</span> {escape(name)}</li>'


def ending(event: dict[str, Any]) -> str:
    stop = event.get("stop")
    if not stop:
        return f"<p>The run ended well, after {event['at']:.1f} s.</p>"
    advice = "".join(f"<li>{escape(line)}</li>" for line in stop["advice"])
    return (
        f'<div class="stop"><p><strong>{escape(stop["what"])}</strong></p><p>{escape(stop["means"])}</p>'
        f"<ul>{advice}</ul></div>"
    )


def span(events: list[dict[str, Any]]) -> tuple[float, float]:
    """When the first of these events began, and how long it took until the last had ended, in seconds."""
    begin = min((event["at"] for event in events), default=0.0)
    end = max((event["at"] + event.get("seconds", 0.0) for event in events), default=0.0)
    return begin, max(end - begin, 0.001)


def call_of(call: dict[str, Any], shown: Faces, waits: list[dict[str, Any]], time: tuple[float, float]) -> str:
    sent = f", sent {call['sent']} times" if call["sent"] > 1 else ""
    mark = f'<span class="mark">{escape(CONSOLE_MARKS[shown.mark])}</span>' if shown.mark else ""
    refused = ""
    if call["error"]:
        refused = f'<p class="refused">Refused: {escape(call["error"]["code"])}: {escape(call["error"]["message"])}</p>'
    # In a box that wraps, the padding that lines fields up on a terminal is of no use.
    console = "\n".join(re.sub(r"^(\S.*?:) {2,}", r"\1 ", line) for line in shown.console)
    console = console or "nothing: it has no page in the lesson"
    begin, length = time
    left, width = 100 * (call["at"] - begin) / length, 100 * call["seconds"] / length
    answers = "".join(f"<p><code>{escape(found)}</code><br>{escape(words)}</p>" for found, words in shown.answer)
    return f"""<article class="call">
<div class="head"><h4>{escape(shown.title)}</h4><span class="took">{call["seconds"]:.2f} s{sent}</span>{mark}</div>
<div class="bar" aria-hidden="true"><span style="margin-left: {left:.1f}%; width: {width:.1f}%"></span></div>
{"".join(wait_lines(waits))}{refused}
<div class="faces">
<div><h5>Console</h5><pre class="console" tabindex="0">{escape(console)}</pre></div>
<div data-copy="the boto3 call"><h5>boto3</h5><pre tabindex="0">{escape(shown.boto3)}</pre></div>
<div data-copy="the aws command"><h5>aws</h5><pre tabindex="0">{escape(shown.aws)}</pre></div>
</div>
{f"<h5>In the answer</h5>{answers}" if answers else ""}
</article>"""


def wait_lines(waits: list[dict[str, Any]]) -> list[str]:
    """One line for each thing that was waited for: how long, at least, and AWS's own words."""
    last: dict[str, dict[str, Any]] = {}
    for wait in waits:
        last[wait["reason"]] = wait
    return [
        f'<p class="wait">Waited: {escape(wait["reason"])}, {wait["elapsed"]:.0f} s or more. {escape(wait["means"])} '
        f"{'AWS said: ' + escape(wait['words']) if wait['words'] else ''}</p>"
        for wait in last.values()
    ]


def reads_of(calls: list[dict[str, Any]]) -> str:
    if not calls:
        return ""
    lines = "".join(
        f"<li><code>{escape(call['service'])} {escape(call['operation'])}</code> {call['seconds']:.2f} s"
        f"{', ' + escape(call['error']['code']) if call['error'] else ''}</li>"
        for call in calls
    )
    count = f"{len(calls)} calls" if len(calls) != 1 else "One call"
    return f"<details><summary>{count} that only looked</summary><ul>{lines}</ul></details>"
