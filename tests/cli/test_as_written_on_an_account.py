"""`--as-written` on an account opens its tables: only who typed it, and answered a question of its own, gets it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import provision.aws.connect
from provision.aws.calls import Calls
from provision.aws.clients import Clients, Target
from provision.terminal import outcome, prompts
from sandbox import Sandbox
from tests.rig.command_line import CommandLine


@pytest.fixture
def account(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """A sandbox that the program takes for an account of AWS."""
    with CommandLine(sandbox, tmp_path / "state.json", "w", monkeypatch) as made:
        connect = provision.aws.connect.connect

        def as_aws(target: Target, calls: Calls) -> Clients:
            return replace(connect(target, calls), endpoint=None)

        monkeypatch.setattr(provision.aws.connect, "connect", as_aws)
        yield made


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person at the terminal types; what was asked stands before it."""
    typed: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(prompts, "forget_typed_ahead", lambda: None)
    monkeypatch.setattr(prompts, "read_line", lambda screen, prompt: typed.pop(0) if typed else "")
    return typed


def test_yes_does_not_cover_it_and_without_a_terminal_it_is_refused(account: CommandLine) -> None:
    refused = account.provision("--yes", "--as-written", "--to", "1")
    assert refused.code == outcome.USAGE and refused.writes == []
    assert "every DynamoDB table of account 123456789012 in Region us-east-1" in refused.flat
    assert "--yes does not cover it" in refused.flat and "--sandbox" in refused.flat


def test_a_file_or_a_variable_cannot_say_it(
    account: CommandLine, answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.append("y")
    monkeypatch.setenv("PROVISION_AS_WRITTEN", "yes")
    refused = account.provision("--yes", "--to", "1")
    assert refused.code == outcome.USAGE and refused.writes == [] and answers == ["y"]
    assert "as-written is set in PROVISION_AS_WRITTEN" in refused.flat


def test_a_person_can_agree_and_is_told_what_becomes_public(account: CommandLine, answers: list[str]) -> None:
    answers.append("n")
    declined = account.provision("--yes", "--as-written", "--to", "1")
    assert declined.code != outcome.DONE and declined.writes == []
    answers.append("y")
    built = account.provision("--yes", "--as-written", "--to", "1")
    assert built.code == outcome.DONE and built.writes == ["CreatePolicy", "CreatePolicy"]
    assert "whoever knows the Invoke URL can read, change and delete items" in built.flat


def test_at_an_emulator_nothing_is_asked(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with CommandLine(sandbox, tmp_path / "state.json", "e", monkeypatch) as emulator:
        built = emulator.provision("--yes", "--as-written", "--to", "1")
        assert built.code == outcome.DONE and "whoever knows the Invoke URL" not in built.flat
