import type { Ranges } from "../text/search.ts";
import { visible, visibleName } from "../text/visible.ts";

interface Props {
  /** The part of the name that is shown. */
  text: string;
  /** What was searched for, in places of the whole name, of which `text` begins at `offset`. */
  ranges?: Ranges | undefined;
  offset?: number;
}

/** A name with what was searched for marked. Too long for its place, it loses its beginning. */
export function Name({ text, ranges = [], offset = 0 }: Props) {
  const cut = Math.max(0, text.lastIndexOf(".", text.lastIndexOf(".") - 1));
  return (
    <span class="name" title={visible(text)}>
      {cut > 0 && <span class="name-head">{marked(text, ranges, offset, 0, cut)}</span>}
      {text.trim() === "" && <span class="quiet">{visibleName(text) || "(nothing)"}</span>}
      <span class="name-tail">{marked(text, ranges, offset, cut, text.length)}</span>
    </span>
  );
}

function marked(text: string, ranges: Ranges, offset: number, from: number, to: number) {
  const out: preact.ComponentChild[] = [];
  let at = from;
  for (const [start, end] of ranges) {
    const low = Math.max(at, start - offset);
    const high = Math.min(to, end - offset);
    if (low >= high) continue;
    if (low > at) out.push(visible(text.slice(at, low)));
    out.push(<mark key={low}>{visible(text.slice(low, high))}</mark>);
    at = high;
  }
  if (at < to) out.push(visible(text.slice(at, to)));
  return out;
}
