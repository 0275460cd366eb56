// Where modules are found: what Lambda adds to Node.js.
//
// For `import` Node.js looks into the node_modules of each folder above the file, and not into NODE_PATH. Lambda looks
// into both (since Node.js 18), so the image has links above /var/task: /var/node_modules are the layers',
// /node_modules the SDK's. `require` must not follow them: for it NODE_PATH has more folders, and their order counts.
"use strict";

const fs = require("fs");
const Module = require("module");
const path = require("path");
const { pathToFileURL } = require("url");

const LINKS = new Set(["/var/node_modules", "/node_modules"]);

/** Keep `require` to NODE_PATH where `import` has the links. Once, before the function is known. */
function hideLinks() {
    const folders = Module._nodeModulePaths;
    Module._nodeModulePaths = (from) => folders(from).filter((folder) => !LINKS.has(folder));
}

/** Take up the function's NODE_PATH, which Node.js reads at its start only. */
function readNodePath() {
    Module._initPaths();
    const linked = new Set([...LINKS].map((link) => path.resolve(link, "..", readLink(link))));
    const folders = (process.env.NODE_PATH ?? "").split(":").filter((folder) => path.basename(folder) === "node_modules");
    const others = folders.filter((folder) => !linked.has(folder) && fs.existsSync(folder));
    // It slows every import down a little, so only where there is something to be found: a layer made for one version
    // of Node.js, or a path of the function's own.
    if (others.length > 0 && Module.registerHooks !== undefined) Module.registerHooks({ resolve: search(folders) });
}

function readLink(link) {
    try {
        return fs.readlinkSync(link);
    } catch {
        return link; // outside our image
    }
}

/** A hook that finds bare names in these folders, in their order, before it looks at the links. */
function search(folders) {
    // As if asked by a file beside the folder.
    const askers = folders.map((folder) => pathToFileURL(path.join(folder, "..", "index.mjs")).href);
    return (specifier, context, next) => {
        const own = attempt(() => next(specifier, context));
        // What the linked folders hold finds what is beside it without our help.
        const isSettled = own.found && (!isLinked(own.result.url) || isLinked(context.parentURL ?? ""));
        if (isSettled) return own.result;
        if (isBare(specifier)) {
            for (const parentURL of askers) {
                const other = attempt(() => next(specifier, { ...context, parentURL }));
                if (other.found) return other.result;
            }
        }
        if (own.found) return own.result;
        throw own.error;
    };
}

function attempt(resolve) {
    try {
        return { found: true, result: resolve() };
    } catch (error) {
        if (error.code !== "ERR_MODULE_NOT_FOUND" && error.code !== "MODULE_NOT_FOUND") throw error;
        return { found: false, error };
    }
}

function isBare(specifier) {
    return !/^(\.{0,2}\/|#|[a-z]+:)/.test(specifier);
}

/** Whether a module was found by way of the links: where these lead to, for the real path is what Node.js tells. */
function isLinked(url) {
    return url.startsWith("file:///opt/nodejs/node_modules/") || url.startsWith("file:///var/runtime/node_modules/");
}

module.exports = { hideLinks, readNodePath };
