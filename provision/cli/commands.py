"""The commands of `python -m provision`, each with the module that is loaded for it.

So a command starts without what only others need.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.cli.results import Result
from provision.cli.session import Session
from provision.terminal.command_line import Parser


@dataclass(frozen=True)
class Command:
    """The module `module` of this folder has the function `runs`, which is the command, and NAME_parser."""

    name: str
    what: str
    module: str
    runs: str

    def run(self, given: list[str], session: Session) -> Result:
        result: Result = self._load(self.runs)(given, session)
        return result

    def parser(self) -> Parser:
        parser: Parser = self._load(f"{self.name}_parser")()
        return parser

    def _load(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(importlib.import_module(f"provision.cli.{self.module}"), name)
        return function


BUILD = "build"

COMMANDS = {
    command.name: command
    for command in (
        Command(BUILD, "build it, or update what has drifted; also without a command", "build_line", "build"),
        Command("doctor", "whether a build would work from here, and what to do if not", "doctor", "doctor"),
        Command("status", "what exists, what has drifted, and what waits in the queues", "status", "status"),
        Command("check", "whether it is what the walkthrough asks for, whoever made it", "check", "check"),
        Command("break", "an exercise: put one fault into it, to find and to mend", "exercise", "break_it"),
        Command("hint", "help with what is broken, in three hints", "exercise", "hint"),
        Command("heal", "put back what break has changed, and say what it was", "exercise", "heal"),
        Command("trace", "follow one request by each route, and see when it was where", "trace", "trace"),
        Command("diagram", "the architecture as a picture, with your names", "diagram", "diagram"),
        Command("shell", "a shell in which plain aws and boto3 speak to the sandbox", "shell", "shell"),
        Command("report", "what was done in the lesson, as a page to hand in", "report", "report"),
        Command("replay", "play a run again, or make a page or a script of it", "replay", "replay"),
        Command("errata", "where the walkthrough is wrong, and what is done about it", "errata", "errata"),
    )
}
