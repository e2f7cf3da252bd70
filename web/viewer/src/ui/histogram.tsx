import { useSignal } from "@preact/signals";
import type { Histogram as Counts } from "deathtensors";
import * as numbers from "../text/numbers.ts";

const WIDTH = 480;
const HEIGHT = 230;
const LEFT = 40;
const BASE = 208;
const TOP = 8;

/** How often which values occur, on a scale of powers of ten, so that tails are seen. */
export function Histogram({ histogram }: { histogram: Counts }) {
  const pointed = useSignal<number | undefined>(undefined);
  const { edges, counts, below, above } = histogram;
  const highest = counts.reduce((most, one) => Math.max(most, one), 1);
  const decades = Math.max(1, Math.ceil(Math.log10(highest + 1)));
  // One more than the count, so that one is higher than none.
  const y = (n: number) => BASE - ((BASE - TOP) * Math.log10(n + 1)) / decades;
  const bin = (WIDTH - LEFT) / counts.length;
  const low = edges[0] ?? 0;
  const high = edges[counts.length] ?? 0;
  const zero = low < 0 && high > 0 ? LEFT + (WIDTH - LEFT) * (-low / (high - low)) : undefined;
  const at = pointed.value;
  return (
    <figure class="histogram">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={describe(histogram)}
        data-testid="histogram"
        data-below={below}
        data-above={above}
        onPointerLeave={() => {
          pointed.value = undefined;
        }}
      >
        {Array.from({ length: decades + 1 }, (_, power) => (
          <g key={power} class="gridline">
            <line x1={LEFT} x2={WIDTH} y1={y(10 ** power - 1)} y2={y(10 ** power - 1)} />
            <text x={LEFT - 5} y={y(10 ** power - 1) + 3.5} text-anchor="end">
              {power === 0 ? "0" : decades > 5 && power % 2 ? "" : tick(power)}
            </text>
          </g>
        ))}
        {zero !== undefined && <line class="zero" x1={zero} x2={zero} y1={TOP} y2={BASE + 4} />}
        {[...counts].map((n, i) => (
          <g
            key={i}
            data-testid="histogram-bin"
            data-low={edges[i]}
            data-high={edges[i + 1]}
            data-count={n}
          >
            <rect
              class="bin"
              data-pointed={i === at}
              x={LEFT + i * bin + 0.5}
              width={Math.max(0.5, bin - 1)}
              y={y(n)}
              height={BASE - y(n)}
            />
            <rect
              class="bin-target"
              x={LEFT + i * bin}
              width={bin}
              y={TOP}
              height={BASE - TOP}
              onPointerEnter={() => {
                pointed.value = i;
              }}
            />
          </g>
        ))}
        <line class="axis" x1={LEFT} x2={WIDTH} y1={BASE} y2={BASE} />
        <text x={LEFT} y={HEIGHT - 6}>
          {numbers.figure(low)}
        </text>
        {zero !== undefined && zero > LEFT + 60 && zero < WIDTH - 60 && (
          <text x={zero} y={HEIGHT - 6} text-anchor="middle">
            0
          </text>
        )}
        <text x={WIDTH} y={HEIGHT - 6} text-anchor="end">
          {numbers.figure(high)}
        </text>
      </svg>
      <figcaption class="under">
        {at === undefined
          ? `count per bin, logarithmic${below + above > 0 ? `; ${numbers.plural(below + above, "value")} beyond the ends` : ""}`
          : `${numbers.figure(edges[at] ?? 0)} to ${numbers.figure(edges[at + 1] ?? 0)}: ${numbers.plural(counts[at] ?? 0, "value")}`}
      </figcaption>
      <details>
        <summary>As a table</summary>
        <div class="histogram-table">
          <table>
            <thead>
              <tr>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col">Values</th>
              </tr>
            </thead>
            <tbody>
              {[...counts].map((n, i) => (
                <tr key={i}>
                  <td>{numbers.figure(edges[i] ?? 0, 5)}</td>
                  <td>{numbers.figure(edges[i + 1] ?? 0, 5)}</td>
                  <td>{numbers.whole(n)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}

/** 1, 10, 100, 1 K, … */
function tick(power: number): string {
  const unit = ["", "K", "M", "B", "T"][Math.floor(power / 3)] ?? `e${power}`;
  return `${10 ** (power % 3)}${unit && `\u202f${unit}`}`;
}

function describe({ edges, counts }: Counts): string {
  let mode = 0;
  counts.forEach((n, i) => {
    if (n > (counts[mode] ?? 0)) mode = i;
  });
  const range = `${numbers.figure(edges[0] ?? 0)} to ${numbers.figure(edges[counts.length] ?? 0)}`;
  return `Histogram of ${counts.length} bins from ${range}; most values, ${numbers.whole(counts[mode] ?? 0)}, lie between ${numbers.figure(edges[mode] ?? 0)} and ${numbers.figure(edges[mode + 1] ?? 0)}. The table below has them all.`;
}
