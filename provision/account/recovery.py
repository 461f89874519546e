"""The state file was lost: what of this account and Region goes into a new one. Reads only.

A tag on the settings' names is not enough. IAM is global, so the roles and policies of a deployment in another Region
have the same names here. And a deployment that has a state file must not get a second one.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.account.inventory import FoundResource, Inventory
from provision.api import list_apis, tagged
from provision.aws.api_definition import find_spare_apis
from provision.aws.clients import Clients
from provision.policies import find_policy
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.ownership import TwoOfOurs
from provision.state.resources import PLACES, TYPES
from provision.terminal import outcome
from provision.terminal.json_values import as_list

TIMES = 3  # looks for what is not found: what they miss would be missing in the state file


class CannotRecover(outcome.UserError):
    """No state file was written, and nothing in the account was changed."""

    code = "cannot-recover"


@dataclass(frozen=True)
class Recovered:
    """What the new state file will record; and what it will not, with the reason."""

    deployment: str
    resources: list[Resource]
    left_out: list[tuple[FoundResource, str]]


def recover(
    aws: Clients, settings: Settings, inventory: Inventory, chosen: str | None, others: Mapping[str, Path]
) -> Recovered:
    """What of the inventory goes into a new state file. `chosen`: the deployment, if --deployment names it.

    `others`: the state files in the same folder, by deployment. Raises CannotRecover.
    """
    deployment = which_deployment(aws, inventory, chosen)
    if deployment in others:
        raise CannotRecover(
            f"Deployment {deployment}, whose tag these names carry, has a state file: {others[deployment]}.",
            means="Two state files of one deployment would undo each other's work. No other was written.",
            advice=(f"Name it: --state {others[deployment]}, with the --region that it is for.",),
        )
    refuse_what_could_not_be_read(inventory)
    api_id = which_api(aws, settings, inventory, deployment)
    refuse_two_of_a_name(inventory, deployment)
    ours = [resource for resource in inventory.resources if is_ours(resource, inventory, deployment, api_id)]
    if all(PLACES[key_of(resource)].kind.startswith("iam:") for resource in ours) and not chosen:
        refuse_those_of_another_region(aws, deployment, ours)
    by_key = {key_of(resource): resource for resource in ours}
    resources = [entry(settings, by_key, key) for key in PLACES if key in by_key]
    left_out = [
        (resource, why_left_out(resource, deployment)) for resource in inventory.resources if resource not in ours
    ]
    return Recovered(deployment, resources, left_out)


def refuse_what_could_not_be_read(inventory: Inventory) -> None:
    """Raise CannotRecover where a resource, or its tags, could not be read: it may be the deployment's."""
    unread = ", ".join(str(unanswered) for unanswered in inventory.unanswered if unanswered.key)
    if unread:
        raise CannotRecover(
            f"Not everything could be looked at: {unread}.",
            means="A state file that lacks something would leave it behind for ever. None was written.",
            advice=("Ask for the permission to read it, then run the same command again.",),
        )
    untold = [resource for resource in inventory.resources if resource.key and resource.is_unreadable]
    if untold:
        names = ", ".join(" ".join(resource.identity.values()) for resource in untold)
        raise CannotRecover(
            f"The tags of {names} could not be read.",
            means="Without them nobody can tell whose it is, and a state file that lacks it would leave it behind. "
            "None was written.",
            advice=("Ask for the permission to read its tags, then run the same command again.",),
        )


def which_deployment(aws: Clients, inventory: Inventory, chosen: str | None) -> str:
    """The one deployment whose tag is on resources with the settings' names."""
    found = Counter(resource.tag for resource in inventory.resources if resource.key and resource.tag)
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
        unanswered = ", ".join(map(str, inventory.unanswered))
        raise CannotRecover(
            f"Nothing with these names in {where} carries a tag of this suite.",
            means="There is nothing to recover, and no state file was written."
            if not unanswered
            else f"No state file was written. Not everything could be looked at: {unanswered}.",
            advice=("If it was made in another Region, or for a --learner, name that.",),
        )
    if len(found) > 1:
        tags = ", ".join(f"{tag} ({count} resources)" for tag, count in sorted(found.items()))
        raise CannotRecover(
            f"Several deployments' tags are on these names: {tags}.",
            means="One state file is one deployment. None was written. Roles and policies are the same in all Regions: "
            "a tag that only they carry may be that of a deployment in another Region.",
            advice=(f"Say which: --deployment {found.most_common(1)[0][0]}",),
        )
    return next(iter(found))


