"""IAM that bites: who is held to policies, which permission each call takes, and AWS's words when it is not granted."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from xml.etree import ElementTree

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from sandbox import Sandbox
from sandbox.iam.iam import Guard, needs
from sandbox.iam.permissions import conditions_hold, matches
from sandbox.protocol.operations import Operation, operation_of
from tests.local_aws.sandbox_account import ACCOUNT, REGION, TRUST, Account, zipped

ROOT = f"arn:aws:iam::{ACCOUNT}:root"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(enforced_users=["operator", "bounded", "learner"]) as running:
        yield running


def statement(effect: str, actions: str | list[str], resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": actions, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def client(account: Account, service: str, credentials: dict[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=account.url,
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials.get("SessionToken"),
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


class Session:
    """A role with these statements, and the clients of somebody who assumed it."""

    def __init__(self, account: Account, *statements: dict[str, Any], **more: Any) -> None:
        self.account = account
        self.role = account.name("session")
        trust = document({"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"})
        self.arn = account.iam.create_role(RoleName=self.role, AssumeRolePolicyDocument=trust, **more)["Role"]["Arn"]
        self.grant(*statements)
        assumed = account.client("sts").assume_role(RoleArn=self.arn, RoleSessionName="me")
        self.credentials = assumed["Credentials"]
        self.user = f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.role}/me"

    def grant(self, *statements: dict[str, Any]) -> None:
        if statements:
            self.account.iam.put_role_policy(RoleName=self.role, PolicyName="all", PolicyDocument=document(*statements))

    def client(self, service: str) -> Any:
        return client(self.account, service, self.credentials)


def refused(call: Any, **parameters: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answered = error.value.response
    return (
        answered["ResponseMetadata"]["HTTPStatusCode"],
        answered["Error"]["Code"],
        answered["Error"].get("Message") or answered.get("message", ""),
    )


def table_arn(name: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


# Condition keys


def test_each_request_is_over_tls_and_to_the_sandboxs_account(account: Account) -> None:
    insecure = statement("Deny", "*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    elsewhere = statement("Deny", "*", Condition={"StringNotEquals": {"aws:ResourceAccount": ACCOUNT}})
    for_services = statement("Deny", "*", Condition={"Bool": {"aws:PrincipalIsAWSService": "true"}})
    secure = statement("Allow", "sqs:ListQueues", Condition={"Bool": {"aws:SecureTransport": "true"}})
    session = Session(account, insecure, elsewhere, for_services, secure)
    session.client("sqs").list_queues()


def test_revoking_a_roles_sessions_ends_those_issued_before(account: Account) -> None:
    """What the console's button "Revoke active sessions" writes (id_roles_use_revoke-sessions)."""
    allowed = statement("Allow", "sqs:ListQueues")
    session = Session(account, allowed)
    session.client("sqs").list_queues()
    time.sleep(0.01)
    moment = datetime.now(timezone.utc).isoformat()
    session.grant(allowed, statement("Deny", "*", Condition={"DateLessThan": {"aws:TokenIssueTime": moment}}))
    assert refused(session.client("sqs").list_queues)[1] == "AccessDenied"
    session.credentials = account.client("sts").assume_role(RoleArn=session.arn, RoleSessionName="me")["Credentials"]
    session.client("sqs").list_queues()


# The handler


def test_a_handler_may_do_what_its_role_may_and_is_told_what_it_may_not(account: Account) -> None:
    """The walkthrough's `list`, whose policy lacks dynamodb:Scan."""
    table = account.table()
    role = account.role(["dynamodb:PutItem", "logs:*"])
    name = account.function(
        "import boto3\n"
        "def lambda_handler(event, context):\n"
        f"    table = boto3.resource('dynamodb').Table('{table}')\n"
        "    table.put_item(Item={'id': '1'})\n"
        "    return table.scan()['Items']\n",
        Role=role,
        Timeout=20,
    )
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{name}"
    answer = account.invoke(name)
    assert answer["errorType"] == "ClientError"
    assert answer["errorMessage"] == (
        "An error occurred (AccessDeniedException) when calling the Scan operation: "
        f"User: {session} is not authorized to perform: dynamodb:Scan on resource: {table_arn(table)} "
        "because no identity-based policy allows the dynamodb:Scan action"
    )
    account.iam.put_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyName="more",
        PolicyDocument=document(statement("Allow", "dynamodb:Scan", table_arn(table))),
    )
    assert account.invoke(name) == [{"id": "1"}]


