"""What AWS answers where moto would be too kind, or speak in other words: one line for each refusal.

A line is operation, parameters, HTTP status, code, and what the message says (or begins with).

Where it comes from. Code and status: the errors that the API model has for the operation (its API reference lists the
same), or the service's common errors below, each with its page; a test holds every line against them. The words: of
constraints, those that all services share, filled in from the API model; of the others, what public issue threads
quote or other emulators recorded on AWS. Where only the code is known and the words are ours, the plane says so.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from sandbox.protocol.constraints import model_of
from tests.local_aws.sandbox_account import ACCOUNT, REGION, TRUST, Account, zipped

Line = tuple[str, dict[str, Any], int, str, str]

IAM = f"arn:aws:iam::{ACCOUNT}:"
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def document(base: dict[str, Any], **changed: Any) -> str:
    """A policy document whose statement has been changed; None takes a field away."""
    statement = {**base["Statement"][0], **changed}
    kept = {name: value for name, value in statement.items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": [kept]})


def role(name: str = "new", trust: str | None = None, **more: Any) -> dict[str, Any]:
    return {"RoleName": name, "AssumeRolePolicyDocument": trust or json.dumps(TRUST), **more}


APIGATEWAY_TRUST = document(TRUST, Principal={"Service": "apigateway.amazonaws.com"})


def policy(name: str = "new", text: str | None = None) -> dict[str, Any]:
    return {"PolicyName": name, "PolicyDocument": text or json.dumps(POLICY)}


READING = "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"
HELD, FREE, NOPE = IAM + "policy/held", IAM + "policy/versions", IAM + "policy/nope"
ILL_NAME = "is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
NO_ROLE = "The role with name nope cannot be found."
NO_POLICY = f"Policy {NOPE} was not found."
MALFORMED, ABSENT, CONFLICT = "MalformedPolicyDocument", "NoSuchEntity", "DeleteConflict"

OF_IAM: list[Line] = [
    ("create_role", role("held"), 409, "EntityAlreadyExists", "Role with name held already exists."),
    ("create_role", role("bad name!"), 400, "ValidationError", f"The specified value for roleName {ILL_NAME}"),
    ("create_role", role("x" * 65), 400, "ValidationError", "1 validation error detected: Value 'xxx"),
    ("create_role", role(Description="x" * 1001), 400, "ValidationError", "1 validation error detected: Value 'xxx"),
    ("create_role", role(MaxSessionDuration=60), 400, "ValidationError",
     "1 validation error detected: Value '60' at 'maxSessionDuration' failed to satisfy constraint: Member must have "
     "value greater than or equal to 3600"),
    ("create_role", role(trust="{"), 400, MALFORMED, "This policy contains invalid Json"),
    ("create_role", role(trust="[]"), 400, MALFORMED, "This policy contains invalid Json"),
    ("create_role", role(trust="{}"), 400, MALFORMED, "Syntax errors in policy."),
    ("create_role", role(trust=document(TRUST, Principal=None)), 400, MALFORMED, "Missing required field Principal"),
    ("create_role", role(trust=document(TRUST, Action=None)), 400, MALFORMED, "Missing required field Action"),
    ("create_role", role(trust=document(TRUST, Resource="*")), 400, MALFORMED, "Has prohibited field Resource"),
    ("create_role", role(trust=document(TRUST, Effect="Permit")), 400, MALFORMED, "Syntax errors in policy."),
    ("create_role", role(trust=document(TRUST, Action="s3:*")), 400, MALFORMED,
     "AssumeRole policy may only specify STS AssumeRole actions."),
    ("create_role", role(trust=document(TRUST, Principal={"AWS": IAM + "role/nope"})), 400, MALFORMED,
     f'Invalid principal in policy: "AWS":"{IAM}role/nope"'),
    ("create_role", role(trust=document(TRUST, Principal={"Service": "lambda"})), 400, MALFORMED,
     'Invalid principal in policy: "SERVICE":"lambda"'),
    ("create_role", role(trust=document(TRUST, Sid="x" * 2048)), 409, "LimitExceeded",
     "Cannot exceed quota for ACLSizePerRole: 2048"),
    ("update_assume_role_policy", {"RoleName": "nope", "PolicyDocument": json.dumps(TRUST)}, 404, ABSENT, NO_ROLE),
    ("update_assume_role_policy", {"RoleName": "held", "PolicyDocument": "{"}, 400, MALFORMED,
     "This policy contains invalid Json"),
    ("get_role", {"RoleName": "nope"}, 404, ABSENT, NO_ROLE),
    ("delete_role", {"RoleName": "nope"}, 404, ABSENT, NO_ROLE),
    ("delete_role", {"RoleName": "held"}, 409, CONFLICT, "Cannot delete entity, must detach all policies first."),
    ("delete_role", {"RoleName": "inline"}, 409, CONFLICT, "Cannot delete entity, must delete policies first."),
    ("tag_role", {"RoleName": "nope", "Tags": [{"Key": "k", "Value": "v"}]}, 404, ABSENT, NO_ROLE),
    ("tag_role", {"RoleName": "held", "Tags": [{"Key": "k" * 129, "Value": "v"}]}, 400, "ValidationError",
     "1 validation error detected: Value 'kkk"),
    ("list_attached_role_policies", {"RoleName": "nope"}, 404, ABSENT, NO_ROLE),
    ("list_role_policies", {"RoleName": "nope"}, 404, ABSENT, NO_ROLE),
    ("list_instance_profiles_for_role", {"RoleName": "nope"}, 404, ABSENT, NO_ROLE),
    ("get_role_policy", {"RoleName": "held", "PolicyName": "nope"}, 404, ABSENT,
     "The role policy with name nope cannot be found."),
    ("delete_role_policy", {"RoleName": "held", "PolicyName": "nope"}, 404, ABSENT,
     "The role policy with name nope cannot be found."),
    ("put_role_policy", {"RoleName": "held", "PolicyName": "in", "PolicyDocument": "{"}, 400, MALFORMED,
     "Syntax errors in policy."),
    ("attach_role_policy", {"RoleName": "nope", "PolicyArn": HELD}, 404, ABSENT, NO_ROLE),
    ("attach_role_policy", {"RoleName": "held", "PolicyArn": NOPE}, 404, ABSENT,
     f"Policy {NOPE} does not exist or is not attachable."),
    ("attach_role_policy", {"RoleName": "held", "PolicyArn": "nope"}, 400, "ValidationError", "1 validation error"),
    ("detach_role_policy", {"RoleName": "held", "PolicyArn": FREE}, 404, ABSENT, f"Policy {FREE} was not found."),
    ("create_policy", policy("held"), 409, "EntityAlreadyExists",
     "A policy called held already exists. Duplicate names are not allowed."),
    ("create_policy", policy("bad!"), 400, "ValidationError", f"The specified value for policyName {ILL_NAME}"),
    ("create_policy", policy(text="{"), 400, MALFORMED, "Syntax errors in policy."),
    ("create_policy", policy(text=document(POLICY, Effect="Permit")), 400, MALFORMED, "Syntax errors in policy."),
    ("create_policy", policy(text=document(POLICY, Action="s3")), 400, MALFORMED,
     "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
    ("create_policy", policy(text=document(POLICY, Resource="x")), 400, MALFORMED,
     'Resource x must be in ARN format or "*".'),
    ("create_policy", policy(text=document(POLICY, Resource=None)), 400, MALFORMED,
     "Policy statement must contain resources."),
    ("create_policy", policy(text=document(POLICY, Principal="*")), 400, MALFORMED,
     "Policy document should not specify a principal."),
    ("create_policy", policy(text=document(POLICY, Sid="x" * 6144)), 409, "LimitExceeded",
     "Cannot exceed quota for PolicySize: 6144"),
    ("create_policy_version", {"PolicyArn": FREE, "PolicyDocument": json.dumps(POLICY)}, 409, "LimitExceeded",
     "A managed policy can have up to 5 versions."),
    ("create_policy_version", {"PolicyArn": NOPE, "PolicyDocument": json.dumps(POLICY)}, 404, ABSENT, NO_POLICY),
    ("get_policy", {"PolicyArn": NOPE}, 404, ABSENT, NO_POLICY),
    ("get_policy_version", {"PolicyArn": HELD, "VersionId": "v9"}, 404, ABSENT,
     f"Policy {HELD} version v9 does not exist or is not attachable."),
    ("delete_policy", {"PolicyArn": NOPE}, 404, ABSENT, NO_POLICY),
    ("delete_policy", {"PolicyArn": HELD}, 409, CONFLICT, "Cannot delete a policy attached to entities."),
    ("delete_policy", {"PolicyArn": FREE}, 409, CONFLICT, "This policy has more than one version."),
    ("delete_policy_version", {"PolicyArn": FREE, "VersionId": "v1"}, 409, CONFLICT,
     "Cannot delete the default version of a policy."),
    ("delete_policy_version", {"PolicyArn": FREE, "VersionId": "v9"}, 404, ABSENT,
     f"Policy {FREE} version v9 does not exist or is not attachable."),
    ("list_policy_versions", {"PolicyArn": NOPE}, 404, ABSENT, NO_POLICY),
    ("list_entities_for_policy", {"PolicyArn": NOPE}, 404, ABSENT, NO_POLICY),
    ("tag_policy", {"PolicyArn": NOPE, "Tags": [{"Key": "k", "Value": "v"}]}, 404, ABSENT, NO_POLICY),
    ("get_user", {"UserName": "nope"}, 404, ABSENT, "The user with name nope cannot be found."),
    ("simulate_principal_policy", {"PolicySourceArn": IAM + "role/held", "ActionNames": ["s3:GetObject"]}, 501,
     "NotImplementedException", "The sandbox has no SimulatePrincipalPolicy of iam."),
]  # fmt: skip

OF_STS: list[Line] = [
    ("assume_role", {"RoleArn": IAM + "role/nope", "RoleSessionName": "me"}, 403, "AccessDenied",
     f"is not authorized to perform: sts:AssumeRole on resource: {IAM}role/nope"),
    ("assume_role", {"RoleArn": IAM + "role/held", "RoleSessionName": "m e"}, 400, "ValidationError",
     "1 validation error detected: Value 'm e' at 'roleSessionName'"),
    ("assume_role", {"RoleArn": "nothing-valid-in-here", "RoleSessionName": "me"}, 400, "ValidationError",
     "nothing-valid-in-here is invalid"),
    ("assume_role", {"RoleArn": "nope", "RoleSessionName": "m"}, 400, "ValidationError", "2 validation errors"),
]  # fmt: skip

KEY = [{"AttributeName": "id", "KeyType": "HASH"}]
DEFINED = [{"AttributeName": "id", "AttributeType": "S"}]
ITEM = {"id": {"S": "1"}}


def table(name: str = "new-table", **more: Any) -> dict[str, Any]:
    plain = {"TableName": name, "KeySchema": KEY, "AttributeDefinitions": DEFINED, "BillingMode": "PAY_PER_REQUEST"}
    return {**plain, **more}


def put(**item: Any) -> dict[str, Any]:
    return {"TableName": "table", "Item": item}


def bound(**values: str) -> dict[str, Any]:
    return {"ExpressionAttributeValues": {f":{name}": {"S": value} for name, value in values.items()}}


def update(expression: str, **values: str) -> dict[str, Any]:
    return {"TableName": "table", "Key": ITEM, "UpdateExpression": expression, **bound(**values)}


VALIDATION, NOT_FOUND = "ValidationException", "ResourceNotFoundException"
NO_TABLE, NO_DATA = "Requested resource not found: Table: nope not found", "Requested resource not found"
MISMATCH = "The provided key element does not match the schema"
RESERVED = "Attribute name is a reserved keyword; reserved keyword: name"
TABLES = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/"

NOT_HERE = "NotImplementedException"
BAD_VALUES: list[tuple[Any, str]] = [
    ({"N": "dog"}, "The parameter cannot be converted to a numeric value: dog"),
    ({"N": ""}, "The parameter cannot be converted to a numeric value"),
    ({"N": "1" * 39}, "Attempting to store more than 38 significant digits in a Number"),
    *[({"N": one}, "Number overflow.") for one in ("1e126", "-1e126", "1e1000000000")],
    *[({"N": one}, "Number underflow.") for one in ("1e-131", "1e-99999999999999999999")],
    ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
    ({"SS": ["a", "a"]}, "Input collection [a, a] contains duplicates."),
    ({"SS": []}, "One or more parameter values were invalid: An string set  may not be empty"),
    ({"BS": []}, "One or more parameter values were invalid: Binary sets should not be empty"),
    ({"S": "x", "N": "1"}, "Supplied AttributeValue has more than one datatypes set"),
    ({}, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
    ({"NULL": False}, "Null attribute value types must have the value of true"),
]
BAD_CONDITIONS: list[tuple[str, dict[str, str], str]] = [
    ("attribute_not_exist(id)", {}, "Invalid FilterExpression: Invalid function name; function: attribute_not_exist"),
    ("attribute_exists(id, id)", {}, "operator or function: attribute_exists, number of operands: 2"),
    ("size(id)", {}, "The function is not allowed to be used this way in an expression; function: size"),
    ("id = :v", {}, "An expression attribute value used in expression is not defined; attribute value: :v"),
    ("#n = id", {}, "An expression attribute name used in the document path is not defined; attribute name: #n"),
    ("id = :v", {"v": "1", "w": "1"}, "ExpressionAttributeValues unused in expressions: keys: {:w}"),
    ("id = :v AND", {"v": "1"}, 'Invalid FilterExpression: Syntax error; token: "<EOF>"'),
    ("id == :v", {"v": "1"}, 'Syntax error; token: "=", near: "= = :v"'),
]


def nested(depth: int) -> dict[str, Any]:
    return {"M": {"a": nested(depth - 1)}} if depth else {"S": "x"}


def scanned(condition: str, **values: str) -> dict[str, Any]:
    return {"FilterExpression": condition, **(bound(**values) if values else {})}


OF_DYNAMODB: list[Line] = [
    ("create_table", table("table"), 400, "ResourceInUseException", "Table already exists: table"),
    ("create_table", table("ab"), 400, VALIDATION, "Invalid table/index name.  Table/index names must be between 3"),
    ("create_table", table("bad name"), 400, VALIDATION, "Invalid table/index name."),
    ("create_table", table(AttributeDefinitions=[]), 400, VALIDATION,
     "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. "
     "Keys: [id], AttributeDefinitions: []"),
    ("create_table", table(AttributeDefinitions=[*DEFINED, {"AttributeName": "x", "AttributeType": "S"}]), 400,
     VALIDATION, "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match"),
    ("create_table", table(AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "X"}]), 400, VALIDATION,
     "1 validation error detected: Value 'X' at 'attributeDefinitions.1.member.attributeType'"),
    ("create_table", table(KeySchema=[{"AttributeName": "id", "KeyType": "RANGE"}]), 400, VALIDATION,
     "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
    ("create_table", table(BillingMode="PROVISIONED"), 400, VALIDATION,
     "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified"),
    ("create_table", table(BillingMode="FREE"), 400, VALIDATION,
     "1 validation error detected: Value 'FREE' at 'billingMode' failed to satisfy constraint: Member must satisfy "
     "enum value set: [PROVISIONED, PAY_PER_REQUEST]"),
    ("create_table", table(ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}), 400, VALIDATION,
     "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified"),
    *[(one, {"TableName": "nope"}, 400, NOT_FOUND, NO_TABLE)
      for one in ("describe_table", "delete_table", "describe_time_to_live")],
    ("update_table", {"TableName": "nope", "BillingMode": "PAY_PER_REQUEST"}, 400, NOT_FOUND, NO_TABLE),
    ("describe_continuous_backups", {"TableName": "nope"}, 400, "TableNotFoundException", "Table not found: nope"),
    ("delete_table", {"TableName": "protected"}, 400, VALIDATION,
     "Resource cannot be deleted as it is currently protected against deletion."),
    ("tag_resource", {"ResourceArn": TABLES + "nope", "Tags": [{"Key": "k", "Value": "v"}]}, 400, NOT_FOUND,
     "Requested resource not found: ResourcArn: "),
    ("list_tags_of_resource", {"ResourceArn": TABLES + "nope"}, 400, NOT_FOUND, NO_DATA),
    *[(one, {"TableName": "nope", "Key": ITEM}, 400, NOT_FOUND, NO_DATA)
      for one in ("get_item", "delete_item", "update_item")],
    ("put_item", {"TableName": "nope", "Item": ITEM}, 400, NOT_FOUND, NO_DATA),
    ("scan", {"TableName": "nope"}, 400, NOT_FOUND, NO_DATA),
    ("scan", {"TableName": "table", "Limit": 0}, 400, VALIDATION,
     "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater "
     "than or equal to 1"),
    ("scan", {"TableName": "table", "FilterExpression": "name = :x", "ExpressionAttributeValues": {":x": {"S": "1"}}},
     400, VALIDATION, f"Invalid FilterExpression: {RESERVED}"),
    ("query", {"TableName": "table", "KeyConditionExpression": "x = :x", "ExpressionAttributeValues":
     {":x": {"S": "1"}}}, 400, VALIDATION, "Query condition missed key schema element: id"),
    ("put_item", put(x={"S": "1"}), 400, VALIDATION,
     "One or more parameter values were invalid: Missing the key id in the item"),
    ("put_item", put(id={"N": "1"}), 400, VALIDATION,
     "One or more parameter values were invalid: Type mismatch for key id expected: S actual: N"),
    ("put_item", put(id={"S": ""}), 400, VALIDATION,
     "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty "
     "string value. Key: id"),
    *[("put_item", put(**ITEM, n=value), 400, VALIDATION, words) for value, words in BAD_VALUES],
    ("put_item", put(**ITEM, deep=nested(33)), 400, VALIDATION, "Nesting Levels have exceeded supported limits"),
    *[(one, {**given, "ExpressionAttributeValues": {":x": {"N": "dog"}}}, 400, VALIDATION,
       "ExpressionAttributeValues contains invalid value: The parameter cannot be converted to a numeric value: dog "
       "for key :x")
      for one, given in (("update_item", update("SET n = :x")), ("scan", {"TableName": "table"} | scanned("n = :x")))],
    ("batch_write_item", {"RequestItems": {"table": [{"PutRequest": {"Item": {"id": {"N": "dog"}}}}]}}, 400,
     VALIDATION, "The parameter cannot be converted to a numeric value: dog"),
    ("transact_write_items", {"TransactItems": [{"Put": put(id={"S": "1", "N": "1"})}]}, 400, VALIDATION,
     "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"),
    ("put_item", put(**ITEM, b={"S": "x" * 410_000}), 400, VALIDATION,
     "Item size has exceeded the maximum allowed size"),
    ("put_item", {**put(**ITEM), "ConditionExpression": "attribute_exists(nope)"}, 400,
     "ConditionalCheckFailedException", "The conditional request failed"),
    ("put_item", {**put(**ITEM), "ConditionExpression": "name = :x", **bound(x="1")}, 400, VALIDATION,
     f"Invalid ConditionExpression: {RESERVED}"),
    *[("get_item", {"TableName": "table", "Key": key}, 400, VALIDATION, MISMATCH)
      for key in ({}, {"x": {"S": "1"}}, {"id": {"N": "1"}}, {**ITEM, "y": {"S": "1"}})],
    ("update_item", {**update("SET a = :x", x="1"), "Key": {"id": {"S": ""}}}, 400, VALIDATION,
     "The AttributeValue for a key attribute cannot contain an empty string value. Key: id"),
    *[("scan", {"TableName": "table"} | scanned(condition, **values), 400, VALIDATION, words)
      for condition, values, words in BAD_CONDITIONS],
    ("delete_item", {"TableName": "table", "Key": ITEM, "ConditionExpression": ""}, 400, VALIDATION,
     "Invalid ConditionExpression: The expression can not be empty;"),
    ("update_item", update("SET a = nope(a, :x)", x="1"), 400, VALIDATION, "Invalid function name; function: nope"),
    ("update_item", update("SET a = :x", x="1", y="1"), 400, VALIDATION,
     "Value provided in ExpressionAttributeValues unused in expressions: keys: {:y}"),
    ("put_item", {**put(**ITEM), **bound(x="1")}, 400, VALIDATION,
     "ExpressionAttributeValues can only be specified when using expressions"),
    ("get_item", {"TableName": "table", "Key": ITEM, "AttributesToGet": ["a"], "ProjectionExpression": "a"}, 400,
     VALIDATION, "Can not use both expression and non-expression parameters in the same request: Non-expression "
     "parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}"),
    ("scan", {"TableName": "table", "ExclusiveStartKey": {"x": {"S": "1"}}}, 400, VALIDATION,
     f"The provided starting key is invalid: {MISMATCH}"),
    ("update_table", {"TableName": "table", "StreamSpecification": {"StreamEnabled": True}}, 501, NOT_HERE,
     "The sandbox has no streams of DynamoDB."),
    ("update_table", {"TableName": "table", "TableClass": "STANDARD_INFREQUENT_ACCESS"}, 501, NOT_HERE,
     "The sandbox keeps no TableClass of a table."),
    ("update_table", {"TableName": "table", "BillingMode": "PROVISIONED", "GlobalSecondaryIndexUpdates":
     [{"Delete": {"IndexName": "nope"}}]}, 400, NOT_FOUND, NO_DATA),
    ("update_item", update("SET name = :x", x="1"), 400, VALIDATION, f"Invalid UpdateExpression: {RESERVED}"),
    ("update_item", update("SET id = :x", x="1"), 400, VALIDATION,
     "One or more parameter values were invalid: Cannot update attribute id. This attribute is part of the key"),
    ("update_item", update("oops", x="1"), 400, VALIDATION, 'Invalid UpdateExpression: Syntax error; token: "oops"'),
]  # fmt: skip

NO_GROUP = "The specified log group does not exist."
NO_STREAM = "The specified log stream does not exist."
GROUPS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"
INVALID = "InvalidParameterException"

OF_LOGS: list[Line] = [
    ("create_log_group", {"logGroupName": "group"}, 400, "ResourceAlreadyExistsException",
     "The specified log group already exists"),
    ("create_log_group", {"logGroupName": "bad group!"}, 400, INVALID,
     "1 validation error detected: Value 'bad group!' at 'logGroupName' failed to satisfy constraint: Member must "
     "satisfy regular expression pattern"),
    ("create_log_stream", {"logGroupName": "group", "logStreamName": "stream"}, 400, "ResourceAlreadyExistsException",
     "The specified log stream already exists"),
    ("create_log_stream", {"logGroupName": "nope", "logStreamName": "s"}, 400, NOT_FOUND, NO_GROUP),
    ("create_log_stream", {"logGroupName": "group", "logStreamName": "s:*"}, 400, INVALID, "1 validation error"),
    ("put_retention_policy", {"logGroupName": "group", "retentionInDays": 2}, 400, INVALID,
     "1 validation error detected: Value '2' at 'retentionInDays' failed to satisfy constraint: Member must satisfy "
     "enum value set: [1, 3, 5, 7, 14, "),
    ("put_retention_policy", {"logGroupName": "nope", "retentionInDays": 1}, 400, NOT_FOUND, NO_GROUP),
    *[(one, {"logGroupName": "nope"}, 400, NOT_FOUND, NO_GROUP)
      for one in ("delete_log_group", "filter_log_events", "describe_log_streams")],
    ("put_log_events", {"logGroupName": "group", "logStreamName": "nope", "logEvents":
     [{"timestamp": 1, "message": "x"}]}, 400, NOT_FOUND, NO_STREAM),
    ("get_log_events", {"logGroupName": "group", "logStreamName": "nope"}, 400, NOT_FOUND, NO_STREAM),
    ("get_log_events", {"logGroupName": "nope", "logStreamName": "nope"}, 400, NOT_FOUND, NO_GROUP),
    ("tag_resource", {"resourceArn": GROUPS + "nope", "tags": {"k": "v"}}, 400, NOT_FOUND, NO_GROUP),
    ("list_tags_for_resource", {"resourceArn": GROUPS + "nope"}, 400, NOT_FOUND, NO_GROUP),
]  # fmt: skip

QUEUES = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
URL = f"http://127.0.0.1/{ACCOUNT}/"
TO_SEND = {"Effect": "Allow", "Principal": {"AWS": IAM + "role/held"}, "Action": "sqs:SendMessage", "Resource": "*"}
SENDING = {"Version": "2012-10-17", "Statement": [TO_SEND]}
QUEUE_NAME = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
BAD_POLICY = "Invalid value for the parameter Policy."
NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")


def queue(name: str = "new-queue", **attributes: str) -> dict[str, Any]:
    return {"QueueName": name, "Attributes": attributes}


def changed(**attributes: str) -> dict[str, Any]:
    return {"QueueUrl": URL + "queue", "Attributes": attributes}


def redrive(target: str = QUEUES + "queue", **more: Any) -> dict[str, Any]:
    return changed(RedrivePolicy=json.dumps({"deadLetterTargetArn": target, **more}))


OF_SQS: list[Line] = [
    *[("create_queue", queue(name), 400, "InvalidParameterValue", QUEUE_NAME) for name in ("", "bad name", "x" * 81)],
    ("create_queue", queue("queue", VisibilityTimeout="6"), 400, "QueueAlreadyExists",
     "A queue already exists with the same name and a different value for attribute VisibilityTimeout"),
    ("create_queue", {**queue("queue"), "tags": {"whose": "somebody's"}}, 400, "QueueAlreadyExists",
     "A queue already exists with the same name and different tags"),
    ("create_queue", queue(Nope="1"), 400, "InvalidAttributeName", "Unknown Attribute Nope."),
    ("create_queue", queue(FifoQueue="true"), 400, "InvalidParameterValue",
     "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo "
     "suffix and be 1 to 80 in length."),
    ("create_queue", queue("new.fifo"), 400, "InvalidParameterValue", QUEUE_NAME),
    ("create_queue", queue("new.fifo", FifoQueue="true"), 501, NOT_HERE, "The sandbox has no FIFO queues."),
    *[("create_queue", queue(**{name: "false"}), 400, "InvalidAttributeName", f"Unknown Attribute {name}.")
      for name in ("FifoQueue", "ContentBasedDeduplication")],
    ("create_queue", queue(DeduplicationScope="queue"), 400, "InvalidAttributeName",
     "You can specify the DeduplicationScope only when FifoQueue is set to true."),
    ("set_queue_attributes", changed(FifoQueue="true"), 400, "InvalidAttributeName", "Unknown Attribute FifoQueue."),
    ("set_queue_attributes", changed(KmsMasterKeyId="alias/aws/sqs", SqsManagedSseEnabled="true"), 400,
     "InvalidAttributeName", "You can use one type of server-side encryption (SSE) at one time."),
    *[("set_queue_attributes", changed(**{name: value}), 400, "InvalidAttributeValue",
       f"Invalid value for the parameter {name}.")
      for name, value in (("VisibilityTimeout", "x"), ("VisibilityTimeout", "43201"), ("DelaySeconds", "-1"),
                          ("DelaySeconds", "901"), ("MessageRetentionPeriod", "59"), ("MaximumMessageSize", "1023"),
                          ("ReceiveMessageWaitTimeSeconds", "21"), ("SqsManagedSseEnabled", "perhaps"))],
    ("set_queue_attributes", changed(QueueArn="x"), 400, "InvalidAttributeName", "Unknown Attribute QueueArn."),
    *[("set_queue_attributes", changed(Policy=text), 400, "InvalidAttributeValue", BAD_POLICY)
      for text in ("{", "[]", "{}", json.dumps({"Version": "2012-10-17", "Statement": []}),
                   document(SENDING, Principal={"AWS": IAM + "role/nope"}), document(SENDING, Principal=None),
                   document(SENDING, Principal={"AWS": "AROAEXAMPLEEXAMPLE123"}), document(SENDING, Effect="Maybe"),
                   document(SENDING, Action="sqs:Nope"), document(SENDING, Action="s3:GetObject"),
                   document(SENDING, Action=None), document(SENDING, Resource=None))],
    ("set_queue_attributes", changed(RedrivePolicy="{"), 400, "InvalidParameterValue",
     "Value { for parameter RedrivePolicy is invalid. Reason: Redrive policy is not a valid JSON map."),
    ("set_queue_attributes", changed(RedrivePolicy='{"maxReceiveCount": 1}'), 400, "InvalidParameterValue",
     "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."),
    ("set_queue_attributes", redrive(), 400, "InvalidParameterValue",
     "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
    ("set_queue_attributes", redrive(maxReceiveCount=0), 400, "InvalidParameterValue",
     "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive."),
    ("set_queue_attributes", redrive(QUEUES + "nope", maxReceiveCount=1), 400, "InvalidParameterValue",
     "Dead letter target does not exist."),
    ("get_queue_attributes", {"QueueUrl": URL + "queue", "AttributeNames": ["Nope"]}, 400, "InvalidAttributeName",
     "Unknown Attribute Nope."),
    ("remove_permission", {"QueueUrl": URL + "queue", "Label": "nope"}, 400, "InvalidParameterValue",
     "Value nope for parameter Label is invalid. Reason: can't find label."),
    ("get_queue_url", {"QueueName": "nope"}, 400, *NO_QUEUE),
    *[(one, {"QueueUrl": URL + "nope", **more}, 400, *NO_QUEUE)
      for one, more in (("delete_queue", {}), ("get_queue_attributes", {"AttributeNames": ["All"]}),
                        ("list_queue_tags", {}), ("tag_queue", {"Tags": {"k": "v"}}),
                        ("set_queue_attributes", {"Attributes": {"VisibilityTimeout": "7"}}))],
]  # fmt: skip

FUNCTIONS = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
ZIP = zipped("def lambda_handler(event, context):\n    return event\n")
ROLE, REFUSED = IAM + "role/held", "InvalidParameterValueException"
NO_FUNCTION = (404, NOT_FOUND, f"Function not found: {FUNCTIONS}nope")
UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."
NOT_ASSUMABLE = "The role defined for the function cannot be assumed by Lambda."


def function(name: str = "new", **more: Any) -> dict[str, Any]:
    plain = {"FunctionName": name, "Runtime": "python3.13", "Role": ROLE, "Handler": "lambda_function.lambda_handler"}
    return {**plain, "Code": {"ZipFile": ZIP}, **more}


def variables(**named: str) -> dict[str, Any]:
    return function(Environment={"Variables": named})


def constraint(value: str, at: str) -> str:
    return f"1 validation error detected: Value '{value}' at '{at}' failed to satisfy constraint: Member must "


def permission(principal: str = "apigateway.amazonaws.com", **more: str) -> dict[str, Any]:
    plain = {"FunctionName": "function", "StatementId": "new", "Action": "lambda:InvokeFunction"}
    return {**plain, "Principal": principal, **more}


def mapping(**more: Any) -> dict[str, Any]:
    return {"EventSourceArn": QUEUES + "queue", "FunctionName": "function", **more}


OF_LAMBDA: list[Line] = [
    ("create_function", function("function"), 409, "ResourceConflictException", "Function already exist: function"),
    ("create_function", function("bad name"), 400, VALIDATION, constraint("bad name", "functionName")),
    ("create_function", function("x" * 65), 400, REFUSED, "Member must have length less than or equal to 64"),
    ("create_function", function(Runtime="python9"), 400, REFUSED, "Value python9 at 'runtime' failed to satisfy"),
    ("create_function", function(Runtime="python2.7"), 400, REFUSED, "The runtime parameter of python2.7 is no longer"),
    ("create_function", function(Runtime=None), 400, REFUSED, "Runtime and Handler are mandatory parameters"),
    ("create_function", function(Handler="no handler"), 400, VALIDATION, constraint("no handler", "handler")),
    ("create_function", function(Role="nope"), 400, VALIDATION, constraint("nope", "role")),
    *[("create_function", function(Role=IAM + f"role/{name}"), 400, REFUSED, NOT_ASSUMABLE)
      for name in ("nope", "other")],
    ("create_function", function(Code={}), 400, REFUSED, "Please provide a source for function code."),
    ("create_function", function(Code={"ZipFile": b"PK"}), 400, REFUSED, UNREADABLE),
    ("create_function", function(Code={"ZipFile": zipped(None)}), 400, REFUSED,
     "Uploaded file must be a non-empty zip"),
    *[(one, {"FunctionName": "function", "RevisionId": "abc", **more}, 412, "PreconditionFailedException",
       "The Revision Id provided does not match the latest Revision Id.")
      for one, more in (("update_function_code", {"ZipFile": ZIP}), ("update_function_configuration", {"Timeout": 3}))],
    ("delete_function", {"FunctionName": "function", "Qualifier": "$LATEST"}, 400, REFUSED,
     "$LATEST version cannot be deleted without deleting the function."),
    ("delete_function", {"FunctionName": "function:$LATEST", "Qualifier": "1"}, 400, REFUSED,
     "The derived qualifier from the function name does not match the specified qualifier."),
    ("invoke", {"FunctionName": "function", "LogType": "Foo"}, 400, VALIDATION,
     constraint("Foo", "logType") + "satisfy enum value set: [None, Tail]"),
    *[("update_function_configuration", {"FunctionName": "function", **more}, 501, NOT_HERE, "The sandbox has no")
      for more in ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, {"ImageConfig": {"Command": ["x"]}})],
    ("create_function_url_config", {"FunctionName": "function", "AuthType": "NONE"}, 501, NOT_HERE,
     "The sandbox has no function URLs."),
    ("create_function", function(Timeout=0), 400, VALIDATION, constraint("0", "timeout")),
    ("create_function", function(Timeout=901), 400, VALIDATION,
     constraint("901", "timeout") + "have value less than or equal to 900"),
    ("create_function", function(MemorySize=127), 400, VALIDATION, constraint("127", "memorySize")),
    ("create_function", function(EphemeralStorage={"Size": 511}), 400, VALIDATION,
     constraint("511", "ephemeralStorage.size")),
    ("create_function", function(Description="x" * 257), 400, VALIDATION, "have length less than or equal to 256"),
    ("create_function", variables(AWS_REGION="x"), 400, REFUSED, "Reserved keys used in this request: AWS_REGION"),
    ("create_function", variables(**{"1x": "x"}), 400, VALIDATION, "Map keys must satisfy constraint"),
    ("create_function", variables(LONG="x" * 4096), 400, REFUSED, "exceeded the 4KB limit."),
    *[(one, {"FunctionName": "nope", **more}, *NO_FUNCTION)
      for one, more in (("get_function", {}), ("get_function_configuration", {}), ("delete_function", {}),
                        ("invoke", {}), ("update_function_code", {"ZipFile": ZIP}), ("get_policy", {}),
                        ("update_function_configuration", {"Timeout": 4}), ("list_versions_by_function", {}),
                        ("remove_permission", {"StatementId": "s"}), ("get_function_concurrency", {}))],
    ("list_tags", {"Resource": FUNCTIONS + "nope"}, *NO_FUNCTION),
    ("tag_resource", {"Resource": FUNCTIONS + "nope", "Tags": {"k": "v"}}, *NO_FUNCTION),
    ("add_permission", permission(FunctionName="nope"), *NO_FUNCTION),
    ("add_permission", permission(StatementId="known"), 409, "ResourceConflictException",
     "The statement id (known) provided already exists."),
    ("add_permission", permission(StatementId="s t"), 400, VALIDATION, constraint("s t", "statementId")),
    ("add_permission", permission(Action="invoke"), 400, VALIDATION, constraint("invoke", "action")),
    *[("add_permission", permission(who), 400, REFUSED, "The provided principal was invalid.")
      for who in ("nope", IAM + "role/nope")],
    ("remove_permission", {"FunctionName": "function", "StatementId": "nope"}, 404, NOT_FOUND, ""),
    ("get_policy", {"FunctionName": "weak"}, 404, NOT_FOUND, "The resource you requested does not exist."),
    *[("update_function_configuration", {"FunctionName": "function", "Role": IAM + f"role/{name}"}, 400, REFUSED,
       NOT_ASSUMABLE) for name in ("nope", "other")],
    ("update_function_configuration", {"FunctionName": "betrayed", "Role": IAM + "role/betrayed"}, 400, REFUSED,
     NOT_ASSUMABLE),
    ("update_function_configuration", {"FunctionName": "function", "Timeout": 901}, 400, VALIDATION,
     constraint("901", "timeout")),
    ("update_function_code", {"FunctionName": "function", "ZipFile": b"x"}, 400, REFUSED, UNREADABLE),
    ("invoke", {"FunctionName": "function", "Payload": b"{"}, 400, "InvalidRequestContentException",
     "Could not parse request body into json"),
    ("invoke", {"FunctionName": "function", "Payload": b"1" * 6_291_457}, 413, "RequestEntityTooLargeException",
     "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)"),
    ("invoke", {"FunctionName": "function", "Qualifier": "7"}, 404, NOT_FOUND, "Function not found: "),
    ("list_functions", {"MaxItems": 0}, 400, VALIDATION, constraint("0", "maxItems")),
    ("create_event_source_mapping", mapping(FunctionName="nope"), *NO_FUNCTION),
    ("create_event_source_mapping", mapping(EventSourceArn=QUEUES + "nope"), 400, REFUSED,
     "SQS Error Code: AWS.SimpleQueueService.NonExistentQueue."),
    ("create_event_source_mapping", mapping(EventSourceArn="nope"), 400, REFUSED, "Unrecognized event source."),
    ("create_event_source_mapping", mapping(BatchSize=0), 400, REFUSED, constraint("0", "batchSize")),
    ("create_event_source_mapping", mapping(BatchSize=10_001), 400, REFUSED, constraint("10001", "batchSize")),
    ("create_event_source_mapping", mapping(BatchSize=11), 400, REFUSED,
     "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"),
    ("create_event_source_mapping", mapping(StartingPosition="LATEST"), 400, REFUSED,
     "StartingPosition is not valid for SQS event sources."),
    ("create_event_source_mapping", mapping(EventSourceArn=QUEUES + "short"), 400, REFUSED,
     "Queue visibility timeout: 1 seconds is less than Function timeout: 3 seconds"),
    ("create_event_source_mapping", mapping(FunctionName="weak"), 400, REFUSED,
     "The function execution role does not have permissions to call ReceiveMessage on SQS"),
    ("create_event_source_mapping", mapping(EventSourceArn=QUEUES + "mapped"), 409, "ResourceConflictException",
     f'An event source mapping with SQS arn (" {QUEUES}mapped ") and function (" function ") already exists.'),
    *[(one, {"UUID": "nope"}, 404, NOT_FOUND, "The resource you requested does not exist.")
      for one in ("get_event_source_mapping", "delete_event_source_mapping", "update_event_source_mapping")],
    ("list_event_source_mappings", {"FunctionName": "nope"}, 400, REFUSED, "Function does not exist"),
]  # fmt: skip

# $api, $root, $resource, $greedy, $deployment stand for ids that the account has given.
NO_API = (404, "NotFoundException", f"Invalid API identifier specified {ACCOUNT}:nope")
BAD, ABSENT_PART = "BadRequestException", "NotFoundException"
API, POST = {"restApiId": "$api"}, {"restApiId": "$api", "resourceId": "$resource", "httpMethod": "POST"}
INVOCATIONS = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{FUNCTIONS}function/invocations"
GET = {**POST, "httpMethod": "GET"}
LAMBDA = {**POST, "type": "AWS", "integrationHttpMethod": "POST", "uri": INVOCATIONS}
UNTRUSTED = "The role ARN does not have required permissions configured."


def resource(part: str, **more: str) -> dict[str, Any]:
    return {**API, "parentId": "$root", "pathPart": part, **more}


def cloudwatch(role_arn: str) -> dict[str, Any]:
    return {"patchOperations": [{"op": "replace", "path": "/cloudwatchRoleArn", "value": role_arn}]}


ONLY_LAMBDA = (
    "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations."
)
BAD_INTEGRATIONS: list[tuple[dict[str, Any], str]] = [
    ({"type": "AWS_PROXY", "uri": FUNCTIONS + "function"}, "AWS ARN for integration must contain path or action"),
    ({"uri": INVOCATIONS.replace(":path/", ":test/")}, "AWS ARN for integration must contain path or action"),
    ({"type": "AWS_PROXY", "uri": f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/queue"}, ONLY_LAMBDA),
    ({"type": "AWS_PROXY", "uri": INVOCATIONS.replace("/functions/", "/nope/")}, ONLY_LAMBDA),
    ({"requestParameters": {"integration.request.header.X": "application/json"}},
     "Validation Result: warnings : [], errors : [Invalid mapping expression specified: application/json]"),
    ({"requestParameters": {"integration.request.header.X": "method.request.header.X"}},
     "errors : [Invalid mapping expression parameter specified: method.request.header.X]"),
]  # fmt: skip

OF_API_GATEWAY: list[Line] = [
    ("create_rest_api", {"name": "a", "endpointConfiguration": {"types": ["NOPE"]}}, 400, VALIDATION,
     "Value '[NOPE]' at 'createRestApiInput.endpointConfiguration.types' failed to satisfy constraint: Member must "
     "satisfy constraint: [Member must satisfy enum value set: ["),
    ("create_rest_api", {"name": "a", "endpointConfiguration": {"types": ["EDGE", "REGIONAL"]}}, 400, BAD,
     "Cannot create an api with multiple Endpoint Types."),
    ("create_rest_api", {"name": "a", "description": ""}, 400, BAD, "Description cannot be an empty string"),
    *[(one, {**more, "body": b"{}"}, 501, NOT_HERE, "The sandbox imports no OpenAPI documents.")
      for one, more in (("import_rest_api", {}), ("put_rest_api", API))],
    ("create_resource", resource("x", parentId="$greedy"), 400, BAD,
     "Cannot create a child of a resource with a greedy path variable: {proxy+}"),
    ("create_resource", resource("{y}", parentId="$root"), 400, BAD,
     "A sibling ({proxy+}) of this resource already has a variable path part -- only one is allowed"),
    ("put_method", {**GET, "authorizationType": "CUSTOM", "authorizerId": "nope"}, 400, BAD,
     "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid "
     "authorizer."),
    ("put_method", {**GET, "authorizationType": "NONE", "requestValidatorId": "nope"}, 400, BAD,
     "Invalid Request Validator identifier specified"),
    ("put_method", {**GET, "authorizationType": "NONE", "requestModels": {"application/json": "nope"}}, 400, BAD,
     "Invalid model identifier specified: nope"),
    ("put_method_response", {**POST, "statusCode": "201", "responseModels": {"application/json": "nope"}}, 400, BAD,
     "Invalid model identifier specified: nope"),
    ("update_method", {**POST, "patchOperations": [{"op": "replace", "path": "/requestValidatorId", "value": "nope"}]},
     400, BAD, "Invalid Request Validator identifier specified"),
    *[("put_integration", {**LAMBDA, **more}, 400, BAD, words) for more, words in BAD_INTEGRATIONS],
    ("update_integration", {**POST, "patchOperations": [{"op": "add", "value": "yes", "path":
     "/requestParameters/integration.request.header.X"}]}, 400, BAD, "Invalid mapping expression specified: yes"),
    *[(one, {"restApiId": "nope"}, *NO_API)
      for one in ("get_rest_api", "delete_rest_api", "get_resources", "get_deployments", "get_stages",
                  "create_deployment")],
    ("create_resource", resource("taken"), 409, "ConflictException",
     "Another resource with the same parent already has this name: taken"),
    *[("create_resource", resource(part), 400, BAD, "Resource's path part") for part in ("", "a b", "{x", "x}")],
    ("create_resource", resource("x", parentId="nope"), 404, ABSENT_PART, "Invalid Resource identifier specified"),
    ("create_resource", resource("x", restApiId="nope"), *NO_API),
    ("get_resource", {**API, "resourceId": "nope"}, 404, ABSENT_PART, "Invalid Resource identifier specified"),
    ("delete_resource", {**API, "resourceId": "$root"}, 400, BAD, "Can't delete root resource."),
    ("put_method", {**POST, "authorizationType": "NONE"}, 409, "ConflictException",
     "Method already exists for this resource"),
    ("put_method", {**POST, "httpMethod": "NOPE", "authorizationType": "NONE"}, 400, BAD,
     "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"),
    ("put_method", {**GET, "resourceId": "nope", "authorizationType": "NONE"}, 404, ABSENT_PART,
     "Invalid Resource identifier specified"),
    *[(one, {**GET, **more}, 404, ABSENT_PART, "Invalid Method identifier specified")
      for one, more in (("get_method", {}), ("delete_method", {}), ("put_integration", {"type": "MOCK"}),
                        ("put_method_response", {"statusCode": "200"}), ("test_invoke_method", {}),
                        ("put_integration_response", {"statusCode": "200"}))],
    ("put_integration", {**LAMBDA, "type": "NOPE"}, 400, VALIDATION, "at 'putIntegrationInput.type' failed to satisfy"),
    ("put_integration", {**LAMBDA, "uri": "nope"}, 400, BAD, "Invalid ARN specified in the request"),
    ("put_integration", {**LAMBDA, "uri": None}, 400, BAD, "Invalid ARN specified in the request"),
    ("put_integration", {**POST, "type": "AWS", "uri": INVOCATIONS}, 400, BAD,
     "Enumeration value for HttpMethod must be non-empty"),
    ("put_integration", {**LAMBDA, "timeoutInMillis": 40}, 400, BAD, "Timeout should be between 50 ms and 29000 ms"),
    ("put_method_response", {**POST, "statusCode": "200"}, 409, "ConflictException",
     "Response already exists for this resource"),
    ("put_method_response", {**POST, "statusCode": "99"}, 400, VALIDATION, "[1-5]\\d\\d"),
    ("put_integration_response", {**POST, "statusCode": "201"}, 404, ABSENT_PART,
     "Invalid Response status code specified"),
    ("put_integration_response", {**POST, "statusCode": "200", "responseParameters":
     {"method.response.header.X": "'1'"}}, 400, BAD, "Invalid mapping expression parameter specified"),
    ("create_deployment", {"restApiId": "$empty"}, 400, BAD, "The REST API doesn't contain any methods"),
    ("create_stage", {**API, "stageName": "s t", "deploymentId": "$deployment"}, 400, BAD,
     "Stage name only allows a-zA-Z0-9-_"),
    ("create_stage", {**API, "stageName": "new", "deploymentId": "nope"}, 404, ABSENT_PART,
     "Invalid Deployment identifier specified"),
    ("create_stage", {**API, "stageName": "stage", "deploymentId": "$deployment"}, 409, "ConflictException",
     "Stage already exists"),
    *[(one, {**API, "stageName": "nope"}, 404, ABSENT_PART, "Invalid stage identifier specified")
      for one in ("get_stage", "delete_stage")],
    ("delete_deployment", {**API, "deploymentId": "$deployment"}, 400, BAD,
     "Active stages pointing to this deployment must be moved or deleted"),
    ("update_rest_api", {**API, "patchOperations": [{"op": "replace", "path": "/nope", "value": "x"}]}, 400, BAD,
     "Invalid patch path /nope"),
    ("get_deployment", {**API, "deploymentId": "nope"}, 404, ABSENT_PART, "Invalid Deployment identifier specified"),
    *[("update_account", cloudwatch(arn), 400, BAD, UNTRUSTED) for arn in (IAM + "role/nope", ROLE)],
    *[(one, {"apiKey": "nope"}, 404, ABSENT_PART, "Invalid API Key identifier specified")
      for one in ("get_api_key", "delete_api_key")],
    *[(one, {"usagePlanId": "nope"}, 404, ABSENT_PART, "Invalid Usage Plan ID specified")
      for one in ("get_usage_plan", "get_usage_plan_keys", "delete_usage_plan")],
    ("update_api_key", {"apiKey": "$key", "patchOperations": [{"op": "replace", "path": "/value", "value": "x"}]}, 400,
     BAD, "Invalid patch path"),
    ("create_usage_plan", {"name": "x", "apiStages": [{"apiId": "nope", "stage": "s"}]}, 404, ABSENT_PART,
     "API Stage not found: nope:s"),
    ("update_usage_plan", {"usagePlanId": "$plan", "patchOperations":
     [{"op": "remove", "path": "/apiStages", "value": "nope:s"}]}, 400, BAD, "Invalid API Stage specified"),
    ("delete_usage_plan", {"usagePlanId": "$plan"}, 400, BAD, "because there are API Stages associated with it"),
    ("create_usage_plan_key", {"usagePlanId": "$plan", "keyId": "$key", "keyType": "API_KEY"}, 409,
     "ConflictException", "already exists in Usage Plan"),
    ("create_usage_plan_key", {"usagePlanId": "$other", "keyId": "$key", "keyType": "API_KEY"}, 409,
     "ConflictException", "cannot reference multiple Usage Plans with the same API stage"),
    ("delete_usage_plan_key", {"usagePlanId": "$other", "keyId": "$key"}, 404, ABSENT_PART, "Invalid"),
]  # fmt: skip

CONTRACT = {
    "iam": OF_IAM,
    "sts": OF_STS,
    "dynamodb": OF_DYNAMODB,
    "sqs": OF_SQS,
    "lambda": OF_LAMBDA,
    "apigateway": OF_API_GATEWAY,
    "logs": OF_LOGS,
}
IDS: dict[str, str] = {}

# Errors that any operation of a service may give, and no operation's model lists.
# https://docs.aws.amazon.com/{IAM,STS}/latest/APIReference/CommonErrors.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
# https://docs.aws.amazon.com/lambda/latest/api/CommonErrors.html
# https://docs.aws.amazon.com/apigateway/latest/api/CommonErrors.html
COMMON = {
    "iam": {"ValidationError": 400},
    "sts": {"ValidationError": 400, "AccessDenied": 403},
    "dynamodb": {"ValidationException": 400},
    "sqs": {"InvalidParameterValue": 400, "MissingParameter": 400},
    "lambda": {"ValidationException": 400},
    "apigateway": {"ValidationException": 400},
    "logs": {},
}
# What AWS answers, by all reports, although the model of the operation does not have it.
BESIDE_THE_MODEL = {
    # The code by which the older protocol knows QueueNameExists.
    ("sqs", "CreateQueue", "QueueAlreadyExists"),
    # The model has RequestTooLargeException; callers report this one.
    ("lambda", "Invoke", "RequestEntityTooLargeException"),
}


@pytest.fixture(scope="module")
def furnished(account: Account) -> Account:
    """The account with what the lines name: nothing of it is changed by a refused call."""
    iam = account.iam
    for name in ("held", "inline"):
        iam.create_role(**role(name))
    for name in ("held", "versions"):
        iam.create_policy(**policy(name))
    for _ in range(4):
        iam.create_policy_version(PolicyArn=FREE, PolicyDocument=json.dumps(POLICY))
    for _ in range(2):  # attached twice counts once
        iam.attach_role_policy(RoleName="held", PolicyArn=HELD)
    iam.put_role_policy(RoleName="inline", PolicyName="in", PolicyDocument=json.dumps(POLICY))
    for name in ("table", "protected"):
        account.dynamodb.create_table(**table(name, DeletionProtectionEnabled=name == "protected"))
    account.logs.create_log_group(logGroupName="group")
    account.logs.create_log_stream(logGroupName="group", logStreamName="stream")
    for name, visibility in (("queue", "30"), ("mapped", "30"), ("short", "1")):
        account.sqs.create_queue(**queue(name, VisibilityTimeout=visibility))
    iam.attach_role_policy(RoleName="held", PolicyArn=READING)
    for name in ("weak", "betrayed"):
        iam.create_role(**role(name))
    iam.create_role(**role("other", APIGATEWAY_TRUST))
    for name, which in (("function", "held"), ("weak", "weak"), ("betrayed", "betrayed")):
        account.functions.create_function(**function(name, Role=IAM + f"role/{which}"))
    iam.update_assume_role_policy(RoleName="betrayed", PolicyDocument=APIGATEWAY_TRUST)
    account.functions.add_permission(**permission(StatementId="known"))
    account.functions.create_event_source_mapping(**mapping(EventSourceArn=QUEUES + "mapped"))
    api = account.client("apigateway")
    made = api.create_rest_api(name="api")
    IDS.update(api=made["id"], root=made["rootResourceId"], empty=api.create_rest_api(name="empty")["id"])
    IDS["resource"] = api.create_resource(**named(resource("taken")))["id"]
    IDS["greedy"] = api.create_resource(**named(resource("{proxy+}")))["id"]
    api.put_method(**named({**POST, "authorizationType": "NONE"}))
    api.put_integration(**named({**POST, "type": "MOCK"}))
    api.put_method_response(**named({**POST, "statusCode": "200"}))
    IDS["deployment"] = api.create_deployment(restApiId=made["id"], stageName="stage")["id"]
    IDS["key"] = api.create_api_key(name="key")["id"]
    stages = [{"apiId": made["id"], "stage": "stage"}]
    IDS["plan"] = api.create_usage_plan(name="plan", apiStages=stages)["id"]
    IDS["other"] = api.create_usage_plan(name="other", apiStages=stages)["id"]
    api.create_usage_plan_key(usagePlanId=IDS["plan"], keyId=IDS["key"], keyType="API_KEY")
    return account


def named(given: dict[str, Any]) -> dict[str, Any]:
    """The parameters with ids in the place of their names; those that are None are left out."""
    filled = {name: IDS.get(str(value)[1:], value) if str(value)[:1] == "$" else value for name, value in given.items()}
    return {name: value for name, value in filled.items() if value is not None}


@pytest.mark.parametrize(
    ("service", "line"),
    [
        pytest.param(service, line, id=f"{service}-{line[0]}-{number}")
        for service, lines in CONTRACT.items()
        for number, line in enumerate(lines)
    ],
)
def test_a_refusal_is_worded_as_on_aws(furnished: Account, service: str, line: Line) -> None:
    operation, given, status, code, words = line
    with pytest.raises(ClientError) as refused:
        getattr(furnished.client(service), operation)(**named(given))
    answered = refused.value.response
    assert (answered["ResponseMetadata"]["HTTPStatusCode"], answered["Error"]["Code"]) == (status, code)
    assert words in answered["Error"]["Message"]


@pytest.mark.parametrize(("service", "lines"), CONTRACT.items(), ids=CONTRACT)
def test_the_api_model_knows_these_errors(service: str, lines: list[Line]) -> None:
    unknown = [one for line in lines if (one := beside(service, *line[:1], *line[2:4])) is not None]
    assert unknown == []


def beside(service: str, method: str, status: int, code: str) -> tuple[str, str, str] | None:
    """The operation and code where neither its model nor the common errors have them; a 501 is the sandbox's own."""
    model = model_of(service)
    operation = next(name for name in model.operation_names if xform_name(name) == method)
    if status == 501 or COMMON[service].get(code) == status:
        return None
    for shape in model.operation_model(operation).error_shapes:
        error = shape.metadata.get("error", {})
        known = ALIASES.get(shape.name, {error.get("code", shape.name), shape.name})
        # The models of the JSON protocol have no status; it is 400 for them.
        if code.rpartition(".")[2] in known and error.get("httpStatusCode", 400) == status:
            return None
    found = (service, operation, code)
    return None if found in BESIDE_THE_MODEL else found


