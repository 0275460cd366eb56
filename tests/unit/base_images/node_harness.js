// A runtime client without AWS's part: transport and connection alone, echoing events. Usage: node node_harness.js FOLDER
"use strict";

const path = require("path");
const folder = process.argv[2];
const { Connection } = require(path.join(folder, "connection.js"));
const { SocketTransport } = require(path.join(folder, "transport.js"));
const { ResponseStream } = require(path.join(folder, "streaming.js"));

// What a handler might do with its stream; `acknowledged` is what AWS's client waits for.
const STREAMS = {
    pieces: async (stream, acknowledged) => {
        stream.write("one");
        stream.write(Buffer.from("two"));
        stream.setHeader("Content-Type", "text/plain");
        stream.end("three");
        await acknowledged;
    },
    large: async (stream, acknowledged) => {
        stream.end(Buffer.alloc(10_000_000, "x"));
        await acknowledged;
    },
    fails: async (stream, acknowledged) => {
        stream.write("half");
        const body = Buffer.from(JSON.stringify({ errorType: "Own", errorMessage: "ü" })).toString("base64");
        stream.addTrailers({ "Lambda-Runtime-Function-Error-Type": "Own", "Lambda-Runtime-Function-Error-Body": body });
        stream.end();
        await acknowledged;
    },
    destroyed: async (stream, acknowledged) => {
        stream.write("half", () => stream.destroy());
        await acknowledged;
    },
    // Whoever is not told to go on when the scheduler has gone would wait for ever.
    patient: async (stream, acknowledged) => {
        for (let n = 0; n < 100; n += 1) {
            if (!stream.write(Buffer.alloc(100_000))) await new Promise((resolve) => stream.once("drain", resolve));
        }
        stream.end();
        await acknowledged;
    },
    dies: async (stream, _acknowledged, transport, id) => {
        stream.write(Buffer.alloc(16_000_000, "x"));
        await new Promise(setImmediate);
        transport.error(id, JSON.stringify({ errorType: "Error", errorMessage: "dead" }), "");
        process.exit(129);
    },
    alive: async (stream, acknowledged) => {
        stream.end(JSON.stringify(process.getActiveResourcesInfo()));
        await acknowledged;
    },
};

function streamed(connection, transport, id, name) {
    const request = { path: `/2018-06-01/runtime/invocation/${encodeURIComponent(id)}/response` };
    const headers = { "Content-Type": "application/octet-stream" };
    let stream;
    const acknowledged = new Promise((resolve) => {
        stream = new ResponseStream(connection, { ...request, headers }, resolve);
    });
    return STREAMS[name](stream, acknowledged, transport, id);
}

async function main() {
    const connection = new Connection(process.env.HEARTH_SOCKET, Number(process.env.HEARTH_ORPHAN_S));
    const specification = await connection.ask(Buffer.alloc(0), "stem");
    const { handler } = JSON.parse(specification.body.toString());
    const transport = new SocketTransport(connection);
    if (handler === "fail") {
        transport.initError({ errorType: "Runtime.ImportModuleError", errorMessage: "no", trace: [] });
        process.exit(129);
    }
    for (;;) {
        const { bodyJson, headers } = await transport.next();
        const id = headers["lambda-runtime-aws-request-id"];
        const event = JSON.parse(bodyJson);
        if (event?.stream) await streamed(connection, transport, id, event.stream);
        else if (event === "alive") transport.done(id, JSON.stringify(process.getActiveResourcesInfo()));
        else if (event === "headers") transport.done(id, JSON.stringify(headers));
        else if (event === "die") {
            transport.error(id, JSON.stringify({ errorType: "Error", errorMessage: "x".repeat(1_000_000) }), "");
            process.exit(129);
        } else if (event === "end") {
            transport.done(id, "null");
            return; // nothing keeps the process alive now but an idle connection: it must not
        } else transport.done(id, JSON.stringify(event));
    }
}

main();
