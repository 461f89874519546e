"""With the policies for operators, and nothing else, the whole life of a deployment: the sandbox enforces them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision import BESIDE
from provision.documents import policy_document
from provision.settings import Settings
from provision.terminal import outcome
from sandbox import Sandbox
from tests.local_aws.sandbox_account import zipped
from tests.rig.command_line import CommandLine, Ended
from tests.rig.deployment import ACCOUNT, REGION

pytestmark = pytest.mark.usefixtures("one_look")

Document = dict[str, Any]


class Here:
    partition, region, account_id = "aws", REGION, ACCOUNT


class Operator(CommandLine):
    """A deployment whose command line is run by an IAM user, with the policies that `allow` gives, and no others.

    `aws` is still the stranger who may do everything.
    """

    def __init__(self, sandbox: Sandbox, path: Path, learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(sandbox, path, learner, monkeypatch)
        self.user = f"operator-{learner}"
        self.aws.iam.create_user(UserName=self.user)
        made = self.aws.iam.create_access_key(UserName=self.user)["AccessKey"]
        self.keys = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
        self.boundary = f"arn:aws:iam::{ACCOUNT}:policy/POC-Boundary"
        self.limited = ["--yes", "--permissions-boundary", self.boundary]
        for name, value in self.keys.items():
            monkeypatch.setenv(name, value)

    def allow(self, *names: str, without: str = "") -> None:
        """The user has these policies, without this action."""
        for old in self.aws.iam.list_user_policies(UserName=self.user)["PolicyNames"]:
            self.aws.iam.delete_user_policy(UserName=self.user, PolicyName=old)
        for name in names:
            document = less(policy_document(name, Here(), self.settings), without)
            self.aws.iam.put_user_policy(UserName=self.user, PolicyName=name, PolicyDocument=json.dumps(document))

    def limit(self) -> None:
        """The account's owner makes the boundary, for this learner alone."""
        document = json.dumps(policy_document("boundary", Here(), self.settings))
        try:
            self.aws.iam.create_policy(PolicyName="POC-Boundary", PolicyDocument=document)
        except self.aws.iam.exceptions.EntityAlreadyExistsException:
            versions = self.aws.iam.list_policy_versions(PolicyArn=self.boundary)["Versions"]
            for version in versions:
                if not version["IsDefaultVersion"]:
                    self.aws.iam.delete_policy_version(PolicyArn=self.boundary, VersionId=version["VersionId"])
            self.aws.iam.create_policy_version(PolicyArn=self.boundary, PolicyDocument=document, SetAsDefault=True)

    @property
    def left(self) -> dict[str, Any]:
        assert self.settings.learner
        found = self.aws.inventory(self.settings.learner)
        return {kind: names for kind, names in found.items() if names}


def less(document: Document, action: str) -> Document:
    """The document without an action."""
    kept = []
    for statement in document["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        rest = [one for one in actions if one != action]
        kept += [{**statement, "Action": rest}] if rest else []
    return {**document, "Statement": kept}


def actions_of(name: str) -> list[str]:
    statements = json.loads((BESIDE / "policies" / f"{name}.json").read_text())["Statement"]
    listed = (one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements)
    return sorted({action for actions in listed for action in actions})


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(enforced_users=["*"]) as running:
        yield running


@pytest.fixture
def operator(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    with Operator(sandbox, tmp_path / "ledger.json", f"o{secrets.token_hex(3)}", monkeypatch) as made:
        made.limit()
        yield made


def disturb(operator: Operator) -> None:
    """Somebody changes what the steps update: each of their writes is needed to put it right."""
    aws, names = operator.aws, operator.settings
    open_ = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}], "Version": "2012-10-17"}
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{names.write_policy}"
    for _ in range(4):
        aws.iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(open_), SetAsDefault=True)
    aws.iam.update_assume_role_policy(
        RoleName=names.api_role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    aws.iam.delete_role_permissions_boundary(RoleName=names.api_role)
    aws.dynamodb.update_table(
        TableName=names.table,
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    url = operator.outputs("queue")["url"]
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "90"})
    aws.logs.put_retention_policy(logGroupName=names.log_group, retentionInDays=1)
    aws.lambda_.update_function_configuration(FunctionName=names.function, MemorySize=256)
    aws.lambda_.remove_permission(FunctionName=names.function, StatementId=names.permission)
    aws.lambda_.add_permission(
        FunctionName=names.function,
        StatementId=names.permission,
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
    )
    aws.lambda_.update_event_source_mapping(UUID=operator.outputs("trigger")["id"], BatchSize=1)
    api = operator.outputs("api")["id"]
    aws.apigateway.update_rest_api(
        restApiId=api, patchOperations=[{"op": "replace", "path": "/disableExecuteApiEndpoint", "value": "true"}]
    )


def change_code(operator: Operator) -> None:
    """Then a tag cannot be missing too: of a function without a tag the code says whose it is."""
    code = operator.aws.lambda_.get_function(FunctionName=operator.settings.function)["Configuration"]["CodeSha256"]
    operator.aws.lambda_.update_function_code(FunctionName=operator.settings.function, ZipFile=zipped("other = 1"))
    assert (
        operator.aws.lambda_.get_function(FunctionName=operator.settings.function)["Configuration"]["CodeSha256"]
        != code
    )


def life(operator: Operator) -> Iterator[Ended]:
    """Build, run again, put right what somebody changed, trace; each part as it ended."""
    yield operator.provision(*operator.limited)
    yield operator.provision("--yes", "--no-try")
    disturb(operator)
    yield operator.provision("--yes", "--no-try", "--tag", "Team=Red")
    change_code(operator)
    yield operator.provision("--yes", "--auth", "iam", "--source-ip", "127.0.0.0/8")
    yield operator.provision("trace")


