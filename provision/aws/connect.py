"""The way to AWS: which account, Region and endpoint, checked before anything else, and the clients of the steps."""

from __future__ import annotations

import datetime
import difflib
import os
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from getpass import GetPassWarning
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError
from botocore.utils import JSONFileCache

from provision.aws.answers import NotAWS
from provision.aws.calls import Calls
from provision.aws.clients import SANDBOX_ACCOUNT, THROW_AWAY, Clients, Sourced, Target
from provision.aws.credentials import (
    REFUSED,
    TO_THE_SANDBOX,
    CannotConnect,
    cannot_connect,
    is_of_credentials,
    minutes_off,
    no_credentials,
)
from provision.settings import DEFAULT_REGION, BadSetting, check_region
from provision.terminal import outcome

# Who would call when no sandbox is running.
IN_NO_SANDBOX = {"Account": SANDBOX_ACCOUNT, "Arn": f"arn:aws:iam::{SANDBOX_ACCOUNT}:user/sandbox"}


# By partition, a Region that every account has enabled: its STS says whether credentials are good at all.
HOME_REGION = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}


SERVICES = ("iam", "dynamodb", "sqs", "lambda", "apigateway", "logs", "sts")


class RoleSessions(JSONFileCache):  # type: ignore[misc]
    """The sessions of assumed roles as the `aws` command keeps them: an MFA code is asked for once an hour, by either.

    https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-role.html#cli-configure-role-cache
    """

    def __init__(self) -> None:
        super().__init__(Path("~/.aws/cli/cache").expanduser())

    def __contains__(self, key: str) -> bool:
        try:
            return bool(self[key])
        except KeyError:  # also where the file cannot be read
            return False

    def __setitem__(self, key: str, session: Any) -> None:
        with suppress(OSError):  # where it cannot be kept it is fetched again
            super().__setitem__(key, session)


def session_of(profile: str | None, region: str) -> boto3.Session:
    """A session with the user's credentials, which are fetched when they are needed."""
    # Without a terminal getpass would read an MFA code from a pipe, or show it.
    warnings.filterwarnings("error", category=GetPassWarning)
    session = botocore.session.Session(profile=profile)
    session.get_component("credential_provider").get_provider("assume-role").cache = RoleSessions()
    return boto3.Session(botocore_session=session, region_name=region)


@dataclass
class _Asked:
    """What is known before the first call."""

    session: boto3.Session
    region: Sourced
    endpoint_url: str | None  # for every service, as the command line gave it
    credentials_from: str
    warnings: list[str] = field(default_factory=list)


def client_config(*, without_proxy: bool = False) -> Config:
    """botocore sends each request once, whatever the environment says.

    A create that is sent again after its answer was lost can create a second resource. So the listener decides what is
    sent again. The mode is named because its default changed with botocore 1.44.
    """
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=10,
        read_timeout=60,
        proxies={} if without_proxy else None,
        user_agent_extra="poc-decoupled-serverless",
    )


def connect(target: Target, calls: Calls, environ: Mapping[str, str] = os.environ) -> Clients:
    """Clients for `target`, after one GetCallerIdentity, which needs no permission.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    Raises CannotConnect when credentials, Region or endpoint do not work, BadSetting for what cannot be a value.
    """
    if target.sandbox:
        with _no_aws_environment():
            return _connect(_ask_sandbox(target), target, calls)
    return _connect(_ask_environment(target, environ), target, calls)


def _ask_sandbox(target: Target) -> _Asked:
    assert target.sandbox
    region = (
        Sourced(target.region, target.source_of("region"))
        if target.region
        else Sourced(DEFAULT_REGION, "the walkthrough's")
    )
    check_region(region.value, region.source)
    session = boto3.Session(
        aws_access_key_id="sandbox",
        aws_secret_access_key=target.sandbox_key or "sandbox",
        region_name=region.value,
        botocore_session=botocore.session.Session(),
    )
    return _Asked(session, region, target.sandbox[1], f"{THROW_AWAY} of the sandbox")


