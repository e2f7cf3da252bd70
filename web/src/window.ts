import { usage } from "./errors.ts";
import { type Inside, pairs } from "./inside.ts";
import { exactIntegers } from "./integers.ts";
import type { Span, Window, WindowRequest } from "./types.ts";

/** Reads a two-dimensional slice: the core plans it, and picks the values from the bytes. */
export async function readWindow(
  { model, data, infos, place }: Inside,
  name: string,
  request: WindowRequest,
): Promise<Window> {
  const { axes, index, rows, columns, signal, onProgress } = request;
  const nth = place(name);
  const plan = model.window(
    nth,
    axes && Uint32Array.from(axes),
    index && Float64Array.from(index),
    flat(rows),
    flat(columns),
  );
  try {
    const within = plan.spans();
    const spans = pairs(within, infos[nth].dataOffsets[0]);
    const total = spans.reduce((sum, [start, end]) => sum + end - start, 0);
    const onBytes = onProgress && ((done: number) => onProgress(done, total));
    const bytes = await data.bytes(spans, signal, onBytes);
    const integers = exactIntegers(infos[nth], request, within, bytes);
    const values = plan.values(bytes);
    return { rows: plan.rows, columns: plan.columns, values, ...(integers && { integers }) };
  } finally {
    plan.free();
  }
}

/** Refuses what is no request, or would turn into other integers on its way to the core. */
export function checkWindow(request: WindowRequest): WindowRequest {
  const { axes, index, rows, columns } = (request ?? {}) as Partial<WindowRequest>;
  for (const [what, span] of Object.entries({ rows, columns })) {
    const { start, count, step = 1 } = (span ?? {}) as Partial<Span>;
    checkPlaces([start, count, step], what, "{ start, count, step? }");
  }
  if (axes !== undefined) checkPlaces(axes, "axes", "two axes");
  if (index !== undefined) checkPlaces(index, "index", "a place on every axis");
  return request;
}

function checkPlaces(numbers: unknown, what: string, expected: string): void {
  const isPlace = (number: unknown) => Number.isSafeInteger(number) && (number as number) >= 0;
  const isList = Array.isArray(numbers) || ArrayBuffer.isView(numbers);
  if (isList && Array.from(numbers as ArrayLike<unknown>).every(isPlace)) return;
  const message = `the ${what} of a window must be integers that are not negative`;
  throw usage("option", message, { expected });
}

function flat({ start, count, step = 1 }: Span): Float64Array {
  return Float64Array.of(start, count, step);
}
