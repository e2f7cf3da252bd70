import { useSignal } from "@preact/signals";
import type { Span, TensorInfo, Window } from "deathtensors";
import { useEffect, useMemo } from "preact/hooks";
import { budget } from "../model/budget.ts";
import { overview, type Slice, sliceOf, TALLEST, WIDEST, within } from "../model/slice.ts";
import { look, place, type View } from "../state/location.ts";
import { type Opened, other } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { HeatmapCanvas } from "./heatmap-canvas.tsx";
import { HeatmapPickers } from "./heatmap-pickers.tsx";
import { useTask } from "./hooks.ts";
import { ProblemCard } from "./problem.tsx";
import { ProgressBar } from "./progress.tsx";

export type Mode = "this" | "other" | "difference";

/** A picture of any 2-D slice, a pixel for a value. */
export function Heatmap({ now, info }: { now: Opened; info: TensorInfo }) {
  const task = useTask<Window>();
  const second = other.value?.file;
  const comparable =
    second?.has(info.name) && sameShape(second.info(info.name).shape, info.shape)
      ? second
      : undefined;
  const wish = useSignal<Mode>("difference");
  const mode: Mode = comparable ? wish.value : "this";

  const view = place.value.view ?? {};
  const key = JSON.stringify(view);
  const slice = useMemo(() => sliceOf(info.shape, view), [info, key]);
  const bytes = (info.nbytes / Math.max(1, info.elements)) * slice.rows * slice.columns;
  const most = budget(now).whole;
  const [rows, columns] = useMemo(() => spans(slice, view, bytes, most), [slice, key, bytes, most]);

  useEffect(() => {
    void task.run(`read a slice of ${info.name}`, async (work) => {
      const { axes, index } = slice;
      const request = { ...(axes && { axes }), index, rows, columns };
      const read = (file: Opened["file"], part: typeof work) =>
        file.getWindow(info.name, { ...request, ...part });
      if (!comparable || mode === "this") return read(now.file, work);
      if (mode === "other") return read(comparable, work);
      const [a, b] = await Promise.all([
        read(now.file, work),
        read(comparable, { ...work, onProgress: () => {} }),
      ]);
      return { ...a, values: a.values.map((value, i) => (b.values[i] as number) - value) };
    });
  }, [now, info, slice, rows, columns, comparable, mode, task]);

  const change = (next: Partial<View>) => look({ view: { ...view, ...next } }, true);
  const shown = rows.count * columns.count;
  const total = slice.rows * slice.columns;
  return (
    <section class="heatmap-figure" aria-labelledby="heatmap-title">
      <h3 id="heatmap-title">
        {mode === "difference"
          ? "Differences (second − first)"
          : mode === "other"
            ? "Values of the second file"
            : "Values as a picture"}
        {shown < total && (
          <span class="sample">
            <span data-testid="heatmap-share" data-value={shown / total}>
              {numbers.percent(shown / total)} of the slice
            </span>
            {!covers(rows, slice.rows) || !covers(columns, slice.columns) ? (
              <button
                type="button"
                data-testid="heatmap-overview"
                title="Every nth value of the whole slice, which may read all of it"
                onClick={() =>
                  change({
                    rows: overview(slice.rows, TALLEST),
                    columns: overview(slice.columns, WIDEST),
                  })
                }
              >
                Overview, up to {numbers.bytes(bytes)}
              </button>
            ) : null}
          </span>
        )}
      </h3>
      <HeatmapPickers
        info={info}
        slice={slice}
        rows={rows}
        columns={columns}
        change={change}
        {...(comparable && {
          mode,
          chooseMode: (next: Mode) => {
            wish.value = next;
          },
        })}
      />
      {task.running.value && (
        <ProgressBar
          what="Reading the slice"
          progress={task.progress.value}
          cancel={() => task.cancel()}
        />
      )}
      {task.failure.value && <ProblemCard problem={task.failure.value} />}
      {task.result.value && (
        <HeatmapCanvas
          window={task.result.value}
          rows={rows}
          columns={columns}
          name={info.name}
          waiting={task.running.value}
        />
      )}
    </section>
  );
}

/** The whole slice if it may be read at once, else as much of its beginning as may. */
function spans(
  slice: Slice,
  view: View,
  bytes: number,
  most: number,
): [Required<Span>, Required<Span>] {
  const small = bytes <= most;
  const rowBytes = bytes / Math.max(1, slice.rows);
  const rows = Math.max(16, Math.min(TALLEST, Math.floor(most / Math.max(1, rowBytes))));
  const first = (total: number, count: number) => within({ start: 0, count }, total, count);
  return [
    view.rows
      ? within(view.rows, slice.rows, TALLEST)
      : small
        ? overview(slice.rows, TALLEST)
        : first(slice.rows, rows),
    view.columns
      ? within(view.columns, slice.columns, WIDEST)
      : small
        ? overview(slice.columns, WIDEST)
        : first(slice.columns, WIDEST),
  ];
}

function covers({ start, count, step }: Required<Span>, total: number): boolean {
  return start === 0 && count * step >= total;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}