def refuse_unknown_region(region: str, source: str) -> None:
    """Raise BadSetting for a Region that botocore does not know. Of the sandbox it is asked before one is started."""
    with _no_aws_environment():
        session = boto3.Session(botocore_session=botocore.session.Session())
        known = session.get_available_regions("lambda", _partition(session, region))
    if region not in known:
        meant = near_region(region, known)
        raise BadSetting(f"There is no Region {region} ({source}).{meant}", means="Nothing was done.")


def near_region(region: str, known: list[str]) -> str:
    """The Region that was meant, as a question; empty where none is near."""
    near = difflib.get_close_matches(region, known, 1)
    return f" Did you mean {near[0]}?" if near else ""


def near_profile(error: ProfileNotFound) -> str:
    """The profile that was meant, as a question; empty where none is near."""
    known = botocore.session.Session().available_profiles
    near = difflib.get_close_matches(str(error.kwargs["profile"]), known, 1)
    return f" Did you mean {near[0]}?" if near else ""


def _ask_environment(target: Target, environ: Mapping[str, str]) -> _Asked:
    try:
        session = boto3.Session(profile_name=target.profile)
        regions = _regions(target, environ, session)
        region = regions[0] if regions else Sourced(DEFAULT_REGION, "the walkthrough's, as nothing names another")
        check_region(region.value, region.source)
        session = session_of(target.profile, region.value)
        credentials = session.get_credentials()
    except ProfileNotFound as error:
        raise CannotConnect(
            f"There is no profile {error.kwargs['profile']!r} in the AWS configuration.{near_profile(error)}",
            means=str(error),
            advice=("List the profiles there are: aws configure list-profiles", TO_THE_SANDBOX),
        ) from error
    except outcome.UserError:
        raise
    except Exception as error:
        raise cannot_connect(error, target.profile) from error
    endpoint_url = target.endpoint_url or environ.get("AWS_ENDPOINT_URL")
    if endpoint_url and not is_url(endpoint_url):
        raise CannotConnect(
            f"{endpoint_url!r} is not the URL of an endpoint.",
            advice=("Write it as http://127.0.0.1:5000",),
            exit_code=outcome.USAGE,
        )
    method = str(credentials.method) if credentials else ""
    profiles = _profiles(target, environ)
    warnings = _contradictions("Region", regions)
    if profiles and method == "env" and not target.profile:
        named = f"{profiles[0].source} {profiles[0].value}"
        warnings.append(f"The credentials of the environment are used (AWS_ACCESS_KEY_ID), not those of {named}.")
    if target.profile:
        warnings += _contradictions("Profile", profiles)
    if target.endpoint_url:
        warnings += _contradictions("Endpoint", _sources(target, "endpoint_url", environ, ("AWS_ENDPOINT_URL",)))
    asked = _Asked(session, region, target.endpoint_url, method, warnings)
    if credentials is None:
        places = [urlsplit(client.meta.endpoint_url).hostname for client in _clients(asked, target).values()]
        if not all(host in LOOPBACK for host in places):
            raise no_credentials()
        # An emulator on this machine takes any credentials, and nothing secret leaves the machine.
        asked.session = boto3.Session(
            profile_name=target.profile,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            region_name=region.value,
        )
        asked.credentials_from = f"{THROW_AWAY}, for a local endpoint"
    return asked


LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _sources(target: Target, name: str, environ: Mapping[str, str], variables: tuple[str, ...]) -> list[Sourced]:
    """The values that option and environment name for a setting, the one that counts first."""
    values = [(getattr(target, name), target.source_of(name))]
    values += [(environ.get(variable), variable) for variable in variables]
    return [Sourced(value, source) for value, source in values if value]


def _regions(target: Target, environ: Mapping[str, str], session: boto3.Session) -> list[Sourced]:
    """The Regions that are named: by the option, AWS_REGION, AWS_DEFAULT_REGION, the profile.

    boto3 itself ignores AWS_REGION (boto/boto3#3620), other SDKs and the AWS CLI v2 do not.
    """
    regions = _sources(target, "region", environ, ("AWS_REGION", "AWS_DEFAULT_REGION"))
    of_profile = session._session.get_scoped_config().get("region")
    return regions + ([Sourced(of_profile, f"profile {session.profile_name}")] if of_profile else [])


