"""A plan as a shell script of `aws` commands, or as a Python script of boto3. Neither needs this suite.

script.sh.j2 and script.py.j2 have what is around the calls.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from botocore import xform_name
from jinja2 import Environment, PackageLoader, StrictUndefined

from provision.aws import call_text, reasons
from provision.aws.call_text import CLIENTS, is_file, json_document, quoted, shell_word, split
from provision.replay.script import SERVICES, Call, Line, Method, Plan, Until, Wait
from provision.state.entries import TAG

WIDTH = 132  # of a line, without the indentation of its function
MARGIN = " " * 4  # of a continued line
SHORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*")  # a word of the aws command's shorthand
# Refusals that pass by themselves. That of a function's new role is among those of a trigger's.
NOT_YET = (
    reasons.QUEUE_NAME_BLOCKED,
    reasons.TRIGGER_BUSY,
    reasons.ROLE_NOT_YET_PERMITTED,
    reasons.ROLE_NOT_YET_KNOWN_TO_KMS,
    reasons.QUEUE_NOT_YET_KNOWN_TO_LAMBDA,
    reasons.QUEUE_POLICY_NAMES_NEW_ROLE,
    reasons.DEAD_LETTER_QUEUE_NOT_YET_VISIBLE,
    reasons.STILL_ATTACHED,
    reasons.FUNCTION_BUSY,
)


def script_text(plan: Plan, name: str) -> str:
    """The script's text: Python where its file's `name` ends in .py, else for bash."""
    in_python = name.endswith(".py")
    environment = Environment(
        loader=PackageLoader("provision.replay", ""), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["line"] = functools.partial(python_line if in_python else shell_line, names=plan.names)
    return environment.get_template("script.py.j2" if in_python else "script.sh.j2").render(
        plan=plan,
        tag=TAG,
        services=[*SERVICES, "sts"],
        file=shlex.quote(name if name.isprintable() and not set(name) & set("\\\"'") else "THIS_FILE"),
        quoted=quoted if in_python else shlex.quote,
        not_yet=pattern(*NOT_YET),
        gone=pattern(reasons.JUST_MADE),
        package=base64.b64encode(gzip.compress(plan.package, mtime=0)).decode(),
    )


def pattern(*several: reasons.Reason) -> list[str]:
    """A regular expression, in lines, that matches these refusals in bash and in Python.

    botocore and the aws command word them alike: An error occurred (Code) when calling the Operation operation: Message
    """

    def shortest(words: tuple[str, ...]) -> list[str]:
        return [one for one in words if not any(one != other and one.endswith(other) for other in words)]

    words: dict[tuple[str, ...], list[str]] = {}
    for reason in several:
        words.setdefault(tuple(sorted(shortest(reason.codes))), []).extend(reason.fragments)
    parts = [f"({'|'.join(codes)})[)]{f'.*({chr(124).join(of)})' if of else ''}" for codes, of in words.items()]
    return fill(parts, "|", "\n|").split("\n")


def fill(words: Iterable[str], joint: str, newline: str, line: str = "") -> str:
    """The words with `joint` between them, as many on a line as fit, and `newline` between the lines."""
    done, margin = "", len(newline.rpartition("\n")[2])
    for number, word in enumerate(words):
        taken = len(line.rpartition("\n")[2]) + (margin if done else 0)
        if number and taken + len(word.partition("\n")[0]) > WIDTH - 2:
            done, line = done + line + newline, word
        else:
            line += (joint if number else "") + word
    return done + line


def has_lines(word: str) -> bool:
    """A key to sort by: words of several lines come last."""
    return "\n" in word


def laid_out(value: Any, leaf: Callable[[Any], str | None]) -> str:
    """A value as JSON and Python have it, as many members on a line as fit. `leaf` writes what has no members."""
    whole = leaf(value)
    if whole is not None:
        return whole
    inner = [laid_out(member, leaf) for member in (value.values() if isinstance(value, dict) else value)]
    if isinstance(value, dict):
        inner = [f"{leaf(key)}: {member}" for key, member in zip(value, inner, strict=True)]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return begin + fill((one.replace("\n", "\n ") for one in inner), ", ", ",\n ") + end


# For bash.


def shell_line(one: Line, mode: str = "if_there", title: str = "", *, names: Mapping[str, str]) -> str:
    """A line of a script. `mode` is "build", or which of the script's functions to call."""
    if isinstance(one, Until):
        return shell_command(one.look, names, f"retry is {shlex.quote(one.text)} ")
    if isinstance(one, Wait):
        waiter = one.waiter.replace("_", "-")
        return shell_command(one.look, names).replace(xform_name(one.look.operation, "-"), f"wait {waiter}", 1)
    if isinstance(one, Method):
        options = call_text.options_of(call_text.operation_model("apigateway", "PutMethod"), one.parameters, names)
        return f"method=({' '.join(options)})"
    if mode != "build":
        return shell_command(one, names, f"{mode} {shlex.quote(title)} " if title else f"{mode} ")
    before = f"{one.keep}=$(" if one.keep else ""
    return shell_command(one, names, before + "retry " * one.is_retried) + ")" * bool(one.keep)


