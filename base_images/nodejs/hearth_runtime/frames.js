// The frames of docs/environment-protocol.md: kind (1 byte) | meta_len (u32) | body_len (u32) | meta | body.
"use strict";

const HEADER_BYTES = 9;

const Kind = Object.freeze({
    HELLO: "H",
    SPECIALISE: "S",
    NEXT: "N",
    INVOKE: "I",
    RESPONSE: "R",
    ERROR: "E",
    INIT_FAILED: "F",
    BEGIN: "P",
    PIECE: "D",
    END: "Z",
});

/** One frame. A NUL inside a field would shift the others, so it is taken out. */
function encode(kind, meta = [], body = "") {
    const fields = Buffer.from(meta.map((field) => field.replaceAll("\0", "")).join("\0"));
    const content = Buffer.from(body);
    const frame = Buffer.allocUnsafe(HEADER_BYTES + fields.length + content.length);
    frame.write(kind, 0, "latin1");
    frame.writeUInt32BE(fields.length, 1);
    frame.writeUInt32BE(content.length, 5);
    fields.copy(frame, HEADER_BYTES);
    content.copy(frame, HEADER_BYTES + fields.length);
    return frame;
}

/** Puts frames together from pieces as they arrive. A large frame's pieces are joined once, when it is complete. */
class Decoder {
    #pieces = [];
    #bytes = 0;
    #wanted = HEADER_BYTES;

    /** Add a piece; returns a frame {kind, meta, body} once one is complete, else undefined. */
    push(piece) {
        this.#pieces.push(piece);
        this.#bytes += piece.length;
        while (this.#bytes >= this.#wanted) {
            const data = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces, this.#bytes);
            this.#pieces = [data];
            const metaBytes = data.readUInt32BE(1);
            const frameBytes = HEADER_BYTES + metaBytes + data.readUInt32BE(5);
            if (data.length < frameBytes) {
                this.#wanted = frameBytes;
                return undefined;
            }
            this.#pieces = data.length > frameBytes ? [data.subarray(frameBytes)] : [];
            this.#bytes = data.length - frameBytes;
            this.#wanted = HEADER_BYTES;
            return {
                kind: String.fromCharCode(data[0]),
                meta: data.toString("utf8", HEADER_BYTES, HEADER_BYTES + metaBytes).split("\0"),
                body: data.subarray(HEADER_BYTES + metaBytes, frameBytes),
            };
        }
        return undefined;
    }
}

module.exports = { Decoder, Kind, encode };
