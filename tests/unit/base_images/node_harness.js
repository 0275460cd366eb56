// A runtime client without AWS's part: transport and connection alone, echoing events. Usage: node node_harness.js FOLDER
"use strict";

const path = require("path");
const folder = process.argv[2];
const { Connection } = require(path.join(folder, "connection.js"));
const { SocketTransport } = require(path.join(folder, "transport.js"));

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
        if (event === "headers") transport.done(id, JSON.stringify(headers));
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
