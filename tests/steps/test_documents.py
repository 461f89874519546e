"""Policy documents: filled in without changing their structure, and compared by what they mean."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provision import BESIDE
from provision.aws.calls import Calls
from provision.aws.clients import Clients, Target
from provision.aws.connect import connect
from provision.documents import PLACEHOLDER, fill, policy_document, same_meaning
from provision.settings import Settings
from sandbox import Sandbox

ROLE = "arn:aws:iam::123456789012:role/APIGateway-SQS"
DOCUMENT: dict[str, Any] = {
    "Version": "2012-10-17",
    "Id": "__default_policy_ID",
    "Statement": [
        {
            "Sid": "__owner_statement",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
            "Action": "SQS:*",
            "Resource": "arn:aws:sqs:us-east-1:123456789012:POC-Queue",
        },
        {
            "Sid": "__sender_statement",
            "Effect": "Allow",
            "Principal": {"AWS": [ROLE]},
            "Action": ["SQS:SendMessage", "SQS:GetQueueUrl"],
            "Resource": ["arn:aws:sqs:us-east-1:123456789012:POC-Queue"],
            "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}, "Bool": {"aws:Secure": True}},
        },
    ],
}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


def sender(**elements: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["Statement"][1].update(elements)


SAME: dict[str, Callable[[dict[str, Any]], object]] = {
    "list of one, as text": sender(Principal={"AWS": ROLE}, Resource="arn:aws:sqs:us-east-1:123456789012:POC-Queue"),
    "text, as list of one": lambda it: it["Statement"][0].update(Action=["SQS:*"]),
    "order of actions": sender(Action=["SQS:GetQueueUrl", "SQS:SendMessage"]),
    "case of actions": sender(Action=["sqs:sendmessage", "SQS:GETQUEUEURL"]),
    "an action twice": sender(Action=["SQS:SendMessage", "sqs:SendMessage", "SQS:GetQueueUrl"]),
    "order of statements": lambda it: it["Statement"].reverse(),
    "order of elements": lambda it: it.update(Statement=[dict(reversed(one.items())) for one in it["Statement"]]),
    "another Sid": sender(Sid="Stmt1234"),
    "no Sid": lambda it: it["Statement"][1].pop("Sid"),
    "no Id": lambda it: it.pop("Id"),
    "case of condition keys": sender(
        Condition={"StringEquals": {"AWS:SourceAccount": ["123456789012"]}, "Bool": {"aws:secure": "true"}}
    ),
}
OTHER: dict[str, Callable[[dict[str, Any]], object]] = {
    "no Version": lambda it: it.pop("Version"),
    "older Version": lambda it: it.update(Version="2008-10-17"),
    "an action more": sender(Action=["SQS:SendMessage", "SQS:GetQueueUrl", "SQS:PurgeQueue"]),
    "an action less": sender(Action="SQS:SendMessage"),
    "denied": sender(Effect="Deny"),
    "another resource": sender(Resource="*"),
    "case of a resource": sender(Resource="arn:aws:sqs:us-east-1:123456789012:poc-queue"),
    "a dead role's id": sender(Principal={"AWS": "AROAEXAMPLE1234567890"}),
    "everybody": sender(Principal="*"),
    "a service": sender(Principal={"Service": ROLE}),
    "all but": lambda it: it["Statement"][1].update(NotPrincipal=it["Statement"][1].pop("Principal")),
    "all actions but": lambda it: it["Statement"][1].update(NotAction=it["Statement"][1].pop("Action")),
    "no condition": lambda it: it["Statement"][1].pop("Condition"),
    "another account": sender(Condition={"StringEquals": {"aws:SourceAccount": "999999999999"}}),
    "another operator": sender(Condition={"StringLike": {"aws:SourceAccount": "123456789012"}}),
    "a statement more": lambda it: it["Statement"].append(it["Statement"][0] | {"Effect": "Deny"}),
    "a statement less": lambda it: it["Statement"].pop(),
}


@pytest.mark.parametrize("spelling", SAME)
def test_another_spelling_means_the_same(spelling: str) -> None:
    other = changed(SAME[spelling])
    assert json.dumps(other) != json.dumps(DOCUMENT)
    assert same_meaning(DOCUMENT, other)
    assert same_meaning(json.dumps(other), DOCUMENT)


@pytest.mark.parametrize("change", OTHER)
def test_another_permission_does_not(change: str) -> None:
    other = changed(OTHER[change])
    assert not same_meaning(DOCUMENT, other)
    assert not same_meaning(other, json.dumps(DOCUMENT))


def test_one_statement_alone_means_a_list_of_it() -> None:
    only = changed(lambda it: it["Statement"].pop())
    assert same_meaning(only, only | {"Statement": only["Statement"][0]})


def test_everybody_is_everybody_in_both_spellings() -> None:
    assert same_meaning(changed(sender(Principal="*")), changed(sender(Principal={"AWS": "*"})))


@pytest.mark.parametrize("nothing", ["", "{}", "null", "not JSON", None, {}])
def test_no_document_means_nothing_of_ours(nothing: Any) -> None:
    assert not same_meaning(nothing, DOCUMENT)
    assert not same_meaning(DOCUMENT, nothing)


@pytest.mark.parametrize("odd", ["[]", '"x"', '{"Statement": ["x"]}', '{"Statement": [{"Condition": "x"}]}', [], 7])
def test_a_malformed_document_differs_and_breaks_nothing(odd: Any) -> None:
    assert not same_meaning(odd, DOCUMENT)


# Filling in.


def test_placeholders_are_replaced_and_nothing_else() -> None:
    document = {
        "Resource": ["arn:<partition>:sqs:<region>:<account ID>:<queue>", "plain"],
        "n": 1,
        "t": True,
        "x": None,
    }
    values = {"partition": "aws", "region": "us-east-1", "account ID": "1", "queue": "q", "unused": "u"}
    assert fill(document, values) == {"Resource": ["arn:aws:sqs:us-east-1:1:q", "plain"], "n": 1, "t": True, "x": None}
    assert "<queue>" in document["Resource"][0]  # the original is left as it was


@pytest.mark.parametrize(
    "value", ['"', '", "Effect": "Deny', "}", "\\", "\n", "<region>", '"},{"Effect":"Allow","Action":"*"', "'", "ü"]
)
def test_no_value_changes_the_structure(value: str) -> None:
    filled = fill({"Statement": [{"Resource": "arn:<name>:x"}]}, {"name": value})
    assert filled == {"Statement": [{"Resource": f"arn:{value}:x"}]}
    assert json.loads(json.dumps(filled)) == filled


def test_a_placeholder_that_nobody_fills_is_an_error() -> None:
    with pytest.raises(KeyError, match="bucket"):
        fill({"Resource": ["<bucket>"]}, {"queue": "q"})


def test_keys_are_never_filled() -> None:
    assert fill({"<queue>": "x"}, {"queue": "q"}) == {"<queue>": "x"}


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with Sandbox() as running:
        yield connect(Target(sandbox=(running.id, running.url)), Calls())


NAMES = ["Lambda-Write-DynamoDB", "Lambda-Read-SQS", "POC-Queue", "POC-API", "trust-lambda", "trust-apigateway"]


@pytest.mark.parametrize("as_written", [False, True], ids=["corrected", "as written"])
@pytest.mark.parametrize("name", NAMES)
def test_every_document_is_valid_and_filled(aws: Clients, name: str, as_written: bool) -> None:
    filled = policy_document(name, aws, Settings(learner="alice", as_written=as_written))
    assert filled["Version"] == "2012-10-17"
    assert not PLACEHOLDER.search(json.dumps(filled))
    for statement in filled["Statement"]:
        assert (statement["Effect"] == "Deny") == (statement.get("Principal") == "*" and "Condition" in statement)


def test_every_file_of_policies_is_one_of_these() -> None:
    folder = BESIDE / "policies"
    files = {path.name for path in folder.iterdir() if path.name.endswith(".json")}
    # See test_operator_policies.py.
    for_operators = {"boundary", "operator-adopt", "operator-build", "operator-key", "operator-read"}
    assert files == {f"{name}.json" for name in {*NAMES, *for_operators}}
    written = {path.name for path in (folder / "as-written").iterdir() if path.name.endswith(".json")}
    assert written <= files


def test_corrected_policies_name_this_deployments_resources_and_the_pasted_ones_do_not(aws: Clients) -> None:
    for name, resource in (("Lambda-Write-DynamoDB", "table/name-alice"), ("Lambda-Read-SQS", "POC-Queue-alice")):
        corrected = policy_document(name, aws, Settings(learner="alice"))
        assert all(statement["Resource"] != "*" for statement in corrected["Statement"])
        assert resource in json.dumps(corrected)
        pasted = policy_document(name, aws, Settings(as_written=True))
        assert "*" in [statement["Resource"] for statement in pasted["Statement"]]
        assert not same_meaning(corrected, pasted)
