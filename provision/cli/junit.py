"""What `check` found as JUnit's XML, which CI systems and gradebooks read: a test case for each attribute.

There is no standard. This is what all readers take:
https://github.com/testmoapp/junitxml
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from provision import STEPS
from provision.check.verdicts import FAIL, UNCHECKED, Finding
from provision.terminal.differences import short


def junit(findings: Sequence[Finding], learner: str | None) -> str:
    """A test suite for each step. An attribute that could not be checked is skipped."""
    name = f"provision check{f' {learner}' if learner else ''}"
    whole = ElementTree.Element("testsuites", {"name": name, **counts(findings)})
    for step in STEPS:
        of_step = [one for one in findings if one.step == step.name]
        if not of_step:
            continue
        suite = ElementTree.SubElement(whole, "testsuite", {"name": f"{step.number} {step.title}", **counts(of_step)})
        for one in of_step:
            case = ElementTree.SubElement(
                suite, "testcase", {"classname": f"{step.name}.{one.name}", "name": one.attribute}
            )
            if one.outcome == FAIL:
                said = f"expected {short(one.expected)}, found {short(one.found)}"
                if one.attribute == "exists":
                    said = f"{one.noun} {one.name} is not there"
                failure = ElementTree.SubElement(
                    case, "failure", {"message": one.title or said, "type": one.mistake or "fail"}
                )
                failure.text = "\n".join(line for line in (said, one.why, one.explanation, one.todo) if line)
            elif one.outcome == UNCHECKED:
                ElementTree.SubElement(case, "skipped", {"message": one.reason})
    ElementTree.indent(whole)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(whole, encoding="unicode")}\n'


def counts(findings: Sequence[Finding]) -> dict[str, str]:
    words = [one.outcome for one in findings]
    return {"tests": str(len(words)), "failures": str(words.count(FAIL)), "skipped": str(words.count(UNCHECKED))}
