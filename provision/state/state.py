"""The state file: everything the suite makes is recorded here, with enough to find it again, before it is made.

A JSON file, bound to one account, Region and endpoint. Teardown is this file read backwards. It is written so that
no crash and no power failure can leave it unreadable: temporary file in the same folder, fsync, replace, fsync of
the folder; one backup of what a run found; a checksum of the content.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from provision.aws.answers import AnswerLost, Call
from provision.aws.calls import UnrecordedWrite
from provision.aws.operations import DEAD_LETTER_CALLS, SMOKE_TEST_CALLS
from provision.settings import AccountRules
from provision.state.entries import TAG, Entry, NotYetMade, Resource, ResourceResult
from provision.state.file import (
    SCHEMA,
    StateFile,
    StateRefused,
    cannot_write,
    check_bound_to,
    in_file,
    now,
    parse,
    read_bytes,
)
from provision.state.ownership import (
    NotOurs,
    described,
    is_the_recorded,
    is_to_be_deleted,
    whose,
)
from provision.state.resources import TYPES, immutable_id, step_of
from provision.terminal import outcome
from provision.terminal.disk import write_durably

L = TypeVar("L", bound="State")

# May what a person made be taken over? Told of it by its key, type, identity, and what was found, in words.
Adopt = Callable[[str, str, Mapping[str, str], str], bool]


def adopt_nothing(key: str, kind: str, identity: Mapping[str, str], theirs: str) -> bool:
    """Without consent, what a person made stays a person's."""
    return False


class NotAgreed(outcome.UserError):
    """A write was about to leave before a person had agreed to any. It was stopped before the wire."""

    def __init__(self, call: Call) -> None:
        super().__init__(
            f"{call.operation} was about to be sent, and nobody has agreed to a change.",
            means="The plan had foreseen no change here; perhaps something was changed since. Nothing was changed.",
            advice=("Run the same command again: it makes its plan anew, and asks.",),
        )


