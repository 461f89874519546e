"""The few elements that the project's pictures are written with. Every text is escaped."""

from __future__ import annotations

import html
import re

# What XML 1.0 has no way to write: https://www.w3.org/TR/xml/#charsets
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def opening(name: str, width: int, height: int, attributes: str, *, top: int = 0) -> str:
    """The first tag of a picture of the class `name`, as large as there is room for; nothing stands above `top`."""
    box = f"0 {top} {width} {height - top}"
    return f'<svg class="{name}" xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {attributes}>'


def text(name: str, x: float, y: float, words: str) -> str:
    return f'<text class="{name}" x="{x:g}" y="{y:g}">{escaped(words)}</text>'


def escaped(words: str) -> str:
    return html.escape(NOT_XML.sub("?", words))
