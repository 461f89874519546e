"""The programs' command lines in this process, with short sleeps, and AWS's refusals on the way."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

import provision.__main__
import provision.aws.connect
import teardown.__main__
from provision.aws.answers import Call
from provision.aws.calls import Calls
from provision.aws.clients import Clients, Target
from provision.cli.ending import run_program
from provision.cli.results import Result
from provision.cli.session import Session
from provision.settings import Settings
from sandbox import Sandbox
from tests.rig.deployment import CONNECTIONS, REGION, Deployment
from tests.rig.screens import memory_screen


@dataclass
class Ended:
    """How a run of a command line ended: its exit code, its talk, its data, the calls it made, and its result."""

    code: int
    said: str
    told: str
    calls: list[Call]
    result: Result

    @property
    def flat(self) -> str:
        """The talk, as if it were one line."""
        return " ".join(self.said.split())

    @property
    def writes(self) -> list[str]:
        return [call.operation for call in self.calls if not call.is_read]


class CommandLine(Deployment):
    """A deployment at an endpoint, named by a learner, that is built and taken down by its command line.

    `prepare` is called with the clients of each run, before anything else: that is where AWS is made to refuse.
    """

    def __init__(self, sandbox: Sandbox, path: Any, learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(sandbox.id, sandbox.url, path, Settings(learner=learner))
        self.waiting.sleep = short_sleep
        self.on_connect: Callable[[Clients], None] = lambda aws: None

        def connect_and_prepare(target: Target, calls: Calls) -> Clients:
            aws = CONNECTIONS.lend(target, calls)
            self.on_connect(aws)
            return aws

        monkeypatch.setattr(provision.aws.connect, "connect", connect_and_prepare)

    @property
    def target(self) -> Target:
        return Target(endpoint_url=self.url, region=REGION)

    @property
    def where(self) -> list[str]:
        assert self.settings.learner
        return ["--endpoint-url", self.url, "--learner", self.settings.learner, "--state", str(self.path)]

    def provision(self, *arguments: str) -> Ended:
        return run(provision.__main__.provision, "provision", *self.where, *arguments)

    def recover(self, *arguments: str) -> Ended:
        return self.provision("--recover", *arguments)

    def take_down(self, *arguments: str) -> Ended:
        return run(teardown.__main__.teardown, "teardown", *self.where, "--yes", *arguments)


def short_sleep(seconds: float) -> None:
    time.sleep(min(seconds / 20, 0.03))


def run(program: Callable[..., Result], name: str, *arguments: str) -> Ended:
    """`python -m NAME ARGUMENTS`."""
    screen = memory_screen()
    session = Session(screen, name, sleep=short_sleep)
    talk, data = screen.talk.file, screen.data.file  # whatever the program then puts in their places
    assert isinstance(talk, io.StringIO) and isinstance(data, io.StringIO)

    def body() -> Result:
        return program(list(arguments), session)

    result = run_program(body, session, again=f"python -m {name}", given=arguments)
    CONNECTIONS.give_back(session.calls)
    return Ended(result.exit_code, talk.getvalue(), data.getvalue(), session.calls.history, result)


def refusal(code: str = "AccessDeniedException", status: int = 403) -> Any:
    return (
        SimpleNamespace(status_code=status, headers={}, content=b""),
        {"Error": {"Code": code, "Message": "not now"}, "ResponseMetadata": {"HTTPStatusCode": status}},
    )


def refuse(aws: Clients, service: str, operation: str, code: str = "AccessDeniedException", times: int = 1000) -> None:
    """AWS refuses this operation to these clients, so many times."""
    client = getattr(aws, service)
    left = [code] * times
    client.meta.events.register_last(
        f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}",
        lambda **event: refusal(left.pop()) if left else None,
    )