class State:
    """The state file of one deployment. Made by `State.open`, which holds its lock until `close`."""

    # What is thought of something that was recorded a moment ago and shows no tag: "wait", "believe" or "refuse".
    late_tags: str = "wait"

    writes = True  # a plan's does not, and takes no lock: it is read once, and who writes it replaces it whole

    def __init__(
        self,
        file: StateFile,
        content: dict[str, Any],
        *,
        adopt: Adopt = adopt_nothing,
        on_save: Callable[[Sequence[Resource]], None] = lambda resources: None,
        may_write: bool = True,
    ) -> None:
        self.path = file.path
        self.deployment: str = content["deployment"]
        self.account: str = content["account"]
        self.region: str = content["region"]
        self.endpoint: str | None = content["endpoint"]
        self.serial: int = content["serial"]
        self.receipt: dict[str, Any] | None = content.get("receipt")
        self.tests: dict[str, Any] | None = content.get("tests")  # when they last ran, and what failed: see note_tests
        self.resources: list[Resource] = [Resource(**entry) for entry in content["resources"]]
        self.kept_rules = AccountRules.from_file(content.get("rules", {}))  # what earlier runs were given
        self.rules = self.kept_rules  # what holds for this run
        self.results: list[ResourceResult] = []
        self.may_write = may_write  # whether a person has agreed to changes, or need not be asked
        self.adopt = adopt
        self._on_save = on_save
        self._adopted: dict[tuple[str, str], bool] = {}  # what was asked, so that a step run again does not ask again
        self._file = file
        # While what a learner made is taken over: by key, the ids of what has a name that repeats.
        self._by_hand: Mapping[str, str] | None = None
        self._open: list[Entry] = []
        self._deleting: list[Resource] = []
        self._smoke_test: str | None = None
        self._unsaved = False  # whether a save failed: then no write leaves before one has succeeded
        self._unanswered: dict[str, Entry] = {}  # by key, what an earlier try began when an answer was lost

    # Opening and closing.

    @classmethod
    def open(
        cls: type[L],
        path: Path,
        *,
        account: str,
        region: str,
        endpoint: str | None,
        adopt: Adopt = adopt_nothing,
        on_save: Callable[[Sequence[Resource]], None] = lambda resources: None,
        may_write: bool = True,
    ) -> L:
        """The state file at `path`, locked; a new, unsaved one when there is no file.

        `adopt` decides what may be taken over. `on_save` is told of the resources whenever the file has been written.
        Without `may_write` no write leaves before `allow_writes`.

        Raises StateRefused when it belongs elsewhere, cannot be read, is damaged, or is held by another process.
        """
        file = StateFile(path, locked=cls.writes)
        try:
            if file.data is None:
                content = {
                    "schema": SCHEMA,
                    "deployment": file.fixed_id() or f"poc-{secrets.token_hex(4)}",
                    "account": account,
                    "region": region,
                    "endpoint": endpoint,
                    "serial": 0,
                    "resources": [],
                }
            else:
                content = parse(file.data, file.path)
            check_bound_to(file.path, content, account, region, endpoint)
            return cls(file, content, adopt=adopt, on_save=on_save, may_write=may_write)
        except BaseException:
            file.close()
            raise

    @classmethod
    def check(cls, path: Path) -> None:
        """Raise StateRefused when the file at `path` cannot be read or is damaged; that there is none is no fault."""
        saved = read_bytes(path) if path.parent.is_dir() else None
        if saved is not None:
            parse(saved, path)

    def close(self) -> None:
        self._file.close()

    def fix_deployment(self) -> None:
        """Keep the id of a new deployment, though nothing is recorded: what is shown of it now is what a run has.

        Raises StateRefused.
        """
        if self.is_new:
            self._file.fix_id(self.deployment)

    # Reading.

    @property
    def tags(self) -> dict[str, str]:
        """The tag that everything of this deployment carries, as AWS's dictionaries of tags take it."""
        return {TAG: self.deployment}

    @property
    def tag_list(self) -> list[dict[str, str]]:
        """The same for the services that take a list of Key and Value."""
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]

    def record(self, key: str) -> Resource | None:
        """The entry with this key, unless what it records is deleted."""
        entry = self._entry(key)
        return None if entry is None or entry.status == "deleted" else entry

    def _entry(self, key: str) -> Resource | None:
        return next((entry for entry in self.resources if entry.key == key), None)

    def outputs(self, key: str) -> dict[str, str]:
        """What an earlier step learned. Raises NotYetMade when that step has not run."""
        resource = self.record(key)
        if resource is None or resource.status != "created":
            raise NotYetMade(key)
        return resource.outputs

    def identity(self, key: str) -> dict[str, str]:
        """What an earlier step named its resource. Raises NotYetMade when that step has not run."""
        resource = self.record(key)
        if resource is None:
            raise NotYetMade(key)
        return resource.identity

    @property
    def standing(self) -> list[Resource]:
        """What is, or may be, in the account, in the order it was made."""
        return [resource for resource in self.resources if resource.status != "deleted"]

    @property
    def is_new(self) -> bool:
        return self._file.data is None

    @property
    def at_work(self) -> str | None:
        """The key of what is being made or deleted at this moment."""
        if self._open:
            return self._open[-1].resource.key
        return self._deleting[-1].key if self._deleting else None

    # Making.

    @contextmanager
    def taking_over(self, ids: Mapping[str, str]) -> Iterator[None]:
        """Inside the block what is found without a tag is this deployment's, made by hand: a teardown deletes it.

        A person has said so. `ids`: by key, which REST API, API key and usage plan it is, as their names repeat.
        """
        self._by_hand = ids
        try:
            yield
        finally:
            self._by_hand = None

    def known_id(self, key: str) -> str | None:
        """AWS's own id of what is recorded, or of what is being taken over and has a name that repeats."""
        recorded = self.record(key)
        return recorded.outputs.get("id") if recorded else (self._by_hand or {}).get(key)

    @contextmanager
    def resource(
        self,
        key: str,
        kind: str,
        *,
        found: Mapping[str, Any] | None,
        parent: str | None = None,
        **identity: str,
    ) -> Iterator[Entry]:
        """Record a resource, have it made or updated inside the block, and note what came of it.

        `found` is AWS's own description of it, with "Tags" as a dictionary (None where they could not be read), or
        None when there is none. What can carry no tags names the key of its `parent`, whose ownership it shares.
        `identity` finds it again: known before the call, and named as in AWS's API.

        The record reaches the disk just before the first write inside the block leaves; a block without a write
        leaves the file as it is. Raises NotOurs or UnknownOwner before the block when `found` is somebody else's, and
        StateRefused when the state file records another resource in this place.
        """
        recorded = self._entry(key)
        if recorded is not None and parent is None and recorded.status != "deleted" and recorded.identity != identity:
            raise self._made_for_another(recorded, identity)
        how = "created"
        if found is not None:
            how = self._whose(key, recorded, kind, identity, found, parent)
        made = self._record(recorded, key, kind, identity, found, how)
        entry = Entry(made, found, self.deployment, dict(self.rules.tags))
        entry.resource.parent = parent
        self._open.append(entry)
        try:
            yield entry
        except AnswerLost:
            entry.go_on_from(self._unanswered.get(key))
            self._unanswered[key] = entry
            raise
        finally:
            self._open.pop()
        entry.resource.status = "created"
        # Compared with what the file has by now, which may be the record: a resource that is made again within a
        # second, with the same outputs, otherwise equals the entry from before and stays "creating" on the disk.
        if entry.resource != self._entry(key) or self._unsaved:
            self._put(entry.resource)
            self.save()
        entry.go_on_from(self._unanswered.pop(key, None))
        if found is not None:
            entry.compare_with_defaults()
        result = how if how != "ours" else "updated" if entry.differences else "unchanged"
        differences = (*entry.differences, *entry.left)
        self.results.append(ResourceResult(key, kind, dict(identity), result, differences, tuple(entry.notes)))

    def _record(
        self,
        recorded: Resource | None,
        key: str,
        kind: str,
        identity: Mapping[str, str],
        found: Mapping[str, Any] | None,
        how: str,
    ) -> Resource:
        """The entry as it will be: the recorded one when the resource is there, else one that begins anew."""
        resource = Resource(key, kind, step_of(key), dict(identity), since=now())
        if found is None:
            return resource
        if how == "adopted" and not (recorded is not None and recorded.is_adopted and is_the_recorded(recorded, found)):
            resource.origin = "adopted" if self._by_hand is None else "by hand"
        elif recorded is not None:
            resource = copy.deepcopy(recorded)
        known = immutable_id(kind, found)
        if known is not None:
            resource.outputs["id"] = known
        if resource.status in ("deleting", "deleted"):  # it is there, and wanted again
            resource.status = "created"
        resource.identity = dict(identity)
        return resource

    def check_names(self, names: Mapping[str, Mapping[str, str]]) -> None:
        """Raise StateRefused where something recorded has another identity than `names` says of its key.

        `resource` would notice, too, but only when the steps before have written already.
        """
        for entry in self.standing:
            wanted = names.get(entry.key)
            if wanted is not None and entry.identity != wanted:
                raise self._made_for_another(entry, wanted)

    def _made_for_another(self, recorded: Resource, wanted: Mapping[str, str]) -> StateRefused:
        return StateRefused(
            f"The state file {self.path} records {recorded.kind} {recorded.name}, and this run is for "
            f"{', '.join(wanted.values())}.",
            means="One state file is one deployment: to go on would forget what it records, and leave it behind.",
            advice=("Name the --learner that it was made for, or another --state PATH.",),
        )

    def _whose(
        self,
        key: str,
        recorded: Resource | None,
        kind: str,
        identity: Mapping[str, str],
        found: Mapping[str, Any],
        parent: str | None,
    ) -> str:
        """As ownership.whose says; what can carry no tags is its parent's."""
        if parent is not None:
            owner = self.record(parent)
            if owner is None:
                raise NotOurs(kind, identity, "no parent of this deployment", self.deployment, key=key)
            if owner.is_adopted and self.record(key) is None:
                return "adopted"
            return "recovered" if recorded is not None and recorded.status != "created" else "ours"
        return whose(
            self.deployment,
            recorded,
            kind,
            identity,
            found,
            key=key,
            late_tags=self.late_tags,
            may_adopt=lambda theirs: self._may_adopt(key, kind, identity, found, theirs),
        )

    def _may_adopt(
        self, key: str, kind: str, identity: Mapping[str, str], found: Mapping[str, Any], theirs: str
    ) -> bool:
        """Whether consent is given to take over what has no tag; asked once in a run for each resource."""
        if self._by_hand is not None:
            return not TYPES[kind].names_repeat or found.get("id") == self._by_hand.get(key)
        if TYPES[kind].names_repeat:
            return False  # ours is made beside it
        asked = (key, immutable_id(kind, found) or "")
        if asked not in self._adopted:
            self._adopted[asked] = self.adopt(key, kind, identity, theirs)
        return self._adopted[asked]

    def leaves_alone(self, key: str, kind: str, found: Mapping[str, Any] | None, **identity: str) -> bool:
        """Whether something that is there already, without any tag, is used as it is, and left as it is.

        It does not get an entry, so teardown does not know it. False for what is recorded, carries a tag, may be
        adopted, or was made by hand: then `resource` decides.
        """
        if found is None or self.record(key) is not None or found["Tags"] is None or found["Tags"].get(TAG):
            return False
        theirs = described(kind, found, None)
        if self._by_hand is not None or self._may_adopt(key, kind, identity, found, theirs):
            return False
        note = f"it was there before ({theirs}): used, and left as it is"
        self.results.append(ResourceResult(key, kind, dict(identity), "unchanged", (), (note,)))
        return True

    def use(self, key: str, kind: str, outputs: Mapping[str, str], note: str, **identity: str) -> None:
        """Note what somebody else made and the deployment only uses. No tag is put on it, and nothing deletes it.

        Raises StateRefused where the state file records one of the deployment's own in this place.
        """
        recorded = self.record(key)
        if recorded is not None and not recorded.is_used:
            raise StateRefused(
                f"The state file {self.path} records {recorded.kind} {recorded.name}, and this run is to use "
                f"{', '.join(identity.values())} instead.",
                means="What was built with the one does not change to the other. Nothing was changed.",
                advice=("Run python -m teardown, then build again with the option.",),
            )
        since = now() if recorded is None else recorded.since
        used = Resource(key, kind, step_of(key), dict(identity), dict(outputs), "used", "created", since)
        if used != recorded:
            self._put(used)
            self._unsaved = True  # so the next block saves it
        self.results.append(ResourceResult(key, kind, dict(identity), "unchanged", (), (note,)))

    def wait_for_tags(self) -> None:
        """Each step waits for tags that may lag; a plan never does."""
        self.late_tags = type(self).late_tags

    def give_up_on_tags(self) -> None:
        """They have been waited for long enough: from here on what has none is refused."""
        self.late_tags = "refuse"

    def keep_rules(self, rules: AccountRules) -> None:
        """Have these rules in the file from the next block on, for later runs."""
        self._unsaved |= rules.in_file() != self.kept_rules.in_file() and bool(self.standing)
        self.kept_rules = rules

    def is_ours(self, resource: Resource, found: Mapping[str, Any]) -> bool:
        """Whether what was found under a recorded identity is this deployment's to delete: see ownership.py."""
        return is_to_be_deleted(self.deployment, resource, found)

    # Deleting and trying.

    @contextmanager
    def deleting(self, resource: Resource) -> Iterator[None]:
        """Record that `resource` is being deleted, then, when the block ends well, that it is."""
        if resource.status != "deleting" or self._unsaved:
            resource.status = "deleting"
            resource.since = now()
            self.save()
        self._deleting.append(resource)
        try:
            yield
        finally:
            self._deleting.pop()
        resource.status = "deleted"
        resource.since = now()
        self.save()

    @contextmanager
    def restoring(self, resource: Resource) -> Iterator[None]:
        """Record that what was adopted is being put back as it was, then, when the block ends well, that it was left.

        It is "deleted" then for this state file, with the output "left".
        """
        with self.deleting(resource):
            yield
            resource.outputs["left"] = "as it was found"

    def note_restored(self, resource: Resource) -> None:
        """Record that all but the tag is as it was: only now the tag, which proves that it was ours, may go."""
        if set(resource.before) - {"tags"}:
            resource.before = {name: value for name, value in resource.before.items() if name == "tags"}
            self.save()

    def note_left(self, resource: Resource) -> None:
        """Record that what was to be adopted is as it was found, and nobody's concern here any more."""
        resource.outputs["left"] = "as it was found"
        self.note_gone(resource)

    def note_gone(self, resource: Resource) -> None:
        """Record that somebody else deleted `resource`, or that it never came to be."""
        resource.status = "deleted"
        resource.since = now()
        self.save()

    @contextmanager
    def smoke_test(self, name: str) -> Iterator[None]:
        """A smoke test: inside the block the calls of SMOKE_TEST_CALLS may leave, to resources that are recorded."""
        self._smoke_test = name
        try:
            yield
        finally:
            self._smoke_test = None

    @property
    def is_tested(self) -> bool:
        """Whether the tests passed, and nothing was written since."""
        return self.tests is not None and not self.tests["failed"]

    @property
    def is_whole(self) -> bool:
        """Whether the last step's stage is made, so that there is something to test."""
        stage = self.record("stage")
        return stage is not None and stage.status == "created"

    def note_tests(self, failed: Mapping[str, str]) -> None:
        """Record that the tests ran now, and of each that failed, by its title, what it saw."""
        self.tests = {"at": now(), "failed": dict(failed)}
        self.save()

    def allow_writes(self) -> None:
        """A person has agreed to what is going to be changed."""
        self.may_write = True

    def permit(self, call: Call) -> None:
        """The guard: let a write leave only under a record that is on the disk, a deletion, or a smoke test."""
        if not self._open and not self._deleting and not self._smoke_test_allows(call):
            raise UnrecordedWrite(f"{call.service} {call.operation} without a record")
        if not self.may_write:
            raise NotAgreed(call)
        changed = self._unsaved
        if self.is_tested and (self._open or self._deleting):  # it is about to be another
            self.tests = None
            changed = True
        for entry in self._open:
            recorded = self._entry(entry.resource.key)
            is_recorded = recorded is not None and recorded.status in ("creating", "created")
            if entry.is_adopted:
                entry.keep_as_found()
            anew = entry.found is None or entry.is_adopted
            if not is_recorded or (anew and recorded != entry.resource):
                self._put(entry.resource)
                changed = True
        if changed:
            self.save()

    def _smoke_test_allows(self, call: Call) -> bool:
        if self._smoke_test is not None and call.operation in DEAD_LETTER_CALLS:
            dead_letters = self.record("dead-letter-queue")
            return dead_letters is not None and call.parameters.get("QueueUrl") == dead_letters.outputs.get("url")
        parameter = SMOKE_TEST_CALLS.get(call.service, {}).get(call.operation)
        if self._smoke_test is None or parameter is None:
            return False
        known = (value for entry in self.standing for value in (*entry.identity.values(), *entry.outputs.values()))
        return str(call.parameters.get(parameter)) in known

    def _put(self, resource: Resource) -> None:
        """Into the list: in its old place when it had one, so that reading backwards stays right.

        Else after what the steps went through before it in this run: a log group that is made when the function has
        long been there still comes before the function.
        """
        resource = copy.deepcopy(resource)
        places = {existing.key: index for index, existing in enumerate(self.resources)}
        if resource.key in places:
            self.resources[places[resource.key]] = resource
            return
        earlier = [places[event.key] for event in self.results if event.key in places]
        self.resources.insert(earlier[-1] + 1 if earlier else len(self.resources), resource)

    # The file.

    def close_books(self, receipt: dict[str, Any]) -> None:
        """Drop what is deleted, keep the rest, and keep the receipt."""
        self.resources = self.standing
        self.receipt = {"at": now(), **receipt}
        self.kept_rules = AccountRules()
        self.save()
        if not any(resource.kind == "lambda:function" for resource in self.resources):
            with suppress(OSError):  # it harms nobody
                self.kept_code.unlink(missing_ok=True)

    def recover(self, deployment: str, resources: list[Resource]) -> None:
        """Record what an inventory found of a deployment whose state file is lost."""
        self.deployment = deployment
        self.resources = resources

    def forget_sandbox(self, endpoint: str | None) -> None:
        """The sandbox this state file belonged to is gone, and its resources with it: begin anew in another one."""
        self.resources = []
        self.endpoint = endpoint

    @property
    def kept_code(self) -> Path:
        """Where the code of an adopted function is kept, as it was found."""
        return self.path.with_name(self.path.name + ".before.zip")

    def keep_code(self, package: bytes) -> None:
        try:
            write_durably(self.kept_code, package)
        except OSError as error:
            raise cannot_write(self.kept_code, error) from error

    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "deployment": self.deployment,
            "account": self.account,
            "region": self.region,
            "endpoint": self.endpoint,
            "serial": self.serial,
            "resources": [in_file(resource) for resource in self.resources],
        }
        if self.kept_rules.in_file():
            content["rules"] = self.kept_rules.in_file()
        if self.receipt is not None:
            content["receipt"] = self.receipt
        if self.tests is not None:
            content["tests"] = self.tests
        return content

    def save(self) -> None:
        """Write the file so that it is whole at every moment, whatever happens. Raises StateRefused."""
        self._unsaved = True
        self.serial += 1
        if self.standing:
            self.receipt = None
        else:
            self.tests = None
        self._file.write(self.content())
        self._unsaved = False
        self._on_save(self.resources)
