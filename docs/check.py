"""python docs/check.py FOLDER: whether a built site asks for anything that is not in it.

A page may lead a person elsewhere, but its scripts, styles, fonts and pictures must be its own: it is read without a
network, too. Exit codes: 0 all its own, 1 something is asked for elsewhere, or the folder has no page.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

ELSEWHERE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s;]+)""", re.IGNORECASE)
# What a browser fetches by itself: by element, the attributes that say from where.
FETCHED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
NOT_FETCHED = {"canonical", "author", "license", "next", "prev", "search", "index", "genindex", "alternate"}


class Fetched(HTMLParser):
    """The addresses that a page, or a drawing, makes a browser fetch: `addresses`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self._in_style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.addresses += IN_STYLE.findall(given.get("style", ""))
        if tag == "link" and set(given.get("rel", "").lower().split()) <= NOT_FETCHED:
            return
        for name in FETCHED.get(tag, ()):
            value = given.get(name, "")
            parts = [part.split()[0] for part in value.split(",") if part.strip()] if name == "srcset" else [value]
            self.addresses += parts

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.addresses += IN_STYLE.findall(data)


def from_elsewhere(folder: Path) -> list[str]:
    """What the pages, drawings and style sheets below the folder fetch from elsewhere: file and address."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".html", ".svg"):
            addresses = Fetched(path.read_text(encoding="utf-8")).addresses
        elif path.suffix == ".css":
            addresses = IN_STYLE.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        found += [f"{path.relative_to(folder)}: {address}" for address in addresses if ELSEWHERE.match(address)]
    return found


def main(arguments: list[str]) -> int:
    (name,) = arguments
    folder = Path(name)
    if not (folder / "index.html").is_file():
        print(f"{folder} has no index.html: there is no site in it.", file=sys.stderr)
        return 1
    found = from_elsewhere(folder)
    for line in found:
        print(f"fetched from elsewhere: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
