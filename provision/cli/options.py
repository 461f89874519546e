"""The options that provision and teardown share: where, which state file, how it looks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from provision import STEPS, Step
from provision.settings import AccountRules, BadSetting, Settings, check_region
from provision.terminal.command_line import add_screen_options, meant

if TYPE_CHECKING:
    from provision.aws.clients import Clients

ASK = "ask"  # the value of --adopt without a key


def state_path(account: str, region: str, endpoint: str | None, learner: str | None, folder: Path) -> Path:
    """Where the state file of this account, Region and learner is kept unless --state says otherwise."""
    if endpoint is None:
        place = account
    elif endpoint.startswith("sandbox:"):
        place = "sandbox"
    elif "=" in endpoint.partition("://")[0]:  # service by service
        place = f"{account}-mixed"
    else:
        parts = urlsplit(endpoint)
        host = str(parts.hostname).replace(":", ".")  # of an IPv6 address; Windows has no file with a colon
        place = f"endpoint-{host}-{parts.port or parts.scheme}"
    return folder / ("-".join([place, region, *([learner] if learner else [])]) + ".json")


def add_target_options(
    parser: argparse.ArgumentParser,
    *,
    asks: bool = True,
    presents: bool = True,
    calls: bool = True,
    documents: bool = True,
) -> None:
    """The options that say where, the same for all programs.

    `asks`: it asks before the first write. `presents`: it can be shown to an audience. `calls`: it always calls AWS.
    `documents`: it can write a document.
    """
    where = parser.add_argument_group("where")
    where.add_argument("--sandbox", action="store_true", help="the suite's own local AWS; needs no account")
    where.add_argument("--profile", metavar="NAME", help="a profile of the AWS configuration")
    where.add_argument("--region", metavar="REGION", help="default: AWS_REGION, the profile's, or us-east-1")
    where.add_argument("--endpoint-url", metavar="URL", help="any other emulator of AWS")
    where.add_argument("--learner", metavar="NAME", help="a suffix on every name, to share an account")
    where.add_argument("--state", metavar="PATH", type=Path, help="the state file; default: in the folder .provision")
    add_record_options(add_screen_options(parser, presents=presents, documents=documents), events=calls)
    if asks:
        parser.add_argument("--yes", "-y", action="store_true", help="do not ask before the first change")


def add_variant_options(parser: argparse.ArgumentParser) -> None:
    """What is built."""
    parser.add_argument("--runtime", metavar="RUNTIME", help="the function's runtime; default python3.13")
    parser.add_argument(
        "--as-written", action="store_true", help="what the walkthrough literally says, faults included"
    )
    add = parser.add_argument
    add("--permissions-boundary", metavar="ARN", help='the policy that limits both roles; "none": no more')
    add("--role-path", metavar="PATH", help="the path of both roles in IAM; default: /")
    add("--tag", metavar="KEY=VALUE", action="append", help="a tag on everything; may be repeated")
    add("--lambda-role-arn", metavar="ID", help="a role that is there, for the function: none is made")
    add("--apigateway-role-arn", metavar="ARN", help="the same for API Gateway")
    add("--throttle", metavar="N", help="requests a second that each route answers; default 10")
    add("--source-ip", metavar="CIDR", action="append", help='who may call the URL; may be repeated; "none": all')
    who = ("none", "iam", "api-key")
    add("--auth", metavar="WHO", choices=who, help="who is answered: none (all), iam (signed), api-key")


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="with --dry-run: exit with 2 for work or drift"
    )


def add_record_options(group: argparse._ArgumentGroup, *, events: bool) -> None:
    """What is written while the program runs."""
    if events:
        group.add_argument(
            "--events", metavar="FILE", type=Path, help='each event as a line of JSON, at once; "-": on stdout'
        )
    group.add_argument("--debug", action="store_true", help="a log of the calls, without bodies and secrets")


def step_named(text: str) -> Step:
    """The step with this number or name. Raises argparse's error, which names the nearest, and all of them."""
    for step in STEPS:
        if text in (str(step.number), step.name):
            return step
    known = ", ".join(f"{step.number} ({step.name})" for step in STEPS)
    near = meant(text, [step.name for step in STEPS])
    raise argparse.ArgumentTypeError(f"there is no step {text!r}; {f'{near} There' if near else 'there'} are {known}")


def folder_named(text: str) -> Path:
    """The folder of that name. Raises argparse's error when there is none."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text)


def check_target(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and names that cannot be names."""
    if options.sandbox and (options.profile or options.endpoint_url):
        other = source_of(options, "profile" if options.profile else "endpoint_url")
        this = source_of(options, "sandbox")
        parser.error(f"{this} is a local AWS of its own and cannot be combined with {other}")
    if options.region is not None:
        check_region(options.region, source_of(options, "region"))


def target_arguments(options: argparse.Namespace, aws: Clients | None = None) -> list[str]:
    """The options with which another command means the same deployment.

    With `aws` they include what came from environment variables: the next shell may not have those.
    """
    arguments = ["--sandbox"] if options.sandbox else []
    from_environment: dict[str, str | None] = {}
    if aws is not None and not options.sandbox:
        from_environment["endpoint_url"] = aws.base_url
        if aws.region_from.source in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            from_environment["region"] = aws.region
    for name in ("profile", "region", "endpoint_url", "learner", "state"):
        value = getattr(options, name) or from_environment.get(name)
        if value is not None:
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


def source_of(options: argparse.Namespace, name: str) -> str:
    """Where an option's value came from: the option itself, a variable, or the file."""
    return str(options.sources.get(name, f"--{name.replace('_', '-')}"))


def settings_of(options: argparse.Namespace) -> Settings:
    """The names and values that the options ask for. Raises BadSetting, which says where the bad value came from."""
    try:
        return Settings(
            learner=options.learner,
            runtime_asked=getattr(options, "runtime", None),
            as_written=getattr(options, "as_written", False),
            rules=rules_of(options),
        )
    except BadSetting as error:
        what = error.what
        for name in ("learner", "runtime", *RULES, "tag", "source_ip"):
            what = what.replace(f"--{name.replace('_', '-')}", source_of(options, name))
        raise error.with_words(what=what) from error


# The options of the account's rules with one value, by the names of AccountRules.
RULES = ("permissions_boundary", "role_path", "lambda_role_arn", "apigateway_role_arn", "throttle", "auth")


def rules_of(options: argparse.Namespace) -> AccountRules:
    """What the options say of the account's rules. Raises BadSetting."""
    tags = getattr(options, "tag", None) or []
    without_value = [tag for tag in tags if "=" not in tag]
    if without_value:
        raise BadSetting(
            f"--tag {without_value[0]!r} is not KEY=VALUE.", advice=("Write --tag Team=Red, for example.",)
        )
    pairs = (tag.partition("=") for tag in tags)
    return AccountRules(
        tags=tuple((key, value) for key, _, value in pairs),
        source_ips=tuple(getattr(options, "source_ip", None) or ()),
        **{name: getattr(options, name, None) or "" for name in RULES},
    )


def variant_arguments(options: argparse.Namespace) -> list[str]:
    """The options with which another run builds the same."""
    arguments = [*(["--runtime", options.runtime] if options.runtime else []), *(["--as-written"] * options.as_written)]
    for name in RULES:
        value = getattr(options, name, None)
        arguments += [f"--{name.replace('_', '-')}", value] if value else []
    for name in ("tag", "source_ip"):
        for value in getattr(options, name, None) or []:
            arguments += [f"--{name.replace('_', '-')}", value]
    return arguments
