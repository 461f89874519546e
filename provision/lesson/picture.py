"""The architecture as a picture in which what exists is lit up: as text for the terminal, as SVG, as Mermaid."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from provision.settings import Settings


@dataclass(frozen=True)
class Box:
    """One resource of the picture, or two with a name each, and its place in the SVG.

    `keys` are those of the state file that it stands for; the first names the box. It exists when all of them do.
    """

    keys: tuple[str, ...]
    step: int
    kind: str
    names: tuple[str, ...]
    x: int
    y: int
    width: int = 170

    @property
    def name(self) -> str:
        return self.keys[0]


@dataclass(frozen=True)
class Arrow:
    """What joins two boxes, by their names. It is there when all of its keys are.

    `path` is its way in the SVG, `at` the place of its label; without a path it is left out there.
    """

    source: str
    target: str
    label: str
    keys: tuple[str, ...]
    step: int = 0
    path: str = ""
    at: tuple[int, int] = (0, 0)


def boxes(settings: Settings) -> Iterator[Box]:
    attached = ("function-role/write-policy", "function-role/read-policy")
    policies = (settings.write_policy, settings.read_policy)
    yield Box(("api",), 7, "REST API", (settings.api,), 240, 130, 150)
    yield Box(("function", "log-group"), 5, "function and log group", (settings.function,), 560, 130)
    yield Box(("table",), 3, "DynamoDB table", (settings.table,), 800, 130, 150)
    yield Box(("queue",), 4, "SQS queue, access policy", (settings.queue,), 380, 280, 180)
    yield Box(("function-role", *attached), 2, "role", (settings.function_role,), 530, 40, 230)
    yield Box(("api-role", "api-role/logs-policy"), 2, "role", (settings.api_role,), 200, 40, 190)
    yield Box(("write-policy", "read-policy"), 1, "policies", policies, 780, 40, 200)
    if settings.has_dead_letter_queue:
        yield Box(("dead-letter-queue",), 4, "dead-letter queue", (settings.dead_letter_queue,), 640, 280, 180)


def arrows(settings: Settings) -> Iterator[Arrow]:
    path = f"/{settings.path_part}"
    yield Arrow("client", "api", f"stage {settings.stage}", ("stage",), 8, "M130 165H238", (138, 157))
    yield Arrow("api", "function", path, ("api", "permission"), 7, "M390 165H558", (405, 157))
    if settings.has_queue_route:
        path += f"/{settings.queue_path_part}"
        yield Arrow("api", "queue", path, ("api", "queue"), 7, "M310 200C310 260 335 310 378 315", (130, 262))
    way = "M520 280C560 240 600 230 640 202"
    yield Arrow("queue", "function", "SQS trigger", ("trigger",), 6, way, (592, 245))
    if settings.has_dead_letter_queue:
        label, keys = f"after {settings.max_receive_count} receives", ("dead-letter-queue", "queue")
        yield Arrow("queue", "dead-letter-queue", label, keys, 4, "M560 315H638", (548, 370))
    yield Arrow("function", "table", "items", ("function", "table"), 5, "M730 165H798", (745, 157))
    yield Arrow("function", "function-role", "role", ("function", "function-role"))
    attached = ("function-role/write-policy", "function-role/read-policy")
    yield Arrow("function-role", "write-policy", "policies", attached)
    yield Arrow("api", "api-role", "role", ("api", "api-role"))


def is_there(keys: Collection[str], existing: Collection[str] | None) -> bool:
    """Whether all of these keys are among those that exist; None: everything exists."""
    return existing is None or all(key in existing for key in keys)


# As text.


def as_text(settings: Settings, existing: Collection[str], *, width: int = 80) -> Text:
    """One line for each arrow; what exists stands in [brackets], what does not in (round ones).

    So it can be told without colour, too. Nothing is drawn with characters that an old terminal lacks.
    """
    by_name = {box.name: box for box in boxes(settings)}
    drawn = Text()
    for arrow in arrows(settings):
        parts = list(box_as_text(by_name.get(arrow.source), existing))
        there = is_there(arrow.keys, existing)
        parts.append((f" ={arrow.label}=> ", "green") if there else (f" .{arrow.label}.> ", "dim"))
        drawn.append_text(folded([*parts, *box_as_text(by_name[arrow.target], existing)], width))
        drawn.append("\n")
    drawn.append("[there]  (not yet)", "dim")
    return drawn


def box_as_text(box: Box | None, existing: Collection[str]) -> Iterator[tuple[str, str]]:
    """The names in a box, each with its style; without a box the client."""
    if box is None:
        yield "client", ""
        return
    for number, name in enumerate(box.names):
        if number:
            yield " and ", ""
        keys = box.keys if len(box.names) == 1 else (box.keys[number],)
        words = f"table {name}" if box.name == "table" else name
        yield (f"[{words}]", "bold green") if is_there(keys, existing) else (f"({words})", "dim")


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


def as_svg(settings: Settings, existing: Collection[str] | None = None) -> str:
    """The picture as an SVG element, in the colours of the page that it stands in (--ink, --paper, --accent).

    Each part says by `data-keys` what it stands for, and by `data-step` with which step it is there. `existing` are
    the keys of what is there; None: everything.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # it takes time to import, and few need it

    environment = Environment(
        loader=PackageLoader("provision.lesson", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("picture.svg.j2").render(
        boxes=boxes(settings),
        arrows=[arrow for arrow in arrows(settings) if arrow.path],
        lines_of=lines_of,
        missing=lambda keys: "" if is_there(keys, existing) else " missing",
    )


def lines_of(names: Sequence[str], width: int) -> list[str]:
    """A name in the two lines that a box has room for, of two names one each; what is too long lacks its middle."""
    lines = list(names) if len(names) > 1 else textwrap.wrap(names[0], width)
    if len(lines) > 2:
        lines = [lines[0], "".join(lines[1:])]
    end = width // 2 - 2  # a learner's name is at the end
    return [line if len(line) <= width else f"{line[: width - 3 - end]}...{line[-end:]}" for line in lines]


# As Mermaid: https://mermaid.js.org/syntax/flowchart.html


def as_mermaid(settings: Settings, existing: Collection[str] | None = None) -> str:
    """A flowchart for Markdown that shows Mermaid (GitHub, GitLab, many wikis); `existing` as for SVG."""
    lines = ["flowchart LR", '    client(["client"])']
    for box in boxes(settings):
        lines.append(f'    {mermaid_id(box.name)}["{" ".join(box.names)}<br/>{box.kind}"]')
    for arrow in arrows(settings):
        drawn = "-->" if is_there(arrow.keys, existing) else "-.->"
        lines.append(f'    {mermaid_id(arrow.source)} {drawn}|"{arrow.label}"| {mermaid_id(arrow.target)}')
    missing = [mermaid_id(box.name) for box in boxes(settings) if not is_there(box.keys, existing)]
    if missing:
        lines += ["    classDef missing stroke-dasharray: 4 4, opacity: 0.5", f"    class {','.join(missing)} missing"]
    return "\n".join(lines) + "\n"


def mermaid_id(name: str) -> str:
    return name.replace("-", "_")
