"""A plan as a Python script that needs nothing but boto3."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from botocore import xform_name

from provision.aws.call_text import CLIENTS, boto3_lines, literal, quoted, text
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

HEAD = '''\
#!/usr/bin/env python3
"""{title}

    python {file}             builds it
    python {file} teardown    takes it down again, and looks that nothing is left

It needs boto3, with credentials. AWS_REGION says where, AWS_ENDPOINT_URL leads it to a sandbox. DEPLOYMENT is the value
of the tag on all that it makes; teardown leaves alone what does not bear it.
"""

import io
import json
import os
import re
import shlex
import sys
import time
import zipfile
from contextlib import contextmanager

import boto3
import jmespath  # boto3 brings it along
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

aws_region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "{region}"
deployment = os.environ.get("DEPLOYMENT") or f"{deployment}-{{aws_region}}"

# What AWS says while something passes by itself; the same while things are being built; of what is not there; of what
# is there already. NOT_SENT is a network that is not there; LOST leaves open whether AWS has done it.
BUSY = {busy}
NOT_YET = {not_yet}
GONE = {gone}
THERE = {there}
NOT_SENT = {not_sent}
LOST = {lost}
ALWAYS = f"{{BUSY}}|{{NOT_SENT}}|{{LOST}}"


class Patient:
    """A client of boto3's that makes each call again while it fails for a reason that passes by itself.

    `done` looks for what a call makes that AWS would do a second time without a word. When the answer was lost it
    looks, for half a minute, before the call is sent once more.
    """

    passes = ALWAYS

    def __init__(self, service, done=None):
        config = Config(retries={{"total_max_attempts": 1, "mode": "standard"}})
        self.service, self.done = service, done
        self.client = boto3.client(service, region_name=aws_region, config=config)

    def __getattr__(self, name):
        if name == "get_waiter":
            return lambda waiter: Waiter(self.client.get_waiter(waiter), self)
        return lambda **parameters: self.call(getattr(self.client, name), parameters)

    def once(self, done):
        return Patient(self.service, done)

    def call(self, method, parameters, passes=None):
        lost, told, until = False, False, time.monotonic() + 300
        while True:
            try:
                return method(**parameters)
            except (BotoCoreError, ClientError) as error:
                words = str(error).replace(" (reached max retries: 0)", "")  # it is this program that tries again
                if re.search(LOST, words):
                    lost = True
                    for _ in range(6 if self.done else 0):
                        time.sleep(5)
                        found = self.done()
                        if found:
                            return found
                elif lost and re.search(THERE, words) and not re.search(BUSY, words):
                    return {{}}  # it was done the time before
                if not re.search(passes or self.passes, words) or time.monotonic() > until:
                    raise
            if not told:
                print(f"    waiting: {{words}}", file=sys.stderr)
            told = True
            time.sleep(2)


class GaveUp(Exception):
    """What was waited for did not come."""


class Waiter:
    """One of boto3's waiters, patient like the client that it is of."""

    def __init__(self, waiter, client):
        self.waiter, self.client = waiter, client

    def wait(self, **parameters):
        self.client.call(self.waiter.wait, parameters)


def found(query, client, operation, **parameters):
    """The first that a look finds, on all its pages; "" where there is nothing, or the thing itself is gone."""
    try:
        if client.client.can_paginate(operation):
            pages = client.client.get_paginator(operation).paginate(**parameters)
            answers = client.call(lambda: list(pages), {{}}, ALWAYS)
        else:
            answers = [client.call(getattr(client.client, operation), parameters, ALWAYS)]
    except ClientError as error:
        if re.search(GONE, str(error)):
            return ""
        raise
    for answer in answers:
        value = jmespath.search(query, answer)
        if value != []:
            return value[0] if isinstance(value, list) else value
    return ""


def settled(wanted, look):
    """Look until it is so."""
    until = time.monotonic() + 300
    while look() != wanted:
        if time.monotonic() > until:
            raise GaveUp(f"Gave up after 300 s: this was to become {{wanted or 'nothing'!r}}: {{look()!r}}")
        time.sleep(2)


def ours(title, owner):
    """Whether a thing is there, and whether the tag on it is this deployment's."""
    if owner == "":
        print(f"gone     {{title}}")
    elif owner != deployment:
        print(f"left     {{title}}: it is not of deployment {{deployment}}")
    return owner == deployment


