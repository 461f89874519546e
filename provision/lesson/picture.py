"""The architecture as a picture in which what exists is lit up: as text for the terminal, as SVG, as Mermaid."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rich.text import Text

from provision.lesson import svg
from provision.settings import Settings

NEXT = "\n"  # between the names of a box that stands for two resources


@dataclass(frozen=True)
class Box:
    """One resource of the picture: the state file's keys that it stands for, and its place in the SVG.

    It exists when all of its keys do.
    """

    keys: tuple[str, ...]
    step: int
    kind: str
    name: str
    x: int
    y: int
    width: int = 170


@dataclass(frozen=True)
class Arrow:
    """A way that a message or a request takes. It is there when all of its keys are."""

    keys: tuple[str, ...]
    step: int
    path: str
    label: str = ""
    at: tuple[int, int] = (0, 0)


def boxes(settings: Settings) -> list[Box]:
    both = ("function-role/write-policy", "function-role/read-policy")
    policies = f"{settings.write_policy}\n{settings.read_policy}"
    found = [
        Box(("api",), 7, "REST API", settings.api, 240, 130, 150),
        Box(("function", "log-group"), 5, "function and log group", settings.function, 560, 130),
        Box(("table",), 3, "DynamoDB table", settings.table, 800, 130, 150),
        Box(("queue",), 4, "SQS queue, access policy", settings.queue, 380, 280, 180),
        Box(("function-role", *both), 2, "role", settings.function_role, 530, 40, 230),
        Box(("api-role", "api-role/logs-policy"), 2, "role", settings.api_role, 200, 40, 190),
        Box(("write-policy", "read-policy"), 1, "policies", policies, 780, 40, 200),
    ]
    if settings.has_dead_letter_queue:
        found.append(Box(("dead-letter-queue",), 4, "dead-letter queue", settings.dead_letter_queue, 640, 280, 180))
    return found


def arrows(settings: Settings) -> list[Arrow]:
    found = [
        Arrow(("stage",), 8, "M130 165H238", f"stage {settings.stage}", (138, 157)),
        Arrow(("api", "permission"), 7, "M390 165H558", f"/{settings.path_part}", (405, 157)),
        Arrow(("function", "table"), 5, "M730 165H798", "items", (745, 157)),
        Arrow(("trigger",), 6, "M520 280C560 240 600 230 640 202", "SQS trigger", (592, 245)),
    ]
    if settings.has_queue_route:
        label = f"/{settings.path_part}/{settings.queue_path_part}"
        found.append(Arrow(("api", "queue"), 7, "M310 200C310 260 335 310 378 315", label, (130, 262)))
    if settings.has_dead_letter_queue:
        label = f"after {settings.max_receive_count} receives"
        found.append(Arrow(("dead-letter-queue", "queue"), 4, "M560 315H638", label, (548, 370)))
    return found


# As text.


def as_text(settings: Settings, existing: Collection[str], *, width: int = 80) -> Text:
    """One line for each way through the architecture; what exists stands in [brackets], what does not in (round ones).

    So it can be told without colour, too. Nothing is drawn with characters that an old terminal lacks.
    """

    def part(name: str, *keys: str) -> tuple[str, str]:
        is_there = all(key in existing for key in keys)
        return (f"[{name}]", "bold green") if is_there else (f"({name})", "dim")

    def way(label: str, *keys: str) -> tuple[str, str]:
        is_there = all(key in existing for key in keys)
        return (f" ={label}=> ", "green") if is_there else (f" .{label}.> ", "dim")

    stage = part(f"{settings.api}, stage {settings.stage}", "api", "stage")
    function = part(settings.function, "function", "log-group")
    queue = part(settings.queue, "queue")
    lines = [[("client", ""), way("POST", "stage"), stage]]
    api = part(settings.api, "api")
    lines.append([api, way(f"/{settings.path_part}", "api", "permission"), function])
    if settings.has_queue_route:
        lines.append([api, way(f"/{settings.path_part}/{settings.queue_path_part}", "api", "queue"), queue])
    lines.append([queue, way("SQS trigger", "trigger"), function])
    if settings.has_dead_letter_queue:
        dead = part(settings.dead_letter_queue, "dead-letter-queue")
        lines.append([queue, way(f"after {settings.max_receive_count} receives", "dead-letter-queue", "queue"), dead])
    lines.append([function, way("items", "function", "table"), part(f"table {settings.table}", "table")])
    lines.append([("as role ", ""), part(settings.function_role, "function-role")])
    lines.append(
        [
            ("   which may do what ", ""),
            part(settings.write_policy, "write-policy"),
            (" and ", ""),
            part(settings.read_policy, "read-policy"),
            (" say", ""),
        ]
    )
    lines.append([("role of the API ", ""), part(settings.api_role, "api-role", "api-role/logs-policy")])
    drawn = Text()
    for line in lines:
        drawn.append_text(folded(line, width))
        drawn.append("\n")
    drawn.append("[there]  (not yet)", "dim")
    return drawn


def folded(parts: list[tuple[str, str]], width: int) -> Text:
    """A line of the picture, which goes on below itself where it is too long."""
    line = Text("  ")
    column = 2
    for text, style in parts:
        if column + len(text.rstrip()) > width and column > 6:
            line.rstrip()
            line.append("\n      ")
            column = 6
            text = text.lstrip()
        line.append(text, style)
        column += len(text)
    return line


# As SVG.

STYLE = """
.picture { color: var(--ink, #1f2328); font-family: system-ui, sans-serif; }
.picture .box rect { fill: var(--paper, #ffffff); stroke: currentColor; stroke-width: 1.5; }
.picture text { fill: currentColor; text-anchor: middle; }
.picture .name { font-weight: 600; font-size: 13px; }
.picture .kind, .picture .label { font-size: 12px; }
.picture .label { text-anchor: start; }
.picture .way { stroke: currentColor; stroke-width: 1.5; fill: none; }
.picture marker path { fill: context-stroke; }
.picture .missing { opacity: 0.45; }
.picture .missing rect, .picture .missing .way { stroke-dasharray: 4 4; }
.picture .new rect { stroke: var(--accent, #0969da); stroke-width: 3; }
.picture .new .way { stroke: var(--accent, #0969da); stroke-width: 2.5; }
"""


def as_svg(
    settings: Settings,
    existing: Collection[str] | None = None,
    *,
    title: str = "The architecture",
    links: Mapping[str, str] | None = None,
) -> str:
    """The picture as an SVG element, in the colours of the page that it stands in (--ink, --paper, --accent).

    Each part says by `data-keys` what it stands for, and by `data-step` with which step it is there. `existing` are
    the keys of what is there; None: everything. `links` are addresses by key: a box leads to that of its first.
    """

    def state(keys: tuple[str, ...]) -> str:
        return "" if existing is None or all(key in existing for key in keys) else " missing"

    described = (
        "A client posts to the API. One route invokes the function, the other sends to the queue, whose messages the "
        "trigger hands to the function. The function writes to the table."
    )
    drawn = [
        svg.opening("picture", 985, 385, f'role="img" aria-label="{svg.escaped(title)}: {described}"', top=30),
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="12" markerHeight="12" '
        'markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="currentColor"/></marker></defs>',
        '<g class="box"><rect x="20" y="135" width="110" height="60" rx="8"/>'
        '<text class="name" x="75" y="162">client</text><text class="kind" x="75" y="181">anyone</text></g>',
    ]
    for arrow in arrows(settings):
        x, y = arrow.at
        drawn.append(
            f'<g class="part{state(arrow.keys)}" data-step="{arrow.step}" data-keys="{" ".join(arrow.keys)}">'
            f'<path class="way" d="{arrow.path}" '
            f'marker-end="url(#head)"/>{svg.text("label", x, y, arrow.label)}</g>'
        )
    for box in boxes(settings):
        middle = box.x + box.width // 2
        link = (links or {}).get(box.keys[0])
        if link:
            drawn.append(f'<a href="{svg.escaped(link)}">')
        drawn.append(
            f'<g class="box part{state(box.keys)}" data-step="{box.step}" data-keys="{" ".join(box.keys)}">'
            f"<title>{svg.escaped(box.name)}</title>"
            f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="70" rx="8"/>'
        )
        lines = lines_of(box.name, box.width // 9)
        for number, line in enumerate(lines):
            top = box.y + (28 if len(lines) == 1 else 20) + 17 * number
            drawn.append(svg.text("name", middle, top, line))
        drawn.append(f"{svg.text('kind', middle, box.y + 58, box.kind)}</g>")
        if link:
            drawn.append("</a>")
    drawn.append("</svg>")
    return "\n".join(drawn)


def lines_of(name: str, width: int) -> list[str]:
    """A name in the two lines that a box has room for, of two names one each; what is too long lacks its middle."""
    names = name.split(NEXT)
    lines = names if len(names) > 1 else textwrap.wrap(name, width)
    if len(lines) > 2:
        lines = [lines[0], "".join(lines[1:])]
    end = width // 2 - 2  # a learner's name is at the end
    return [line if len(line) <= width else f"{line[: width - 3 - end]}...{line[-end:]}" for line in lines]


# As Mermaid: https://mermaid.js.org/syntax/flowchart.html


def as_mermaid(
    settings: Settings, existing: Collection[str] | None = None, *, links: Mapping[str, str] | None = None
) -> str:
    """A flowchart for Markdown that shows Mermaid (GitHub, GitLab, many wikis); `existing` and `links` as for SVG."""
    lines = ["flowchart LR", '    client(["client"])']
    for box in boxes(settings):
        lines.append(f'    {mermaid_id(box.keys[0])}["{box.name.replace(NEXT, " ")}<br/>{box.kind}"]')
    ways = [
        ("client", "api", "POST", ("stage",)),
        ("api", "function", f"/{settings.path_part}", ("api", "permission")),
        ("queue", "function", "SQS trigger", ("trigger",)),
        ("function", "table", "items", ("function", "table")),
        ("function", "function-role", "runs as", ("function", "function-role")),
        ("function-role", "write-policy", "may do what they say", ("function-role/write-policy",)),
        ("api", "api-role", "sends as", ("api", "api-role")),
    ]
    if settings.has_queue_route:
        ways.insert(2, ("api", "queue", f"/{settings.path_part}/{settings.queue_path_part}", ("api", "queue")))
    if settings.has_dead_letter_queue:
        ways.append(("queue", "dead-letter-queue", f"after {settings.max_receive_count} receives", ("queue",)))
    for source, target, label, keys in ways:
        is_there = existing is None or all(key in existing for key in keys)
        arrow = "-->" if is_there else "-.->"
        lines.append(f'    {mermaid_id(source)} {arrow}|"{label}"| {mermaid_id(target)}')
    missing = [box for box in boxes(settings) if existing is not None and not set(box.keys) <= set(existing)]
    if missing:
        lines.append("    classDef missing stroke-dasharray: 4 4, opacity: 0.5")
        lines.append(f"    class {','.join(mermaid_id(box.keys[0]) for box in missing)} missing")
    for box in boxes(settings):
        if box.keys[0] in (links or {}):
            lines.append(f'    click {mermaid_id(box.keys[0])} "{(links or {})[box.keys[0]]}"')
    return "\n".join(lines) + "\n"


def mermaid_id(key: str) -> str:
    return key.replace("-", "_").replace("/", "_")