# In each service's words


def test_each_service_refuses_with_its_own_status_and_code(account: Account) -> None:
    nobody = Session(account)
    url, queue_arn = account.queue()
    table, function = account.table(), account.function("")
    api = account.client("apigateway").create_rest_api(name=account.name("api"))["id"]
    said = f"User: {nobody.user} is not authorized to perform: "

    def why(action: str, resource: str) -> str:
        return f"{said}{action} on resource: {resource} because no identity-based policy allows the {action} action"

    dynamodb = nobody.client("dynamodb")
    assert refused(dynamodb.scan, TableName=table) == (
        400,
        "AccessDeniedException",
        why("dynamodb:Scan", table_arn(table)),
    )
    # SQS alone writes its actions in lower case.
    assert refused(nobody.client("sqs").send_message, QueueUrl=url, MessageBody="x") == (
        403,
        "AccessDenied",
        why("sqs:sendmessage", queue_arn),
    )
    assert refused(nobody.client("iam").get_role, RoleName=nobody.role) == (
        403,
        "AccessDenied",
        why("iam:GetRole", nobody.arn),
    )
    lambda_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
    assert refused(nobody.client("lambda").invoke, FunctionName=function) == (
        403,
        "AccessDeniedException",
        why("lambda:InvokeFunction", lambda_arn),
    )
    assert refused(nobody.client("apigateway").get_rest_api, restApiId=api) == (
        403,
        "AccessDeniedException",
        why("apigateway:GET", f"arn:aws:apigateway:{REGION}::/restapis/{api}"),
    )
    assert refused(nobody.client("logs").describe_log_streams, logGroupName="/g") == (
        400,
        "AccessDeniedException",
        why("logs:DescribeLogStreams", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/g:*"),
    )


def test_sqs_refuses_in_its_older_protocol_too(account: Account) -> None:
    nobody = Session(account)
    url, _ = account.queue()
    key = nobody.credentials["AccessKeyId"]
    request = urllib.request.Request(
        f"{account.url}/",
        data=f"Action=ReceiveMessage&Version=2012-11-05&QueueUrl={url}".encode(),
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/{REGION}/sqs/aws4_request, Signature=0",
        },
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    tree = ElementTree.fromstring(error.value.read())
    texts = {node.tag.rpartition("}")[2]: node.text for node in tree.iter()}
    assert (error.value.code, texts["Code"]) == (403, "AccessDenied")
    assert "sqs:receivemessage" in str(texts["Message"])


def test_everybody_may_ask_who_they_are(account: Account) -> None:
    nobody = Session(account)
    assert nobody.client("sts").get_caller_identity()["Arn"] == nobody.user


# Which policies speak


def test_actions_and_resources_are_matched(account: Account) -> None:
    mine, theirs = account.table(), account.table()
    me = Session(account, statement("Allow", "dynamodb:*Item", table_arn(mine)))
    dynamodb = me.client("dynamodb")
    dynamodb.put_item(TableName=mine, Item={"id": {"S": "1"}})
    assert refused(dynamodb.put_item, TableName=theirs, Item={"id": {"S": "1"}})[1] == "AccessDeniedException"
    assert refused(dynamodb.scan, TableName=mine)[1] == "AccessDeniedException"


def test_to_set_an_apis_policy_takes_a_permission_of_its_own(account: Account) -> None:
    me = Session(account, statement("Allow", ["apigateway:POST", "apigateway:PATCH"]))
    apis = me.client("apigateway")
    policy = document({**statement("Allow", "execute-api:Invoke", "execute-api:/*"), "Principal": "*"})
    name = account.name("api")
    api = apis.create_rest_api(name=name)["id"]
    apis.update_rest_api(restApiId=api, patchOperations=[{"op": "replace", "path": "/description", "value": "x"}])
    limit = [{"op": "replace", "path": "/policy", "value": policy}]
    for ask in (
        lambda: apis.create_rest_api(name=name, policy=policy),
        lambda: apis.update_rest_api(restApiId=api, patchOperations=limit),
    ):
        assert "apigateway:UpdateRestApiPolicy" in refused(ask)[2]
    me.grant(statement("Allow", "apigateway:*"))
    assert apis.update_rest_api(restApiId=api, patchOperations=limit)["policy"]


def test_an_explicit_deny_wins(account: Account) -> None:
    table = account.table()
    me = Session(account, statement("Allow", "*"), statement("Deny", "dynamodb:DeleteItem", table_arn(table)))
    dynamodb = me.client("dynamodb")
    dynamodb.put_item(TableName=table, Item={"id": {"S": "1"}})
    assert refused(dynamodb.delete_item, TableName=table, Key={"id": {"S": "1"}})[2] == (
        f"User: {me.user} is not authorized to perform: dynamodb:DeleteItem on resource: {table_arn(table)} "
        "with an explicit deny in an identity-based policy"
    )


def test_a_change_of_policies_counts_at_once(account: Account) -> None:
    table, me = account.table(), Session(account)
    dynamodb = me.client("dynamodb")
    refused(dynamodb.scan, TableName=table)
    me.grant(statement("Allow", "dynamodb:Scan"))
    assert dynamodb.scan(TableName=table)["Items"] == []
    account.iam.delete_role_policy(RoleName=me.role, PolicyName="all")
    refused(dynamodb.scan, TableName=table)


def test_a_queues_policy_alone_lets_a_role_send_and_its_denial_stops_one_that_may(account: Account) -> None:
    url, arn = account.queue()
    nobody, sender = Session(account), Session(account, statement("Allow", "sqs:*"))
    mine = {**statement("Allow", "sqs:SendMessage", arn), "Principal": {"AWS": nobody.arn}}
    never = {**statement("Deny", "sqs:SendMessage", arn), "Principal": {"AWS": sender.arn}}
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(mine, never)})
    assert nobody.client("sqs").send_message(QueueUrl=url, MessageBody="x")["MessageId"]
    assert refused(nobody.client("sqs").receive_message, QueueUrl=url)[1] == "AccessDenied"
    assert refused(sender.client("sqs").send_message, QueueUrl=url, MessageBody="x")[2].endswith(
        " with an explicit deny in a resource-based policy"
    )
    assert sender.client("sqs").receive_message(QueueUrl=url)["Messages"]


