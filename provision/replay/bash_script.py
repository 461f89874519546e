"""A plan as a shell script of `aws` commands, for bash 3.2 and newer."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator

from botocore import xform_name

from provision.aws.call_text import aws_command, operation_model, options_of
from provision.package import zipped
from provision.replay.script import (
    FOUND_AGAIN,
    PATTERNS,
    Do,
    Plan,
    Removal,
    Until,
    WaitFor,
    comment,
    indented,
    lines_of_pattern,
    shown,
)

HEAD = """\
#!/usr/bin/env bash
# {title}
#
#   bash {file}             builds it
#   bash {file} teardown    takes it down again, and looks that nothing is left
#
# It needs the aws command, version 1 or 2, with credentials. AWS_REGION says where, AWS_ENDPOINT_URL leads it to a
# sandbox. DEPLOYMENT is the value of the tag on all that it makes; teardown leaves alone what does not bear it.
#
# shellcheck disable=SC2016  # $util and $input are variables of API Gateway's
[ -n "${{BASH_VERSION:-}}" ] || exec bash "$0" "$@"  # it was run with sh
set +o posix
set -euo pipefail

case "${{1:-build}}" in
build | teardown) ;;
*)
    echo "usage: bash $0 [build|teardown]" >&2
    exit 252
    ;;
esac

export AWS_REGION="${{AWS_REGION:-${{AWS_DEFAULT_REGION:-{region}}}}}"
export AWS_DEFAULT_REGION="$AWS_REGION" AWS_PAGER=""
export AWS_MAX_ATTEMPTS=1  # whether a call may be sent once more is for this script to say
DEPLOYMENT="${{DEPLOYMENT:-{deployment}-$AWS_REGION}}"
case "$DEPLOYMENT" in
None | *[!A-Za-z0-9_.:/=+@-]*)  # None is what the aws command prints where there is no tag
    echo "DEPLOYMENT may have letters, digits and _.:/=+@- only: $DEPLOYMENT" >&2
    exit 252
    ;;
esac

# What AWS says while something passes by itself; the same while things are being built; of what is not there; of what
# is there already. NOT_SENT is a network that is not there; LOST leaves open whether AWS has done it.
BUSY={busy}
NOT_YET={not_yet}
GONE={gone}
THERE={there}
NOT_SENT={not_sent}
LOST={lost}
passes="$BUSY|$NOT_SENT|$LOST"
exec 3>&2  # for a person, wherever the rest goes

# Version 1 of the aws command overlooks AWS_ENDPOINT_URL for SQS.
aws() {{
    command aws ${{AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"}} "$@"
}}

# How to take down what this run makes, as a line to paste.
undo=$(
    for name in AWS_PROFILE AWS_ENDPOINT_URL AWS_REGION DEPLOYMENT; do
        [ -z "${{!name:-}}" ] || printf '%s=%q ' "$name" "${{!name}}"
    done
    printf 'bash %q teardown' "$0"
)

work=$(mktemp -d)
FUNCTION_ZIP="$work/function.zip"
begun=""
at_end() {{
    local ended=$?
    rm -rf "$work"
    [ "$ended" = 0 ] || [ -z "$begun" ] || printf 'Stopped. To remove what is there:\\n%s\\n' "$undo" >&3
}}
trap at_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command, again and again while it fails for a reason that passes by itself; says so once.
again() {{
    local lost="" told="" until=$((SECONDS + 300))
    until "$@" 2>"$work/refusal"; do
        if grep -qE "$LOST" "$work/refusal"; then
            lost=yes
        elif [ "$lost" ] && grep -qE "$THERE" "$work/refusal" && ! grep -qE "$BUSY" "$work/refusal"; then
            return 0  # it was done the time before
        fi
        if ! grep -qE "$passes" "$work/refusal" || ((SECONDS > until)); then
            cat "$work/refusal" >&2
            return 1
        fi
        [ "$told" ] || echo "    waiting: $(tail -n 1 "$work/refusal" | sed 's/ (reached max retries: 0)//')" >&3
        told=yes
        sleep 2
    done
}}

# The same for what AWS would do a second time without a word: when the answer was lost find_it looks, for half a
# minute, before the command is sent once more.
once() {{
    local found until=$((SECONDS + 300))
    until passes="$BUSY|$NOT_YET|$NOT_SENT" again "$@" 2>"$work/said"; do
        if ! grep -qE "$LOST" "$work/said" || ((SECONDS > until)); then
            cat "$work/said" >&2
            return 1
        fi
        echo "    waiting: $(tail -n 1 "$work/said")" >&3
        for _ in 1 2 3 4 5 6; do
            sleep 5
            found=$(find_it) || return 1
            if [ -n "$found" ]; then
                echo "$found"
                return 0
            fi
        done
    done
}}

# Runs a command that looks until it writes this text.
settled() {{
    local wanted=$1 found until=$((SECONDS + 300))
    shift
    found=$("$@")
    while [ "$found" != "$wanted" ]; do
        if ((SECONDS > until)); then
            echo "Gave up after 300 s: $*" >&2
            return 1
        fi
        sleep 2
        found=$("$@")
    done
}}

# Writes what a command finds, and nothing where the thing is not there.
look() {{
    if ! passes="$BUSY|$NOT_SENT|$LOST" again "$@" 2>"$work/said"; then
        grep -qE "$GONE" "$work/said" || {{ cat "$work/said" >&2; return 1; }}
    fi
}}

# Whether a thing is there, and whether the tag on it is this deployment's.
ours() {{
    case "$2" in
    "$DEPLOYMENT") return 0 ;;
    "") echo "gone     $1" ;;
    *) echo "left     $1: it is not of deployment $DEPLOYMENT" ;;
    esac
    return 1
}}

