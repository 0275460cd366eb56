// The stream a handler writes its response to, on our socket.
//
// AWS's client makes that stream itself, out of an HTTP request to the Runtime API: content type, prelude, trailers for
// an error half-way. All it asks for is an `http` module, so it gets one whose requests are streams of ours, and what a
// handler sees is AWS's own.
//
// Rule 1: a piece counts as written once the kernel has it. The kernel has room for as much as the scheduler lets it,
//         so `write` returning false, and 'drain', tell the handler how fast its caller reads.
// Rule 2: an open stream keeps the process alive, as an open request does.
"use strict";

const { EventEmitter } = require("events");
const { Writable } = require("stream");
const { Kind, encode } = require("./frames.js");

const PIECE_BYTES = 64 * 1024;
const CONTENT_TYPE = "content-type";
const ERROR_TYPE = "lambda-runtime-function-error-type";
const ERROR_BODY = "lambda-runtime-function-error-body";
const RESPONSE_PATH = /\/invocation\/([^/]*)\/response$/;
const CUT_OFF = { errorType: "Runtime.TruncatedResponse", errorMessage: "the response was cut off" };

/** Stands in for an `http.ClientRequest` that posts a response. */
class ResponseStream extends Writable {
    // AWS's client looks at these to log them.
    outputData = [];
    outputSize = 0;
    #connection;
    #id;
    #headers;
    #trailers = {};
    #onResponse;
    #hasBegun = false;
    #isAcknowledged = false;

    constructor(connection, { path, headers, highWaterMark }, onResponse) {
        super({ highWaterMark });
        this.#connection = connection;
        this.#id = decodeURIComponent(RESPONSE_PATH.exec(path)[1]);
        this.#headers = inLowerCase(headers);
        this.#onResponse = onResponse;
        connection.hold();
    }

    setHeader(name, value) {
        this.#headers[name.toLowerCase()] = value;
    }

    addTrailers(trailers) {
        Object.assign(this.#trailers, inLowerCase(trailers));
    }

    _write(chunk, _encoding, callback) {
        this.#send(chunk, 0, callback);
    }

    /** Piece by piece: each waits for the one before it. */
    #send(chunk, from, callback) {
        const to = Math.min(from + PIECE_BYTES, chunk.length);
        const frames = Buffer.concat([this.#beginning(), encode(Kind.PIECE, [this.#id], chunk.subarray(from, to))]);
        this.#connection.tell(frames, () => {
            if (to < chunk.length) this.#send(chunk, to, callback);
            else callback();
        });
    }

    _final(callback) {
        this.#connection.tell(Buffer.concat([this.#beginning(), this.#end()]), () => {
            callback();
            this.#acknowledge();
        });
    }

    /** A stream that is destroyed before its end leaves half a response, and its reader is told so. */
    _destroy(error, callback) {
        if (!this.writableFinished && !this.#isAcknowledged) {
            this.#trailers = { [ERROR_TYPE]: CUT_OFF.errorType, [ERROR_BODY]: base64(JSON.stringify(CUT_OFF)) };
            this.#connection.tell(Buffer.concat([this.#beginning(), this.#end()]), () => this.#acknowledge());
        }
        callback(error);
    }

    #beginning() {
        if (this.#hasBegun) return Buffer.alloc(0);
        this.#hasBegun = true;
        return encode(Kind.BEGIN, [this.#id, String(this.#headers[CONTENT_TYPE] ?? "")]);
    }

    #end() {
        const type = this.#trailers[ERROR_TYPE];
        if (type === undefined) return encode(Kind.END, [this.#id]);
        return encode(Kind.END, [this.#id, String(type) || "Error"], Buffer.from(this.#trailers[ERROR_BODY] ?? "", "base64"));
    }

    /** Say what the Runtime API's 202 would say: the response has been taken. */
    #acknowledge() {
        if (this.#isAcknowledged) return;
        this.#isAcknowledged = true;
        this.#connection.release();
        const answer = Object.assign(new EventEmitter(), { statusCode: 202, statusMessage: "Accepted", headers: {} });
        setImmediate(() => {
            this.#onResponse(answer);
            answer.emit("end");
        });
    }
}

function inLowerCase(headers) {
    return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function base64(text) {
    return Buffer.from(text).toString("base64");
}

/** Let AWS's client stream over the connection. */
function install(ric, connection) {
    const { getStreamForInvocationResponse } = ric.RAPIDClient.prototype;
    ric.RAPIDClient.prototype.getStreamForInvocationResponse = function (id, callback, options) {
        const { highWaterMark } = options ?? {};
        this.http = {
            request: (request, onResponse) =>
                new ResponseStream(connection, { ...request, highWaterMark }, onResponse),
        };
        return getStreamForInvocationResponse.call(this, id, callback, options);
    };
}

module.exports = { ResponseStream, install };
