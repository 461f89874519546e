"""The architecture drawn with boxes and arrows, for a terminal that is wide enough."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rich.text import Text

from provision.lesson import picture
from provision.lesson.picture import Arrow, Box, arrows, boxes, is_there
from provision.settings import Settings

THERE, NOT_YET = "green", "dim"
GAP = 20  # columns between the boxes on the left and the function
LEFT = 2

# What is there, and what is not yet: corners, lines, and the ends of arrows. Without Unicode the dots tell them apart.
LINES = {True: "┌┐└┘─│▶▼▲", False: "┌┐└┘┄┆▷▽△"}
ASCII_LINES = {True: "++++-|>v^", False: ".....:>:^"}


class Canvas:
    """Characters by row and column, each with a style."""

    def __init__(self, *, in_unicode: bool) -> None:
        self.lines = LINES if in_unicode else ASCII_LINES
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}

    def put(self, row: int, column: int, text: str, style: str = "") -> None:
        for offset, character in enumerate(text):
            self.cells[row, column + offset] = (character, style)

    def box(self, row: int, column: int, name: str, *, width: int, there: bool) -> None:
        """Three rows high."""
        up_left, up_right, down_left, down_right, across, down, *_ = list(self.lines[there])
        style = THERE if there else NOT_YET
        self.put(row, column, up_left + across * (width - 2) + up_right, style)
        self.put(row + 1, column, f"{down} {name:<{width - 4}} {down}", style)
        self.put(row + 1, column + 2, name, f"bold {style}" if there else style)
        self.put(row + 2, column, down_left + across * (width - 2) + down_right, style)

    def right(self, row: int, start: int, end: int, label: str, *, there: bool) -> None:
        """An arrow from one column to another, with its label above it."""
        line, head = self.lines[there][4], self.lines[there][6]
        self.put(row, start, line * (end - start - 1) + head, THERE if there else NOT_YET)
        self.put(row - 1, start + (end - start - len(label)) // 2, label)

    def down(self, column: int, start: int, end: int, label: str, *, there: bool) -> None:
        """An arrow from one row to another, with its label beside its first row."""
        style = THERE if there else NOT_YET
        for row in range(start, end):
            self.put(row, column, self.lines[there][5], style)
        self.put(end, column, self.lines[there][7], style)
        self.put(start, column + 2, label)

    def text(self) -> Text:
        drawn = Text()
        for row in range(max(row for row, _ in self.cells) + 1):
            columns = [column for at, column in self.cells if at == row]
            for column in range(max(columns, default=-1) + 1):
                drawn.append(*self.cells.get((row, column), (" ", "")))
            drawn.append("\n")
        return drawn


def as_text(settings: Settings, existing: Collection[str], *, width: int, in_unicode: bool) -> Text:
    """The picture as boxes and arrows; in fewer columns than that needs a line for each arrow."""
    drawn = as_drawing(settings, existing, width=width, in_unicode=in_unicode)
    return drawn or picture.as_text(settings, existing, width=width)


def as_drawing(settings: Settings, existing: Collection[str], *, width: int, in_unicode: bool) -> Text | None:
    """The picture, with what exists solid and green, and the rest dotted; None where it needs more columns."""
    box = {one.name: one for one in boxes(settings)}
    arrow = {(one.source, one.target): one for one in arrows(settings)}
    left = max(len(box[name].names[0]) for name in ("api", "queue", "dead-letter-queue") if name in box) + 4
    function = LEFT + left + GAP
    table = f"table {box['table'].names[0]}"
    right = len(box["function"].names[0]) + 4
    if function + max(right, len(table) + 9) >= width:
        return None
    canvas = Canvas(in_unicode=in_unicode)

    def draw(name: str, row: int, column: int, size: int, label: str = "") -> None:
        one = box[name]
        canvas.box(row, column, label or one.names[0], width=size, there=is_there(one.keys, existing))

    def lit(one: Arrow) -> bool:
        return is_there(one.keys, existing)

    stage, direct, items = arrow["client", "api"], arrow["api", "function"], arrow["function", "table"]
    trigger = arrow["queue", "function"]
    canvas.put(0, LEFT + 1, "client")
    canvas.down(LEFT + 3, 1, 1, stage.label, there=lit(stage))
    draw("api", 2, LEFT, left)
    draw("function", 2, function, right)
    canvas.right(3, LEFT + left, function, direct.label, there=lit(direct))
    if ("api", "queue") in arrow:
        canvas.down(LEFT + 3, 5, 6, arrow["api", "queue"].label, there=lit(arrow["api", "queue"]))
    draw("queue", 7, LEFT, left)
    # From the queue to the right, and up to the function.
    across, down, style = (
        canvas.lines[lit(trigger)][4],
        canvas.lines[lit(trigger)][5],
        THERE if lit(trigger) else NOT_YET,
    )
    canvas.put(8, LEFT + left, across * (function + 2 - LEFT - left) + canvas.lines[lit(trigger)][3], style)
    for row in (6, 7):
        canvas.put(row, function + 2, down, style)
    canvas.put(5, function + 2, canvas.lines[lit(trigger)][8], style)
    canvas.put(7, function + 1 - len(trigger.label), trigger.label)
    canvas.down(function + right - 4, 5, 6, "", there=lit(items))
    canvas.put(5, function + right - 4 - len(items.label) - 1, items.label)
    draw("table", 7, function + 5, len(table) + 4, table)
    if "dead-letter-queue" in box:
        dead = arrow["queue", "dead-letter-queue"]
        canvas.down(LEFT + 3, 10, 10, dead.label, there=lit(dead))
        draw("dead-letter-queue", 11, LEFT, left)
    drawn = canvas.text()
    for line in roles(box, existing):
        drawn.append_text(line)
    drawn.append("  solid: there; dotted, and in (brackets): not yet", NOT_YET)
    return drawn


def roles(box: dict[str, Box], existing: Collection[str]) -> Iterator[Text]:
    """The roles with their policies, one a line; what does not exist yet in (brackets)."""

    def name(text: str, keys: Collection[str]) -> tuple[str, str]:
        return (text, f"bold {THERE}") if is_there(keys, existing) else (f"({text})", NOT_YET)

    policies = box["write-policy"]
    for key, whose in (("function-role", "function's role"), ("api-role", "API's role")):
        line = Text.assemble(f"  {whose:<16}", name(box[key].names[0], box[key].keys), "\n")
        yield line
        if key == "function-role":
            first, second = (name(text, (key,)) for text, key in zip(policies.names, policies.keys, strict=True))
            yield Text.assemble(f"  {'':<16}with ", first, "\n")
            yield Text.assemble(f"  {'':<16}and  ", second, "\n")
