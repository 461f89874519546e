"""The state file was lost: what of this account and Region goes into a new one. Reads only.

Not every tag on the settings' names will do. IAM is global, so the roles and policies of a deployment in another
Region bear the same names here; and a deployment that has a state file must not get a second one.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.account.inventory import FoundResource, Inventory
from provision.api import find_spare_apis, list_apis
from provision.aws.clients import Clients
from provision.policies import find_policy
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.ownership import TwoOfOurs
from provision.state.resources import PLACES
from provision.terminal import outcome

TIMES = 3  # looks for what is not seen: what is missed here would be missing in the state file


class CannotRecover(outcome.UserError):
    """No state file was written, and nothing in the account was changed."""

    code = "cannot-recover"


@dataclass(frozen=True)
class Recovered:
    """What the new state file will record, and what it will not, with the reason."""

    deployment: str
    resources: list[Resource]
    left_out: list[tuple[FoundResource, str]]


def recover(
    aws: Clients, settings: Settings, inventory: Inventory, chosen: str | None, others: Mapping[str, Path]
) -> Recovered:
    """What of the survey goes into a new state file. `chosen` is the deployment, if a person named it.

    `others` are the deployments that have a state file in the same folder. Raises CannotRecover.
    """
    deployment = which(aws, inventory, chosen)
    if deployment in others:
        raise CannotRecover(
            f"Deployment {deployment}, whose tag these names carry, has a state file: {others[deployment]}.",
            means="Two state files of one deployment would undo each other's work. No other was written.",
            advice=(f"Name it: --state {others[deployment]}, with the --region that it is for.",),
        )
    unread = [unanswered for unanswered in inventory.unanswered if unanswered.key]
    if unread:
        raise CannotRecover(
            "Not everything could be looked at: " + ", ".join(map(str, unread)) + ".",
            means="A state file that lacks something would leave it behind for ever. None was written.",
            advice=("Ask for the permission to read it, then run the same command again.",),
        )
    unreadable = [resource for resource in inventory.resources if resource.key and resource.is_unreadable]
    if unreadable:
        raise CannotRecover(
            "The tags of "
            + ", ".join(" ".join(resource.identity.values()) for resource in unreadable)
            + " could not be read.",
            means="Without them nobody can tell whose it is, and a state file that lacks it would leave it behind. "
            "None was written.",
            advice=("Ask for the permission to read its tags, then run the same command again.",),
        )
    api_id = which_api(aws, settings, inventory, deployment)
    ours = [resource for resource in inventory.resources if is_ours(resource, inventory, deployment, api_id)]
    if all(PLACES[key_of(resource)].kind.startswith("iam:") for resource in ours) and not chosen:
        refuse_those_of_another_region(aws, deployment, ours)
    by_key = {key_of(resource): resource for resource in ours}
    resources = [entry(settings, by_key, key) for key in PLACES if key in by_key]
    left_out = [(resource, why_not(resource, deployment)) for resource in inventory.resources if resource not in ours]
    return Recovered(deployment, resources, left_out)


def which(aws: Clients, inventory: Inventory, chosen: str | None) -> str:
    """The one deployment whose tag is on the settings' names."""
    found: dict[str, int] = {}
    for resource in inventory.resources:
        if resource.key and resource.tag:
            found[resource.tag] = found.get(resource.tag, 0) + 1
    where = f"account {aws.account_id}, Region {aws.region}"
    if chosen is not None:
        if chosen not in found:
            raise CannotRecover(
                f"Nothing with these names in {where} carries the tag of {chosen}.",
                means="No state file was written." + (f" The tags there are: {', '.join(found)}." if found else ""),
                advice=("Name one of those, the --learner it was made for, or its --region.",),
            )
        return chosen
    if not found:
        open_questions = ", ".join(map(str, inventory.unanswered))
        raise CannotRecover(
            f"Nothing with these names in {where} carries a tag of this suite.",
            means="There is nothing to recover, and no state file was written."
            if not open_questions
            else f"No state file was written. Not everything could be looked at: {open_questions}.",
            advice=("If it was made in another Region, or for a --learner, name that.",),
        )
    if len(found) > 1:
        raise CannotRecover(
            "Several deployments' tags are on these names: "
            + ", ".join(f"{tag} ({count} resources)" for tag, count in sorted(found.items()))
            + ".",
            means="One state file is one deployment. None was written. Roles and policies are the same in all Regions: "
            "a tag that only they carry may be that of a deployment in another Region.",
            advice=("Say which: --deployment " + sorted(found, key=lambda tag: -found[tag])[0],),
        )
    return next(iter(found))


