"""Before anything is done: where it will be done, by whom, and from where each of that is known."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from provision.aws.clients import Clients
from provision.settings import DEFAULT_REGION, Settings
from provision.state.state import State
from provision.terminal.screen import Screen
from provision.terminal.text import plural

IN_BANNER = ("region", "profile", "endpoint_url", "state", "learner")  # options with a line of their own there

ENOUGH = 10  # minutes that credentials should last at least: on AWS a build takes two or three, more in a class


def show_banner(screen: Screen, aws: Clients, settings: Settings, state: State, sources: Mapping[str, str]) -> None:
    """The deployment and its place. `sources` says of each option that is no default where its value came from."""
    show_place(screen, aws, sources)
    how_old = "new" if state.is_new else f"{plural(len(state.standing), 'resource')} recorded"
    if aws.is_sandbox:
        screen.keep(f"State file     {state.path} ({how_old}){in_brackets(sources.get('state'))}")
    else:
        screen.keep(f"Deployment     {state.deployment} ({how_old})")
        screen.keep(f"State file     {state.path}{in_brackets(sources.get('state'))}")
    if settings.learner:
        screen.say(f"Learner        {settings.learner}{in_brackets(sources.get('learner'))}")
    show_rules(screen, settings, state)
    if settings.as_written:
        screen.prose("As written     ", "what the walkthrough literally says, with its faults", "yellow")
    show_warnings(screen, aws)


def show_place(screen: Screen, aws: Clients, sources: Mapping[str, str]) -> None:
    """Account, caller and Region, each with where it came from."""
    if aws.is_sandbox:
        source = "" if aws.region == DEFAULT_REGION else f" ({aws.region_from.source})"
        place = "none is running: this is the plan for an empty one" if aws.is_empty else aws.base_url
        screen.prose("Local AWS      ", f"{place}   Region {aws.region}{source}", "bold")
    else:
        show_account(screen, aws)
        screen.prose("Region         ", f"{aws.region} ({aws.region_from.source})")
    for source in sorted(set(sources.values())):
        names = [name for name, where in sources.items() if where == source and name not in IN_BANNER]
        if names and not source.startswith("--"):
            screen.keep(f"Setting        {', '.join(sorted(names)).replace('_', '-')} ({source})")


def show_account(screen: Screen, aws: Clients) -> None:
    """Whose account it is, who calls, and for how long the credentials last."""
    if aws.endpoint:
        where = f"{aws.endpoint}, which is NOT AWS ({aws.endpoint_from})"
        screen.prose("Endpoint       ", where, "bold yellow")
    alias = f" ({aws.alias})" if aws.alias else ""
    screen.keep(f"Account        {aws.account_id}{alias}", "bold")
    screen.keep(f"Caller         {aws.caller}")
    left = "" if aws.expires is None else f", which end in {minutes_until(aws.expires)} min"
    if aws.profile_from:
        screen.keep(f"Profile        {aws.profile_from.value} ({aws.profile_from.source})")
    screen.keep(f"Credentials    {aws.credentials_from}{left}")
    if aws.expires is not None and minutes_until(aws.expires) < ENOUGH:
        screen.warn(
            f"These credentials end in {minutes_until(aws.expires)} minutes. A run that they end goes on "
            "when it is started again with new ones."
        )


def show_rules(screen: Screen, settings: Settings, state: State) -> None:
    """What the account's rules ask for, and whether an earlier run was told so."""
    rules = settings.rules
    words = [
        *([f"permissions boundary {rules.permissions_boundary.split('/')[-1]}"] if rules.permissions_boundary else []),
        *([f"roles in {rules.role_path}"] if rules.role_path else []),
        *(f"tag {key}={value}" for key, value in rules.tags),
        *(
            f"role {arn.split('/')[-1]} of somebody else"
            for arn in (rules.lambda_role_arn, rules.apigateway_role_arn)
            if arn
        ),
        *([f"{rules.throttle} requests a second on each route"] if rules.throttle else []),
        *([f"callers from {', '.join(settings.source_ips)}"] if settings.source_ips else []),
        *(["signed requests only"] if rules.auth == "iam" else []),
        *(["requests with the API key only"] if rules.auth == "api-key" else []),
    ]
    if words:
        kept = " (kept in the state file)" if state.kept_rules == rules and not state.is_new else ""
        screen.prose("Options        ", f"{', '.join(words)}{kept}")


def show_warnings(screen: Screen, aws: Clients) -> None:
    for warning in aws.warnings:
        screen.warn(warning)


def hide_ids(screen: Screen, aws: Clients, state: State) -> None:
    """When presenting: what an audience could misuse is shown by its name only."""
    screen.hide(aws.account_id, "account")
    if aws.alias:
        screen.hide(aws.alias, "alias")
    screen.hide(aws.caller, "caller")
    for entry in state.resources:
        screen.hide(entry.outputs.get("id", ""), f"id of {entry.key}")


def in_brackets(source: str | None) -> str:
    """Where an option's value came from; "" of a default."""
    return "" if source is None else f" ({source})"


def minutes_until(moment: datetime.datetime) -> int:
    return max(0, int((moment - datetime.datetime.now(datetime.timezone.utc)).total_seconds() // 60))
