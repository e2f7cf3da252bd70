import * as colours from "./colours.ts";

/** How values become colours: clipped at the 0.5th and 99.5th percentile, so that a few outliers
 * do not flatten everything else, and symmetric around zero where values have both signs. */
export interface Scale {
  readonly low: number;
  readonly high: number;
  readonly diverging: boolean;
  /** Shares of the finite values beyond the ends, and how many values are not finite. */
  readonly below: number;
  readonly above: number;
  readonly nan: number;
  readonly posinf: number;
  readonly neginf: number;
}

export function scaleOf(values: Float64Array, clip = 0.005): Scale {
  const finite = values.filter(Number.isFinite).sort();
  const n = finite.length;
  let nan = 0;
  let posinf = 0;
  for (const value of values) {
    if (Number.isNaN(value)) nan++;
    else if (value === Number.POSITIVE_INFINITY) posinf++;
  }
  const odd = { nan, posinf, neginf: values.length - n - nan - posinf };
  if (n === 0) return { low: 0, high: 1, diverging: false, below: 0, above: 0, ...odd };
  let low = finite[Math.floor(clip * (n - 1))] as number;
  let high = finite[Math.ceil((1 - clip) * (n - 1))] as number;
  const diverging = low < 0 && high > 0;
  if (diverging) {
    high = Math.max(-low, high);
    low = -high;
  } else if (low === high) {
    // One value nearly everywhere: what differs is the news.
    low = finite[0] as number;
    high = finite[n - 1] as number;
  }
  const below = countBelow(finite, low) / n;
  const above = 1 - countBelow(finite, high, true) / n;
  return { low, high, diverging, below, above, ...odd };
}

/** How many of the sorted values are less than `bound`, or no more than it. */
function countBelow(sorted: Float64Array, bound: number, orEqual = false): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const value = sorted[middle] as number;
    if (value < bound || (orEqual && value === bound)) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function mapFor(scale: Scale, dark: boolean): colours.ColourMap {
  if (!scale.diverging) return colours.sequential;
  return dark ? colours.divergingDark : colours.divergingLight;
}

/** The place of a value in a map of 256 colours. */
export function place(value: number, scale: Scale): number {
  // Halves, since the span of two doubles can be too large for a double.
  const span = scale.high / 2 - scale.low / 2;
  const t = span > 0 ? (value / 2 - scale.low / 2) / span : 0.5;
  return Math.round(255 * Math.min(1, Math.max(0, t)));
}

/** Red, green, blue and opacity for each value. */
export function paint(values: Float64Array, scale: Scale, map: colours.ColourMap): ImageDataArray {
  const pixels = new Uint8ClampedArray(values.length * 4);
  for (let i = 0; i < values.length; i++)
    pixels.set(colourOf(values[i] as number, scale, map), i * 4);
  for (let i = 3; i < pixels.length; i += 4) pixels[i] = 255;
  return pixels;
}

function colourOf(value: number, scale: Scale, map: colours.ColourMap): colours.Rgb {
  if (Number.isNaN(value)) return colours.NAN;
  if (value === Number.POSITIVE_INFINITY) return colours.POSITIVE_INFINITY;
  if (value === Number.NEGATIVE_INFINITY) return colours.NEGATIVE_INFINITY;
  return colours.entry(map, place(value, scale));
}
