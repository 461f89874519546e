"""python -m teardown: remove what provision built, and prove that nothing is left."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from provision import outcome
from provision.__main__ import (
    FOLDER,
    Parser,
    add_target_options,
    check_target,
    explained,
    run_program,
    target_arguments,
)
from provision.aws import SANDBOX_ACCOUNT, Clients, Target, connect, ledger_path
from provision.ledger import Ledger, Resource, parse
from provision.screen import KINDS, Screen, name_of, program
from provision.settings import DEFAULT_REGION, Settings
from provision.tap import Tap
from teardown.backwards import Left, prove, receipt, take_down
from teardown.contents import contents
from teardown.search import search


def main(arguments: list[str] | None = None) -> int:
    screen = Screen()
    tap = Tap()
    return run_program(lambda: teardown(arguments, screen, tap), screen, tap)


def parser() -> Parser:
    parser = Parser(prog="python -m teardown", description=__doc__.partition(": ")[2].capitalize())
    add_target_options(parser)
    return parser


def teardown(arguments: list[str] | None, screen: Screen, tap: Tap) -> int:
    command_line = parser()
    options = command_line.parse_args(arguments)
    check_target(command_line, options)
    settings = Settings(learner=options.learner)
    if options.sandbox:
        return teardown_sandbox(options, settings, screen, tap)
    aws = connect(Target(profile=options.profile, region=options.region, endpoint_url=options.endpoint_url), tap)
    path = options.state or ledger_path(aws.account_id, aws.region, aws.endpoint, options.learner, FOLDER)
    return teardown_at(path, aws, options, settings, screen)


def teardown_sandbox(options: argparse.Namespace, settings: Settings, screen: Screen, tap: Tap) -> int:
    """The sandbox's own ending: when it is gone its things are, too; when nobody else uses it, it is stopped."""
    from sandbox import process

    region = options.region or DEFAULT_REGION
    path = options.state or ledger_path(SANDBOX_ACCOUNT, region, "sandbox:", options.learner, FOLDER)
    folder = path.absolute().parent
    running = process.find(folder)
    if running is None:
        return close_without_sandbox(path, region, screen)
    aws = connect(Target(region=options.region, sandbox=(running.id, running.url)), tap)
    code = teardown_at(path, aws, options, settings, screen)
    if code == outcome.DONE:
        users = [other for other in ledgers_in(folder) if uses_sandbox(other, f"sandbox:{running.id}")]
        if users:
            screen.say(f"The sandbox goes on: {', '.join(map(str, users))} still uses it.")
        else:
            process.stop(running)
            screen.say("The sandbox is stopped.")
    return code


def close_without_sandbox(path: Path, region: str, screen: Screen) -> int:
    if not path.exists():
        screen.say(f"Nothing to do: no sandbox is running, and there is no ledger {path}.", "bold green")
        return outcome.DONE
    ledger = Ledger.open(path, account=SANDBOX_ACCOUNT, region=region, endpoint="sandbox:")
    try:
        if ledger.standing:
            screen.say(f"The sandbox {ledger.endpoint} is gone, and everything in it, too. The ledger is closed.")
            ledger.resources = []
            ledger.close_books({"looks": 0, "things": [], "sandbox": "gone"})
        else:
            screen.say("Nothing to do: the ledger is empty, and no sandbox is running.", "bold green")
    finally:
        ledger.close()
    return outcome.DONE


