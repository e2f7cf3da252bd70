import type { Span } from "deathtensors";
import type { View } from "../state/location.ts";

/** Which 2-D slice of a tensor is looked at, with everything filled in and within bounds. */
export interface Slice {
  /** Nothing for tensors of rank 0 and 1, which are one row. */
  readonly axes: readonly [number, number] | undefined;
  readonly index: readonly number[];
  readonly rows: number;
  readonly columns: number;
}

export function sliceOf(shape: readonly number[], view: View): Slice {
  const rank = shape.length;
  if (rank < 2)
    return { axes: undefined, index: shape.map(() => 0), rows: 1, columns: shape[0] ?? 1 };
  const wanted = view.axes;
  const fits = wanted && wanted[0] !== wanted[1] && wanted.every((axis) => axis < rank);
  const axes: readonly [number, number] = fits ? wanted : [rank - 2, rank - 1];
  const index = shape.map((size, axis) => Math.min(view.index?.[axis] ?? 0, Math.max(0, size - 1)));
  return { axes, index, rows: shape[axes[0]] ?? 0, columns: shape[axes[1]] ?? 0 };
}

/** How many values a picture holds at most, down and across. */
export const TALLEST = 384;
export const WIDEST = 512;

/** All of it in steps, such that it fits the picture. */
export function overview(total: number, most: number): Required<Span> {
  const step = Math.max(1, Math.ceil(total / most));
  return { start: 0, count: Math.ceil(total / step), step };
}

/** As much of a wish as there is. */
export function within(wish: Span, total: number, most: number): Required<Span> {
  const step = Math.max(1, Math.min(wish.step ?? 1, Math.max(1, total)));
  const start = Math.max(0, Math.min(wish.start, total - 1));
  const count = Math.min(most, Math.max(1, wish.count), Math.ceil((total - start) / step));
  return { start, count: Math.max(0, count), step };
}

/** The shortest part that is worth looking at. */
const SHORTEST = 8;

/** The same part elsewhere, `by` values further on, or as far as there is anything. */
export function moved(span: Required<Span>, total: number, by: number): Required<Span> {
  const { start, count, step } = span;
  const last = Math.max(0, total - (count - 1) * step - 1);
  return { start: clamp(start + by, last), count, step };
}

/**
 * A part `factor` times as long, in which the place that is at `at` of the whole length stays where
 * it is. No more than `most` values of it are shown, in steps if need be.
 */
export function zoomed(
  span: Required<Span>,
  total: number,
  most: number,
  factor: number,
  at = 0.5,
): Required<Span> {
  const now = Math.min(span.count * span.step, total - span.start);
  const length = Math.min(total, Math.max(SHORTEST, Math.round(now * factor)));
  const step = Math.max(1, Math.ceil(length / most));
  const start = clamp(Math.round(span.start + (now - length) * at), total - length);
  return { start, count: Math.ceil(length / step), step };
}

function clamp(value: number, most: number): number {
  return Math.max(0, Math.min(most, value));
}
