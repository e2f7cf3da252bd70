import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/**
 * Serves what was built, as any static host would: the viewer under `/some/where/`, since its
 * addresses must be relative; the package; the conformance vectors; and an empty page.
 */
export async function startSite(root) {
  const folders = {
    "/some/where/": join(root, "web/viewer/dist"),
    "/package/": join(root, "web/dist"),
    "/vectors/": join(root, "tests/vectors"),
  };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://site");
    const answer = (status, type, body) => {
      response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-cache" });
      response.end(body);
    };
    if (pathname === "/blank.html") {
      answer(200, TYPES[".html"], "<!doctype html><title>blank</title>");
      return;
    }
    const prefix = Object.keys(folders).find((one) => pathname.startsWith(one));
    const path = prefix && within(folders[prefix], pathname.slice(prefix.length) || "index.html");
    try {
      answer(200, TYPES[extname(path)] ?? "application/octet-stream", await readFile(path));
    } catch {
      answer(404, "text/plain", "nothing here");
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  return {
    origin: `http://127.0.0.1:${port}`,
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function within(folder, path) {
  const full = normalize(join(folder, decodeURIComponent(path)));
  return full.startsWith(folder + sep) ? full : undefined;
}
