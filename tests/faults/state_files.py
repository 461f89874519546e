"""State files that are not as the suite wrote them: damaged, edited, of another place, with a stranger's names."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from provision.state.file import checksum
from tests.faults import account as accounts
from tests.faults.sweep import LEDGER, Result, Sweep
from tests.faults.world import Ended

Content = dict[str, Any]


def truncate(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def flip_bits(data: bytes, dice: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(dice.choice((1, 1, 8, 64))):
        spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
    return bytes(spoiled)


def append(data: bytes, dice: random.Random) -> bytes:
    return data + dice.choice((b"}", b"\x00" * 32, data, b"null"))


def replace_whole(data: bytes, dice: random.Random) -> bytes:
    return dice.choice((b"", b"[]", b"null", b"{}", b"\x00" * 512, b'"' + b"a" * 4096, b"[" * 20000))


# Edits of the parsed content. Each takes it, changes it, and leaves the checksum to the caller.


def any_value(dice: random.Random, foreign: dict[str, list[str]]) -> Any:
    names = [name for names in foreign.values() for name in names]
    return dice.choice((None, 0, -1, 3.5, True, "", "x", "..", "a" * 300, [], {}, ["a"], {"a": "b"}, *names))


def edit_top(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    content[dice.choice([name for name in content if name != "deployment"])] = any_value(dice, foreign)


def drop_top(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    content.pop(dice.choice(list(content)))


def edit_entry(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    if content["resources"]:
        entry = dice.choice(content["resources"])
        entry[dice.choice(list(entry))] = any_value(dice, foreign)


def drop_entry(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    if content["resources"]:
        content["resources"].remove(dice.choice(content["resources"]))


def double_entry(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    if content["resources"]:
        content["resources"].append(json.loads(json.dumps(dice.choice(content["resources"]))))


def shuffle_entries(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    dice.shuffle(content["resources"])


def swap_parts(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    if len(content["resources"]) > 1:
        one, other = dice.sample(content["resources"], 2)
        part = dice.choice(("identity", "outputs", "status", "kind", "key", "parent", "origin"))
        one[part], other[part] = other[part], one[part]


def change_status(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    for entry in content["resources"]:
        if dice.random() < 0.4:
            entry["status"] = dice.choice(("creating", "created", "deleting", "deleted", "gone"))


def change_origin(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    for entry in content["resources"]:
        if dice.random() < 0.4:
            entry["origin"] = dice.choice(("created", "adopted", "found"))
            entry["before"] = dice.choice(({}, {"tags": "{}"}, {"VisibilityTimeout": '"5"'}, {"x": "not JSON"}))


def name_theirs(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    """Entries that name somebody else's resources instead of ours, with their ids."""
    for entry in content["resources"]:
        if dice.random() < 0.6 and foreign.get(entry["kind"]):
            name = dice.choice(foreign[entry["kind"]])
            identity, known = name.split("\n")
            entry["identity"] = json.loads(identity)
            if dice.random() < 0.8:
                entry["outputs"] = {**entry["outputs"], "id": known}
            if dice.random() < 0.3:
                entry["parent"] = dice.choice([None, "function-role", "api", "function"])


def other_place(content: Content, dice: random.Random, foreign: dict[str, list[str]]) -> None:
    name = dice.choice(("account", "region", "endpoint"))
    content[name] = {
        "account": "210987654321",
        "region": "eu-west-1",
        "endpoint": dice.choice((None, "http://127.0.0.1:5000")),
    }[name]


EDITS: tuple[Callable[[Content, random.Random, dict[str, list[str]]], None], ...] = (
    edit_top,
    drop_top,
    edit_entry,
    edit_entry,
    drop_entry,
    double_entry,
    shuffle_entries,
    swap_parts,
    change_status,
    change_origin,
    name_theirs,
    name_theirs,
    other_place,
)
SPOILINGS: tuple[Callable[[bytes, random.Random], bytes], ...] = (truncate, flip_bits, append, replace_whole)


