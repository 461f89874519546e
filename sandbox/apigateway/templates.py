"""Mapping templates: the part of the Velocity language that API Gateway documents, and no more.

A construct outside the list below raises `UnknownConstruct`: a template that is silently wrong here would teach
something untrue about AWS. airspeed, the maintained Velocity library on PyPI, prints what it does not know as text and
looks names up as Python attributes.

Known: text, `##` and `#* *#` comments, `#set`, `#if`/`#elseif`/`#else`/`#end`, `#foreach` with `$foreach.index`,
`count`, `hasNext`, `first`, `last`; the variables and functions of
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
(`$input`, `$util`, `$context`, `$stageVariables`); the Java methods in `METHODS`.
Not known: macros, `#parse`, `#include`, `#define`, `#evaluate`, `#stop`, `#break`, `$context.requestOverride` and
`responseOverride`, `$velocityCount`, division, groups in replacements, JSONPath filters, slices and `..`.
Simplified: white space around directives. Velocity has more rules than the one here, that a directive at the end of a
line swallows the line break; in JSON and form bodies that makes no difference.
"""

from __future__ import annotations

import base64
import binascii
import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus, unquote_to_bytes

from sandbox.protocol.operations import parse_json
from sandbox.protocol.refusals import NotSimulated

Value = Any
"""What a template computes with: str, int, float, bool, None, list and dict, and what API Gateway gives it."""

MAX_OUTPUT = 10 * 1024 * 1024
"""Bytes, API Gateway's payload quota; a template that writes more is stopped."""

MAX_DEPTH = 50
"""Of directives and parentheses: far above any real template, far below Python's recursion limit."""

MISSING: Value = object()
"""The value of a path that leads nowhere, which is not a JSON null."""


class UnknownConstruct(NotSimulated):
    """A construct that this evaluator does not know; the text is one sentence that names it."""


class TemplateError(Exception):
    """A template that would fail on AWS, too: a syntax error, a null where a text is needed."""


def unknown(what: str) -> UnknownConstruct:
    return UnknownConstruct(f"The sandbox does not know {what} in mapping templates.")


# ------------------------------------------------------------------------------------------------------ JSON and text


def to_json(value: Value) -> str:
    """Compact JSON, as `$input.json` writes it."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    except (RecursionError, TypeError) as error:
        raise TemplateError(f"a value could not be written as JSON: {error}") from None


_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]()'"\s*?@]+) | \[\s*'(?P<single>[^']*)'\s*\] | \[\s*"(?P<double>[^"]*)"\s*\]
        | \[\s*(?P<index>-?\d+)\s*\] | (?P<every>\.\*|\[\s*\*\s*\])""",
    re.VERBOSE,
)


def json_path(document: Value, path: str) -> Value:
    """The value at a JSONPath of names, quoted names, indexes and `*`; MISSING if the path leads nowhere."""
    # Jayway's JsonPath, which API Gateway uses, reads a path without `$` as if it began with `$.`
    path = path if path.startswith("$") else f"$.{path}"
    position, values, many = 1, [document], False
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise unknown(f"the JSONPath expression {path}")
        position = step.end()
        if step["every"]:
            many = True
            inside = [
                list(v.values()) if isinstance(v, Mapping) else v for v in values if isinstance(v, Mapping | list)
            ]
            values = [one for some in inside for one in some]
        elif step["index"] is not None:
            index = int(step["index"])
            values = [v[index] for v in values if isinstance(v, list) and -len(v) <= index < len(v)]
        else:
            name = next(one for one in (step["name"], step["single"], step["double"]) if one is not None)
            values = [v[name] for v in values if isinstance(v, Mapping) and name in v]
    return values if many else values[0] if values else MISSING


def in_body(body: str, path: str) -> Value:
    """The value in a body at a JSONPath.

    A body that is not JSON counts as one JSON string: `$input.json('$')` is the published way to pass form data to a
    function (field reports; AWS does not document it). A path that leads nowhere gives an empty text on AWS (recalled,
    not documented).
    """
    try:
        document = parse_json(body) if body.strip() else {}
    except ValueError:
        document = body
    value = json_path(document, path)
    return "" if value is MISSING else value


