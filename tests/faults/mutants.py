"""Deliberate breakages of the suite, each of which an oracle of the sweep must catch: they check the checker.

A mutant changes one resource that somebody might get wrong. `where` names what is played with it: the scenarios of the
sweep, a number of lives, or spoiled state files. An exception of the mutant itself is no catch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.endpoint
from botocore.config import Config

import provision.api
import provision.aws.calls
import provision.aws.clients
import provision.aws.operations
import provision.aws.retries
import provision.cli.runner
import provision.documents
import provision.policies
import provision.state.file
import provision.state.state
import provision.terminal.disk
import teardown
import teardown.__main__
import teardown.api
import teardown.backwards
import teardown.verbs
from provision.state.entries import Entry
from provision.state.state import State
from tests.faults.world import TOKEN, World


@dataclass(frozen=True)
class Mutant:
    name: str
    break_it: Callable[[World], None]
    where: str  # "build", "update", "teardown", "asked", "files", "state files", each with a part of its points
    kinds: tuple[str, ...] = ()  # only these kinds of fault; none: all
    calls: tuple[str, ...] = ()  # only at these operations; none: at every fifth point


MUTANTS: list[Mutant] = []


def mutant(
    where: str, *kinds: str, calls: tuple[str, ...] = ()
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    def keep(break_it: Callable[[World], None]) -> Callable[[World], None]:
        MUTANTS.append(Mutant((break_it.__doc__ or "").rstrip("."), break_it, where, kinds, calls))
        return break_it

    return keep


def put(place: Any, name: str, value: Any) -> None:
    """Break it for good: a mutant lives in a child of its own. A name that is not there would break nothing."""
    getattr(place, name)
    setattr(place, name, value)


@mutant("build", "reset after", "timeout after", "500 after", calls=("CreateRestApi", "CreateDeployment"))
def sdk_retries_left_on(world: World) -> None:
    """boto3's own retries are left on."""
    world.client_config = lambda: Config(retries={"mode": "legacy", "total_max_attempts": 5})
    put(botocore.endpoint, "time", types.SimpleNamespace(sleep=world.sleep))
    world.clients = world._make_clients()
    world.pristine = {}


@mutant("build", "killed after")
def intent_after_the_call(world: World) -> None:
    """The record is saved after the call instead of before it."""
    put(State, "permit", lambda state, call: None)


@mutant("build", "reset after", "timeout after", calls=("CreateRestApi", "CreateDeployment"))
def lost_answers_are_sent_again(world: World) -> None:
    """A write whose answer was lost is sent again without a look."""
    put(provision.aws.calls, "NEVER_SENT", provision.aws.operations.NO_ANSWER)
    put(provision.aws.retries, "NEVER_SENT", provision.aws.operations.NO_ANSWER)


@mutant("teardown", "killed after", "throttled once")
def attachments_are_left(world: World) -> None:
    """Policies are not detached before their role is deleted."""
    without(world, "iam:role-policy-attachment")


@mutant("asked", "lagging")
def one_miss_is_enough(world: World) -> None:
    """Not found is believed at the first look."""
    put(teardown.backwards, "GONE_READS", 1)


@mutant("ledgers")
def marks_are_not_looked_at_in_teardown(world: World) -> None:
    """Teardown deletes what the state file names, whatever its tags say."""
    put(State, "is_ours", lambda state, resource, found: True)
    put(teardown.backwards, "is_ours", lambda *arguments: True)


@mutant("ledgers")
def apis_go_by_name(world: World) -> None:
    """Teardown deletes every API of the name."""
    put(teardown.api, "has_our_tag", lambda state, api: api["name"] == "POC-API")


@mutant("files", "power")
def the_folder_is_not_synced(world: World) -> None:
    """The folder is not brought to the disk after a file was replaced in it."""
    put(provision.terminal.disk, "fsync_folder", lambda folder: None)


