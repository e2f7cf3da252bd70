import { useSignal } from "@preact/signals";
import type { TensorInfo } from "deathtensors";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { isComplex } from "../model/dtypes.ts";
import { sliceOf } from "../model/slice.ts";
import { place } from "../state/location.ts";
import type { Opened } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { visible } from "../text/visible.ts";
import { CopyButton } from "./copy.tsx";
import { ProblemCard } from "./problem.tsx";
import { useTiles } from "./tiles.ts";
import { useStrip } from "./virtual.ts";

const ROW = 24;
const COLUMN = 92;
/** For integers of up to twenty digits. */
const LONG_COLUMN = 196;
const HEAD = 72;
const SCROLL_BAR = 18;

/** The slice's values as a table that scrolls both ways and reads what comes into sight. */
export function Values({ now, info }: { now: Opened; info: TensorInfo }) {
  const { view } = place.value;
  const key = JSON.stringify([view?.axes, view?.index]);
  const slice = useMemo(() => sliceOf(info.shape, view ?? {}), [info, key]);
  const scroller = useRef<HTMLDivElement>(null);
  const down = useStrip(scroller, { count: slice.rows, size: ROW, covered: ROW });
  const [long, widen] = useState(false);
  const across = useStrip(scroller, {
    count: slice.columns,
    size: long ? LONG_COLUMN : COLUMN,
    axis: "x",
    covered: HEAD,
  });
  const active = useSignal({ row: 0, column: 0 });
  const tiles = useTiles(now.file, info, slice, {
    rows: [down.first, down.last],
    columns: [across.first, across.last],
  });
  useEffect(() => widen(tiles.long), [tiles.long]);
  if (slice.rows === 0 || slice.columns === 0)
    return <p class="nothing">The slice has no values.</p>;

  const rows = range(down.first, down.last);
  const columns = range(across.first, across.last);
  const move = (event: KeyboardEvent) => {
    const { row, column } = active.value;
    const to = {
      ArrowDown: [row + 1, column],
      ArrowUp: [row - 1, column],
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      PageDown: [row + down.page, column],
      PageUp: [row - down.page, column],
      Home: [event.ctrlKey ? 0 : row, 0],
      End: [event.ctrlKey ? slice.rows - 1 : row, slice.columns - 1],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    const next = {
      row: Math.max(0, Math.min(slice.rows - 1, to[0] as number)),
      column: Math.max(0, Math.min(slice.columns - 1, to[1] as number)),
    };
    active.value = next;
    down.reveal(next.row);
    across.reveal(next.column);
  };
  const text = () =>
    rows
      .map((row) => columns.map((column) => cellText(tiles.value(row, column))).join("\t"))
      .join("\n");

  return (
    <section class="values" aria-label="Values">
      {isComplex(info.dtype) && <p class="under">magnitudes of complex numbers</p>}
      {tiles.failure && <ProblemCard problem={tiles.failure} />}
      <div
        ref={scroller}
        class="scroller values-grid"
        data-testid="values-grid"
        data-long={long}
        role="grid"
        tabIndex={0}
        aria-label={`Values of ${visible(info.name)}`}
        aria-rowcount={slice.rows + 1}
        aria-colcount={slice.columns + 1}
        aria-activedescendant={`value-${active.value.row}-${active.value.column}`}
        onKeyDown={move}
        style={{ height: `${ROW + down.length + SCROLL_BAR}px` }}
      >
        <div
          class="values-space"
          role="none"
          style={{ width: `${HEAD + across.length}px`, height: `${ROW + down.length}px` }}
        >
          <div class="values-head" role="row" aria-rowindex={1}>
            <span class="values-corner" role="columnheader" aria-colindex={1}>
              <span class="off-screen">row</span>
            </span>
            {columns.map((column) => (
              <span
                key={column}
                class="value-head"
                role="columnheader"
                aria-colindex={column + 2}
                style={{ left: `${HEAD + across.place(column)}px` }}
              >
                {numbers.whole(column)}
              </span>
            ))}
          </div>
          {rows.map((row) => (
            <div
              key={row}
              class="values-row"
              role="row"
              aria-rowindex={row + 2}
              style={{ top: `${ROW + down.place(row)}px` }}
            >
              <span class="row-head" role="rowheader" aria-colindex={1}>
                {numbers.whole(row)}
              </span>
              {columns.map((column) => (
                <Cell
                  key={column}
                  row={row}
                  column={column}
                  left={HEAD + across.place(column)}
                  value={tiles.value(row, column)}
                  active={row === active.value.row && column === active.value.column}
                  press={() => {
                    active.value = { row, column };
                  }}
                />
              ))}
            </div>
          ))}
        </div>
      </div>
      <div class="under values-under">
        <span>
          row {numbers.whole(active.value.row)}, column {numbers.whole(active.value.column)}:{" "}
          <strong>{cellText(tiles.value(active.value.row, active.value.column)) || "…"}</strong>
        </span>
        <CopyButton what="values in sight" text={text} testid="copy-button">
          Copy what is in sight
        </CopyButton>
      </div>
    </section>
  );
}

interface CellProps {
  row: number;
  column: number;
  left: number;
  value: number | bigint | undefined;
  active: boolean;
  press: () => void;
}

function Cell({ row, column, left, value, active, press }: CellProps) {
  const exact = cellText(value);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid itself has the keys
    <span
      id={`value-${row}-${column}`}
      class="value"
      role="gridcell"
      data-testid="value-cell"
      data-row={row}
      data-column={column}
      data-value={exact || undefined}
      data-active={active}
      data-odd={typeof value === "number" && !Number.isFinite(value)}
      data-zero={value === 0}
      aria-colindex={column + 2}
      aria-selected={active}
      title={exact}
      style={{ left: `${left}px` }}
      onClick={press}
    >
      {value === undefined ? "·" : numbers.figure(value, 5)}
    </span>
  );
}

function cellText(value: number | bigint | undefined): string {
  return value === undefined ? "" : numbers.exactly(value);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
}