@contextmanager
def gone_is_deleted():
    try:
        yield
    except ClientError as error:
        if not re.search(GONE, str(error)):
            raise


iam = Patient("iam")
dynamodb = Patient("dynamodb")
sqs = Patient("sqs")
lambda_ = Patient("lambda")
apigateway = Patient("apigateway")
logs = Patient("logs")
account_id = ""  # asked for when something is to be done


def connect():
    """Ask AWS whose credentials these are."""
    global account_id
    caller = Patient("sts").get_caller_identity()
    if not caller["Arn"].startswith("arn:{partition}:"):
        sys.exit("This script is for the partition {partition}, and these credentials are of another: " + caller["Arn"])
    account_id = caller["Account"]
    print(f"Region {{aws_region}}, account {{account_id}}, caller {{caller['Arn']}}, deployment {{deployment}}")


def undo():
    """How to take down what this run makes, as a line to paste."""
    known = {{**os.environ, "AWS_REGION": aws_region, "DEPLOYMENT": deployment}}
    names = ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION", "DEPLOYMENT")
    where = [f"{{name}}={{shlex.quote(known[name])}}" for name in names if known.get(name)]
    return " ".join([*where, os.path.basename(sys.executable), shlex.quote(sys.argv[0]), "teardown"])
'''

# The zip has the same bytes as the suite's, so AWS shows the same CodeSha256.
HANDLER = '''

def zipped(handler):
    """The deployment package, the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as package:
        entry = zipfile.ZipInfo("lambda_function.py", date_time=(1980, 1, 1, 0, 0, 0))
        entry.create_system = 3
        entry.external_attr = 0o644 << 16
        package.writestr(entry, handler)
    return buffer.getvalue()


function_zip = zipped({source})
'''

FOOT = """