def _profiles(target: Target, environ: Mapping[str, str]) -> list[Sourced]:
    """The profiles that are named. boto3 prefers AWS_DEFAULT_PROFILE to AWS_PROFILE."""
    variable = "AWS_DEFAULT_PROFILE" if environ.get("AWS_DEFAULT_PROFILE") else "AWS_PROFILE"
    return _sources(target, "profile", environ, (variable,))


def _contradictions(what: str, values: list[Sourced]) -> list[str]:
    """A sentence for each source that differs from the one that counts, unless that is an option of the command."""
    if not values or values[0].source.startswith("--"):
        return []
    used = values[0]
    return [
        f"{what} {used.value} ({used.source}) is used; {other.source} says {other.value}."
        for other in values[1:]
        if other.value != used.value
    ]


def _clients(asked: _Asked, target: Target) -> dict[str, Any]:
    # A sandbox is on this machine: no proxy from the environment may be used.
    config = client_config(without_proxy=target.sandbox is not None)
    try:
        return {
            service: asked.session.client(service, config=config, endpoint_url=asked.endpoint_url)
            for service in SERVICES
        }
    except (BotoCoreError, OSError, ValueError) as error:
        raise cannot_connect(error, target.profile) from error


def _endpoint(clients: dict[str, Any], target: Target, warnings: list[str]) -> tuple[str | None, str | None]:
    """What a state file is bound to, and where an emulator serves APIs; both None on AWS itself.

    The clients know where they go. botocore has many places for it: the flag, a variable for all services or for one,
    sections and profiles of the configuration.
    """
    if target.sandbox:
        return f"sandbox:{target.sandbox[0]}", target.sandbox[1]
    elsewhere = {
        service: client.meta.endpoint_url.rstrip("/")
        for service, client in clients.items()
        if not _is_aws(client.meta.endpoint_url)
    }
    if not elsewhere:
        return None, None
    if len(elsewhere) == len(clients) and len(set(elsewhere.values())) == 1:
        return elsewhere["sts"], elsewhere["sts"]
    warnings.append(
        "Not all services are at one place; the AWS configuration sends "
        + ", ".join(f"{service} to {url}" for service, url in sorted(elsewhere.items()))
        + (", and the others to AWS." if len(elsewhere) < len(clients) else ".")
    )
    mixed = " ".join(f"{service}={url}" for service, url in sorted(elsewhere.items()))
    return mixed, elsewhere.get("apigateway")


def _connect(asked: _Asked, target: Target, calls: Calls) -> Clients:
    region = asked.region.value
    known = asked.session.get_available_regions("lambda", _partition(asked.session, region))
    warnings = list(asked.warnings)
    if region not in known:
        meant = near_region(region, known)
        warnings.append(f"Region {region} is not among those that the installed botocore knows; AWS decides.{meant}")
    clients = _clients(asked, target)
    warnings += _check_places(clients, target)
    endpoint, base_url = _endpoint(clients, target, warnings)
    _refuse_where_nobody_listens(str(clients["sts"].meta.endpoint_url), target)
    for client in clients.values():
        calls.put_on(client)
    is_aws = endpoint is None or "=" in endpoint.partition("://")[0]
    is_empty = target.sandbox is not None and not target.sandbox[0]
    identity = IN_NO_SANDBOX if is_empty else _caller_identity(asked, clients["sts"], target, is_aws=is_aws)
    partition = identity["Arn"].split(":")[1]
    shape = clients["lambda"].meta.service_model.shape_for("Runtime")
    return Clients(
        iam=clients["iam"],
        dynamodb=clients["dynamodb"],
        sqs=clients["sqs"],
        lambda_=clients["lambda"],
        apigateway=clients["apigateway"],
        logs=clients["logs"],
        sts=clients["sts"],
        account=Sourced(identity["Account"], "GetCallerIdentity"),
        caller=identity["Arn"],
        region_from=asked.region,
        partition=partition,
        dns_suffix=_dns_suffix(asked.session, partition),
        endpoint=endpoint,
        base_url=base_url,
        profile=target.profile,
        calls=calls,
        warnings=tuple(warnings),
        runtimes=tuple(shape.enum),
        credentials_from=asked.credentials_from,
        expires=_expiry(asked, os.environ),
        profile_from=next(iter(_profiles(target, os.environ)), None) if not target.sandbox else None,
        endpoint_from=_endpoint_source(target, os.environ),
        sandbox_key=target.sandbox_key,
        is_empty=is_empty,
        verify=_verify(asked.session, os.environ),
        credentials=asked.session.get_credentials(),
        alias=_alias(clients["iam"]) if endpoint is None else None,
    )


