"""One self-contained page out of a transcript: it works from a mail's attachment, and without JavaScript.

Nothing in it is fetched from anywhere. What JavaScript adds is convenience: one step at a time, a picture that grows,
buttons that copy.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from html import escape
from importlib import resources
from string import Template
from typing import Any

from markdown_it import MarkdownIt

from provision import Step
from provision.errata import ERRATA
from provision.lesson.call import Faces, faces
from provision.lesson.page import Page, names, read
from provision.lesson.picture import as_svg
from provision.lesson.views import CONSOLE_MARKS
from provision.record.recording import ACCOUNT, Recording, masked
from provision.replay.chart import as_svg as chart_as_svg
from provision.replay.scenes import Scene, existing, scenes, seconds_of
from provision.replay.timeline import timeline
from provision.settings import Settings
from provision.state.resources import name_of, noun_of
from provision.terminal import outcome

# What the bar of links says of a page that is no step's; its whole title is read out, and shown when pointed at.
SHORT = {
    "Tests, and the end": "Tests",
    "The end": "End",
    "The proof that nothing is left": "Proof",
    "Where the time went": "Time",
}


def web_page(recording: Recording, *, unmasked: bool = False) -> str:
    """The page of one run. Account numbers, callers and the bodies of messages are left out unless told otherwise."""
    shown = recording if unmasked else masked(recording)
    header = shown.header
    known = names(shown.settings, account=header["account"], region=header["region"], partition=header["partition"])
    pages = scenes(shown)
    sections, links, so_far = [], [], list[dict[str, Any]]()
    there = existing(shown, so_far)
    for number, scene in enumerate(pages):
        so_far += scene.events
        before, there = there, existing(shown, so_far)
        page = read(scene.step.name, known) if scene.step else None
        sections.append(section(shown, scene, number, page, before, there))
        links.append(link(number, scene.title, scene.step))
    sections.append(times(shown, len(pages), there))
    links.append(link(len(pages), "Where the time went", None))
    text = (resources.files("provision.replay") / "web_page.html").read_text(encoding="utf-8")
    return Template(text).substitute(
        title=escape(title(shown)),
        header=heading(shown),
        links="\n".join(links),
        picture=as_svg(shown.settings),
        sections="\n".join(sections),
    )


def link(number: int, title: str, step: Step | None) -> str:
    whole = f"Step {step.number}: {step.title}" if step else title
    words = str(step.number) if step else SHORT.get(title, title)
    return f'<li><a href="#page-{number}" title="{escape(whole)}" aria-label="{escape(whole)}">{escape(words)}</a></li>'


def title(recording: Recording) -> str:
    what = "A decoupled serverless architecture"
    there = existing(recording, recording.events)
    if recording.header["program"] == "trace":
        return f"{what}, a request followed through it"
    if recording.header["program"] == "teardown":
        return f"{what}, taken down" if not there else f"{what}, taken down in part"
    return f"{what}, built" if "stage" in there else f"{what}, built in part"


def heading(recording: Recording) -> str:
    header, ended = recording.header, recording.ended
    where = "AWS" if header.get("endpoint") is None else f"{header['endpoint']}, which is not AWS"
    account = "" if header["account"] == ACCOUNT else f", account {header['account']}"
    writes = sum(not call["read"] for call in recording.calls)
    facts = {
        "When": f"{header['started'][:16].replace('T', ' ')} UTC",
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
    rows = "\n".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items())
    return f'<h1>{escape(title(recording))}</h1>\n<dl class="facts">\n{rows}\n</dl>'


def opened(number: int, title: str, there: Collection[str], new: Collection[str]) -> list[str]:
    """The beginning of a page, with what the picture shows beside it: what there is then, and what of it is new."""
    return [
        f'<section id="page-{number}" data-there="{escape(" ".join(sorted(there)))}" '
        f'data-new="{escape(" ".join(sorted(new)))}" aria-labelledby="title-{number}">',
        f'<h2 id="title-{number}" tabindex="-1">{escape(title)}</h2>',
    ]


def section(
    recording: Recording, scene: Scene, number: int, page: Page | None, before: set[str], after: set[str]
) -> str:
    building = recording.header["program"] == "provision"
    step = scene.step
    parts = opened(number, scene.title, after, after - before)
    took = seconds_of(scene)
    if took is not None:
        parts.append(f'<p class="took">It took {took:.1f} s in this run.</p>')
    if page is not None and building:
        parts += [f"<h3>{name}</h3>{rendered(text)}" for name, text in lesson_of(page)]
        parts += [errata_of(step.name, recording.settings) if step is not None else ""]
    parts.append(results(scene))
    parts.append(hops([event for event in scene.events if event["type"] == "hop"]))
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
        parts.append(f'<details class="answer"><summary>The answer</summary>{rendered(page.answer)}</details>')
    parts.append("</section>")
    return "\n".join(part for part in parts if part)


def times(recording: Recording, number: int, there: set[str]) -> str:
    """The last page: all calls and waits of the run along one line of time."""
    parts = opened(number, "Where the time went", there, ())
    chart = chart_as_svg(timeline(recording), in_page=True)
    parts.append(f'<figure aria-label="Where the time went" tabindex="0">{chart}</figure></section>')
    return "\n".join(parts)


def hops(events: list[dict[str, Any]]) -> str:
    """Where a followed request was when, and who says so."""
    if not events:
        return ""
    rows = []
    for event in events:
        after, took = ("" if event[name] is None else f"{event[name]:.3f} s" for name in ("after", "took"))
        saw = event["saw"] + (f" (by {event['source']})" if event["source"] else "")
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (after, took, saw))
        rows.append(f'<tr><th scope="row">{escape(event["place"])}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Where it was", "After", "Took", "What was seen"))
    return f'<table class="hops"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


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
    name = f"{noun_of(kind)} {name_of(kind, identity)}" + (f" ({remark})" if remark else "")
    return f'<li><span class="word {escape(word)}">{escape(word)}</span> {escape(name)}</li>'


def ending(event: dict[str, Any]) -> str:
    stop = event.get("stop")
    if not stop and event["exit_code"] != outcome.DONE:
        return f"<p>The run ended with exit code {event['exit_code']}, after {event['at']:.1f} s.</p>"
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
    mark = f' <span class="mark">({escape(CONSOLE_MARKS[shown.mark])})</span>' if shown.mark else ""
    refused = ""
    if call["error"]:
        refused = f'<p class="refused">Refused: {escape(call["error"]["code"])}: {escape(call["error"]["message"])}</p>'
    # In a box that wraps, the padding that lines fields up on a terminal is of no use.
    console = "\n".join(re.sub(r"^(\S.*?:) {2,}", r"\1 ", line) for line in shown.console)
    boxes = [f"<div><h5>Console{mark}</h5><pre>{hanging(console)}</pre></div>"] if console else []
    boxes.append(f'<div data-copy="the boto3 call"><h5>boto3</h5><pre>{hanging(shown.boto3)}</pre></div>')
    boxes.append(f'<div data-copy="the aws command"><h5>aws</h5><pre>{hanging(shown.aws)}</pre></div>')
    lines = "\n".join(boxes)
    begin, length = time
    left, width = 100 * (call["at"] - begin) / length, 100 * call["seconds"] / length
    answers = "".join(f"<p><code>{escape(found)}</code><br>{escape(words)}</p>" for found, words in shown.answer)
    return f"""<article class="call">
<div class="head"><h4>{escape(shown.title)}</h4><span class="took">{call["seconds"]:.2f} s{sent}</span></div>
<div class="bar" aria-hidden="true"><span style="margin-left: {left:.1f}%; width: {width:.1f}%"></span></div>
{"".join(wait_lines(waits))}{refused}
<div class="faces">
{lines}
</div>
{f"<h5>In the answer</h5>{answers}" if answers else ""}
</article>"""


def hanging(text: str) -> str:
    """Lines that go on below their own beginning where a box is too narrow; copied, they are the text again."""
    lines = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip()) + 2
        lines.append(f'<span style="--in: {indent}ch">{escape(line)}\n</span>')
    return "".join(lines)


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
