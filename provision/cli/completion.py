"""The values that a shell offers for the options of provision and teardown."""

from __future__ import annotations

from provision import STEPS
from provision.record.recording import learner_of, transcripts_in
from provision.state.resources import ADOPTABLE
from provision.terminal.command_line import state_folder
from provision.terminal.completion import Completer


def profiles() -> list[str]:
    import botocore.session  # it takes a fifth of a second to import

    return list(botocore.session.Session().available_profiles)


def regions() -> list[str]:
    import botocore.session  # as above

    return list(botocore.session.Session().get_available_regions("lambda"))


def keys() -> list[str]:
    return list(ADOPTABLE)


def step_names() -> list[str]:
    return [step.name for step in STEPS]


def learners() -> list[str]:
    """Those of whom there are runs here."""
    return sorted({learner for path in transcripts_in(state_folder()) if (learner := learner_of(path))})


COMPLETERS: dict[str, Completer] = {
    "profile": profiles,
    "region": regions,
    "learner": learners,
    "adopt": keys,
    "to": step_names,
    "back_to": step_names,
}
