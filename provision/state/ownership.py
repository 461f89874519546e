"""Whose a resource is: by its tag, and by the id that AWS alone sets."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from provision.state.entries import TAG, Resource
from provision.state.resources import TYPES, immutable_id, immutable_ids
from provision.terminal import outcome

# For so long after it was recorded something without a tag is looked at again. DynamoDB names seconds.
TAG_LAG = datetime.timedelta(minutes=5)


def is_the_recorded(resource: Resource, found: Mapping[str, Any]) -> bool:
    """Whether AWS's own id says that what was found is what the entry records.

    A function has no such id. There the code speaks: nobody else zips the handler to the same bytes.
    """
    if resource.kind == "lambda:function":
        noted = resource.outputs.get("CodeSha256")
        return noted is not None and noted == found.get("CodeSha256")
    return resource.outputs.get("id") in immutable_ids(resource.kind, found)


def refuse_another_one(resource: Resource | None, found: Mapping[str, Any]) -> None:
    """Raise NotTheRecorded when AWS's own id says that what carries our tag is not what the entry records.

    A backup that was restored under the same name can have the same tags, and so can a copy. An empty REST API with our
    tag is not such a copy: a lost answer left it behind (find_spare_apis in aws/api_definition.py). Teardown gives it
    the mark "IsSpare".
    """
    known = resource.outputs.get("id") if resource is not None else None
    ids = immutable_ids(resource.kind, found) if resource is not None else []
    if resource is not None and known and ids and known not in ids and not found.get("IsSpare"):
        raise NotTheRecorded(resource, known, ids[0])


def described(kind: str, found: Mapping[str, Any], tag: str | None) -> str:
    """Whose something found is, and what tells it from a namesake."""
    words = [f"deployment {tag}" if tag else "no tag of this suite"]
    known = immutable_id(kind, found)
    if known is not None:
        words.append(f"{TYPES[kind].id_field} {known}")
    if kind == "lambda:event-source-mapping" and "State" in found:
        words.append(f"State {found['State']}")
    return ", ".join(words)


class NotOurs(outcome.UserError):
    """Something of that name exists, and this deployment did not make it. Nothing was touched.

    `theirs` and `ours` say in words what was found and what is recorded; `tag` is another deployment's, None for
    none: only what has none can be adopted.
    """

    code = "not-ours"

    def __init__(
        self,
        kind: str,
        identity: Mapping[str, str],
        theirs: str,
        ours: str,
        *,
        key: str = "",
        tag: str | None = None,
    ) -> None:
        self.key = key
        self.kind = kind
        self.identity = dict(identity)
        self.theirs = theirs
        self.ours = ours
        self.tag = tag
        name = ", ".join(identity.values())
        super().__init__(
            f"{kind} {name} exists already and is not this deployment's.",
            means=f"Found: {theirs}. This deployment: {ours}. Nothing was changed.",
            advice=(
                "Build beside it, under names of your own: add --learner NAME",
                "or remove it, if it is yours and no longer needed, and run the same command again.",
            ),
        )


class UnknownOwner(outcome.UserError):
    """Something of that name exists, and its tags could not be read: neither ours nor foreign can be assumed."""

    code = "unknown-owner"

    def __init__(self, kind: str, identity: Mapping[str, str]) -> None:
        super().__init__(
            f"{kind} {', '.join(identity.values())} exists, but its tags could not be read.",
            means="Without them nobody can tell whose it is. Nothing was changed.",
            advice=("Ask for the permission to read its tags, then run the same command again.",),
        )


class TagLost(outcome.UserError):
    """It has the id that the state file recorded, but not this deployment's tag.

    An id in a file is a claim, and files can be edited: without the tag nothing is changed or deleted.
    """

    code = "unknown-owner"

    def __init__(self, resource: Resource, theirs: str, ours: str) -> None:
        self.theirs = theirs
        self.key = resource.key
        super().__init__(
            f"{resource.kind} {resource.name} is the one that the state file records, but carries {theirs}.",
            means="The state file alone does not prove that it is this deployment's. It was not changed.",
            advice=(
                f"If it is, put the tag {TAG}={ours} back on it yourself, and run the same command again;",
                f"or take it over, as something that was there before: python -m provision --adopt {resource.key}"
                if TYPES[resource.kind].is_adoptable
                else "or remove it by hand, and run the same command again.",
            ),
        )


class TagNotYetVisible(TagLost):
    """As TagLost, but it was recorded a moment ago, and tags may lag behind. To be looked at again."""


class NotTheRecorded(outcome.UserError):
    """It has this deployment's tag, but AWS's own id is another than the one that the state file records."""

    code = "unknown-owner"

    def __init__(self, resource: Resource, known: str, found: str) -> None:
        id_field = TYPES[resource.kind].id_field
        self.theirs = f"this deployment's tag, but {id_field} {found}, where {known} is recorded"
        super().__init__(
            f"{resource.kind} {resource.name} carries this deployment's tag, but is not the one that the state file "
            f"records: its {id_field} is {found}, recorded is {known}.",
            means="Somebody may have made it anew, from a backup or as a copy. It was not changed.",
            advice=(
                "If nobody needs it, remove it by hand, and run the same command again.",
                "To take it over, move the state file away, and write it anew: provision, as before, with --recover.",
            ),
        )


class TwoOfOurs(outcome.UserError):
    """Two resources carry this deployment's tag where one must: which is right cannot be guessed."""

    code = "two-of-ours"

    def __init__(self, kind: str, name: str, ids: list[str]) -> None:
        super().__init__(
            f"{kind} {name}: {len(ids)} of them carry this deployment's tag: {', '.join(ids)}.",
            means="One is enough, and which of them to keep is not for a program to guess.",
            advice=("Remove one by hand, then run the same command again.",),
        )


