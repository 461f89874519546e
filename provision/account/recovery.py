"""The ledger was lost: what of this account and Region goes into a new one. Reads only.

Not every mark on the settings' names will do. IAM is global, so the roles and policies of a deployment in another
Region bear the same names here; and a deployment that has a ledger must not get a second one.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.account.inventory import Survey, Thing
from provision.api import find_spare_apis, list_apis
from provision.aws.clients import Clients
from provision.policies import find_policy
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.ownership import TwoOfOurs
from provision.state.resources import PLACES
from provision.terminal import outcome

TIMES = 3  # looks for what is not seen: what is missed here would be missing in the ledger


class CannotRecover(outcome.Stop):
    """No ledger was written, and nothing in the account was changed."""


@dataclass(frozen=True)
class Recovered:
    """What the new ledger will record, and what it will not, with the reason."""

    deployment: str
    resources: list[Resource]
    left_out: list[tuple[Thing, str]]


def recover(
    aws: Clients, settings: Settings, survey: Survey, chosen: str | None, others: Mapping[str, Path]
) -> Recovered:
    """What of the survey goes into a new ledger. `chosen` is the deployment, if a person named it.

    `others` are the deployments that have a ledger in the same folder. Raises CannotRecover.
    """
    deployment = which(aws, survey, chosen)
    if deployment in others:
        raise CannotRecover(
            f"Deployment {deployment}, whose mark these names carry, has a ledger: {others[deployment]}.",
            means="Two ledgers of one deployment would undo each other's work. No other was written.",
            advice=(f"Name it: --state {others[deployment]}, with the --region that it is for.",),
        )
    unread = [unanswered for unanswered in survey.unanswered if unanswered.key]
    if unread:
        raise CannotRecover(
            "Not everything could be looked at: " + ", ".join(map(str, unread)) + ".",
            means="A ledger that lacks something would leave it behind for ever. None was written.",
            advice=("Ask for the permission to read it, then run the same command again.",),
        )
    unreadable = [thing for thing in survey.things if thing.key and thing.is_unreadable]
    if unreadable:
        raise CannotRecover(
            "The tags of "
            + ", ".join(" ".join(thing.identity.values()) for thing in unreadable)
            + " could not be read.",
            means="Without them nobody can tell whose it is, and a ledger that lacks it would leave it behind. "
            "None was written.",
            advice=("Ask for the permission to read its tags, then run the same command again.",),
        )
    api_id = which_api(aws, settings, survey, deployment)
    ours = [thing for thing in survey.things if is_ours(thing, survey, deployment, api_id)]
    if all(PLACES[key_of(thing)].kind.startswith("iam:") for thing in ours) and not chosen:
        refuse_those_of_another_region(aws, deployment, ours)
    by_key = {key_of(thing): thing for thing in ours}
    resources = [entry(settings, by_key, key) for key in PLACES if key in by_key]
    left_out = [(thing, why_not(thing, deployment)) for thing in survey.things if thing not in ours]
    return Recovered(deployment, resources, left_out)


def which(aws: Clients, survey: Survey, chosen: str | None) -> str:
    """The one deployment whose mark is on the settings' names."""
    found: dict[str, int] = {}
    for thing in survey.things:
        if thing.key and thing.mark:
            found[thing.mark] = found.get(thing.mark, 0) + 1
    where = f"account {aws.account_id}, Region {aws.region}"
    if chosen is not None:
        if chosen not in found:
            raise CannotRecover(
                f"Nothing with these names in {where} carries the mark of {chosen}.",
                means="No ledger was written." + (f" The marks there are: {', '.join(found)}." if found else ""),
                advice=("Name one of those, the --learner it was made for, or its --region.",),
            )
        return chosen
    if not found:
        open_questions = ", ".join(map(str, survey.unanswered))
        raise CannotRecover(
            f"Nothing with these names in {where} carries a mark of this suite.",
            means="There is nothing to recover, and no ledger was written."
            if not open_questions
            else f"No ledger was written. Not everything could be looked at: {open_questions}.",
            advice=("If it was made in another Region, or for a --learner, name that.",),
        )
    if len(found) > 1:
        raise CannotRecover(
            "Several deployments' marks are on these names: "
            + ", ".join(f"{mark} ({count} things)" for mark, count in sorted(found.items()))
            + ".",
            means="One ledger is one deployment. None was written. Roles and policies are the same in all Regions: "
            "a mark that only they carry may be that of a deployment in another Region.",
            advice=("Say which: --deployment " + sorted(found, key=lambda mark: -found[mark])[0],),
        )
    return next(iter(found))


