"""Figures and tables of a whole sweep, as docs/reliability.md shows them between its two tags."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from pathlib import Path

from tests.faults.parts import Played
from tests.faults.sweep import Result, digest

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

# What each part of the sweep must reach, by the figure's name.
TARGETS = {
    "API fault points": 2500,
    "file fault points": 1000,
    "double faults": 2000,
    "chaos lives": 500,
    "faults in them": 10_000,
    "kills in them": 2500,
    "spoiled state files": 2000,
    "mutants caught": 20,
}
# The oracles, by a fragment of the words in which each tells a failure.
ORACLES = {
    "orphans and resources not put back": "after teardown",
    "duplicates and wrong shapes": "after provision",
    "foreign resources changed": "foreign damage",
    "deleted in the state file, and there": "the state file calls",
    "refused, and yet written": "refused, and yet",
    "endings without exactly one message": "messages",
    "tracebacks": "a traceback was kept",
    "secrets in files": "a secret stands",
}


def matrix(results: list[Result], title: str) -> list[str]:
    """How many points there were for each call and kind."""
    counts = Counter((one.call, one.kind) for one in results)
    kinds = sorted({one.kind for one in results})
    lines = [f"### {title}", "", "| | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
    for call in sorted({one.call for one in results}):
        lines.append(f"| {call} | " + " | ".join(str(counts[call, kind] or "") for kind in kinds) + " |")
    return [*lines, ""]


def figures_table(figures: dict[str, object], results: list[Result]) -> list[str]:
    lines = ["| figure | target | reached |", "|---|---:|---:|"]
    for name, reached in figures.items():
        target = TARGETS.get(name)
        lines.append(f"| {name} | {target if target else ''} | {reached} |")
    points = len(results)
    passed = sum(not one.failures for one in results)
    lines.append(f"| points that passed every oracle | {points} | {passed} |")
    for oracle, words in ORACLES.items():
        seen = sum(any(words in failure for failure in one.failures) for one in results)
        lines.append(f"| {oracle} | 0 | {seen} |")
    return [*lines, ""]


def write(path: Path, played: list[Played], *, seed: int, sample: int) -> None:
    """Put the figures of the parts that were played between the tags of the document."""
    results = [one for part in played for one in part.results]
    which = "" if sample == 1 else f" **Every {sample}th point only.**"
    times = ", ".join(f"{part.name} {part.seconds / 60:.0f}" for part in played)
    figures = {name: value for part in played for name, value in part.figures.items()}
    lines = [
        "",
        f"{len(results)} points, seed {seed}, digest `{digest(results)}`.{which} "
        f"Minutes on {os.cpu_count()} cores: {times}.",
        "",
        *figures_table(figures, results),
    ]
    by_part = {part.name: part.results for part in played}
    if "api" in by_part:
        lines += matrix(by_part["api"], "API calls: points for each call and kind")
    if "files" in by_part:
        lines += matrix(by_part["files"], "File operations: points for each operation and kind")
    if "mutants" in by_part:
        lines += ["### Mutants", "", "| mutant | caught by |", "|---|---|"]
        lines += [f"| {one.kind} | {one.call.replace('|', '/')} |" for one in by_part["mutants"]]
        lines.append("")
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + tail, encoding="utf-8")


def keep(folder: Path | None, part: Played, seed: int, sample: int) -> None:
    """Write a part's results into the folder, if there is one."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"seed": seed, "sample": sample, **dataclasses.asdict(part)}
        (folder / f"{part.name}.json").write_text(json.dumps(content), encoding="utf-8")


def kept(folder: Path | None, seed: int, sample: int) -> dict[str, Played]:
    """The parts that earlier runs with the same seed and sample left in the folder."""
    parts = {}
    for path in sorted(folder.glob("*.json")) if folder is not None else ():
        content = json.loads(path.read_bytes())
        if (content.pop("seed"), content.pop("sample")) == (seed, sample):
            content["results"] = [Result(**one) for one in content["results"]]
            parts[content["name"]] = Played(**content)
    return parts
