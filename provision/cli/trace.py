"""`trace`: follows one request by each route. What it sends it takes away again."""

from __future__ import annotations

from contextlib import closing

from provision.account.request_trace import follow_all, follow_poison, poison_takes, refuse_unless_built
from provision.cli.deployment import begun, deployment
from provision.cli.ending import explained
from provision.cli.options import (
    add_target_options,
)
from provision.cli.results import Result
from provision.cli.session import Session
from provision.record.views import show_hop
from provision.state.state import State
from provision.terminal.command_line import Parser


def trace_parser() -> Parser:
    parser = Parser(
        prog="python -m provision trace",
        description="Follow one request by each route, and show each hop with its time.",
        example="python -m provision trace --sandbox",
    )
    add_target_options(parser, asks=False)
    parser.add_argument("--as-written", action="store_true", help="it was built so")
    parser.add_argument(
        "--poison",
        action="store_true",
        help="send a message that must be refused, and follow it to the dead-letter queue",
    )
    return parser


def trace(given: list[str], session: Session) -> Result:
    """`trace`: nothing is built, and what is sent is taken away again."""
    screen = session.screen
    options, settings = begun(trace_parser(), given, session)
    with (
        deployment("trace", given, options, settings, session, kind=State) as (aws, settings, state),
        explained(aws),
        aws.calls.in_step("trace"),
    ):
        refuse_unless_built(state)
        if options.poison:
            receives, pause = poison_takes(aws, state)
            screen.say(
                f"The message will be received {receives} times, {pause} s apart: about {receives * pause} s until "
                "it is in the dead-letter queue."
            )
            hops = follow_poison(aws, settings, state)
        else:
            hops = follow_all(aws, settings, state)
        with closing(hops):  # when the screen fails, what was sent is taken away all the same
            for hop in hops:
                is_first = all(one.route != hop.route for one in session.result.hops)
                session.note(hops=(*session.result.hops, hop))
                show_hop(screen, **vars(hop), is_first=is_first)
                session.transcript.hop(**vars(hop))
    screen.say()
    screen.say("Times count from when the client sent. What was sent is gone again.", "dim")
    return session.result
