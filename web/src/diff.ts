import type { Model } from "./engine/face.ts";
import { acquire } from "./engine/pool.ts";
import { asError, throwIfAborted, usage } from "./errors.ts";
import { OpenFile } from "./file.ts";
import { ShardedFile } from "./sharded.ts";
import type { Difference, DiffOptions, TensorFile, TensorInfo } from "./types.ts";

/** What the core found, and the places of tensors whose bytes must be compared. */
interface Found extends Omit<Difference, "equal"> {
  valueChanged: string[];
  undecided: [number, number][];
}

/** What two open files differ in: names, shapes, dtypes, metadata, and values. */
export async function diff(
  a: TensorFile,
  b: TensorFile,
  options: DiffOptions = {},
): Promise<Difference> {
  const { signal, compareBytes = false, onProgress } = options;
  const { pool, release } = await acquire();
  try {
    throwIfAborted(signal);
    const { undecided, ...found } = JSON.parse(
      pool.face.compare(modelOf(a), modelOf(b), !compareBytes),
    ) as Found;
    const total = undecided.reduce((sum, [nth]) => sum + a.infos()[nth].nbytes, 0);
    let done = 0;
    for (const [left, right] of undecided) {
      const info = a.infos()[left];
      const before = done;
      const same = await sameBytes(
        a,
        info,
        b,
        b.infos()[right],
        async (x, y) => {
          done += x.byteLength;
          onProgress?.(done, total);
          return pool.run({ op: "same", a: x, b: y }, signal);
        },
        signal,
      );
      if (!same) found.valueChanged.push(info.name);
      done = before + info.nbytes;
      onProgress?.(done, total);
    }
    const order = new Map(a.keys().map((name, place) => [name, place]));
    found.valueChanged.sort((x, y) => (order.get(x) ?? 0) - (order.get(y) ?? 0));
    const equal =
      !found.globalMetadataChanged &&
      [
        found.added,
        found.removed,
        found.shapeChanged,
        found.dtypeChanged,
        found.metadataChanged,
        found.valueChanged,
      ].every((list) => list.length === 0);
    return { ...found, equal };
  } catch (error) {
    throw asError(error);
  } finally {
    release();
  }
}

function modelOf(file: TensorFile): Model {
  if (file instanceof OpenFile) return file.inside.model;
  if (file instanceof ShardedFile) return file.joint;
  throw usage("unavailable", "a manifest does not hold tensors, so that it cannot be compared");
}

/** Compares two tensors piece by piece, until a difference shows. */
async function sameBytes(
  a: TensorFile,
  left: TensorInfo,
  b: TensorFile,
  right: TensorInfo,
  compare: (x: Uint8Array, y: Uint8Array) => Promise<boolean>,
  signal?: AbortSignal,
): Promise<boolean> {
  const [x, y] = [streamOf(a, left, signal), streamOf(b, right, signal)];
  let [here, there] = [new Uint8Array(), new Uint8Array()];
  try {
    for (;;) {
      if (here.length === 0) here = await next(x);
      if (there.length === 0) there = await next(y);
      const length = Math.min(here.length, there.length);
      if (length === 0) return here.length === there.length;
      if (!(await compare(here.slice(0, length), there.slice(0, length)))) return false;
      here = here.subarray(length);
      there = there.subarray(length);
    }
  } finally {
    await Promise.all([x.return(undefined), y.return(undefined)]);
  }
}

async function next(stream: AsyncGenerator<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  for (;;) {
    const { done, value } = await stream.next();
    if (done) return new Uint8Array();
    if (value.length > 0) return value as Uint8Array<ArrayBuffer>;
  }
}

function streamOf(file: TensorFile, info: TensorInfo, signal?: AbortSignal) {
  if (file instanceof ShardedFile) {
    const home = file.home(info.name);
    return home.inside.data.stream([home.info(info.name).dataOffsets], signal);
  }
  return (file as OpenFile).inside.data.stream([info.dataOffsets], signal);
}
