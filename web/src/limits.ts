import { usage } from "./errors.ts";
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
});

/** All limits, those given in place of the defaults. */
export function withDefaults(given: Partial<Limits> = {}): Limits {
  const limits = { ...LIMITS };
  for (const [key, value] of Object.entries(given)) {
    if (!(key in limits)) throw usage("option", `there is no limit named ${key}`);
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < 0) {
      throw usage("option", `the limit ${key} is not a count`, { found: String(value) });
    }
    limits[key as keyof Limits] = value;
  }
  return limits;
}

/** The limits as the core reads them. */
export function limitsJson(limits: Limits): string {
  return JSON.stringify({
    header_bytes: limits.headerBytes,
    tensors: limits.tensors,
    name_bytes: limits.nameBytes,
    metadata_bytes: limits.metadataBytes,
    rank: limits.rank,
    depth: limits.depth,
    inflated_bytes: limits.inflatedBytes,
  });
}
