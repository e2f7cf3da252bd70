/** A small server of files with ranges, that counts, and misbehaves on demand. */
import { statSync } from "node:fs";
import { open } from "node:fs/promises";
import { createServer } from "node:http";

/**
 * Serves `files` (path to file name or bytes). `faults` are functions of the request that answer
 * `undefined`, to leave it alone, or what goes wrong; the first that answers something is used.
 */
export async function serve(files) {
  const state = { log: [], faults: [], latency: 0, url: "", close: async () => {} };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    const entry = {
      path: url.pathname,
      range: request.headers.range,
      headers: request.headers,
      sent: 0,
    };
    state.log.push(entry);
    if (state.latency > 0) await new Promise((resolve) => setTimeout(resolve, state.latency));
    const nth = state.log.filter(({ path }) => path === entry.path).length;
    let fault = {};
    for (const each of state.faults) {
      const found = each(entry, nth);
      if (found) {
        fault = found;
        break;
      }
    }
    try {
      await answer(request, response, files[decodeURIComponent(url.pathname)], fault, entry);
    } catch {
      response.destroy();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  state.url = `http://127.0.0.1:${server.address().port}`;
  state.close = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  return state;
}

async function answer(request, response, file, fault, entry) {
  if (fault.status) {
    response.writeHead(fault.status, fault.headers).end("no");
    return;
  }
  if (file === undefined) {
    response.writeHead(404).end("not here");
    return;
  }
  const size = typeof file === "string" ? statSync(file).size : file.length;
  const wanted = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  const headers = { ETag: '"one"', "Access-Control-Allow-Origin": "*", ...fault.headers };
  let [start, end] = [0, size];
  if (wanted && !fault.ignoreRange) {
    start = Number(wanted[1]);
    end = Math.min(Number(wanted[2]) + 1, size);
    if (start >= size) {
      response.writeHead(416, { "Content-Range": `bytes */${size}` }).end();
      return;
    }
    headers["Content-Range"] ??=
      `bytes ${start + (fault.shift ?? 0)}-${end - 1 + (fault.shift ?? 0)}/${fault.total ?? size}`;
    if (fault.hideContentRange) delete headers["Content-Range"];
  }
  const bytes = await read(file, start, end);
  headers["Content-Length"] = String(bytes.length);
  for (const name of fault.without ?? []) delete headers[name];
  response.writeHead(wanted && !fault.ignoreRange ? 206 : 200, headers);
  if (fault.hang) return;
  if (fault.dripEvery !== undefined) {
    let sent = 0;
    const timer = setInterval(() => {
      if (sent === bytes.length || response.destroyed) clearInterval(timer);
      else response.write(bytes.subarray(sent, ++sent));
    }, fault.dripEvery);
    return;
  }
  const body = fault.dropAfter === undefined ? bytes : bytes.subarray(0, fault.dropAfter);
  entry.sent = body.length;
  if (fault.dropAfter === undefined) response.end(body);
  else response.write(body, () => setTimeout(() => response.destroy(), 20));
}

async function read(file, start, end) {
  if (typeof file !== "string") return file.subarray(start, end);
  const handle = await open(file);
  try {
    const bytes = Buffer.alloc(end - start);
    await handle.read(bytes, 0, bytes.length, start);
    return bytes;
  } finally {
    await handle.close();
  }
}
