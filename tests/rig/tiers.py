"""Which tests run when: hooks of conftest.py. docs/testing.md says the same.

Without --whole what is marked `slow` is left out, and of a sweep all but a sample; what is named runs in any case.
What is marked `once_more` is run again where it fails, once, and how it failed at first is told.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from _pytest.runner import runtestprotocol

# The longest begin first, so that at the end no core waits for one of them.
FIRST = ("test_guide.py", "test_black_box.py", "test_command_line.py", "test_golden.py", "faults/test_faults.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="write tests/golden anew from what is shown now")
    parser.addoption("--whole", action="store_true", help="what is slow, too, and every case of the sweeps")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for each core: half of what a test of a program or a terminal takes is waiting."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first; without --whole no slow test, and of a test marked `sweep(n)` every n-th case."""
    items.sort(key=place)
    if config.getoption("--whole"):
        return
    named = {function(argument) for argument in config.args if "::" in argument}
    cases: Counter[str] = Counter()
    left = set()
    for item in items:
        if item.get_closest_marker("slow") is not None and function(item.nodeid) not in named:
            left.add(item)
        sweep = item.get_closest_marker("sweep")
        if sweep is not None:
            name = item.nodeid.partition("[")[0]
            if cases[name] % sweep.args[0]:
                left.add(item)
            cases[name] += 1
    config.hook.pytest_deselected(items=[item for item in items if item in left])
    items[:] = [item for item in items if item not in left]


def function(name: str) -> str:
    """The function of a test's whole name."""
    return name.partition("::")[2].partition("[")[0]


def place(item: pytest.Item) -> int:
    path = item.nodeid.partition("::")[0]
    return next((number for number, name in enumerate(FIRST) if path.endswith(name)), len(FIRST))


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Of `once_more`, the second run counts; the first one's failure is among the warnings."""
    if item.get_closest_marker("once_more") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    failed = [f"{report.when}: {report.longreprtext}" for report in reports if report.failed]
    if failed:
        item.warn(pytest.PytestWarning("\n".join([f"{item.nodeid} failed, and was run once more.", *failed])))
        item._initrequest()  # type: ignore[attr-defined]  # fixtures of its own
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