def _check_places(clients: dict[str, Any], target: Target) -> list[str]:
    """A warning where the command line sends what is secret over plain http. Raises CannotConnect.

    Each request carries a session's token. A file in the working folder, or a variable, sends it to AWS or to this
    machine; to another place, or unencrypted, only the command line does.
    """
    places = {str(client.meta.endpoint_url) for client in clients.values()}
    far = {url for url in places if urlsplit(url).hostname not in LOOPBACK}
    plain = {url for url in far if urlsplit(url).scheme == "http"}
    named = bool(target.endpoint_url) and target.source_of("endpoint_url") == "--endpoint-url"
    for url in sorted(far):
        if not named and (url in plain or not _is_aws(url)):
            raise CannotConnect(
                f"The endpoint {url} is not on this machine, and not from the command line: "
                f"{_endpoint_source(target, os.environ)} names it.",
                means="Credentials and data would go there. Nothing was sent.",
                advice=(f"If that is meant, name it yourself: --endpoint-url {url}",),
                exit_code=outcome.USAGE,
            )
    return [f"Credentials and data go to {url} unencrypted." for url in sorted(plain)]


def _refuse_where_nobody_listens(url: str, target: Target) -> None:
    """Raise CannotConnect where this machine refuses the connection: no second try would change that."""
    parts = urlsplit(url)
    if parts.hostname not in LOOPBACK or target.sandbox:
        return
    try:
        socket.create_connection((parts.hostname, parts.port or 80), timeout=5).close()
    except ConnectionRefusedError as error:
        raise CannotConnect(
            f"Nothing answers at {url}.",
            means="No program of this machine listens at that port. Nothing was done.",
            advice=("Start the emulator, or name its port with --endpoint-url.", TO_THE_SANDBOX),
        ) from error
    except OSError:
        pass  # the first call will say it


def _verify(session: boto3.Session, environ: Mapping[str, str]) -> bool | str:
    """The certificates that the clients trust: AWS_CA_BUNDLE or ca_bundle, else what botocore takes from the others."""
    of_aws = session._session.get_config_variable("ca_bundle")
    return of_aws or environ.get("REQUESTS_CA_BUNDLE") or True


def _endpoint_source(target: Target, environ: Mapping[str, str]) -> str:
    """Where the endpoint comes from. botocore has many places for it; people use two of them."""
    if target.endpoint_url:
        return target.source_of("endpoint_url")
    return "AWS_ENDPOINT_URL" if environ.get("AWS_ENDPOINT_URL") else "the AWS configuration"


def _expiry(asked: _Asked, environ: Mapping[str, str]) -> datetime.datetime | None:
    """When credentials from the environment expire; None where nothing says it, and where botocore renews them.

    `aws configure export-credentials --format env` writes the variable along with the others.
    https://docs.aws.amazon.com/cli/latest/reference/configure/export-credentials.html
    """
    text = environ.get("AWS_CREDENTIAL_EXPIRATION")
    if asked.credentials_from != "env" or not text:
        return None
    try:
        expires = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return expires if expires.tzinfo else expires.replace(tzinfo=datetime.timezone.utc)


def _alias(iam: Any) -> str | None:
    """The account's alias; None when it has none or the caller may not see it."""
    try:
        aliases = iam.list_account_aliases()["AccountAliases"]
    except ClientError:
        return None
    return str(aliases[0]) if aliases else None