@mutant("files", "power")
def the_file_is_not_synced(world: World) -> None:
    """The temporary file is not brought to the disk before it replaces the state file."""
    proxy = type(provision.terminal.disk.os)
    real = proxy.fsync

    def fsync(self: Any, descriptor: int) -> None:
        if descriptor in self._disk.folders or descriptor in self._disk.parents:
            real(self, descriptor)
        else:
            self._disk.do("fsync", self._disk.open_files[descriptor], lambda: None)

    put(proxy, "fsync", fsync)


@mutant("files", "torn", "power", "killed before", "killed after")
def the_file_is_written_in_place(world: World) -> None:
    """The state file is overwritten where it is, without a temporary file."""

    def write_in_place(path: Path, data: bytes) -> None:
        disk = provision.terminal.disk.os._disk  # type: ignore[attr-defined]
        descriptor = provision.terminal.disk.os.open(path, 1 | 64 | 512, 0o600)  # O_WRONLY | O_CREAT | O_TRUNC
        with provision.terminal.disk.os.fdopen(descriptor, "wb") as file:
            file.write(data)
            provision.terminal.disk.os.fsync(file.fileno())
        disk.platter.fsync_folder()

    put(provision.state.file, "write_durably", write_in_place)


@mutant("build", "killed after", "reset after")
def apis_are_made_without_a_tag(world: World) -> None:
    """The API is tagged after it was made, not by the call that makes it."""

    def drop(params: dict[str, Any], **event: Any) -> None:
        params.pop("tags", None)

    on_every_tap(
        world, lambda client: client.meta.events.register_last("provide-client-params.apigateway.CreateRestApi", drop)
    )


@mutant("teardown", "denied", "killed before")
def the_books_are_always_closed(world: World) -> None:
    """Teardown closes the state file although something is left."""
    put(teardown.__main__, "close", lambda state, left: drop_all(state))


def drop_all(state: State) -> None:
    state.resources = []
    state.close_books({"looks": 0, "things": []})


@mutant("asked", "denied", "500 before", "throttled long")
def refused_reads_mean_gone(world: World) -> None:
    """What could not be read is taken for gone."""
    look = teardown.backwards.look

    def blind(looks: Any, resource: Any) -> Any:
        try:
            return look(looks, resource)
        except Exception:  # noqa: BLE001
            return None

    put(teardown.backwards, "look", blind)


@mutant("build", "killed after", "killed before")
def promises_are_left_out_of_the_file(world: World) -> None:
    """What is only recorded is not written into the file."""
    content = State.content

    def without_promises(state: State) -> dict[str, Any]:
        kept = content(state)
        kept["resources"] = [entry for entry in kept["resources"] if entry["status"] != "creating"]
        return kept

    put(State, "content", without_promises)


@mutant("build", "killed after")
def a_new_deployment_each_time(world: World) -> None:
    """The deployment's name is made up anew by each run."""
    init = State.__init__

    def forgetful(state: State, *arguments: Any, **hooks: Any) -> None:
        init(state, *arguments, **hooks)
        state.deployment = f"poc-{provision.state.state.secrets.token_hex(4)}"

    put(State, "__init__", forgetful)


