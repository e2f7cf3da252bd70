import type { FileFacts, TensorInfo } from "./types.ts";

/** A span of the data, and the tensors that share it; none where it belongs to no tensor. */
export interface Group {
  readonly start: number;
  readonly end: number;
  readonly infos: readonly TensorInfo[];
  readonly digested: boolean;
}

/**
 * What must be read to check tensors, in the order of the file. Of a compressed file that is all,
 * with what belongs to no tensor if `everything` is to be checked: decoding shows at least whether
 * the frames' own checksums agree.
 */
export function groupsOf(
  wanted: readonly TensorInfo[],
  { compressed, dataBytes }: FileFacts,
  everything: boolean,
): Group[] {
  const groups = together(wanted);
  if (!compressed || !everything) return groups;
  const all: Group[] = [];
  let at = 0;
  for (const group of groups) {
    if (group.start > at) all.push(gap(at, group.start));
    all.push(group);
    at = Math.max(at, group.end);
  }
  if (at < dataBytes) all.push(gap(at, dataBytes));
  return all;
}

/** Tied weights are read once. */
function together(infos: readonly TensorInfo[]): Group[] {
  const bySpan = new Map<string, TensorInfo[]>();
  for (const info of infos) {
    const key = info.dataOffsets.join();
    const others = bySpan.get(key);
    if (others) others.push(info);
    else bySpan.set(key, [info]);
  }
  return [...bySpan.values()]
    .map((infos) => {
      const [start, end] = infos[0].dataOffsets;
      const digested = infos.some(({ sha256 }) => sha256 !== undefined);
      return { start, end, infos, digested };
    })
    .sort((a, b) => a.start - b.start || a.end - b.end);
}

function gap(start: number, end: number): Group {
  return { start, end, infos: [], digested: false };
}
