"""API Gateway through boto3 and plain HTTP: what is deployed is served, and refusals are AWS's."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sandbox import Sandbox
from tests.local_aws.sandbox_account import SECRET

ACCOUNT = "123456789012"
REGION = "us-east-1"
FORM = "application/x-www-form-urlencoded"
SEND = "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"

HANDLER = """
import time

def lambda_handler(event, context):
    if isinstance(event, dict):
        if "raise" in event:
            raise ValueError(event["raise"])
        if "sleep" in event:
            time.sleep(event["sleep"])
        if "answer" in event:
            return event["answer"]
        if "httpMethod" in event and event.get("body", "").startswith("{"):
            import json
            return json.loads(event["body"])
    return {"got": event}
"""


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class World:
    """Clients of one sandbox and an API of this test's own in it."""

    url: str
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.api = self.client("apigateway")
        self.iam = self.client("iam")
        self.functions = self.client("lambda")
        self.sqs = self.client("sqs")
        made = self.api.create_rest_api(name=self.name, tags={"deployment": self.name})
        self.api_id, self.root = made["id"], made["rootResourceId"]

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="sandbox",
            aws_secret_access_key=SECRET,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def role(self, service: str, suffix: str = "role") -> str:
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
        }
        made = self.iam.create_role(RoleName=f"{self.name}-{suffix}", AssumeRolePolicyDocument=json.dumps(trust))
        return str(made["Role"]["Arn"])

    def function(self, allow: str | None = "*") -> str:
        """A function's ARN; `allow` is the end of the source ARN that may invoke it (None: nobody)."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("lambda_function.py", HANDLER)
        made = self.functions.create_function(
            FunctionName=self.name,
            Runtime="python3.13",
            Role=self.role("lambda.amazonaws.com", "function"),
            Handler="lambda_function.lambda_handler",
            Timeout=10,
            Code={"ZipFile": archive.getvalue()},
        )
        if allow is not None:
            self.functions.add_permission(
                FunctionName=self.name,
                StatementId="gateway",
                Action="lambda:InvokeFunction",
                Principal="apigateway.amazonaws.com",
                SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self.api_id}/{allow}",
            )
        return str(made["FunctionArn"])

    def resource(self, part: str, parent: str | None = None) -> str:
        made = self.api.create_resource(restApiId=self.api_id, parentId=parent or self.root, pathPart=part)
        return str(made["id"])

    def at(self, resource: str, verb: str = "POST") -> dict[str, str]:
        return {"restApiId": self.api_id, "resourceId": resource, "httpMethod": verb}

    def method(
        self,
        resource: str,
        verb: str = "POST",
        responses: tuple[tuple[str, str | None], ...] = (("200", None),),
        templates: dict[str, str] | None = None,
        **integration: Any,
    ) -> dict[str, str]:
        """A whole method; `responses` are (status, selection pattern)."""
        at = self.at(resource, verb)
        self.api.put_method(**at, authorizationType="NONE")
        self.api.put_integration(**at, integrationHttpMethod="POST", **integration)
        for status, pattern in responses:
            self.api.put_method_response(**at, statusCode=status)
            selection = {"selectionPattern": pattern} if pattern else {}
            mapping = {"responseTemplates": templates} if templates else {}
            self.api.put_integration_response(**at, statusCode=status, **selection, **mapping)
        return at

    def to_function(self, resource: str, verb: str = "POST", arn: str | None = None, **more: Any) -> dict[str, str]:
        more.setdefault("type", "AWS")
        return self.method(resource, verb, uri=lambda_uri(arn or self.function()), **more)

    def mock(self, resource: str, verb: str, text: str) -> dict[str, str]:
        template = {"application/json": '{"statusCode": 200}'}
        return self.method(resource, verb, templates={"application/json": text}, type="MOCK", requestTemplates=template)

    def queue(self) -> str:
        return str(self.sqs.create_queue(QueueName=self.name)["QueueUrl"])

    def to_queue(self, resource: str, credentials: str, **more: Any) -> dict[str, str]:
        wanted: dict[str, Any] = {
            "type": "AWS",
            "uri": f"arn:aws:apigateway:{REGION}:sqs:path/{ACCOUNT}/{self.name}",
            "credentials": credentials,
            "requestParameters": {"integration.request.header.Content-Type": f"'{FORM}'"},
            "requestTemplates": {"application/json": SEND, FORM: SEND},
            "passthroughBehavior": "NEVER",
            "responses": (("200", None), ("400", r"4\d{2}"), ("500", r"5\d{2}")),
        }
        return self.method(resource, **(wanted | more))

    def deploy(self, stage: str = "Staging", **more: Any) -> str:
        return str(self.api.create_deployment(restApiId=self.api_id, stageName=stage, **more)["id"])

    def send(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        verb: str | None = None,
        stage: str = "Staging",
        api: str | None = None,
    ) -> Answer:
        request = urllib.request.Request(
            f"{self.url}/restapis/{api or self.api_id}/{stage}/_user_request_{path}",
            data=body,
            headers=headers or {},
            method=verb or ("GET" if body is None else "POST"),
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as refused:
            return Answer(refused.code, refused.headers, refused.read())


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return World(sandbox.url)


def refused(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


def lambda_uri(arn: str) -> str:
    return f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}/invocations"


# ------------------------------------------------------------------------------------------------------ who may call


def policy(*networks: str) -> str:
    """Whoever calls from there, in the short form that API Gateway completes."""
    everybody = {"Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}
    others = {"NotIpAddress": {"aws:SourceIp": list(networks)}}
    statements = [{"Effect": "Allow", **everybody}, {"Effect": "Deny", **everybody, "Condition": others}]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def set_policy(world: World, text: str) -> None:
    change = {"op": "replace", "path": "/policy", "value": text}
    world.api.update_rest_api(restApiId=world.api_id, patchOperations=[change])


def limit(world: World, method: str, rate: str, burst: str) -> None:
    changes = [
        {"op": "replace", "path": f"/{method}/throttling/{name}", "value": value}
        for name, value in (("rateLimit", rate), ("burstLimit", burst))
    ]
    world.api.update_stage(restApiId=world.api_id, stageName="Staging", patchOperations=changes)


def test_only_a_key_that_is_enabled_and_in_a_plan_of_the_stage_is_answered_within_the_plans_limit(
    world: World,
) -> None:
    at = world.mock(world.resource("p"), "GET", "in")
    needed = {"op": "replace", "path": "/apiKeyRequired", "value": "true"}
    world.api.update_method(**at, patchOperations=[needed])
    world.deploy()
    world.deploy("other")
    key = world.api.create_api_key(name=world.name, enabled=True, tags={"a": "b"})
    plan = world.api.create_usage_plan(
        name=world.name,
        apiStages=[{"apiId": world.api_id, "stage": "Staging"}],
        throttle={"rateLimit": 0.001, "burstLimit": 4},
    )["id"]

    def status(value: str = key["value"], stage: str = "Staging") -> int:
        return world.send("/p", headers={"X-API-Key": value}, stage=stage).status

    assert world.send("/p").body == b'{"message":"Forbidden"}'
    assert status() == 403, "it is in no plan"
    world.api.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    assert (status(), status("another"), status(stage="other")) == (200, 403, 403)
    off, on = ([{"op": "replace", "path": "/enabled", "value": value}] for value in ("false", "true"))
    assert "value" not in world.api.update_api_key(apiKey=key["id"], patchOperations=off)
    assert status() == 403
    world.api.update_api_key(apiKey=key["id"], patchOperations=on)
    assert [status() for _ in range(4)] == [200, 200, 200, 429]
    world.api.delete_stage(restApiId=world.api_id, stageName="Staging")
    assert world.api.get_usage_plan(usagePlanId=plan)["apiStages"] == []
    world.api.delete_api_key(apiKey=key["id"])
    assert world.api.get_usage_plan_keys(usagePlanId=plan)["items"] == []
    world.api.delete_usage_plan(usagePlanId=plan)


def test_a_key_shows_its_value_to_who_asks_for_it_and_keeps_its_tags(world: World) -> None:
    key = world.api.create_api_key(name=world.name, tags={"a": "b"})
    plan = world.api.create_usage_plan(name=world.name, tags={"a": "b"})
    for kind, one in (("apikeys", key), ("usageplans", plan)):
        arn = f"arn:aws:apigateway:{REGION}::/{kind}/{one['id']}"
        world.api.tag_resource(resourceArn=arn, tags={"c": "d"})
        world.api.untag_resource(resourceArn=arn, tagKeys=["a"])
        assert world.api.get_tags(resourceArn=arn)["tags"] == {"c": "d"}
    (listed,) = (one for one in world.api.get_api_keys()["items"] if one["id"] == key["id"])
    assert listed["tags"] == {"c": "d"} and "value" not in listed
    assert world.api.get_usage_plan(usagePlanId=plan["id"])["tags"] == {"c": "d"}
    assert world.api.get_api_key(apiKey=key["id"], includeValue=True)["value"] == key["value"]


def test_a_stage_answers_the_burst_and_then_429_and_each_method_has_a_limit_to_itself(world: World) -> None:
    world.mock(world.resource("one"), "GET", "1")
    world.mock(world.resource("two"), "GET", "2")
    world.deploy()
    assert {world.send("/one").status for _ in range(8)} == {200}  # without a limit there is none
    limit(world, "*/*", "0.001", "3")
    answers = [world.send("/one") for _ in range(5)]
    assert [one.status for one in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].body == b'{"message":"Too Many Requests"}'
    assert answers[-1].headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert world.send("/two").status == 200
    limit(world, "~1two/GET", "1000", "1000")
    assert {world.send("/two").status for _ in range(8)} == {200}


def test_a_limit_lets_requests_in_again_by_its_rate(world: World) -> None:
    world.mock(world.resource("p"), "GET", "1")
    world.deploy()
    limit(world, "*/*", "20", "1")
    world.send("/p")
    began = time.monotonic()
    while world.send("/p").status == 429:
        assert time.monotonic() - began < 5
    assert time.monotonic() - began < 2


def test_a_resource_policy_counts_from_the_next_deployment_and_refuses_in_api_gateways_words(world: World) -> None:
    world.mock(world.resource("p"), "GET", "1")
    world.deploy()
    set_policy(world, policy("203.0.113.0/24"))
    assert world.send("/p").status == 200
    world.deploy()
    answer = world.send("/p")
    resource = f"arn:aws:execute-api:{REGION}:********{ACCOUNT[-4:]}:{world.api_id}/Staging/GET/p"
    assert answer.json() == {
        "Message": f"User: anonymous is not authorized to perform: execute-api:Invoke on resource: {resource} "
        "with an explicit deny"
    }
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    set_policy(world, policy("203.0.113.0/24", "127.0.0.0/8"))
    world.deploy()
    assert world.send("/p").status == 200
    set_policy(world, "")
    world.deploy()
    assert world.send("/p").status == 200


def test_a_resource_policy_that_allows_nobody_refuses_everybody(world: World) -> None:
    world.mock(world.resource("p"), "GET", "1")
    set_policy(world, policy("127.0.0.1").replace('"Allow"', '"Deny"'))
    world.deploy()
    assert world.send("/p").status == 403


def test_a_resource_policy_is_shown_with_the_whole_arn_and_behind_backslashes(world: World) -> None:
    made = world.api.create_rest_api(name=f"{world.name}-more", policy=policy("10.0.0.0/8"))
    shown = world.api.get_rest_api(restApiId=made["id"])["policy"]
    assert made["policy"] == shown and '\\"aws:SourceIp\\":[\\"10.0.0.0\\/8\\"]' in shown
    text = json.loads(f'"{shown}"')
    resources = {one["Resource"] for one in json.loads(text)["Statement"]}
    assert resources == {f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{made['id']}/*"}
    assert "policy" not in world.api.get_rest_api(restApiId=world.api_id)


@pytest.mark.parametrize("text", ["{", "[]", '{"Statement": []}', policy("10.0.0.1").replace("Principal", "Principle")])
def test_what_is_no_resource_policy_is_refused(world: World, text: str) -> None:
    said = "Invalid policy document. Please check the policy syntax and ensure that Principals are valid."
    assert refused(set_policy, world, text) == (400, "BadRequestException", said)
    assert refused(world.api.create_rest_api, name=world.name, policy=text)[2] == said


def signed(world: World, service: str = "execute-api", key: str = SECRET) -> dict[str, str]:
    request = AWSRequest("GET", f"{world.url}/restapis/{world.api_id}/Staging/_user_request_/p")
    SigV4Auth(Credentials("sandbox", key), service, REGION).add_auth(request)
    return dict(request.headers)


def test_a_method_with_iam_answers_signed_requests_only(world: World) -> None:
    at = world.mock(world.resource("p"), "GET", "1")
    world.api.update_method(**at, patchOperations=[{"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"}])
    world.deploy()
    unsigned = world.send("/p")
    assert (unsigned.status, unsigned.json()) == (403, {"message": "Missing Authentication Token"})
    assert world.send("/p", headers=signed(world)).status == 200
    forged = world.send("/p", headers=signed(world, key="not the sandbox's"))
    assert (forged.status, forged.headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")
    other = world.send("/p", headers=signed(world, "sqs"))
    assert (other.status, other.headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")
    set_policy(world, policy("203.0.113.0/24"))
    world.deploy()
    assert world.send("/p", headers=signed(world)).status == 403  # a deny holds for the administrator, too


# --------------------------------------------------------------------------------------------------- what is served


def test_a_deployed_post_runs_the_function_and_answers_like_api_gateway(world: World) -> None:
    world.to_function(world.resource("dynamodbmanager"), contentHandling="CONVERT_TO_TEXT")
    world.deploy()
    answer = world.send("/dynamodbmanager", b'{"operation": "echo"}')
    assert (answer.status, answer.json()) == (200, {"got": {"operation": "echo"}})
    assert answer.headers["Content-Type"] == "application/json"
    assert uuid.UUID(answer.headers["x-amzn-RequestId"])
    assert answer.headers["x-amz-apigw-id"]
    assert answer.headers["X-Amzn-Trace-Id"].startswith("Root=1-")


def test_what_was_not_deployed_is_not_served(world: World) -> None:
    resource = world.resource("p")
    at = world.mock(resource, "GET", "one")
    world.deploy()
    assert world.send("/p").body == b"one"
    world.api.update_integration_response(
        **at,
        statusCode="200",
        patchOperations=[{"op": "replace", "path": "/responseTemplates/application~1json", "value": "two"}],
    )
    world.mock(world.resource("later"), "GET", "x")
    assert (world.send("/p").body, world.send("/later").status) == (b"one", 403)
    world.deploy()
    assert (world.send("/p").body, world.send("/later").status) == (b"two", 200)


def test_an_export_has_what_the_stage_serves_and_not_what_was_changed_since(world: World) -> None:
    resource = world.resource("p")
    world.to_queue(resource, world.role("apigateway.amazonaws.com"))
    deployment = world.deploy()
    world.api.update_integration(
        **world.at(resource),
        patchOperations=[{"op": "replace", "path": "/timeoutInMillis", "value": "20000"}],
    )
    world.mock(world.resource("later"), "ANY", "x")

    def export(**more: Any) -> Any:
        answer = world.api.get_export(restApiId=world.api_id, stageName="Staging", exportType="oas30", **more)
        return json.loads(answer["body"].read())

    exported = export(parameters={"extensions": "integrations"})
    assert (exported["openapi"], exported["info"]) == ("3.0.1", {"title": world.name, "version": deployment})
    assert list(exported["paths"]) == ["/p"]
    integration = exported["paths"]["/p"]["post"]["x-amazon-apigateway-integration"]
    assert (integration["type"], integration["passthroughBehavior"]) == ("aws", "never")
    assert integration["requestTemplates"] == {"application/json": SEND, FORM: SEND}
    assert integration.get("timeoutInMillis", 29000) == 29000
    codes = {pattern: response["statusCode"] for pattern, response in integration["responses"].items()}
    assert codes == {"default": "200", r"4\d{2}": "400", r"5\d{2}": "500"}
    assert list(export()["paths"]["/p"]["post"]) == ["responses"]
    world.deploy()
    changed = export(parameters={"extensions": "apigateway"})["paths"]
    assert changed["/p"]["post"]["x-amazon-apigateway-integration"]["timeoutInMillis"] == 20000
    assert list(changed["/later"]) == ["x-amazon-apigateway-any-method"]
    wanted = {"restApiId": world.api_id, "exportType": "oas30"}
    assert refused(world.api.get_export, stageName="Other", **wanted)[:2] == (404, "NotFoundException")
    for other in ({"exportType": "swagger"}, {"accepts": "application/yaml"}):
        assert refused(world.api.get_export, stageName="Staging", **{**wanted, **other})[0] == 501


def test_a_stage_serves_the_deployment_it_points_to(world: World) -> None:
    resource = world.resource("p")
    at = world.mock(resource, "GET", "one")
    first = world.deploy(description="first")
    world.api.put_integration_response(**at, statusCode="200", responseTemplates={"application/json": "two"})
    second = world.deploy(description="second")
    assert world.api.get_stage(restApiId=world.api_id, stageName="Staging")["deploymentId"] == second
    assert world.send("/p").body == b"two"
    world.api.update_stage(
        restApiId=world.api_id,
        stageName="Staging",
        patchOperations=[{"op": "replace", "path": "/deploymentId", "value": first}],
    )
    assert world.send("/p").body == b"one"


def test_an_unknown_api_or_stage_is_forbidden_and_an_unknown_path_or_verb_lacks_a_token(world: World) -> None:
    world.mock(world.resource("p"), "GET", "x")
    world.deploy()
    for answer in (world.send("/p", stage="Nope"), world.send("/p", api="nope")):
        assert (answer.status, answer.json()) == (403, {"message": "Forbidden"})
        assert answer.headers["x-amzn-ErrorType"] == "ForbiddenException"
    for answer in (world.send("/q"), world.send("/p", b"{}"), world.send("/p/q"), world.send("/"), world.send("")):
        assert (answer.status, answer.json()) == (403, {"message": "Missing Authentication Token"})
        assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


def test_a_deleted_api_is_served_no_longer(world: World) -> None:
    world.mock(world.resource("p"), "GET", "x")
    world.deploy()
    assert world.send("/p").status == 200
    world.api.delete_rest_api(restApiId=world.api_id)
    assert world.send("/p").status == 403


def test_the_most_specific_path_wins_and_any_stands_in_for_every_verb(world: World) -> None:
    pets = world.resource("pets")
    world.mock(world.resource("dog", pets), "GET", "literal")
    world.mock(world.resource("{pet}", pets), "GET", "pet $input.params('pet')")
    world.mock(world.resource("{rest+}"), "ANY", "rest $input.params('rest') $context.httpMethod")
    world.deploy()
    json_type = {"Content-Type": "application/json"}  # urllib's own is a form, for which the mock has no template
    assert world.send("/pets/dog").body == b"literal"
    assert world.send("/pets/cat%20a%2Fb").body == b"pet cat a/b"
    assert world.send("/pets/dog/more", b"", json_type, "PUT").body == b"rest pets/dog/more PUT"
    assert world.send("/pets/dog", b"{}").status == 403, "the literal resource has no POST, and no other is tried"


def test_the_api_of_another_region_is_served_too(world: World) -> None:
    api = world.client("apigateway", "eu-west-1")
    made = api.create_rest_api(name=world.name)
    at = {"restApiId": made["id"], "resourceId": made["rootResourceId"], "httpMethod": "GET"}
    api.put_method(**at, authorizationType="NONE")
    api.put_integration(**at, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    api.put_method_response(**at, statusCode="200")
    api.put_integration_response(**at, statusCode="200", responseTemplates={"application/json": "$context.domainName"})
    api.create_deployment(restApiId=made["id"], stageName="S")
    answer = world.send("", api=made["id"], stage="S")
    assert answer.body == f"{made['id']}.execute-api.eu-west-1.amazonaws.com".encode()


# -------------------------------------------------------------------------------------------------- request mapping


@pytest.mark.parametrize(
    ("behaviour", "templates", "plain", "as_json"),
    [
        ("WHEN_NO_MATCH", None, 200, 200),
        ("WHEN_NO_MATCH", {"application/json": '{"t": 1}'}, 200, 200),
        ("WHEN_NO_TEMPLATES", None, 200, 200),
        ("WHEN_NO_TEMPLATES", {"application/json": '{"t": 1}'}, 415, 200),
        ("NEVER", None, 415, 415),
        ("NEVER", {"application/json": '{"t": 1}'}, 415, 200),
    ],
)
def test_passthrough_behaves_as_documented(
    world: World, behaviour: str, templates: dict[str, str] | None, plain: int, as_json: int
) -> None:
    more = {"requestTemplates": templates} if templates else {}
    world.to_function(world.resource("p"), passthroughBehavior=behaviour, **more)
    world.deploy()
    seen = {"t": 1} if templates else {"b": 1}
    for headers, expected, mapped in (
        ({"Content-Type": "text/plain"}, plain, {"b": 1}),
        ({"Content-Type": "application/json; charset=utf-8"}, as_json, seen),
    ):
        answer = world.send("/p", b'{"b": 1}', headers)
        assert answer.status == expected
        if expected == 415:
            assert answer.json() == {"message": "Unsupported Media Type"}
            assert answer.headers["x-amzn-ErrorType"] == "UnsupportedMediaTypeException"
        else:
            assert answer.json() == {"got": mapped}


def test_a_request_without_content_type_counts_as_json(world: World) -> None:
    world.to_function(world.resource("p"), requestTemplates={"application/json": '{"mapped": $input.json("$.b")}'})
    world.deploy()
    parts = urllib.parse.urlsplit(world.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("POST", f"/restapis/{world.api_id}/Staging/_user_request_/p", body=b'{"b": 1}')
    assert json.loads(connection.getresponse().read()) == {"got": {"mapped": 1}}
    connection.close()


def test_an_empty_body_reaches_the_function_as_an_empty_object(world: World) -> None:
    at = world.to_function(world.resource("p"))
    world.deploy()
    assert world.send("/p", b"").json() == {"got": {}}
    assert json.loads(world.api.test_invoke_method(**at)["body"]) == {"got": {}}


@pytest.mark.parametrize("body", [b"not json", b'{"a": ', b"\xff\xfe", b"NaN", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused_before_the_function(world: World, body: bytes) -> None:
    world.to_function(world.resource("p"))
    world.deploy()
    answer = world.send("/p", body, {"Content-Type": "application/json"})
    assert answer.status == 400
    assert answer.json()["message"].startswith("Could not parse request body into json: ")


def test_templates_see_parameters_context_and_stage_variables(world: World) -> None:
    template = (
        '{"q": "$input.params(\'q\')", "h": "$input.params().header.get(\'X-Team\')", "v": "$stageVariables.v",'
        ' "ip": "$context.identity.sourceIp", "stage": "$context.stage", "path": "$context.resourcePath"}'
    )
    world.to_function(world.resource("p"), requestTemplates={"application/json": template})
    world.deploy(variables={"v": "1"})
    answer = world.send("/p?q=a%20b", b"", {"X-Team": "red", "Content-Type": "application/json"})
    expected = {"q": "a b", "h": "red", "v": "1", "ip": "127.0.0.1", "stage": "Staging", "path": "/p"}
    assert answer.json() == {"got": expected}


# -------------------------------------------------------------------------------------------------------- functions


def test_without_permission_the_caller_sees_500_and_the_test_call_says_why(world: World) -> None:
    at = world.to_function(world.resource("p"), arn=world.function(allow=None))
    world.deploy()
    answer = world.send("/p", b"{}")
    assert (answer.status, answer.json()) == (500, {"message": "Internal server error"})
    assert answer.headers["x-amzn-ErrorType"] == "InternalServerErrorException"
    tested = world.api.test_invoke_method(**at, body="{}")
    assert tested["status"] == 500
    assert "Execution failed due to configuration error: Invalid permissions on Lambda function" in tested["log"]
    assert "Method completed with status: 500" in tested["log"]


def test_a_permission_for_one_path_or_stage_does_not_serve_another(world: World) -> None:
    arn = world.function(allow="Staging/POST/p")
    world.to_function(world.resource("p"), arn=arn)
    at = world.to_function(world.resource("q"), arn=arn)
    world.deploy()
    world.deploy("Other")
    assert world.send("/p", b"{}").status == 200
    assert world.send("/q", b"{}").status == 500
    assert world.send("/p", b"{}", stage="Other").status == 500
    assert world.api.test_invoke_method(**at, body="{}")["status"] == 500


def test_a_deleted_function_is_an_internal_server_error(world: World) -> None:
    world.to_function(world.resource("p"))
    world.deploy()
    world.functions.delete_function(FunctionName=world.name)
    answer = world.send("/p", b"{}")
    assert (answer.status, answer.json()) == (500, {"message": "Internal server error"})


def test_a_handlers_error_is_http_200_unless_a_pattern_selects_it(world: World) -> None:
    arn = world.function()
    world.to_function(world.resource("p"), arn=arn)
    world.to_function(world.resource("q"), arn=arn, responses=(("200", None), ("404", "not found.*")))
    world.deploy()
    answer = world.send("/p", b'{"raise": "not found: x"}')
    assert answer.status == 200
    assert (answer.json()["errorMessage"], answer.json()["errorType"]) == ("not found: x", "ValueError")
    assert world.send("/q", b'{"raise": "not found: x"}').status == 404
    assert world.send("/q", b'{"raise": "it was not found"}').status == 200, "the whole message has to match"
    assert world.send("/q", b'{"answer": {"errorMessage": "not found"}}').status == 200, "a result is no error"


def test_without_a_default_response_a_success_is_an_internal_server_error(world: World) -> None:
    world.to_function(world.resource("p"), responses=(("400", "bad.*"),))
    world.deploy()
    assert world.send("/p", b"{}").status == 500
    assert world.send("/p", b'{"raise": "bad"}').status == 400


def test_a_function_that_takes_longer_than_the_integration_waits_is_a_504(world: World) -> None:
    world.to_function(world.resource("p"), timeoutInMillis=300)
    world.deploy()
    world.send("/p", b"{}")
    started = time.monotonic()
    answer = world.send("/p", b'{"sleep": 3}')
    assert (answer.status, answer.json()) == (504, {"message": "Endpoint request timed out"})
    assert time.monotonic() - started < 2


def test_response_templates_and_parameters_shape_the_answer(world: World) -> None:
    at = world.at(world.resource("p"))
    world.api.put_method(**at, authorizationType="NONE")
    world.api.put_integration(**at, type="AWS", integrationHttpMethod="POST", uri=lambda_uri(world.function()))
    headers = {f"method.response.header.{name}": False for name in ("X-Fixed", "X-From-Body", "X-Request")}
    world.api.put_method_response(**at, statusCode="201", responseParameters=headers)
    world.api.put_integration_response(
        **at,
        statusCode="201",
        responseTemplates={"application/json": '{"city": $input.json("$.city")}'},
        responseParameters={
            "method.response.header.X-Fixed": "'it is'",
            "method.response.header.X-From-Body": "integration.response.body.city",
            "method.response.header.X-Request": "context.requestId",
        },
    )
    world.deploy()
    answer = world.send("/p", b'{"answer": {"city": "Ulm", "rest": 1}}')
    assert (answer.status, answer.json()) == (201, {"city": "Ulm"})
    assert (answer.headers["X-Fixed"], answer.headers["X-From-Body"]) == ("it is", "Ulm")
    assert answer.headers["X-Request"] == answer.headers["x-amzn-RequestId"]


def test_a_proxy_integration_hands_over_the_request_and_takes_the_answer(world: World) -> None:
    world.to_function(world.resource("{id}"), type="AWS_PROXY")
    world.deploy()
    wanted = {"statusCode": 418, "headers": {"X-A": "1"}, "multiValueHeaders": {"X-B": ["2", "3"]}, "body": "tea"}
    answer = world.send("/7?q=1&q=2", json.dumps(wanted).encode())
    assert (answer.status, answer.body, answer.headers["X-A"]) == (418, b"tea", "1")
    assert answer.headers.get_all("X-B") == ["2", "3"]
    injected = {"statusCode": 200, "headers": {"X-A": "1\r\nX-Injected: 1", "X-B": "\u00e4\u4e2d"}}
    answer = world.send("/7", json.dumps(injected).encode())
    assert (answer.status, answer.headers["X-A"]) == (200, "1 X-Injected: 1")
    assert "X-Injected" not in answer.headers
    malformed = world.send("/7", b"text")  # the handler returns what is not a proxy answer
    assert (malformed.status, malformed.json()) == (502, {"message": "Internal server error"})


# ------------------------------------------------------------------------------------------------------------ queue


def test_a_message_of_any_characters_reaches_the_queue_from_json_and_form_bodies(world: World) -> None:
    url = world.queue()
    role = world.role("apigateway.amazonaws.com")
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": f"arn:aws:sqs:*:*:{world.name}"}],
    }
    world.iam.put_role_policy(RoleName=role.split("/")[-1], PolicyName="send", PolicyDocument=json.dumps(policy))
    world.to_queue(world.resource("queue"), role)
    world.deploy()
    body = '{"a": "100% & more + ä = \\"x\\""}'
    for kind in ("application/json", FORM):
        answer = world.send("/queue", body.encode(), {"Content-Type": kind})
        assert answer.status == 200
        sent = answer.json()["SendMessageResponse"]["SendMessageResult"]
        (message,) = world.sqs.receive_message(QueueUrl=url)["Messages"]
        assert (message["Body"], message["MessageId"]) == (body, sent["MessageId"])
        assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
        world.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert world.send("/queue", b"x", {"Content-Type": "text/plain"}).status == 415


def test_the_queues_policy_alone_lets_the_role_send(world: World) -> None:
    url = world.queue()
    role = world.role("apigateway.amazonaws.com")
    world.to_queue(world.resource("queue"), role)
    world.deploy()
    denied = world.send("/queue", b"{}", {"Content-Type": "application/json"})
    assert denied.status == 400
    queue_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{world.name}"
    assert denied.json()["Error"] == {
        "Code": "AccessDenied",
        "Message": f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{world.name}-role/BackplaneAssumeRoleSession is not "
        f"authorized to perform: sqs:sendmessage on resource: {queue_arn} because no identity-based policy allows "
        "the sqs:sendmessage action",
        "Type": "Sender",
    }
    statement = {"Effect": "Allow", "Principal": {"AWS": [role]}, "Action": "SQS:SendMessage", "Resource": queue_arn}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    world.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    assert world.send("/queue", b"{}", {"Content-Type": "application/json"}).status == 200
    denial = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}]}
    world.iam.put_role_policy(RoleName=f"{world.name}-role", PolicyName="no", PolicyDocument=json.dumps(denial))
    answer = world.send("/queue", b"{}", {"Content-Type": "application/json"})
    assert answer.status == 400
    assert answer.json()["Error"]["Message"].endswith("with an explicit deny in an identity-based policy")


def test_a_role_that_api_gateway_may_not_assume_is_an_internal_server_error(world: World) -> None:
    world.queue()
    at = world.to_queue(world.resource("queue"), world.role("lambda.amazonaws.com"))
    world.to_queue(world.resource("other"), f"arn:aws:iam::{ACCOUNT}:role/not-there")
    world.deploy()
    assert [world.send(path, b"{}").status for path in ("/queue", "/other")] == [500, 500]
    log = world.api.test_invoke_method(**at, body="{}")["log"]
    assert "API Gateway does not have permission to assume the provided role" in log


def test_sqs_refusals_become_what_the_patterns_make_of_them(world: World) -> None:
    role = world.role("apigateway.amazonaws.com")
    policy = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}
    world.iam.put_role_policy(RoleName=role.split("/")[-1], PolicyName="send", PolicyDocument=json.dumps(policy))
    world.to_queue(world.resource("queue"), role)
    world.to_queue(world.resource("unmapped"), role, responses=(("200", None),))
    world.deploy()
    headers = {"Content-Type": "application/json"}
    missing = world.send("/queue", b"{}", headers)
    assert (missing.status, missing.json()["Error"]["Code"]) == (400, "AWS.SimpleQueueService.NonExistentQueue")
    assert world.send("/unmapped", b"{}", headers).status == 200, "without a pattern SQS's error is a 200"
    world.queue()
    empty = world.send("/queue", b"", headers)
    assert (empty.status, empty.json()["Error"]["Code"]) == (400, "MissingParameter")
    binary = world.send("/queue", b"a\x00b", headers)
    assert (binary.status, binary.json()["Error"]["Code"]) == (400, "InvalidMessageContents")


def test_the_json_protocol_sends_too(world: World) -> None:
    url = world.queue()
    role = world.role("apigateway.amazonaws.com")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]}
    world.iam.put_role_policy(RoleName=role.split("/")[-1], PolicyName="send", PolicyDocument=json.dumps(policy))
    escaped = '$util.escapeJavaScript($input.body).replaceAll("\\\\\'","\'")'
    world.to_queue(
        world.resource("queue"),
        role,
        requestParameters={
            "integration.request.header.Content-Type": "'application/x-amz-json-1.0'",
            "integration.request.header.X-Amz-Target": "'AmazonSQS.SendMessage'",
        },
        requestTemplates={"application/json": f'{{"QueueUrl": "{url}", "MessageBody": "{escaped}"}}'},
    )
    world.deploy()
    body = '{"it\'s": "a/b"}'
    answer = world.send("/queue", body.encode(), {"Content-Type": "application/json"})
    assert answer.status == 200
    (message,) = world.sqs.receive_message(QueueUrl=url)["Messages"]
    assert (message["Body"], message["MessageId"]) == (body, answer.json()["MessageId"])


# ------------------------------------------------------------------------------------------------- TestInvokeMethod


def test_the_test_call_runs_the_undeployed_definition_and_logs_it(world: World) -> None:
    at = world.to_function(world.resource("p"))
    tested = world.api.test_invoke_method(**at, body='{"a": 1}', headers={"X-Team": "red"})
    assert (tested["status"], json.loads(tested["body"])) == (200, {"got": {"a": 1}})
    assert tested["headers"]["Content-Type"] == "application/json"
    assert tested["multiValueHeaders"]["Content-Type"] == ["application/json"]
    assert tested["latency"] >= 0
    positions = [
        tested["log"].index(line)
        for line in (
            "Execution log for request ",
            "Starting execution for request: ",
            "HTTP Method: POST, Resource Path: /p",
            "Method request headers: {X-Team=red}",
            'Method request body before transformations: {"a": 1}',
            'Endpoint request body after transformations: {"a": 1}',
            "Endpoint request URI: https://lambda.us-east-1.amazonaws.com/2015-03-31/functions/",
            "Endpoint response body before transformations: ",
            "Method response body after transformations: ",
            "Successfully completed execution",
            "Method completed with status: 200",
        )
    ]
    assert positions == sorted(positions)


def test_the_test_call_takes_path_query_and_stage_variables(world: World) -> None:
    text = "$input.params('id') $input.params('q') $stageVariables.v $context.stage"
    at = world.mock(world.resource("{id}"), "GET", text)
    tested = world.api.test_invoke_method(**at, pathWithQueryString="/7?q=x", stageVariables={"v": "1"})
    assert tested["body"] == "7 x 1 test-invoke-stage"


def test_the_test_call_of_a_missing_method_is_not_found(world: World) -> None:
    at = world.at(world.root)
    assert refused(world.api.test_invoke_method, **at)[:2] == (404, "NotFoundException")


# --------------------------------------------------------------------------------------------------------- refusals


def test_a_missing_api_is_named_with_its_account(world: World) -> None:
    expected = (404, "NotFoundException", f"Invalid API identifier specified {ACCOUNT}:zzz")
    assert refused(world.api.delete_rest_api, restApiId="zzz") == expected
    assert refused(world.api.get_resources, restApiId="zzz") == expected
    assert refused(world.api.create_deployment, restApiId="zzz", stageName="s") == expected


def test_an_unsigned_control_call_changes_nothing(world: World) -> None:
    deletion = urllib.request.Request(f"{world.url}/restapis/{world.api_id}", method="DELETE")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(deletion, timeout=10)
    assert caught.value.code == 403
    assert world.api.get_rest_api(restApiId=world.api_id)["id"] == world.api_id


def test_nothing_is_made_twice(world: World) -> None:
    resource = world.resource("p")
    assert refused(world.resource, "p") == (
        409,
        "ConflictException",
        "Another resource with the same parent already has this name: p",
    )
    at = world.mock(resource, "GET", "x")
    assert refused(world.api.put_method, **at, authorizationType="NONE") == (
        409,
        "ConflictException",
        "Method already exists for this resource",
    )
    assert refused(world.api.put_method_response, **at, statusCode="200") == (
        409,
        "ConflictException",
        "Response already exists for this resource",
    )
    assert "methodIntegration" in world.api.get_method(**at), "the refused call changed nothing"


def test_what_is_missing_is_not_found(world: World) -> None:
    resource = world.resource("p")
    at = world.at(resource)
    api = world.api
    method = (404, "NotFoundException", "Invalid Method identifier specified")
    assert refused(api.get_method, **at) == refused(api.delete_method, **at) == method
    api.put_method(**at, authorizationType="NONE")
    integration = (404, "NotFoundException", "Invalid Integration identifier specified")
    assert refused(api.get_integration, **at) == refused(api.delete_integration, **at) == integration
    assert refused(api.put_integration_response, **at, statusCode="200") == integration
    response = (404, "NotFoundException", "Invalid Response status code specified")
    assert refused(api.get_method_response, **at, statusCode="200") == response
    assert refused(api.delete_method_response, **at, statusCode="200") == response
    api.put_integration(**at, type="MOCK")
    assert refused(api.put_integration_response, **at, statusCode="200") == response
    assert refused(api.delete_integration_response, **at, statusCode="200") == response
    deployment = (404, "NotFoundException", "Invalid Deployment identifier specified")
    assert refused(api.get_deployment, restApiId=world.api_id, deploymentId="x") == deployment
    assert refused(api.delete_deployment, restApiId=world.api_id, deploymentId="x") == deployment
    assert refused(api.create_stage, restApiId=world.api_id, stageName="s", deploymentId="x") == deployment
    gone = refused(api.delete_resource, restApiId=world.api_id, resourceId="x")
    assert gone == (404, "NotFoundException", "Invalid Resource identifier specified")


def test_a_deployment_needs_methods_and_every_method_an_integration(world: World) -> None:
    def deploy() -> tuple[int, str, str]:
        return refused(world.api.create_deployment, restApiId=world.api_id, stageName="s")

    assert deploy() == (400, "BadRequestException", "The REST API doesn't contain any methods")
    world.mock(world.resource("p"), "GET", "x")
    world.api.put_method(**world.at(world.root), authorizationType="NONE")
    assert deploy() == (400, "BadRequestException", "No integration defined for method")
    assert world.api.get_deployments(restApiId=world.api_id)["items"] == []


def test_a_deployment_goes_only_when_no_stage_points_to_it(world: World) -> None:
    world.mock(world.resource("p"), "GET", "x")
    first, second = world.deploy(), world.deploy()
    assert refused(world.api.delete_deployment, restApiId=world.api_id, deploymentId=second) == (
        400,
        "BadRequestException",
        "Active stages pointing to this deployment must be moved or deleted",
    )
    world.api.delete_deployment(restApiId=world.api_id, deploymentId=first)
    assert [item["id"] for item in world.api.get_deployments(restApiId=world.api_id)["items"]] == [second]
    world.api.delete_stage(restApiId=world.api_id, stageName="Staging")
    world.api.delete_deployment(restApiId=world.api_id, deploymentId=second)
    assert world.send("/p").status == 403


def test_a_resource_goes_with_all_below_it(world: World) -> None:
    parent = world.resource("a")
    world.mock(world.resource("c", world.resource("b", parent)), "GET", "x")
    world.api.delete_resource(restApiId=world.api_id, resourceId=parent)
    assert [item["path"] for item in world.api.get_resources(restApiId=world.api_id)["items"]] == ["/"]
    assert refused(world.api.delete_resource, restApiId=world.api_id, resourceId=world.root)[0] == 400


def test_a_response_header_must_be_declared_by_the_method(world: World) -> None:
    at = world.mock(world.resource("p"), "GET", "x")
    status, code, message = refused(
        world.api.put_integration_response,
        **at,
        statusCode="200",
        responseParameters={"method.response.header.X": "'1'"},
    )
    assert (status, code) == (400, "BadRequestException")
    assert "Invalid mapping expression parameter specified: method.response.header.X" in message


# ------------------------------------------------------------------------------------------- what moto has to keep


def test_a_redeployed_stage_keeps_its_tags_variables_and_settings(world: World) -> None:
    world.mock(world.resource("p"), "GET", "x")
    world.deploy(variables={"v": "1"}, stageDescription="what it is")
    arn = f"arn:aws:apigateway:{REGION}::/restapis/{world.api_id}/stages/Staging"
    world.api.tag_resource(resourceArn=arn, tags={"a": "b"})
    world.api.update_stage(
        restApiId=world.api_id,
        stageName="Staging",
        patchOperations=[{"op": "replace", "path": "/*/*/logging/loglevel", "value": "INFO"}],
    )
    before = world.api.get_stage(restApiId=world.api_id, stageName="Staging")
    second = world.deploy()
    after = world.api.get_stage(restApiId=world.api_id, stageName="Staging")
    assert after["deploymentId"] == second
    for name in ("tags", "variables", "description", "methodSettings", "createdDate"):
        assert after[name] == before[name]
    assert world.api.get_tags(resourceArn=arn)["tags"] == {"a": "b"}


def test_a_deployments_description_is_kept_and_can_be_changed(world: World) -> None:
    world.mock(world.resource("p"), "GET", "x")
    made = world.deploy(description="digest 1")
    at = {"restApiId": world.api_id, "deploymentId": made}
    assert world.api.get_deployment(**at)["description"] == "digest 1"
    world.api.update_deployment(**at, patchOperations=[{"op": "replace", "path": "/description", "value": "digest 2"}])
    assert world.api.get_deployment(**at)["description"] == "digest 2"
    (listed,) = world.api.get_deployments(restApiId=world.api_id)["items"]
    assert listed["description"] == "digest 2"


def test_an_apis_tags_can_be_read_and_changed(world: World) -> None:
    arn = f"arn:aws:apigateway:{REGION}::/restapis/{world.api_id}"
    assert world.api.get_tags(resourceArn=arn)["tags"] == {"deployment": world.name}
    world.api.tag_resource(resourceArn=arn, tags={"a": "b"})
    world.api.untag_resource(resourceArn=arn, tagKeys=["deployment"])
    assert world.api.get_tags(resourceArn=arn)["tags"] == {"a": "b"}
    assert world.api.get_rest_api(restApiId=world.api_id)["tags"] == {"a": "b"}
    listed = {item["id"]: item for item in world.api.get_rest_apis()["items"]}
    assert listed[world.api_id]["tags"] == {"a": "b"}


def test_a_method_reads_back_as_it_was_put(world: World) -> None:
    world.queue()
    role = world.role("apigateway.amazonaws.com")
    at = world.to_queue(world.resource("queue"), role, contentHandling="CONVERT_TO_TEXT")
    world.api.put_integration_response(
        **at,
        statusCode="200",
        selectionPattern="2..",
        contentHandling="CONVERT_TO_TEXT",
        responseTemplates={"application/json": ""},
    )
    read = world.api.get_method(**at)
    integration = read["methodIntegration"]
    assert integration["passthroughBehavior"] == "NEVER"
    assert integration["requestTemplates"] == {"application/json": SEND, FORM: SEND}
    assert integration["contentHandling"] == "CONVERT_TO_TEXT"
    assert (integration["credentials"], integration["timeoutInMillis"]) == (role, 29000)
    assert integration["integrationResponses"]["200"] == {
        "statusCode": "200",
        "selectionPattern": "2..",
        "contentHandling": "CONVERT_TO_TEXT",
        "responseTemplates": {"application/json": None},
    }
    resources = world.api.get_resources(restApiId=world.api_id)["items"]
    assert [item.get("resourceMethods") for item in resources if item["path"] == "/queue"] == [{"POST": {}}]
    embedded = world.api.get_resources(restApiId=world.api_id, embed=["methods"])["items"]
    assert [i["resourceMethods"]["POST"] for i in embedded if i["path"] == "/queue"] == [
        {key: value for key, value in read.items() if key != "ResponseMetadata"}
    ]


def test_patches_change_one_thing_and_leave_the_rest(world: World) -> None:
    at = world.mock(world.resource("p"), "GET", "x")
    api = world.api

    def patch(call: Callable[..., Any], path: str, value: str | None, op: str = "replace", **more: str) -> None:
        operation = {"op": op, "path": path} | ({"value": value} if value is not None else {})
        call(**at, **more, patchOperations=[operation])

    before = api.get_method(**at)
    patch(api.update_method, "/operationName", "GetIt")
    patch(api.update_integration, "/timeoutInMillis", "5000")
    patch(api.update_integration, "/requestTemplates/text~1plain", "t", op="add")
    patch(api.update_method_response, "/responseParameters/method.response.header.X", "false", "add", statusCode="200")
    patch(api.update_integration_response, "/selectionPattern", "2..", statusCode="200")
    after = api.get_method(**at)
    assert after["operationName"] == "GetIt"
    assert after["methodIntegration"]["timeoutInMillis"] == 5000
    assert after["methodIntegration"]["requestTemplates"]["text/plain"] == "t"
    assert after["methodResponses"]["200"]["responseParameters"] == {"method.response.header.X": False}
    assert after["methodIntegration"]["integrationResponses"]["200"]["selectionPattern"] == "2.."
    patch(api.update_method, "/operationName", None, op="remove")
    patch(api.update_integration, "/requestTemplates/text~1plain", None, op="remove")
    patch(api.update_integration, "/timeoutInMillis", "29000")
    patch(api.update_method_response, "/responseParameters/method.response.header.X", None, "remove", statusCode="200")
    patch(api.update_integration_response, "/selectionPattern", None, "remove", statusCode="200")
    restored = api.get_method(**at)
    restored["methodResponses"]["200"].pop("responseParameters", None)
    assert {k: v for k, v in restored.items() if k != "ResponseMetadata"} == {
        k: v for k, v in before.items() if k != "ResponseMetadata"
    }


def test_the_role_for_execution_logs_must_be_usable(world: World) -> None:
    def update(value: str) -> Any:
        return world.api.update_account(
            patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": value}]
        )

    role = world.role("apigateway.amazonaws.com")
    assert refused(update, role)[:2] == (400, "BadRequestException")
    world.iam.attach_role_policy(
        RoleName=role.split("/")[-1],
        PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
    )
    assert update(role)["cloudwatchRoleArn"] == role
    update("")


# ------------------------------------------------------------------------------------------------- what is not done


def test_what_is_not_simulated_is_said_with_501(world: World) -> None:
    world.method(world.resource("http"), "GET", type="HTTP", uri="http://example.com/")
    world.mock(world.resource("template"), "GET", "$util.nosuch('x')")
    world.method(world.resource("binary"), "GET", type="MOCK", contentHandling="CONVERT_TO_BINARY")
    world.method(
        world.resource("s3"), type="AWS", uri=f"arn:aws:apigateway:{REGION}:dynamodb:action/PutItem",
        credentials=f"arn:aws:iam::{ACCOUNT}:role/x",
    )  # fmt: skip
    at = world.at(world.resource("iam"))
    authorizer = world.api.create_authorizer(
        restApiId=world.api_id, name="any", type="TOKEN", identitySource="method.request.header.X"
    )
    world.api.put_method(**at, authorizationType="CUSTOM", authorizerId=authorizer["id"])
    world.api.put_integration(**at, type="MOCK")
    world.deploy()
    for path, body, named in (
        ("/http", None, "HTTP"),
        ("/template", None, "nosuch"),
        ("/binary", None, "binary"),
        ("/s3", b"{}", "dynamodb"),
        ("/iam", b"{}", "CUSTOM"),
    ):
        answer = world.send(path, body)
        assert answer.status == 501
        assert answer.json()["message"].startswith("The sandbox")
        assert named in answer.json()["message"]
    renamed = [{"op": "replace", "path": "/pathPart", "value": "q"}]
    resource = world.resource("p")
    call = refused(world.api.update_resource, restApiId=world.api_id, resourceId=resource, patchOperations=renamed)
    assert call[0] == 501


# ------------------------------------------------------------------------------------------------------- robustness

RAW = [
    b'POST {path}/p HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n',
    b"POST {path}/p HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx",
    b"POST {path}/p HTTP/1.1\r\nHost: localhost\r\nContent-Type: \xff\xfe;=\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
    b"POST {path}/p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nX-Big: " + b"x" * 60_000 + b"\r\n\r\n{}",
    b"GET {path}/%ff%00%zz/%2e%2e/%2F?%ff=%zz&&&=;%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET {path}//p///?x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET {path}/p%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"BREW {path}/p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    b"HEAD {path}/p HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS {path}/p HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST http://localhost{path}/p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
]


@pytest.mark.parametrize("number", range(len(RAW)))
def test_no_bytes_make_it_fail_or_hang(world: World, number: int) -> None:
    world.to_function(world.resource("p"), "ANY")
    world.deploy()
    parts = urllib.parse.urlsplit(world.url)
    path = f"/restapis/{world.api_id}/Staging/_user_request_".encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        connection.sendall(RAW[number].replace(b"{path}", path))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    status = int(answer.split(b" ", 2)[1])
    assert status < 500, answer[:500]
    assert b"X-Injected: 1" not in answer
    assert world.send("/p", b'{"a": 1}').json() == {"got": {"a": 1}}, "and it goes on serving"


@pytest.mark.slow
def test_a_body_beyond_the_quota_is_refused(world: World) -> None:
    world.to_function(world.resource("p"))
    world.deploy()
    answer = world.send("/p", b'"' + b"x" * (10 * 1024 * 1024) + b'"')
    assert (answer.status, answer.json()) == (413, {"message": "Request Too Long"})
