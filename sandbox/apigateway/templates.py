"""Mapping templates: the part of the Velocity language that API Gateway's templates use.

Ours and strict. The Velocity libraries on PyPI (airspeed, airspeed-ext) print what they do not know as text and look
names up as Python attributes; here a construct outside the list below raises `UnknownConstruct`, because a template
that is silently wrong on this machine teaches something untrue about AWS.

Known: text, `##` and `#* *#` comments, `#set`, `#if`/`#elseif`/`#else`/`#end`, `#foreach` with `$foreach.index`,
`count`, `hasNext`, `first`, `last`; the variables and functions of
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
(`$input`, `$util`, `$context`, `$stageVariables`); the Java methods in `METHODS`.
Not known: macros, `#parse`, `#include`, `#define`, `#evaluate`, `#stop`, `#break`, `$context.requestOverride` and
`responseOverride`, JSONPath filters, slices and `..`.
Simplified: white space around directives (Velocity has more rules than "a directive that ends a line takes the line
break with it"), which JSON and form bodies do not see.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import add, ge, gt, le, lt, mul, sub
from typing import Any
from urllib.parse import quote_plus, unquote_to_bytes

from sandbox.protocol.operations import parse_json
from sandbox.protocol.refusals import NotSimulated

Value = Any
"""What a template computes with: str, int, float, bool, None, list and dict, and the three objects below."""

MAX_OUTPUT = 10 * 1024 * 1024
"""Bytes, API Gateway's payload quota: a template that grows beyond it is stopped here, not by this machine's memory."""

MAX_DEPTH = 50
"""Of nested directives, parentheses and JSON: far above any real template, far below Python's recursion limit."""


class UnknownConstruct(NotSimulated):
    """A construct this evaluator does not know; the text is one sentence naming it."""


class TemplateError(Exception):
    """A template that AWS would refuse or fail on too: a syntax error, a null where a text is needed."""


# ----------------------------------------------------------------------------------------------------------- JSON


def to_json(value: Value) -> str:
    """Compact, the way `$input.json` writes it."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    except (RecursionError, TypeError) as error:
        raise TemplateError(f"a value could not be written as JSON: {error}") from None


_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]()'"\s*?@]+) | \[\s*'(?P<single>[^']*)'\s*\] | \[\s*"(?P<double>[^"]*)"\s*\]
        | \[\s*(?P<index>-?\d+)\s*\] | (?P<every>\.\*|\[\s*\*\s*\])""",
    re.VERBOSE,
)


MISSING: Value = object()
"""Marks a path that leads nowhere, which is not the same as a JSON null."""


def json_path(document: Value, path: str) -> Value:
    """The value at a JSONPath made of names, quoted names, indexes and `*`; MISSING where the path leads nowhere."""
    if not path.startswith("$"):
        # Jayway's JsonPath, which API Gateway uses, reads a path without `$` as if it began with `$.`
        path = "$." + path
    position = 1
    values, many = [document], False
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise UnknownConstruct(f"The sandbox does not know this JSONPath expression: {path}")
        position = step.end()
        found: list[Value] = []
        if step["every"]:
            many = True
            for value in values:
                if isinstance(value, Mapping):
                    found.extend(value.values())
                elif isinstance(value, list):
                    found.extend(value)
        elif step["index"] is not None:
            index = int(step["index"])
            found = [v[index] for v in values if isinstance(v, list) and -len(v) <= index < len(v)]
        else:
            name = next(n for n in (step["name"], step["single"], step["double"]) if n is not None)
            found = [v[name] for v in values if isinstance(v, Mapping) and name in v]
        values = found
    if many:
        return values
    return values[0] if values else MISSING


# ------------------------------------------------------------------------------------------------- $input and $util


