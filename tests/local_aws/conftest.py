"""One sandbox for all tests of a module, which takes signed calls only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import Sandbox
from tests.local_aws.sandbox_account import SECRET, Account


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(key=SECRET) as running:
        yield running


@pytest.fixture(scope="module")
def account(sandbox: Sandbox) -> Account:
    return Account(sandbox.url)
