// What a handler may look like: callbacks ended with Node.js 24.
// https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html
"use strict";

const LAST_WITH_CALLBACKS = 22;
const PARAMETERS_WITH_CALLBACK = 3;
const RUNTIME = /^AWS_Lambda_nodejs(\d+)\.x$/;

class CallbackHandlerDeprecated extends Error {
    name = "Runtime.CallbackHandlerDeprecated";
}

/** Make AWS's client (which knows callbacks) refuse them for functions of Node.js 24 and later, as Lambda does. The
 * function's runtime identifier decides, not the interpreter that stands in for it. */
function refuseCallbacks(ric) {
    const major = Number(RUNTIME.exec(process.env.AWS_EXECUTION_ENV ?? "")?.[1] ?? 0);
    if (major <= LAST_WITH_CALLBACKS) return;
    const load = ric.UserFunction.load;
    ric.UserFunction.load = async (...names) => {
        const handler = await load(...names);
        const takesCallback = handler.length >= PARAMETERS_WITH_CALLBACK;
        if (takesCallback && !ric.UserFunction.getHandlerMetadata(handler).streaming) {
            throw new CallbackHandlerDeprecated(
                "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. " +
                    "You need to modify this function to use a supported handler signature to use Node.js 24 or later. " +
                    "For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
            );
        }
        return handler;
    };
}

module.exports = { refuseCallbacks };