def test_a_queues_policy_that_names_the_account_leaves_it_to_the_roles_own(account: Account) -> None:
    """The console's __owner_statement grants nothing to a role that has no policy."""
    url, arn = account.queue()
    owner = {**statement("Allow", "SQS:*", arn), "Principal": {"AWS": ROOT}}
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(owner)})
    assert refused(Session(account).client("sqs").send_message, QueueUrl=url, MessageBody="x")[1] == "AccessDenied"


def test_a_functions_policy_alone_lets_a_role_invoke(account: Account) -> None:
    function, me = account.function("def lambda_handler(event, context):\n    return 7\n"), Session(account)
    refused(me.client("lambda").invoke, FunctionName=function)
    account.functions.add_permission(
        FunctionName=function, StatementId="me", Action="lambda:InvokeFunction", Principal=me.arn
    )
    assert me.client("lambda").invoke(FunctionName=function)["Payload"].read() == b"7"


def test_a_boundary_limits_what_policies_allow(account: Account) -> None:
    table = account.table()
    bound = account.iam.create_policy(
        PolicyName=account.name("bound"), PolicyDocument=document(statement("Allow", "dynamodb:GetItem"))
    )["Policy"]["Arn"]
    me = Session(account, statement("Allow", "dynamodb:*"), PermissionsBoundary=bound)
    dynamodb = me.client("dynamodb")
    assert "Item" not in dynamodb.get_item(TableName=table, Key={"id": {"S": "1"}})
    assert refused(dynamodb.scan, TableName=table)[2].endswith(
        "because no permissions boundary allows the dynamodb:Scan action"
    )


