import type { FrameInfo, TensorInfo } from "deathtensors";
import type { Opened } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { visible } from "../text/visible.ts";
import { Metadata } from "./metadata.tsx";

interface Props {
  now: Opened;
  info: TensorInfo;
  frames: readonly FrameInfo[] | undefined;
}

/** Where it stands, what protects it, and what was written beside it. */
export function Details({ now, info, frames }: Props) {
  const { facts } = now.file;
  const [start, end] = info.dataOffsets;
  const span = ([from, to]: readonly [number, number]) =>
    `${numbers.whole(from)} to ${numbers.whole(to)}`;
  const rows: [string, string | undefined][] = [
    ["Name", visible(info.name)],
    ["Offsets in the data", span(info.dataOffsets)],
    [
      "Offsets in the file",
      facts.compressed || info.shard !== undefined
        ? undefined
        : span([facts.dataStart + start, facts.dataStart + end]),
    ],
    ["File", info.shard === undefined ? undefined : visible(info.shard)],
    ["SHA-256", info.sha256 ?? "none in the file"],
    [
      "Frames",
      frames && frames.length > 0
        ? `${numbers.whole(frames.length)}, bytes ${span([frames[0]?.stored[0] ?? 0, frames.at(-1)?.stored[1] ?? 0])} of the file`
        : undefined,
    ],
  ];
  return (
    <div class="details">
      <dl class="facts">
        {rows.map(
          ([label, value]) =>
            value !== undefined && (
              <div key={label} data-key={label}>
                <dt>{label}</dt>
                <dd>{value}</dd>
              </div>
            ),
        )}
      </dl>
      <Metadata metadata={info.metadata} />
    </div>
  );
}
