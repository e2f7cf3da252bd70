/** Numbers as people read them: thin spaces, units, no digit that means nothing. */

const SPACE = "\u202f";

/** An integer with thin spaces between its thousands. */
export function whole(value: number | bigint): string {
  const digits = (value < 0 ? -value : value).toString();
  if (!/^\d+$/.test(digits)) return digits;
  const grouped = digits.length < 5 ? digits : digits.replace(/\B(?=(\d{3})+$)/g, SPACE);
  return value < 0 ? `−${grouped}` : grouped;
}

const BYTES = ["bytes", "kB", "MB", "GB", "TB", "PB"];
const COUNTS = ["", "K", "M", "B", "T"];

function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  let rest = value;
  while (rest >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  const digits =
    unit === 0
      ? whole(rest)
      : rest < 9.995
        ? rest.toFixed(2)
        : rest < 99.95
          ? rest.toFixed(1)
          : rest.toFixed(0);
  return units[unit] ? `${digits}${SPACE}${units[unit]}` : digits;
}

export const bytes = (value: number) => (value === 1 ? `1${SPACE}byte` : scaled(value, BYTES));

export const exactBytes = (value: number) => `${whole(value)} bytes`;

/** Thousands, millions and billions of elements. */
export const count = (value: number) => scaled(value, COUNTS);

/** A share between 0 and 1. Small ones are not rounded to nothing. */
export function percent(share: number): string {
  const value = share * 100;
  if (value === 0) return `0${SPACE}%`;
  if (value < 0.01) return `<${SPACE}0.01${SPACE}%`;
  if (value > 99.9 && value < 100) return `>${SPACE}99.9${SPACE}%`;
  const digits = value < 0.1 ? 2 : value < 10 || value >= 99.5 ? 1 : 0;
  if (value === 100) return `100${SPACE}%`;
  return `${value.toFixed(digits)}${SPACE}%`;
}

/** A value of a tensor, with `digits` significant digits. */
export function figure(value: number | bigint, digits = 4): string {
  if (typeof value === "bigint") return whole(value);
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+∞" : "−∞";
  if (Number.isInteger(value) && Math.abs(value) < 1e9)
    return whole(Object.is(value, -0) ? 0 : value);
  const size = Math.abs(value);
  const text =
    size >= 1e-4 && size < 1e6
      ? Number(value.toPrecision(digits)).toString()
      : value.toExponential(Math.max(0, digits - 1)).replace(/\.?0+e/, "e");
  return text.replaceAll("-", "−");
}

/** A value in full, for the title of what shows it shortened. */
export function exactly(value: number | bigint): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

export function shape(dimensions: readonly number[]): string {
  return dimensions.length === 0 ? "scalar" : dimensions.map(whole).join(" × ");
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 1) return "under a second left";
  if (seconds < 90) return `${Math.round(seconds)} s left`;
  return `${Math.round(seconds / 60)} min left`;
}

/** "1 tensor", "2 tensors". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${whole(value)} ${value === 1 ? one : many}`;
}