def test_a_role_is_assumed_by_whom_its_trust_policy_names(account: Account) -> None:
    stranger, friend = Session(account), Session(account)
    trust = document({"Effect": "Allow", "Principal": {"AWS": friend.arn}, "Action": "sts:AssumeRole"})
    role = account.iam.create_role(RoleName=account.name("trusting"), AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    friend.client("sts").assume_role(RoleArn=role, RoleSessionName="me")
    assert refused(stranger.client("sts").assume_role, RoleArn=role, RoleSessionName="me") == (
        403,
        "AccessDenied",
        f"User: {stranger.user} is not authorized to perform: sts:AssumeRole on resource: {role}",
    )


def test_a_role_is_passed_by_those_who_may_to_the_service_that_they_may(account: Account) -> None:
    role = account.role()
    me = Session(account, statement("Allow", "lambda:*"))
    wanted = {
        "FunctionName": account.name("passed"),
        "Runtime": "python3.13",
        "Role": role,
        "Handler": "lambda_function.lambda_handler",
        "Code": {"ZipFile": zipped("")},
    }
    assert refused(me.client("lambda").create_function, **wanted) == (
        403,
        "AccessDeniedException",
        f"User: {me.user} is not authorized to perform: iam:PassRole on resource: {role} "
        "because no identity-based policy allows the iam:PassRole action",
    )

    def passing_to(service: str) -> dict[str, Any]:
        return statement(
            "Allow",
            "iam:PassRole",
            role,
            Condition={"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}},
        )

    me.grant(statement("Allow", "lambda:*"), passing_to("apigateway"))
    refused(me.client("lambda").create_function, **wanted)
    me.grant(statement("Allow", "lambda:*"), passing_to("lambda"))
    assert me.client("lambda").create_function(**wanted)["FunctionName"] == wanted["FunctionName"]


# Users


def user(account: Account, name: str, *statements: dict[str, Any], **more: Any) -> dict[str, str]:
    account.iam.create_user(UserName=name, **more)
    if statements:
        account.iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
    made = account.iam.create_access_key(UserName=name)["AccessKey"]
    return {"AccessKeyId": made["AccessKeyId"], "SecretAccessKey": made["SecretAccessKey"]}


def test_a_named_user_is_held_to_own_attached_and_group_policies_and_others_to_none(account: Account) -> None:
    table = account.table()
    iam = account.iam
    operator = client(account, "dynamodb", user(account, "operator", statement("Allow", "dynamodb:PutItem")))
    operator.put_item(TableName=table, Item={"id": {"S": "1"}})
    assert refused(operator.scan, TableName=table)[2] == (
        f"User: arn:aws:iam::{ACCOUNT}:user/operator is not authorized to perform: dynamodb:Scan on resource: "
        f"{table_arn(table)} because no identity-based policy allows the dynamodb:Scan action"
    )
    attached = iam.create_policy(PolicyName="scans", PolicyDocument=document(statement("Allow", "dynamodb:Scan")))
    iam.attach_user_policy(UserName="operator", PolicyArn=attached["Policy"]["Arn"])
    assert operator.scan(TableName=table)["Count"] == 1
    refused(operator.describe_table, TableName=table)
    iam.create_group(GroupName="readers")
    iam.put_group_policy(
        GroupName="readers", PolicyName="all", PolicyDocument=document(statement("Allow", "dynamodb:Describe*"))
    )
    iam.add_user_to_group(GroupName="readers", UserName="operator")
    assert operator.describe_table(TableName=table)["Table"]["TableName"] == table
    other = client(account, "dynamodb", user(account, "somebody"))
    assert other.scan(TableName=table)["Count"] == 1


# Tags


def pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Making:
    """How these clients create a resource of each kind, with tags; each method returns what names it in a call."""

    def __init__(self, account: Account, client: Any) -> None:
        self.account, self.client, self.name = account, client, account.name

    def role(self, tags: dict[str, str]) -> str:
        made = self.client("iam").create_role(
            RoleName=self.name("tagged"), AssumeRolePolicyDocument=json.dumps(TRUST), Tags=pairs(tags)
        )
        return str(made["Role"]["RoleName"])

    def policy(self, tags: dict[str, str]) -> str:
        written = document(statement("Allow", "sqs:ListQueues"))
        made = self.client("iam").create_policy(
            PolicyName=self.name("tagged"), PolicyDocument=written, Tags=pairs(tags)
        )
        return str(made["Policy"]["Arn"])

    def table(self, tags: dict[str, str]) -> str:
        made = self.client("dynamodb").create_table(
            TableName=self.name("tagged"),
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=pairs(tags),
        )
        return str(made["TableDescription"]["TableName"])

    def queue(self, tags: dict[str, str]) -> str:
        return str(self.client("sqs").create_queue(QueueName=self.name("tagged"), tags=tags)["QueueUrl"])

    def function(self, tags: dict[str, str]) -> str:
        made = self.client("lambda").create_function(
            FunctionName=self.name("tagged"),
            Runtime="python3.13",
            Role=self.account.role(),
            Handler="lambda_function.lambda_handler",
            Code={"ZipFile": zipped("")},
            Tags=tags,
        )
        return str(made["FunctionName"])

    def trigger(self, tags: dict[str, str]) -> str:
        function, (_, queue) = self.account.function("", Timeout=3), self.account.queue()
        made = self.client("lambda").create_event_source_mapping(
            FunctionName=function, EventSourceArn=queue, Enabled=False, Tags=tags
        )
        return str(made["UUID"])

    def api(self, tags: dict[str, str]) -> str:
        return str(self.client("apigateway").create_rest_api(name=self.name("tagged"), tags=tags)["id"])

    def log_group(self, tags: dict[str, str]) -> str:
        name = self.name("/tagged")
        self.client("logs").create_log_group(logGroupName=name, tags=tags)
        return name


# For each kind of resource: a call that names it, the permission that the call takes, and AWS's name of the resource.
TAGGED = {
    "role": ("iam", "get_role", "RoleName", "iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/"),
    "policy": ("iam", "get_policy", "PolicyArn", "iam:GetPolicy", f"arn:aws:iam::{ACCOUNT}:policy/"),
    "table": ("dynamodb", "scan", "TableName", "dynamodb:Scan", table_arn("")),
    "queue": ("sqs", "purge_queue", "QueueUrl", "sqs:purgequeue", f"arn:aws:sqs:{REGION}:{ACCOUNT}:"),
    "function": ("lambda", "get_function", "FunctionName", "lambda:GetFunction", f"arn:aws:lambda:{REGION}:"),
    "trigger": ("lambda", "get_event_source_mapping", "UUID", "lambda:GetEventSourceMapping", "arn:aws:lambda:"),
    "api": ("apigateway", "get_resources", "restApiId", "apigateway:GET", f"arn:aws:apigateway:{REGION}::/restapis/"),
    "log_group": ("logs", "describe_log_streams", "logGroupName", "logs:DescribeLogStreams", "arn:aws:logs:"),
}
RED, BLUE = {"team": "red"}, {"team": "blue"}


def if_tagged(key: str, value: str = "red") -> dict[str, Any]:
    return {"StringEquals": {key: value}}


@pytest.fixture(scope="module")
def learner(account: Account) -> dict[str, str]:
    return user(
        account,
        "learner",
        statement("Allow", "*", Condition=if_tagged("aws:ResourceTag/team")),
        statement("Allow", "*", Condition=if_tagged("aws:RequestTag/Team")),  # the case of a condition key is free
        statement("Allow", "iam:PassRole"),
    )


@pytest.mark.parametrize("kind", TAGGED)
def test_a_user_may_touch_and_create_only_what_carries_the_tag(
    account: Account, learner: dict[str, str], kind: str
) -> None:
    service, call, parameter, action, resource = TAGGED[kind]
    administrators = getattr(Making(account, account.client), kind)
    own = getattr(Making(account, lambda service: client(account, service, learner)), kind)
    touch = getattr(client(account, service, learner), call)

    touch(**{parameter: administrators({**{f"other{n}": "x" for n in range(12)}, **RED})})
    for others in (BLUE, {}):
        message = refused(touch, **{parameter: administrators(others)})[2]
        who = f"User: arn:aws:iam::{ACCOUNT}:user/learner is not authorized to perform: {action} on resource: "
        assert message.startswith(who + resource)
        assert message.endswith(f" because no identity-based policy allows the {action} action")
        assert refused(own, tags=others)[1].startswith("AccessDenied")
    touch(**{parameter: own(RED)})


def test_a_stage_and_what_else_is_in_an_api_has_the_tags_of_the_api_and_a_stage_its_own_before_them(
    account: Account, learner: dict[str, str]
) -> None:
    api, gateway = Making(account, account.client).api({}), account.client("apigateway")
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    gateway.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
    gateway.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="MOCK")
    deployment = gateway.create_deployment(restApiId=api)["id"]
    gateway.create_stage(restApiId=api, stageName="plain", deploymentId=deployment)
    gateway.create_stage(restApiId=api, stageName="blue", deploymentId=deployment, tags=BLUE)
    method = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    own = client(account, "apigateway", learner)
    refused(own.get_method, **method)
    gateway.tag_resource(resourceArn=f"arn:aws:apigateway:{REGION}::/restapis/{api}", tags=RED)
    own.get_method(**method)
    own.get_stage(restApiId=api, stageName="plain")
    refused(own.get_stage, restApiId=api, stageName="blue")
    # Nothing below /tags has tags: who may tag, may tag every API.
    refused(own.get_tags, resourceArn=f"arn:aws:apigateway:{REGION}::/restapis/{api}")


def test_tags_count_as_they_are_now_for_a_denial_for_a_sessions_policy_and_for_a_queues(account: Account) -> None:
    (url, arn), tagged = account.queue(), if_tagged("aws:ResourceTag/a", "1")
    me, nobody = Session(account, statement("Allow", "*"), statement("Deny", "*", Condition=tagged)), Session(account)
    granted = {**statement("Allow", "sqs:SendMessage", arn, Condition=tagged), "Principal": {"AWS": nobody.arn}}
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(granted)})
    me.client("sqs").purge_queue(QueueUrl=url)
    refused(nobody.client("sqs").send_message, QueueUrl=url, MessageBody="x")
    account.sqs.tag_queue(QueueUrl=url, Tags={"a": "1"})
    assert refused(me.client("sqs").send_message, QueueUrl=url, MessageBody="x")[2].endswith(
        " with an explicit deny in an identity-based policy"
    )
    nobody.client("sqs").send_message(QueueUrl=url, MessageBody="x")


