"""The entries of the state file, and what a step sees of the one it is at work on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.state.comparison import compared
from provision.state.resources import immutable_id
from provision.terminal import outcome
from provision.terminal.redaction import named_only

TAG = "poc-deployment"  # on everything that can carry tags; its value is the deployment

ADOPTED_TAG = "poc-adopted"  # beside it on what a person made and the deployment took over; its value is "true"

TAG_KEYS = (TAG, ADOPTED_TAG)


class NotYetMade(KeyError):
    """A step asks for what an earlier one makes, and it is not there yet; `args[0]` is its key."""


class CannotUpdate(outcome.UserError):
    """Something of ours differs in a way that AWS cannot change in place. Nothing with data is replaced unasked."""

    code = "cannot-update"

    def __init__(self, kind: str, name: str, attribute: str, found: Any, wanted: Any) -> None:
        super().__init__(
            f"{kind} {name}: {attribute} is {found!r}, wanted is {wanted!r}, and AWS cannot change that in place.",
            means="It would have to be deleted and made again, with everything in it.",
            advice=("Save what you need, run python -m teardown, then python -m provision.",),
        )


@dataclass(frozen=True)
class Difference:
    """An attribute of something found that is not as wanted, and that was updated.

    `left`: it was not. No step sets it, `wanted` is AWS's default, and somebody may mean it.
    """

    attribute: str
    found: Any
    wanted: Any
    left: bool = False


@dataclass(frozen=True)
class ResourceResult:
    """What one `resource` block did: outcome is "created", "updated", "unchanged" or "recovered" (a lost answer)."""

    key: str
    kind: str
    identity: dict[str, str]
    outcome: str
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Resource:
    """One entry. `identity` is known before the call and finds the resource; `outputs` are learned after it."""

    key: str
    kind: str
    step: str
    identity: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    origin: str = "created"
    status: str = "creating"
    since: str = ""
    parent: str | None = None  # the key of what it is part of, when it can carry no tags of its own
    # Of what is adopted: each attribute that the suite changed, as JSON, as it was found.
    before: dict[str, str] = field(default_factory=dict)

    @property
    def is_adopted(self) -> bool:
        return self.origin == "adopted"

    @property
    def is_used(self) -> bool:
        """Whether somebody else made it, and it is only used: nothing of it is ever changed, its tags included."""
        return self.origin == "used"

    def was(self, attribute: str, otherwise: Any = None) -> Any:
        """What an attribute was before the suite changed it; `otherwise` where the suite did not."""
        return json.loads(self.before[attribute]) if attribute in self.before else otherwise

    @property
    def description(self) -> dict[str, Any]:
        """What AWS said of something adopted before the suite changed it; empty where only tags were changed."""
        described: dict[str, Any] = self.was("description", {})
        return described

    @property
    def name(self) -> str:
        return ", ".join(self.identity.values())


class Entry:
    """What a step sees inside `with state.resource(...) as entry`: the outputs, and a place for differences."""

    def __init__(
        self,
        resource: Resource,
        found: Mapping[str, Any] | None,
        deployment: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """`tags`: those of --tag. What is adopted does not get them: it is its owner's."""
        self.resource = resource
        self.found = found
        self.tags = {TAG: deployment, **({ADOPTED_TAG: "true"} if resource.is_adopted else tags or {})}
        self.replaced: dict[str, Any] = {}
        self.differences: list[Difference] = []
        self.left: list[Difference] = []
        self.compared: list[str] = []  # the attributes, each once
        self.notes: list[str] = []

    def __setitem__(self, name: str, value: Any) -> None:
        self.resource.outputs[name] = str(value)

    def __getitem__(self, name: str) -> str:
        return self.resource.outputs[name]

    def identify(self, description: Mapping[str, Any]) -> None:
        """Note AWS's immutable id from its description of what was just made: later it proves that this is ours."""
        known = immutable_id(self.resource.kind, description)
        if known is not None:
            self.resource.outputs["id"] = known

    def get(self, name: str) -> str | None:
        """What was noted under this name in an earlier run, if anything."""
        return self.resource.outputs.get(name)

    def drifted(self, attribute: str, *, found: Any, wanted: Any, same: bool | None = None) -> bool:
        """Whether `found` must be updated to become `wanted`; remembered for the report.

        `same` decides instead of equality where values compare by meaning.
        """
        self.compared.append(attribute)
        if found == wanted if same is None else same:
            return False
        if self.found is None:
            return True  # of what is being created nothing is reported: all of it is new
        self.differences.append(Difference(attribute, shown(attribute, found), wanted))
        if not attribute.startswith("tag "):
            self.keep(attribute, found)
        return True

    def compare_with_defaults(self) -> None:
        """Remember for the report what is not as AWS makes it, once. For what the step has compared it answers."""
        described = {} if self.found is None else self.found
        done = set(self.compared)
        for name, found, default, same in compared(self.resource.kind, described, self.resource.identity):
            if name not in done:
                self.compared.append(name)
                self.left += [] if same else [Difference(name, shown(name, found), default, left=True)]

    @property
    def is_adopted(self) -> bool:
        """Whether a person made it: then what is changed must be able to come back."""
        return self.resource.is_adopted

    @property
    def tag_list(self) -> list[dict[str, str]]:
        """The tag, for the services that take a list of Key and Value; `tags` for the others."""
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]

    def needs_tag(self) -> bool:
        """Whether our tags must be put (back) on what was found: it was adopted, or somebody took its tags away.

        Tags that cannot be read, and resources that can carry none here, lack nothing. Ask for this before any other
        difference: until the tag is on it nothing else of what is adopted has been changed.
        """
        tags = (self.found or {}).get("Tags")
        if tags is None:
            return False
        missing = {key: value for key, value in self.tags.items() if tags.get(key) != value}
        if missing:
            self.keep("tags", {key: tags.get(key) for key in self.tags})
        for key in [key for key in missing if key not in TAG_KEYS]:
            self.drifted(f"tag {key}", found=tags.get(key), wanted=self.tags[key])
        ours = not missing.keys() & set(TAG_KEYS)
        self.drifted(f"tag {TAG}", found=tags.get(TAG), wanted=self.tags[TAG], same=ours)
        return bool(missing)

    def keep(self, name: str, value: Any) -> None:
        """Remember `value`, which is about to be written over: of what is adopted it is kept, to be put back."""
        self.replaced.setdefault(name, value)

    def keep_as_found(self) -> None:
        """Into the entry: what is about to be written over of something adopted, and what AWS said of the whole of it.

        The first value stays. Of an environment only what is written over is kept: the values may be secrets.
        """
        before = self.resource.before
        for name, value in self.replaced.items():
            before.setdefault(name, json.dumps(value))
        if set(self.replaced) - {"tags"}:
            found = {name: value for name, value in (self.found or {}).items() if name not in ("Tags", "Environment")}
            before.setdefault("description", json.dumps(found, default=str))

    def must_be_replaced(self, attribute: str, *, found: Any, wanted: Any) -> None:
        """Stop, with CannotUpdate, when `found` is not `wanted`: AWS cannot change this attribute in place."""
        self.compared.append(attribute)
        if found != wanted:
            raise CannotUpdate(self.resource.kind, self.resource.name, attribute, found, wanted)

    def note(self, sentence: str) -> None:
        """Something the report must say beside the differences."""
        self.notes.append(sentence)

    def go_on_from(self, earlier: Entry | None) -> None:
        """Report what an earlier try updated, too: its answer was lost, and this try found it done."""
        if earlier is not None:
            again = {difference.attribute for difference in self.differences}
            self.differences[:0] = [one for one in earlier.differences if one.attribute not in again]
            self.notes[:0] = [note for note in earlier.notes if note not in self.notes]


def shown(attribute: str, found: Any) -> Any:
    """What is shown of a value. Those of variables may be somebody's secrets."""
    return named_only(found) if attribute in ("Environment", "variables") else found
