// A stem cell: an interpreter that waits, AWS's client loaded, to be told which function it is.
"use strict";

const fs = require("fs");
const path = require("path");
const { Connection } = require("./connection.js");
const { Kind } = require("./frames.js");
const modules = require("./modules.js");
const plain = require("./plain.js");
const { refuseCallbacks } = require("./signature.js");
const streaming = require("./streaming.js");
const { SocketTransport } = require("./transport.js");

const RUNTIME_DIR = path.dirname(__dirname);
// AWS's client, prepared by the Dockerfile: its parts are exported besides `run`.
const RIC = path.join(RUNTIME_DIR, "aws-lambda-ric", "index.mjs");
// How the stem speaks to the interpreter it starts anew; the function never sees them.
const OURS = ["HEARTH_SOCKET", "HEARTH_ORPHAN_S", "HEARTH_STEM", "HEARTH_FD", "HEARTH_HANDLER"];

/** Become a function and serve it for ever. */
async function main() {
    const ours = take(process.env, OURS);
    const ric = await load();
    modules.hideLinks();
    if (ours.HEARTH_SOCKET === undefined) {
        modules.readNodePath();
        refuseCallbacks(ric);
        rethrow(plain.serve(ric));
        return;
    }
    const orphanS = Number(ours.HEARTH_ORPHAN_S || 60);
    const fd = ours.HEARTH_FD === undefined ? undefined : Number(ours.HEARTH_FD);
    if (fd !== undefined) native().closeOnExec(fd, true);
    const connection = new Connection(ours.HEARTH_SOCKET, orphanS, fd);
    const handler = ours.HEARTH_HANDLER ?? (await waitToBeSpecialised(connection, ours.HEARTH_SOCKET, orphanS));
    serve(ric, handler, connection);
}

/** Load, ahead of time, AWS's client and what it (or nearly any function) would load once the function is known. */
async function load() {
    require("http");
    for (const stream of [process.stdout, process.stderr]) stream.writable;
    return import(RIC);
}

function take(variables, names) {
    const taken = {};
    for (const name of names) {
        if (name in variables) taken[name] = variables[name];
        delete variables[name];
    }
    return taken;
}

/** Wait for `S` and apply it. Returns the handler's name, or not at all (execve). */
async function waitToBeSpecialised(connection, socketPath, orphanS) {
    const { kind, meta, body } = await connection.ask(Buffer.alloc(0), "stem");
    if (kind !== Kind.SPECIALISE) throw new Error(`the scheduler said ${kind} instead of what to become`);
    const { environment, handler } = JSON.parse(body.toString("utf8"));
    if (meta[0] === "1") {
        const ours = {
            HEARTH_SOCKET: socketPath,
            HEARTH_ORPHAN_S: String(orphanS),
            HEARTH_FD: String(connection.fd),
            HEARTH_HANDLER: handler,
        };
        startAnew({ ...process.env, ...environment, ...ours }, connection.fd);
    }
    Object.assign(process.env, environment);
    return handler;
}

/**
 * Replace this process by a new interpreter with that environment and the same connection, through the function's
 * wrapper script if it has one: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html#runtime-wrapper.
 * Messages and statuses of a bad script are those of AWS's start script (and of a shell).
 */
function startAnew(environment, fd) {
    let command = [process.execPath, path.join(RUNTIME_DIR, "bootstrap")];
    const wrapper = environment.AWS_LAMBDA_EXEC_WRAPPER;
    if (wrapper) {
        if (!fs.statSync(wrapper, { throwIfNoEntry: false })?.isFile()) refuse(`${wrapper}: does not exist`, 127);
        if (!isExecutable(wrapper)) refuse(`${wrapper}: is not an executable`, 126);
        command = [wrapper, ...command];
    }
    process.chdir(environment.LAMBDA_TASK_ROOT ?? "/var/task");
    native().closeOnExec(fd, false);
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    const reason = native().execve(command[0], command, variables);
    refuse(`${command[0]}: ${reason}`, 126);
}

function isExecutable(file) {
    try {
        fs.accessSync(file, fs.constants.X_OK);
        return true;
    } catch {
        return false;
    }
}

function refuse(message, status) {
    fs.writeSync(2, `${message}\n`);
    process.exit(status);
}

/** Node.js 20 cannot replace its own process: two system calls in C. Loaded only when needed. */
function native() {
    return require("./replace.node");
}

/** Load the handler and serve events until the end of the process. */
function serve(ric, handler, connection) {
    const transport = new SocketTransport(connection);
    ric.NativeModuleLoader.load = () => transport;
    streaming.install(ric, connection);
    ric.RAPIDClient.prototype.postInitError = (error, callback) => {
        transport.initError(ric.Errors.toRapidResponse(error));
        callback();
    };
    process.env.AWS_LAMBDA_RUNTIME_API ??= "127.0.0.1:9001";
    // The code was mounted over the directory after this process started: it must be entered again to be seen.
    const task = process.env.LAMBDA_TASK_ROOT ?? "/var/task";
    process.chdir(task);
    modules.readNodePath();
    refuseCallbacks(ric);
    rethrow(ric.run(task, handler));
}

/** Throw what a promise is rejected with: then it is logged and reported like any other exception during init. */
function rethrow(promise) {
    promise.catch((error) => setImmediate(() => { throw error; }));
}

module.exports = { main };