def test_a_callers_own_tags_are_those_of_its_role_as_they_are_now(account: Account) -> None:
    (url, _), own = account.queue(), {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    account.sqs.tag_queue(QueueUrl=url, Tags={"team": "red"})
    me = Session(account, statement("Allow", "sqs:*", Condition=own), Tags=pairs({"team": "blue"}))
    refused(me.client("sqs").send_message, QueueUrl=url, MessageBody="x")
    account.iam.tag_role(RoleName=me.role, Tags=pairs({"team": "red"}))
    me.client("sqs").send_message(QueueUrl=url, MessageBody="x")
    account.iam.untag_role(RoleName=me.role, TagKeys=["team"])
    refused(me.client("sqs").send_message, QueueUrl=url, MessageBody="x")


def test_a_role_is_assumed_by_its_tag_and_not_passed_by_it(account: Account) -> None:
    me = Session(
        account, statement("Allow", "*", Condition=if_tagged("iam:ResourceTag/team")), statement("Allow", "lambda:*")
    )
    trust = document({"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"})
    red, blue = (
        account.iam.create_role(RoleName=account.name("trusting"), AssumeRolePolicyDocument=trust, Tags=pairs(tags))
        for tags in (RED, BLUE)
    )
    sts = me.client("sts")
    sts.assume_role(RoleArn=red["Role"]["Arn"], RoleSessionName="me")
    refused(sts.assume_role, RoleArn=blue["Role"]["Arn"], RoleSessionName="me")
    passing = {"FunctionName": account.function(""), "Role": red["Role"]["Arn"]}
    assert "iam:PassRole" in refused(me.client("lambda").update_function_configuration, **passing)[2]


def test_a_tag_that_is_denied_is_neither_given_nor_taken_off(account: Account) -> None:
    never = {"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}}
    me = Session(account, statement("Allow", "*"), statement("Deny", "*", Condition=never))
    making = Making(account, account.client)
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{making.function(RED)}"
    functions, queues, url = me.client("lambda"), me.client("sqs"), making.queue(RED)
    refused(functions.tag_resource, Resource=function, Tags=BLUE)
    refused(functions.untag_resource, Resource=function, TagKeys=["other", "team"])
    functions.untag_resource(Resource=function, TagKeys=["other"])
    refused(queues.untag_queue, QueueUrl=url, TagKeys=["team"])
    queues.untag_queue(QueueUrl=url, TagKeys=["other"])


def test_what_looks_like_tags_in_the_payload_of_an_invocation_are_none(account: Account) -> None:
    me = Session(account, statement("Allow", "*", Condition=if_tagged("aws:RequestTag/team")))
    payload = json.dumps({"Tags": RED})
    refused(me.client("lambda").invoke, FunctionName=account.function(""), Payload=payload)


def test_tags_are_read_only_if_a_policy_asks_for_them(
    sandbox: Sandbox, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(sandbox.functions.permissions.tags, "context", lambda action, arn: read.append(action) or {})
    table, me = account.table(), Session(account, statement("Allow", "dynamodb:*"))
    me.client("dynamodb").scan(TableName=table)
    assert read == []
    me.grant(statement("Allow", "dynamodb:*", Condition=if_tagged("aws:ResourceTag/team")))
    refused(me.client("dynamodb").scan, TableName=table)
    assert read == ["dynamodb:Scan"]


def test_what_was_refused_can_be_read(sandbox: Sandbox, account: Account) -> None:
    me, table = Session(account), account.table()
    refused(me.client("dynamodb").scan, TableName=table)
    with urllib.request.urlopen(f"{sandbox.url}/_sandbox/refusals") as answer:
        told = json.loads(answer.read())["refusals"][-1]
    assert (told["principal"], told["action"], told["resource"]) == (me.user, "dynamodb:Scan", table_arn(table))
    assert told["message"].startswith(f"User: {me.user} is not authorized")


# Which permissions a call takes

TABLE, QUEUE = table_arn("t"), f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
TAKES = [
    ("dynamodb", "ListTables", {}, [("dynamodb:ListTables", "*")]),
    ("dynamodb", "Query", {"TableName": "t", "IndexName": "i"}, [("dynamodb:Query", f"{TABLE}/index/i")]),
    ("dynamodb", "GetItem", {"TableName": TABLE}, [("dynamodb:GetItem", TABLE)]),
    (
        "dynamodb",
        "BatchWriteItem",
        {"RequestItems": {"t": [], "u": []}},
        [("dynamodb:BatchWriteItem", TABLE), ("dynamodb:BatchWriteItem", table_arn("u"))],
    ),
    (
        "dynamodb",
        "TransactWriteItems",
        {"TransactItems": [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "u"}}]},
        [("dynamodb:PutItem", TABLE), ("dynamodb:ConditionCheckItem", table_arn("u"))],
    ),
    ("sqs", "SendMessageBatch", {"QueueUrl": f"http://x/{ACCOUNT}/q"}, [("sqs:SendMessage", QUEUE)]),
    ("sqs", "CreateQueue", {"QueueName": "q"}, [("sqs:CreateQueue", QUEUE)]),
    ("sqs", "ListQueues", {}, [("sqs:ListQueues", "*")]),
    ("iam", "CreatePolicy", {"PolicyName": "p"}, [("iam:CreatePolicy", f"arn:aws:iam::{ACCOUNT}:policy/p")]),
    (
        "iam",
        "AttachRolePolicy",
        {"RoleName": "r", "PolicyArn": "p"},
        [("iam:AttachRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/r")],
    ),
    ("iam", "ListRoles", {}, [("iam:ListRoles", "*")]),
    (
        "lambda",
        "InvokeAsync",
        {"FunctionName": "f"},
        [("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f")],
    ),
    ("lambda", "CreateEventSourceMapping", {"FunctionName": "f"}, [("lambda:CreateEventSourceMapping", "*")]),
    (
        "lambda",
        "DeleteEventSourceMapping",
        {"UUID": "u"},
        [("lambda:DeleteEventSourceMapping", f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:u")],
    ),
    (
        "logs",
        "PutLogEvents",
        {"logGroupName": "/g", "logStreamName": "s"},
        [("logs:PutLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/g:log-stream:s")],
    ),
    ("s3", "ListBuckets", {}, [("s3:ListBuckets", "*")]),
]


@pytest.mark.parametrize(("service", "name", "parameters", "taken"), TAKES, ids=[f"{t[0]}:{t[1]}" for t in TAKES])
def test_a_call_takes_these_permissions(service: str, name: str, parameters: Any, taken: list[Any]) -> None:
    assert [(need.action, need.resource) for need in needs(Operation(service, name, parameters))] == taken


CONTEXT = {"aws:SourceIp": "10.1.2.3", "aws:username": "ann", "aws:TagKeys": ["a", "b"], "n": "5", "d": "2026-06-01"}
HOLDING = [
    ({"IpAddress": {"aws:SourceIp": "10.1.0.0/16"}}, True),
    ({"IpAddress": {"aws:SourceIp": "10.2.0.0/16"}}, False),
    ({"NotIpAddress": {"aws:sourceip": ["10.1.0.0/16", "192.168.0.0/24"]}}, False),
    ({"NumericLessThan": {"n": "6"}}, True),
    ({"NumericLessThan": {"n": "five"}}, False),
    ({"DateGreaterThan": {"d": "2026-05-31T23:59:59Z"}}, True),
    ({"DateLessThan": {"d": "2026-05-31T23:59:59Z"}}, False),
    ({"DateLessThan": {"d": "soon"}}, False),
    ({"Null": {"aws:username": "false"}}, True),
    ({"Null": {"absent": "false"}}, False),
    ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b", "c"]}}, True),
    ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, False),
    ({"ForAllValues:StringEquals": {"absent": ["a"]}}, True),
    ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["b", "z"]}}, True),
    ({"ForAnyValue:StringEquals": {"absent": ["a"]}}, False),
    ({"StringEquals": {"absent": "x"}}, False),
    ({"StringEqualsIfExists": {"absent": "x"}}, True),
    ({"StringNotEquals": {"absent": "x"}}, True),
    ({"StringEquals": {"aws:username": "${aws:username}"}}, True),
    ({"StringEquals": {"aws:username": "${absent}"}}, False),
    ({"StringEquals": {"aws:username": "${absent, 'ann'}"}}, True),
    ({"StringOdd": {"aws:username": "ann"}}, False),
]


