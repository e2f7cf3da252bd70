import type { Span, TensorInfo } from "deathtensors";
import { type Slice, TALLEST, WIDEST, within } from "../model/slice.ts";
import type { View } from "../state/location.ts";
import * as numbers from "../text/numbers.ts";
import type { Mode } from "./heatmap.tsx";
import type { Steer } from "./heatmap-drag.ts";

interface Props {
  info: TensorInfo;
  slice: Slice;
  rows: Required<Span>;
  columns: Required<Span>;
  change: (next: Partial<View>) => void;
  steer: Steer;
  mode?: Mode;
  chooseMode?: (mode: Mode) => void;
}

/** Which axes run down and across, where on the others, and which part of the slice. */
export function HeatmapPickers(props: Props) {
  const { info, slice, rows, columns, change, steer, mode, chooseMode } = props;
  const { axes, index } = slice;
  const turn = (at: 0 | 1, axis: number) => {
    if (!axes) return;
    const now: [number, number] = [axes[0], axes[1]];
    // Taking the other's axis swaps the two.
    if (now[1 - at] === axis) now[(1 - at) as 0 | 1] = now[at];
    now[at] = axis;
    change({ axes: now, rows: undefined, columns: undefined });
  };
  const others = info.shape
    .map((size, axis) => ({ size, axis }))
    .filter(({ size, axis }) => size > 1 && !axes?.includes(axis));
  return (
    <div class="pickers">
      {mode && chooseMode && (
        <label>
          show{" "}
          <select
            data-testid="heatmap-mode"
            value={mode}
            onChange={(event) => chooseMode(event.currentTarget.value as Mode)}
          >
            <option value="difference">difference</option>
            <option value="this">this file</option>
            <option value="other">second file</option>
          </select>
        </label>
      )}
      {axes && (
        <>
          <AxisPicker
            label="down"
            testid="axis-rows"
            shape={info.shape}
            axis={axes[0]}
            choose={(axis) => turn(0, axis)}
          />
          <AxisPicker
            label="across"
            testid="axis-columns"
            shape={info.shape}
            axis={axes[1]}
            choose={(axis) => turn(1, axis)}
          />
          {others.map(({ size, axis }) => (
            <NumberPicker
              key={axis}
              label={`axis ${axis}`}
              testid={`index-${axis}`}
              value={index[axis] ?? 0}
              most={size - 1}
              choose={(value) =>
                change({ index: index.map((old, i) => (i === axis ? value : old)) })
              }
            />
          ))}
        </>
      )}
      {slice.rows > 1 && (
        <SpanPicker
          what="row"
          span={rows}
          total={slice.rows}
          most={TALLEST}
          choose={(span) => change({ rows: span })}
        />
      )}
      <SpanPicker
        what="column"
        span={columns}
        total={slice.columns}
        most={WIDEST}
        choose={(span) => change({ columns: span })}
      />
      <span class="zoom" role="group" aria-label="Zoom">
        {(
          [
            ["zoom-out", "−", "Zoom out (−)", 2],
            ["zoom-in", "+", "Zoom in (+)", 0.5],
          ] as const
        ).map(([testid, sign, words, factor]) => (
          <button
            key={testid}
            type="button"
            class="icon"
            data-testid={testid}
            aria-label={words.replace(/ \(.*/, "")}
            title={words}
            onClick={() => steer.zoom(factor)}
          >
            {sign}
          </button>
        ))}
      </span>
    </div>
  );
}

interface AxisProps {
  label: string;
  testid: string;
  shape: readonly number[];
  axis: number;
  choose: (axis: number) => void;
}

function AxisPicker({ label, testid, shape, axis, choose }: AxisProps) {
  return (
    <label>
      {label}{" "}
      <select
        data-testid={testid}
        value={axis}
        onChange={(event) => choose(Number(event.currentTarget.value))}
      >
        {shape.map((size, i) => (
          <option key={i} value={i}>
            axis {i} ({numbers.whole(size)})
          </option>
        ))}
      </select>
    </label>
  );
}

interface NumberProps {
  label: string;
  testid: string;
  value: number;
  least?: number;
  most: number;
  choose: (value: number) => void;
}

function NumberPicker({ label, testid, value, least = 0, most, choose }: NumberProps) {
  return (
    <label>
      {label}{" "}
      <input
        type="number"
        data-testid={testid}
        min={least}
        max={most}
        value={value}
        onChange={(event) => {
          const typed = Math.round(Number(event.currentTarget.value));
          const next = Number.isFinite(typed) ? Math.min(most, Math.max(least, typed)) : value;
          event.currentTarget.value = String(next);
          if (next !== value) choose(next);
        }}
      />
    </label>
  );
}

interface SpanProps {
  what: string;
  span: Required<Span>;
  total: number;
  most: number;
  choose: (span: Required<Span>) => void;
}

function SpanPicker({ what, span, total, most, choose }: SpanProps) {
  if (total <= 1) return null;
  const { start, step } = span;
  const wish = (next: Partial<Span>) =>
    choose(within({ start, step, ...next, count: most }, total, most));
  return (
    <span class="span-picker" role="group" aria-label={`${what}s`}>
      <NumberPicker
        label={`from ${what}`}
        testid={`${what}-start`}
        value={start}
        most={total - 1}
        choose={(value) => wish({ start: value })}
      />
      <NumberPicker
        label="every"
        testid={`${what}-step`}
        value={step}
        least={1}
        most={total}
        choose={(value) => wish({ step: value })}
      />
    </span>
  );
}
