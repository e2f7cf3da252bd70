import { asError, TensorFileError, throwIfAborted, unlessAborted, usage } from "../errors.ts";
import { isNode, nodeModule } from "../source/node.ts";
import { compiled, workerScript } from "./embedded.ts";
import type { Face } from "./face.ts";
import { instantiate } from "./instance.ts";
import { Executor, type Job, type Results, transferable } from "./jobs.ts";
import type { Reply } from "./worker.ts";

/** More workers than this gain little and cost memory. */
const MOST_WORKERS = 4;
/** Jobs sent to one worker ahead of their turn, so that it never waits for the next. */
const AHEAD = 2;
/** How long workers stay after the last file was closed. */
const LINGER = 5_000;
/** How long a worker may take to say that it is there. */
const PATIENCE = 10_000;

/** A thread, of whichever kind there is here. */
interface Thread {
  post(message: unknown, transfer?: ArrayBuffer[]): void;
  stop(): void;
  /** Whether it keeps the process alive. */
  hold(busy: boolean): void;
}

interface Task {
  readonly job: Job;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly signal?: AbortSignal;
}

interface Worker_ {
  readonly thread: Thread;
  readonly running: Map<number, Task>;
  /** Of jobs that only this worker can do. */
  readonly queue: Task[];
}

/** Threads that share the heavy work, or this thread, where there can be none. */
export class Pool {
  readonly face: Face;
  readonly size: number;
  fallback = false;
  readonly #inline: Executor;
  readonly #queue: Task[] = [];
  #workers: Promise<Worker_[]> | undefined;
  #live: Worker_[] = [];
  #next = 0;
  #closed = false;

  constructor(face: Face, size: number) {
    this.face = face;
    this.size = size;
    this.#inline = new Executor(face);
  }

