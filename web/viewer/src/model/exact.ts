import type { Window } from "deathtensors";

/** A value of a window: a bigint where a number would be another one. */
export function exactAt({ values, integers }: Window, at: number): number | bigint | undefined {
  const integer = integers?.[at];
  if (integer === undefined) return values[at];
  const rounded = Number(integer);
  return Number.isSafeInteger(rounded) ? rounded : integer;
}

/** Whether there are integers that take more than the usual room. */
export function isLong({ values, integers }: Window): boolean {
  return integers !== undefined && values.some((value) => Math.abs(value) >= 1e9);
}

/** What the second holds more than the first. */
export function difference(a: Window, b: Window): Window {
  const { rows, columns } = a;
  const [left, right] = [a.integers, b.integers];
  if (!left || !right) {
    return { rows, columns, values: a.values.map((value, i) => (b.values[i] as number) - value) };
  }
  // Of large integers, the doubles may be equal where the integers are not.
  const values = Float64Array.from(left, (value, i) => Number((right[i] as bigint) - value));
  return { rows, columns, values };
}
