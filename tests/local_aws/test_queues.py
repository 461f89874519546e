"""What the sandbox adds to moto's queues."""

from __future__ import annotations

import json

import pytest

from tests.local_aws.sandbox_account import Account

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "SQS:SendMessage", "Resource": "*"}],
}


def attributes(account: Account, url: str) -> dict[str, str]:
    found: dict[str, str] = account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


def test_setting_one_attribute_leaves_the_access_policy(account: Account) -> None:
    url = account.sqs.create_queue(QueueName="kept", Attributes={"Policy": json.dumps(POLICY)})["QueueUrl"]
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    found = attributes(account, url)
    assert found["VisibilityTimeout"] == "7"
    assert json.loads(found["Policy"]) == POLICY


def test_an_access_policy_can_be_taken_away(account: Account) -> None:
    url = account.sqs.create_queue(QueueName="open", Attributes={"Policy": json.dumps(POLICY)})["QueueUrl"]
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    assert not attributes(account, url).get("Policy")


def test_attributes_of_a_missing_queue_are_refused_in_sqs_words(account: Account) -> None:
    with pytest.raises(account.sqs.exceptions.QueueDoesNotExist):
        account.sqs.set_queue_attributes(
            QueueUrl="http://127.0.0.1/123456789012/never-made", Attributes={"VisibilityTimeout": "7"}
        )
