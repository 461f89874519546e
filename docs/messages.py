"""Every message with which a program can end, read from the source: its screen, and its exit code.

A message is made where a Stop is made, so the calls that make one are the list of all; nothing can be missing from it.
What is only known in a run stands in <brackets>.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from provision.terminal import outcome
from provision.terminal.screen import Screen

WIDTH = 110


@dataclass(frozen=True)
class Message:
    """One message: the module that ends with it, and the ending itself."""

    module: str
    line: int
    stop: outcome.UserError


def kinds_of_stop() -> dict[str, type[outcome.UserError]]:
    """Stop and all that are made from it, by name, as far as their modules are imported."""
    found: dict[str, type[outcome.UserError]] = {}
    waiting: list[type[outcome.UserError]] = [outcome.UserError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting += kind.__subclasses__()
    return found


def messages(modules: list[ModuleType]) -> Iterator[Message]:
    """Every message that these modules make."""
    for module in modules:
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        yield from messages_in(source, module.__name__, vars(module))


def messages_in(source: str, name: str, known: dict[str, Any]) -> Iterator[Message]:
    """Every message that a source makes; `known` has the values of its constants."""
    kinds = kinds_of_stop()
    tree = ast.parse(source)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name in kinds]
    for node in classes:
        for call in calls_in(node):
            if ast.unparse(call.func) == "super().__init__" and node.name != "UserError":
                yield from message(call, kinds[node.name], name, known)
    for call in calls_in(tree):
        kind = kinds.get(ast.unparse(call.func).rpartition(".")[2])
        if kind is not None and kind.__init__ is outcome.UserError.__init__:
            yield from message(call, kind, name, known)


def calls_in(node: ast.AST) -> list[ast.Call]:
    return [one for one in ast.walk(node) if isinstance(one, ast.Call)]


def message(call: ast.Call, kind: type[outcome.UserError], module: str, known: dict[str, Any]) -> Iterator[Message]:
    """What the call makes; nothing where it only passes on another message."""
    if not call.args or ast.unparse(call.args[0]).endswith(".what"):
        return
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    means = text(given["means"], known) if "means" in given else ""
    advice = tuple(lines(given["advice"], known)) if "advice" in given else ()
    code = kind.exit_code
    if isinstance(given.get("exit_code"), ast.Attribute):
        code = getattr(outcome, given["exit_code"].attr, code)
    what = text(call.args[0], known)
    yield Message(module, call.lineno, outcome.UserError(what, means=means, advice=advice, exit_code=code))


def lines(node: ast.expr, known: dict[str, Any]) -> Iterator[str]:
    """The lines of an advice."""
    if isinstance(node, ast.BinOp):
        yield from lines(node.left, known)
        yield from lines(node.right, known)
    elif isinstance(node, ast.Tuple):
        for one in node.elts:
            yield f"<{words(one.value)}>" if isinstance(one, ast.Starred) else text(one, known)
    else:
        yield f"<{words(node)}>"


def text(node: ast.expr, known: dict[str, Any]) -> str:
    """The text that an expression makes, as far as it can be known."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(one, known) for one in node.values)
    if isinstance(node, ast.FormattedValue):
        return text(node.value, known)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text(node.left, known) + text(node.right, known)
    if isinstance(node, ast.IfExp):
        return text(node.body, known)
    if isinstance(node, ast.Name) and isinstance(known.get(node.id), str) and node.id.isupper():
        return str(known[node.id])
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "program":
        return "python -m " + " ".join(text(one, known) for one in words_of_command(node))
    return f"<{words(node)}>"


def words_of_command(node: ast.Call) -> list[ast.expr]:
    options = node.args[1]
    return [node.args[0], *(options.elts if isinstance(options, ast.List) else [options])]


def words(node: ast.AST) -> str:
    """A name for what an expression stands for."""
    if isinstance(node, ast.Starred):
        return words(node.value)
    if isinstance(node, ast.Name):
        return node.id.replace("_", " ")
    if isinstance(node, ast.Attribute):
        return node.attr.replace("_", " ")
    if isinstance(node, ast.Subscript):
        key = node.slice
        return str(key.value) if isinstance(key, ast.Constant) and isinstance(key.value, str) else words(node.value)
    if isinstance(node, ast.Call):
        passes_on = isinstance(node.func, ast.Attribute) and node.func.attr in ("join", "strip", "total_seconds")
        passes_on = passes_on or (isinstance(node.func, ast.Name) and node.func.id in ("str", "repr", "list", "sorted"))
        return words(node.args[0]) if passes_on and node.args else words(node.func)
    if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
        return words(node.elt)
    if isinstance(node, (ast.BoolOp, ast.JoinedStr)):
        return words(node.values[0])
    if isinstance(node, ast.FormattedValue):
        return words(node.value)
    if isinstance(node, ast.IfExp):
        return words(node.body)
    return "..."


def screen_of(stop: outcome.UserError) -> str:
    """What a person sees of it in a terminal, without colours."""
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=True, color_system=None, emoji=False)
    shown = Screen(talk=console, data=console)
    shown.stopped(stop.error())
    return str(console.file.getvalue()).strip("\n")  # type: ignore[attr-defined]
