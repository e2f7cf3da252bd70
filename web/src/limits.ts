import { TensorFileError, usage } from "./errors.ts";
import type { Limits } from "./types.ts";

/** The limits of the specification, which hold unless lower (or higher) ones are given. */
export const LIMITS: Readonly<Limits> = /* @__PURE__ */ Object.freeze({
  headerBytes: 100_000_000,
  tensors: 4_000_000,
  nameBytes: 4096,
  metadataBytes: 1 << 20,
  rank: 64,
  depth: 16,
  inflatedBytes: 2 ** 40,
  memoryBytes: 2 ** 48,
});

/** All limits, those given in place of the defaults. */
export function withDefaults(given: Partial<Limits> = {}): Limits {
  if (typeof given !== "object" || given === null) {
    throw usage("option", "limits are an object of counts", { found: String(given) });
  }
  const limits = { ...LIMITS };
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(LIMITS, key)) {
      throw usage("option", "there is no such limit", {
        expected: `one of ${Object.keys(LIMITS).join(", ")}`,
        found: key,
      });
    }
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < 0) {
      throw usage("option", `the limit ${key} is not a count`, { found: String(value) });
    }
    limits[key as keyof Limits] = value;
  }
  return limits;
}

/** The limits as the core reads them, which spells their names `like_this`. */
export function limitsJson(limits: Limits): string {
  const spelled = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const entries = Object.entries(limits).map(([name, value]) => [spelled(name), value]);
  return JSON.stringify(Object.fromEntries(entries));
}

/** Refuses to set aside so many bytes, as the core does. */
export function checkMemory(bytes: number, most: number): void {
  if (bytes <= most) return;
  throw new TensorFileError({
    code: "limit.memory",
    message: "this would take more memory than the limit",
    expected: `at most ${most} bytes`,
    found: `${bytes} bytes`,
  });
}