def teardown_at(path: Path, aws: Clients, options: argparse.Namespace, settings: Settings, screen: Screen) -> int:
    if not path.exists():
        return without_ledger(path, aws, options, settings, screen)
    began = time.monotonic()
    ledger = Ledger.open(path, account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
    aws.tap.permit = ledger.permit
    try:
        screen.banner(aws, settings, ledger)
        if ledger.endpoint != aws.endpoint:
            screen.say(f"The sandbox {ledger.endpoint} is gone, and everything in it, too. The ledger is closed.")
            ledger.forget_sandbox(str(aws.endpoint))
            ledger.close_books({"looks": 0, "things": [], "sandbox": "gone"})
            return outcome.DONE
        if not ledger.standing:
            at = (ledger.receipt or {}).get("at", "an earlier run")
            screen.say(f"Nothing to do: everything was removed already ({at}).", "bold green")
            return outcome.DONE
        return remove_all(aws, ledger, options, screen, began)
    finally:
        ledger.close()


def remove_all(aws: Clients, ledger: Ledger, options: argparse.Namespace, screen: Screen, began: float) -> int:
    backwards = list(reversed(ledger.standing))

    def tell(word: str, resource: Resource, remark: str) -> None:
        name = name_of(resource.kind, resource.identity)
        screen.line(word, KINDS[resource.kind], f"{name}  ({remark})" if remark else name)

    try:
        with explained(aws, ledger):
            screen.resources("To be removed", backwards, contents(aws, ledger))
            if not (options.yes or options.sandbox):
                screen.ask(f"Remove these {len(backwards)} things from account {aws.account_id}?", flag="--yes")
            screen.say()
            screen.say("Removing", "bold")
            left = take_down(aws, ledger, tell=tell)
            left += prove(aws, ledger)
    except outcome.Interrupted as stop:
        stop.advice = (f"Go on with: {program('teardown', target_arguments(options))}",)
        raise
    gone = receipt(ledger)
    ledger.close_books(gone)
    screen.counts(aws.tap, time.monotonic() - began)
    if left:
        raise something_left(ledger, left)
    things = gone["things"]
    assert isinstance(things, list)
    screen.say(
        f"Nothing is left: all {len(things)} recorded things were read back, each from its own service, "
        "and none is there. The receipt is in the ledger.",
        "bold green",
    )
    return outcome.DONE


def something_left(ledger: Ledger, left: list[Left]) -> outcome.Stop:
    return outcome.Stop(
        f"{len(left)} of the recorded things are left.",
        means="They stay in the ledger: "
        + "; ".join(f"{KINDS[entry.resource.kind]} {entry.resource.name}: {entry.why}" for entry in left),
        advice=("Remove what stands in the way, then run the same command again.",),
    )


def without_ledger(path: Path, aws: Clients, options: argparse.Namespace, settings: Settings, screen: Screen) -> int:
    """No ledger does not mean that there is nothing: say where it was looked for, and look in the account."""
    screen.say(f"There is no ledger at {path}.", "bold")
    others = ledgers_in(path.parent)
    if others:
        screen.say("Other ledgers in that folder: " + ", ".join(map(str, others)))
    screen.say("Looking in the account ...")
    seen = search(aws, settings)
    where = f"account {aws.account_id}, Region {aws.region}"
    if not seen:
        screen.say(f"Nothing with the suite's names was found in {where} either. Nothing to do.", "bold green")
        return outcome.DONE
    for thing in seen:
        mark = f"deployment {thing.deployment}" if thing.deployment else "no mark of this suite"
        screen.line("found", KINDS[thing.kind], f"{thing.name}  ({mark})")
    raise outcome.Stop(
        f"{len(seen)} things with the suite's names are in {where}, and no ledger says that they are yours to remove.",
        means="Nothing was changed.",
        advice=(
            "Run this where the ledger is, or name it with --state PATH.",
            "If they were made for another --learner, name that one.",
        ),
    )


def ledgers_in(folder: Path) -> list[Path]:
    """The files in a folder that are ledgers."""
    found = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and "deployment" in content and "resources" in content:
            found.append(path)
    return found


def uses_sandbox(path: Path, endpoint: str) -> bool:
    try:
        content = parse(path.read_bytes(), path)
    except (OSError, outcome.Stop):
        return True  # what cannot be read may still need it
    return content["endpoint"] == endpoint and any(entry["status"] != "deleted" for entry in content["resources"])


if __name__ == "__main__":
    sys.exit(main())
