"""Expressions, read before moto sees them: their grammar, functions, names and values.

moto reads update expressions well; of conditions it breaks on what it does not know, and it takes values that nothing
uses. The grammar: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
The messages are those that dynalite's tests, which are also run on AWS, expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

from sandbox.dynamodb.values import invalid
from sandbox.protocol.refusals import NotSimulated, Refused

TOKEN = re.compile(r"\s*([#:]?\w+|<=|>=|<>|\S)", re.ASCII)
COMPARATORS = ("=", "<>", "<", "<=", ">", ">=")
KEYWORDS = ("AND", "OR", "NOT", "IN", "BETWEEN")
# The operands of each function in conditions.
IN_CONDITIONS = {
    "attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2, "size": 1,
}  # fmt: skip
IN_UPDATES = ("if_not_exists", "list_append")
CONDITIONS = ("ConditionExpression", "FilterExpression", "KeyConditionExpression")
EXPRESSIONS = ("UpdateExpression", *CONDITIONS, "ProjectionExpression")
# The older parameters that each operation had before there were expressions.
OLDER = ("AttributesToGet", "AttributeUpdates", "Expected", "QueryFilter", "ScanFilter", "ConditionalOperator")
DEEPEST = 100
NAMES, VALUES = "ExpressionAttributeNames", "ExpressionAttributeValues"


def check(given: Mapping[str, Any]) -> None:
    """Raise Refused for expressions that DynamoDB refuses. ``given``: an operation, or a part of a batch."""
    expressions = {name: str(given[name]) for name in EXPRESSIONS if given.get(name) is not None}
    older = [name for name in OLDER if given.get(name) is not None]
    if expressions and older:
        raise invalid(
            "Can not use both expression and non-expression parameters in the same request: Non-expression "
            f"parameters: {{{', '.join(older)}}} Expression parameters: {{{', '.join(expressions)}}}"
        )
    for kind in (NAMES, VALUES):
        if given.get(kind) is not None and not expressions:
            raise invalid(f"{kind} can only be specified when using expressions")
        if given.get(kind) == {}:
            raise invalid(f"{kind} must not be empty")
    used: set[str] = set()
    for name, text in expressions.items():
        try:
            used |= of_expression(name, text, given)
        except Refused as refused:
            raise invalid(f"Invalid {name}: {refused.words.message}") from None
    # Those of an update are moto's to check, after its grammar.
    for kind in () if "UpdateExpression" in expressions else (NAMES, VALUES):
        unused = [one for one in given.get(kind) or () if one not in used]
        if unused:
            raise invalid(f"Value provided in {kind} unused in expressions: keys: {{{', '.join(unused)}}}")


def of_expression(name: str, text: str, given: Mapping[str, Any]) -> set[str]:
    """The placeholders that an expression uses; none of an update, since moto checks those."""
    tokens = TOKEN.findall(text)
    if not tokens:
        raise invalid("The expression can not be empty;")
    if max(accumulate((one == "(") - (one == ")") for one in tokens)) > DEEPEST:
        raise NotSimulated(f"The sandbox reads no expression with more than {DEEPEST} parentheses in one another.")
    if name in CONDITIONS:
        Condition(tokens).read()
    elif name == "UpdateExpression":
        for function in functions(tokens):
            if function not in IN_UPDATES:
                raise invalid(f"Invalid function name; function: {function}")
        return set()
    for token in tokens:
        if token[0] == "#" and token not in (given.get(NAMES) or {}):
            said = "An expression attribute name used in the document path is not defined; attribute name: "
            raise invalid(said + token)
        if token[0] == ":" and token not in (given.get(VALUES) or {}):
            raise invalid(f"An expression attribute value used in expression is not defined; attribute value: {token}")
    return {token for token in tokens if token[0] in "#:"}


def functions(tokens: list[str]) -> Iterator[str]:
    for token, following in pairwise(tokens):
        if following == "(" and re.match(r"[a-z]", token, re.IGNORECASE) and token.upper() not in ("SET", "ADD"):
            yield token


def only_takes_away(given: Mapping[str, Any]) -> bool:
    """Whether an UpdateItem has nothing but REMOVE and DELETE: it does not make a missing item."""
    updates = given.get("AttributeUpdates") or {}
    clauses = {one.upper() for one in TOKEN.findall(str(given.get("UpdateExpression") or ""))}
    clauses |= {"REMOVE" if one.get("Action") == "DELETE" else "SET" for one in updates.values()}
    return bool(clauses & {"REMOVE", "DELETE"}) and not clauses & {"SET", "ADD"}


class Condition:
    """Reads a condition to its end, or refuses it at the first token that does not belong there."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def read(self) -> None:
        self._any_of()
        if self._at < len(self._tokens):
            self._refuse()

    def _any_of(self) -> None:
        self._not()
        while self._takes("AND", "OR"):
            self._not()

    def _not(self) -> None:
        while self._takes("NOT"):
            pass
        if self._token == "(":
            self._at += 1
            self._any_of()
            self._needs(")")
        elif self._is_function and self._token != "size":
            self._operand()
        else:
            self._comparison()

    def _comparison(self) -> None:
        size = self._token == "size"
        self._operand()
        if self._takes(*COMPARATORS):
            self._operand()
        elif self._takes("BETWEEN"):
            self._operand()
            self._needs("AND")
            self._operand()
        elif self._takes("IN"):
            self._needs("(")
            self._operands()
        elif size:
            raise invalid("The function is not allowed to be used this way in an expression; function: size")
        else:
            self._refuse()

    def _operand(self) -> None:
        if self._is_function:
            name = self._token
            self._at += 2
            given = self._operands()
            if name not in IN_CONDITIONS:
                raise invalid(f"Invalid function name; function: {name}")
            if given != IN_CONDITIONS[name]:
                said = f"operator or function: {name}, number of operands: {given}"
                raise invalid(f"Incorrect number of operands for operator or function; {said}")
            return
        if not re.match(r"[#:a-z]\w", self._token + "_", re.IGNORECASE) or self._token.upper() in KEYWORDS:
            self._refuse()
        self._at += 1
        while self._token in (".", "["):
            self._at += 2
            if self._tokens[self._at - 2] == "[":
                self._needs("]")

    def _operands(self) -> int:
        """How many there are up to the closing parenthesis."""
        self._operand()
        number = 1
        while self._takes(","):
            self._operand()
            number += 1
        self._needs(")")
        return number

    @property
    def _token(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else "<EOF>"

    @property
    def _is_function(self) -> bool:
        following = self._tokens[self._at + 1 : self._at + 2]
        return following == ["("] and self._token[0].isalpha() and self._token.upper() not in KEYWORDS

    def _takes(self, *tokens: str) -> bool:
        found = self._token.upper() in tokens
        self._at += found
        return found

    def _needs(self, token: str) -> None:
        if not self._takes(token):
            self._refuse()

    def _refuse(self) -> None:
        near = " ".join(self._tokens[max(self._at - 1, 0) : self._at + 2])
        raise invalid(f'Syntax error; token: "{self._token}", near: "{near}"')
