import { useSignal } from "@preact/signals";
import type { Span, Window } from "deathtensors";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { exactAt } from "../model/exact.ts";
import { mapFor, paint, scaleOf } from "../model/scale.ts";
import { theme } from "../state/settings.ts";
import * as numbers from "../text/numbers.ts";
import { visible } from "../text/visible.ts";
import { type Steer, useDrag, useWheel } from "./heatmap-drag.ts";
import { useWidth } from "./hooks.ts";
import { Legend } from "./legend.tsx";

interface Props {
  window: Window;
  rows: Required<Span>;
  columns: Required<Span>;
  name: string;
  /** Whether another picture is on the way. */
  waiting: boolean;
  steer: Steer;
  /** Whether there is more than is shown. */
  more: boolean;
}

const HIGHEST = 420;
/** Whether there is a mouse or the like. */
const HOVERS = matchMedia("(hover: hover)").matches;

/** The picture itself: one pixel of the canvas for one value, enlarged by a whole number. */
export function HeatmapCanvas(props: Props) {
  const { window, rows, columns, name, waiting, steer, more } = props;
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const cell = useSignal<{ row: number; column: number } | undefined>(undefined);
  const scale = useMemo(() => scaleOf(window.values), [window]);
  const map = mapFor(scale, theme.value === "dark");

  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context || window.rows === 0 || window.columns === 0) return;
    const pixels = paint(window.values, scale, map);
    context.putImageData(new ImageData(pixels, window.columns, window.rows), 0, 0);
  }, [window, scale, map]);

  const [across, down] = enlarge(window, width);
  const drag = useDrag([across, down], steer);
  useWheel(canvas, steer);
  const [draggedDown, draggedAcross] = drag.by.value;
  const at = cell.value;
  const inside = at && at.row < window.rows && at.column < window.columns ? at : undefined;
  const nth = inside && inside.row * window.columns + inside.column;
  const value = nth === undefined ? undefined : exactAt(window, nth);

  const point = (event: PointerEvent) => {
    const { left, top } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const row = Math.floor((event.clientY - top) / down);
    const column = Math.floor((event.clientX - left) / across);
    if (row >= 0 && column >= 0) cell.value = { row, column };
  };
  const keys = (event: KeyboardEvent) => {
    const factor = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (factor && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      steer.zoom(factor);
      return;
    }
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[
      event.key
    ];
    if (!by) return;
    event.preventDefault();
    if (event.shiftKey) {
      const half = (count: number) => Math.max(1, Math.floor(count / 2));
      steer.move((by[0] as number) * half(rows.count), (by[1] as number) * half(columns.count));
      return;
    }
    const { row, column } = inside ?? { row: 0, column: -1 };
    cell.value = {
      row: clamp(row + (by[0] as number), window.rows),
      column: clamp(column + (by[1] as number), window.columns),
    };
  };
  return (
    <div class="heatmap" data-waiting={waiting}>
      <div ref={box} class="heatmap-box">
        <div class="heatmap-frame">
          <canvas
            ref={canvas}
            width={window.columns}
            height={window.rows}
            style={{
              width: `${window.columns * across}px`,
              height: `${window.rows * down}px`,
              transform: `translate(${draggedAcross * across}px, ${draggedDown * down}px)`,
            }}
            tabIndex={0}
            role="img"
            aria-label={`Heatmap of ${visible(name)}, ${window.rows} rows by ${window.columns} columns, from ${numbers.figure(scale.low)} to ${numbers.figure(scale.high)}. Arrow keys read values; with Shift they move the picture; plus and minus zoom.`}
            aria-describedby="heatmap-value"
            data-testid="heatmap"
            data-ready={!waiting}
            data-rows={window.rows}
            data-columns={window.columns}
            data-row-start={rows.start}
            data-row-step={rows.step}
            data-column-start={columns.start}
            data-column-step={columns.step}
            data-low={scale.low}
            data-high={scale.high}
            data-map={scale.diverging ? "diverging" : "sequential"}
            data-more={more}
            onPointerMove={(event) => {
              point(event);
              if (more) drag.follow(event);
            }}
            onPointerDown={(event) => {
              point(event);
              if (more) drag.begin(event);
            }}
            onPointerUp={drag.drop}
            onPointerCancel={drag.end}
            onKeyDown={keys}
          />
          {inside && (
            <span
              class="crosshair"
              aria-hidden="true"
              style={{
                left: `${inside.column * across}px`,
                top: `${inside.row * down}px`,
                width: `${across}px`,
                height: `${down}px`,
              }}
            />
          )}
        </div>
      </div>
      <Legend
        scale={scale}
        map={map}
        values={window.values.length}
        pointed={nth === undefined ? undefined : window.values[nth]}
      />
      <p
        class="under"
        id="heatmap-value"
        data-testid="heatmap-value"
        aria-live="polite"
        data-value={value === undefined ? undefined : numbers.exactly(value)}
        data-row={inside && rows.start + inside.row * rows.step}
        data-column={inside && columns.start + inside.column * columns.step}
      >
        {inside && value !== undefined
          ? `row ${numbers.whole(rows.start + inside.row * rows.step)}, column ${numbers.whole(columns.start + inside.column * columns.step)}: ${numbers.figure(value, 6)}`
          : `${spanWords("rows", rows)}, ${spanWords("columns", columns)}; point at a value to read it${more && HOVERS ? ", drag to move" : ""}${HOVERS ? ", Ctrl and wheel to zoom" : ""}`}
      </p>
    </div>
  );
}

function spanWords(what: string, { start, count, step }: Required<Span>): string {
  const end = start + (count - 1) * step;
  const every = step > 1 ? ` in steps of ${numbers.whole(step)}` : "";
  return count === 0
    ? `no ${what}`
    : `${what} ${numbers.whole(start)} to ${numbers.whole(end)}${every}`;
}

/** How many pixels of the screen a value gets: whole numbers, square where the shape allows. */
function enlarge({ rows, columns }: Window, width: number): [across: number, down: number] {
  if (width === 0 || rows === 0 || columns === 0) return [1, 1];
  // Wider than the page: shrunk as little as possible.
  if (columns > width) return [width / columns, Math.max(1, Math.ceil(24 / rows))];
  const widest = Math.min(40, Math.floor(width / columns));
  const tallest = Math.max(1, Math.min(40, Math.floor(HIGHEST / rows)));
  const square = Math.min(widest, tallest);
  // A few long rows, or a few long columns, would be lines too thin to see.
  const across = Math.min(widest, Math.max(square, Math.ceil(32 / columns)));
  const down = Math.min(tallest, Math.max(square, Math.ceil(32 / rows)));
  return [across, down];
}

function clamp(value: number, count: number): number {
  return Math.max(0, Math.min(count - 1, value));
}