# Codes of SQS that the older protocol spells otherwise, as aws-query-error has them.
ALIASES = {"QueueDoesNotExist": {"QueueDoesNotExist", "NonExistentQueue"}}


def test_a_wrong_code_or_status_would_be_noticed() -> None:
    assert beside("iam", "create_role", 404, "EntityAlreadyExists") is not None
    assert beside("iam", "create_role", 409, "EntityExists") is not None
    assert beside("iam", "create_role", 409, "EntityAlreadyExists") is None


def test_what_was_refused_is_not_there(furnished: Account) -> None:
    roles = [one["RoleName"] for one in furnished.iam.list_roles()["Roles"]]
    assert sorted(roles) == ["betrayed", "held", "inline", "other", "weak"]
    policies = [one["PolicyName"] for one in furnished.iam.list_policies(Scope="Local")["Policies"]]
    assert sorted(policies) == ["held", "versions"]
    assert sorted(furnished.dynamodb.list_tables()["TableNames"]) == ["protected", "table"]
    assert furnished.dynamodb.scan(TableName="table")["Count"] == 0
    assert [one["logGroupName"] for one in furnished.logs.describe_log_groups()["logGroups"]] == ["group"]
    urls = furnished.sqs.list_queues()["QueueUrls"]
    assert sorted(one.rpartition("/")[2] for one in urls) == ["mapped", "queue", "short"]
    functions = furnished.functions.list_functions()["Functions"]
    assert sorted(one["FunctionName"] for one in functions) == ["betrayed", "function", "weak"]
    assert len(furnished.functions.list_event_source_mappings()["EventSourceMappings"]) == 1
    policy_now = json.loads(furnished.functions.get_policy(FunctionName="function")["Policy"])
    assert [one["Sid"] for one in policy_now["Statement"]] == ["known"]
    api = furnished.client("apigateway")
    assert sorted(one["name"] for one in api.get_rest_apis()["items"]) == ["api", "empty"]
    assert sorted(one["path"] for one in api.get_resources(restApiId=IDS["api"])["items"]) == [
        "/",
        "/taken",
        "/{proxy+}",
    ]


