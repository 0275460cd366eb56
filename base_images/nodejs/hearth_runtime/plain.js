// Without Hearth's socket: AWS's client on the Runtime API at AWS_LAMBDA_RUNTIME_API, as in any other image.
// Its own native client is not in this image; it can speak HTTP by itself, but does so for asking only.
"use strict";

const INVOCATION = "/2018-06-01/runtime/invocation";

/** Serve the handler that _HANDLER (or the command line) names. */
function serve(ric) {
    const { RAPIDClient, Errors } = ric;
    process.env.AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1 = "true";
    ric.NativeModuleLoader.load = () => ({});
    RAPIDClient.prototype.postInvocationResponse = function (response, id, callback) {
        this._post(`${INVOCATION}/${encodeURIComponent(id)}/response`, response, {}, callback);
    };
    RAPIDClient.prototype.postInvocationError = function (error, id, callback) {
        const response = Errors.toRapidResponse(error);
        const headers = { "Lambda-Runtime-Function-Error-Type": response.errorType };
        this._post(`${INVOCATION}/${encodeURIComponent(id)}/error`, response, headers, callback);
    };
    return ric.run(process.env.LAMBDA_TASK_ROOT ?? process.cwd(), process.env._HANDLER ?? process.argv[2] ?? "");
}

module.exports = { serve };
