import {
  type ColourMap,
  css,
  entry,
  NAN,
  NEGATIVE_INFINITY,
  POSITIVE_INFINITY,
} from "../model/colours.ts";
import { place, type Scale } from "../model/scale.ts";
import * as numbers from "../text/numbers.ts";

interface Props {
  scale: Scale;
  map: ColourMap;
  /** How many values the picture holds. */
  values: number;
  /** The value under the pointer, which is marked. */
  pointed: number | undefined;
}

const STOPS = 17;

/** What the colours mean, and what they leave out. */
export function Legend({ scale, map, values, pointed }: Props) {
  const stops = Array.from({ length: STOPS }, (_, i) =>
    css(entry(map, Math.round((255 * i) / (STOPS - 1)))),
  );
  const clipped = scale.below + scale.above;
  const odd = [
    ["NaN", NAN, scale.nan],
    ["+∞", POSITIVE_INFINITY, scale.posinf],
    ["−∞", NEGATIVE_INFINITY, scale.neginf],
  ] as const;
  const mark =
    pointed !== undefined && Number.isFinite(pointed)
      ? (100 * place(pointed, scale)) / 255
      : undefined;
  return (
    <div class="legend">
      <span class="legend-scale">
        <span>
          {scale.below > 0 && "≤ "}
          {numbers.figure(scale.low, 3)}
        </span>
        <span
          class="ramp"
          aria-hidden="true"
          style={{ background: `linear-gradient(90deg, ${stops.join(",")})` }}
        >
          {scale.diverging && <span class="ramp-zero" />}
          {mark !== undefined && <span class="ramp-mark" style={{ left: `${mark}%` }} />}
        </span>
        <span>
          {scale.above > 0 && "≥ "}
          {numbers.figure(scale.high, 3)}
        </span>
      </span>
      <span class="quiet" data-testid="heatmap-clipped" data-value={clipped}>
        {clipped > 0 ? `${numbers.percent(clipped)} beyond the ends` : "nothing beyond the ends"}
      </span>
      {odd.map(
        ([label, colour, n]) =>
          n > 0 && (
            <span key={label} class="odd">
              <span class="patch" style={{ background: css(colour) }} aria-hidden="true" /> {label}{" "}
              {numbers.percent(n / Math.max(1, values))}
            </span>
          ),
      )}
    </div>
  );
}
