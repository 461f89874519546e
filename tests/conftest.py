"""What every test shares: loopback only, none of the user's environment, and a deployment to work on."""

from __future__ import annotations

import functools
import gc
import inspect
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.hooks
import botocore.session
import moto.core.responses
import pytest

from provision.terminal.screen import Screen
from sandbox import Sandbox
from teardown import backwards
from tests.rig import warm
from tests.rig.browser import browser
from tests.rig.clock import Clock
from tests.rig.deployment import Deployment
from tests.rig.programs import end_warm_servers, worker_server
from tests.rig.screens import memory_screen
from tests.rig.tiers import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_xdist_auto_num_workers,
)
from tests.rig.warm_aws import WarmAws

__all__ = [
    "browser",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_xdist_auto_num_workers",
]

# moto and botocore keep hundreds of thousands of objects alive; Python would go through all of them again and again.
gc.set_threshold(100_000, 20, 100)


def pytest_collection_finish() -> None:
    """What has been imported and collected by now stays to the end."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    """pytest goes through all objects five times at the end, and Python some more; once finds what there is."""
    gc.collect()
    gc.freeze()


# moto finds out anew at each request which methods a class has.
moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)

# botocore looks at the signature of each handler that each of the many clients here is given.
looks_at_signature = botocore.hooks.accepts_kwargs


def accepts_kwargs(handler: Any) -> Any:
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    return looks_at_signature(handler) if code is None else code.co_flags & inspect.CO_VARKEYWORDS


botocore.hooks.accepts_kwargs = accepts_kwargs

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that opens a socket to anywhere but this machine fails."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            pytest.fail(f"a socket to {address} was opened; tests talk to this machine only")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check(self, address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "BOTO_", "PROVISION_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session", autouse=True)
def models_read_once() -> Iterator[None]:
    """All of botocore's sessions share what they read of the API models, which takes half a second a connection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power here. The state file's own tests and programs in processes of their own do wait."""
    if not request.module.__name__.endswith("test_state"):
        monkeypatch.setattr(os, "fsync", os.fstat)  # which refuses a descriptor that is none, too


@pytest.fixture
def one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing lags behind in a sandbox: once not there is gone."""
    monkeypatch.setattr(backwards, "GONE_READS", 1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One for all tests of a module, which keep apart by a learner's name or remove what they made."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def empty_sandbox() -> Iterator[Sandbox]:
    """A sandbox of this test's own, with nothing in it."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    """The suite at work on an empty sandbox, with its state file in a folder of this test's own."""
    with Deployment(empty_sandbox.id, empty_sandbox.url, tmp_path / "ledger.json") as made:
        yield made


@pytest.fixture(scope="session")
def warm_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmAws]:
    """The real `aws` command without its start, for what calls it a hundred times."""
    with WarmAws(tmp_path_factory.mktemp("warm")) as served:
        yield served


@pytest.fixture(scope="session", autouse=True)
def programs_that_wait_to_be_forked() -> Iterator[None]:
    if hasattr(os, "fork"):
        warm.fork_workers(worker_server())
    yield
    end_warm_servers()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def screen() -> Screen:
    """A screen that writes into memory: `screen.talk.file.getvalue()`."""
    return memory_screen()
