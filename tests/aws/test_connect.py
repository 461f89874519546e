"""The way to AWS: credentials, Region, account and endpoint are known, or refused in one message, before any work."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from provision.__main__ import main as provision_main
from provision.account.smoke_tests import run_smoke_tests
from provision.aws import sandbox_process
from provision.aws.calls import Calls
from provision.aws.clients import Clients, Target
from provision.aws.connect import _check_places, _is_aws, connect
from provision.aws.credentials import CannotConnect
from provision.aws.waiting import Waiting
from provision.cli.options import state_path
from provision.cli.runner import run_steps
from provision.cli.views.banner import show_place
from provision.settings import BadSetting, Settings
from provision.state.file import StateRefused
from provision.state.state import State
from provision.terminal import outcome
from provision.terminal.screen import Screen
from tests.rig.answers import RESET, Answer, Asked, Server, caller_identity, in_turn, refusal
from tests.rig.deployment import Deployment
from tests.rig.programs import Folder, end, warm_server
from tests.rig.terminal import Terminal
from tests.rig.warm import Child


@pytest.fixture
def sts() -> Iterator[Server]:
    """A server that knows everybody."""
    with Server(in_turn(caller_identity())) as server:
        yield server


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the environment, as after `aws configure`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the AWS configuration file."""

    def write(text: str) -> None:
        file = tmp_path / "config"
        file.write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(file))

    return write


def patient() -> Calls:
    """A listener whose waits take no time."""
    return Calls(waiting=Waiting(sleep=lambda seconds: None))


def connected(**target: Any) -> Clients:
    return connect(Target(**target), patient())


def refused(**target: Any) -> CannotConnect:
    with pytest.raises(CannotConnect) as stop:
        connected(**target)
    return stop.value


# Credentials.


def test_without_credentials_one_message_names_both_ways_on() -> None:
    stop = refused(region="us-east-1")
    ways = "\n".join(stop.advice)
    assert "python -m provision --sandbox" in ways
    assert "python -m provision --profile" in ways
    assert stop.exit_code == outcome.ENVIRONMENT == 253


def test_without_credentials_the_program_ends_with_253_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert provision_main([]) == 253
    said = capsys.readouterr()
    assert said.out == ""
    assert "There are no AWS credentials" in said.err
    assert "--sandbox" in said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
def test_expired_credentials_name_the_command_that_renews_them(
    sts: Server, configured: Callable[[str], None], code: str
) -> None:
    configured("[profile lab]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = c\n")
    sts.respond = in_turn(refusal("sts", code, "The security token included in the request is expired", 403))
    stop = refused(profile="lab", endpoint_url=sts.url)
    assert "expired" in stop.means
    assert "aws configure --profile lab" in stop.advice[0]
    assert "same command again" in stop.advice[1]
    assert stop.exit_code == outcome.ENVIRONMENT
    assert len(sts.asked) == 1  # to ask again would not help


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "SignatureDoesNotMatch", "AuthFailure"])
def test_refused_credentials_keep_awss_words_and_name_the_way_on(sts: Server, keys: None, code: str) -> None:
    sts.respond = in_turn(refusal("sts", code, "The security token included in the request is invalid.", 403))
    stop = refused(endpoint_url=sts.url)
    assert f"({code})" in stop.what
    assert "token included in the request is invalid" in stop.what
    assert stop.means == "AWS does not accept these credentials."
    assert "--sandbox" in " ".join(stop.advice)
    assert len(sts.asked) == 1


