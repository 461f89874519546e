"""`status` says what there is, and whether it is as it should be; `diagram` draws it. Neither changes anything."""

from __future__ import annotations

import io
import json
import re
import secrets
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import provision.__main__
import provision.cli.build
from provision.account import smoke_tests
from provision.account.cost import idle_sentence, prices, use_sentence
from provision.cli.views.status import show_still_running
from provision.lesson.diagram import form_of
from provision.lesson.picture import as_mermaid, as_svg, boxes, lines_of
from provision.settings import Settings
from provision.terminal import outcome
from provision.terminal.shell import interpreter
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.clock import eventually
from tests.rig.command_line import CommandLine, Ended, refuse, run
from tests.rig.programs import DEAD, Folder
from tests.rig.screens import memory_screen
from tests.rig.warm_aws import WarmAws

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"t{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def status(deployment: CommandLine, *arguments: str) -> Ended:
    return run(provision.__main__.provision, "provision", "status", "--verbose", *deployment.where, *arguments)


def words(told: str) -> dict[str, str]:
    """The word for each resource, by its kind and name."""
    lines = re.findall(r"^    (\w[\w ]{10})(\w[\w ]{10})(.+?)(?:  .*)?$", told, re.MULTILINE)
    return {f"{kind.strip()} {name}": word.strip() for word, kind, name in lines}


def test_what_is_built_is_unchanged_and_the_rest_is_no_fault(deployment: CommandLine) -> None:
    nothing = status(deployment)
    assert nothing.code == outcome.DONE and "16 not built." in nothing.told
    deployment.provision("--yes", "--to", "4")
    before, state = deployment.aws.inventory(), deployment.path.read_bytes()
    part = status(deployment)
    assert part.code == outcome.DONE and "10 unchanged, 6 not built." in part.told
    assert "Invoke URL" not in part.told
    assert part.writes == []
    assert deployment.aws.inventory() == before and deployment.path.read_bytes() == state
    deployment.provision("--yes", "--no-try")
    whole = status(deployment)
    assert whole.code == outcome.DONE and "16 unchanged." in whole.told
    assert f"Invoke URL:   {deployment.outputs('stage')['url']}" in whole.told
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC", whole.told)
    assert "python -m teardown" in whole.said


