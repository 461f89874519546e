"""The policies for whoever runs the suite: what stands in them is what the code calls, no more and no less."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import pytest

from provision import BESIDE
from provision.documents import fill, grants, policy_document
from provision.settings import AccountRules, Settings
from sandbox.iam.iam import TAGGED_AT_CREATION
from sandbox.protocol.operations import model
from tests.rig.calls_in_code import Named, calls_in, looks, restores

OPERATOR = ("operator-build", "operator-read", "operator-adopt", "operator-key")
LARGEST = 6144  # characters of a managed policy, without white space

STEPS = calls_in("provision/*.py", "provision/aws/api_definition.py")
INVENTORY = calls_in("provision/account/inventory.py", "provision/account/conflicts.py", "provision/aws/connect.py")
TESTS = calls_in("provision/account/smoke_tests.py", "provision/account/request_trace.py")
TEARDOWN = calls_in("teardown/*.py", where=lambda name: not restores(name))
RESTORE = calls_in("teardown/*.py", where=restores)
OTHER = calls_in("provision/account/*.py") - TESTS
EXERCISE = calls_in("provision/exercise/faults.py", "provision/exercise/exercise.py")

# What the build policy leaves to the owner of the account: who may lift the boundary may do anything.
NOT_FOR_BUILDERS = {"iam:DeleteRolePermissionsBoundary"}

# The status of the table counts its items.
COUNTED = {("dynamodb", "Scan")}


class Somewhere:
    partition, region, account_id = "aws-us-gov", "ap-southeast-2", "123456789012"


def action(service: str, operation: str) -> str:
    """The action that a call takes. Of API Gateway it is the verb."""
    if service == "apigateway":
        return f"apigateway:{model(service)['operations'][operation]['http']['method']}"
    return f"{service}:{'InvokeFunction' if operation == 'Invoke' else operation}"


def taken(calls: Iterable[Named]) -> set[str]:
    """The actions that these calls take, with those of the tags that they put on what they create."""
    found = {action(*call) for call in calls}
    at_creation = {
        TAGGED_AT_CREATION[f"{service} {name}"] for service, name in calls if f"{service} {name}" in TAGGED_AT_CREATION
    }
    passes = (
        {"iam:PassRole"} if {("lambda", "CreateFunction"), ("apigateway", "PutIntegration")} & set(calls) else set()
    )
    # The requests to the URL are no calls, and with --auth iam they are signed.
    invokes = {"execute-api:Invoke"} if ("apigateway", "TestInvokeMethod") in set(calls) else set()
    # To set the resource policy takes an action of its own beside the verb.
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies-create-attach.html
    limits = {"apigateway:UpdateRestApiPolicy"} if ("apigateway", "UpdateRestApi") in set(calls) else set()
    return found | at_creation | passes | invokes | limits


def reads(calls: Iterable[Named]) -> set[Named]:
    return {one for one in calls if re.match("Get|List|Describe|Simulate", one[1])}


def granted(name: str) -> set[str]:
    """The actions in a policy, spelled as it spells them."""
    statements = json.loads((BESIDE / "policies" / f"{name}.json").read_text())["Statement"]
    return {
        one
        for statement in statements
        for one in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def differences(name: str, calls: Iterable[Named], beside: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """What is called and not granted, and what is granted and not called."""
    needed, has = taken(calls) - set(beside), granted(name)
    return sorted(needed - has), sorted(has - needed)


def test_who_builds_has_what_is_called_and_no_more() -> None:
    calls = STEPS | TESTS | TEARDOWN | INVENTORY | EXERCISE
    assert differences("operator-build", calls, NOT_FOR_BUILDERS) == ([], [])


def test_who_reads_has_what_is_called_and_no_more() -> None:
    assert differences("operator-read", reads(STEPS | INVENTORY | OTHER) | looks() | COUNTED) == ([], [])


def test_who_adopts_has_beside_that_what_puts_things_back() -> None:
    missing, spare = differences("operator-adopt", RESTORE)
    assert set(missing) <= granted("operator-build") and spare == []


def paths_taken(calls: Iterable[Named]) -> set[tuple[str, str]]:
    """The verb and the path of each call about API keys and usage plans, ids as *."""
    found = set()
    for service, name in calls:
        http = model(service)["operations"][name]["http"] if service == "apigateway" else {"requestUri": ""}
        if re.match("/(apikeys|usageplans)", http["requestUri"]):
            found.add((http["method"], re.sub(r"/\{.*", "/*", http["requestUri"])))
    return found


def test_who_asks_for_a_key_has_what_is_called_and_no_more() -> None:
    (statement,) = json.loads((BESIDE / "policies" / "operator-key.json").read_text())["Statement"]
    resources = {re.sub(".*::", "", one) for one in statement["Resource"]}
    called = paths_taken(STEPS | TESTS | TEARDOWN | INVENTORY)
    assert {path for _, path in called} == resources
    assert {f"apigateway:{verb}" for verb, _ in called} == set(statement["Action"])
    assert not paths_taken({("apigateway", "CreateRestApi"), ("iam", "CreateRole")})
    assert paths_taken({("apigateway", "DeleteUsagePlanKey")}) == {("DELETE", "/usageplans/*")}


def test_a_call_without_its_permission_and_a_permission_without_its_call_are_seen() -> None:
    missing, spare = differences("operator-build", (STEPS | {("sqs", "PurgeQueue")}) - {("sqs", "CreateQueue")})
    assert missing == ["iam:DeleteRolePermissionsBoundary", "sqs:PurgeQueue"]
    assert {"sqs:CreateQueue", "dynamodb:DeleteTable"} <= set(spare)


def test_what_limits_the_roles_allows_what_their_policies_allow_and_no_more() -> None:
    settings = Settings(learner="anna")
    limit = grants(policy_document("boundary", Somewhere(), settings))
    wanted = set()
    for name in ("Lambda-Write-DynamoDB", "Lambda-Read-SQS", "POC-Queue"):
        for effect, what, principal, resource, condition in grants(policy_document(name, Somewhere(), settings)) or ():
            if not principal.endswith(":root") and effect == "Allow":
                wanted.add((effect, what, "", resource, condition))
    assert limit == wanted


@pytest.mark.parametrize("name", [*OPERATOR, "boundary"])
def test_each_fits_into_a_managed_policy_and_names_the_deployment(name: str) -> None:
    settings = Settings(learner="x" * 39)
    document = policy_document(name, Somewhere(), settings)
    assert len(re.sub(r"\s", "", json.dumps(document))) <= LARGEST
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow" and not any("*" in one for one in granted(name))
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        scoped = all(settings.learner in one for one in resources)
        # What AWS lets nobody scope by name: lists, triggers and REST APIs, which have no names in their ARNs.
        unnamed = {"Lists", "Trigger", "Triggers", "Api", "ApiTags", "Keys", "Function", "Url"}
        assert scoped or statement["Sid"] in unnamed, statement["Sid"]


def test_a_builder_creates_no_role_without_the_boundary_and_attaches_only_the_three_policies() -> None:
    text = (BESIDE / "policies" / "operator-build.json").read_text()
    statements = {one["Sid"]: one for one in json.loads(text)["Statement"]}
    assert "iam:PermissionsBoundary" in statements["RolesWithinTheBoundary"]["Condition"]["StringEquals"]
    assert len(statements["PoliciesOnRoles"]["Condition"]["ArnLike"]["iam:PolicyARN"]) == 3
    alone = {"iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:AttachRolePolicy", "iam:PassRole"}
    for statement in statements.values():
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        assert not alone & set(actions) or "Condition" in statement


def test_the_placeholders_are_those_that_the_guide_replaces() -> None:
    guide = (BESIDE / "docs" / "how-to" / "account-rules.md").read_text()
    values = dict.fromkeys(re.findall(r"s/<([^<>]+)>/", guide), "x")
    assert values
    for name in (*OPERATOR, "boundary"):
        fill(json.loads((BESIDE / "policies" / f"{name}.json").read_text()), values)


def test_a_role_that_is_given_is_named_by_the_documents() -> None:
    rules = AccountRules(lambda_role_arn="arn:aws-us-gov:iam::123456789012:role/given/fn", role_path="/training/")
    document = json.dumps(policy_document("POC-Queue", Somewhere(), Settings(rules=rules)))
    assert ":role/given/fn" in document and ":role/training/APIGateway-SQS" in document