# Notes what is in the way of a build.
free() {{
    case "$2" in
    "") ;;
    "$DEPLOYMENT") there="$there
    $1" ;;
    *) taken="$taken
    $1 (the tag $DEPLOYMENT is ours; it has: $2)" ;;
    esac
}}

# Deletes; what is gone already is deleted.
remove() {{
    again "$@" >/dev/null 2>"$work/said" || grep -qE "$GONE" "$work/said" || {{ cat "$work/said" >&2; return 1; }}
}}

caller=$(again aws sts get-caller-identity --query "[Account,Arn]" --output text)
read -r ACCOUNT_ID caller <<<"$caller"
case "$caller" in
arn:{partition}:*) ;;
*)
    echo "This script is for the partition {partition}, and these credentials are of another: $caller" >&2
    exit 253
    ;;
esac
echo "Region $AWS_REGION, account $ACCOUNT_ID, caller $caller, deployment $DEPLOYMENT"
begun=yes
"""

FOOT = """
"${1:-build}"
"""

# What each of boto3's waiters looks with: its parameters are that call's.
LOOKS = {
    "role_exists": "GetRole",
    "table_exists": "DescribeTable",
    "function_active_v2": "GetFunction",
    "function_updated_v2": "GetFunction",
}


def shell_script(plan: Plan, file: str) -> str:
    """The script's text. `file` is the name that its own help shows."""
    names = {**plan.variables, **FOUND_AGAIN}
    head = HEAD.format(
        title=plan.title,
        file=shlex.quote(shown(file)),
        region=plan.region,
        deployment=plan.own_deployment,
        partition=plan.partition,
        **{name: word_of(pattern) for name, pattern in PATTERNS.items()},
    )
    return "\n".join([head, *finds(plan, names), *build(plan, names), "", *teardown(plan, names)]) + "\n" + FOOT


def word_of(pattern: str) -> str:
    """A pattern as one word of a shell, a refusal a line."""
    return "\\\n".join(shlex.quote(part) for part in lines_of_pattern(pattern))


def find(removal: Removal) -> str:
    """The name of the function that looks for a thing."""
    return f"find_{re.sub('[^a-z0-9]+', '_', removal.title.lower()).strip('_')}"