class Input:
    """`$input`. `params` is {"path": {}, "querystring": {}, "header": {}}, text to text."""

    def __init__(self, body: str, params: Mapping[str, Mapping[str, str]]) -> None:
        self.body = body
        self._params = params
        self._parsed: Value = MISSING

    def _document(self) -> Value:
        if self._parsed is MISSING:
            if not self.body.strip():
                self._parsed = {}
            else:
                try:
                    self._parsed = parse_json(self.body)
                except ValueError:
                    # A body that is not JSON counts as one JSON string: `$input.json('$')` on form data is the
                    # published way to hand it to a function (field reports; AWS does not document it).
                    self._parsed = self.body
        return self._parsed

    def path(self, expression: str) -> Value:
        value = json_path(self._document(), expression)
        # A path that leads nowhere is an empty text on AWS (recalled, not documented).
        return "" if value is MISSING else value

    def json(self, expression: str) -> str:
        return to_json(self.path(expression))

    def params(self, name: str | None = None) -> Value:
        """All parameters, or the one called so: path before query string before header, as AWS documents it."""
        if name is None:
            return {place: dict(self._params.get(place, {})) for place in ("path", "querystring", "header")}
        for place in ("path", "querystring"):
            if name in self._params.get(place, {}):
                return self._params[place][name]
        for header, value in self._params.get("header", {}).items():
            if header.lower() == name.lower():
                return value
        return ""


def escape_javascript(text: str) -> str:
    """As Apache Commons' escapeEcmaScript does (inferred: AWS says "JavaScript string rules" and no more)."""
    short = {"\b": "\\b", "\n": "\\n", "\t": "\\t", "\f": "\\f", "\r": "\\r"}
    short |= {"'": "\\'", '"': '\\"', "\\": "\\\\", "/": "\\/"}
    written = []
    for character in text:
        if character in short:
            written.append(short[character])
        elif " " <= character <= "~":
            written.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            written.extend(f"\\u{units[i] << 8 | units[i + 1]:04X}" for i in range(0, len(units), 2))
    return "".join(written)


def url_encode(text: str) -> str:
    """As java.net.URLEncoder: a space is `+`, `*` stays, `~` does not."""
    return quote_plus(text.encode("utf-8", "replace"), safe="*").replace("~", "%7E")


