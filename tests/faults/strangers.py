"""Somebody else's resources: one of every kind, some with our names where names may repeat, all to stay as they are."""

from __future__ import annotations

import json
from typing import Any

from provision.package import source, zipped
from provision.settings import Settings
from tests.faults.account import Account

OTHERS_MARK = "poc-0ther000"  # another deployment of the suite in the same account


def settle(account: Account) -> None:
    """Make them in an empty account. Two strangers: one without tags, one another deployment of this suite."""
    make_all(account, "their", {})
    make_all(account, "other", {"poc-deployment": OTHERS_MARK})
    apigateway = account.clients["apigateway"]
    apigateway.create_rest_api(name=Settings().api)
    apigateway.create_rest_api(name=Settings().api, tags={"poc-deployment": OTHERS_MARK})
    key = apigateway.create_api_key(name=Settings().api_key, enabled=True)["id"]
    plan = apigateway.create_usage_plan(name=Settings().usage_plan, tags={"poc-deployment": OTHERS_MARK})["id"]
    apigateway.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")


def make_all(account: Account, who: str, tags: dict[str, str]) -> None:
    clients = account.clients
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    iam, lambda_, apigateway = clients["iam"], clients["lambda"], clients["apigateway"]
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["sqs:*", "dynamodb:*", "logs:*"], "Resource": "*"}],
    }
    policy = iam.create_policy(PolicyName=f"{who}-policy", PolicyDocument=json.dumps(document), Tags=listed)["Policy"]
    role = iam.create_role(
        RoleName=f"{who}-role", AssumeRolePolicyDocument=json.dumps(trust("lambda.amazonaws.com")), Tags=listed
    )["Role"]
    iam.attach_role_policy(RoleName=f"{who}-role", PolicyArn=policy["Arn"])
    clients["dynamodb"].create_table(
        TableName=f"{who}-table",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        **({"Tags": listed} if listed else {}),
    )
    clients["dynamodb"].put_item(TableName=f"{who}-table", Item={"id": {"S": "1"}})
    clients["sqs"].create_queue(QueueName=f"{who}-queue", **({"tags": tags} if tags else {}))
    clients["logs"].create_log_group(logGroupName=f"{Settings().log_group}-{who}", **({"tags": tags} if tags else {}))
    lambda_.create_function(
        FunctionName=f"{who}-function",
        Runtime="python3.13",
        Role=role["Arn"],
        Handler="lambda_function.lambda_handler",
        Code={"ZipFile": zipped(source(Settings()))},
        Tags=tags,
    )
    lambda_.add_permission(
        FunctionName=f"{who}-function",
        StatementId="API-invoke",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
    )
    lambda_.create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:us-east-1:123456789012:{who}-queue", FunctionName=f"{who}-function", Tags=tags
    )
    api = apigateway.create_rest_api(name=f"{who}-api", **({"tags": tags} if tags else {}))
    root = apigateway.get_resources(restApiId=api["id"])["items"][0]["id"]
    apigateway.put_method(restApiId=api["id"], resourceId=root, httpMethod="GET", authorizationType="NONE")
    apigateway.put_integration(restApiId=api["id"], resourceId=root, httpMethod="GET", type="MOCK")
    apigateway.create_deployment(restApiId=api["id"], stageName=Settings().stage)


def trust(service: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }


def drift(account: Account) -> None:
    """Change everything of ours that an updating run puts right again, as somebody with a console might."""
    clients, settings = account.clients, Settings()
    iam, lambda_, apigateway = clients["iam"], clients["lambda"], clients["apigateway"]
    arn = "arn:aws:iam::123456789012:policy/"
    narrow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}
    mapping = lambda_.list_event_source_mappings(FunctionName=settings.function)["EventSourceMappings"][0]["UUID"]
    lambda_.update_event_source_mapping(UUID=mapping, FunctionName="their-function", BatchSize=3, Enabled=False)
    for name in (settings.write_policy, settings.read_policy):
        iam.create_policy_version(PolicyArn=arn + name, PolicyDocument=json.dumps(narrow), SetAsDefault=True)
    for _ in range(3):  # full: a version must go before another can come
        iam.create_policy_version(
            PolicyArn=arn + settings.read_policy, PolicyDocument=json.dumps(narrow), SetAsDefault=True
        )
    iam.update_assume_role_policy(RoleName=settings.api_role, PolicyDocument=json.dumps(trust("events.amazonaws.com")))
    iam.detach_role_policy(RoleName=settings.function_role, PolicyArn=arn + settings.write_policy)
    clients["dynamodb"].update_table(
        TableName=settings.table,
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    sqs = clients["sqs"]
    queue = sqs.get_queue_url(QueueName=settings.queue)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "77"})
    dead = sqs.get_queue_url(QueueName=settings.dead_letter_queue)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"MessageRetentionPeriod": "120"})
    clients["logs"].put_retention_policy(logGroupName=settings.log_group, retentionInDays=3)
    lambda_.update_function_configuration(FunctionName=settings.function, Timeout=9)
    lambda_.update_function_code(FunctionName=settings.function, ZipFile=zipped(b"pass"))
    lambda_.remove_permission(FunctionName=settings.function, StatementId=settings.permission)
    ours = next(
        api["id"]
        for api in apigateway.get_rest_apis(limit=500)["items"]
        if api["name"] == settings.api and api.get("tags", {}).get("poc-deployment") not in (None, OTHERS_MARK)
    )
    apigateway.update_rest_api(restApiId=ours, patchOperations=[{"op": "replace", "path": "/name", "value": "renamed"}])
    resources = {one["path"]: one["id"] for one in apigateway.get_resources(restApiId=ours, limit=500)["items"]}
    apigateway.delete_integration(restApiId=ours, resourceId=resources[f"/{settings.path_part}"], httpMethod="POST")
    apigateway.delete_method(
        restApiId=ours, resourceId=resources[f"/{settings.path_part}/{settings.queue_path_part}"], httpMethod="POST"
    )
