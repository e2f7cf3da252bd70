import { useSignal } from "@preact/signals";
import type { Span, TensorInfo, Window } from "deathtensors";
import { useEffect, useMemo } from "preact/hooks";
import { budget } from "../model/budget.ts";
import { difference } from "../model/exact.ts";
import {
  moved,
  overview,
  type Slice,
  sliceOf,
  TALLEST,
  WIDEST,
  within,
  zoomed,
} from "../model/slice.ts";
import { look, place, type View } from "../state/location.ts";
import { type Opened, other } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { HeatmapCanvas } from "./heatmap-canvas.tsx";
import type { Steer } from "./heatmap-drag.ts";
import { HeatmapPickers } from "./heatmap-pickers.tsx";
import { useTask } from "./hooks.ts";
import { ProblemCard } from "./problem.tsx";
import { Cancelled, ProgressBar } from "./progress.tsx";

export type Mode = "this" | "other" | "difference";

/** What is shown, and where it stands in the slice. */
interface Picture {
  readonly window: Window;
  readonly rows: Required<Span>;
  readonly columns: Required<Span>;
}

/** A picture of any 2-D slice, a pixel for a value. */
export function Heatmap({ now, info }: { now: Opened; info: TensorInfo }) {
  const task = useTask<Picture>();
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

  const draw = () =>
    task.run(`read a slice of ${info.name}`, async (work) => {
      const { axes, index } = slice;
      const request = { ...(axes && { axes }), index, rows, columns };
      const read = (file: Opened["file"], part: typeof work) =>
        file.getWindow(info.name, { ...request, ...part });
      const picture = (window: Window) => ({ window, rows, columns });
      if (!comparable || mode === "this") return picture(await read(now.file, work));
      if (mode === "other") return picture(await read(comparable, work));
      const [a, b] = await Promise.all([
        read(now.file, work),
        read(comparable, { ...work, onProgress: () => {} }),
      ]);
      return picture(difference(a, b));
    });
  useEffect(() => void draw(), [now, info, slice, rows, columns, comparable, mode, task]);

  const change = (next: Partial<View>) => look({ view: { ...view, ...next } }, true);
  const steer: Steer = {
    move: (down, across) =>
      change({
        rows: moved(rows, slice.rows, down * rows.step),
        columns: moved(columns, slice.columns, across * columns.step),
      }),
    zoom: (factor, [down, across] = [0.5, 0.5]) =>
      change({
        rows: zoomed(rows, slice.rows, TALLEST, factor, down),
        columns: zoomed(columns, slice.columns, WIDEST, factor, across),
      }),
  };
  const more = !covers(rows, slice.rows) || !covers(columns, slice.columns);
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
            {more ? (
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
        steer={steer}
        {...(comparable && {
          mode,
          chooseMode: (next: Mode) => {
            wish.value = next;
          },
        })}
      />
      {task.running.value && (
        <div class={task.result.value ? "progress-over" : ""}>
          <ProgressBar
            what="Reading the slice"
            progress={task.progress.value}
            cancel={() => task.cancel()}
          />
        </div>
      )}
      {task.cancelled.value && !task.result.value && <Cancelled again={() => void draw()} />}
      {task.failure.value && <ProblemCard problem={task.failure.value} again={() => void draw()} />}
      {task.result.value && (
        <HeatmapCanvas
          {...task.result.value}
          name={info.name}
          waiting={task.running.value}
          steer={steer}
          more={more}
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