def url_decode(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ").encode("utf-8", "replace")).decode("utf-8", "replace")


def base64_encode(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")


def base64_decode(text: str) -> str:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True).decode("utf-8", "replace")
    except (binascii.Error, UnicodeEncodeError) as error:
        raise TemplateError(f"$util.base64Decode was given what is not base64: {error}") from None


def _parse_json_text(text: str) -> Value:
    try:
        return parse_json(text)
    except ValueError as error:
        raise TemplateError(f"$util.parseJson was given what is not JSON: {error}") from None


class Util:
    """`$util`; its functions are in UTIL."""


UTIL: dict[str, Callable[[str], Value]] = {
    "escapeJavaScript": escape_javascript,
    "parseJson": _parse_json_text,
    "urlEncode": url_encode,
    "urlDecode": url_decode,
    "base64Encode": base64_encode,
    "base64Decode": base64_decode,
}


class StageVariables(dict[str, str]):
    """`$stageVariables`: one that is not set is an empty text."""


class Context(dict[str, Value]):
    """`$context` and its branches: what is not in it is not known to the sandbox, which is not the same as empty."""


def _java_regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UnknownConstruct(f"The sandbox cannot read this regular expression: {pattern} ({error}).") from None


def _replace(text: str, pattern: str, replacement: str, count: int) -> str:
    """Java's Matcher: `$1` is a group, a backslash makes the next character plain."""

    def put(match: re.Match[str]) -> str:
        def part(token: re.Match[str]) -> str:
            if token[1] is not None:
                return token[1]
            try:
                return match[int(token[2])] or ""
            except IndexError:
                raise TemplateError(f"No group {token[2]} in {pattern}") from None

        return re.sub(r"\\(.)|\$(\d)", part, replacement, flags=re.DOTALL)

    return _java_regex(pattern).sub(put, text, count=count)


def _split(text: str, pattern: str) -> list[str]:
    parts = [part or "" for part in _java_regex(pattern).split(text)]
    while len(parts) > 1 and not parts[-1]:  # Java drops trailing empty parts
        parts.pop()
    return parts


def _substring(text: str, begin: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= begin <= stop <= len(text):
        raise TemplateError(f"substring({begin}, {stop}) of a text of {len(text)} characters")
    return text[begin:stop]


def _append(values: list[Value], value: Value) -> bool:
    values.append(value)
    return True


def _put(values: dict[str, Value], key: Value, value: Value) -> Value:
    previous = values.get(as_text(key))
    values[as_text(key)] = value
    return previous


def _item(values: list[Value], index: int) -> Value:
    if not 0 <= index < len(values):
        raise TemplateError(f"No element {index} in a list of {len(values)}")
    return values[index]


def as_text(value: Value) -> str:
    """How Java prints it: maps as {a=1}, lists as JSON (json-smart's JSONArray; inferred from the library)."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={as_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return to_json(value)
    return str(value)


OF_ANY: dict[str, Callable[..., Value]] = {
    "toString": as_text,
    "equals": lambda value, other: bool(value == other),
}

METHODS: dict[type, dict[str, Callable[..., Value]]] = {
    str: {
        "replaceAll": lambda text, pattern, by: _replace(text, pattern, by, 0),
        "replaceFirst": lambda text, pattern, by: _replace(text, pattern, by, 1),
        "replace": lambda text, old, new: text.replace(old, new),
        "matches": lambda text, pattern: _java_regex(pattern).fullmatch(text) is not None,
        "split": _split,
        "substring": _substring,
        "length": len,
        "trim": str.strip,
        "toString": str,
        "toLowerCase": str.lower,
        "toUpperCase": str.upper,
        "contains": lambda text, part: part in text,
        "startsWith": lambda text, part: text.startswith(part),
        "endsWith": lambda text, part: text.endswith(part),
        "equals": lambda text, other: text == other,
        "equalsIgnoreCase": lambda text, other: text.lower() == str(other).lower(),
        "indexOf": lambda text, part: text.find(part),
        "concat": lambda text, part: text + part,
        "isEmpty": lambda text: not text,
    },
    list: {
        "size": len,
        "get": _item,
        "isEmpty": lambda values: not values,
        "contains": lambda values, value: value in values,
        "add": _append,
        "toString": as_text,
    },
    dict: {
        "size": len,
        "get": lambda values, key: values.get(as_text(key)),
        "put": _put,
        "isEmpty": lambda values: not values,
        "containsKey": lambda values, key: as_text(key) in values,
        "keySet": list,
        "values": lambda values: list(values.values()),
        "entrySet": lambda values: [{"key": key, "value": value} for key, value in values.items()],
        "toString": as_text,
    },
    int: OF_ANY,
    float: OF_ANY,
    bool: OF_ANY,
}


# ------------------------------------------------------------------------------------------------------- the tree


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Literal:
    value: Value


@dataclass(frozen=True)
class Interpolated:
    nodes: tuple[Any, ...]


@dataclass(frozen=True)
class ListOf:
    items: tuple[Any, ...]


@dataclass(frozen=True)
class MapOf:
    items: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class Span:
    first: Any
    last: Any


@dataclass(frozen=True)
class Operation:
    operator: str
    operands: tuple[Any, ...]


@dataclass(frozen=True)
class Property:
    name: str


@dataclass(frozen=True)
class Call:
    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Index:
    expression: Any


@dataclass(frozen=True)
class Reference:
    name: str
    steps: tuple[Any, ...]
    quiet: bool
    image: str


@dataclass(frozen=True)
class Assignment:
    target: Reference
    expression: Any


@dataclass(frozen=True)
class Choice:
    branches: tuple[tuple[Any, tuple[Any, ...]], ...]  # condition (None for #else) and body


@dataclass(frozen=True)
class Loop:
    variable: str
    expression: Any
    body: tuple[Any, ...]


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_DIRECTIVE = re.compile(r"#(?:\{([a-z]+)\}|([A-Za-z_]\w*))")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_KNOWN = ("set", "if", "foreach", "elseif", "else", "end")
_REFUSED = ("stop", "break", "macro", "parse", "include", "define", "evaluate")
_END_OF_LINE = re.compile(r"[ \t]*\r?\n")
_WORDS = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "lt": "<",
    "ge": ">=",
    "le": "<=",
}
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("==", "!="),
    ("<=", ">=", "<", ">"),
    ("+", "-"),
    ("*", "/", "%"),
)


class _Parser:
    def __init__(self, source: str, depth: int = 0) -> None:
        self.source = source
        self.position = 0
        self.depth = depth

    # -- text and directives

    def template(self, until: tuple[str, ...] = ()) -> tuple[tuple[Any, ...], str]:
        """Nodes up to a directive named in `until` (consumed; its name is returned) or the end of the source."""
        self._deeper()
        nodes: list[Any] = []
        start = self.position

        def text_so_far() -> None:
            if self.position > start:
                nodes.append(Text(self.source[start : self.position]))

        while self.position < len(self.source):
            character = self.source[self.position]
            rest = self.source[self.position + 1 : self.position + 2]
            if character == "\\" and rest in ("$", "#"):
                # \$name prints $name; the backslash before other characters is text.
                text_so_far()
                nodes.append(Text(rest))
                self.position += 2
                start = self.position
                continue
            if character == "$":
                before = self.position
                reference = self._reference()
                if reference is None:
                    self.position = before + 1
                    continue
                after, self.position = self.position, before
                text_so_far()
                nodes.append(reference)
                self.position = start = after
                continue
            if character == "#" and rest == "#":
                text_so_far()
                end = self.source.find("\n", self.position)
                self.position = start = len(self.source) if end < 0 else end + 1
                continue
            if character == "#" and rest == "*":
                text_so_far()
                end = self.source.find("*#", self.position + 2)
                if end < 0:
                    raise TemplateError("A comment #* is not closed by *#.")
                self.position = start = end + 2
                continue
            if character == "#" and (directive := _DIRECTIVE.match(self.source, self.position)):
                name = directive[1] or directive[2]
                if name in _KNOWN:
                    text_so_far()
                    self.position = directive.end()
                    if name in until:
                        self.depth -= 1
                        return tuple(nodes), name
                    nodes.append(self._directive(name))
                    start = self.position
                    continue
                follows = self.source[directive.end() : directive.end() + 1]
                if follows == "(" or name in _REFUSED:
                    raise UnknownConstruct(f"The sandbox does not know the directive #{name} in mapping templates.")
            self.position += 1
        text_so_far()
        if until:
            raise TemplateError("A directive is not closed by #end.")
        self.depth -= 1
        return tuple(nodes), ""

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TemplateError(f"The template is nested more than {MAX_DEPTH} deep.")

    def _line_break(self) -> None:
        if end := _END_OF_LINE.match(self.source, self.position):
            self.position = end.end()

    def _directive(self, name: str) -> Any:
        if name == "set":
            return self._set()
        if name == "if":
            return self._if()
        if name == "foreach":
            return self._foreach()
        raise TemplateError(f"#{name} stands without its #if or #foreach.")

    def _set(self) -> Assignment:
        self._expect("(")
        self._space()
        target = self._reference()
        if target is None:
            raise TemplateError("#set needs a variable on its left side.")
        self._expect("=")
        expression = self._expression()
        self._expect(")")
        self._line_break()
        if any(not isinstance(step, Property) for step in target.steps) or target.name == "context":
            raise UnknownConstruct(f"The sandbox does not know how to #set {target.image}.")
        return Assignment(target, expression)

    def _if(self) -> Choice:
        branches = []
        word = "if"
        while word != "end":
            condition = None
            if word != "else":
                self._expect("(")
                condition = self._expression()
                self._expect(")")
            self._line_break()
            body, following = self.template(("end",) if word == "else" else ("elseif", "else", "end"))
            branches.append((condition, body))
            word = following
        self._line_break()
        return Choice(tuple(branches))

    def _foreach(self) -> Loop:
        self._expect("(")
        self._space()
        variable = self._reference()
        if variable is None or variable.steps:
            raise TemplateError("#foreach needs a variable first.")
        self._space()
        if not self.source.startswith("in", self.position):
            raise TemplateError("#foreach needs `in` after its variable.")
        self.position += 2
        expression = self._expression()
        self._expect(")")
        self._line_break()
        body, _ = self.template(("end",))
        self._line_break()
        return Loop(variable.name, expression, body)

    # -- expressions

    def _space(self) -> None:
        while self.position < len(self.source) and self.source[self.position].isspace():
            self.position += 1

    def _expect(self, mark: str) -> None:
        self._space()
        if not self.source.startswith(mark, self.position):
            found = self.source[self.position : self.position + 20]
            raise TemplateError(f"Expected {mark} in the template, found: {found!r}")
        self.position += len(mark)

    def _operator(self, operators: tuple[str, ...]) -> str | None:
        self._space()
        for operator in operators:
            if self.source.startswith(operator, self.position):
                self.position += len(operator)
                return operator
        if (word := _NAME.match(self.source, self.position)) and _WORDS.get(word[0]) in operators:
            self.position = word.end()
            return _WORDS[word[0]]
        return None

    def _expression(self, level: int = 0) -> Any:
        if level == len(_LEVELS):
            return self._unary()
        if level == 0:
            self._deeper()
        left = self._expression(level + 1)
        while operator := self._operator(_LEVELS[level]):
            left = Operation(operator, (left, self._expression(level + 1)))
        if level == 0:
            self.depth -= 1
        return left

    def _unary(self) -> Any:
        negations = 0
        while self._operator(("!",)):
            negations += 1
        value = self._primary()
        if negations:
            value = Operation("!", (value,))
            if negations % 2 == 0:
                value = Operation("!", (value,))
        return value

    def _primary(self) -> Any:
        self._space()
        rest = self.source[self.position : self.position + 1]
        if rest == "$":
            reference = self._reference()
            if reference is None:
                raise TemplateError("A $ in an expression needs a name.")
            return reference
        if rest in ("'", '"'):
            return self._string(rest)
        if rest == "(":
            self.position += 1
            value = self._expression()
            self._expect(")")
            return value
        if rest == "[":
            return self._list()
        if rest == "{":
            return self._map()
        if number := _NUMBER.match(self.source, self.position):
            self.position = number.end()
            return Literal(float(number[0]) if number[1] else int(number[0]))
        if word := _NAME.match(self.source, self.position):
            constants = {"true": True, "false": False, "null": None}
            if word[0] in constants:
                self.position = word.end()
                return Literal(constants[word[0]])
        found = self.source[self.position : self.position + 20]
        raise TemplateError(f"Expected a value in the template, found: {found!r}")

    def _string(self, quote: str) -> Any:
        # In Velocity a backslash in a string is an ordinary character, and a doubled quote stands for one.
        end = self.position + 1
        parts = []
        while True:
            close = self.source.find(quote, end)
            if close < 0:
                raise TemplateError(f"A string is not closed by {quote}.")
            parts.append(self.source[end:close])
            end = close + 1
            if not self.source.startswith(quote, end):
                break
            parts.append(quote)
            end += 1
        self.position = end
        text = "".join(parts)
        if quote == "'" or not ("$" in text or "#" in text):
            return Literal(text)
        nodes, _ = _Parser(text, self.depth).template()
        return Interpolated(nodes)

    def _list(self) -> Any:
        items = self._sequence("[", self._range, "]")
        return items[0] if len(items) == 1 and isinstance(items[0], Span) else ListOf(items)

    def _range(self) -> Any:
        first = self._expression()
        return Span(first, self._expression()) if self._operator(("..",)) else first

    def _map(self) -> MapOf:
        return MapOf(self._sequence("{", self._entry, "}"))

    def _entry(self) -> tuple[Any, Any]:
        key = self._expression()
        self._expect(":")
        return key, self._expression()

    def _sequence(self, opening: str, item: Callable[[], Any], closing: str) -> tuple[Any, ...]:
        """Items with commas between them, or none."""
        self._expect(opening)
        items = []
        self._space()
        while not self.source.startswith(closing, self.position):
            items.append(item())
            if not self._operator((",",)):
                break
            self._space()
        self._expect(closing)
        return tuple(items)

    def _reference(self) -> Reference | None:
        """The reference at the `$` here, or None when the `$` is only a dollar sign."""
        start = self.position
        self.position += 1
        quiet = self.source.startswith("!", self.position)
        self.position += quiet
        braced = self.source.startswith("{", self.position)
        self.position += braced
        name = _NAME.match(self.source, self.position) if self.source[start : start + 1] == "$" else None
        if name is None:
            self.position = start
            return None
        self.position = name.end()
        steps: list[Any] = []
        while True:
            member = None
            if self.source.startswith(".", self.position):
                member = _NAME.match(self.source, self.position + 1)
            if member:
                self.position = member.end()
                if self.source.startswith("(", self.position):
                    arguments = self._sequence("(", self._expression, ")")
                    steps.append(Call(member[0], arguments))
                else:
                    steps.append(Property(member[0]))
            elif self.source.startswith("[", self.position):
                self.position += 1
                index = self._expression()
                self._expect("]")
                steps.append(Index(index))
            else:
                break
        if braced:
            self._expect("}")
        return Reference(name[0], tuple(steps), quiet, self.source[start : self.position])


@lru_cache(maxsize=256)
def _parsed(template: str) -> tuple[Any, ...]:
    nodes, _ = _Parser(template).template()
    return nodes


# -------------------------------------------------------------------------------------------------- the evaluation


class _Evaluation:
    def __init__(self, variables: dict[str, Value]) -> None:
        self.variables = variables
        self.size = 0

    def write(self, nodes: tuple[Any, ...]) -> str:
        written: list[str] = []
        for node in nodes:
            if isinstance(node, Text):
                text = node.text
            elif isinstance(node, Reference):
                value = self.reference(node)
                # Velocity prints a reference without a value as it stands in the template.
                text = as_text(value) if value is not None else "" if node.quiet else node.image
            elif isinstance(node, Assignment):
                self.assign(node)
                continue
            elif isinstance(node, Choice):
                text = self.choose(node)
            else:
                text = self.loop(node)
            self.size += len(text)
            if self.size > MAX_OUTPUT:
                raise TemplateError(f"The template wrote more than {MAX_OUTPUT} characters.")
            written.append(text)
        return "".join(written)

    def assign(self, node: Assignment) -> None:
        value = self.value(node.expression)
        if value is None:
            return  # Velocity 1.x leaves the variable as it was
        if not node.target.steps:
            if node.target.name in ("input", "util", "context", "stageVariables"):
                raise UnknownConstruct(f"The sandbox does not know how to #set ${node.target.name}.")
            self.variables[node.target.name] = value
            return
        *way, last = node.target.steps
        holder = self.reference(Reference(node.target.name, tuple(way), True, node.target.image))
        if not isinstance(holder, dict):
            raise TemplateError(f"#set {node.target.image}: there is no map to set it in.")
        holder[last.name] = value

    def choose(self, node: Choice) -> str:
        for condition, body in node.branches:
            if condition is None or _truth(self.value(condition)):
                return self.write(body)
        return ""

    def loop(self, node: Loop) -> str:
        values = self.value(node.expression)
        if isinstance(values, Mapping):
            values = list(values.values())
        if values is None or values == "":
            return ""
        if not isinstance(values, list):
            raise TemplateError("#foreach was given what is neither a list nor a map.")
        saved = {name: self.variables.get(name) for name in (node.variable, "foreach", "velocityCount")}
        written = []
        for index, value in enumerate(list(values)):
            last = index == len(values) - 1
            self.variables[node.variable] = value
            self.variables["velocityCount"] = index + 1
            self.variables["foreach"] = {
                "index": index,
                "count": index + 1,
                "hasNext": not last,
                "first": index == 0,
                "last": last,
            }
            written.append(self.write(node.body))
        self.variables.update(saved)
        return "".join(written)

    def value(self, node: Any) -> Value:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Reference):
            return self.reference(node)
        if isinstance(node, Interpolated):
            return self.write(node.nodes)
        if isinstance(node, ListOf):
            return [self.value(item) for item in node.items]
        if isinstance(node, MapOf):
            return {as_text(self.value(key)): self.value(item) for key, item in node.items}
        if isinstance(node, Span):
            first, last = self.value(node.first), self.value(node.last)
            if not (isinstance(first, int) and isinstance(last, int)) or abs(last - first) > 100_000:
                raise TemplateError("A range [a..b] needs two whole numbers not far apart.")
            step = 1 if last >= first else -1
            return list(range(first, last + step, step))
        return self.operation(node)

    def operation(self, node: Operation) -> Value:
        if node.operator == "!":
            return not _truth(self.value(node.operands[0]))
        left = self.value(node.operands[0])
        if node.operator == "&&":
            return _truth(left) and _truth(self.value(node.operands[1]))
        if node.operator == "||":
            return _truth(left) or _truth(self.value(node.operands[1]))
        right = self.value(node.operands[1])
        if node.operator in ("==", "!="):
            return _equal(left, right) == (node.operator == "==")
        if node.operator == "+" and (isinstance(left, str) or isinstance(right, str)):
            return as_text(left) + as_text(right)
        if not all(isinstance(side, int | float) and not isinstance(side, bool) for side in (left, right)):
            raise TemplateError(f"{node.operator} needs two numbers.")
        return _arithmetic(node.operator, left, right)

    def reference(self, node: Reference) -> Value:
        value = self.variables.get(node.name)
        for step in node.steps:
            if value is None:
                return None
            if isinstance(step, Property):
                value = self.member(value, step.name, node)
            elif isinstance(step, Index):
                value = self.element(value, self.value(step.expression))
            else:
                value = self.call(value, step, node)
        if isinstance(value, Input | Util):
            raise UnknownConstruct(f"The sandbox does not know how to write {node.image}.")
        return value

    def element(self, value: Value, index: Value) -> Value:
        if isinstance(value, list) and isinstance(index, int):
            return _item(value, index)
        if isinstance(value, dict):
            return value.get(as_text(index))
        raise TemplateError("An index needs a list or a map.")

    def member(self, value: Value, name: str, node: Reference) -> Value:
        if isinstance(value, Input):
            if name == "body":
                return value.body
        elif isinstance(value, Context):
            if name in value:
                return value[name]
        elif isinstance(value, StageVariables):
            return value.get(name, "")
        elif isinstance(value, dict):
            return value.get(name)
        elif isinstance(value, str | int | float | list):
            if name in ("length", "size", "empty"):
                raise UnknownConstruct(f"The sandbox does not know {node.image}; write .{name}() for the method.")
            return None
        raise UnknownConstruct(f"The sandbox does not know {node.image} in mapping templates.")

    def call(self, value: Value, step: Call, node: Reference) -> Value:
        arguments = [self.value(argument) for argument in step.arguments]
        function: Callable[..., Value] | None = None
        if isinstance(value, Util):
            function = UTIL.get(step.name)
            if len(arguments) == 1 and not isinstance(arguments[0], str | None):
                arguments = [as_text(arguments[0])]
        elif isinstance(value, Input):
            of_input: dict[str, Callable[..., Value]] = {
                "json": value.json,
                "path": value.path,
                "params": value.params,
            }
            function = of_input.get(step.name)
        elif type(value) in (Context, StageVariables):
            of_map: dict[str, Callable[..., Value]] = {
                "get": lambda key: self.member(value, as_text(key), node),
                "keySet": lambda: list(value),
            }
            function = of_map.get(step.name)
        else:
            function = METHODS.get(type(value), {}).get(step.name)
            arguments = [value, *arguments]
        if function is None:
            raise UnknownConstruct(f"The sandbox does not know {step.name}() in {node.image} of a mapping template.")
        if None in arguments:
            return None  # a null argument makes the call fail in Velocity, which then prints the reference
        try:
            return function(*arguments)
        except (TypeError, AttributeError):
            raise TemplateError(f"{step.name}() in {node.image} was given arguments it does not take.") from None


def _truth(value: Value) -> bool:
    """Velocity 1.x: only false and null are false; an empty text is true."""
    return value is not None and value is not False


def _equal(left: Value, right: Value) -> bool:
    if isinstance(left, bool) or isinstance(right, bool) or type(left) is type(right):
        return bool(left == right)
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    # Velocity compares values of different classes by how they print.
    return left is not None and right is not None and as_text(left) == as_text(right)


_OPERATIONS: dict[str, Callable[[Any, Any], Value]] = {
    "+": add,
    "-": sub,
    "*": mul,
    "<": lt,
    ">": gt,
    "<=": le,
    ">=": ge,
}


def _arithmetic(operator: str, left: Any, right: Any) -> Value:
    if operator in ("/", "%") and right == 0:
        return None  # Velocity: a division by zero has no value
    whole = isinstance(left, int) and isinstance(right, int)
    if operator == "/":
        quotient = left / right
        return int(quotient) if whole else quotient
    if operator == "%":
        return left - right * int(left / right)  # the sign is the left side's, as in Java
    return _OPERATIONS[operator](left, right)


def _as_context(value: Value) -> Value:
    if isinstance(value, Mapping):
        return Context({name: _as_context(item) for name, item in value.items()})
    return value


def render(
    template: str,
    *,
    body: str,
    params: Mapping[str, Mapping[str, str]],
    context: Mapping[str, Value],
    stage_variables: Mapping[str, str],
) -> str:
    """The template's text for one request or response.

    `params` is {"path": {}, "querystring": {}, "header": {}}; `context` is nested, {"identity": {"sourceIp": ...}}.
    Raises UnknownConstruct for what this evaluator does not know and TemplateError for what AWS would not take either.
    """
    variables: dict[str, Value] = {
        "input": Input(body, params),
        "util": Util(),
        "context": _as_context(context),
        "stageVariables": StageVariables(stage_variables),
    }
    try:
        return _Evaluation(variables).write(_parsed(template))
    except (RecursionError, OverflowError) as error:
        raise TemplateError(f"The template could not be evaluated: {error}") from None
