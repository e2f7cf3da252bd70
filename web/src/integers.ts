import type { TensorInfo, WindowRequest } from "./types.ts";

type Integers = BigInt64Array | BigUint64Array;

/** Bytes of an element. */
const WIDE = 8;

/**
 * The elements of a window of 64-bit integers, which doubles cannot hold exactly. `spans` are
 * starts and ends within the tensor, of whose bytes `bytes` are the concatenation.
 */
export function exactIntegers(
  { dtype, shape }: TensorInfo,
  { axes, index, rows, columns }: WindowRequest,
  spans: Float64Array,
  bytes: Uint8Array,
): Integers | undefined {
  if (dtype !== "I64" && dtype !== "U64") return undefined;
  const found =
    dtype === "I64"
      ? new BigInt64Array(rows.count * columns.count)
      : new BigUint64Array(rows.count * columns.count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [down, across] = steps(shape, axes);
  const origin = originOf(shape, axes, index);
  const seek = seeker(spans);
  let filled = 0;
  for (let row = 0; row < rows.count; row++) {
    const line = origin + (rows.start + row * (rows.step ?? 1)) * down;
    for (let column = 0; column < columns.count; column++) {
      const element = line + (columns.start + column * (columns.step ?? 1)) * across;
      const at = seek(element * WIDE);
      found[filled++] = dtype === "I64" ? view.getBigInt64(at, true) : view.getBigUint64(at, true);
    }
  }
  return found;
}

/** Elements from one row to the next, and from one column to the next. */
function steps(shape: readonly number[], axes?: readonly [number, number]): [number, number] {
  const stride = strides(shape);
  const rank = shape.length;
  if (rank < 2) return [0, 1];
  const [down, across] = axes ?? [rank - 2, rank - 1];
  return [stride[down], stride[across]];
}

/** The element where both axes are at their beginning. */
function originOf(
  shape: readonly number[],
  axes: readonly [number, number] | undefined,
  index: readonly number[] = [],
): number {
  const rank = shape.length;
  if (rank < 2) return 0;
  const shown = axes ?? [rank - 2, rank - 1];
  return strides(shape).reduce(
    (sum, stride, axis) => sum + (shown.includes(axis) ? 0 : stride * (index[axis] ?? 0)),
    0,
  );
}

function strides(shape: readonly number[]): number[] {
  const found = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    found[axis] = stride;
    stride *= shape[axis];
  }
  return found;
}

/** Where a byte of the tensor is among the bytes of its spans. */
function seeker(spans: Float64Array): (byte: number) => number {
  const starts = new Float64Array(spans.length / 2);
  for (let i = 1; i < starts.length; i++) {
    starts[i] = starts[i - 1] + spans[2 * i - 1] - spans[2 * i - 2];
  }
  let now = 0;
  return (byte) => {
    // Neighbours are mostly in the same span.
    if (byte < spans[2 * now] || byte >= spans[2 * now + 1]) now = spanOf(spans, byte);
    return starts[now] + byte - spans[2 * now];
  };
}

function spanOf(spans: Float64Array, byte: number): number {
  let [low, high] = [0, spans.length / 2 - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[2 * middle + 1] <= byte) low = middle + 1;
    else high = middle;
  }
  return low;
}