@pytest.mark.parametrize("variable", ["--profile", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_that_does_not_exist_is_named(
    configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    configured("[profile other]\nregion = us-east-1\n")
    if variable != "--profile":
        monkeypatch.setenv(variable, "ghost")
    stop = refused(profile="ghost") if variable == "--profile" else refused()
    assert stop.what == "There is no profile 'ghost' in the AWS configuration."
    assert "aws configure list-profiles" in stop.advice[0]
    assert stop.exit_code == outcome.ENVIRONMENT


def test_of_a_mistyped_profile_the_one_that_was_meant_is_named(configured: Callable[[str], None]) -> None:
    configured("[profile class-a]\n[profile other]\n")
    assert refused(profile="clas-a").what.endswith("in the AWS configuration. Did you mean class-a?")


KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
LASTING = {**KEYS, "AWS_SESSION_TOKEN": "c"}
ROLE = """[profile lab]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = base
[profile base]
aws_access_key_id = a
aws_secret_access_key = b
"""
OF_SSO = "sso_account_id = 123456789012\nsso_role_name = r\nregion = us-east-1\n"
SSO = "[sso-session s]\nsso_start_url = https://x\nsso_region = us-east-1\n"
TOKEN = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere"}
CONTAINER = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/x"}
CONFIGURATION = "The AWS configuration could not be used."
NO_PROGRAM = "They come from the program {} (credential_process)"
LATE = "Signature expired: 20261129T010000Z is now earlier than 20261129T011500Z (20261129T013000Z - 15 min.)"
EARLY = "Signature not yet current: 20190305T002809Z is still later than 20190304T214315Z (20190304T212815Z + 15 min.)"
GIVEN = '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c", "Expiration": "%s"}'

# A program's script for credential_process; or a profile; or variables. Then what the message must have.
UNUSABLE: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "no program": ("credential_process = /no/such/tool", {}, ("of profile lab", NO_PROGRAM.format("/no/such/tool"))),
    "a folder": ("credential_process = /", {}, ("Permission denied", NO_PROGRAM.format("/"))),
    "an open quotation": ("credential_process = '/x", {}, ("No closing quotation",)),
    "it prints hello": ("!echo hello", {}, ("JSONDecodeError", NO_PROGRAM.format("{tool}"))),
    "it prints nothing": ("!:", {}, ("JSONDecodeError", NO_PROGRAM.format("{tool}"))),
    "it prints a list": ("!echo []", {}, ("AttributeError", NO_PROGRAM.format("{tool}"))),
    "it prints bytes": ("!printf '\\377'", {}, ("UnicodeDecodeError", NO_PROGRAM.format("{tool}"))),
    "it prints half": ("!echo '{\"Version\": 1}'", {}, ("AccessKeyId", NO_PROGRAM.format("{tool}"))),
    "it fails": ("!echo broken >&2; exit 3", {}, ("broken", NO_PROGRAM.format("{tool}"))),
    "it gives no moment": (f"!echo '{GIVEN % 'soon'}'", {}, ("soon", NO_PROGRAM.format("{tool}"))),
    "it gives old ones": (f"!echo '{GIVEN % '2020-01-01T00:00:00Z'}'", {}, ("have expired", "clock", "as {tool} asks")),
    "no configuration": ("[profile lab\nregion = x", {}, ("parse config file", CONFIGURATION)),
    "half a key": ("aws_access_key_id = a", {}, ("aws_secret_access_key", CONFIGURATION)),
    "half a key in the environment": ("", {"AWS_ACCESS_KEY_ID": "a"}, ("AWS_SECRET_ACCESS_KEY", CONFIGURATION)),
    "no session": (f"sso_session = s\n{OF_SSO}", {}, ("s", CONFIGURATION)),
    "a session not begun": (
        f"[profile lab]\nsso_session = s\n{OF_SSO}{SSO}",
        {},
        ("or there is none", "aws sso login --profile lab"),
    ),
    "no source": ("role_arn = arn:aws:iam::1:role/r\nsource_profile = ghost", {}, ("ghost", CONFIGURATION)),
    "no word of a source": ("role_arn = arn:aws:iam::1:role/r", {}, ("source_profile", CONFIGURATION)),
    "a circle": (
        "role_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\nsource_profile = lab",
        {},
        ("nfinite loop",),
    ),
    "a source that is empty": (
        "role_arn = arn:aws:iam::1:role/r\ncredential_source = Environment",
        {},
        ("No credentials found in credential_source",),
    ),
    "no ARN": (ROLE.replace("arn:aws:iam::123456789012:role/r", "r"), {}, ("RoleArn", CONFIGURATION)),
    "no token": ("", TOKEN, ("/nowhere", "AWS_WEB_IDENTITY_TOKEN_FILE")),
    "a container's file": ("", {**CONTAINER, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere"}, ("/nowhere",)),
    "a stranger's container": ("", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x.example/"}, ("x.example",)),
    "a container's token": ("", {**CONTAINER, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a\nb"}, ("not a legal header",)),
    "a timeout": ("", {"AWS_METADATA_SERVICE_TIMEOUT": "abc"}, ("abc", "Set are", "AWS_METADATA_SERVICE_TIMEOUT")),
    "metadata nowhere": ("", {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "nonsense"}, ("nonsense", CONFIGURATION)),
    "a moment": ("", {**LASTING, "AWS_CREDENTIAL_EXPIRATION": "soon"}, ("soon", "AWS_CREDENTIAL_EXPIRATION")),
    "a mode": ("", {**KEYS, "AWS_DEFAULTS_MODE": "odd"}, ("odd", CONFIGURATION)),
    "a size": ("", {**KEYS, "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": "x"}, ("an integer", CONFIGURATION)),
    "a line break": ("", {**KEYS, "AWS_SESSION_TOKEN": "c\nsecret"}, ("have a line break", "export-credentials")),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_whatever_fails_while_credentials_are_fetched_is_one_message_and_no_defect(
    sts: Server, configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text, environ, says = UNUSABLE[name]
    tool = tmp_path / "tool"
    if text.startswith("!"):
        tool.write_text(f"#!/bin/sh\n{text[1:]}\n")
        tool.chmod(0o755)
        text = f"credential_process = {tool} --password secret"
    configured(text if text.startswith("[") or not text else f"[profile lab]\n{text}\n")
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    endpoint = sts.url if environ.keys() >= KEYS.keys() or "old ones" in name else None
    stop = refused(profile="lab" if text else None, region="us-east-1", endpoint_url=endpoint)
    message = "\n".join((stop.what, stop.means, *stop.advice))
    for fragment in says:
        assert fragment.replace("{tool}", str(tool)) in message
    assert stop.exit_code == outcome.ENVIRONMENT
    assert "secret" not in message.replace("aws_secret_access_key", "")
    assert not stop.advice[0].startswith("or ")
    assert ("sso" in message) == (name in ("no session", "a session not begun"))
    assert "\n" not in stop.what
    assert sts.asked == []


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        (
            "AccessDenied",
            "User: u is not authorized to perform: sts:AssumeRole",
            ("no credentials for", "trust policy"),
        ),
        ("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.", ("next MFA code",)),
        ("ExpiredToken", "The security token is expired", ("have expired", "aws configure --profile base")),
        ("InvalidClientTokenId", "The security token is invalid", ("does not accept", "aws configure --profile base")),
        ("SignatureDoesNotMatch", LATE, ("clock is 30 minutes slow",)),
    ],
)
def test_a_role_that_may_not_be_assumed_is_told_apart_from_its_source(
    sts: Server,
    configured: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    words: str,
    says: tuple[str, ...],
) -> None:
    configured(ROLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    sts.respond = in_turn(refusal("sts", code, words, 403))
    stop = refused(profile="lab")
    message = "\n".join((stop.what, stop.means, *stop.advice))
    assert [asked.operation for asked in sts.asked] == ["AssumeRole"]
    assert all(fragment in message for fragment in says)
    assert "sso" not in message
    assert stop.exit_code == outcome.ENVIRONMENT


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        ("SignatureDoesNotMatch", LATE, "This machine's clock is 30 minutes slow, by AWS's."),
        ("SignatureDoesNotMatch", EARLY, "This machine's clock is 180 minutes fast, by AWS's."),
        ("SignatureDoesNotMatch", "Signature expired.", "This machine's clock is wrong, by AWS's."),
        ("OptInRequired", "needs a subscription for the service", "the account has not been activated"),
        (
            "AccessDenied",
            "u is not authorized to perform: sts:GetCallerIdentity with an explicit deny in a service control policy",
            "A service control policy does not allow GetCallerIdentity",
        ),
    ],
)
def test_good_credentials_that_are_refused_for_another_reason_are_not_blamed(
    sts: Server, keys: None, code: str, words: str, says: str
) -> None:
    sts.respond = in_turn(refusal("sts", code, words, 403))
    stop = refused(endpoint_url=sts.url)
    assert says in stop.means
    assert not any("login" in line or "aws configure" in line for line in stop.advice)
    assert stop.exit_code == outcome.ENVIRONMENT
    assert len(sts.asked) == 1


ASSUMED = Answer(
    body=(
        b'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        b"<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken>"
        b"<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    ),
    headers={"Content-Type": "text/xml"},
)


@pytest.mark.once_more
def test_an_mfa_code_is_typed_once_and_its_session_used_by_the_next_command(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder, Server(lambda asked: ASSUMED) as sts:
        sts.respond = lambda asked: ASSUMED if asked.operation == "AssumeRole" else caller_identity()
        config = Path(folder.environ["HOME"]) / ".aws" / "config"
        config.parent.mkdir()
        config.write_text(ROLE.replace("source", "mfa_serial = arn:aws:iam::123456789012:mfa/me\nsource", 1))
        command = ("provision", "--recover", "--profile", "lab", "--endpoint-url", sts.url)
        folder.environ["AWS_ENDPOINT_URL_STS"] = sts.url

        def without_terminal() -> str:
            child = Child(warm_server(), command, folder=folder.path, environ=folder.environ, session=True)
            ended = end(child)
            return f"{ended.returncode} {ended.stderr}"

        talk = without_terminal()
        assert talk.startswith("253 ") and sts.asked == []
        assert "The role of profile lab asks for an MFA code, and there is no terminal" in talk
        assert "aws sts get-caller-identity --profile lab" in talk and "Enter MFA" not in talk

        with Terminal(folder, 120, *command) as terminal:
            terminal.ask("", "Enter MFA code for arn:aws:iam::123456789012:mfa/me: ")
            terminal.type("123456\n")
            terminal.end()
        assert [b"TokenCode=123456" in asked.body for asked in sts.asked if asked.operation == "AssumeRole"] == [True]
        [kept] = (config.parent / "cli" / "cache").iterdir()
        assert kept.stat().st_mode & 0o77 == 0

        sts.asked.clear()
        without_terminal()
        assert sts.asked and "AssumeRole" not in [asked.operation for asked in sts.asked]
        kept.write_text("not a session")  # is no session, and no defect
        assert "MFA code" in without_terminal()


LOGIN = "arn:aws:iam::123456789012:user/me"


# The bytes of a session's key as the CRT writes it, and of one that it cannot read back: one in 256 is shorter.
READABLE_KEY, UNREADABLE_KEY = 121, 120


@pytest.fixture
def logged_in(
    configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sts: Server
) -> Callable[[int], None]:
    """Write a profile of `aws login` and its session, whose keys last so many minutes."""
    crypto = pytest.importorskip("awscrt.crypto")
    monkeypatch.setenv("AWS_LOGIN_CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SIGNIN", sts.url)
    configured(f"[profile lab]\nlogin_session = {LOGIN}\nregion = us-east-1\n")

    def write(minutes: int, size: int = READABLE_KEY) -> None:
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        key = b""
        while len(key) != size:
            key = crypto.EC.new_generate(crypto.ECType.P_256).export_key(crypto.ECExportFormat.SEC1)
        names = ("accessKeyId", "secretAccessKey", "sessionToken")
        access = {**dict.fromkeys(names, "a"), "accountId": "123456789012", "expiresAt": ends.isoformat()}
        token = {"accessToken": access, "refreshToken": "r", "clientId": "c", "dpopKey": base64.b64encode(key).decode()}
        name = hashlib.sha256(LOGIN.encode()).hexdigest()
        (tmp_path / f"{name}.json").write_text(json.dumps(token), encoding="utf-8")

    return write


def test_a_profile_of_aws_login_is_used(logged_in: Callable[[int], None], sts: Server) -> None:
    logged_in(30)
    aws = connected(profile="lab", endpoint_url=sts.url)
    assert (aws.account_id, aws.credentials_from) == ("123456789012", "login")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("TOKEN_EXPIRED", "aws login --profile lab"),
        ("USER_CREDENTIALS_CHANGED", "aws login --profile lab"),
        ("INSUFFICIENT_PERMISSIONS", "signin:CreateOAuth2Token"),
        ("ANOTHER", "aws login --profile lab"),
        (None, "aws login --profile lab"),
    ],
)
def test_a_session_of_aws_login_that_is_over_names_the_command_that_renews_it(
    logged_in: Callable[[int], None], sts: Server, error: str | None, says: str
) -> None:
    if error is not None:  # else it never began
        logged_in(-1)
    body = json.dumps({"error": error, "message": "no"}).encode()
    sts.respond = in_turn(Answer(400, body, {"x-amzn-ErrorType": "AccessDeniedException"}))
    stop = refused(profile="lab", endpoint_url=sts.url)
    assert says in stop.advice[0]
    assert stop.exit_code == outcome.ENVIRONMENT
    assert "sso" not in " ".join(stop.advice)


def test_a_session_of_aws_login_whose_key_cannot_be_read_is_to_be_renewed(logged_in: Callable[..., None]) -> None:
    logged_in(-1, UNREADABLE_KEY)
    stop = refused(profile="lab")
    assert "Key format is not supported" in stop.what and "aws login --profile lab" in stop.advice[0]


def test_without_what_aws_login_needs_the_message_says_what_to_install(
    configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(f"[profile lab]\nlogin_session = {LOGIN}\n")
    monkeypatch.setattr("botocore.credentials.EC", None)
    stop = refused(profile="lab")
    assert stop.advice[0] == "Install it: pip install 'botocore[crt]'"


# The Region.

PROFILE = "[default]\nregion = eu-west-3\n[profile lab]\nregion = eu-north-1\n"


@pytest.mark.parametrize(
    ("target", "environment", "region", "source", "warned"),
    [
        ({}, {"AWS_CONFIG_FILE": os.devnull}, "us-east-1", "the walkthrough's, as nothing names another", []),
        ({}, {}, "eu-west-3", "profile default", []),
        ({"profile": "lab"}, {}, "eu-north-1", "profile lab", []),
        ({}, {"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1", "AWS_DEFAULT_REGION", ["eu-west-3"]),
        ({}, {"AWS_REGION": "eu-west-2"}, "eu-west-2", "AWS_REGION", ["eu-west-3"]),
        (
            {"profile": "lab"},
            {"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-1"},
            "eu-west-2",
            "AWS_REGION",
            ["eu-west-1", "eu-north-1"],
        ),
        ({}, {"AWS_REGION": "eu-west-3"}, "eu-west-3", "AWS_REGION", []),
        ({"region": "sa-east-1"}, {"AWS_REGION": "eu-west-2"}, "sa-east-1", "--region", []),
        ({}, {"AWS_REGION": ""}, "eu-west-3", "profile default", []),
    ],
)
def test_the_region_comes_from_the_first_that_names_one_and_differing_ones_are_warned_of(
    sts: Server,
    keys: None,
    configured: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    target: dict[str, str],
    environment: dict[str, str],
    region: str,
    source: str,
    warned: list[str],
) -> None:
    configured(PROFILE)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "profile" in target:  # a profile without keys of its own would be asked for them
        configured(PROFILE + "aws_access_key_id = a\naws_secret_access_key = b\n")
    aws = connected(endpoint_url=sts.url, **target)
    assert (aws.region, aws.region_from.source) == (region, source)
    assert len(aws.warnings) == len(warned)
    for other in warned:
        assert any(other in warning and region in warning for warning in aws.warnings)
    assert {asked.region for asked in sts.asked} == {region}
    for client in (aws.dynamodb, aws.sqs, aws.lambda_, aws.apigateway, aws.logs, aws.sts):
        assert client.meta.region_name == region


@pytest.mark.parametrize("source", ["--region", "AWS_REGION", "AWS_DEFAULT_REGION", "profile default"])
def test_nonsense_for_a_region_is_refused_before_any_call(
    sts: Server, keys: None, configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    if source.startswith("AWS"):
        monkeypatch.setenv(source, "the moon")
    configured("[default]\nregion = the moon\n" if source.startswith("profile") else "")
    region = {"region": "the moon"} if source.startswith("--") else {}
    with pytest.raises(BadSetting) as stop:
        connected(endpoint_url=sts.url, **region)
    assert stop.value.what.startswith(f"'the moon' ({source})")
    assert stop.value.exit_code == outcome.USAGE
    assert sts.asked == []


def test_a_region_that_botocore_does_not_know_is_warned_of_and_aws_decides(sts: Server, keys: None) -> None:
    aws = connected(endpoint_url=sts.url, region="eu-mars-1")
    assert aws.region == "eu-mars-1"
    assert [warning for warning in aws.warnings if "eu-mars-1" in warning]
    assert connected(endpoint_url=sts.url, region="eu-central-1").warnings == ()


def knows(*regions: str) -> Callable[[Asked], Answer]:
    """STS as it answers in Regions that are on for the account, and in all others."""

    def respond(asked: Asked) -> Answer:
        if asked.region in regions:
            return caller_identity()
        return refusal("sts", "InvalidClientTokenId", "The security token included in the request is invalid", 403)

    return respond


def test_a_region_that_is_not_enabled_is_recognised_as_that(
    sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    sts.respond = knows("us-east-1")
    stop = refused(region="af-south-1")
    assert stop.what == "Region af-south-1 is not enabled for this account."
    assert "--region-name af-south-1" in stop.advice[0]
    assert stop.exit_code == outcome.ENVIRONMENT
    assert [asked.region for asked in sts.asked] == ["af-south-1", "us-east-1"]


@pytest.mark.parametrize("region", ["af-south-1", "us-east-1"])
def test_credentials_that_are_good_nowhere_are_not_blamed_on_the_region(
    sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    sts.respond = knows()
    stop = refused(region=region)
    assert stop.means == "AWS does not accept these credentials."


def test_an_emulator_that_refuses_is_not_asked_about_other_regions(sts: Server, keys: None) -> None:
    sts.respond = knows("us-east-1")
    assert "InvalidClientTokenId" in refused(region="af-south-1", endpoint_url=sts.url).what
    assert len(sts.asked) == 1


# What answers.

XHTML = b"<html><body><p>Please log in to the network.</p></body></html>"
HTML = b"<!DOCTYPE html><html><body>Please log in<br></body>"
NOBODY = b"<GetCallerIdentityResponse><GetCallerIdentityResult/></GetCallerIdentityResponse>"


@pytest.mark.parametrize("body", [HTML, XHTML, NOBODY, b"", b"ok", b'{"Account": "1"}', b"\xff\x00"])
def test_what_is_not_aws_is_told_in_one_message(sts: Server, keys: None, body: bytes) -> None:
    sts.respond = in_turn(Answer(200, body, {"Content-Type": "text/html"}))
    stop = refused(endpoint_url=sts.url)
    assert stop.what.startswith(f"What answers at {sts.url} is not AWS: ")
    assert "captive portal" in stop.means
    assert stop.exit_code == outcome.ENVIRONMENT


@pytest.mark.parametrize(
    "answer", [Answer(500), Answer(503, HTML), Answer(404, HTML), Answer(302, XHTML), RESET], ids=str
)
def test_no_answer_of_aws_ends_in_one_message(sts: Server, keys: None, answer: Answer | str) -> None:
    sts.respond = in_turn(answer)
    stop = refused(endpoint_url=sts.url)
    assert stop.what
    assert stop.means
    assert stop.advice
    assert stop.exit_code == outcome.ENVIRONMENT


def test_where_nobody_listens_the_message_names_the_endpoint(keys: None) -> None:
    stop = refused(endpoint_url="http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in stop.what
    assert "--endpoint-url" in stop.advice[0]
    assert stop.exit_code == outcome.ENVIRONMENT


@pytest.mark.parametrize("variable", ["--endpoint-url", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("url", ["127.0.0.1:5000", "localhost", "http://", "http://x:port", "ftp://x", "http:/x"])
def test_what_is_no_url_is_refused(keys: None, monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    target = {"endpoint_url": url} if variable == "--endpoint-url" else {}
    if not target:
        monkeypatch.setenv(variable, url)
    stop = refused(**target)
    assert repr(url) in stop.what
    assert stop.exit_code == outcome.USAGE


# Where the services go.


def test_an_emulator_is_the_endpoint_however_it_is_named(
    sts: Server, keys: None, configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_flag = connected(endpoint_url=f"{sts.url}/")
    monkeypatch.setenv("AWS_ENDPOINT_URL", sts.url)
    by_variable = connected()
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    configured(f"[default]\nendpoint_url = {sts.url}\n")
    by_profile = connected()
    for aws in (by_flag, by_variable, by_profile):
        assert aws.endpoint == aws.base_url == sts.url
        assert aws.invoke_url("abc", "Staging", "x").startswith(f"{sts.url}/restapis/abc/")
        assert aws.warnings == ()


FAR = [
    {"AWS_ENDPOINT_URL": "https://emulator.example"},
    {"AWS_ENDPOINT_URL_SQS": "https://emulator.example"},
    {"AWS_ENDPOINT_URL": "http://127.0.0.1.example:9"},
    {"AWS_ENDPOINT_URL": "http://sts.us-east-1.amazonaws.com"},  # AWS itself, but unencrypted
    {"provision.ini": "https://emulator.example"},
    {"PROVISION_ENDPOINT_URL": "http://emulator.example"},
    # Below AWS's domain, but a customer's own.
    {"provision.ini": "https://abcde12345.execute-api.us-east-1.amazonaws.com"},
    {"provision.ini": "https://lambda.s3.us-east-1.amazonaws.com"},
]


def test_every_host_that_botocore_knows_of_the_services_is_aws() -> None:
    session = boto3.Session(aws_access_key_id="any", aws_secret_access_key="any")
    for partition in session.get_available_partitions():
        region = session.get_available_regions("lambda", partition)[0]
        for service in ("iam", "sts", "dynamodb", "sqs", "lambda", "apigateway", "logs"):
            assert _is_aws(session.client(service, region_name=region).meta.endpoint_url), (partition, service)


@pytest.mark.parametrize("named", FAR)
def test_only_the_command_line_sends_credentials_away_from_this_machine_or_unencrypted(
    keys: None, monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    [(where, url)] = named.items()
    if where.startswith("AWS"):
        monkeypatch.setenv(where, url)
        stop = refused()
    else:
        stop = refused(endpoint_url=url, sources={"endpoint_url": where})
    assert stop.exit_code == outcome.USAGE
    assert url in stop.what and "not from the command line" in stop.what
    assert "Nothing was sent" in stop.means
    assert f"--endpoint-url {url}" in stop.advice[0]


def test_a_file_may_name_an_endpoint_on_this_machine(sts: Server, keys: None) -> None:
    assert connected(endpoint_url=sts.url, sources={"endpoint_url": "provision.ini"}).warnings == ()


def test_the_command_line_may_name_another_machine_and_plain_http_is_warned_of() -> None:
    def warned(url: str) -> list[str]:
        clients = {"sts": boto3.client("sts", region_name="us-east-1", endpoint_url=url)}
        return _check_places(clients, Target(endpoint_url=url))

    assert warned("https://emulator.example") == []
    assert warned("http://[::1]:4566") == []
    [warning] = warned("http://emulator.example")
    assert warning == "Credentials and data go to http://emulator.example unencrypted."


def test_the_flag_wins_over_the_variables(sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    aws = connected(endpoint_url=sts.url)
    assert aws.endpoint == sts.url
    assert aws.sqs.meta.endpoint_url == sts.url


def test_variables_that_are_to_be_ignored_are_ignored(sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ignores them means AWS; nothing may say that it is an emulator. No call is made here."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", sts.url)
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    asked: list[str] = []

    class Stopped(Exception):
        pass

    class WatchingTap(Calls):
        def put_on(self, client: Any) -> None:
            asked.append(client.meta.endpoint_url)
            if client.meta.service_model.service_name == "sts":
                raise Stopped

    with pytest.raises(Stopped):
        connect(Target(region="us-east-1"), WatchingTap())
    assert len(asked) == 7
    assert all("amazonaws.com" in url for url in asked)


def test_services_at_different_places_are_warned_of_and_bind_the_state_file(
    sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", sts.url)
    emulator = connected()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9324")
    mixed = connected()
    [warning] = mixed.warnings
    assert "sqs to http://127.0.0.1:9324" in warning
    assert mixed.endpoint is not None
    assert "sqs=http://127.0.0.1:9324" in mixed.endpoint
    assert mixed.sqs.meta.endpoint_url == "http://127.0.0.1:9324"

    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    partly = connected()
    assert "and the others to AWS" in partly.warnings[0]
    assert partly.base_url is None  # the API is at AWS

    endpoints = [emulator.endpoint, mixed.endpoint, partly.endpoint, None]
    assert len(set(endpoints)) == 4
    paths = {state_path("123456789012", "us-east-1", endpoint, None, tmp_path) for endpoint in endpoints}
    assert len(paths) >= 3  # the two mixtures share a name, and are told apart by what is in the state file
    for endpoint in endpoints:
        path = tmp_path / "one.json"
        path.unlink(missing_ok=True)
        state = State.open(path, account="123456789012", region="us-east-1", endpoint=endpoint)
        state.save()
        state.close()
        for other in endpoints:
            if other != endpoint:
                with pytest.raises(StateRefused):
                    State.open(path, account="123456789012", region="us-east-1", endpoint=other)


def test_a_local_emulator_needs_no_credentials_and_a_distant_one_does(
    sts: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = connected(endpoint_url=sts.url)
    assert "throw-away" in aws.credentials_from
    monkeypatch.setenv("AWS_ENDPOINT_URL", sts.url)
    assert connected().account_id == "123456789012"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert "no AWS credentials" in refused(endpoint_url="http://emulator.example:4566").what
    # Where one service is asked elsewhere, invented credentials would be sent to AWS.
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    assert "no AWS credentials" in refused().what


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [
        ("us-east-1", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
    ],
)
def test_account_caller_and_partition_are_what_aws_says(
    sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch, region: str, partition: str, suffix: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    sts.respond = in_turn(caller_identity("999999999999", partition))
    aws = connected(region=region)
    assert (aws.account_id, aws.partition, aws.dns_suffix) == ("999999999999", partition, suffix)
    assert aws.caller == f"arn:{partition}:iam::999999999999:user/bob"
    assert aws.arn("sqs", "q") == f"arn:{partition}:sqs:{region}:999999999999:q"
    assert aws.arn("iam", "role/r", region="") == f"arn:{partition}:iam::999999999999:role/r"
    assert aws.invoke_url("abc", "Staging", "x") == f"https://abc.execute-api.{region}.{suffix}/Staging/x"


def test_the_secret_stays_out_of_what_is_shown(sts: Server, keys: None) -> None:
    aws = connected(endpoint_url=sts.url)
    assert "secret" not in repr(aws.account) + aws.caller + aws.credentials_from + repr(aws.calls.history)
    assert aws.credentials_from == "env"


# How long credentials last.


def ending(monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", moment.isoformat(timespec="seconds").replace("+00:00", "Z"))


@pytest.mark.parametrize(("minutes", "warned"), [(55.5, False), (7.5, True)])
def test_credentials_that_end_say_when_and_are_warned_of_when_it_is_soon(
    sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch, screen: Screen, minutes: float, warned: bool
) -> None:
    ending(monkeypatch, minutes)
    show_place(screen, connected(endpoint_url=sts.url), {})
    assert isinstance(screen.talk.file, io.StringIO)
    said = screen.talk.file.getvalue()
    assert f"Credentials    env, which end in {int(minutes)} min" in said
    assert ("goes on when it is started again with new ones" in said) is warned


def test_of_credentials_that_say_nothing_nothing_is_said(
    sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connected(endpoint_url=sts.url).expires is None
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "")
    assert connected(endpoint_url=sts.url).expires is None


def test_credentials_that_have_ended_by_their_own_word_are_no_defect(
    sts: Server, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(monkeypatch, -5)
    stop = refused(endpoint_url=sts.url)
    assert "have expired" in stop.what and "export-credentials" in stop.advice[0]
    assert sts.asked == []


# The sandbox.


def test_a_sandbox_reads_nothing_of_the_users_aws_and_leaves_it_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "config"
    broken.write_text("[profile half\n")
    environment = {
        "AWS_PROFILE": "broken",
        "AWS_DEFAULT_PROFILE": "broken",
        "AWS_CONFIG_FILE": str(broken),
        "AWS_SHARED_CREDENTIALS_FILE": str(broken),
        "AWS_REGION": "the moon",
        "AWS_DEFAULT_REGION": "the moon",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_SQS": "nonsense",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_MAX_ATTEMPTS": "many",
        "AWS_STS_REGIONAL_ENDPOINTS": "nonsense",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "/nowhere",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("HOME", "USERPROFILE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    running = sandbox_process.start(tmp_path)
    try:
        aws = connected(sandbox=(running.id, running.url), sandbox_key=running.key)
        state = State.open(tmp_path / "l.json", account=aws.account_id, region=aws.region, endpoint=aws.endpoint)
        aws.calls.permit = state.permit
        run_steps(aws, Settings(), state, started=lambda step: None, ended=lambda step, results: None)
        assert {event.outcome for event in state.results} == {"created"}
        assert len(list(run_smoke_tests(aws, Settings(), state))) == 5
        state.close()
    finally:
        sandbox_process.stop(running)
    assert aws.region == "us-east-1"
    assert aws.endpoint == f"sandbox:{running.id}"
    assert aws.warnings == ()
    assert dict(os.environ) == before


def test_a_sandbox_takes_the_region_of_the_flag_only(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    aws = connected(region="eu-central-1", sandbox=(deployment.sandbox_id, deployment.url))
    assert (aws.region, aws.region_from.source) == ("eu-central-1", "--region")
    with pytest.raises(BadSetting):
        connected(region="the moon", sandbox=(deployment.sandbox_id, deployment.url))


# The state file's place.


def test_every_place_has_a_state_file_of_its_own(tmp_path: Path) -> None:
    places = [
        ("123456789012", "us-east-1", None, None),
        ("999999999999", "us-east-1", None, None),
        ("123456789012", "eu-west-1", None, None),
        ("123456789012", "us-east-1", None, "alice"),
        ("123456789012", "us-east-1", "http://127.0.0.1:4566", None),
        ("123456789012", "us-east-1", "http://127.0.0.1:5000", None),
        ("123456789012", "us-east-1", "https://emulator.example", None),
        ("123456789012", "us-east-1", "sqs=http://127.0.0.1:9324", None),
        ("123456789012", "us-east-1", "sandbox:sb-1", None),
    ]
    paths = [state_path(*place, tmp_path) for place in places]
    assert len(set(paths)) == len(places)
    assert paths[0].name == "123456789012-us-east-1.json"
    assert paths[3].name == "123456789012-us-east-1-alice.json"
    assert state_path("1", "us-east-1", "sandbox:sb-2", None, tmp_path) == paths[-1]  # whichever sandbox it is
    for path in paths:
        assert path.parent == tmp_path
        assert re.fullmatch(r"[\w.-]+\.json", path.name)
