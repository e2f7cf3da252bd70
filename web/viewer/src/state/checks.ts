import { effect, signal, untracked } from "@preact/signals";
import { type Difference, diff, type VerifyReport } from "deathtensors";
import { opened, other } from "./session.ts";
import { Task } from "./task.ts";

/** Verifying and comparing: they go on while the reader looks at other things. */

export const verification = new Task<VerifyReport>();
export const comparison = new Task<Difference>();

/** What is known of each tensor so far. */
export const sound = signal<ReadonlyMap<string, boolean | undefined>>(new Map());

export function verifyFile() {
  const now = opened.value;
  if (!now) return;
  const soFar = new Map<string, boolean | undefined>();
  sound.value = soFar;
  let told = 0;
  const tell = () => {
    sound.value = new Map(soFar);
    told = performance.now();
  };
  void verification.run(`verify ${now.file.facts.name}`, async (work) => {
    const report = await now.file.verify(undefined, {
      ...work,
      onTensor: (name, isSound) => {
        if (work.signal.aborted) return;
        soFar.set(name, isSound);
        if (performance.now() - told > 100) tell();
      },
    });
    sound.value = report.tensors;
    return report;
  });
}

export function noteSound(name: string, isSound: boolean | undefined) {
  sound.value = new Map(sound.value).set(name, isSound);
}

/** Comparing values may mean reading both in full: beyond this much, the reader is asked first. */
const UNASKED = 32_000_000;

/** The bytes that a comparison may have to fetch. */
export function bytesToCompare(): number {
  const both = [opened.value, other.value];
  if (both.some((one) => !one) || both.every((one) => one?.file.facts.digests)) return 0;
  return both.reduce((sum, one) => sum + (one?.local ? 0 : (one?.file.facts.storedBytes ?? 0)), 0);
}

export function compareNow() {
  const [a, b] = [opened.value, other.value];
  if (!a || !b) return;
  void comparison.run(`compare ${a.tried} with ${b.tried}`, (work) => diff(a.file, b.file, work));
}

export function followChecks() {
  effect(() => {
    opened.value;
    untracked(() => {
      verification.reset();
      sound.value = new Map();
    });
  });
  effect(() => {
    const both = opened.value && other.value;
    untracked(() => {
      comparison.reset();
      if (both && bytesToCompare() <= UNASKED) compareNow();
    });
  });
}