def _caller_identity(asked: _Asked, sts: Any, target: Target, *, is_aws: bool) -> dict[str, str]:
    try:
        answer: dict[str, str] = sts.get_caller_identity()
    except ClientError as error:
        refusal = error.response.get("Error", {})
        code = refusal.get("Code", "")
        right_time = minutes_off(refusal.get("Message", "")) is None
        if code in REFUSED and right_time and is_aws and _good_at_home(asked):
            region = asked.region.value
            raise CannotConnect(
                f"Region {region} is not enabled for this account.",
                means=f"AWS takes these credentials elsewhere, but {region} answered {code}: an opt-in Region must be "
                "enabled in the account before it knows anybody.",
                advice=(
                    f"Enable it: aws account enable-region --region-name {region}",
                    "or name another Region with --region.",
                ),
            ) from error
        raise cannot_connect(error, target.profile) from error
    except NotAWS as error:
        raise _not_aws(sts, error.what) from error
    except Exception as error:
        if isinstance(error, BotoCoreError | OSError) or is_of_credentials(error):
            raise cannot_connect(error, target.profile) from error
        raise
    if not answer.get("Account") or not answer.get("Arn", "").startswith("arn:"):
        raise _not_aws(sts, "GetCallerIdentity came back without an account")
    return answer


def _not_aws(sts: Any, how: str) -> CannotConnect:
    return CannotConnect(
        f"What answers at {sts.meta.endpoint_url} is not AWS: {how.rstrip('.')}.",
        means="A proxy or a captive portal may stand between, or the endpoint is something else.",
        advice=("Check the network, --region and --endpoint-url.",),
    )


def _good_at_home(asked: _Asked) -> bool:
    """Whether the same credentials are good in a Region that no account has to enable."""
    home = HOME_REGION.get(_partition(asked.session, asked.region.value))
    if home is None or home == asked.region.value:
        return False
    try:
        asked.session.client("sts", region_name=home, config=client_config()).get_caller_identity()
    except (ClientError, BotoCoreError, ResponseParserError, LookupError):
        return False  # refused there, too, or no answer of AWS
    return True


def _partition(session: boto3.Session, region: str) -> str:
    try:
        return str(session.get_partition_for_region(region))
    except BotoCoreError:
        return "aws"


def _dns_suffix(session: boto3.Session, partition: str) -> str:
    """amazonaws.com, amazonaws.com.cn, ...: from the list of partitions that botocore ships."""
    for listed in session._session.get_data("partitions")["partitions"]:
        if listed["id"] == partition:
            return str(listed["outputs"]["dnsSuffix"])
    return "amazonaws.com"


# The hosts of the services that are called, in each partition, of interface endpoints and of an account's DynamoDB.
# Below AWS's domains customers have names, too: of a bucket, an API, a load balancer.
# https://docs.aws.amazon.com/general/latest/gr/rande.html
AWS_HOST = re.compile(
    r"(vpce-[\w-]+\.)?(iam|sts|dynamodb|sqs|queue|lambda|apigateway|logs|\d{12}\.ddb)(-fips)?"
    r"(\.([a-z]{2,8}(-[a-z]+)+(-\d)?|global))?(\.vpce)?"
    r"\.(amazonaws\.com(\.cn)?|amazonaws\.eu|api\.aws|api\.amazonwebservices\.(com\.cn|eu)"
    r"|([a-z-]+\.)*(c2s\.ic\.gov|sc2s\.sgov\.gov|hci\.ic\.gov|adc-e\.uk))"
    r"|[a-z]{2}(-[a-z]+)+-\d\.queue\.amazonaws\.com(\.cn)?"
)


def _is_aws(url: str) -> bool:
    return AWS_HOST.fullmatch(urlsplit(url).hostname or "") is not None


@contextmanager
def _no_aws_environment() -> Iterator[None]:
    """Inside the block sessions and clients see nothing of the user's AWS environment and files."""
    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("AWS_", "BOTO_"))}
    substitutes = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Without it DynamoDB's host name would contain the account.
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    }
    os.environ.update(substitutes)
    try:
        yield
    finally:
        for name in substitutes:
            del os.environ[name]
        os.environ.update(saved)