def test_a_name_at_its_limit_is_taken(account: Account) -> None:
    """The other side of the constraints: what is allowed passes."""
    name = "x" * 64
    account.iam.create_role(**role(name, Path="/team/", Tags=[{"Key": "k" * 128, "Value": "v" * 256}]))
    assert re.search("x{64}$", account.iam.get_role(RoleName=name)["Role"]["Arn"])
    account.iam.delete_role(RoleName=name)


def test_a_policy_names_a_role_by_its_unique_id_once_it_is_gone(account: Account) -> None:
    """aws: "the policy no longer applies, even if you recreate the role" (reference_policies_elements_principal)."""
    made = account.iam.create_role(**role("passing"))["Role"]
    text = document(SENDING, Principal={"AWS": made["Arn"]})
    url = account.sqs.create_queue(QueueName="remembering", Attributes={"Policy": text})["QueueUrl"]

    def principal() -> str:
        read = account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
        return str(json.loads(read)["Statement"][0]["Principal"]["AWS"])

    assert principal() == made["Arn"]
    account.iam.delete_role(RoleName="passing")
    assert principal() == made["RoleId"]
    account.iam.create_role(**role("passing"))
    assert principal() == made["RoleId"], "another role of the same name is another role"
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    assert principal() == made["RoleId"]
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})
    assert principal() == made["Arn"]
    account.iam.delete_role(RoleName="passing")
    account.sqs.delete_queue(QueueUrl=url)


def test_a_permission_shows_who_it_is_for_as_a_policy_does(account: Account) -> None:
    name = account.function("def lambda_handler(event, context):\n    return event\n")
    made = account.iam.create_role(**role("calling"))["Role"]["Arn"]
    wanted = {
        made: {"AWS": made},
        ACCOUNT: {"AWS": IAM + "root"},
        "sqs.amazonaws.com": {"Service": "sqs.amazonaws.com"},
        "*": "*",
    }
    for number, who in enumerate(wanted):
        added = account.functions.add_permission(**permission(who, FunctionName=name, StatementId=f"s{number}"))
        assert json.loads(added["Statement"])["Principal"] == wanted[who]
    shown = json.loads(account.functions.get_policy(FunctionName=name)["Policy"])
    assert [one["Principal"] for one in shown["Statement"]] == list(wanted.values())
    account.iam.delete_role(RoleName="calling")
    account.functions.delete_function(FunctionName=name)
