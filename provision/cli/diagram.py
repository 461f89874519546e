"""`diagram`: the architecture as a picture."""

from __future__ import annotations

from pathlib import Path

from provision.cli.deployment import begun, check_state, connected, path_before_connecting, path_of_state
from provision.cli.options import (
    add_target_options,
    target_arguments,
)
from provision.cli.results import Result
from provision.cli.session import Session
from provision.lesson import diagram as pictures
from provision.terminal.command_line import Parser
from provision.terminal.shell import is_unicode, program
from provision.terminal.writing import write_file


def diagram_parser() -> Parser:
    parser = Parser(
        prog="python -m provision diagram",
        description="The architecture as a picture, with what is there by the state file.",
        example="python -m provision diagram --sandbox --out picture.svg",
    )
    add_target_options(parser, asks=False, presents=False, calls=False)
    parser.add_argument("--as-written", action="store_true", help="it was built so")
    parser.add_argument("--format", choices=pictures.FORMATS, help="default: by the ending of OUT, else text")
    parser.add_argument("--out", metavar="OUT", type=Path, help="a file in the place of stdout")
    return parser


def diagram(given: list[str], session: Session) -> Result:
    """`diagram`: from the state file alone, where its place is known without asking for the account."""
    screen = session.screen
    options, settings = begun(diagram_parser(), given, session)
    check_state(options)
    path = path_before_connecting(options)
    if path is None:  # it bears the account's number, which nothing else is asked for
        path = path_of_state(options, connected(options, session))
    form = pictures.form_of(options.out, options.format)
    in_unicode = bool(options.out) or is_unicode(screen.data.encoding)
    settings = pictures.with_rules(settings, path)
    drawn = pictures.diagram(settings, pictures.read(path), form, width=screen.width, in_unicode=in_unicode)
    session.note(picture=str(drawn), file=str(options.out) if options.out else None)
    if options.out:
        write_file(options.out, str(drawn), screen)
    elif form == "text":
        screen.data.print(drawn, soft_wrap=True)
    else:
        screen.tell(str(drawn).rstrip("\n"))
    screen.say("Drawn from the state file. To look into the account:", "dim")
    screen.keep(program("provision", ["status", *target_arguments(options)]), "dim")
    return session.result
