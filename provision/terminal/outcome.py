"""How a program of this suite can end: the exit codes, and the one exception for errors that a person can act on.

The codes are those of the AWS CLI v2
(https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-returncodes.html), so that a script which already
understands `aws` understands these programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DONE = 0
LEFT = 1  # the program came to its end, but something failed, was left, or was refused
CHANGES = 2  # with --detailed-exitcode: there is something to do, or something has drifted
INTERRUPTED = 130  # Ctrl-C or SIGTERM
USAGE = 252  # the command line, or a value on it, is wrong
ENVIRONMENT = 253  # credentials, configuration or connection
SERVICE = 254  # AWS answered with an error

# The stable word for an ending, where nothing says it better.
CODES = {LEFT: "refused", INTERRUPTED: "interrupted", USAGE: "usage", ENVIRONMENT: "environment", SERVICE: "aws-error"}


@dataclass(frozen=True)
class Error:
    """Why a program could not do what it should: the parts of a UserError, as a result has them.

    `code` is a stable word, for a program to decide by. `resources` have type, noun, name, identity and remark.
    `transcript` and `log` are files that tell more.
    """

    code: str
    what: str
    means: str = ""
    advice: tuple[str, ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    transcript: str | None = None
    log: str | None = None


class UserError(Exception):
    """The program ends here, and a person can do something about it.

    `what` is one sentence that says what happened, `means` what that means, `advice` what to do next (any number of
    lines), `resources` which resources it is about: kind, identity and a remark of each. `code` is a stable word for a
    program to decide by. Only `__main__` shows it, and ends with `exit_code`; there is no traceback.
    """

    exit_code = LEFT
    code = ""

    def __init__(
        self,
        what: str,
        *,
        means: str = "",
        advice: tuple[str, ...] = (),
        resources: tuple[tuple[str, dict[str, str], str], ...] = (),
        exit_code: int | None = None,
        code: str = "",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.means = means
        self.advice = advice
        self.resources = resources
        if exit_code is not None:
            self.exit_code = exit_code
        self.code = code or self.code or CODES[self.exit_code]

    def error(self, resources: tuple[dict[str, Any], ...] = (), **files: str | None) -> Error:
        """The same as data."""
        return Error(self.code, self.what, self.means, tuple(self.advice), resources, **files)

    def with_words(
        self,
        *,
        what: str = "",
        means: str | None = None,
        advice: tuple[str, ...] | None = None,
        resources: tuple[tuple[str, dict[str, str], str], ...] = (),
    ) -> UserError:
        """The same ending, told otherwise by who knows more; to be raised from this one."""
        return UserError(
            what or self.what,
            means=self.means if means is None else means,
            advice=self.advice if advice is None else advice,
            resources=resources or self.resources,
            exit_code=self.exit_code,
            code=self.code,
        )


class Declined(UserError):
    """A person was asked and did not say yes."""

    code = "declined"


class Interrupted(UserError):
    """Ctrl-C or SIGTERM arrived; the call in flight has ended and the state file is saved."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("Interrupted: the call in flight has ended and the state file is saved.")
