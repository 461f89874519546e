"""The values that a shell offers for the options of provision and teardown."""

from __future__ import annotations

from typing import Any

from provision import STEPS
from provision.record.recording import learner_of, transcripts_in
from provision.state.resources import ADOPTABLE
from provision.terminal.command_line import state_folder
from provision.terminal.completion import Completer


def profiles(**asked: Any) -> list[str]:
    import botocore.session  # it takes a fifth of a second to import

    return list(botocore.session.Session().available_profiles)


def regions(**asked: Any) -> list[str]:
    import botocore.session  # as above

    return list(botocore.session.Session().get_available_regions("lambda"))


def keys(**asked: Any) -> list[str]:
    return list(ADOPTABLE)


def step_names(**asked: Any) -> list[str]:
    return [step.name for step in STEPS]


def learners(**asked: Any) -> list[str]:
    """Those of whom there are runs here."""
    return sorted({learner for path in transcripts_in(state_folder()) if (learner := learner_of(path))})


def nothing(**asked: Any) -> list[str]:
    """Without this a shell would offer file names."""
    return []


COMPLETERS: dict[str, Completer] = {
    "profile": profiles,
    "region": regions,
    "adopt": keys,
    "to": step_names,
    "back_to": step_names,
    "learner": learners,
    **dict.fromkeys(("endpoint_url", "runtime", "deployment", "speed"), nothing),
}
