// The architecture through the AWS SDK for JavaScript v3: built, used, refused and removed.
// node scenario.mjs URL FUNCTION.zip; prints one JSON document of what it saw, which test_scenarios.py reads.

import { readFileSync } from "node:fs";
import * as apigateway from "@aws-sdk/client-api-gateway";
import * as dynamodb from "@aws-sdk/client-dynamodb";
import * as iam from "@aws-sdk/client-iam";
import * as lambda from "@aws-sdk/client-lambda";
import * as logs from "@aws-sdk/client-cloudwatch-logs";
import * as sqs from "@aws-sdk/client-sqs";

const [endpoint, zip] = process.argv.slice(2);
const region = "us-east-1";
const account = "123456789012";
const settings = { endpoint, region, credentials: { accessKeyId: "any", secretAccessKey: "any" }, maxAttempts: 1 };
const identities = new iam.IAMClient(settings);
const tables = new dynamodb.DynamoDBClient(settings);
const queues = new sqs.SQSClient(settings);
const functions = new lambda.LambdaClient(settings);
const apis = new apigateway.APIGatewayClient(settings);
const groups = new logs.CloudWatchLogsClient(settings);

const seen = {};
const document = (statement) => JSON.stringify({ Version: "2012-10-17", Statement: [statement] });

async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return { name: error.name, status: error.$metadata?.httpStatusCode, message: error.message };
  }
  return null;
}

async function eventually(look) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${look}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// Policy, role, table, queue
const trust = { Effect: "Allow", Principal: { Service: "lambda.amazonaws.com" }, Action: "sts:AssumeRole" };
const role = (
  await identities.send(
    new iam.CreateRoleCommand({ RoleName: "js-role", AssumeRolePolicyDocument: document(trust) }),
  )
).Role;
const allowed = { Effect: "Allow", Action: ["dynamodb:*", "sqs:*", "logs:*"], Resource: "*" };
const policy = (
  await identities.send(new iam.CreatePolicyCommand({ PolicyName: "js-policy", PolicyDocument: document(allowed) }))
).Policy;
await identities.send(new iam.AttachRolePolicyCommand({ RoleName: "js-role", PolicyArn: policy.Arn }));
seen.twice = await refusal(
  identities.send(new iam.CreateRoleCommand({ RoleName: "js-role", AssumeRolePolicyDocument: document(trust) })),
);
await tables.send(
  new dynamodb.CreateTableCommand({
    TableName: "js-table",
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    BillingMode: "PAY_PER_REQUEST",
  }),
);
const QueueUrl = (
  await queues.send(new sqs.CreateQueueCommand({ QueueName: "js-queue", Attributes: { VisibilityTimeout: "60" } }))
).QueueUrl;
seen.noQueue = await refusal(queues.send(new sqs.GetQueueUrlCommand({ QueueName: "no-such-queue" })));

// Function and trigger
await functions.send(
  new lambda.CreateFunctionCommand({
    FunctionName: "js-function",
    Runtime: "python3.13",
    Role: role.Arn,
    Handler: "lambda_function.lambda_handler",
    Timeout: 10,
    Code: { ZipFile: readFileSync(zip) },
  }),
);
const trigger = await functions.send(
  new lambda.CreateEventSourceMappingCommand({
    EventSourceArn: `arn:aws:sqs:${region}:${account}:js-queue`,
    FunctionName: "js-function",
    FunctionResponseTypes: ["ReportBatchItemFailures"],
  }),
);
const echo = await functions.send(
  new lambda.InvokeCommand({
    FunctionName: "js-function",
    Payload: JSON.stringify({ operation: "echo", payload: "grüß" }),
    LogType: "Tail",
  }),
);
seen.echo = JSON.parse(Buffer.from(echo.Payload).toString());
seen.tail = Buffer.from(echo.LogResult, "base64").toString();

