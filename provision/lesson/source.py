"""The code that a lesson shows, part by part: what creates first, the rest of the step when it is asked for."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision import BESIDE, Step
from provision.lesson.tables import rows_of

# How the functions begin that create something.
CREATING = ("create_", "attach_", "integrate_", "add_", "deploy_")


@dataclass(frozen=True)
class Part:
    """Some functions of one file: a title, the file relative to the suite's folder, their names, what to see there."""

    title: str
    file: str
    names: tuple[str, ...]
    remark: str = ""

    def text(self) -> str:
        """Their source, in the order of the file. Raises ValueError when one is not there."""
        path = BESIDE / self.file
        try:
            source = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"{self.file} cannot be read ({error})") from error
        found = functions_of(source)
        missing = [name for name in self.names if name not in found]
        if missing:
            raise ValueError(f"{self.file} has no {missing[0]!r}")
        return "\n\n".join(text for name, text in found.items() if name in self.names)


def functions_of(source: str) -> dict[str, str]:
    """The source of each function, class and constant of a module, by its name."""
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            begin = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found[node.name] = "\n".join(lines[begin - 1 : node.end_lineno]) + "\n"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = "\n".join(lines[node.lineno - 1 : node.end_lineno]) + "\n"
    return found


def file_of(step: Step) -> str:
    return Path(step.load().__file__ or "").relative_to(BESIDE).as_posix()


def parts_of(step: Step, named: Sequence[Part] = ()) -> list[Part]:
    """What the key for the code shows of a step, one after the other: what its page names, then all the rest."""
    file = file_of(step)
    source = (BESIDE / file).read_text(encoding="utf-8")
    functions = [name for name, text in functions_of(source).items() if text.startswith(("def ", "class ", "@"))]
    creating = tuple(name for name in functions if name.startswith(CREATING))
    parts = list(named) or [Part(f"What step {step.number} creates", file, creating)]
    shown = {name for part in parts if part.file == file for name in part.names}
    rest = tuple(name for name in functions if name not in shown)
    return [*parts, Part("The rest of the step: find, update, wait", file, rest)]


def parse(text: str) -> list[Part]:
    """The parts that a page's section names. Raises ValueError, which says what is wrong with it."""
    parts = []
    for row in rows_of(text):
        if len(row) != 3 or ":" not in row[1]:
            raise ValueError("needs three cells in each row, the second like provision/table.py: create_table")
        file, _, names = row[1].replace("`", "").partition(":")
        parts.append(Part(row[0], file.strip(), tuple(name.strip() for name in names.split(",")), row[2]))
        parts[-1].text()
    return parts
