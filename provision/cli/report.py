"""`report`: the page that a learner hands in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from provision.account.plan import DryState
from provision.check.verdicts import FAIL, Finding, Seen, check
from provision.cli.deployment import begun, deployment, path_before_connecting
from provision.cli.ending import explained
from provision.cli.options import add_target_options, add_variant_options, folder_named, target_arguments
from provision.cli.results import Result
from provision.cli.session import Session
from provision.lesson.checked import explained as told
from provision.lesson.page import names
from provision.lesson.place import ENDING, Place
from provision.lesson.report import Report, make_report
from provision.settings import DEFAULT_REGION, Settings
from provision.state.file import StateRefused, parse
from provision.terminal import outcome
from provision.terminal.command_line import Parser, state_folder
from provision.terminal.shell import program
from provision.terminal.text import plural
from provision.terminal.writing import write_file


def report_parser() -> Parser:
    parser = Parser(
        prog="python -m provision report",
        description="What was done in the lesson, as a page to hand in: by whom, the guesses, the answers, the checks.",
        example="python -m provision report --sandbox --out report.html",
    )
    add_target_options(parser, asks=False, presents=False)
    add_variant_options(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="the page; default: report.html, of a learner report-NAME.html"
    )
    parser.add_argument("--name", metavar="TEXT", help="whose it is; default: the learner's name")
    parser.add_argument("--lessons", metavar="FOLDER", type=folder_named, help="the pages of your own that were used")
    return parser


@dataclass(frozen=True)
class Found:
    """Where the lesson was, and what is there now; `not_checked` says why that was not looked at."""

    path: Path
    account: str = ""
    region: str = DEFAULT_REGION
    partition: str = "aws"
    deployment: str = ""
    api_id: str = ""
    findings: tuple[Finding, ...] = ()
    not_checked: str = ""


def report(given: list[str], session: Session) -> Result:
    """`report`: exit code 0 whatever is in it. Where AWS or the sandbox is not reached, the page says so."""
    options, settings = begun(report_parser(), given, session)
    try:
        found = looked_at(given, options, settings, session)
    except outcome.UserError as stop:
        if stop.exit_code in (outcome.USAGE, outcome.INTERRUPTED):
            raise
        found = by_file(options, stop)
    place = Place.read(found.path)
    if place.is_new:
        raise no_lesson(found.path, options)
    known = names(settings, account=found.account, region=found.region, partition=found.partition)
    findings = told(found.findings, known, folder=options.lessons)
    whose = options.name or options.learner or ""
    made = make_report(place, known, name=whose, not_checked=found.not_checked, lessons=options.lessons)
    session.note(report=made, checks=tuple(findings), deployment=found.deployment or None, learner=options.learner)
    show_report(session, made, findings)
    out = options.out or (None if options.output == "json" else default_file(options.learner))
    if out is not None and options.out is None and made.not_checked and out.exists():
        session.screen.say(f"{out} stays as it is: it may say more. To write it anew all the same: --out {out}")
    elif out is not None:
        from provision.lesson.report_page import report_page  # its templates take time to import

        hidden = {found.account: "account", found.api_id: "id of api"}
        facts = facts_of(made, found, place.endpoint)
        write_file(out, report_page(made, facts, findings, hidden=hidden), session.screen)
        session.note(file=str(out))
    return session.result


def looked_at(given: list[str], options: argparse.Namespace, settings: Settings, session: Session) -> Found:
    """By asking AWS or the sandbox. Raises UserError where it is not reached."""
    with deployment("report", given, options, settings, session, kind=DryState) as (aws, settings, recorded):
        api = recorded.record("api")
        api_id = str(api.outputs.get("id", "")) if api is not None else ""
        found = Found(recorded.path, aws.account_id, aws.region, aws.partition, recorded.deployment, api_id)
        place = Place.read(recorded.path)
        if place.is_new:
            return found
        if place.endpoint != aws.endpoint:
            return replace(found, not_checked=f"The lesson was at {place.endpoint}, which is gone.")
        with explained(aws):
            return replace(found, findings=tuple(check(aws, settings, seen=Seen(api_id=api_id or None))))


def by_file(options: argparse.Namespace, stop: outcome.UserError) -> Found:
    """By the files alone, since `stop` is in the way of more; raised where they do not tell which lesson is meant."""
    path = path_before_connecting(options)
    if path is None:
        end = f"-{options.learner}" if options.learner else ""
        kept = sorted(state_folder().glob(f"*{end}{ENDING}"))
        if len(kept) != 1:
            raise stop
        path = kept[0].with_name(kept[0].name.removesuffix(ENDING) + ".json")
    found = Found(path, region=options.region or DEFAULT_REGION, not_checked=stop.what)
    try:
        state = parse(path.read_bytes(), path)
        return replace(found, account=state["account"], region=state["region"], deployment=state["deployment"])
    except (OSError, StateRefused):
        return found


def no_lesson(path: Path, options: argparse.Namespace) -> outcome.UserError:
    others = sorted(one.name.removesuffix(ENDING) for one in path.parent.glob(f"*{ENDING}"))
    return outcome.UserError(
        f"There is no lesson beside {path}.",
        means=f"There are lessons of {', '.join(others)}." if others else "What is reported is what a lesson has kept.",
        advice=(
            f"Take the lesson: {program('provision', [*target_arguments(options), '--step'])}",
            "or name whose it is with --learner NAME, or where with --state PATH.",
        ),
    )


def default_file(learner: str | None) -> Path:
    return Path(f"report-{learner}.html" if learner else "report.html")


def facts_of(made: Report, found: Found, endpoint: str | None) -> dict[str, str]:
    """What stands at the top of the page."""
    when = sorted(page.at for page in made.pages if page.at)
    sandbox = (endpoint or "").startswith("sandbox:")
    where = "AWS" if endpoint is None else "the sandbox, a local AWS" if sandbox else f"{endpoint}, which is not AWS"
    return {
        **({"Name": made.name} if made.name else {}),
        **({"Deployment": found.deployment} if found.deployment else {}),
        "Where": f"{where}, Region {found.region}",
        **({"When": f"{minute(when[0])} to {minute(when[-1])} UTC"} if when else {}),
        "Written": f"{minute(made.written)} UTC",
    }


def minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def show_report(session: Session, made: Report, findings: Sequence[Finding]) -> None:
    """A line for each page, and what was checked."""
    screen = session.screen
    screen.tell()
    for page in made.pages:
        screen.tell(f"  {page.number}  {page.title:<14}{page.by_whom}")
    screen.tell()
    failed = sum(one.outcome == FAIL for one in findings)
    checked = f"{plural(len(findings), 'attribute')} checked, {failed} fail" if findings else "nothing was checked"
    screen.tell(f"{made.summary}; {checked}.")
    if made.not_checked:
        screen.say(made.not_checked)