def foreign_names(inventory: dict[str, Any]) -> dict[str, list[str]]:
    """By kind, the identities of strangers' resources with AWS's id, as an entry would name them."""

    def named(kind: str, field: str, prefix: str = "") -> list[str]:
        return [
            json.dumps({field: prefix + name})
            + "\n"
            + str(resource.get("id") or resource.get("CreatedTimestamp") or name)
            for name, resource in inventory[kind].items()
        ]

    return {
        "iam:policy": named("iam:policy", "PolicyArn", "arn:aws:iam::123456789012:policy/"),
        "iam:role": named("iam:role", "RoleName"),
        "iam:role-policy-attachment": [
            json.dumps({"RoleName": "their-role", "PolicyArn": "arn:aws:iam::123456789012:policy/their-policy"}) + "\nx"
        ],
        "dynamodb:table": named("dynamodb:table", "TableName"),
        "sqs:queue": named("sqs:queue", "QueueName"),
        "logs:log-group": named("logs:log-group", "logGroupName"),
        "lambda:function": named("lambda:function", "FunctionName"),
        "lambda:permission": [
            json.dumps({"FunctionName": f"{who}-function", "StatementId": "API-invoke"}) + "\nx"
            for who in ("their", "other")
        ],
        "lambda:event-source-mapping": [
            json.dumps(
                {
                    "EventSourceArn": mapping["EventSourceArn"],
                    "FunctionName": mapping["FunctionArn"].rpartition(":")[2],
                }
            )
            + f"\n{uuid}"
            for uuid, mapping in inventory["lambda:event-source-mapping"].items()
        ],
        "apigateway:rest-api": [
            json.dumps({"name": api["name"]}) + f"\n{api_id}"
            for api_id, api in inventory["apigateway:rest-api"].items()
        ],
        "apigateway:stage": [
            json.dumps({"restApiId": key.split()[0], "stageName": key.split()[1]}) + "\nx"
            for key in inventory["apigateway:stage"]
        ],
        **{
            kind: [json.dumps({"name": one["name"]}) + f"\n{known}" for known, one in inventory[kind].items()]
            for kind in ("apigateway:api-key", "apigateway:usage-plan")
        },
        "apigateway:usage-plan-key": [
            json.dumps({"usagePlanId": key.split()[0], "keyId": key.split()[1]}) + "\nx"
            for key in inventory["apigateway:usage-plan-key"]
        ],
    }


def mutate(data: bytes, dice: random.Random, inventory: dict[str, Any]) -> tuple[bytes, str, bool]:
    """The spoiled file, how it was spoiled, and whether it must be refused."""
    if dice.random() < 0.25:
        spoil = dice.choice(SPOILINGS)
        spoiled = spoil(data, dice)
        try:
            content = json.loads(spoiled)
            fits = content.get("checksum") == checksum(content)
        except (ValueError, AttributeError, RecursionError):
            fits = False
        return spoiled, spoil.__name__, not fits
    content = json.loads(data)
    edits = [dice.choice(EDITS) for _ in range(dice.choice((1, 1, 2, 3)))]
    foreign = foreign_names(inventory)
    done = []
    for edit in edits:
        try:
            edit(content, dice, foreign)
        except (KeyError, TypeError, AttributeError, ValueError):
            continue  # an earlier edit left nothing to edit
        done.append(edit.__name__)
    forged = dice.random() < 0.8
    if forged:
        content["checksum"] = checksum(content)
    spoiled = json.dumps(content).encode()
    must = content.get("checksum") != checksum(content)
    must = must or any(
        content.get(name) != json.loads(data)[name] for name in ("account", "region", "endpoint", "schema")
    )
    return spoiled, "+".join(done) + ("" if forged else " without a checksum"), must


def try_ledgers(sweep: Sweep, seed: int, count: int, state: str) -> None:
    """Spoil the state file that is in the folder now `count` times, and run a program on each."""
    dice = random.Random(f"{seed} {state}")
    data = LEDGER.read_bytes()
    before = sweep.world.account.inventory()
    strangers_part = {kind: set(resources) for kind, resources in sweep.before.items()}
    for number in range(count):
        spoiled, how, must_refuse = mutate(data, dice, sweep.before)
        name = dice.choice(("provision", "teardown", "teardown"))
        point = f"state file:{state}:{number}"
        if not sweep.select(point):
            continue
        result = Result(point, f"{name} on a state file", how)
        if not sweep.at_point(result):
            continue
        try:
            try_one(sweep, result, name, spoiled, must_refuse and spoiled != data, before, strangers_part)
        except BaseException as error:  # noqa: BLE001
            result.failures.append(f"the smoke test itself failed: {error!r}")
        sweep.finish(result)


def try_one(
    sweep: Sweep,
    result: Result,
    name: str,
    spoiled: bytes,
    must_refuse: bool,
    before: dict[str, Any],
    strangers_part: dict[str, set[str]],
) -> None:
    LEDGER.write_bytes(spoiled)
    ended = sweep.world.run(name, *(["--no-try"] if name == "provision" else []))
    sweep.judge_run(result, ended)
    result.ended = f"{ended.code}{' refused' if refused(ended) else ''}"
    after = sweep.world.account.inventory()
    for kind, keys in strangers_part.items():
        theirs = {key: after[kind].get(key) for key in keys}
        result.failures += [
            f"foreign damage {line}"
            for line in accounts.differing(theirs, {key: sweep.before[kind][key] for key in keys}, f"/{kind}")
        ]
    if refused(ended):
        if sweep.world.wrote:
            result.failures.append(f"refused, and yet it wrote: {sweep.world.wrote}")
        if LEDGER.read_bytes() != spoiled:
            result.failures.append("refused, and yet it overwrote the file")
    elif must_refuse:
        result.failures.append(f"not refused: exit {ended.code}")


def refused(ended: Ended) -> bool:
    return any(line.startswith("Error: The state file ") for line in ended.talk.splitlines())
