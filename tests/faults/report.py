"""Figures and tables of a whole sweep, as docs/reliability.md shows them between its two marks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sweep import Result

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

# What each part of the sweep must reach, by the figure's name.
TARGETS = {
    "API fault points": 2500,
    "file fault points": 1000,
    "double faults": 2000,
    "chaos lives": 500,
    "faults in them": 10_000,
    "kills in them": 2500,
    "spoiled ledgers": 2000,
    "mutants caught": 20,
}
# The oracles, by a fragment of the words in which each tells a failure.
ORACLES = {
    "orphans and things not put back": "after teardown",
    "duplicates and wrong shapes": "after provision",
    "foreign things changed": "foreign damage",
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


def write(path: Path, figures: dict[str, object], by_part: dict[str, list[Result]], ending: str) -> None:
    """Put the figures of a run between the marks of the document."""
    results = [one for part in by_part.values() for one in part]
    lines = ["", ending, "", *figures_table(figures, results)]
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