def finds(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    """A function for each thing that is taken down: it says whose the thing is, and finds what AWS invented."""
    for removal in plan.removals:
        yield f"{find(removal)}() {{"
        yield from indented(list(lines_of_find(removal, names)))
        yield "}"
        yield ""


def build(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    yield "build() {"
    yield '    local owner taken="" there=""'
    yield '    begun=""'
    for removal in plan.removals:
        yield f"    {find(removal)}"
        yield f'    free {shlex.quote(removal.title)} "$owner"'
    yield '    if [ "$taken" ]; then'
    yield '        echo "In the way, and not touched:$taken" >&2'
    yield "        exit 1"
    yield "    fi"
    yield '    if [ "$there" ]; then'
    yield '        echo "There already, by this script:$there" >&2'
    yield "        printf 'To build it anew, take it down first:\\n%s\\n' \"$undo\" >&2"
    yield "        exit 1"
    yield "    fi"
    yield "    begun=yes"
    yield '    passes="$BUSY|$NOT_YET|$NOT_SENT|$LOST"'
    for part in plan.parts:
        title = f"Step {part.step.number} of 8: {part.step.title}"
        yield ""
        yield from indented(["#", f"# {title}", *comment(part.page.purpose), "#"])
        yield from indented([f"echo {shlex.quote(title)}"])
        if part.step.name == "function":
            yield "    # lambda_function.py, zipped: what stands here is a file of the ZIP format in base64."
            yield "    base64 --decode >\"$FUNCTION_ZIP\" <<'ZIP'"
            yield from base64_lines(zipped(plan.handler))
            yield "ZIP"
        for one in part.calls:
            yield from indented(lines_of(one, names))
    url = f"$API_ID.execute-api.$AWS_REGION.{plan.dns_suffix}/{plan.stage}/{plan.path_part}"
    local = f"$AWS_ENDPOINT_URL/restapis/$API_ID/{plan.stage}/_user_request_/{plan.path_part}"
    yield ""
    yield "    printf 'Built. To take it down again:\\n%s\\n' \"$undo\""
    yield '    echo "Anyone who knows this address may call it:"'
    yield '    if [ "${AWS_ENDPOINT_URL:-}" ]; then'
    yield f'        echo "{local}"'
    yield "    else"
    yield f'        echo "https://{url}"'
    yield "    fi"
    yield "}"


def lines_of(one: Do | WaitFor | Until, names: dict[str, str]) -> list[str]:
    if isinstance(one, WaitFor):
        options = options_of(operation_model(one.service, LOOKS[one.waiter]), one.parameters, names)
        return [" ".join(["again aws", one.service, "wait", xform_name(one.waiter, "-").replace("_", "-"), *options])]
    if isinstance(one, Until):
        return [f"settled {shlex.quote(one.text)} again {command(one.look, names)}"]
    lines = []
    runs = "again"
    if one.done is not None:
        lines.append(f"find_it() {{ look {command(one.done, names)}; }}")
        runs = "once"
    if one.keep:
        return [*lines, f"{one.keep}=$({runs} {command(one, names)})"]
    return [*lines, f"{runs} {command(one, names)} >/dev/null"]


def command(one: Do, names: dict[str, str]) -> str:
    return aws_command(one.service, one.operation, one.parameters, names=names, query=one.query or None)


def teardown(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    yield "teardown() {"
    yield "    local owner"
    for removal in plan.removals:
        yield ""
        yield from indented(list(lines_of_removal(removal, names)))
    yield ""
    yield '    echo "Nothing of deployment $DEPLOYMENT is left in $AWS_REGION of account $ACCOUNT_ID."'
    yield "}"


def lines_of_find(removal: Removal, names: dict[str, str]) -> Iterator[str]:
    looks, tag = removal.find, removal.tag
    if looks is not None:
        yield f"{looks.keep}=$(look {command(looks, names)})"
    if tag is None and looks is not None:
        yield f'owner="${{{looks.keep}:+$DEPLOYMENT}}"'
    elif tag is not None and looks is not None:
        yield f'owner=$([ -z "${looks.keep}" ] || look {command(tag, names)})'
    elif tag is not None:
        yield f"owner=$(look {command(tag, names)})"


def lines_of_removal(removal: Removal, names: dict[str, str]) -> Iterator[str]:
    yield find(removal)
    yield f'if ours {shlex.quote(removal.title)} "$owner"; then'
    for call in removal.calls:
        yield from indented([f"remove {command(call, names)}"])
    yield from indented(
        [f"settled '' look {command(removal.look, names)}", f"echo {shlex.quote(f'deleted  {removal.title}')}"]
    )
    yield "fi"


def base64_lines(package: bytes) -> list[str]:
    text = base64.b64encode(package).decode()
    return [text[at : at + 100] for at in range(0, len(text), 100)]
