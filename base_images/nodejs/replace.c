/* What Node.js 20 lacks for starting anew in the same process (process.execve came with 22.15): execve, and keeping a
 * descriptor across it. A Node-API module; the interface is stable across versions of Node.js. */
#include <errno.h>
#include <fcntl.h>
#include <node_api.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A JavaScript array of strings as a NULL-terminated vector. Not freed: the process is about to be replaced. */
static char **strings(napi_env env, napi_value array) {
    uint32_t length = 0;
    if (napi_get_array_length(env, array, &length) != napi_ok) return NULL;
    char **vector = calloc(length + 1, sizeof *vector);
    for (uint32_t index = 0; vector && index < length; index++) {
        napi_value item;
        size_t bytes;
        if (napi_get_element(env, array, index, &item) != napi_ok ||
            napi_get_value_string_utf8(env, item, NULL, 0, &bytes) != napi_ok ||
            !(vector[index] = malloc(bytes + 1)) ||
            napi_get_value_string_utf8(env, item, vector[index], bytes + 1, &bytes) != napi_ok)
            return NULL;
    }
    return vector;
}

/* execve(path, arguments, variables): returns only when it failed, the reason. */
static napi_value replace(napi_env env, napi_callback_info info) {
    size_t count = 3;
    napi_value arguments[3], reason;
    char path[4096];
    size_t bytes;
    int error = EINVAL;
    if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) == napi_ok && count == 3 &&
        napi_get_value_string_utf8(env, arguments[0], path, sizeof path, &bytes) == napi_ok) {
        char **command = strings(env, arguments[1]), **variables = strings(env, arguments[2]);
        if (command && variables) {
            signal(SIGPIPE, SIG_DFL); /* Node.js ignores it, and ignoring is inherited */
            for (int fd = 0; fd <= 2; fd++) fcntl(fd, F_SETFD, 0); /* it closes even these on exec */
            execve(path, command, variables);
            error = errno;
        }
    }
    napi_create_string_utf8(env, strerror(error), NAPI_AUTO_LENGTH, &reason);
    return reason;
}

/* closeOnExec(fd, yes) */
static napi_value close_on_exec(napi_env env, napi_callback_info info) {
    size_t count = 2;
    napi_value arguments[2];
    int32_t fd;
    bool yes;
    if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) == napi_ok && count == 2 &&
        napi_get_value_int32(env, arguments[0], &fd) == napi_ok &&
        napi_get_value_bool(env, arguments[1], &yes) == napi_ok)
        fcntl(fd, F_SETFD, yes ? FD_CLOEXEC : 0);
    return NULL;
}

static void export_function(napi_env env, napi_value exports, const char *name, napi_callback callback) {
    napi_value function;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function) == napi_ok)
        napi_set_named_property(env, exports, name, function);
}

NAPI_MODULE_INIT() {
    export_function(env, exports, "execve", replace);
    export_function(env, exports, "closeOnExec", close_on_exec);
    return exports;
}
