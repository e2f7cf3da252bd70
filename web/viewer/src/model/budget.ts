import type { Opened } from "../state/session.ts";

/**
 * How much is read before the reader asks for more. Over a network every byte is waited for and
 * perhaps paid for; on this machine only the decoding takes time.
 */
export interface Budget {
  /** Tensors up to this many bytes are read whole at once. */
  readonly whole: number;
  /** Of larger ones, about this many bytes are sampled. */
  readonly sample: number;
}

const REMOTE: Budget = { whole: 4_000_000, sample: 2_000_000 };
const LOCAL: Budget = { whole: 64_000_000, sample: 16_000_000 };

export function budget({ local }: Opened): Budget {
  return local ? LOCAL : REMOTE;
}
