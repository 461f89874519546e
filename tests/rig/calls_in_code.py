"""Which calls to AWS stand in the code, found by reading it: also those that no run of a test happens to make."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore import xform_name
from botocore.loaders import Loader
from botocore.waiter import WaiterModel

from provision.state.comparison import COMPARED
from tests.rig import CHECKOUT

# What the code calls a service's client: by the service's name, but for Lambda, whose name is a word of Python.
CLIENTS = {
    "iam": "iam",
    "dynamodb": "dynamodb",
    "sqs": "sqs",
    "lambda_": "lambda",
    "apigateway": "apigateway",
    "logs": "logs",
}

Named = tuple[str, str]


@functools.cache
def operations(service: str) -> dict[str, str]:
    """By the name of boto3's method, the operation."""
    model = Loader().load_service_model(service, "service-2")
    return {xform_name(name): name for name in model["operations"]}


def waits_with(service: str, waiter: str) -> str:
    model = WaiterModel(Loader().load_service_model(service, "waiters-2"))
    names = {xform_name(name): name for name in model.waiter_names}
    return str(model.get_waiter(names[waiter]).operation)


def service_of(node: ast.expr) -> str | None:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return CLIENTS.get(name)


def called_in(tree: ast.AST) -> Iterator[Named]:
    """Service and operation of each call to a client in a piece of code, by a paginator or a waiter too."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        service = service_of(node.func.value)
        if service is None:
            continue
        method, first = node.func.attr, node.args[0] if node.args else None
        if method == "get_paginator":
            assert isinstance(first, ast.Constant)
            yield service, operations(service)[str(first.value)]
        elif method == "get_waiter":
            assert isinstance(first, ast.Constant)
            yield service, waits_with(service, str(first.value))
        elif method in operations(service):
            yield service, operations(service)[method]


def functions_of(path: Path) -> Iterator[tuple[str, set[Named]]]:
    """Each function of a module, with the calls that stand in it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, set(called_in(node))
        else:
            yield "", set(called_in(node))


def calls_in(*patterns: str, where: Any = lambda name: True) -> set[Named]:
    """The calls in the modules of these patterns, in the functions whose names `where` takes."""
    paths = [path for pattern in patterns for path in sorted(CHECKOUT.glob(pattern))]
    assert paths
    return {call for path in paths for name, calls in functions_of(path) if where(name) for call in calls}


def looks() -> set[Named]:
    """The calls that status and plan make beside the steps'."""
    return {(look.call[0], look.call[1]) for row in COMPARED.values() for look in row.looks}


def restores(function: str) -> bool:
    """Whether a function of teardown puts back what was adopted."""
    return function.startswith("restore") or function == "put_boundary_back"