  /** Does a job on whichever worker is free first. */
  async run<J extends Job>(job: J, signal?: AbortSignal): Promise<Results[J["op"]]> {
    throwIfAborted(signal);
    const workers = await this.#start();
    if (workers.length === 0) return this.#here(job) as Promise<Results[J["op"]]>;
    return unlessAborted(this.#send(this.#queue, job, signal), signal) as Promise<Results[J["op"]]>;
  }

  /** Does a job at once, here: for little work, that a worker is not worth. */
  now<J extends Job>(job: J): Results[J["op"]] {
    try {
      return this.#inline.run(job) as Results[J["op"]];
    } catch (error) {
      throw asError(error);
    }
  }

  /** One worker that jobs can be sent to in order. */
  async lane(): Promise<Lane> {
    const workers = await this.#start();
    const load = (worker: Worker_) => worker.running.size + worker.queue.length;
    const [worker] = [...workers].sort((a, b) => load(a) - load(b));
    if (!worker) return { run: (job) => this.#here(job) };
    return {
      run: async (job, signal) => {
        // What was gathered is gone with its worker.
        if (!this.#live.includes(worker)) throw broken();
        return unlessAborted(this.#send(worker.queue, job, signal), signal);
      },
    };
  }

  /** How many workers there are, once they have started. */
  async workers(): Promise<number> {
    return (await this.#start()).length;
  }

  close(): void {
    this.#closed = true;
    for (const { thread, running, queue } of this.#live) {
      thread.stop();
      for (const task of [...running.values(), ...queue]) task.reject(closed());
    }
    for (const task of this.#queue.splice(0)) task.reject(closed());
    this.#live = [];
  }

  #send(queue: Task[], job: Job, signal?: AbortSignal): Promise<unknown> {
    if (this.#closed) throw closed();
    return new Promise((resolve, reject) => {
      queue.push({ job, resolve, reject, signal });
      for (const worker of this.#live) this.#feed(worker);
    });
  }

  /** Gives a worker more to do. */
  #feed(worker: Worker_): void {
    while (worker.running.size < AHEAD) {
      const task = worker.queue.shift() ?? this.#queue.shift();
      if (!task) break;
      const { job } = task;
      // What follows in order must be told, even where the answer interests no one.
      if (task.signal?.aborted && job.op !== "drop") {
        task.reject(new TensorFileError({ code: "io.interrupted", message: "cancelled" }));
        continue;
      }
      const id = this.#next++;
      worker.running.set(id, task);
      worker.thread.post({ id, job }, transferable(job));
    }
    worker.thread.hold(worker.running.size > 0);
  }

  async #here(job: Job): Promise<unknown> {
    // Lets a page breathe between one piece of work and the next.
    await new Promise((resolve) => setTimeout(resolve));
    return this.now(job);
  }

  #start(): Promise<Worker_[]> {
    this.#workers ??= this.#startAll();
    return this.#workers;
  }

  async #startAll(): Promise<Worker_[]> {
    const module = this.size > 0 ? await compiled() : undefined;
    const starting = Array.from({ length: this.size }, () => this.#startOne(module));
    const started = await Promise.allSettled(starting);
    this.#live = started.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    this.fallback = this.size > 0 && this.#live.length === 0;
    if (this.#closed) this.close();
    return this.#live;
  }

  async #startOne(module: WebAssembly.Module | undefined): Promise<Worker_> {
    const running = new Map<number, Task>();
    let ready = () => {};
    let failed = (_error: unknown) => {};
    const isReady = new Promise<void>((resolve, reject) => {
      ready = resolve;
      failed = reject;
    });
    const timer = setTimeout(() => failed(new Error("the worker does not answer")), PATIENCE);
    const onReply = (reply: Reply) => {
      if ("ready" in reply) return ready();
      const task = running.get(reply.id);
      running.delete(reply.id);
      if ("error" in reply) task?.reject(asError(reply.error));
      else task?.resolve(reply.result);
      this.#feed(worker);
    };
    const onDeath = (error: unknown) => {
      failed(error);
      this.#bury(worker, error);
    };
    const thread = await startThread(onReply, onDeath);
    const worker: Worker_ = { thread, running, queue: [] };
    try {
      thread.post({ module });
      await isReady;
    } catch (error) {
      thread.stop();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    thread.hold(false);
    return worker;
  }

  /** A worker died, of want of memory most likely. */
  #bury(worker: Worker_ | undefined, cause: unknown): void {
    if (!worker) return;
    worker.thread.stop();
    this.#live = this.#live.filter((other) => other !== worker);
    const error = broken(cause);
    for (const task of [...worker.running.values(), ...worker.queue]) task.reject(error);
    if (this.#live.length === 0) {
      for (const task of this.#queue.splice(0)) task.reject(error);
      this.#workers = undefined;
    }
  }
}

/** Jobs in order, on one worker. */
export interface Lane {
  run(job: Job, signal?: AbortSignal): Promise<unknown>;
}

async function startThread(
  onReply: (reply: Reply) => void,
  onDeath: (error: unknown) => void,
): Promise<Thread> {
  const script = workerScript();
  if (isNode()) {
    const { Worker } = await nodeModule<typeof import("node:worker_threads")>("worker_threads");
    const head = 'const nodePort=require("node:worker_threads").parentPort;';
    const thread = new Worker(head + script, { eval: true });
    thread.on("message", onReply);
    thread.on("error", onDeath);
    return {
      post: (message, transfer) => thread.postMessage(message, transfer),
      stop: () => void thread.terminate(),
      hold: (busy) => (busy ? thread.ref() : thread.unref()),
    };
  }
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  try {
    const thread = new Worker(address, { type: "module", name: "deathtensors" });
    thread.addEventListener("message", ({ data }) => onReply(data));
    thread.addEventListener("error", (event) => {
      event.preventDefault();
      onDeath(new Error(event.message || "the worker could not be started"));
    });
    return {
      post: (message, transfer = []) => thread.postMessage(message, transfer),
      stop: () => thread.terminate(),
      hold() {},
    };
  } finally {
    // The worker has its script by the time anything is answered.
    setTimeout(() => URL.revokeObjectURL(address), PATIENCE);
  }
}

/** How many workers are worth while here. */
export async function usualWorkers(): Promise<number> {
  if (isNode()) {
    const { availableParallelism } = await nodeModule<typeof import("node:os")>("os");
    return Math.min(availableParallelism(), MOST_WORKERS);
  }
  if (typeof Worker !== "function" || typeof URL.createObjectURL !== "function") return 0;
  return Math.min(navigator.hardwareConcurrency || 2, MOST_WORKERS);
}

const pools = new Map<number, { pool: Promise<Pool>; users: number }>();

/** The pool of that many workers, shared by all files; `release` it. */
export async function acquire(wanted?: number): Promise<{ pool: Pool; release(): void }> {
  const workers = wanted ?? (await usualWorkers());
  if (!Number.isSafeInteger(workers) || workers < 0 || workers > 64) {
    throw usage("option", "workers must be a number from 0 to 64", { found: String(workers) });
  }
  let shared = pools.get(workers);
  if (!shared) {
    const pool = compiled().then((module) => new Pool(instantiate(module), workers));
    shared = { pool, users: 0 };
    pools.set(workers, shared);
  }
  const mine = shared;
  mine.users++;
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    if (--mine.users > 0) return;
    // Not at once: one file is often closed just before the next is opened.
    const timer = setTimeout(() => {
      if (mine.users > 0 || pools.get(workers) !== mine) return;
      pools.delete(workers);
      mine.pool.then((pool) => pool.close()).catch(() => {});
    }, LINGER);
    // Node's timers keep its process alive unless told otherwise.
    (timer as { unref?(): void }).unref?.();
  };
  try {
    return { pool: await mine.pool, release };
  } catch (error) {
    if (pools.get(workers) === mine) pools.delete(workers);
    throw asError(error);
  }
}

function broken(cause?: unknown): TensorFileError {
  return new TensorFileError({
    code: "limit.memory",
    message: "a worker broke down, probably for want of memory",
    cause,
  });
}

function closed(): TensorFileError {
  return new TensorFileError({ code: "usage.closed", message: "the file was closed" });
}
