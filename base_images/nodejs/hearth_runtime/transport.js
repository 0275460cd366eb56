// The transport that AWS's runtime client finds in place of its native one: the same functions, on our socket.
//
// An answer is not sent when it is given but with the `next` that follows it: one write, one wake-up of the scheduler.
// It is kept until an event has arrived after it, since only then is it certain to have been read.
"use strict";

const { Kind, encode } = require("./frames.js");

const NEXT_FRAME = encode(Kind.NEXT);
const NOTHING = Buffer.alloc(0);

// What `I` carries, in order; names as in the Runtime API (2018-06-01), which is what AWS's client looks up.
const HEADERS = [
    "lambda-runtime-aws-request-id",
    "lambda-runtime-deadline-ms",
    "lambda-runtime-invoked-function-arn",
    "lambda-runtime-trace-id",
    "lambda-runtime-client-context",
    "lambda-runtime-cognito-identity",
    "lambda-runtime-aws-tenant-id",
];

class SocketTransport {
    #connection;
    #answer = NOTHING;
    #isAnswerSent = true;

    constructor(connection) {
        this.#connection = connection;
        // A handler that breaks the process (an uncaught exception) answers and exits without asking for more.
        process.on("exit", () => {
            if (!this.#isAnswerSent) this.#connection.tellNow(this.#answer);
        });
    }

    /** Send the last answer and wait for the next event. */
    async next() {
        const asked = this.#connection.ask(Buffer.concat([this.#answer, NEXT_FRAME]), "ready");
        this.#isAnswerSent = true;
        const { kind, meta, body } = await asked;
        if (kind !== Kind.INVOKE) throw new Error(`the scheduler said ${kind} instead of an event`);
        this.#answer = NOTHING;
        // Absent where empty.
        const headers = Object.fromEntries(HEADERS.map((name, index) => [name, meta[index]]).filter(([, v]) => v));
        return { bodyJson: body.toString("utf8"), headers };
    }

    /** The handler's answer, as JSON. */
    done(id, body) {
        this.#give(encode(Kind.RESPONSE, [decodeURIComponent(id)], body));
    }

    /** The handler's error, as AWS's client spells it. */
    error(id, body, _xrayCause) {
        this.#give(encode(Kind.ERROR, [decodeURIComponent(id), errorType(body)], body));
    }

    /** Init failed; the process exits next. */
    initError(error) {
        this.#connection.tellNow(encode(Kind.INIT_FAILED, [String(error.errorType ?? "")], JSON.stringify(error)));
    }

    #give(answer) {
        this.#answer = answer;
        this.#isAnswerSent = false;
    }
}

function errorType(body) {
    try {
        return String(JSON.parse(body).errorType ?? "");
    } catch {
        return "";
    }
}

module.exports = { SocketTransport };