def refusing(parts: Iterator[Ended]) -> Ended | None:
    """The first part that did not end well, if any."""
    return next((ended for ended in parts if ended.code != outcome.DONE), None)


def test_a_builder_builds_updates_tests_traces_and_takes_down(operator: Operator) -> None:
    operator.allow("operator-build")
    stopped = refusing(life(operator))
    assert stopped is None, stopped.said
    down = operator.take_down()
    assert down.code == outcome.DONE, down.said
    assert operator.left == {}


def test_a_builder_with_the_policy_for_keys_has_a_key_from_the_build_to_the_teardown(operator: Operator) -> None:
    operator.allow("operator-build")
    refused = operator.provision(*operator.limited, "--auth", "api-key", "--no-try")
    assert refused.code != outcome.DONE and "not authorized to perform: apigateway:GET on resource" in refused.flat
    operator.allow("operator-build", "operator-key")
    key = {"op": "replace", "path": "/enabled", "value": "false"}
    assert operator.provision("--yes").code == outcome.DONE
    operator.aws.apigateway.update_api_key(apiKey=operator.outputs("api-key")["id"], patchOperations=[key])
    for given in (["--yes", "--tag", "Team=Red", "--throttle", "5"], ["trace"]):
        ended = operator.provision(*given)
        assert ended.code == outcome.DONE, ended.said
    down = operator.take_down()
    assert down.code == outcome.DONE, down.said
    assert operator.left == {} and operator.aws.apigateway.get_api_keys()["items"] == []


def test_a_builder_gets_no_role_without_the_boundary(operator: Operator) -> None:
    operator.allow("operator-build")
    refused = operator.provision("--yes")
    assert refused.code != outcome.DONE and "iam:CreateRole" in refused.flat
    assert operator.take_down().code == outcome.DONE and operator.left == {}


def test_a_builder_of_one_name_reaches_nothing_of_another(operator: Operator) -> None:
    operator.allow("operator-build")
    mine, operator.settings = operator.settings, Settings(learner="somebody")
    refused = operator.provision(*operator.limited)
    operator.settings = mine
    assert refused.code != outcome.DONE and refused.writes == [] and "not authorized" in refused.flat


def test_a_reader_asks_everything_and_changes_nothing(operator: Operator) -> None:
    operator.allow("operator-build")
    assert operator.provision(*operator.limited, "--no-try").code == outcome.DONE
    operator.allow("operator-read")
    for command in (["status"], ["--dry-run"], ["check"], ["doctor"]):
        ended = operator.provision(*command)
        assert ended.code == outcome.DONE, ended.said
        assert "AccessDenied" not in ended.said + ended.told
    assert operator.take_down().code != outcome.DONE
    operator.allow("operator-build")
    assert operator.take_down().code == outcome.DONE and operator.left == {}


def test_who_adopts_can_put_things_back(operator: Operator) -> None:
    names, aws = operator.settings, operator.aws
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}], "Version": "2012-10-17"}
    aws.iam.create_policy(PolicyName=names.write_policy, PolicyDocument=json.dumps(document))
    aws.iam.create_role(
        RoleName=names.function_role,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    aws.dynamodb.create_table(
        TableName=names.table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    aws.sqs.create_queue(QueueName=names.queue)
    aws.logs.create_log_group(logGroupName=names.log_group)
    before = operator.left
    keys = [("--adopt", key) for key in ("write-policy", "function-role", "table", "queue", "log-group")]
    operator.allow("operator-build", "operator-adopt")
    built = operator.provision(*operator.limited, "--no-try", *(word for pair in keys for word in pair))
    assert built.code == outcome.DONE, built.said
    down = operator.take_down()
    assert down.code == outcome.DONE, down.said
    assert operator.left == before


# Actions without which all of this works. An alias that cannot be read is left out of the banner. Only `trace --poison`
# takes out a message, and it waits for minutes. `trace` goes on where it sees no log. Streams are looked at where a log
# group comes back after its deletion. Only `heal` makes another version of a policy the default.
NOT_SEEN = {
    "iam:ListAccountAliases",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "logs:FilterLogEvents",
    "logs:DescribeLogStreams",
    "iam:SetDefaultPolicyVersion",
}
SAMPLE = ("iam:TagPolicy", "iam:PassRole", "sqs:TagQueue")


@pytest.mark.parametrize(
    "action",
    [
        action if action in SAMPLE else pytest.param(action, marks=pytest.mark.slow)
        for action in actions_of("operator-build")
        if action not in NOT_SEEN
    ],
)
def test_without_one_action_a_part_fails_names_it_and_leaves_nothing_once_it_is_back(
    operator: Operator, action: str
) -> None:
    operator.allow("operator-build", without=action)
    said: list[str] = []

    def note(ended: Ended) -> bool:
        said.append(ended.said + ended.told)
        return ended.code != outcome.DONE

    stopped = any(note(ended) for ended in life(operator))
    if not stopped:
        stopped = note(operator.take_down())
    assert stopped, f"nothing failed without {action}"
    told = " ".join(said[-1].split())
    # SQS writes its actions in small letters.
    assert f"not authorized to perform: {action.lower() if action.startswith('sqs:') else action} on resource: " in told
    operator.allow("operator-build")
    down = operator.take_down()
    if "carries no tag" in down.flat:  # the part had stopped before it put the tags back
        operator.provision(*operator.limited, "--no-try")
        down = operator.take_down()
    assert down.code == outcome.DONE, down.said
    assert operator.left == {}
