"""`report`: the page that a learner hands in, with what was done, guessed, answered and found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from provision.aws import sandbox_process
from provision.lesson.report import PageDone
from provision.terminal import outcome
from tests.rig import CHECKOUT
from tests.rig.programs import Folder

SCHEMA = json.loads((CHECKOUT / "docs" / "output.schema.json").read_text(encoding="utf-8"))
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}"
LESSON = "sandbox-us-east-1.lesson.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """In which a lesson has been taken up to the table, by a learner who tries what can be tried."""
    with Folder(tmp_path_factory.mktemp("report")) as made:
        assert made.run("provision", "--sandbox", "--to", "3").returncode == 0
        progress: dict[str, Any] = {"step": "queue", "endpoint": made.state()["endpoint"]}
        at = "2026-11-28T10:00:00+00:00"
        progress["done"] = {
            "policies": {"how": "shown", "tries": 1, "at": at},
            "roles": {"how": "by hand", "tries": 1, "at": at},
            "table": {"how": "by hand", "tries": 2, "at": at},
        }
        progress["answers"] = {
            "policies": {"guess": "One: the role", "aws": "0", "answer": HOSTILE},
            "table": {"guess": "It is being made", "aws": "ACTIVE"},
        }
        (made.path / ".provision" / LESSON).write_text(json.dumps(progress))
        yield made


@pytest.fixture(scope="module")
def page(folder: Folder) -> Path:
    ended = folder.run("provision", "report", "--sandbox", "--name", f"Anna {HOSTILE}")
    assert ended.returncode == outcome.DONE, ended.stderr
    assert "3 of 9 pages done, 2 of them by hand; 26 attributes checked, 5 fail." in ended.stdout
    return folder.path / "report.html"


def test_it_says_who_did_what_and_has_guess_answer_and_checks(folder: Folder, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for words in ("Shown by the lesson, 2026-11-28 10:00 UTC", "By hand, after 2 tries", "Not done", "One: the role"):
        assert words in text
    assert "<dt>The local AWS</dt><dd><code>0</code> None: that is another call" in text
    assert text.count("<dt>AWS itself</dt>") == 1 and "On AWS: <code>CREATING</code>" in text
    assert folder.state()["deployment"] in text and "123456789012" not in text
    assert "event source mapping polls the queue" in " ".join(text.split())  # the lesson's own answer
    assert "queue POC-Queue" in text and "not there" in text and "What to do: " in text


def test_what_a_learner_writes_is_only_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text and "<img" not in text and "&lt;script&gt;" in text and "{{ 7 * 7 }}" in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


def test_as_json_it_has_the_same(folder: Folder) -> None:
    ended = folder.run("provision", "report", "--sandbox", "--output", "json")
    document = json.loads(ended.stdout)
    jsonschema.validate(document, SCHEMA)
    pages = {one["page"]: one for one in document["report"]["pages"]}
    assert (pages["table"]["how"], pages["table"]["tries"]) == ("by hand", 2)
    assert pages["policies"]["answer"] == HOSTILE
    assert {one["outcome"] for one in document["checks"]} >= {"pass", "fail"} and document["file"] is None


def test_a_sandbox_that_is_gone_or_a_lesson_that_is_none_is_said(folder: Folder, page: Path, tmp_path: Path) -> None:
    moved = tmp_path / "sandbox-us-east-1.json"
    for kept in ("sandbox-us-east-1.json", LESSON):
        shutil.copy(folder.path / ".provision" / kept, moved.with_name(kept))
    out = tmp_path / "page.html"
    ended = folder.run("provision", "report", "--sandbox", "--state", str(moved), "--out", str(out))
    assert ended.returncode == outcome.DONE and "nothing was checked" in ended.stdout
    assert "Nothing was checked. No sandbox is running" in out.read_text(encoding="utf-8")
    assert sandbox_process.find(tmp_path) is None  # none was started for it
    checked = page.read_bytes()
    again = folder.run("provision", "report", "--sandbox", "--state", str(moved))
    assert f"To write it anew all the same: --out {page.name}" in " ".join(again.stderr.split())
    assert page.read_bytes() == checked
    nobody = folder.run("provision", "report", "--sandbox", "--learner", "nobody")
    assert nobody.returncode == outcome.LEFT and "There are lessons of sandbox-us-east-1." in nobody.stderr


@pytest.mark.parametrize(
    ("how", "tries", "words"),
    [("", 0, "not done"), ("shown", 1, "shown by the lesson"), ("by hand", 1, "by hand"), ("helped", 1, "helped")],
)
def test_how_a_page_was_done_in_words(how: str, tries: int, words: str) -> None:
    assert PageDone("table", 3, "Table", how, tries).by_whom == words


@pytest.mark.heavy
@pytest.mark.parametrize("width", [360, 1280])
def test_in_a_browser_nothing_runs_nothing_is_fetched_and_it_fits(browser: Any, page: Path, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.get("about:blank")  # its own first tab is gone then
    browser.get_log("performance")
    browser.get(page.as_uri())
    messages = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if url.startswith(("file:", "http"))] == [page.as_uri()]
    assert browser.title.startswith("The lesson of Anna <script>")
    assert browser.execute_script("return document.querySelectorAll('script, img').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert len(browser.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 20_000
