/**
 * A worker's whole script. It becomes one text that is part of the package (see `build.js`), and
 * runs in a Web Worker or a thread of Node's alike.
 */
import { asError } from "../errors.ts";
import { instantiate } from "./instance.ts";
import { Executor, type Job, transferable } from "./jobs.ts";

interface Port {
  postMessage(message: unknown, transfer?: ArrayBuffer[]): void;
  onMessage(listen: (message: Message) => void): void;
}

export type Message = { module: WebAssembly.Module } | { id: number; job: Job };
export type Reply =
  | { ready: true }
  | { id: number; result: unknown }
  | { id: number; error: Record<string, unknown> };

declare const nodePort: import("node:worker_threads").MessagePort | undefined;

const port: Port =
  typeof nodePort === "undefined"
    ? {
        postMessage: (message, transfer = []) => self.postMessage(message, { transfer }),
        onMessage: (listen) => self.addEventListener("message", ({ data }) => listen(data)),
      }
    : {
        postMessage: (message, transfer = []) => nodePort.postMessage(message, transfer),
        onMessage: (listen) => nodePort.on("message", listen),
      };

let executor: Executor | undefined;

port.onMessage((message) => {
  if ("module" in message) {
    executor = new Executor(instantiate(message.module));
    port.postMessage({ ready: true });
    return;
  }
  const { id, job } = message;
  try {
    const result = executor?.run(job);
    port.postMessage({ id, result }, transferable(result));
  } catch (thrown) {
    const { kind, code, message, tensor, expected, found } = asError(thrown);
    port.postMessage({ id, error: { kind, code, message, tensor, expected, found } });
  }
});
