"""How long earlier runs took, by their transcripts, so that a person who waits can compare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from provision.record.recording import NoTranscript, Recording, read

RUNS = 5  # the last ones
FILES = 20  # at most are read for them, so that a run does not wait for this


def typical(paths: Sequence[Path], program: str, endpoint: str | None) -> dict[str, float]:
    """The median seconds of each step in the last complete runs at a place of the same kind; "" is the whole run.

    Only runs that wrote something count. `paths` are transcripts, the oldest first; `endpoint` is as in a state file.
    Empty where there was no such run.
    """
    took: dict[str, list[float]] = defaultdict(list)
    for recording in whole_runs(paths, program, kind_of(endpoint)):
        for name, seconds in durations(recording).items():
            took[name].append(seconds)
        if len(took[""]) == RUNS:
            break
    return {name: median(seconds) for name, seconds in took.items()}


def kind_of(endpoint: str | None) -> str:
    """AWS, any sandbox, or one emulator: they differ in speed."""
    return "" if endpoint is None else "sandbox" if endpoint.startswith("sandbox:") else endpoint


def whole_runs(paths: Sequence[Path], program: str, kind: str) -> Iterator[Recording]:
    """The complete runs, the last first."""
    for path in list(reversed(paths))[:FILES]:
        try:
            recording = read(path)
        except NoTranscript:
            continue
        header, ended = recording.header, recording.ended
        if header["program"] != program or kind_of(header["endpoint"]) != kind or ended is None:
            continue
        if ended["exit_code"] == 0 and ended["writes"]:
            yield recording


def durations(recording: Recording) -> dict[str, float]:
    """Seconds of each step that wrote something, of the tests of the result ("tests"), and "" of the whole run."""
    began: dict[str, float] = {}
    took = {"": recording.seconds}
    tested = [call for call in recording.calls if call["step"] == "trials"]
    if tested:
        took["tests"] = tested[-1]["at"] + tested[-1]["seconds"] - tested[0]["at"]
    wrote = {call["step"] for call in recording.calls if not call["read"]}
    for event in recording.events:
        if event["type"] == "step":
            began[event["step"]] = event["at"]
        elif event["type"] == "done" and event["step"] in began and event["step"] in wrote:
            took[event["step"]] = event["at"] - began[event["step"]]
    return took