def test_it_is_a_line_for_each_step_with_what_is_in_it_and_fits_24_lines(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    settings, aws = deployment.settings, deployment.aws
    aws.dynamodb.put_item(TableName=settings.table, Item={"id": {"S": "1"}})
    shown = run(provision.__main__.provision, "provision", "status", *deployment.where)
    assert shown.code == outcome.DONE
    assert f"  3/8 Table        unchanged  {settings.table} (1 item)\n" in shown.told
    assert f"unchanged  {settings.dead_letter_queue} (no messages), {settings.queue} (no messages)" in shown.told
    url = deployment.outputs("stage")["url"]
    assert f"Invoke URL:   {url}\nBy the queue: {url}/queue\n" in shown.told
    assert len(shown.told.splitlines()) <= 16, "with banner and ending it fits 24 lines in the sandbox"
    aws.sqs.send_message(QueueUrl=deployment.outputs("dead-letter-queue")["url"], MessageBody="failed")
    aws.sqs.set_queue_attributes(QueueUrl=deployment.outputs("queue")["url"], Attributes={"VisibilityTimeout": "77"})
    shown = run(provision.__main__.provision, "provision", "status", *deployment.where)
    assert f"  4/8 Queue        unchanged  {settings.dead_letter_queue} (1 waiting message)\n" in shown.told
    assert f"\n                   drifted    {settings.queue} (no messages)\n" in shown.told
    assert "VisibilityTimeout: found 77, wanted 60" in shown.told


def test_what_waits_among_dead_letters_is_said_at_the_end_with_what_to_do(
    deployment: CommandLine, warm_aws: WarmAws, tmp_path: Path
) -> None:
    deployment.provision("--yes", "--no-try")
    dead = deployment.outputs("dead-letter-queue")["url"]
    deployment.aws.sqs.send_message(QueueUrl=dead, MessageBody="failed")
    shown = run(provision.__main__.provision, "provision", "status", *deployment.where)
    said = f"1 message in {deployment.settings.dead_letter_queue}, which the function could not process"
    assert shown.told.splitlines()[-1] == f"Dead letters: {said}"
    assert shown.result.warnings[-1] == said
    assert shown.code == outcome.DONE, "a run would change nothing"

    see, send, delete = [line for line in shown.said.splitlines() if line.startswith("aws sqs ")]
    with Folder(tmp_path) as folder:
        folder.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        folder.environ["PATH"] = f"{warm_aws.folder}:{folder.environ['PATH']}"
        assert '"Body": "failed"' in folder.shell(see).stdout
        item = {"operation": "create", "tableName": deployment.settings.table, "payload": {"Item": {"id": "again"}}}
        again = folder.shell(send.replace("BODY", shlex.quote(json.dumps(item))))
        assert again.returncode == 0, again.stderr
        assert folder.shell(delete).returncode == 0
    key = {"id": {"S": "again"}}
    eventually(lambda: deployment.aws.dynamodb.get_item(TableName=deployment.settings.table, Key=key).get("Item"))
    shown = run(provision.__main__.provision, "provision", "status", *deployment.where)
    assert "Dead letters" not in shown.told and shown.result.warnings == ()


def test_before_the_first_write_on_aws_and_at_its_end_the_cost_is_said(deployment: CommandLine) -> None:
    on_aws = replace(deployment.connect(), endpoint=None, base_url=None)
    screen = memory_screen()
    with pytest.raises(outcome.UserError, match="Nobody is there to be asked"):
        provision.cli.build.ask_to_build(screen, on_aws, deployment.settings, [])
    provision.cli.build.say_without_plan(screen, deployment.settings)  # with --yes
    show_still_running(screen, on_aws, deployment.settings, [])
    assert isinstance(screen.talk.file, io.StringIO)
    said = " ".join(screen.talk.file.getvalue().split())
    assert said.count(idle_sentence()) == 3 and said.count(use_sentence(by_queue=True)) == 3
    assert said.endswith(" -m teardown") and "To take everything down" in said


def test_what_was_changed_has_drifted_and_what_is_gone_is_missing(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    settings, aws = deployment.settings, deployment.aws
    url = aws.sqs.get_queue_url(QueueName=settings.queue)["QueueUrl"]
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    aws.dynamodb.delete_table(TableName=settings.table)
    seen = status(deployment)
    assert seen.code == outcome.LEFT
    found = words(seen.told)
    assert found[f"queue {settings.queue}"] == "drifted"
    assert found[f"table {settings.table}"] == "missing"
    assert list(found.values()).count("unchanged") == 14
    assert "VisibilityTimeout: found 77, wanted 60" in seen.told
    assert "14 unchanged, 1 missing, 1 drifted." in seen.told
    assert (
        f"To update what is not as it should be python -m provision {' '.join(deployment.where)}"
        in seen.flat.replace(interpreter(), "python")
    )


def test_a_failed_test_is_remembered_until_it_passed(deployment: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(smoke_tests, "try_test_invoke", lambda *arguments: smoke_tests.expect(False, "200", 500))
        assert deployment.provision("--yes").code == outcome.LEFT
        again = deployment.provision("--yes")
        assert again.code == outcome.LEFT and "expected 200, saw 500" in again.said
    failed = status(deployment)
    assert failed.code == outcome.LEFT and "16 unchanged." in failed.told
    assert re.search(r"Tests:        1 failed, \d{4}-\d\d-\d\d \d\d:\d\d UTC", failed.told)
    assert "expected 200, saw 500" in failed.told and failed.result.tested == deployment.state["tests"]["at"]
    passed = deployment.provision("--yes")
    assert (
        passed.code == outcome.DONE
        and "Nothing was changed; tested in" in passed.said
        and "not been tested" not in passed.said
    )
    assert status(deployment).code == outcome.DONE and "Tests:        passed, " in status(deployment).told
    quiet = deployment.provision("--yes")
    assert quiet.code == outcome.DONE and quiet.writes == [], "what passed for this state is not tested again"


def test_a_failed_test_is_remembered_where_the_run_is_ended_before_the_last_one(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.provision("--yes", "--no-try")

    def interrupted(*arguments: object) -> str:
        raise outcome.Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(smoke_tests, "try_test_invoke", lambda *arguments: smoke_tests.expect(False, "200", 500))
        patch.setattr(smoke_tests, "try_invoke_url", interrupted)
        assert deployment.provision("--yes").code == outcome.INTERRUPTED
    assert list(deployment.state["tests"]["failed"]) == ["API Gateway's own test call: create"]


def test_what_is_changed_is_no_longer_tested_even_where_the_run_is_ended_before(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    state = deployment.state
    deployment.path.write_text(json.dumps({**state, "tests": {"at": "2026-01-01T00:00:00+00:00", "failed": {}}}))
    deployment.rewrite(lambda entries: None)
    deployment.aws.lambda_.update_function_configuration(FunctionName=deployment.settings.function, Timeout=9)
    deployment.on_connect = lambda aws: refuse(aws, "lambda_", "UpdateFunctionConfiguration")
    assert deployment.provision("--yes").code == outcome.SERVICE
    assert "tests" not in deployment.state
    deployment.on_connect = lambda aws: None
    part = deployment.provision("--yes", "--to", "7")
    assert part.code == outcome.DONE and "It has not been tested since the last change." in part.flat
    assert "Tests:        not run since the last change" in status(deployment).told


def test_it_looks_while_another_program_works(deployment: CommandLine) -> None:
    aws = deployment.connect()
    state = deployment.open(aws)  # with its lock
    try:
        assert status(deployment).code == outcome.DONE
        assert deployment.provision("--dry-run").code == outcome.DONE
    finally:
        state.close()


def test_messages_that_wait_and_dead_ones_are_counted(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--to", "4")  # nobody takes them out
    for name, count in ((deployment.settings.queue, 2), (deployment.settings.dead_letter_queue, 1)):
        url = deployment.aws.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        for _ in range(count):
            deployment.aws.sqs.send_message(QueueUrl=url, MessageBody="{}")
    told = status(deployment).told
    assert f"{deployment.settings.queue}  (2 waiting messages)" in told
    assert f"{deployment.settings.dead_letter_queue}  (1 waiting message)" in told


def test_where_no_sandbox_runs_none_is_started(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        ended = folder.run("provision", "status", "--sandbox")
        assert ended.returncode == outcome.LEFT
        assert "No sandbox is running" in ended.stderr
        assert not (tmp_path / ".provision" / "sandbox.json").exists()


# The picture.


def test_the_picture_is_drawn_from_the_state_file_without_any_network(deployment: CommandLine, tmp_path: Path) -> None:
    deployment.provision("--yes", "--to", "4")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Folder(elsewhere) as folder:
        where = ["--learner", str(deployment.settings.learner), "--state", str(deployment.path)]
        drawn = folder.run("provision", "diagram", *where, AWS_ENDPOINT_URL=DEAD)
        assert drawn.returncode == outcome.DONE
        assert drawn.stderr.startswith("Drawn from the state file. To look into the account:\n")
        assert f"│ {deployment.settings.queue}" in drawn.stdout  # there
        assert f"┆ {deployment.settings.function}" in drawn.stdout  # not yet
        mermaid = folder.run("provision", "diagram", *where, "--format", "mermaid").stdout
        assert mermaid.startswith("flowchart LR\n") and deployment.settings.queue in mermaid
        written = folder.run("provision", "diagram", *where, "--out", "picture.svg")
        assert "Written: picture.svg" in written.stderr and written.stdout == ""
        svg = ElementTree.parse(folder.path / "picture.svg").getroot()
        names = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
        assert any(deployment.settings.queue in str(name) for name in names)
        refused = folder.run("provision", "diagram", *where, "--out", "no/such/folder.svg")
        assert refused.returncode == outcome.ENVIRONMENT and "cannot be written" in refused.stderr


def test_without_a_state_file_nothing_is_there(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        drawn = folder.run("provision", "diagram", "--sandbox")
        assert drawn.returncode == outcome.DONE
        assert "┆ POC-API" in drawn.stdout and "│" not in drawn.stdout


def test_in_mermaid_every_arrow_joins_two_boxes_and_what_is_missing_is_dashed() -> None:
    for settings in (Settings(), Settings(as_written=True), Settings(learner="anna")):
        text = as_mermaid(settings, {"table"})
        boxes = set(re.findall(r"^    (\w+)[\[(]", text, re.MULTILINE))
        joined = re.findall(r'^    (\w+) (-->|-\.->)\|"[^"]+"\| (\w+)$', text, re.MULTILINE)
        assert {end for source, _, target in joined for end in (source, target)} == boxes
        assert {arrow for _, arrow, _ in joined} == {"-.->"}
        assert settings.table in text and "missing" in text
    assert "missing" not in as_mermaid(Settings()) and "-.->" not in as_mermaid(Settings())


@pytest.mark.parametrize("learner", [None, "bo", "abcdefghij-klmno", "a" * 20 + "-" + "b" * 12])
def test_each_name_has_a_place_in_its_box_and_is_whole_when_pointed_at(learner: str | None) -> None:
    settings = Settings(learner=learner)
    svg = as_svg(settings)
    root = ElementTree.fromstring(svg)
    titles = [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert f"{settings.write_policy}\n{settings.read_policy}" in titles and settings.dead_letter_queue in titles
    for box in boxes(settings):
        lines = lines_of(box.names, box.width // 9)
        assert 1 <= len(lines) <= 2 and all(len(line) <= box.width // 9 for line in lines)
        for name, line in zip(box.names, lines, strict=False):
            assert line[:8] == name[:8]
        assert not learner or lines[-1].endswith(learner[-3:])
        assert box.x + box.width <= 985


def test_on_the_page_of_its_step_the_api_is_there_and_its_stage_is_not() -> None:
    built = {"api", "permission", "function", "log-group", "queue"}
    svg = as_svg(Settings(), built)
    assert re.search(r'<g class="box part" data-step="7" data-keys="api">', svg)
    assert re.search(r'<g class="part missing" data-step="8" data-keys="stage">', svg)


@pytest.mark.parametrize(
    ("out", "form", "wanted"),
    [(None, None, "text"), ("a.svg", None, "svg"), ("a.md", None, "mermaid"), ("a.svg", "text", "text")],
)
def test_the_format_is_that_of_the_file_unless_told_otherwise(out: str | None, form: str | None, wanted: str) -> None:
    assert form_of(Path(out) if out else None, form) == wanted


# What it costs.


def test_the_price_table_says_its_date_and_sources_and_the_guide_its_sums() -> None:
    found = prices()
    assert all(row.source.startswith("https://aws.amazon.com/") and row.why for row in found.rows)
    guide = (CHECKOUT / "docs" / "how-to" / "own-account.md").read_text()
    assert f"${found.idle_month:.2f} a month" in guide and found.date in guide
    assert f"${found.million_direct:.2f}" in guide and f"${found.million_by_queue:.2f}" in guide
    flooded = [found.flooded_hour(rate, by_queue=True) for rate in (10, None)]
    assert f"about ${flooded[0]:.2f} an hour" in " ".join(guide.split()) and f"about ${flooded[1]:.0f} an hour" in guide
    assert "$0.26" in idle_sentence()
    assert "through the queue" in use_sentence(by_queue=True)
    assert "through the queue" not in use_sentence(by_queue=False)
