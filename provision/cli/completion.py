"""The values that a shell offers for the options of provision and teardown."""

from __future__ import annotations

from typing import Any

from provision import STEPS
from provision.state.resources import ADOPTABLE
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


def nothing(**asked: Any) -> list[str]:
    """Without this a shell would offer file names."""
    return []


COMPLETERS: dict[str, Completer] = {
    "profile": profiles,
    "region": regions,
    "adopt": keys,
    "to": step_names,
    "back_to": step_names,
    **dict.fromkeys(("learner", "endpoint_url", "runtime", "deployment", "speed"), nothing),
}
