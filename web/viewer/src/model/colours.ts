/**
 * Colour maps, made in OKLCH with lightness in even steps, which is what makes them perceptually
 * uniform. 256 entries of red, green and blue each.
 */

export type ColourMap = Uint8ClampedArray;
export type Rgb = readonly [number, number, number];

const STEPS = 256;

/** Dark blue through green to light yellow. */
export const sequential: ColourMap = table((t) => ({
  lightness: 0.2 + 0.75 * t,
  chroma: 0.09 + 0.07 * t,
  hue: 295 - 190 * t,
}));

/** Blue, neutral, red. The neutral is the page's own: pale by day, dark by night. */
export const divergingLight: ColourMap = diverging(0.96, 0.36);
export const divergingDark: ColourMap = diverging(0.2, 0.84);

/** What is no number has a colour that no map holds. */
export const NAN: Rgb = [255, 0, 200];
export const POSITIVE_INFINITY: Rgb = [255, 122, 0];
export const NEGATIVE_INFINITY: Rgb = [0, 220, 255];

export function css([red, green, blue]: Rgb): string {
  return `rgb(${red} ${green} ${blue})`;
}

export function entry(map: ColourMap, index: number): Rgb {
  return [map[index * 3] ?? 0, map[index * 3 + 1] ?? 0, map[index * 3 + 2] ?? 0];
}

function diverging(centre: number, end: number): ColourMap {
  return table((t) => {
    const distance = Math.abs(2 * t - 1);
    return {
      lightness: centre + (end - centre) * distance,
      chroma: 0.17 * distance ** 0.8,
      hue: t < 0.5 ? 250 : 35,
    };
  });
}

interface Lch {
  lightness: number;
  chroma: number;
  hue: number;
}

function table(colour: (t: number) => Lch): ColourMap {
  const map = new Uint8ClampedArray(STEPS * 3);
  for (let i = 0; i < STEPS; i++) map.set(inGamut(colour(i / (STEPS - 1))), i * 3);
  return map;
}

/** The colour with as much of its chroma as a screen can show. */
function inGamut(colour: Lch): number[] {
  let chroma = colour.chroma;
  for (;;) {
    const rgb = linear({ ...colour, chroma });
    if (chroma <= 0 || rgb.every((part) => part >= -1e-4 && part <= 1.0001)) return rgb.map(gamma);
    chroma -= 0.004;
  }
}

/** OKLCH to linear sRGB, by Björn Ottosson's matrices (https://bottosson.github.io/posts/oklab). */
function linear({ lightness, chroma, hue }: Lch): number[] {
  const angle = (hue * Math.PI) / 180;
  const a = chroma * Math.cos(angle);
  const b = chroma * Math.sin(angle);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function gamma(part: number): number {
  const value = Math.min(1, Math.max(0, part));
  return 255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055);
}