def which_api(aws: Clients, settings: Settings, inventory: Inventory, deployment: str) -> str | None:
    """The id of the deployment's API, under any name. A spare empty one does not count: see find_spare_apis."""
    ids = [
        resource.outputs["id"]
        for resource in inventory.resources
        if key_of(resource) == "api" and resource.tag == deployment
    ]
    if len(ids) > 1:
        ours = tagged(list_apis(aws.apigateway), settings.api, deployment)
        spare = {api["id"] for api in find_spare_apis(aws.apigateway, ours, None)}
        ids = [api_id for api_id in ids if api_id not in spare]
        if len(ids) > 1:
            raise TwoOfOurs(PLACES["api"].kind, settings.api, ids)
    return ids[0] if ids else None


def refuse_two_of_a_name(inventory: Inventory, deployment: str) -> None:
    """Raise TwoOfOurs where two API keys or two usage plans carry the deployment's tag."""
    for key in ("api-key", "usage-plan"):
        found = [one for one in inventory.resources if key_of(one) == key and one.tag == deployment]
        if len(found) > 1:
            raise TwoOfOurs(PLACES[key].kind, found[0].identity["name"], [one.outputs["id"] for one in found])


def is_ours(resource: FoundResource, inventory: Inventory, deployment: str, api_id: str | None) -> bool:
    """Whether it goes into the state file: by its tag, the API by its id, what carries no tag by what it joins."""
    key = key_of(resource)
    if resource.is_being_deleted or not key:
        return False
    if key == "api":
        return resource.outputs["id"] == api_id
    if key == "stage":
        return resource.identity["restApiId"] == api_id
    if resource.parent is None and not resource.can_be_tagged:  # a trigger, in some partitions
        tagged = {end.key for end in inventory.resources if end.tag == deployment}
        return tagged.issuperset(PLACES[key].joins)
    return resource.tag == deployment


def key_of(resource: FoundResource) -> str:
    """Its place in the state file. What has a name that repeats has one under any name: its tag says whose it is."""
    if TYPES[resource.kind].names_repeat:
        return next(key for key, place in PLACES.items() if place.kind == resource.kind)
    return resource.key


def why_left_out(resource: FoundResource, deployment: str) -> str:
    if resource.is_being_deleted:
        return "AWS is deleting it already"
    if resource.tag == deployment:
        return "carries the tag, but a state file has no place for it"
    return resource.whose


def entry(settings: Settings, ours: Mapping[str, FoundResource], key: str) -> Resource:
    """The entry of the lost state file, as far as AWS tells it.

    AWS does not tell which role ids the queue's policy and the function have: the next run sets them again.
    """
    resource = ours[key]
    place = PLACES[key]
    called = {"api": settings.api, "api-key": settings.api_key, "usage-plan": settings.usage_plan}
    identity = {"name": called[key]} if key in called else resource.identity
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
    """Whether somebody else made it and the deployment adopted it: then a teardown leaves it.

    What carries no tag of its own was made after what it joins. Only between adopted resources can it have been there
    before. Nobody knows, so it stays. An API is never adopted, and neither is a usage plan.
    """
    ends = (key,) if ours[key].can_be_tagged else PLACES[key].joins
    repeats = any(TYPES[PLACES[end].kind].names_repeat for end in ends)
    return not repeats and all(end not in ours or ours[end].is_adopted for end in ends)


def refuse_those_of_another_region(aws: Clients, deployment: str, ours: list[FoundResource]) -> None:
    """Where there are only roles and policies, the deployment may be in another Region.

    The policies name the table and the queue. Raises CannotRecover unless these are in this Region.
    """
    regions = {
        region for resource in ours if PLACES[resource.key].step == "policies" for region in regions_in(aws, resource)
    }
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
        means="They do not say whether it was made in this Region. No state file was written.",
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


def state_files_in(folder: Path) -> dict[Path, dict[str, Any]]:
    """The state files in a folder, with their content, unchecked."""
    found = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and "deployment" in content and "resources" in content:
            found[path] = content
    return found
