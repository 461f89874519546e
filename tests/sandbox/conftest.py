"""One sandbox for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sandbox_account import Account

from sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def account(sandbox: Sandbox) -> Account:
    return Account(sandbox.url)
