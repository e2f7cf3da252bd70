import { useSignal } from "@preact/signals";
import type { Histogram as Counts, Stats, TensorInfo } from "deathtensors";
import { useEffect } from "preact/hooks";
import { budget } from "../model/budget.ts";
import { isComplex } from "../model/dtypes.ts";
import type { Opened } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { Histogram } from "./histogram.tsx";
import { useTask } from "./hooks.ts";
import { ProblemCard } from "./problem.tsx";
import { Cancelled, ProgressBar } from "./progress.tsx";
import { SampleShare } from "./sample-share.tsx";

const BINS = 64;

interface Both {
  readonly stats: Stats;
  readonly histogram: Counts | undefined;
}

/** Statistics and histogram: of a sample first where the tensor is large. */
export function Distribution({ now, info }: { now: Opened; info: TensorInfo }) {
  const task = useTask<Both>();
  const all = useSignal(false);
  const { whole, sample } = budget(now);
  const sampled = info.nbytes > whole && !all.value;

  const measure = () =>
    task.run(`measure ${info.name}`, async ({ signal, onProgress }) => {
      const options = { signal, ...(sampled && { maxBytes: sample }) };
      // Two passes, of which the second finds the bytes in the cache if they fit it.
      const stats = await now.file.stats(info.name, {
        ...options,
        onProgress: (done, total) => onProgress(done, 2 * total),
      });
      const [low, high] = [Number(stats.min), Number(stats.max)];
      if (!Number.isFinite(low) || !Number.isFinite(high)) return { stats, histogram: undefined };
      const histogram = await now.file.histogram(info.name, {
        ...options,
        bins: BINS,
        onProgress: (done, total) => onProgress(total + done, 2 * total),
      });
      return { stats, histogram };
    });
  useEffect(() => void measure(), [now, info, sampled, sample, task]);

  const { stats, histogram } = task.result.value ?? {};
  return (
    <section class="distribution-figure" aria-labelledby="histogram-title">
      <h3 id="histogram-title">
        Distribution
        {stats && !task.running.value && (
          <SampleShare
            share={stats.share}
            bytes={info.nbytes}
            readAll={() => {
              all.value = true;
            }}
          />
        )}
      </h3>
      {task.running.value && (
        <ProgressBar
          what={sampled ? "Reading a sample" : "Reading"}
          progress={task.progress.value}
          cancel={() => {
            task.cancel();
            all.value = false;
          }}
        />
      )}
      {task.cancelled.value && !stats && <Cancelled again={() => void measure()} />}
      {task.failure.value && (
        <ProblemCard problem={task.failure.value} again={() => void measure()} />
      )}
      {stats && isComplex(stats.dtype) && <p class="under">of the magnitudes</p>}
      {stats && <StatsList stats={stats} />}
      {histogram && <Histogram histogram={histogram} />}
      {stats && !histogram && <p class="nothing">No value is finite, so there is no histogram.</p>}
    </section>
  );
}

function StatsList({ stats }: { stats: Stats }) {
  // What is not a number is not zero either.
  const zeros = stats.count - stats.nnz;
  const infinite = stats.posinf + stats.neginf;
  const rows: readonly (readonly [string, string, number | bigint])[] = [
    ["min", "min", stats.min],
    ["max", "max", stats.max],
    ["mean", "mean", stats.mean],
    ["stddev", "sd", stats.stddev],
    ["absmax", "abs max", stats.absmax],
    ["l2", "L2 norm", stats.l2],
    ["zeros", "zeros", zeros],
    ["nan", "NaN", stats.nan],
    ["inf", "±∞", infinite],
    ["count", "values", stats.count],
  ];
  return (
    <dl class="stats">
      {rows.map(([key, label, value]) => (
        <div key={key} data-testid={`stat-${key}`} data-value={numbers.exactly(value)}>
          <dt>{label}</dt>
          <dd
            title={numbers.exactly(value)}
            data-odd={(key === "nan" || key === "inf") && value !== 0}
          >
            {shown(key, value)}
          </dd>
        </div>
      ))}
    </dl>
  );
}

const COUNTS = ["zeros", "nan", "inf", "count"];

/** Short enough for its place; the title has all digits. */
function shown(key: string, value: number | bigint): string {
  if (COUNTS.includes(key) && value > 99_999) return numbers.count(Number(value));
  const long = typeof value === "bigint" && (value > 10n ** 9n || value < -(10n ** 9n));
  return numbers.figure(long ? Number(value) : value);
}
