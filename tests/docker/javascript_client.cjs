// What AWS's client for JavaScript makes of this platform's answers: one life of a function, told as one JSON object, seen.json.
// Run with the settings (name, endpoint, region, keys, queue, role) in SETTINGS and the packages beside this file.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const sdk = require("@aws-sdk/client-lambda");

const settings = JSON.parse(process.env.SETTINGS);
const { name: FunctionName, role: Role, queue: EventSourceArn } = settings;
const ZipFile = fs.readFileSync(path.join(__dirname, "function.zip"));
const layerZip = fs.readFileSync(path.join(__dirname, "layer.zip"));

const client = clientWith(settings.secret);
const patience = { client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
const seen = {};
let answered = 0;

function clientWith(secretAccessKey) {
    const credentials = { accessKeyId: settings.key, secretAccessKey };
    return new sdk.LambdaClient({ endpoint: settings.endpoint, region: settings.region, credentials, maxAttempts: 1 });
}

async function send(operation, parameters = {}) {
    const answer = await client.send(new sdk[`${operation}Command`]({ FunctionName, ...parameters }));
    answered += 1;
    return answer;
}

// What a program that catches the error can tell.
async function refused(promise) {
    try {
        await promise;
    } catch (error) {
        const { name, message, $fault: fault, $metadata, Type, Reason, retryAfterSeconds } = error;
        const isModelled = error instanceof sdk.LambdaServiceException && name in sdk;
        return { name, message, fault, status: $metadata?.httpStatusCode, isModelled, Type, Reason, retryAfterSeconds };
    }
    throw new Error("this should have been refused");
}

const isDate = (value) => value instanceof Date && Math.abs(Date.now() - value.getTime()) < 600_000;
const text = (bytes) => new TextDecoder().decode(bytes);

async function creates() {
    const Environment = { Variables: { STAGE: "test" } };
    const more = { Role, Runtime: "python3.13", Handler: "app.handler", Code: { ZipFile }, Tags: { a: "1" }, Environment };
    const created = await send("CreateFunction", more);
    const waited = await sdk.waitUntilFunctionActiveV2(patience, { FunctionName });
    const { Configuration, Code, Tags } = await send("GetFunction");
    const download = Buffer.from(await (await fetch(Code.Location)).arrayBuffer());
    seen.creation = {
        status: created.$metadata.httpStatusCode,
        requestId: created.$metadata.requestId,
        state: created.State,
        waited: waited.state,
        configuration: Configuration,
        tags: Tags,
        isPackage: download.equals(ZipFile),
        again: await refused(send("CreateFunction", more)),
    };
}

async function invokes() {
    const answer = await send("Invoke", { Payload: JSON.stringify({ a: [1, "ä"] }), LogType: "Tail" });
    const failed = await send("Invoke", { Payload: JSON.stringify("fail") });
    const event = await send("Invoke", { InvocationType: "Event", Payload: "{}" });
    const dry = await send("Invoke", { InvocationType: "DryRun" });
    seen.invocation = {
        answer: JSON.parse(answer.Payload.transformToString()),
        log: Buffer.from(answer.LogResult, "base64").toString(),
        version: answer.ExecutedVersion,
        error: [failed.StatusCode, failed.FunctionError, JSON.parse(text(failed.Payload)).errorType],
        statuses: [answer.StatusCode, event.StatusCode, dry.StatusCode],
        bad: await refused(send("Invoke", { Payload: "no JSON" })),
        missing: await refused(send("Invoke", { FunctionName: `${FunctionName}-none` })),
        wrongKey: await refused(clientWith("wrong").send(new sdk.InvokeCommand({ FunctionName }))),
    };
}

async function streams() {
    const answer = await send("InvokeWithResponseStream", { Payload: JSON.stringify("stream") });
    const pieces = [];
    let end;
    for await (const event of answer.EventStream) {
        if (event.PayloadChunk) pieces.push(text(event.PayloadChunk.Payload));
        if (event.InvokeComplete) end = event.InvokeComplete;
    }
    const failed = await send("InvokeWithResponseStream", { Payload: JSON.stringify("fail"), LogType: "Tail" });
    let failure;
    for await (const event of failed.EventStream) failure = event.InvokeComplete ?? failure;
    seen.stream = {
        status: answer.StatusCode,
        type: answer.ResponseStreamContentType,
        version: answer.ExecutedVersion,
        whole: pieces.join(""),
        end,
        failure: { code: failure.ErrorCode, details: failure.ErrorDetails, hasLog: Boolean(failure.LogResult) },
    };
}

async function updates() {
    const before = await send("GetFunctionConfiguration");
    const changed = await send("UpdateFunctionConfiguration", { Timeout: 9, RevisionId: before.RevisionId });
    await sdk.waitUntilFunctionUpdatedV2(patience, { FunctionName });
    await send("UpdateFunctionCode", { ZipFile, DryRun: true });
    await send("UpdateFunctionCode", { ZipFile });
    await sdk.waitUntilFunctionUpdated(patience, { FunctionName });
    seen.update = {
        status: changed.LastUpdateStatus,
        timeout: changed.Timeout,
        stale: await refused(send("UpdateFunctionConfiguration", { Timeout: 5, RevisionId: before.RevisionId })),
    };
}

async function publishes() {
    const { Version } = await send("PublishVersion", { Description: "first" });
    await sdk.waitUntilPublishedVersionActive(patience, { FunctionName, Qualifier: Version });
    const created = await send("CreateAlias", { Name: "live", FunctionVersion: Version });
    const moved = await send("UpdateAlias", { Name: "live", Description: "moved" });
    const got = await send("GetAlias", { Name: "live" });
    const invoked = await send("Invoke", { Qualifier: "live" });
    const versions = [];
    const pages = sdk.paginateListVersionsByFunction({ client, pageSize: 1 }, { FunctionName });
    for await (const page of pages) versions.push(...page.Versions.map((version) => version.Version));
    const { Aliases } = await send("ListAliases");
    seen.versions = {
        versions,
        aliases: Aliases.map((alias) => alias.Name),
        isChanged: created.RevisionId !== moved.RevisionId && got.Description === "moved",
        invoked: invoked.ExecutedVersion,
        missing: await refused(send("GetAlias", { Name: "none" })),
    };
}

async function limits() {
    await send("PutFunctionConcurrency", { ReservedConcurrentExecutions: 0 });
    const throttled = await refused(send("Invoke"));
    const { ReservedConcurrentExecutions: reserved } = await send("GetFunctionConcurrency");
    await send("DeleteFunctionConcurrency");
    const invalid = await refused(send("PutFunctionConcurrency", { ReservedConcurrentExecutions: 1_000_000 }));
    const unknown = await refused(send("GetProvisionedConcurrencyConfig", { Qualifier: "1" }));
    const { AccountLimit } = await send("GetAccountSettings");
    seen.limits = { throttled, reserved, invalid, unknown, zipped: AccountLimit.CodeSizeZipped };
}

async function permits() {
    const permission = { StatementId: "s3", Action: "lambda:InvokeFunction", Principal: "s3.amazonaws.com" };
    await send("AddPermission", { ...permission, SourceArn: "arn:aws:s3:::pictures" });
    const { Policy } = await send("GetPolicy");
    await send("RemovePermission", { StatementId: "s3" });
    const { Configuration } = await send("GetFunction");
    const Resource = Configuration.FunctionArn;
    await send("TagResource", { Resource, Tags: { b: "2 3" } });
    await send("UntagResource", { Resource, TagKeys: ["a", "not there"] });
    const { Tags } = await send("ListTags", { Resource });
    const signing = await send("GetFunctionCodeSigningConfig");
    const invalid = await refused(send("AddPermission", { ...permission, Action: "s3:Get" }));
    seen.permissions = { policy: JSON.parse(Policy), tags: Tags, signing: signing.CodeSigningConfigArn ?? null, invalid };
}

async function connects() {
    const url = await send("CreateFunctionUrlConfig", { AuthType: "NONE", Cors: { AllowOrigins: ["*"], MaxAge: 5 } });
    const got = await send("GetFunctionUrlConfig");
    await send("DeleteFunctionUrlConfig");
    const retries = await send("PutFunctionEventInvokeConfig", { MaximumRetryAttempts: 1 });
    const listed = await send("ListFunctionEventInvokeConfigs");
    await send("DeleteFunctionEventInvokeConfig");
    const mapping = await send("CreateEventSourceMapping", { EventSourceArn, BatchSize: 5, Enabled: false });
    const { EventSourceMappings } = await send("ListEventSourceMappings", { EventSourceArn });
    await send("DeleteEventSourceMapping", { UUID: mapping.UUID });
    seen.connections = {
        url: new URL(got.FunctionUrl).href === url.FunctionUrl,
        cors: got.Cors,
        created: got.CreationTime,
        retries: [retries.MaximumRetryAttempts, isDate(retries.LastModified)],
        listed: listed.FunctionEventInvokeConfigs.map((config) => isDate(config.LastModified)),
        mappings: EventSourceMappings.map((each) => [each.BatchSize, isDate(each.LastModified)]),
    };
}

async function layers() {
    const LayerName = FunctionName;
    const made = await send("PublishLayerVersion", { LayerName, Content: { ZipFile: layerZip } });
    const got = await send("GetLayerVersionByArn", { Arn: made.LayerVersionArn });
    const { LayerVersions } = await send("ListLayerVersions", { LayerName });
    await send("DeleteLayerVersion", { LayerName, VersionNumber: made.Version });
    const gone = await refused(send("GetLayerVersion", { LayerName, VersionNumber: made.Version }));
    seen.layers = { version: got.Version, size: got.Content.CodeSize, listed: LayerVersions.length, gone };
}

async function ends() {
    const names = [];
    for await (const page of sdk.paginateListFunctions({ client, pageSize: 1 }, {})) {
        names.push(...page.Functions.map((listed) => listed.FunctionName));
    }
    await send("DeleteAlias", { Name: "live" });
    const { $metadata } = await send("DeleteFunction");
    seen.end = {
        isListed: names.includes(FunctionName),
        status: $metadata.httpStatusCode,
        gone: await refused(send("GetFunction")),
        answered,
    };
}

async function main() {
    for (const part of [creates, invokes, streams, updates, publishes, limits, permits, connects, layers, ends]) await part();
    fs.writeFileSync(path.join(__dirname, "seen.json"), JSON.stringify(seen));
}

main().catch((error) => {
    process.stderr.write(`${error.stack}\n${JSON.stringify(seen)}\n`);
    process.exit(1);
});