def shell_command(one: Call, names: Mapping[str, str], before: str = "") -> str:
    words = [f"aws {one.service} {xform_name(one.operation, '-')}", *['"${method[@]}"'] * one.of_method]
    words += sorted((shell_option(one, *pair, names) for pair in one.parameters.items()), key=has_lines)
    words += [f"--query {query_word(one.query, names)} --output text"] if one.query else []
    return fill(words, " ", f" \\\n{MARGIN}", before)


def shell_option(one: Call, name: str, value: Any, names: Mapping[str, str]) -> str:
    """An option. JSON is written as Key=value where that means the same, and on several lines where it is long.

    https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-shorthand.html
    """
    (option,) = call_text.options_of(call_text.operation_model(one.service, one.operation), {name: value}, names)
    document = json_document(value) if isinstance(value, str) else value
    if not isinstance(document, (dict, list)) or "fileb://" in option:
        return option
    short = [shorthand(member) for member in (value if isinstance(value, list) else [value])]
    if short and all(short):
        return " ".join([f"--{xform_name(name, '-')}", *(shell_word(member, names) for member in short)])
    if len(option) <= WIDTH - len(MARGIN) or isinstance(document, list):
        return option
    written = laid_out(document, json_leaf).replace("\n", f"\n{MARGIN}")
    return f"--{xform_name(name, '-')} {shell_word(written, names)}"


def shorthand(value: Any) -> str:
    """A flat object as Key=value,Key=value; "" where a character in it could mean something else."""
    pairs = []
    for key, member in value.items() if isinstance(value, dict) else ():
        member = member[0] if isinstance(member, list) and len(member) == 1 else member
        if not (isinstance(member, str) and SHORT.fullmatch(key) and SHORT.fullmatch(member)):
            return ""
        pairs.append(f"{key}={member}")
    return ",".join(pairs)


def query_word(query: str, names: Mapping[str, str]) -> str:
    """A JMESPath as one word of a shell. Its own quotes are single ones as a rule, so it stands in double ones."""
    if "'" not in query:
        return shell_word(query, names)
    parts = [f"${{{name}}}" if name else re.sub(r'([\\$`"])', r"\\\1", part) for part, name in split(query, names)]
    return f'"{"".join(parts)}"'


def json_leaf(value: Any) -> str | None:
    return None if isinstance(value, (dict, list)) else json.dumps(value, ensure_ascii=False)


# For Python.


def python_line(one: Line, mode: str = "found", title: str = "", *, names: Mapping[str, str]) -> str:
    """As `shell_line`."""
    if isinstance(one, Until):
        return f"settled({f'[{quoted(one.text)}]' if one.text else []}, lambda: {python_line(one.look, names=names)})"
    if isinstance(one, Wait):
        return python_call(
            f'{CLIENTS.get(one.look.service, one.look.service)}.get_waiter("{one.waiter}").wait', one.look, names
        )
    if isinstance(one, Method):
        return python_call("method = dict", one, names)
    method = f"{CLIENTS.get(one.service, one.service)}.{xform_name(one.operation)}"
    keep = f"{one.keep.lower()} = " if one.keep else ""
    query = [text(one.query, names)] if one.query else []
    if mode != "build":
        return python_call(mode, one, names, *([quoted(title)] if title else []), method, *query)
    if one.operation.startswith("Get"):
        return f"({one.keep.lower()},) = {python_call('found', one, names, method, *query)}"
    function, words = (f"{keep}retry", [method]) if one.is_retried else (keep + method, [])
    made = python_call(function, one, names, *words, *["**method"] * one.of_method)
    return made + (f"[{quoted(one.query)}]" if one.keep else "")


def python_call(function: str, one: Call | Method, names: Mapping[str, str], *words: str) -> str:
    arguments = sorted((python_argument(*pair, names) for pair in one.parameters.items()), key=has_lines)
    return fill([*words, *arguments], ", ", f",\n{MARGIN}", f"{function}(") + ")"


def python_argument(name: str, value: Any, names: Mapping[str, str]) -> str:
    def leaf(value: Any) -> str | None:
        if isinstance(value, str):
            document = json_document(value)
            return text(value, names) if document is None else f"json.dumps({laid_out(document, leaf)})"
        if is_file(value) and str(value["sha256"]) in names:
            return names[str(value["sha256"])].lower()
        if isinstance(value, dict) and [*value] == [TAG] and names.get(str(value[TAG])) == "DEPLOYMENT":
            return "tags"
        return None if isinstance(value, (dict, list)) else repr(value)

    return f"{name}={laid_out(value, leaf)}".replace("\n", f"\n{MARGIN}")


def text(value: str, names: Mapping[str, str]) -> str:
    """A string of Python, an f-string where a variable stands in it."""
    parts = list(split(value, names))
    if len(parts) == 1 and parts[0][1]:
        return parts[0][1].lower()
    if not any(name for part, name in parts):
        return quoted(value)
    inner = "".join(
        f"{{{name.lower()}}}" if name else quoted(part)[1:-1].replace("{", "{{").replace("}", "}}")
        for part, name in parts
    )
    return f'f"{inner}"'
