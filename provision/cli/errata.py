"""`errata`: where the walkthrough contradicts itself or AWS."""

from __future__ import annotations

from provision.cli.results import Result
from provision.cli.session import Session
from provision.cli.views.errata import show_errata
from provision.errata import ERRATA
from provision.terminal.command_line import Parser, add_screen_options


def errata_parser() -> Parser:
    parser = Parser(
        prog="python -m provision errata",
        usage="%(prog)s [N] [OPTION ...]",
        description="Where the walkthrough contradicts itself or AWS, what is true, and what is done about it.",
        example="python -m provision errata 7",
    )
    parser.add_argument("number", metavar="N", nargs="?", help="this one, and what it costs to ignore it")
    add_screen_options(parser, presents=False)
    return parser


def errata(given: list[str], session: Session) -> Result:
    command_line = errata_parser()
    options = command_line.parse_args(given)
    wanted = tuple(one for one in ERRATA if options.number in (None, str(one.number)))
    if not wanted:
        last = ERRATA[-1].number
        command_line.error(f"there is no erratum {options.number!r}; they are {ERRATA[0].number} to {last}")
    session.begin(options)
    show_errata(session.screen, wanted)
    return session.note(errata=wanted)
