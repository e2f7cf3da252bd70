import type { Pool } from "./engine/pool.ts";
import type { Dtype, TensorData } from "./types.ts";

type Maker = (buffer: ArrayBuffer) => TensorData;

/** Dtypes that have a typed array of their own, elements of one byte apart. */
const NATURAL: Partial<Record<Dtype, Maker>> = /* @__PURE__ */ Object.freeze({
  I8: (buffer: ArrayBuffer) => new Int8Array(buffer),
  U16: (buffer: ArrayBuffer) => new Uint16Array(buffer),
  I16: (buffer: ArrayBuffer) => new Int16Array(buffer),
  U32: (buffer: ArrayBuffer) => new Uint32Array(buffer),
  I32: (buffer: ArrayBuffer) => new Int32Array(buffer),
  U64: (buffer: ArrayBuffer) => new BigUint64Array(buffer),
  I64: (buffer: ArrayBuffer) => new BigInt64Array(buffer),
  F32: (buffer: ArrayBuffer) => new Float32Array(buffer),
  F64: (buffer: ArrayBuffer) => new Float64Array(buffer),
  C64: (buffer: ArrayBuffer) => new Float32Array(buffer),
  C128: (buffer: ArrayBuffer) => new Float64Array(buffer),
});

/** Bytes decoded by one job: a whole number of elements of every dtype. */
const JOB = 3 << 20;
const LITTLE = 64 << 10;

/** The typed array of a tensor's bytes. The buffer becomes the array's own. */
export function natural(dtype: Dtype, bytes: Uint8Array): TensorData {
  const alone = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
  return NATURAL[dtype]?.(alone.buffer as ArrayBuffer) ?? alone;
}

/** A tensor's elements as float32, decoded by the core wherever they are not that already. */
export async function floats(
  dtype: Dtype,
  bytes: Uint8Array,
  pool: Pool,
  signal?: AbortSignal,
): Promise<Float32Array> {
  if (dtype === "F32") return natural(dtype, bytes) as Float32Array;
  if (bytes.byteLength <= LITTLE) return pool.now({ op: "floats", dtype, bytes });
  const jobs: Promise<Float32Array>[] = [];
  for (let at = 0; at < bytes.byteLength; at += JOB) {
    jobs.push(pool.run({ op: "floats", dtype, bytes: bytes.slice(at, at + JOB) }, signal));
  }
  const parts = await Promise.all(jobs);
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