// API
const restApiId = (await apis.send(new apigateway.CreateRestApiCommand({ name: "js-api" }))).id;
const root = (await apis.send(new apigateway.GetResourcesCommand({ restApiId }))).items[0].id;
const resourceId = (
  await apis.send(new apigateway.CreateResourceCommand({ restApiId, parentId: root, pathPart: "dynamodbmanager" }))
).id;
const method = { restApiId, resourceId, httpMethod: "POST" };
seen.noMethod = await refusal(apis.send(new apigateway.CreateDeploymentCommand({ restApiId, stageName: "Staging" })));
await apis.send(new apigateway.PutMethodCommand({ ...method, authorizationType: "NONE" }));
const arn = `arn:aws:lambda:${region}:${account}:function:js-function`;
await apis.send(
  new apigateway.PutIntegrationCommand({
    ...method,
    type: "AWS",
    integrationHttpMethod: "POST",
    uri: `arn:aws:apigateway:${region}:lambda:path/2015-03-31/functions/${arn}/invocations`,
  }),
);
await apis.send(new apigateway.PutMethodResponseCommand({ ...method, statusCode: "200" }));
await apis.send(new apigateway.PutIntegrationResponseCommand({ ...method, statusCode: "200" }));
await functions.send(
  new lambda.AddPermissionCommand({
    FunctionName: "js-function",
    StatementId: "invoke",
    Action: "lambda:InvokeFunction",
    Principal: "apigateway.amazonaws.com",
    SourceArn: `arn:aws:execute-api:${region}:${account}:${restApiId}/*/POST/dynamodbmanager`,
  }),
);
await apis.send(new apigateway.CreateDeploymentCommand({ restApiId, stageName: "Staging" }));

// Use
const url = `${endpoint}/restapis/${restApiId}/Staging/_user_request_`;
const post = async (path, body) => {
  const answer = await fetch(url + path, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  return { status: answer.status, body: await answer.text() };
};
const item = (id) => ({ operation: "create", tableName: "js-table", payload: { Item: { id, by: "js" } } });
seen.created = await post("/dynamodbmanager", JSON.stringify(item("direct")));
seen.failed = await post("/dynamodbmanager", JSON.stringify({ operation: "no-such" }));
seen.elsewhere = await post("/elsewhere", "{}");
await queues.send(new sqs.SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify(item("queued")) }));
const read = async (id) =>
  (await tables.send(new dynamodb.GetItemCommand({ TableName: "js-table", Key: { id: { S: id } } }))).Item;
seen.direct = await read("direct");
seen.queued = await eventually(() => read("queued"));
seen.lines = await eventually(async () => {
  const found = await groups.send(new logs.FilterLogEventsCommand({ logGroupName: "/aws/lambda/js-function" }));
  const messages = found.events.map((event) => event.message);
  return messages.filter((message) => message.startsWith("REPORT RequestId")).length >= 4 && messages.length;
});

// Removal
seen.attached = await refusal(identities.send(new iam.DeleteRoleCommand({ RoleName: "js-role" })));
await functions.send(new lambda.DeleteEventSourceMappingCommand({ UUID: trigger.UUID }));
await eventually(() => refusal(functions.send(new lambda.GetEventSourceMappingCommand({ UUID: trigger.UUID }))));
await apis.send(new apigateway.DeleteRestApiCommand({ restApiId }));
await functions.send(new lambda.DeleteFunctionCommand({ FunctionName: "js-function" }));
await groups.send(new logs.DeleteLogGroupCommand({ logGroupName: "/aws/lambda/js-function" }));
await queues.send(new sqs.DeleteQueueCommand({ QueueUrl }));
await tables.send(new dynamodb.DeleteTableCommand({ TableName: "js-table" }));
await identities.send(new iam.DetachRolePolicyCommand({ RoleName: "js-role", PolicyArn: policy.Arn }));
await identities.send(new iam.DeleteRoleCommand({ RoleName: "js-role" }));
await identities.send(new iam.DeletePolicyCommand({ PolicyArn: policy.Arn }));
seen.gone = await refusal(apis.send(new apigateway.GetRestApiCommand({ restApiId })));
seen.left = {
  roles: (await identities.send(new iam.ListRolesCommand({}))).Roles.length,
  policies: (await identities.send(new iam.ListPoliciesCommand({ Scope: "Local" }))).Policies.length,
  tables: (await tables.send(new dynamodb.ListTablesCommand({}))).TableNames.length,
  queues: ((await queues.send(new sqs.ListQueuesCommand({}))).QueueUrls ?? []).length,
  functions: (await functions.send(new lambda.ListFunctionsCommand({}))).Functions.length,
  triggers: (await functions.send(new lambda.ListEventSourceMappingsCommand({}))).EventSourceMappings.length,
  apis: (await apis.send(new apigateway.GetRestApisCommand({}))).items?.length ?? 0,
  groups: (await groups.send(new logs.DescribeLogGroupsCommand({}))).logGroups.length,
};
console.log(JSON.stringify(seen));
