"""A difference in words: of two documents only the places that differ, in lines that fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from provision.terminal.json_values import as_list
from provision.terminal.text import plural

LINES_OF_ONE_DIFFERENCE = 8

# An attribute with such a name is a digest: that it differs is all that it says.
DIGEST = "Sha256"

# What is not there, or is empty.
NOTHING = "nothing"

# The two sides of a difference that a run leaves as it is.
LEFT = ("left as", "AWS's default")


def difference_lines(
    attribute: str, found: Any, wanted: Any, room: int, words: tuple[str, str] = ("was", "now")
) -> list[str]:
    """What was and what is now; of a document only the places that differ. A line longer than `room` is divided.

    `words` name the two sides; a plan has other words than "was" and "now".
    """
    was_word, now_word = words
    if attribute.endswith(DIGEST):
        what = attribute.removesuffix(DIGEST).lower()
        return [f"the {what} was another zip, and is replaced" if now_word == "now" else f"the {what} differs"]
    gone, new = ("removed", "added") if now_word == "now" else ("to be removed", "to be added")
    lines = []
    for place, was, now in differing_places(attribute, document(found), document(wanted)):
        line = f"{place}: {was_word} {short(was)}, {now_word} {short(now)}"
        removed, added = in_one_only(was, now), in_one_only(now, was)
        if is_list_of_names(was) and is_list_of_names(now) and len(added) < len(now) and len(removed) < len(was):
            members = [f"{gone} {name}" for name in removed] + [f"{new} {name}" for name in added]
            if all(len(f"{place}: {member}") <= room for member in members):
                lines += [f"{place}: {member}" for member in members]
            else:
                lines += [place, *(f"    {member}" for member in members)]
        elif len(line) <= room:
            lines.append(line)
        else:
            lines += [f"{place}", f"    {was_word} {short(was)}", f"    {now_word} {short(now)}"]
    if not lines:  # the service tells apart what is equal place by place
        lines = [attribute, f"    {was_word} {short(found)}", f"    {now_word} {short(wanted)}"]
    if len(lines) > LINES_OF_ONE_DIFFERENCE:
        more = len(lines) - LINES_OF_ONE_DIFFERENCE
        lines = [*lines[:LINES_OF_ONE_DIFFERENCE], f"... and {plural(more, 'line')} more"]
    return lines


def differing_places(place: str, found: Any, wanted: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each place where two parsed documents differ: its name, and what each of them has there."""
    if isinstance(found, list) or isinstance(wanted, list):
        one, other = as_list(found), as_list(wanted)
        if all(isinstance(member, dict) and "Sid" in member for member in one + other):
            found = {member["Sid"]: member for member in one}
            wanted = {member["Sid"]: member for member in other}
        elif len(one) == len(other) and any(isinstance(member, dict) for member in one + other):
            found, wanted = dict(enumerate(one)), dict(enumerate(other))
        else:
            if sorted(map(short, one)) != sorted(map(short, other)):
                if any(
                    isinstance(member, dict) for member in one + other
                ):  # statements: those that both have say nothing
                    found, wanted = in_one_only(one, other), in_one_only(other, one)
                yield place, found, wanted
            return
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in [*found, *(name for name in wanted if name not in found)]:
            below = place if name == "Statement" else f"{place} > {name}"
            yield from differing_places(below, found.get(name), wanted.get(name))
    elif found != wanted and not short(found) == short(wanted) == NOTHING:
        yield place, found, wanted


def is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(member, str) for member in value)


def in_one_only(one: Any, other: Any) -> list[Any]:
    return [member for member in as_list(one) if member not in as_list(other)]


def document(value: Any) -> Any:
    """A JSON object that is a text, parsed; everything else as it is."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def short(value: Any) -> str:
    """A value on one line. A long document is cut; a name or an ARN never is."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if is_list_of_names(value):
        return ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    if text.startswith(("{", "[")) and len(text) > 160:
        return f"{text[:150].rpartition(', ')[0]}... ({len(text)} characters)"
    return text
