"""Whose a resource is: by its tag, and by the id that AWS alone sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision.state.entries import TAG, Resource
from provision.state.resources import TYPES, immutable_id
from provision.terminal import outcome


def is_the_recorded(resource: Resource, found: Mapping[str, Any]) -> bool:
    """Whether AWS's own id says that what was found is what the entry records.

    A function has no such id. There the code speaks: nobody else zips the handler to the same bytes.
    """
    if resource.kind == "lambda:function":
        noted = resource.outputs.get("CodeSha256")
        return noted is not None and noted == found.get("CodeSha256")
    known = resource.outputs.get("id")
    return known is not None and known == immutable_id(resource.kind, found)


def described(kind: str, found: Mapping[str, Any], mark: str | None) -> str:
    """Whose something found is, and what tells it from a namesake."""
    words = [f"deployment {mark}" if mark else "no mark of this suite"]
    known = immutable_id(kind, found)
    if known is not None:
        words.append(f"{TYPES[kind].id_field} {known}")
    if kind == "lambda:event-source-mapping" and "State" in found:
        words.append(f"State {found['State']}")
    return ", ".join(words)


class NotOurs(outcome.Stop):
    """Something of that name exists, and this deployment did not make it. Nothing was touched.

    `theirs` and `ours` say in words what was found and what is recorded; `mark` is another deployment's, None for
    none: only what has none can be adopted.
    """

    def __init__(
        self,
        kind: str,
        identity: Mapping[str, str],
        theirs: str,
        ours: str,
        *,
        key: str = "",
        mark: str | None = None,
    ) -> None:
        self.key = key
        self.kind = kind
        self.identity = dict(identity)
        self.theirs = theirs
        self.ours = ours
        self.mark = mark
        name = ", ".join(identity.values())
        super().__init__(
            f"{kind} {name} exists already and is not this deployment's.",
            means=f"Found: {theirs}. This deployment: {ours}. Nothing was changed.",
            advice=(
                "Build beside it, under names of your own: add --learner NAME",
                "or remove it, if it is yours and no longer needed, and run the same command again.",
            ),
        )


class MarkNotYetSeen(NotOurs):
    """As NotOurs, but it was promised here and may be ours: its tags may lag behind. To be looked at again."""


class UnknownOwner(outcome.Stop):
    """Something of that name exists, and its tags could not be read: neither ours nor foreign can be assumed."""

    def __init__(self, kind: str, identity: Mapping[str, str]) -> None:
        super().__init__(
            f"{kind} {', '.join(identity.values())} exists, but its tags could not be read.",
            means="Without them nobody can tell whose it is. Nothing was changed.",
            advice=("Ask for the permission to read its tags, then run the same command again.",),
        )


class MarkLost(outcome.Stop):
    """It has the id that the ledger recorded, but not this deployment's mark.

    An id in a file is a claim, and files can be edited: without the mark nothing is deleted.
    """

    def __init__(self, kind: str, identity: Mapping[str, str], theirs: str, ours: str) -> None:
        super().__init__(
            f"{kind} {', '.join(identity.values())} is the one that the ledger records, but carries {theirs}.",
            means="The ledger alone does not prove that it is this deployment's. It was not deleted.",
            advice=(
                "If it is, run python -m provision, which puts the mark back, then run the same command again;",
                f"or put the tag {TAG}={ours} on it yourself, or remove it by hand.",
            ),
        )


class TwoOfOurs(outcome.Stop):
    """Two things carry this deployment's mark where one must: which is right cannot be guessed."""

    def __init__(self, kind: str, name: str, ids: list[str]) -> None:
        super().__init__(
            f"{kind} {name}: {len(ids)} of them carry this deployment's mark: {', '.join(ids)}.",
            means="One is enough, and which of them to keep is not for a program to guess.",
            advice=("Remove one by hand, then run the same command again.",),
        )


def can_be_tagged(kind: str, found: Mapping[str, Any]) -> bool:
    """Whether it should carry our tag. Event source mappings can carry none in some partitions."""
    return kind != "lambda:event-source-mapping" or "Tags" in found


def goes_on(recorded: Resource, found: Mapping[str, Any]) -> bool:
    """Whether what has no mark is the recorded thing, whose tags somebody took away. Nothing is deleted here.

    What is adopted and on its way out of the ledger lost its mark last: it is its owner's again.
    """
    if not is_the_recorded(recorded, found) or (recorded.is_adopted and recorded.status == "deleting"):
        return False
    return found.get("Tags") is not None or recorded.status == "created"


def is_to_be_deleted(deployment: str, resource: Resource, found: Mapping[str, Any]) -> bool:
    """Whether what was found under a recorded identity is this deployment's to delete, and not a namesake.

    The mark decides. Raises UnknownOwner when it cannot be read, MarkLost when it is missing from what has the
    recorded id: that is neither deleted nor forgotten.
    """
    if "Tags" not in found:  # it can carry none: its id decides, or the parent, verified by the caller
        return immutable_id(resource.kind, found) in (None, resource.outputs.get("id"))
    if found["Tags"] is None:
        raise UnknownOwner(resource.kind, resource.identity)
    mark = found["Tags"].get(TAG)
    if mark == deployment:
        return True
    if not is_the_recorded(resource, found):
        return False
    if resource.kind == "lambda:function" and (mark or resource.status == "deleted"):
        return False  # the same code is no proof where another mark speaks, or of something deleted
    going = found.get("TableStatus") == "DELETING" or found.get("State") == "Deleting"
    if going or resource.status == "deleted":
        return True  # its tags are gone already, and nothing remains to be done but to wait
    theirs = f"the mark of deployment {mark}" if mark else "no mark"
    raise MarkLost(resource.kind, resource.identity, theirs, deployment)
