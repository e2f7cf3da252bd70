import { signal } from "@preact/signals";
import type { OnProgress } from "deathtensors";
import { isAbort, type Problem, problem } from "./problems.ts";

export interface Progress {
  readonly done: number;
  readonly total: number;
  /** From what was done so far; NaN while too little was. */
  readonly secondsLeft: number;
}

export interface Work {
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/** Work that is under way at most once, tells its progress, can be cancelled, and may fail. */
export class Task<T> {
  readonly running = signal(false);
  readonly progress = signal<Progress | undefined>(undefined);
  readonly result = signal<T | undefined>(undefined);
  readonly failure = signal<Problem | undefined>(undefined);
  readonly cancelled = signal(false);
  #controller: AbortController | undefined;

  /** Ends what was under way and begins anew; what there was stays until the new result is there. */
  async run(tried: string, work: (options: Work) => Promise<T>): Promise<T | undefined> {
    this.#controller?.abort();
    const controller = new AbortController();
    this.#controller = controller;
    this.running.value = true;
    this.progress.value = undefined;
    this.failure.value = undefined;
    this.cancelled.value = false;
    const begun = performance.now();
    const onProgress = (done: number, total: number) => {
      if (controller.signal.aborted) return;
      const seconds = (performance.now() - begun) / 1000;
      const secondsLeft =
        done > 0 && seconds > 0.5 ? (seconds * (total - done)) / done : Number.NaN;
      this.progress.value = { done, total, secondsLeft };
    };
    try {
      const result = await work({ signal: controller.signal, onProgress });
      if (controller.signal.aborted) return undefined;
      this.result.value = result;
      return result;
    } catch (error) {
      if (!controller.signal.aborted && !isAbort(error)) this.failure.value = problem(tried, error);
      return undefined;
    } finally {
      if (this.#controller === controller) {
        this.running.value = false;
        this.progress.value = undefined;
      }
    }
  }

  cancel() {
    if (!this.running.value) return;
    this.#controller?.abort();
    this.running.value = false;
    this.progress.value = undefined;
    this.cancelled.value = true;
  }

  /** Forgets everything. */
  reset() {
    this.#controller?.abort();
    this.running.value = false;
    this.progress.value = undefined;
    this.result.value = undefined;
    this.failure.value = undefined;
    this.cancelled.value = false;
  }
}
