import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { type Found, type SortKey, sort, sortBy, sorted } from "../state/finder.ts";
import { place } from "../state/location.ts";
import * as numbers from "../text/numbers.ts";
import { DtypeTag } from "./dtype.tsx";
import { openTensor } from "./keys.ts";
import { moved } from "./list-keys.ts";
import { Name } from "./name.tsx";
import { Soundness } from "./tensor-tree.tsx";
import { useStrip } from "./virtual.ts";

const ROW = 26;
const HEAD = 28;

const COLUMNS: readonly (readonly [SortKey, string])[] = [
  ["name", "Name"],
  ["dtype", "Dtype"],
  ["shape", "Shape"],
  ["elements", "Parameters"],
  ["bytes", "Bytes"],
];

export function TensorTable() {
  const scroller = useRef<HTMLDivElement>(null);
  const active = useSignal(0);
  const rows = sorted.value;
  const strip = useStrip(scroller, { count: rows.length, size: ROW, covered: HEAD });
  const at = Math.min(active.value, Math.max(0, rows.length - 1));
  const { tensor } = place.value;

  useEffect(() => {
    const row = rows.findIndex(({ info }) => info.name === tensor);
    if (row < 0) return;
    active.value = row;
    strip.reveal(row);
  }, [tensor]);

  const keys = (event: KeyboardEvent) => {
    // The heads' buttons have keys of their own.
    if (event.target !== event.currentTarget) return;
    const to = moved(event.key, at, rows.length, strip.page);
    const row = rows[at];
    if (to !== undefined) {
      active.value = to;
      strip.reveal(to);
    } else if (event.key === "Enter" && row) openTensor(row.info.name);
    else return;
    event.preventDefault();
  };

  return (
    <div
      ref={scroller}
      class="scroller table"
      id="tensor-list"
      data-testid="tensor-table"
      role="grid"
      tabIndex={0}
      aria-label="Tensors"
      aria-rowcount={rows.length + 1}
      aria-colcount={COLUMNS.length}
      aria-activedescendant={rows.length > 0 ? `table-${at}` : undefined}
      onKeyDown={keys}
    >
      <div role="row" class="table-head" aria-rowindex={1}>
        {COLUMNS.map(([key, words]) => (
          <Head key={key} column={key} words={words} />
        ))}
      </div>
      <div role="rowgroup" class="spacer" style={{ height: `${strip.length}px` }}>
        {rows.slice(strip.first, strip.last).map((one, i) => (
          <Row
            key={one.info.name}
            found={one}
            index={strip.first + i}
            active={strip.first + i === at}
            top={strip.place(strip.first + i)}
            press={() => {
              active.value = strip.first + i;
              openTensor(one.info.name);
            }}
          />
        ))}
      </div>
      {rows.length === 0 && <p class="nothing">No tensor matches.</p>}
    </div>
  );
}

function Head({ column, words }: { column: SortKey; words: string }) {
  const now = sort.value?.key === column ? sort.value : undefined;
  const state = now ? (now.down ? "descending" : "ascending") : "none";
  return (
    <div role="columnheader" aria-sort={state} data-column={column}>
      <button type="button" data-testid={`sort-${column}`} onClick={() => sortBy(column)}>
        {words}
        <span aria-hidden="true">{now ? (now.down ? " ↓" : " ↑") : ""}</span>
      </button>
    </div>
  );
}

interface RowProps {
  found: Found;
  index: number;
  active: boolean;
  top: number;
  press: () => void;
}

function Row({ found: { info, ranges }, index, active, top, press }: RowProps) {
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid itself has the keys
    <div
      id={`table-${index}`}
      class="row"
      role="row"
      data-testid="table-row"
      data-name={info.name}
      data-index={index}
      data-active={active}
      aria-rowindex={index + 2}
      aria-selected={info.name === place.value.tensor}
      style={{ transform: `translateY(${top}px)` }}
      onClick={press}
    >
      <span role="gridcell" data-column="name">
        <Name text={info.name} ranges={ranges} />
        <Soundness name={info.name} />
      </span>
      <span role="gridcell" data-column="dtype">
        <DtypeTag dtype={info.dtype} />
      </span>
      <span role="gridcell" data-column="shape">
        {numbers.shape(info.shape)}
      </span>
      <span role="gridcell" data-column="elements" title={numbers.whole(info.elements)}>
        {numbers.count(info.elements)}
      </span>
      <span role="gridcell" data-column="bytes" title={numbers.exactBytes(info.nbytes)}>
        {numbers.bytes(info.nbytes)}
      </span>
    </div>
  );
}
