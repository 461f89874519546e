"""`--as-written` on an account: only a person at the terminal, who typed the option, can agree to what it opens."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from provision.aws.clients import Clients
from provision.settings import Settings
from provision.terminal import outcome, prompts
from provision.terminal.screen import Screen

OPTION = "--as-written"
IN_THE_SANDBOX = "The sandbox shows the same, and opens nothing: add --sandbox."


def agree_to_as_written(screen: Screen, aws: Clients, settings: Settings, sources: Mapping[str, str]) -> None:
    """Say what it makes public in this account, and ask. Not in a sandbox or emulator, where there is nothing to open.

    --yes does not answer it, and no other option does: a pipeline has the sandbox. Raises UserError without consent,
    where nobody is there to be asked, and where the option comes from a file or the environment.
    """
    if not settings.as_written or aws.endpoint is not None:
        return
    source = sources.get("as_written", OPTION)
    if source != OPTION:
        raise outcome.UserError(
            f"as-written is set in {source}. On an account it counts only where it is typed, as {OPTION}.",
            means="What it builds opens every table of the account to who has the URL. Nothing was changed.",
            advice=(f"Take it out of there, and type {OPTION} if it is meant.", IN_THE_SANDBOX),
            exit_code=outcome.USAGE,
        )
    public = (
        "As written, whoever knows the Invoke URL can read, change and delete items in every DynamoDB table of account "
        f"{aws.account_id} in Region {aws.region}, also in those that have nothing to do with this (errata 6 and 7)."
    )
    if not sys.stdin.isatty():
        raise outcome.UserError(
            f"{public} Nobody is there to agree to that: this is not a terminal.",
            means="Nothing was changed. --yes does not cover it, and no other option does.",
            advice=("Run it in a terminal, and answer the question.", IN_THE_SANDBOX),
            exit_code=outcome.USAGE,
        )
    screen.say()
    screen.warn(public)
    prompts.ask(screen, "Build it so?", flag=OPTION)