def can_be_tagged(kind: str, found: Mapping[str, Any]) -> bool:
    """Whether it should carry our tag. Event source mappings can carry none in some partitions."""
    return kind != "lambda:event-source-mapping" or "Tags" in found


def may_lag(recorded: Resource, found: Mapping[str, Any]) -> bool:
    """Whether what has no tag may be what was recorded minutes ago. Tags may be seen later than what carries them.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TagResource.html
    What is adopted and on its way out of the state file lost its tag last: it is its owner's again.
    """
    if recorded.is_adopted and recorded.status == "deleting":
        return False
    unknown = recorded.status == "creating" and not recorded.is_adopted and recorded.outputs.get("id") is None
    return (unknown or is_the_recorded(recorded, found)) and is_recent(recorded)


def is_recent(recorded: Resource) -> bool:
    """Whether it was recorded so lately that its tag may not be seen yet."""
    try:
        age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(recorded.since)
    except (ValueError, TypeError):  # the file says no time
        return False
    return abs(age) < TAG_LAG


def whose(
    deployment: str,
    recorded: Resource | None,
    kind: str,
    identity: Mapping[str, str],
    found: Mapping[str, Any],
    *,
    key: str,
    late_tags: str,
    may_adopt: Callable[[str], bool],
) -> str:
    """Whose what was found is, to be updated: `recorded` is the entry of its key, if there is one.

    "ours", which nothing need record: a person may have pasted a plan's commands. "recovered" when its creation was
    recorded and not noted (answer lost); "adopted" when somebody else made it and `may_adopt`, told of it in words,
    consents. What was recorded a moment ago and shows no tag is waited for, believed or refused: `late_tags`. Raises
    NotOurs, TagLost, TagNotYetVisible, UnknownOwner or NotTheRecorded.
    """
    standing = recorded if recorded is not None and recorded.status != "deleted" else None
    ours = "ours" if recorded is None or recorded.status == "created" else "recovered"
    tag = (found.get("Tags") or {}).get(TAG) or None
    if tag == deployment:
        refuse_another_one(standing, found)
        return ours
    if can_be_tagged(kind, found) and found.get("Tags") is None:
        raise UnknownOwner(kind, identity)
    if "Tags" not in found and standing is not None and is_between_the_recorded(standing, found):
        return ours
    theirs = described(kind, found, tag)
    lags = tag is None and standing is not None and "Tags" in found and may_lag(standing, found)
    if standing is not None and lags and late_tags == "believe":
        return ours
    if standing is not None and lags and late_tags == "wait" and not standing.is_adopted:
        raise TagNotYetVisible(standing, "no tag", deployment)
    if tag is None and may_adopt(theirs):
        return "adopted"
    if standing is not None and lags and late_tags == "wait":
        raise TagNotYetVisible(standing, "no tag", deployment)
    if tag is None and standing is not None and is_the_recorded(standing, found):
        raise TagLost(standing, "no tag", deployment)
    known = recorded.outputs.get("id") if recorded is not None else None
    mine = f"{deployment}, {TYPES[kind].id_field} {known}" if known else deployment
    raise NotOurs(kind, identity, theirs, mine, key=key, tag=tag)


def is_between_the_recorded(recorded: Resource, trigger: Mapping[str, Any]) -> bool:
    """Whether a trigger that can carry no tags is the recorded one. Its queue and function were proved ours before.

    AWS allows one trigger between two, and there was none when it was recorded.
    """
    is_recorded = recorded.status == "creating" and not recorded.is_adopted
    return is_recorded or is_the_recorded(recorded, trigger)


def is_being_deleted(found: Mapping[str, Any]) -> bool:
    """Whether AWS is deleting it already: a table, or a trigger."""
    return found.get("TableStatus") == "DELETING" or found.get("State") == "Deleting"


def is_to_be_deleted(deployment: str, resource: Resource, found: Mapping[str, Any]) -> bool:
    """Whether what was found under a recorded identity is this deployment's to delete, and not a namesake.

    The tag and the recorded id decide. Where only one of them fits it is neither deleted nor forgotten: raises
    NotTheRecorded, or TagLost. Raises UnknownOwner when the tags cannot be read.
    """
    if "Tags" not in found:  # it can carry none: its id decides, or the parent, verified by the caller
        return immutable_id(resource.kind, found) in (None, resource.outputs.get("id"))
    if found["Tags"] is None:
        raise UnknownOwner(resource.kind, resource.identity)
    tag = found["Tags"].get(TAG)
    if tag == deployment:
        refuse_another_one(resource, found)
        return True
    if not is_the_recorded(resource, found):
        return False
    if resource.kind == "lambda:function" and (tag or resource.status == "deleted"):
        return False  # the same code is no proof where another tag speaks, or of something deleted
    if is_being_deleted(found) or resource.status == "deleted":
        return True  # its tags are gone already, and nothing remains to be done but to wait
    theirs = f"the tag of deployment {tag}" if tag else "no tag"
    raise TagLost(resource, theirs, deployment)
