"""What parliament, a linter for IAM policies, finds in the documents of policies/: nothing but what is argued here."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from provision import BESIDE
from provision.documents import policy_document
from provision.settings import Settings

parliament: Any = pytest.importorskip("parliament", reason="parliament comes with the extra [heavy]")
pytestmark = pytest.mark.heavy

PLACE = SimpleNamespace(partition="aws", region="us-east-1", account_id="123456789012")

# Whoever builds the walkthrough makes roles and code that runs with them: that is what it is about. boundary.json and
# the condition iam:PermissionsBoundary bound what such a role may do; docs/how-to/account-rules.md.
MAKES_ROLES = {"PERMISSIONS_MANAGEMENT_ACTIONS", "PRIVILEGE_ESCALATION"}
ACCEPTED = {
    "operator-build": {
        *MAKES_ROLES,
        "RESOURCE_STAR",  # actions that AWS lets nobody limit to a resource, such as listing
        "MISMATCHED_TYPE_BUT_USABLE",  # StringEquals on an ARN compares the whole text, which is meant
    },
    "operator-adopt": MAKES_ROLES,  # puts back the version of a policy and the role that were there before
    "operator-read": {"RESOURCE_MISMATCH"},  # GetResourcePolicy takes a table, too; parliament knows streams only
    "POC-Queue": {"INVALID_SID"},  # the console's own ids, with underscores, which SQS takes
    "POC-API": {
        "INVALID_ARN",
        "MISMATCHED_TYPE",
    },  # execute-api:/* is API Gateway's short form; a run fills the network in
    "trust-apigateway": {"MALFORMED"},  # a trust policy has no Resource; parliament knows none
    "trust-lambda": {"MALFORMED"},
}


def findings(name: str, *, as_written: bool = False) -> set[str]:
    """The kinds of what parliament finds in policies/NAME.json."""
    document = policy_document(name, PLACE, Settings(learner="ann", as_written=as_written))
    analyzed = parliament.analyze_policy_string(json.dumps(document), include_community_auditors=True)
    return {finding.issue for finding in analyzed.findings}


@pytest.mark.parametrize("name", sorted(path.stem for path in (BESIDE / "policies").glob("*.json")))
def test_each_finding_in_a_policy_is_argued_and_each_argument_is_needed(name: str) -> None:
    assert findings(name) == ACCEPTED.get(name, set())


@pytest.mark.parametrize("name", ["Lambda-Read-SQS", "Lambda-Write-DynamoDB"])
def test_what_the_walkthrough_pastes_is_found(name: str) -> None:
    assert findings(name, as_written=True) == {"RESOURCE_STAR"}
