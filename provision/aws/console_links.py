"""Where to see a resource: a deep link into the console, and the `aws` command that shows it.

The console's addresses are not documented, and they change. No link is better than a wrong one, so what has no page of
its own has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from provision.aws.call_text import aws_command

# https://docs.aws.amazon.com/general/latest/gr/rande-manage.html names the partitions
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


class InAddress(str):
    """A value in an address: {value} is encoded once, {value:twice} as CloudWatch's pages want it."""

    def __format__(self, how: str) -> str:
        once = quote(self, safe="")
        # CloudWatch encodes a name twice, with a dollar sign in place of the second per cent sign.
        return quote(once, safe="").replace("%25", "$25") if how == "twice" else once


def console_url(page: str, known: Mapping[str, str], *, region: str, partition: str) -> str | None:
    """The address of a page whose {fields} are known; None where one is not, or the partition has no console.

    `page` follows the host name; `known` are the resource's identity and outputs.
    """
    if partition not in CONSOLES:
        return None
    host = f"{region}.{CONSOLES[partition]}" if partition == "aws" else CONSOLES[partition]
    values = {name: InAddress(value) for name, value in {**known, "region": region}.items()}
    try:
        return f"https://{host}{page.format_map(values)}"
    except KeyError:
        return None


def look_command(
    looks: Iterable[tuple[str, str, dict[str, Any]]],
    known: Mapping[str, str],
    *,
    region: str,
    endpoint_url: str | None = None,
    profile: str | None = None,
) -> str:
    """The `aws` command, on one line, of the first of these calls whose {fields} are all known."""
    service, operation, parameters = look(looks, known)
    command = aws_command(service, operation, parameters, region=region, endpoint_url=endpoint_url, profile=profile)
    return command.replace(" \\\n    ", " ")


def look(looks: Iterable[tuple[str, str, dict[str, Any]]], known: Mapping[str, str]) -> tuple[str, str, dict[str, Any]]:
    """The first of these calls whose {fields} are all known, with their values."""
    for service, operation, parameters in looks:
        try:
            filled = {
                name: value.format_map(known) if isinstance(value, str) else value for name, value in parameters.items()
            }
        except KeyError:
            continue
        return service, operation, filled
    raise KeyError("no call shows it")