def which_api(aws: Clients, settings: Settings, survey: Survey, deployment: str) -> str | None:
    """The id of the deployment's API, under any name. An empty second one, left by a lost answer, is not it."""
    marked = [
        thing.outputs["id"]
        for thing in survey.things
        if thing.kind == "apigateway:rest-api" and thing.mark == deployment
    ]
    if len(marked) > 1:
        apis = list_apis(aws.apigateway)
        spare = {api["id"] for api in find_spare_apis(aws.apigateway, apis, settings.api, deployment, None)}
        marked = [api_id for api_id in marked if api_id not in spare]
        if len(marked) > 1:
            raise TwoOfOurs("apigateway:rest-api", settings.api, marked)
    return marked[0] if marked else None


def is_ours(thing: Thing, survey: Survey, deployment: str, api_id: str | None) -> bool:
    if thing.going:
        return False
    if thing.kind == "apigateway:rest-api":
        return thing.outputs["id"] == api_id
    if thing.kind == "apigateway:stage":
        return thing.identity["restApiId"] == api_id
    if thing.key == "trigger" and not thing.can_be_tagged:  # not in every partition: its two ends prove it
        return all(
            any(end.key == key and end.mark == deployment for end in survey.things) for key in ("queue", "function")
        )
    return bool(thing.key) and thing.mark == deployment


def key_of(thing: Thing) -> str:
    return "api" if thing.kind == "apigateway:rest-api" else thing.key


def why_not(thing: Thing, deployment: str) -> str:
    if thing.going:
        return "AWS is deleting it already"
    if thing.mark == deployment:
        return "carries the mark, but a ledger has no place for it"
    return thing.whose


def entry(settings: Settings, ours: Mapping[str, Thing], key: str) -> Resource:
    """The entry that the lost ledger may have had, as far as AWS tells it.

    Which roles the queue's policy and the function were written for it does not tell; the next build writes them again.
    """
    thing = ours[key]
    place = PLACES[key]
    identity = {"name": settings.api} if key == "api" else thing.identity
    return Resource(
        key=key,
        kind=place.kind,
        step=place.step,
        identity=identity,
        outputs=thing.outputs,
        origin="adopted" if was_there_before(ours, key) else "created",
        status="created",
        since=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        parent=thing.parent,
    )


def was_there_before(ours: Mapping[str, Thing], key: str) -> bool:
    """Whether a person made it, and the deployment took it over: then a teardown leaves it.

    What carries no tags of its own and joins two things was made after both. Only between two adopted ones can it have
    been there; whether it was nobody knows any more, so it stays.
    """
    if key in ("permission", "stage"):  # their names, and the API that they are for, are the suite's
        return False
    ends = {
        "function-role/write-policy": ("function-role", "write-policy"),
        "function-role/read-policy": ("function-role", "read-policy"),
        "api-role/logs-policy": ("api-role",),  # the policy is AWS's own
    }.get(key, (key,))
    if key == "trigger" and not ours[key].can_be_tagged:
        ends = ("queue", "function")
    return all(end not in ours or ours[end].is_adopted for end in ends)


def refuse_those_of_another_region(aws: Clients, deployment: str, ours: list[Thing]) -> None:
    """Roles and policies alone may belong to a deployment that lives in another Region; the policies tell.

    Their documents name the table and the queue. Raises CannotRecover unless they name this Region's.
    """
    regions = {region for thing in ours if thing.kind == "iam:policy" for region in regions_in(aws, thing)}
    if regions == {aws.region}:
        return
    if regions:
        raise CannotRecover(
            f"Deployment {deployment} is in Region {', '.join(sorted(regions))}; here it has nothing but its roles and "
            "policies, which are the same in all Regions.",
            means="No ledger was written.",
            advice=(f"Recover it there: --region {min(regions)}",),
        )
    raise CannotRecover(
        f"Deployment {deployment} has nothing in Region {aws.region} but roles and policies, which are the same in all "
        "Regions.",
        means="Whether it was made in this Region they do not say. No ledger was written.",
        advice=(f"If it was: --deployment {deployment}", "else name its --region."),
    )


def regions_in(aws: Clients, policy: Thing) -> set[str]:
    """The Regions of the resources that a policy's document names."""
    arn = policy.identity["PolicyArn"]
    found = find_policy(aws.iam, arn)
    if found is None:
        return set()
    version = aws.iam.get_policy_version(PolicyArn=arn, VersionId=found["DefaultVersionId"])
    named: set[str] = set()
    for statement in as_list(version["PolicyVersion"]["Document"].get("Statement")):
        for resource in as_list(statement.get("Resource")):
            parts = str(resource).split(":")
            if len(parts) > 3 and parts[3] not in ("", "*"):
                named.add(parts[3])
    return named


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def ledgers_in(folder: Path) -> dict[Path, dict[str, Any]]:
    """The files in a folder that are ledgers, with what they say, unchecked."""
    found = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and "deployment" in content and "resources" in content:
            found[path] = content
    return found