@mutant("ledgers")
def checksums_are_not_checked(world: World) -> None:
    """A state file whose checksum does not fit is read all the same."""
    parse = provision.state.file.parse

    def trusting(data: bytes, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(data)
            content["checksum"] = provision.state.file.checksum(content)
        except (ValueError, TypeError, RecursionError):
            return parse(data, path)
        return parse(json.dumps(content).encode(), path)

    put(provision.state.state, "parse", trusting)


@mutant("ledgers")
def places_are_not_compared(world: World) -> None:
    """A state file of another account, Region or endpoint is used here."""
    put(provision.state.state, "check_bound_to", lambda *arguments: None)


@mutant("update", "killed before", "eventual")
def differences_are_not_seen(world: World) -> None:
    """What differs from the wanted state is left as it is."""
    put(Entry, "drifted", lambda entry, attribute, **values: False)


@mutant("teardown", "killed after", "throttled once")
def log_groups_are_left(world: World) -> None:
    """The log group is not deleted, as with every other tool."""
    without(world, "logs:log-group")


@mutant("teardown", "killed after", "throttled once")
def triggers_are_left(world: World) -> None:
    """The event source mapping is left to go with the function, which it does not."""
    without(world, "lambda:event-source-mapping")


def without(world: World, kind: str) -> None:
    left = dataclasses.replace(teardown.verbs.VERBS[kind], delete=lambda *arguments: None)
    put(teardown.backwards, "VERBS", {**teardown.verbs.VERBS, kind: left})
    put(teardown.backwards, "prove", lambda *arguments: [])
    put(teardown.__main__, "prove", lambda *arguments: [])


@mutant("build", "killed after")
def half_an_api_is_an_api(world: World) -> None:
    """An API that is there is taken for finished."""
    provision_api = provision.api.provision_api

    def satisfied(aws: Any, settings: Any, state: State, *rest: Any) -> Any:
        entry = state.record("api")
        if entry is not None and entry.outputs.get("id"):
            entry.status = "created"
            return entry.outputs["id"]
        return provision_api(aws, settings, state, *rest)

    put(provision.api, "provision_api", satisfied)


@mutant("update", "killed after")
def old_versions_stay(world: World) -> None:
    """A policy that has older versions is not deleted."""
    verbs = teardown.verbs.VERBS["iam:policy"]

    def delete(aws: Any, state: State, resource: Any, found: Any) -> None:
        if found["DefaultVersionId"] == "v1":
            verbs.delete(aws, state, resource, found)

    put(teardown.backwards, "VERBS", {**teardown.verbs.VERBS, "iam:policy": dataclasses.replace(verbs, delete=delete)})
    put(teardown.backwards, "prove", lambda *arguments: [])
    put(teardown.__main__, "prove", lambda *arguments: [])


@mutant("build", "expired", "denied")
def the_token_is_written_down(world: World) -> None:
    """The session token gets into the state file."""
    content = State.content
    put(State, "content", lambda state: {**content(state), "session": TOKEN})


@mutant("build", "500 after", calls=("CreateRestApi", "CreateDeployment"))
def errors_of_aws_mean_not_applied(world: World) -> None:
    """A write that AWS answered with 500 is sent again at once."""
    needs_retry = provision.aws.retries.Retries.needs_retry

    def hasty(retries: Any, response: Any, attempts: int, **event: Any) -> Any:
        if response is not None and response[0].status_code >= 500 and attempts < 3:
            return 0
        return needs_retry(retries, response=response, attempts=attempts, **event)

    put(provision.aws.retries.Retries, "needs_retry", hasty)


@mutant("teardown", "killed after", "killed before")
def deletions_are_noted_before_they_happen(world: World) -> None:
    """A resource is noted as deleted before the call that deletes it."""

    @contextlib.contextmanager
    def hasty(state: State, resource: Any) -> Iterator[None]:
        resource.status = "deleted"
        state.save()
        state._deleting.append(resource)
        try:
            yield
        finally:
            state._deleting.pop()

    put(State, "deleting", hasty)


@mutant("teardown", "reset after", "denied")
def the_proof_is_left_out(world: World) -> None:
    """What fails to go is reported as removed."""
    take_down = teardown.backwards.take_down

    def rosy(*arguments: Any, **keywords: Any) -> list[Any]:
        take_down(*arguments, **keywords)
        return []

    put(teardown.__main__, "take_down", rosy)
    put(teardown.__main__, "prove", lambda *arguments: [])
    put(teardown.__main__, "close", lambda state, left: drop_all(state))


def on_every_tap(world: World, change: Callable[[Any], None]) -> None:
    """Change the clients of every run to come."""
    for client in world.clients.values():
        world._forget_tap(client)
        change(client)
    world.pristine = {}