if __name__ == "__main__":
    wanted = sys.argv[1:] or ["build"]
    if wanted not in (["build"], ["teardown"]):
        print("usage: python", sys.argv[0], "[build|teardown]", file=sys.stderr)
        sys.exit(252)
    try:
        connect()
        build() if wanted == ["build"] else teardown()
    except (BotoCoreError, ClientError, GaveUp, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if not interrupted:
            print(error, file=sys.stderr)
        if account_id:
            print(f"Stopped. To remove what is there:\\n{undo()}", file=sys.stderr)
        sys.exit(130 if interrupted else 1)
"""


def python_script(plan: Plan, file: str) -> str:
    """The script's text. `file` is the name that its own help shows."""
    names = {**plan.variables, **FOUND_AGAIN}
    head = HEAD.format(
        title=plan.title,
        file=shlex.quote(shown(file)),
        region=plan.region,
        deployment=plan.own_deployment,
        partition=plan.partition,
        **{name: in_lines(pattern) for name, pattern in PATTERNS.items()},
    )
    lines = [head, *owners(plan, names), "", "", *build(plan, names), "", "", *teardown(plan, names)]
    return "\n".join(lines) + "\n" + HANDLER.format(source=source_of(plan.handler)) + FOOT


def in_lines(pattern: str) -> str:
    """A pattern as Python has it, a refusal a line. No pattern has a double quote or ends in a backslash."""
    parts = [f'r"{part}"' for part in lines_of_pattern(pattern)]
    return parts[0] if len(parts) == 1 else "\n".join(["(", *(f"    {part}" for part in parts), ")"])


def source_of(handler: bytes) -> str:
    """The handler's source as a string of Python: as it stands where that is possible, else a line a line."""
    source = handler.decode()
    if "'''" not in source and "\r" not in source and source.endswith("\n"):
        return f"r'''{source}'''"
    return "".join(f"\n    {line!r}" for line in source.splitlines(keepends=True)) + "\n"


def build(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    yield "def build():"
    yield '    ours_is = f"the tag {deployment} is ours; it has"'
    yield '    met = [(title, owner) for title, owner in owners() if owner != ""]'
    yield '    taken = [f"    {title} ({ours_is}: {owner})" for title, owner in met if owner != deployment]'
    yield "    if taken:"
    yield '        sys.exit("\\n".join(["In the way, and not touched:", *taken]))'
    yield '    there = [f"    {title}" for title, owner in met if owner == deployment]'
    yield "    if there:"
    yield '        advice = ["To build it anew, take it down first:", undo()]'
    yield '        sys.exit("\\n".join(["There already, by this script:", *there, *advice]))'
    yield '    Patient.passes = f"{ALWAYS}|{NOT_YET}"'
    for part in plan.parts:
        title = f"Step {part.step.number} of 8: {part.step.title}"
        yield ""
        yield from indented(["#", f"# {title}", *comment(part.page.purpose), "#"])
        yield f"    print({quoted(title)})"
        for one in part.calls:
            yield from indented([lines_of(one, names)])
    yield ""
    yield '    print(f"Built. To take it down again:\\n{undo()}")'
    yield '    print("Anyone who knows this address may call it:")'
    path = f"{plan.stage}/{plan.path_part}"
    yield '    endpoint = os.environ.get("AWS_ENDPOINT_URL")'
    yield f'    at_aws = f"https://{{api_id}}.execute-api.{{aws_region}}.{plan.dns_suffix}/{path}"'
    yield f'    local = f"{{endpoint}}/restapis/{{api_id}}/{plan.stage}/_user_request_/{plan.path_part}"'
    yield "    print(local if endpoint else at_aws)"


def lines_of(one: Do | WaitFor | Until, names: dict[str, str]) -> str:
    if isinstance(one, WaitFor):
        return boto3_lines(one.service, "Wait", one.parameters, client=waiter_of(one), names=names)
    if isinstance(one, Until):
        return f"settled({quoted(one.text)}, lambda: {look(one.look, names)})"
    if one.operation.startswith(("Get", "List")):
        return f"{one.keep.lower()} = {look(one, names)}"
    client, before = client_of(one.service), ""
    if one.done is not None:
        # What is found is as good as the answer, so it is found whole.
        whole = one.done.query.removesuffix(f".{one.query}") if one.query else one.done.query
        before = "\n".join(["", "def find_it():", *indented([f"return {look(one.done, names, whole)}"]), "", ""])
        client = f"{client}.once(find_it)"
    line = boto3_lines(one.service, one.operation, one.parameters, client=client, names=names)
    return before + (f'{one.keep.lower()} = {line}["{one.query}"]' if one.keep else line)


def look(one: Do, names: dict[str, str], query: str | None = None) -> str:
    arguments = [f"{name}={literal(value, names)}" for name, value in one.parameters.items()]
    words = [text(query or one.query, names), client_of(one.service), f'"{xform_name(one.operation)}"', *arguments]
    line = f"found({', '.join(words)})"
    if len(line) <= LONGEST:
        return line
    return "\n".join(["found(", *(f"    {word}," for word in words), ")"])


LONGEST = 70  # of a look that stands on one line, behind what is done with it


def client_of(service: str) -> str:
    return CLIENTS.get(service, service)


def waiter_of(one: WaitFor) -> str:
    return f'{client_of(one.service)}.get_waiter("{one.waiter}")'


def teardown(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    yield "def teardown():"
    for number, removal in enumerate(plan.removals):
        if number:
            yield ""
        yield from indented(list(lines_of_removal(removal, names)))
    yield ""
    yield '    print(f"Nothing of deployment {deployment} is left in {aws_region} of account {account_id}.")'


def owners(plan: Plan, names: dict[str, str]) -> Iterator[str]:
    """A function that says of each thing whose it is, before anything is made."""
    yield "def owners():"
    yield '    """Of each thing that is to be made, whose it is: "" where there is none yet."""'
    for removal in plan.removals:
        yield from indented([*lines_of_owner(removal, names), f"yield {quoted(removal.title)}, owner"])


def lines_of_removal(removal: Removal, names: dict[str, str]) -> Iterator[str]:
    yield from lines_of_owner(removal, names)
    yield f"if ours({quoted(removal.title)}, owner):"
    for call in removal.calls:
        lines = boto3_lines(call.service, call.operation, call.parameters, client=client_of(call.service), names=names)
        yield "    with gone_is_deleted():"
        yield from indented(indented([lines]))
    yield from indented([f'settled("", lambda: {look(removal.look, names)})'])
    yield f"    print({quoted(f'deleted  {removal.title}')})"


def lines_of_owner(removal: Removal, names: dict[str, str]) -> Iterator[str]:
    find, tag = removal.find, removal.tag
    if find is not None:
        yield f"{find.keep.lower()} = {look(find, names)}"
    if tag is None and find is not None:
        yield f"owner = {find.keep.lower()} and deployment"
    elif tag is not None and find is not None:
        yield f"owner = {find.keep.lower()} and {look(tag, names)}"
    elif tag is not None:
        yield f"owner = {look(tag, names)}"
