// The connection to the scheduler, made anew whenever it breaks.
//
// Rule 1: what may not have arrived is said again; the scheduler ignores an answer to an id it does not know.
// Rule 2: patience ends. Without a scheduler for `orphanS` seconds the process exits (the init would kill it anyway).
// Rule 3: the socket keeps the process alive only while an answer is awaited. In between, the event loop belongs to the
//         handler: Lambda waits for it to become empty.
"use strict";

const fs = require("fs");
const net = require("net");
const { Decoder, Kind, encode } = require("./frames.js");

const VERSION = "1";
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 500;
const LAST_WORDS_MS = 5000;
const NOTHING = Buffer.alloc(0);

class Connection {
    #path;
    #orphanMs;
    #socket = null;
    #decoder = new Decoder();
    // What is asked and not yet answered: {message, state, resolve}. One at a time.
    #asked = null;
    // What `tell` has given to the socket, until the kernel has taken all of it.
    #told = NOTHING;
    #isHeld = false;
    #retryMs = RETRY_FIRST_MS;
    #giveUpAt = Infinity;

    /** `fd`: a connection that already exists (kept across an execve). */
    constructor(path, orphanS, fd = undefined) {
        this.#path = path;
        this.#orphanMs = orphanS * 1000;
        if (fd !== undefined) {
            this.#use(new net.Socket({ fd, readable: true, writable: true }));
            this.#socket.unref();
        }
    }

    /** The descriptor, to be kept across an execve or written to at the very end; -1 without a connection. */
    get fd() {
        return this.#socket?._handle?.fd ?? -1;
    }

    /**
     * Send `message` (whole frames, in one write) and wait for the frame that answers it. On a new connection the
     * greeting with `state` goes first. Without deadline: waiting is what a warm environment does all its life.
     */
    ask(message, state) {
        return new Promise((resolve) => {
            this.#asked = { message, state, resolve };
            if (this.#socket === null) {
                this.#giveUpAt = Date.now() + this.#orphanMs;
                this.#connect();
            } else {
                this.#socket.ref();
                if (message.length > 0) this.#socket.write(message);
            }
        });
    }

    /**
     * Send what nothing answers, and call `done` once the kernel has taken it. One at a time. If nobody is there, nobody
     * is told, and whoever is there next would not know what it is about.
     */
    tell(message, done) {
        if (this.#socket === null) {
            process.nextTick(done);
            return;
        }
        this.#told = message;
        this.#socket.write(message, () => {
            this.#told = NOTHING;
            done();
        });
    }

    /** Keep the process alive, as an open request would, until `release`. */
    hold() {
        this.#isHeld = true;
        this.#socket?.ref();
    }

    release() {
        this.#isHeld = false;
        if (this.#asked === null) this.#socket?.unref();
    }

    /** Send last words synchronously: the process is about to exit. If nobody is there, nobody is told. */
    tellNow(words) {
        // The kernel may have taken half a frame: its other half goes first.
        const unsent = this.#socket?._handle?.writeQueueSize ?? 0;
        const message = Buffer.concat([this.#told.subarray(this.#told.length - unsent), words]);
        const giveUpAt = Date.now() + LAST_WORDS_MS;
        const clock = new Int32Array(new SharedArrayBuffer(4));
        for (let sent = 0; sent < message.length && this.fd >= 0 && Date.now() < giveUpAt; ) {
            try {
                sent += fs.writeSync(this.fd, message, sent);
            } catch (error) {
                if (error.code !== "EAGAIN") return;
                Atomics.wait(clock, 0, 0, 1); // the scheduler is still reading
            }
        }
    }

    #connect() {
        const socket = net.connect(this.#path);
        socket.once("connect", () => {
            const { message, state } = this.#asked;
            this.#retryMs = RETRY_FIRST_MS;
            this.#use(socket);
            socket.write(Buffer.concat([encode(Kind.HELLO, [VERSION, state]), message]));
        });
        socket.once("error", () => {
            if (this.#socket !== socket) this.#retry();
        });
    }

    #retry() {
        if (Date.now() + this.#retryMs > this.#giveUpAt) process.exit(1);
        setTimeout(() => this.#connect(), this.#retryMs);
        this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
    }

    #use(socket) {
        this.#socket = socket;
        this.#decoder = new Decoder();
        socket.on("data", (piece) => this.#received(piece));
        socket.on("error", () => {}); // "close" follows
        socket.on("end", () => socket.destroy());
        socket.once("close", () => this.#lost(socket));
    }

    #received(piece) {
        const frame = this.#decoder.push(piece);
        if (frame === undefined || this.#asked === null) return;
        const { resolve } = this.#asked;
        this.#asked = null;
        if (!this.#isHeld) this.#socket.unref();
        resolve(frame);
    }

    #lost(socket) {
        if (this.#socket !== socket) return;
        this.#socket = null;
        if (this.#asked !== null) {
            this.#giveUpAt = Date.now() + this.#orphanMs;
            this.#retry();
        }
    }
}

module.exports = { Connection };
