"""`replay`: plays what a run wrote down, or exports it."""

from __future__ import annotations

from provision.cli.results import Result
from provision.cli.session import Session
from provision.replay import command
from provision.replay.command import add_options
from provision.terminal.command_line import Parser, add_screen_options


def replay_parser() -> Parser:
    parser = Parser(
        prog="python -m provision replay",
        usage="%(prog)s [RUN] [OPTION ...]",
        description="Play what a run wrote down, or export it. It needs neither AWS nor a sandbox.",
        example="python -m provision replay --html page.html",
    )
    add_options(parser)
    add_screen_options(parser, documents=False)
    return parser


def replay(given: list[str], session: Session) -> Result:
    command_line = replay_parser()
    options = command_line.parse_args(given)
    session.begin(options)
    code, written = command.replay(options, session.screen), options.html or options.script
    return session.note(exit_code=code, file=str(written) if written else None)
