import type { TensorFile, TensorInfo, Window } from "deathtensors";
import { useEffect, useMemo, useState } from "preact/hooks";
import { exactAt, isLong } from "../model/exact.ts";
import type { Slice } from "../model/slice.ts";
import { isAbort, type Problem, problem } from "../state/problems.ts";

export const TILE_ROWS = 64;
export const TILE_COLUMNS = 32;

interface Tile {
  readonly columns: number;
  readonly window: Window;
}

interface Sight {
  rows: readonly [first: number, last: number];
  columns: readonly [first: number, last: number];
}

export interface Tiles {
  /** Nothing while it is not there yet. */
  value(row: number, column: number): number | bigint | undefined;
  /** Whether there were integers of many digits. */
  readonly long: boolean;
  readonly failure: Problem | undefined;
}

/** Values of a slice, read in tiles as they come into sight, a moment after scrolling ends. */
export function useTiles(file: TensorFile, info: TensorInfo, slice: Slice, sight: Sight): Tiles {
  const store = useMemo(() => new Store(file, info, slice), [file, info, slice]);
  const [, redraw] = useState(0);
  const [top, bottom] = sight.rows;
  const [left, right] = sight.columns;
  useEffect(() => () => store.close(), [store]);
  useEffect(() => {
    const wait = store.empty ? 0 : 60;
    const timer = setTimeout(
      () => store.want({ rows: [top, bottom], columns: [left, right] }, () => redraw((n) => n + 1)),
      wait,
    );
    return () => clearTimeout(timer);
  }, [store, top, bottom, left, right]);
  return store;
}

/** More than a screen needs, and little beside the file's own cache. */
const KEPT = 256;

class Store implements Tiles {
  failure: Problem | undefined;
  long = false;
  readonly #tiles = new Map<string, Tile>();
  readonly #coming = new Map<string, AbortController>();

  readonly #file: TensorFile;
  readonly #info: TensorInfo;
  readonly #slice: Slice;

  constructor(file: TensorFile, info: TensorInfo, slice: Slice) {
    this.#file = file;
    this.#info = info;
    this.#slice = slice;
  }

  get empty(): boolean {
    return this.#tiles.size === 0;
  }

  value(row: number, column: number): number | bigint | undefined {
    const tile = this.#tiles.get(keyOf(row, column));
    if (!tile) return undefined;
    return exactAt(tile.window, (row % TILE_ROWS) * tile.columns + (column % TILE_COLUMNS));
  }

  /** Fetches what is in sight and not there, and no longer what has left it. */
  want({ rows, columns }: Sight, redraw: () => void) {
    const wanted = new Set<string>();
    for (let row = rows[0] - (rows[0] % TILE_ROWS); row < rows[1]; row += TILE_ROWS) {
      for (
        let column = columns[0] - (columns[0] % TILE_COLUMNS);
        column < columns[1];
        column += TILE_COLUMNS
      ) {
        const key = keyOf(row, column);
        wanted.add(key);
        if (!this.#tiles.has(key) && !this.#coming.has(key))
          void this.#fetch(key, row, column, redraw);
      }
    }
    for (const [key, controller] of this.#coming) if (!wanted.has(key)) controller.abort();
  }

  close() {
    for (const controller of this.#coming.values()) controller.abort();
  }

  async #fetch(key: string, row: number, column: number, redraw: () => void) {
    const controller = new AbortController();
    this.#coming.set(key, controller);
    const { axes, index, rows, columns } = this.#slice;
    const across = Math.min(TILE_COLUMNS, columns - column);
    try {
      const window = await this.#file.getWindow(this.#info.name, {
        ...(axes && { axes }),
        index,
        rows: { start: row, count: Math.min(TILE_ROWS, rows - row) },
        columns: { start: column, count: across },
        signal: controller.signal,
      });
      this.#tiles.set(key, { columns: across, window });
      this.long ||= isLong(window);
      const oldest = this.#tiles.keys().next().value;
      if (this.#tiles.size > KEPT && oldest !== undefined) this.#tiles.delete(oldest);
      this.failure = undefined;
    } catch (error) {
      if (controller.signal.aborted || isAbort(error)) return;
      this.failure = problem(`read values of ${this.#info.name}`, error);
    } finally {
      this.#coming.delete(key);
      if (!controller.signal.aborted) redraw();
    }
  }
}

function keyOf(row: number, column: number): string {
  return `${Math.floor(row / TILE_ROWS)},${Math.floor(column / TILE_COLUMNS)}`;
}