def as_text(value: Value) -> str:
    """The value as Java prints it: maps as {a=1}, lists as JSON (inferred from json-smart's JSONArray)."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={as_text(item)}" for key, item in value.items()) + "}"
    return to_json(value) if isinstance(value, list) else str(value)


_SHORT = {
    "\b": "\\b", "\n": "\\n", "\t": "\\t", "\f": "\\f", "\r": "\\r",
    "'": "\\'", '"': '\\"', "\\": "\\\\", "/": "\\/",
}  # fmt: skip


def escape_javascript(text: str) -> str:
    """As Apache Commons' escapeEcmaScript does (inferred: AWS says "JavaScript string rules" and no more)."""

    def escaped(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be", "surrogatepass")
        long = "".join(f"\\u{units[i] << 8 | units[i + 1]:04X}" for i in range(0, len(units), 2))
        return _SHORT.get(found[0], long)

    return re.sub(r"""[^ -~]|['"\\/]""", escaped, text)


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


UTIL: dict[str, Callable[[str], Value]] = {
    "escapeJavaScript": escape_javascript,
    "parseJson": _parse_json_text,
    # As java.net.URLEncoder: a space is `+`, `*` stays, `~` does not.
    "urlEncode": lambda text: quote_plus(text.encode("utf-8", "replace"), safe="*").replace("~", "%7E"),
    "urlDecode": lambda text: unquote_to_bytes(text.replace("+", " ").encode("utf-8", "replace")).decode(
        "utf-8", "replace"
    ),
    "base64Encode": lambda text: base64.b64encode(text.encode("utf-8", "replace")).decode("ascii"),
    "base64Decode": base64_decode,
}


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise unknown(f"the regular expression {pattern} ({error})") from None


def _replace_all(text: str, pattern: str, by: str) -> str:
    if "$" in by or "\\" in by:
        raise unknown(f"groups and backslashes in the replacement {by}")
    return _regex(pattern).sub(lambda _: by, text)


def _substring(text: str, begin: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= begin <= stop <= len(text):
        raise TemplateError(f"substring({begin}, {stop}) of a text of {len(text)} characters")
    return text[begin:stop]


def _item(values: list[Value], index: int) -> Value:
    if not 0 <= index < len(values):
        raise TemplateError(f"No element {index} in a list of {len(values)}")
    return values[index]


OF_ANY: dict[str, Callable[..., Value]] = {"toString": as_text, "equals": lambda value, other: bool(value == other)}

METHODS: dict[type, dict[str, Callable[..., Value]]] = {
    str: {
        **OF_ANY,
        "replaceAll": _replace_all,
        "replace": str.replace,
        "matches": lambda text, pattern: _regex(pattern).fullmatch(text) is not None,
        "substring": _substring,
        "length": len,
        "trim": str.strip,
        "toLowerCase": str.lower,
        "toUpperCase": str.upper,
        "contains": lambda text, part: part in text,
        "startsWith": lambda text, part: text.startswith(part),
        "endsWith": lambda text, part: text.endswith(part),
        "isEmpty": lambda text: not text,
    },
    list: {
        "size": len,
        "get": _item,
        "isEmpty": lambda values: not values,
        "contains": lambda values, value: value in values,
        "toString": as_text,
    },
    dict: {
        "size": len,
        "get": lambda values, key: values.get(as_text(key)),
        "isEmpty": lambda values: not values,
        "containsKey": lambda values, key: as_text(key) in values,
        "keySet": list,
        "toString": as_text,
    },
    int: OF_ANY,
    float: OF_ANY,
    bool: OF_ANY,
}


# -------------------------------------------------------------------------------------- what API Gateway gives


@dataclass(frozen=True)
class Given:
    """`$input`, `$util`, `$context` and its branches, `$stageVariables`. A member that is not here is unknown to the
    sandbox, not empty, unless ``otherwise`` gives its value."""

    members: Mapping[str, Value] = field(default_factory=dict)
    methods: Mapping[str, Callable[..., Value]] = field(default_factory=dict)
    otherwise: Value = MISSING


GIVEN = ("input", "util", "context", "stageVariables")


def _input(body: str, params: Mapping[str, Mapping[str, str]]) -> Given:
    def one_or_all(name: str | None = None) -> Value:
        """All parameters, or one by its name: from the path, else the query string, else the headers, as on AWS."""
        if name is None:
            return {place: dict(params.get(place, {})) for place in ("path", "querystring", "header")}
        for place in ("path", "querystring"):
            if name in params.get(place, {}):
                return params[place][name]
        return next((value for key, value in params.get("header", {}).items() if key.lower() == name.lower()), "")

    def path(expression: str) -> Value:
        return in_body(body, expression)

    return Given({"body": body}, {"path": path, "json": lambda one: to_json(path(one)), "params": one_or_all})


def _context(value: Value) -> Value:
    if not isinstance(value, Mapping):
        return value
    members = {name: _context(item) for name, item in value.items()}
    return Given(members, {"keySet": lambda: list(members)})


# ---------------------------------------------------------------------------------------------------------- running


class Run:
    """One evaluation: its variables, and the number of characters written."""

    def __init__(self, variables: dict[str, Value]) -> None:
        self.variables = variables
        self.size = 0

    def write(self, nodes: tuple[Node, ...]) -> str:
        written: list[str] = []
        for node in nodes:
            text = node(self)
            self.size += len(text)
            if self.size > MAX_OUTPUT:
                raise TemplateError(f"The template wrote more than {MAX_OUTPUT} characters.")
            written.append(text)
        return "".join(written)


Node = Callable[[Run], str]
"""A piece of a template: what it writes."""

Code = Callable[[Run], Value]
"""An expression: its value."""


@dataclass(frozen=True)
class Reference:
    """`$name` and what follows: properties, indexes and calls."""

    name: str
    steps: tuple[tuple[str, Any], ...]
    quiet: bool
    image: str

    def __call__(self, run: Run) -> Value:
        value = self.reached(run, self.steps)
        if isinstance(value, Given):
            raise unknown(f"how to write {self.image}")
        return value

    def reached(self, run: Run, steps: tuple[tuple[str, Any], ...]) -> Value:
        value = run.variables.get(self.name)
        for kind, what in steps:
            if value is None:
                return None
            if kind == "property":
                value = self._member(value, what)
            elif kind == "index":
                value = _element(value, what(run))
            else:
                name, arguments = what
                value = self._called(value, name, [argument(run) for argument in arguments])
        return value

    def write(self, run: Run) -> str:
        value = self(run)
        # Velocity prints a reference without a value as it is written in the template.
        return as_text(value) if value is not None else "" if self.quiet else self.image

    def _member(self, value: Value, name: str) -> Value:
        if isinstance(value, Given):
            found = value.members.get(name, value.otherwise)
            if found is MISSING:
                raise unknown(self.image)
            return found
        if isinstance(value, dict):
            return value.get(name)
        if name in ("length", "size", "empty"):
            raise unknown(f"{self.image} (write .{name}() for the method)")
        if name.startswith("_"):
            raise unknown(self.image)
        return None

    def _called(self, value: Value, name: str, arguments: list[Value]) -> Value:
        if isinstance(value, Given) and name == "get" and value.members and len(arguments) == 1:
            return self._member(value, as_text(arguments[0]))
        methods = value.methods if isinstance(value, Given) else METHODS.get(type(value), {})
        function = methods.get(name)
        if function is None:
            raise unknown(f"{name}() in {self.image}")
        if None in arguments:
            return None  # in Velocity the call fails, and the reference is printed
        if methods is UTIL:
            arguments = [as_text(one) for one in arguments]
        try:
            return function(*arguments) if isinstance(value, Given) else function(value, *arguments)
        except (TypeError, AttributeError):
            raise TemplateError(f"{name}() in {self.image} was given arguments it does not take.") from None


def _element(value: Value, index: Value) -> Value:
    if isinstance(value, list) and isinstance(index, int):
        return _item(value, index)
    if isinstance(value, dict):
        return value.get(as_text(index))
    raise TemplateError("An index needs a list or a map.")


def _truth(value: Value) -> bool:
    """Velocity 1.x: only false and null are false; an empty text is true."""
    return value is not None and value is not False


def _equal(left: Value, right: Value) -> bool:
    numbers = (int, float)
    if isinstance(left, bool) or isinstance(right, bool) or type(left) is type(right):
        return bool(left == right)
    if isinstance(left, numbers) and isinstance(right, numbers):
        return left == right
    # Velocity compares values of different classes as text.
    return left is not None and right is not None and as_text(left) == as_text(right)


_ARITHMETIC: dict[str, Callable[[Any, Any], Value]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul,
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip


def _binary(sign: str, left: Code, right: Code) -> Code:
    def arithmetic(run: Run) -> Value:
        one, other = left(run), right(run)
        if sign == "+" and (isinstance(one, str) or isinstance(other, str)):
            return as_text(one) + as_text(other)
        if not all(isinstance(side, int | float) and not isinstance(side, bool) for side in (one, other)):
            raise TemplateError(f"{sign} needs two numbers.")
        return _ARITHMETIC[sign](one, other)

    logic: dict[str, Code] = {
        "&&": lambda run: _truth(left(run)) and _truth(right(run)),
        "||": lambda run: _truth(left(run)) or _truth(right(run)),
        "==": lambda run: _equal(left(run), right(run)),
        "!=": lambda run: not _equal(left(run), right(run)),
    }
    return logic.get(sign, arithmetic)


def _range(first: Code, last: Code) -> Code:
    def counted(run: Run) -> Value:
        start, end = first(run), last(run)
        if not (isinstance(start, int) and isinstance(end, int)) or abs(end - start) > 100_000:
            raise TemplateError("A range [a..b] needs two whole numbers not far apart.")
        step = 1 if end >= start else -1
        return list(range(start, end + step, step))

    return counted


def _loop(variable: str, code: Code, body: tuple[Node, ...]) -> Node:
    def loop(run: Run) -> str:
        values = code(run)
        if isinstance(values, Mapping):
            values = list(values.values())
        if values is None or values == "":
            return ""
        if not isinstance(values, list):
            raise TemplateError("#foreach was given what is neither a list nor a map.")
        saved = {name: run.variables.get(name) for name in (variable, "foreach")}
        written, end = [], len(values)
        for index, value in enumerate(list(values)):
            place = {"index": index, "count": index + 1, "first": index == 0}
            place |= {"hasNext": index + 1 < end, "last": index + 1 == end}
            run.variables |= {variable: value, "foreach": place}
            written.append(run.write(body))
        run.variables |= saved
        return "".join(written)

    return loop


def _assignment(target: Reference, code: Code) -> Node:
    if any(kind != "property" for kind, _ in target.steps) or target.name in GIVEN:
        raise unknown(f"how to #set {target.image}")

    def assign(run: Run) -> str:
        value = code(run)
        if value is None:
            return ""  # Velocity 1.x leaves the variable as it was
        if not target.steps:
            run.variables[target.name] = value
            return ""
        holder = target.reached(run, target.steps[:-1])
        if not isinstance(holder, dict):
            raise TemplateError(f"#set {target.image}: there is no map to set it in.")
        holder[target.steps[-1][1]] = value
        return ""

    return assign


def _choice(branches: list[tuple[Code, tuple[Node, ...]]]) -> Node:
    def choose(run: Run) -> str:
        return next((run.write(body) for condition, body in branches if _truth(condition(run))), "")

    return choose


def _constant(value: Value) -> Code:
    return lambda run: value


# ---------------------------------------------------------------------------------------------------------- parsing

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_END_OF_LINE = re.compile(r"[ \t]*\r?\n")
_MARK = re.compile(
    r"""\\(?P<escaped>[$#]) | (?P<comment>\#\#[^\n]*\n? | \#\*.*?\*\#) | (?P<open>\#\*)
        | \#(?:\{(?P<braced>[a-z]+)\} | (?P<directive>[A-Za-z_]\w*)) | (?P<dollar>\$)""",
    re.VERBOSE | re.DOTALL,
)
_KNOWN = ("set", "if", "foreach", "elseif", "else", "end")
_REFUSED = ("stop", "break", "macro", "parse", "include", "define", "evaluate")
_WORDS = {"and": "&&", "or": "||", "not": "!", "eq": "==", "ne": "!=", "gt": ">", "lt": "<", "ge": ">=", "le": "<="}
_CONSTANTS = {"true": True, "false": False, "null": None}
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("==", "!="), ("<=", ">=", "<", ">"), ("+", "-"), ("*",),
)  # fmt: skip


class _Parser:
    def __init__(self, source: str, depth: int = 0) -> None:
        self.source = source
        self.position = 0
        self.depth = depth

    # -- text and directives

    def template(self, until: tuple[str, ...] = ()) -> tuple[tuple[Node, ...], str]:
        """The nodes up to a directive of `until`, which is consumed and whose name is returned, or to the end."""
        self._deeper()
        nodes: list[Node] = []
        while mark := _MARK.search(self.source, self.position):
            if mark.start() > self.position:
                nodes.append(_constant(self.source[self.position : mark.start()]))
            self.position = mark.end()
            name = mark["braced"] or mark["directive"]
            if name in until:
                self.depth -= 1
                return tuple(nodes), name
            if name or mark["dollar"]:
                nodes.append(self._directive(mark, name) if name else self._written(mark))
            elif mark["escaped"]:
                nodes.append(_constant(mark["escaped"]))  # \$name prints $name
            elif mark["open"]:
                raise TemplateError("A comment #* is not closed by *#.")
        nodes.append(_constant(self.source[self.position :]))
        self.position = len(self.source)
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

    def _written(self, mark: re.Match[str]) -> Node:
        reference = self._reference(mark.start())
        return _constant("$") if reference is None else reference.write

    def _directive(self, mark: re.Match[str], name: str) -> Node:
        if name not in _KNOWN:
            if self.source.startswith("(", self.position) or name in _REFUSED:
                raise unknown(f"the directive #{name}")
            return _constant(mark[0])
        if name == "set":
            return self._set()
        if name == "if":
            return self._if()
        if name == "foreach":
            return self._foreach()
        raise TemplateError(f"#{name} stands without its #if or #foreach.")

    def _set(self) -> Node:
        self._expect("(")
        target = self._variable("#set needs a variable on its left side.")
        self._expect("=")
        code = self._expression()
        self._expect(")")
        self._line_break()
        return _assignment(target, code)

    def _if(self) -> Node:
        branches: list[tuple[Code, tuple[Node, ...]]] = []
        word = "if"
        while word != "end":
            condition = _constant(True)
            if word != "else":
                self._expect("(")
                condition = self._expression()
                self._expect(")")
            self._line_break()
            body, word = self.template(("end",) if word == "else" else ("elseif", "else", "end"))
            branches.append((condition, body))
        self._line_break()
        return _choice(branches)

    def _foreach(self) -> Node:
        self._expect("(")
        variable = self._variable("#foreach needs a variable first.")
        if variable.steps:
            raise TemplateError("#foreach needs a variable first.")
        self._expect("in")
        code = self._expression()
        self._expect(")")
        self._line_break()
        body, _ = self.template(("end",))
        self._line_break()
        return _loop(variable.name, code, body)

    # -- expressions

    def _space(self) -> None:
        while self.position < len(self.source) and self.source[self.position].isspace():
            self.position += 1

    def _expect(self, mark: str) -> None:
        if not self._takes(mark):
            if self._takes("/", "%"):
                raise unknown("division")
            found = self.source[self.position : self.position + 20]
            raise TemplateError(f"Expected {mark} in the template, found: {found!r}")

    def _takes(self, *signs: str) -> str | None:
        """The next sign, if it is one of these or a word for one."""
        self._space()
        for sign in signs:
            if self.source.startswith(sign, self.position):
                self.position += len(sign)
                return sign
        if (word := _NAME.match(self.source, self.position)) and _WORDS.get(word[0]) in signs:
            self.position = word.end()
            return _WORDS[word[0]]
        return None

    def _expression(self, level: int = 0) -> Code:
        if level == len(_LEVELS):
            return self._unary()
        if level == 0:
            self._deeper()
        left = self._expression(level + 1)
        while sign := self._takes(*_LEVELS[level]):
            left = _binary(sign, left, self._expression(level + 1))
        if level == 0:
            self.depth -= 1
        return left

    def _unary(self) -> Code:
        negations = 0
        while self._takes("!"):
            negations += 1
        value = self._primary()
        return value if not negations else lambda run: _truth(value(run)) == (negations % 2 == 0)

    def _primary(self) -> Code:
        self._space()
        if self.source.startswith("$", self.position):
            return self._variable("A $ in an expression needs a name.")
        sign = self._takes("'", '"', "(", "[", "{")
        if sign in ("'", '"'):
            return self._string(sign)
        if sign == "(":
            value = self._expression()
            self._expect(")")
            return value
        if sign == "[":
            return self._list()
        if sign == "{":
            pairs = self._sequence(self._entry, "}")
            return lambda run: {as_text(key(run)): item(run) for key, item in pairs}
        if number := _NUMBER.match(self.source, self.position):
            self.position = number.end()
            return _constant(float(number[0]) if number[1] else int(number[0]))
        word = _NAME.match(self.source, self.position)
        if word and word[0] in _CONSTANTS:
            self.position = word.end()
            return _constant(_CONSTANTS[word[0]])
        found = self.source[self.position : self.position + 20]
        raise TemplateError(f"Expected a value in the template, found: {found!r}")

    def _string(self, quote: str) -> Code:
        # In Velocity a backslash in a string is an ordinary character, and a doubled quote stands for one.
        found = re.compile(f"(?:[^{quote}]|{quote}{quote})*").match(self.source, self.position)
        assert found is not None
        self.position = found.end()
        if not self.source.startswith(quote, self.position):
            raise TemplateError(f"A string is not closed by {quote}.")
        self.position += 1
        text = found[0].replace(quote * 2, quote)
        if quote == "'" or not ("$" in text or "#" in text):
            return _constant(text)
        nodes, _ = _Parser(text, self.depth).template()
        return lambda run: run.write(nodes)

    def _list(self) -> Code:
        ranges: list[Code] = []

        def item() -> Code:
            first = self._expression()
            if self._takes(".."):
                ranges.append(_range(first, self._expression()))
            return first

        items = self._sequence(item, "]")
        return ranges[0] if len(items) == len(ranges) == 1 else lambda run: [one(run) for one in items]

    def _entry(self) -> tuple[Code, Code]:
        key = self._expression()
        self._expect(":")
        return key, self._expression()

    def _sequence(self, item: Callable[[], Any], closing: str) -> tuple[Any, ...]:
        """Items, separated by commas, up to the closing sign."""
        items: list[Any] = []
        while not self._takes(closing):
            if items:
                self._expect(",")
            items.append(item())
        return tuple(items)

    def _variable(self, otherwise: str) -> Reference:
        self._space()
        reference = self._reference(self.position)
        if reference is None:
            raise TemplateError(otherwise)
        return reference

    def _reference(self, start: int) -> Reference | None:
        """The reference at this `$`, or None if it is only a dollar sign."""
        head = re.compile(r"\$(!?)(\{?)([A-Za-z][A-Za-z0-9_-]*)").match(self.source, start)
        if head is None:
            return None
        if head[3] == "velocityCount":
            raise unknown("$velocityCount; $foreach.count is the same")
        self.position = head.end()
        steps: list[tuple[str, Any]] = []
        while True:
            member = _NAME.match(self.source, self.position + 1) if self.source.startswith(".", self.position) else None
            if member:
                self.position = member.end()
                if self.source.startswith("(", self.position):
                    self.position += 1
                    steps.append(("call", (member[0], self._sequence(self._expression, ")"))))
                else:
                    steps.append(("property", member[0]))
            elif self.source.startswith("[", self.position):
                self.position += 1
                steps.append(("index", self._expression()))
                self._expect("]")
            else:
                break
        if head[2]:
            self._expect("}")
        return Reference(head[3], tuple(steps), bool(head[1]), self.source[start : self.position])


@lru_cache(maxsize=256)
def _parsed(template: str) -> tuple[Node, ...]:
    return _Parser(template).template()[0]


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
        "input": _input(body, params),
        "util": Given(methods=UTIL),
        "context": _context(context),
        "stageVariables": Given(stage_variables, {"keySet": lambda: list(stage_variables)}, ""),
    }
    try:
        return Run(variables).write(_parsed(template))
    except (RecursionError, OverflowError) as error:
        raise TemplateError(f"The template could not be evaluated: {error}") from None
