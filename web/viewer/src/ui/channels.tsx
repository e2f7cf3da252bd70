import { useSignal } from "@preact/signals";
import type { ChannelStats, TensorInfo } from "deathtensors";
import { useEffect, useRef } from "preact/hooks";
import { budget } from "../model/budget.ts";
import { type Column, columnsOf, loudest } from "../model/channels.ts";
import type { Opened } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { useTask, useWidth } from "./hooks.ts";
import { ProblemCard } from "./problem.tsx";
import { Cancelled, ProgressBar } from "./progress.tsx";
import { SampleShare } from "./sample-share.tsx";

const HEIGHT = 180;
const LOUDEST = 8;

/** Statistics of each row, or column, or of each index on any axis. */
export function Channels({ now, info }: { now: Opened; info: TensorInfo }) {
  const axis = useSignal(0);
  const all = useSignal(false);
  const task = useTask<ChannelStats>();
  const { whole, sample } = budget(now);
  const sampled = info.nbytes > whole && !all.value;
  const usable = info.shape.length > 0 && info.elements > 0;
  const measure = () =>
    task.run(`measure axis ${axis.value} of ${info.name}`, (work) =>
      now.file.channelStats(info.name, axis.value, {
        ...work,
        ...(sampled && { maxBytes: sample }),
      }),
    );
  useEffect(() => {
    if (usable) void measure();
  }, [now, info, axis.value, sampled, sample, usable, task]);
  if (!usable) return <p class="nothing">A scalar or empty tensor has no rows or columns.</p>;
  const stats = task.result.value;
  return (
    <section class="channels" data-testid="channels" aria-label="Statistics along an axis">
      <div class="pickers">
        <label>
          each index on{" "}
          <select
            data-testid="channel-axis"
            value={axis.value}
            onChange={(event) => {
              axis.value = Number(event.currentTarget.value);
            }}
          >
            {info.shape.map((size, i) => (
              <option key={i} value={i}>
                axis {i} ({numbers.whole(size)})
                {info.shape.length === 2 ? (i === 0 ? ", rows" : ", columns") : ""}
              </option>
            ))}
          </select>
        </label>
        {stats && !task.running.value && (
          <SampleShare
            share={stats.share}
            bytes={info.nbytes}
            readAll={() => {
              all.value = true;
            }}
          />
        )}
      </div>
      {task.running.value && (
        <ProgressBar what="Reading" progress={task.progress.value} cancel={() => task.cancel()} />
      )}
      {task.cancelled.value && !stats && <Cancelled again={() => void measure()} />}
      {task.failure.value && (
        <ProblemCard problem={task.failure.value} again={() => void measure()} />
      )}
      {stats && <Chart stats={stats} />}
      {stats && <Loudest stats={stats} />}
    </section>
  );
}

/** Mean in the middle, one standard deviation around it, least and largest outside. */
function Chart({ stats }: { stats: ChannelStats }) {
  const box = useRef<HTMLDivElement>(null);
  const width = Math.max(200, useWidth(box));
  const pointed = useSignal<Column | undefined>(undefined);
  const columns = columnsOf(stats, Math.floor(width / 2));
  const known = columns.flatMap((column, i) =>
    Number.isFinite(column.mean) ? [{ column, x: (i + 0.5) * (width / columns.length) }] : [],
  );
  const low = known.reduce((least, { column }) => Math.min(least, column.min), Infinity);
  const high = known.reduce((most, { column }) => Math.max(most, column.max), -Infinity);
  const each = width / columns.length;
  // Halves, since the span of two doubles can be too large for a double.
  const span = high / 2 - low / 2 || 1;
  const y = (value: number) =>
    4 + (HEIGHT - 8) * Math.max(0, Math.min(1, (high / 2 - value / 2) / span));
  const band = (upper: (one: Column) => number, lower: (one: Column) => number) =>
    [
      ...known.map(({ column, x }) => `${x.toFixed(1)},${y(upper(column)).toFixed(1)}`),
      ...known
        .toReversed()
        .map(({ column, x }) => `${x.toFixed(1)},${y(lower(column)).toFixed(1)}`),
    ].join(" ");
  const point = (event: PointerEvent) => {
    const { left } = (event.currentTarget as Element).getBoundingClientRect();
    pointed.value = columns[Math.floor((event.clientX - left) / each)];
  };
  const now = pointed.value;
  return (
    <figure class="channel-chart">
      <div ref={box}>
        <svg
          width={width}
          height={HEIGHT}
          role="img"
          aria-label={`Mean, standard deviation and range of ${numbers.plural(stats.mean.length, "channel")}, from ${numbers.figure(low)} to ${numbers.figure(high)}. The largest are in the table below.`}
          onPointerMove={point}
          onPointerLeave={() => {
            pointed.value = undefined;
          }}
        >
          <polygon
            class="extent"
            points={band(
              ({ max }) => max,
              ({ min }) => min,
            )}
          />
          <polygon
            class="deviation"
            points={band(
              (one) => one.mean + one.stddev,
              (one) => one.mean - one.stddev,
            )}
          />
          <polyline
            class="mean"
            points={known
              .map(({ column, x }) => `${x.toFixed(1)},${y(column.mean).toFixed(1)}`)
              .join(" ")}
          />
          {low < 0 && high > 0 && <line class="zero" x1={0} x2={width} y1={y(0)} y2={y(0)} />}
        </svg>
      </div>
      <figcaption class="under">
        {now
          ? `${now.first === now.last ? `index ${numbers.whole(now.first)}` : `indices ${numbers.whole(now.first)} to ${numbers.whole(now.last)}`}: mean ${numbers.figure(now.mean)}, sd ${numbers.figure(now.stddev)}, ${numbers.figure(now.min)} to ${numbers.figure(now.max)}`
          : `mean (line), ± sd (dark band), least to largest (pale band); ${numbers.figure(low)} to ${numbers.figure(high)}`}
      </figcaption>
    </figure>
  );
}

function Loudest({ stats }: { stats: ChannelStats }) {
  return (
    <table class="distribution">
      <caption>Those with the largest values</caption>
      <thead>
        <tr>
          <th scope="col">Index</th>
          <th scope="col">Min</th>
          <th scope="col">Max</th>
          <th scope="col">Mean</th>
          <th scope="col">Sd</th>
        </tr>
      </thead>
      <tbody>
        {loudest(stats, LOUDEST).map((i) => (
          <tr key={i} data-testid="channel-row" data-index={i}>
            <th scope="row">{numbers.whole(i)}</th>
            {[stats.min, stats.max, stats.mean, stats.stddev].map((values, column) => (
              <td key={column} title={numbers.exactly(values[i] as number)}>
                {numbers.figure(values[i] as number)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
