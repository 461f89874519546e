"""The page of a run: nothing is fetched, nothing is lost without JavaScript, and a real browser shows it."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from provision import STEPS
from provision.lesson.call import faces
from provision.record.recording import Recording, callers, invented, masked, read, transcripts_in
from provision.replay.web_page import web_page
from provision.terminal import outcome
from tests.rig.clock import eventually
from tests.rig.deployment import ACCOUNT
from tests.rig.programs import Folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    with Folder(tmp_path_factory.mktemp("page")) as made:
        assert made.run("provision", "--sandbox").returncode == 0
        assert made.run("teardown", "--sandbox").returncode == 0
        yield made


@pytest.fixture(scope="module")
def built(folder: Folder) -> Recording:
    return read(transcripts_in(folder.path / ".provision")[0])


@pytest.fixture(scope="module")
def page(folder: Folder) -> Path:
    """Written by the command, as a person would."""
    ended = folder.run("provision", "replay", "--html", "page.html")
    assert ended.returncode == outcome.DONE, ended.stderr
    return folder.path / "page.html"


class Reader(html.parser.HTMLParser):
    """What a page asks a browser to fetch, its headings, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.scripts = 0
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("src", "href", "data", "action", "poster", "srcset", "xlink:href"):
            value = given.get(name)
            if value and not value.startswith("#"):
                self.fetched.append(value)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self.scripts += tag == "script"

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_is_fetched_and_it_is_small(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    seen = Reader(text)
    assert seen.fetched == []
    assert "@import" not in text
    assert {one for one in re.findall(r"url\(([^)]*)\)", text) if one[1:] not in seen.ids or one[0] != "#"} == set()
    assert len(text.encode()) < 1024 * 1024
    assert Reader('<img src="http://x/y">').fetched == ["http://x/y"]  # it would have been seen


def test_every_step_and_every_writing_call_is_on_it(page: Path, built: Recording) -> None:
    seen = Reader(page.read_text(encoding="utf-8"))
    for step in STEPS:
        assert f"Step {step.number} of 8: {step.title}" in seen.text
    writes = [call for call in built.calls if not call["read"]]
    assert seen.headings.count(4) == len(writes) >= 36
    assert "aws dynamodb create-table" in seen.text and "dynamodb.create_table(" in seen.text
    assert "DynamoDB > Tables > Create table" in seen.text and "Erratum 12." in seen.text
    assert len(seen.ids) == len(set(seen.ids))
    for before, after in zip(seen.headings, seen.headings[1:], strict=False):
        assert after <= before + 1 or (before, after) == (3, 5)  # no level is left out


def test_each_call_has_its_place_in_the_time_of_its_page(page: Path, built: Recording) -> None:
    text = page.read_text(encoding="utf-8")
    bars = [tuple(map(float, bar)) for bar in re.findall(r"margin-left: ([\d.]+)%; width: ([\d.]+)%", text)]
    assert len(bars) == sum(not call["read"] for call in built.calls)
    assert all(left >= 0 and left + width <= 100.2 for left, width in bars)
    step = text.partition('id="page-6"')[2].partition("</section>")[0]
    places = [float(left) for left in re.findall(r"margin-left: ([\d.]+)%", step)]
    assert places == sorted(places) and len(set(places)) > 10


def test_account_numbers_and_bodies_are_left_out_unless_told_otherwise(page: Path, built: Recording) -> None:
    text = page.read_text(encoding="utf-8")
    assert ACCOUNT not in text and "somevalue1" not in text and "Bob" not in text
    assert "&lt;account&gt;" in text
    (api,) = {one["entry"]["outputs"].get("id") for one in built.of("entry") if one["entry"]["key"] == "api"} - {None}
    assert api not in text and "&lt;id of api&gt;" in text  # who knows it may call the address
    whole = web_page(built, unmasked=True)
    assert ACCOUNT in whole and "somevalue1" in whole


def test_what_another_run_made_and_who_called_is_masked_too(built: Recording) -> None:
    """A run that only goes through the API, or finds it, has its id in calls, and nowhere else."""
    call = next(one for one in built.calls if one["operation"] == "TestInvokeMethod")
    api = call["parameters"]["restApiId"]
    caller = next(one for one in built.calls if one["operation"] == "GetCallerIdentity")["answer"]["Arn"]
    refused = {"code": "AccessDenied", "message": f"User: {caller} is not authorized", "status": 403}
    events = [one for one in built.events if one["type"] != "entry" and one.get("operation") != "CreateRestApi"]
    run = Recording(built.header, [*events, {**call, "error": refused}])
    text = web_page(run)
    assert api not in text and caller not in text and "user/moto" not in text
    assert "User: &lt;caller&gt; is not authorized" in text
    hidden = invented(run)
    assert hidden[api] == "id of api" and hidden[caller] == "caller"
    root = {**call, "operation": "GetCallerIdentity", "answer": {"Arn": f"arn:aws:iam::{ACCOUNT}:root"}}
    assert callers(Recording(built.header, [root])) == set()  # a policy's owner is no secret but for its number
    logs = {**call, "operation": "GetLogEvents", "parameters": {}, "answer": {"events": [{"message": "Bob"}]}}
    assert "Bob" not in json.dumps(masked(Recording(built.header, [logs])).events)


def test_a_page_goes_to_stdout_too(folder: Folder, page: Path) -> None:
    ended = folder.run("provision", "replay", "--html", "-")
    assert ended.returncode == outcome.DONE and ended.stderr == ""
    assert ended.stdout == page.read_text(encoding="utf-8")
    assert not (folder.path / "-").exists()


def test_texts_of_aws_are_never_markup(built: Recording) -> None:
    evil = "</pre><script>alert(1)</script>"
    events = json.loads(json.dumps(built.events))
    for event in events:
        if event["type"] == "call" and event["operation"] == "CreateTable":
            event["parameters"]["TableName"] = evil
            event["error"] = {"code": evil, "message": evil, "status": 400}
        if event["type"] == "trial":
            event["saw"] = evil
    text = web_page(Recording(built.header, events))
    assert Reader(text).scripts == Reader(web_page(built)).scripts == 1
    assert "alert(1)" in text


def test_a_teardown_and_a_run_that_was_cut_have_pages(folder: Folder, built: Recording) -> None:
    gone = read(transcripts_in(folder.path / ".provision")[-1])
    text = Reader(web_page(gone)).text
    assert "taken down" in text and "deleted" in text and "The proof that nothing is left" in text
    killed = Reader(web_page(Recording(built.header, built.events[:40]))).text
    assert "killed: what it did last may be missing" in killed
    stop = {"what": "It <failed>.", "means": "So.", "advice": ["Do this."]}
    ended = {"type": "ended", "at": 1.0, "exit_code": 1, "calls": 1, "writes": 0, "stop": stop}
    stopped = web_page(Recording(built.header, [*built.events[:40], ended]))
    assert "It &lt;failed&gt;." in stopped and "Do this." in stopped


def drawn(text: str, number: int) -> tuple[set[str], set[str]]:
    """The keys of what the picture shows on a page as there, and as new."""
    found = re.search(rf'<section id="page-{number}" data-there="([^"]*)" data-new="([^"]*)"', text)
    assert found is not None
    return set(found[1].split()), set(found[2].split())


def test_the_picture_shows_what_the_run_had_made_or_left(folder: Folder, built: Recording) -> None:
    text = web_page(built)
    assert drawn(text, 6)[1] == {"api", "permission"} and "stage" not in drawn(text, 6)[0]
    assert drawn(text, 8) == (drawn(text, 7)[0], set()) and len(drawn(text, 8)[0]) == 16
    gone = web_page(read(transcripts_in(folder.path / ".provision")[-1]))
    assert len(drawn(gone, 0)[0]) == 15 and drawn(gone, 8) == (set(), set())
    until = next(number for number, one in enumerate(built.events) if one["type"] == "done" and one["step"] == "table")
    part = web_page(Recording(built.header, built.events[: until + 1]))
    assert drawn(part, 3)[0] == drawn(part, 2)[0] and "built in part" in part  # no page shows more than there was


def test_a_followed_request_has_a_page(folder: Folder, built: Recording) -> None:
    hop = {"type": "hop", "at": 1.0, "route": "POST /x", "place": "client", "after": 0.0, "took": 0.027}
    hops = [{**hop, "source": "own <clock>", "saw": "status 200"}]
    hops += [{**hop, "place": "queue", "after": None, "took": None, "source": "", "saw": "not visible here"}]
    text = web_page(Recording({**built.header, "program": "trace"}, hops))
    assert "a request followed through it" in text and "taken down" not in text
    assert "own &lt;clock&gt;" in text and "<td>0.027 s</td>" in text and "not visible here" in text
    assert len(drawn(text, 0)[0]) == 16


def test_how_a_run_ended_is_not_embellished(built: Recording) -> None:
    for code, words in ((0, "The run ended well"), (1, "The run ended with exit code 1")):
        ended = {"type": "ended", "at": 1.0, "exit_code": code, "calls": 1, "writes": 0}
        assert words in web_page(Recording(built.header, [*built.events[:-1], ended]))


def test_where_the_time_went_is_in_the_page_as_a_table_with_bars(page: Path, built: Recording) -> None:
    text = page.read_text(encoding="utf-8")
    chart = text.partition('<table class="time">')[2].partition("</table>")[0]
    assert "Tests, and the end" in chart and "4 Queue" in chart
    assert chart.count('class="call"') >= len(built.calls)
    bars = [tuple(map(float, one)) for one in re.findall(r"left: ([\d.]+)%; width: ([\d.]+)%", chart)]
    assert len(bars) == chart.count("<i ") and all(left >= 0 and left + width <= 100.1 for left, width in bars)
    assert "It took " in text.partition('id="page-2"')[2].partition("</section>")[0]


def test_its_policy_allows_nothing_from_elsewhere_and_its_own_script_only(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == ["default-src 'none'", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'"]


def test_a_place_that_cannot_be_written_is_refused(folder: Folder, page: Path) -> None:
    ended = folder.run("provision", "replay", "--html", "nowhere/page.html")
    assert ended.returncode == outcome.ENVIRONMENT
    assert "cannot be written" in ended.stderr and "Traceback" not in ended.stderr


# In a real browser.


@contextmanager
def window(browser: Any, page: Path, width: int, height: int, scheme: str = "light") -> Iterator[None]:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(page.as_uri())
    yield


def shown(browser: Any) -> str:
    """The headings of the pages that can be seen."""
    return " | ".join(one.text for one in browser.find_elements("css selector", "main h2") if one.is_displayed())


@pytest.mark.heavy
def test_in_a_browser_one_turns_pages_by_button_and_by_key(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    with window(browser, page, 1280, 800):
        assert shown(browser) == "Step 1 of 8: Policies"
        browser.find_element("id", "next").click()
        assert shown(browser) == "Step 2 of 8: Roles"
        browser.find_element("css selector", "body").send_keys(Keys.ARROW_RIGHT)
        assert shown(browser) == "Step 3 of 8: Table"
        assert browser.switch_to.active_element.text == "Step 3 of 8: Table"  # a screen reader goes on from there
        assert browser.find_element("id", "told").text == "Step 3 of 8: Table, 3 of 10"
        lit = browser.find_elements("css selector", ".picture .part:not(.missing)")
        assert {part.get_attribute("data-step") for part in lit} == {"1", "2", "3"}  # the picture grows
        browser.find_element("css selector", "body").send_keys(Keys.ARROW_LEFT)
        assert shown(browser) == "Step 2 of 8: Roles"
        browser.find_element("link text", "8").click()
        assert shown(browser) == "Step 8 of 8: Stage"
        browser.find_element("id", "all").click()
        assert shown(browser).count("Step ") == 8


@pytest.mark.heavy
def test_in_a_browser_a_turned_page_begins_at_its_picture(browser: Any, page: Path) -> None:
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    with window(browser, page, 1366, 768):
        browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
        assert browser.execute_script(top, "#drawn") < 0
        browser.find_element("id", "next").click()
        assert browser.execute_script(top, "#drawn") >= 0
        assert 0 < browser.execute_script(top, "#page-1 h2") < 768
        assert browser.current_url.endswith("#page-1")
        browser.find_element("id", "all").click()
        browser.execute_script("document.getElementById('page-5').scrollIntoView()")
        browser.find_element("id", "next").click()  # from the page that is read
        assert browser.current_url.endswith("#page-6")
        assert 0 < browser.execute_script(top, "#page-6 h2") < 200
        browser.find_element("id", "all").click()
        assert shown(browser) == "Step 7 of 8: REST API"


@pytest.mark.heavy
def test_in_a_browser_what_is_new_is_seen_on_a_phone(browser: Any, page: Path) -> None:
    with window(browser, page, 390, 844):
        for _ in STEPS:
            inside = browser.execute_script(
                "const frame = document.getElementById('drawn').getBoundingClientRect();"
                "return [...document.querySelectorAll('.picture .box.new')].map(one => one.getBoundingClientRect())"
                ".filter(one => one.left >= frame.left - 1 && one.right <= frame.right + 1).length"
            )
            alone = browser.execute_script("return document.querySelectorAll('.picture .box.new').length") == 1
            assert inside or not alone, shown(browser)
            browser.find_element("id", "next").click()
        assert browser.execute_script("return document.querySelector('nav').offsetHeight") < 100


@pytest.mark.heavy
def test_in_a_browser_what_is_longer_than_its_box_can_be_reached_by_key(browser: Any, page: Path) -> None:
    with window(browser, page, 1366, 768):
        browser.find_element("link text", "4").click()
        boxes = browser.find_elements("css selector", "#page-3 pre")
        size = (
            "const one = arguments[0];"
            "return [one.scrollHeight > one.clientHeight + 1, one.scrollWidth > one.clientWidth + 1]"
        )
        found = set()
        for box in boxes:
            longer, wider = browser.execute_script(size, box)
            assert not wider
            assert (box.get_attribute("tabindex") == "0") is longer
            assert (box.get_attribute("role") == "region") is longer
            found.add(longer)
        assert found == {True, False}


@pytest.mark.heavy
def test_in_a_browser_paper_is_white_and_has_the_answers_and_the_whole_picture(browser: Any, page: Path) -> None:
    with window(browser, page, 1366, 768, "dark"):
        media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        assert browser.execute_script("return getComputedStyle(document.body).color") == "rgb(31, 35, 40)"
        parts = "return [...document.querySelectorAll('.picture .part')].map(one => getComputedStyle(one).opacity)"
        assert set(browser.execute_script(parts)) == {"1"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
        closed = "return document.querySelectorAll('details.answer:not([open])').length"
        assert browser.execute_script(closed) == 8
        browser.execute_script(
            "window.addEventListener('beforeprint', () => {"
            " window.closed_on_paper = document.querySelectorAll('details.answer:not([open])').length; })"
        )
        browser.execute_cdp_cmd("Page.printToPDF", {})
        assert browser.execute_script("return window.closed_on_paper") == 0
        assert browser.execute_script(closed) == 8


@pytest.mark.heavy
def test_in_a_browser_an_address_leads_to_a_page_and_says_which_is_open(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    with window(browser, page, 1280, 800):
        browser.get("about:blank")
        browser.get(f"{page.as_uri()}#page-3")
        assert shown(browser) == "Step 4 of 8: Queue"
        browser.find_element("css selector", "body").send_keys(Keys.ARROW_RIGHT)
        assert browser.current_url.endswith("#page-4")


@pytest.mark.heavy
def test_in_a_browser_the_colours_are_those_of_the_system(browser: Any, page: Path) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        with window(browser, page, 1280, 800, scheme):
            grounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


@pytest.mark.heavy
def test_in_a_browser_buttons_copy(browser: Any, page: Path, built: Recording) -> None:
    with window(browser, page, 1280, 800):
        browser.execute_script(
            "Object.defineProperty(navigator, 'clipboard',"
            " {value: {writeText: text => { window.copied = text; return Promise.resolve(); }}, configurable: true})"
        )
        boxes = [one for one in browser.find_elements("css selector", "[data-copy]") if one.is_displayed()]
        boxes[1].find_element("css selector", "button").click()
        first = next(call for call in masked(built).calls if not call["read"])
        assert browser.execute_script("return window.copied").rstrip() == faces(first, None, region="us-east-1").aws
        assert browser.find_element("id", "told").text == "Copied the aws command"
        assert boxes[1].find_element("css selector", "button").accessible_name == "Copy the aws command"


@pytest.mark.heavy
@pytest.mark.parametrize(("width", "height"), [(360, 800), (1280, 800), (1920, 1080)])
def test_in_a_browser_no_page_is_wider_than_its_window(browser: Any, page: Path, width: int, height: int) -> None:
    with window(browser, page, width, height):
        for number in range(10):
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert browser.find_element("id", "next").is_enabled() is (number < 9)
            if number < 9:
                browser.find_element("id", "next").click()


@pytest.mark.heavy
def test_in_a_browser_nothing_is_asked_of_a_network_and_nothing_goes_wrong(browser: Any, page: Path) -> None:
    browser.get_log("performance")
    browser.get_log("browser")
    with window(browser, page, 1280, 800):
        browser.find_element("id", "next").click()
        messages = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        assert asked == [page.as_uri()]
        assert browser.get_log("browser") == []


@pytest.mark.heavy
def test_in_a_browser_without_javascript_and_on_paper_everything_is_there(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        with window(browser, page, 1280, 800):
            assert shown(browser).count("Step ") == 8
            assert not browser.find_element("id", "next").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    with window(browser, page, 1280, 800):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert shown(browser).count("Step ") == 8
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
        assert len(printed["data"]) > 50_000


def roles_of(browser: Any) -> dict[str, list[str]]:
    """The names of what a screen reader finds, by role."""
    roles: dict[str, list[str]] = {}
    for node in browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]:
        if not node.get("ignored"):
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    return roles


@pytest.mark.heavy
def test_in_a_browser_a_screen_reader_finds_landmarks_and_names(browser: Any, page: Path) -> None:
    with window(browser, page, 1280, 800):
        roles = eventually(
            lambda: roles_of(browser) if "button" in roles_of(browser) else None
        )  # it is built in the background
        assert roles["main"] and "Steps" in roles["navigation"]
        assert all(roles["button"])  # each has a name
        assert "Step 7: REST API" in roles["link"] and "Tests, and the end" in roles["link"]
        assert any(name.startswith("The architecture") for name in roles.get("image", []) + roles.get("img", []))
        assert "Step 1 of 8: Policies" in roles["heading"]
