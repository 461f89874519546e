"""Lists of resources before something is done about them: by teardown, and when a lost state file is written anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provision.account.recovery import Recovered
from provision.record.views import show_outcome
from provision.state.entries import Resource
from provision.terminal.screen import Screen


def show_things(screen: Screen, title: str, resources: Sequence[Resource], details: Mapping[str, str]) -> None:
    """`details` has a remark by key, for those that need one."""
    screen.heading(title)
    for resource in resources:
        show_outcome(screen, "", resource.kind, resource.identity, details.get(resource.key, ""))


def show_removed(screen: Screen, word: str, resource: Resource, remark: str, *, told: bool) -> None:
    """What became of one resource of a teardown; `told`: the person knows it already."""
    if not told:
        show_outcome(screen, word, resource.kind, resource.identity, remark)


def show_recovered(screen: Screen, recovered: Recovered) -> None:
    """What the new state file will record, and what it will not."""
    adopted = {
        one.key: "a person made it, and it was adopted" for one in recovered.resources if one.origin == "adopted"
    }
    show_things(screen, f"To be recorded, of deployment {recovered.deployment}", recovered.resources, adopted)
    if recovered.left_out:
        screen.heading("Not to be recorded")
    for resource, why in recovered.left_out:
        show_outcome(screen, "", resource.kind, resource.identity, why)
