"""Options from the environment and from a file: which wins, where each came from, and what cannot be one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

import provision.__main__
import teardown.__main__
from provision.cli.options import RULES
from provision.terminal import outcome
from provision.terminal.configuration import NAMES, BadConfiguration, open_options, settle
from tests.rig.programs import Folder
from tests.rig.terminal import Terminal


def settled(arguments: list[str], environ: dict[str, str], file: str | None = None) -> argparse.Namespace:
    """The options of `provision ARGUMENTS`, with what they leave open filled in."""
    if file is not None:
        Path("provision.ini").write_text(file, encoding="utf-8")
    parser = provision.__main__.build_parser()
    options = argparse.ArgumentParser.parse_args(parser, arguments, open_options(parser))
    settle(parser, options, environ)
    return options


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_either_everything_is_as_argparse_has_it() -> None:
    options = settled([], {})
    plain = vars(argparse.ArgumentParser.parse_args(provision.__main__.build_parser(), []))
    assert {name: value for name, value in vars(options).items() if name not in ("sources", "warnings")} == plain
    assert options.sources == {} and options.warnings == []


def test_the_command_line_wins_over_the_environment_and_that_over_the_file() -> None:
    file = "[provision]\nlearner = file\nregion = file-1\nruntime = file3\n"
    environ = {"PROVISION_LEARNER": "environment", "PROVISION_REGION": "environment-1"}
    options = settled(["--learner", "given"], environ, file)
    assert (options.learner, options.region, options.runtime) == ("given", "environment-1", "file3")
    assert options.sources == {"learner": "--learner", "region": "PROVISION_REGION", "runtime": "provision.ini"}


def test_values_become_what_the_command_line_would_have_made_of_them() -> None:
    options = settled([], {"PROVISION_STATE": "a/b.json", "PROVISION_SANDBOX": "Yes", "PROVISION_PLAIN": "0"})
    assert options.state == Path("a/b.json") and options.sandbox is True and options.plain is False


def test_a_key_is_written_with_hyphens_or_underscores_and_may_have_a_remark() -> None:
    assert settled([], {}, "[provision]\nas-written = yes ; a remark\n").as_written is True
    assert settled([], {}, "[provision]\nas_written = on # a remark\n").as_written is True


def test_percent_signs_and_a_byte_order_mark_are_no_trouble() -> None:
    assert settled([], {}, "\ufeff[provision]\nlearner = 100%s\n").learner == "100%s"


@pytest.mark.parametrize("arguments", [["--profile", "mine"], ["--endpoint-url", "http://127.0.0.1:1"]])
def test_who_names_another_place_does_not_mean_the_sandbox_of_the_file(arguments: list[str]) -> None:
    assert settled(arguments, {}, "[provision]\nsandbox = yes\n").sandbox is False


def test_who_says_sandbox_does_not_mean_the_profile_of_the_environment() -> None:
    options = settled(["--sandbox"], {"PROVISION_PROFILE": "work", "PROVISION_REGION": "eu-west-1"})
    assert options.profile is None and options.region == "eu-west-1"
    options = settled([], {"PROVISION_PROFILE": "work"}, "[provision]\nsandbox = yes\n")
    assert options.profile == "work" and options.sandbox is False


def test_who_says_no_sandbox_still_means_the_profile_of_the_file() -> None:
    options = settled([], {"PROVISION_SANDBOX": "no"}, "[provision]\nprofile = work\nendpoint-url = http://x\n")
    assert (options.sandbox, options.profile, options.endpoint_url) == (False, "work", "http://x")


def test_a_variable_that_is_no_setting_is_warned_of() -> None:
    options = settled([], {"PROVISION_LERNER": "alice", "PROVISION_CONFIG": ""})
    assert options.warnings == ["PROVISION_LERNER is no setting of this suite, and has no effect."]


def test_a_value_that_cannot_be_is_refused_by_its_source(tmp_path: Path) -> None:
    with Folder(tmp_path) as user:
        for variable, value, says in (
            ("PROVISION_LEARNER", "Bob Smith!", "Error: PROVISION_LEARNER 'Bob Smith!' would make names"),
            ("PROVISION_RUNTIME", "cobol", "PROVISION_RUNTIME"),
            ("PROVISION_REGION", "Frankfurt", "'Frankfurt' (PROVISION_REGION)"),
        ):
            refused = user.run("provision", "--sandbox", **{variable: value})
            assert refused.returncode == outcome.USAGE and says in refused.stderr, refused.stderr
            assert "--learner" not in refused.stderr and "--runtime" not in refused.stderr.partition("What to do")[0]
        both = user.run("provision", PROVISION_SANDBOX="1", PROVISION_PROFILE="work")
        assert (
            "PROVISION_SANDBOX is a local AWS of its own and cannot be combined with PROVISION_PROFILE" in both.stderr
        )


def test_a_form_of_output_that_is_set_for_all_commands_hinders_none(tmp_path: Path) -> None:
    with Folder(tmp_path) as user:
        drawn = user.run("provision", "diagram", "--sandbox", PROVISION_OUTPUT="json")
        assert drawn.returncode == 0 and "POC-API" in drawn.stdout
        events = user.run("provision", "--sandbox", "--to", "1", "--events", "-", PROVISION_OUTPUT="json")
        assert events.returncode == 0 and events.stdout.startswith('{"at": 0.0, "type": "transcript"')


def test_an_empty_variable_is_none() -> None:
    assert settled([], {"PROVISION_REGION": ""}, "[provision]\nregion = eu-west-1\n").region == "eu-west-1"


def test_another_file_can_be_named() -> None:
    Path("class.ini").write_text("[provision]\nlearner = alice\n", encoding="utf-8")
    options = settled([], {"PROVISION_CONFIG": "class.ini"}, "[provision]\nlearner = bob\n")
    assert options.learner == "alice" and options.sources == {"learner": "class.ini"}


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("[provision]\nlerner = alice\n", "provision.ini: lerner is no setting; there are sandbox, profile"),
        ("[provision]\nyes = true\n", "provision.ini: yes is no setting"),
        ("[provision]\nsandbox = perhaps\n", "provision.ini: sandbox is yes or no, not 'perhaps'"),
        ("[provision]\ncolor = pink\n", "provision.ini: color is one of auto, always, never, not 'pink'"),
        ("learner = alice\n", "provision.ini is no configuration file: File contains no section headers"),
        ("[class]\nlearner = alice\n", "must have one section, [provision], and nothing outside it"),
        ("[provision]\n[more]\n", "must have one section"),
        ("[DEFAULT]\nregion = x\n[provision]\n", "nothing outside it"),
        ("[provision]\nlearner = a\nlearner = b\n", "is no configuration file"),
        ("", "must have one section"),
    ],
)
def test_what_cannot_be_is_named_with_its_place(file: str, says: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        settled([], {}, file)
    assert says in str(refused.value)


def test_a_file_that_is_named_must_be_there_and_readable(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"class\.ini cannot be read: No such file"):
        settled([], {"PROVISION_CONFIG": "class.ini"})
    with pytest.raises(BadConfiguration, match="cannot be read"):
        settled([], {"PROVISION_CONFIG": str(tmp_path)})
    Path("latin.ini").write_bytes(b"[provision]\nlearner = \xe4\n")
    with pytest.raises(BadConfiguration, match="is no configuration file"):
        settled([], {"PROVISION_CONFIG": "latin.ini"})


def test_consent_is_never_taken_from_there() -> None:
    assert "yes" not in NAMES
    assert settled([], {"PROVISION_YES": "1"}).yes is False


def test_every_name_is_an_option() -> None:
    known = {action.dest for action in provision.__main__.build_parser()._actions}
    assert set(NAMES) <= known
    of_a_build = {"runtime", "as_written", "tag", "source_ip", *RULES}
    assert set(NAMES) - {action.dest for action in teardown.__main__.parser()._actions} == of_a_build


def test_a_wrong_value_ends_as_a_wrong_command_line(tmp_path: Path) -> None:
    with Folder(tmp_path) as user:
        refused = user.run("teardown", PROVISION_COLOR="pink")
        assert refused.returncode == outcome.USAGE and refused.stdout == ""
        assert "error: PROVISION_COLOR: color is one of auto, always, never, not 'pink'" in refused.stderr


@pytest.mark.once_more
def test_both_programs_find_the_deployment_and_say_who_named_it(tmp_path: Path) -> None:
    (tmp_path / "provision.ini").write_text("[provision]\nsandbox = yes\nlearner = alice\nruntime = python3.12\n")
    with Folder(tmp_path) as user:
        with Terminal(user, 100, "provision", "--to", "1", "--color", "never", PROVISION_PLAIN="1") as terminal:
            assert terminal.end() == 0, terminal.text
        assert "Learner        alice (provision.ini)" in terminal.lines
        assert "Setting        runtime, sandbox (provision.ini)" in terminal.lines
        assert "Setting        plain (PROVISION_PLAIN)" in terminal.lines
        assert "created    Lambda-Write-DynamoDB-alice, Lambda-Read-SQS-alice" in terminal.text
        gone = user.run("teardown")
        assert gone.returncode == 0 and "Nothing is left: all 2 recorded resources" in gone.stderr
        assert "python -m teardown --sandbox --learner alice" in terminal.text