def which_api(aws: Clients, settings: Settings, inventory: Inventory, deployment: str) -> str | None:
    """The id of the deployment's API, under any name. An empty second one, left by a lost answer, is not it."""
    tagged = [
        resource.outputs["id"]
        for resource in inventory.resources
        if resource.kind == "apigateway:rest-api" and resource.tag == deployment
    ]
    if len(tagged) > 1:
        apis = list_apis(aws.apigateway)
        spare = {api["id"] for api in find_spare_apis(aws.apigateway, apis, settings.api, deployment, None)}
        tagged = [api_id for api_id in tagged if api_id not in spare]
        if len(tagged) > 1:
            raise TwoOfOurs("apigateway:rest-api", settings.api, tagged)
    return tagged[0] if tagged else None


def is_ours(resource: FoundResource, inventory: Inventory, deployment: str, api_id: str | None) -> bool:
    if resource.going:
        return False
    if resource.kind == "apigateway:rest-api":
        return resource.outputs["id"] == api_id
    if resource.kind == "apigateway:stage":
        return resource.identity["restApiId"] == api_id
    if resource.key == "trigger" and not resource.can_be_tagged:  # not in every partition: its two ends prove it
        return all(
            any(end.key == key and end.tag == deployment for end in inventory.resources)
            for key in ("queue", "function")
        )
    return bool(resource.key) and resource.tag == deployment


def key_of(resource: FoundResource) -> str:
    return "api" if resource.kind == "apigateway:rest-api" else resource.key


def why_not(resource: FoundResource, deployment: str) -> str:
    if resource.going:
        return "AWS is deleting it already"
    if resource.tag == deployment:
        return "carries the tag, but a state file has no place for it"
    return resource.whose


def entry(settings: Settings, ours: Mapping[str, FoundResource], key: str) -> Resource:
    """The entry that the lost state file may have had, as far as AWS tells it.

    Which roles the queue's policy and the function were written for it does not tell; the next build writes them again.
    """
    resource = ours[key]
    place = PLACES[key]
    identity = {"name": settings.api} if key == "api" else resource.identity
    return Resource(
        key=key,
        kind=place.kind,
        step=place.step,
        identity=identity,
        outputs=resource.outputs,
        origin="adopted" if was_there_before(ours, key) else "created",
        status="created",
        since=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        parent=resource.parent,
    )


def was_there_before(ours: Mapping[str, FoundResource], key: str) -> bool:
    """Whether a person made it, and the deployment took it over: then a teardown leaves it.

    What carries no tags of its own and joins two resources was made after both. Only between two adopted ones can it
    have been there; whether it was nobody knows any more, so it stays.
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


def refuse_those_of_another_region(aws: Clients, deployment: str, ours: list[FoundResource]) -> None:
    """Roles and policies alone may belong to a deployment that lives in another Region; the policies tell.

    Their documents name the table and the queue. Raises CannotRecover unless they name this Region's.
    """
    regions = {region for resource in ours if resource.kind == "iam:policy" for region in regions_in(aws, resource)}
    if regions == {aws.region}:
        return
    if regions:
        raise CannotRecover(
            f"Deployment {deployment} is in Region {', '.join(sorted(regions))}; here it has nothing but its roles and "
            "policies, which are the same in all Regions.",
            means="No state file was written.",
            advice=(f"Recover it there: --region {min(regions)}",),
        )
    raise CannotRecover(
        f"Deployment {deployment} has nothing in Region {aws.region} but roles and policies, which are the same in all "
        "Regions.",
        means="Whether it was made in this Region they do not say. No state file was written.",
        advice=(f"If it was: --deployment {deployment}", "else name its --region."),
    )


def regions_in(aws: Clients, policy: FoundResource) -> set[str]:
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


def state_files_in(folder: Path) -> dict[Path, dict[str, Any]]:
    """The files in a folder that are state files, with what they say, unchecked."""
    found = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and "deployment" in content and "resources" in content:
            found[path] = content
    return found
