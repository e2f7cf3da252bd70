import type { Data } from "./data.ts";
import type { Model } from "./engine/face.ts";
import type { Pool } from "./engine/pool.ts";
import { TensorFileError } from "./errors.ts";
import type { Ranges } from "./ranges.ts";
import type { FileFacts, TensorInfo } from "./types.ts";

/** An open file's parts, for the functions that work on them. */
export interface Inside {
  readonly model: Model;
  readonly data: Data;
  readonly ranges: Ranges;
  readonly pool: Pool;
  readonly facts: FileFacts;
  readonly infos: readonly TensorInfo[];
  /** A tensor's place in the file's order. */
  place(name: string): number;
}

/** Tensors by name, in the file's order. */
export class Names {
  readonly infos: readonly TensorInfo[];
  readonly #places: Map<string, number>;

  constructor(infos: readonly TensorInfo[]) {
    this.infos = infos;
    this.#places = new Map(infos.map(({ name }, place) => [name, place]));
  }

  has(name: string): boolean {
    return this.#places.has(name);
  }

  place(name: string): number {
    const place = this.#places.get(name);
    if (place !== undefined) return place;
    throw new TensorFileError({
      code: "not_found.tensor",
      message: `no tensor is named ${JSON.stringify(String(name).slice(0, 200))}`,
      tensor: String(name),
    });
  }

  get(name: string): TensorInfo {
    return this.infos[this.place(name)];
  }
}

/** Starts and ends, one after the other, as pairs. */
export function pairs(flat: ArrayLike<number>, base = 0): [number, number][] {
  return Array.from({ length: flat.length / 2 }, (_, at) => [
    base + flat[2 * at],
    base + flat[2 * at + 1],
  ]);
}
