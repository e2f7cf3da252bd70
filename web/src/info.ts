import { hasSubtle } from "./digest.ts";
import { acquire } from "./engine/pool.ts";
import type { EngineInfo } from "./types.ts";
import { version } from "./version.ts";

/** Who does the work here; starts the workers to find out. */
export async function engineInfo(): Promise<EngineInfo> {
  const { pool, release } = await acquire();
  try {
    const workers = await pool.workers();
    return {
      version,
      workers,
      fallback: pool.fallback,
      sha256: hasSubtle() ? "crypto.subtle" : "wasm",
    };
  } finally {
    release();
  }
}
