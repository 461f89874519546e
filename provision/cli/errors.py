"""What an error of AWS or of the connection means for a person: one message, and what to do next."""

from __future__ import annotations

import errno
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, WaiterError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from provision.aws.answers import AnswerLost
from provision.aws.credentials import ACTIVATE, DENIED, NOT_ACTIVATED, cannot_connect, denial, is_of_credentials
from provision.aws.reasons import OF_AWS
from provision.terminal import outcome

OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
AGAIN = "Run the same command again: it goes on where this run stopped."


def explain(error: Exception, *, step: str, profile: str | None) -> outcome.UserError | None:
    """The ending that this error means, or None for one that nobody foresaw and that keeps its traceback."""
    if isinstance(error, outcome.UserError):
        return error
    if is_of_credentials(error) or isinstance(error, HTTPClientError | BotocoreConnectionError):
        return _not_connected(error, profile)
    if isinstance(error, ClientError):
        return _service_error(error, step)
    if isinstance(error, AnswerLost):
        return outcome.UserError(
            f"The answer to {error.call.operation} was lost again and again: {error.why}.",
            means=f"Step {step}: whether AWS acted is open. What may exist is recorded in the state file.",
            advice=(AGAIN,),
            exit_code=outcome.ENVIRONMENT,
            code="answer-lost",
        )
    if isinstance(error, WaiterError):
        return outcome.UserError(
            str(error),
            means=f"Step {step}: AWS did not finish in the time that this usually takes.",
            advice=(AGAIN,),
            exit_code=outcome.SERVICE,
            code="timeout",
        )
    if isinstance(error, BotoCoreError):
        return outcome.UserError(
            str(error),
            means=f"Step {step}: boto3 refused the call, so nothing was sent.",
            advice=("Look for what the message names in the AWS configuration: aws configure list", AGAIN),
            exit_code=outcome.ENVIRONMENT,
        )
    if isinstance(error, FileNotFoundError) and not is_there():
        return outcome.UserError(
            "The working folder was removed.",
            means="What the program reads and writes there cannot be found.",
            advice=("Change to a folder that exists, then run the same command again.",),
            exit_code=outcome.ENVIRONMENT,
            code="disk",
        )
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        return outcome.UserError(
            f"{error.filename or 'A file'} cannot be used: {error.strerror}.",
            means="What was made until now is recorded in the state file.",
            advice=("Make room, or give permission.", AGAIN),
            exit_code=outcome.ENVIRONMENT,
            code="disk",
        )
    return None


def is_there() -> bool:
    """Whether the working folder exists."""
    try:
        return Path.cwd().is_dir()
    except OSError:
        return False


def _not_connected(error: Exception, profile: str | None) -> outcome.UserError:
    """The same as at the beginning of a run; and what was made until now is not lost."""
    stop = cannot_connect(error, profile)
    advice = tuple(line for line in stop.advice if "run the same command again" not in line)
    return outcome.UserError(
        stop.what, means=stop.means, advice=(*advice, AGAIN), exit_code=stop.exit_code, code=stop.code
    )


def _service_error(error: ClientError, step: str) -> outcome.UserError:
    answer = error.response.get("Error", {})
    code = answer.get("Code", "")
    what = str(error)
    means = f"Step {step}: AWS refused the call."
    advice: tuple[str, ...] = (AGAIN,)
    message = answer.get("Message") or ""
    if code in DENIED:
        denied, whom = denial(message, error.operation_name)
        means, advice = f"Step {step}: {denied[0].lower()}{denied[1:]}", (whom, AGAIN)
    elif code == "OptInRequired":
        means = f"Step {step}: {NOT_ACTIVATED}"
        advice = (ACTIVATE, AGAIN)
    elif "no longer supported for creating or updating" in message or "at 'runtime' failed to satisfy" in message:
        means = f"Step {step}: Lambda does not take this runtime."
        advice = ("Choose a supported one with --runtime, or leave --runtime out.",)
    elif code == "NoSuchEntity" and OF_AWS in message:
        means = f"Step {step}: AWS has this policy in every account. This emulator does not load it."
        advice = ("With moto set MOTO_IAM_LOAD_MANAGED_POLICIES=true and start it again.", AGAIN)
    request_id = error.response.get("ResponseMetadata", {}).get("RequestId")
    if request_id:
        advice = (*advice, f"Request id, should you ask AWS: {request_id}")
    stable = "access-denied" if code in DENIED else ""
    return outcome.UserError(what, means=means, advice=advice, exit_code=outcome.SERVICE, code=stable)
