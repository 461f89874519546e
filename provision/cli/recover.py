"""`--recover`: look up what there is, and write the lost state file anew."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from provision.account.inventory import take_inventory
from provision.account.outcomes import outcome_of
from provision.account.recovery import TIMES, CannotRecover, recover, state_files_in
from provision.cli.deployment import connected, path_before_connecting, path_of_state
from provision.cli.ending import explained
from provision.cli.options import target_arguments
from provision.cli.results import Result
from provision.cli.session import Session
from provision.cli.views.banner import show_place, show_warnings
from provision.cli.views.resources import show_recovered
from provision.settings import Settings
from provision.state.file import StateRefused
from provision.state.state import State
from provision.terminal import prompts
from provision.terminal.shell import program, to_move


def write_anew(options: argparse.Namespace, settings: Settings, session: Session) -> Result:
    """`--recover`: look up what there is, show it, and write the lost state file anew. The account stays as it is."""
    refuse_where_there_is_a_state_file(path_before_connecting(options))
    session.note(command="recover")
    screen = session.screen
    aws = connected(options, session, without="refuse")
    path = path_of_state(options, aws)
    refuse_where_there_is_a_state_file(path)
    state = State.open(path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
    state.keep_rules(settings.rules)
    try:
        session.note_place(aws)
        show_place(screen, aws, options.sources)
        screen.keep(f"State file     {state.path} (lost)")
        show_warnings(screen, aws)
        screen.say()
        screen.say("Looking in the account ...")
        with explained(aws, step="looking in the account"):
            seen = take_inventory(aws, settings, times=TIMES)
            others = {content["deployment"]: other for other, content in state_files_in(path.parent).items()}
            try:
                recovered = recover(aws, settings, seen, options.deployment, others)
            except CannotRecover as stop:
                found = tuple((resource.kind, resource.identity, resource.described) for resource in seen.resources)
                raise stop.with_words(resources=found) from stop
        state.recover(recovered.deployment, recovered.resources)
        session.note(
            *(outcome_of(one, "recorded", one.step) for one in recovered.resources),
            deployment=recovered.deployment,
            state_file=str(path),
            learner=settings.learner,
        )
        show_recovered(screen, recovered)
        if seen.not_listed:
            names = ", ".join(map(str, seen.not_listed))
            screen.warn(f"Not looked at: {names}. If it was built with --auth api-key, ask for the permission first.")
        if not (options.yes or options.sandbox):
            prompts.ask(
                screen, f"Write the state file {path} with these {len(state.resources)} resources?", flag="--yes"
            )
        state.save()
    finally:
        state.close()
    arguments = target_arguments(options, aws)
    screen.say()
    screen.say(
        f"The state file of deployment {state.deployment} is written; nothing in the account was changed.", "bold green"
    )
    screen.say("To complete and update what it records", "bold")
    screen.tell(program("provision", arguments))
    screen.say("To take everything down", "bold")
    screen.tell(program("teardown", arguments))
    return session.result


def refuse_where_there_is_a_state_file(path: Path | None) -> None:
    if path is None or not os.path.lexists(path):
        return
    raise StateRefused(
        f"There is a state file at {path}.",
        means="To recover is for one that was lost. Nothing was overwritten.",
        advice=(
            "If it is the right one, leave --recover out.",
            "If it is of no use, move it away, and run the same command again:",
            f"    {to_move(path)}",
        ),
    )