@pytest.mark.parametrize(("condition", "holds"), HOLDING, ids=[json.dumps(case[0]) for case in HOLDING])
def test_a_condition_holds_or_does_not(condition: dict[str, Any], holds: bool) -> None:
    assert conditions_hold({"Condition": condition}, CONTEXT) is holds


def test_a_variable_in_a_resource_is_filled_in() -> None:
    own = statement("Allow", "s3:*", "arn:aws:s3:::home/${aws:username}/*")
    assert matches(own, "s3:GetObject", "arn:aws:s3:::home/ann/x", CONTEXT)
    assert not matches(own, "s3:GetObject", "arn:aws:s3:::home/bob/x", CONTEXT)
    assert not matches(own, "s3:GetObject", "arn:aws:s3:::home//x", {})


# What it costs


def test_a_check_costs_no_more_than_five_milliseconds(sandbox: Sandbox, account: Account) -> None:
    table = account.table()
    me = Session(account, *(statement("Allow", f"dynamodb:Get{n}", table_arn(str(n))) for n in range(40)))
    me.grant(statement("Allow", "dynamodb:GetItem", table_arn(table)), *[statement("Deny", "s3:*")] * 40)
    key = me.credentials["AccessKeyId"]
    environ = EnvironBuilder(
        method="POST",
        data=json.dumps({"TableName": table, "Key": {"id": {"S": "1"}}}),
        headers={
            "X-Amz-Target": "DynamoDB_20120810.GetItem",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/{REGION}/dynamodb/aws4_request",
        },
    ).get_environ()
    request = Request(environ)
    guard = Guard(sandbox.inside.backend, sandbox.functions.permissions)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        operation = operation_of(request)
        assert operation is not None
        assert guard.check(operation) is None
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 0.005


def test_trust_of_this_suite_is_not_enough_to_be_assumed_by_a_person(account: Account) -> None:
    role = account.iam.create_role(RoleName=account.name("lambdas"), AssumeRolePolicyDocument=json.dumps(TRUST))
    me = Session(account, statement("Allow", "sts:AssumeRole"))
    assert refused(me.client("sts").assume_role, RoleArn=role["Role"]["Arn"], RoleSessionName="me")[1] == "AccessDenied"
