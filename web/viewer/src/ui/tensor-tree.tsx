import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Line } from "../model/tree.ts";
import { sound } from "../state/checks.ts";
import { ranges, setOpen, tree, treeLines } from "../state/finder.ts";
import { place } from "../state/location.ts";
import * as numbers from "../text/numbers.ts";
import { visible } from "../text/visible.ts";
import { Swatch } from "./dtype.tsx";
import { openTensor } from "./keys.ts";
import { moved } from "./list-keys.ts";
import { Name } from "./name.tsx";
import { useStrip } from "./virtual.ts";

const ROW = 26;

export function TensorTree() {
  const scroller = useRef<HTMLDivElement>(null);
  const active = useSignal(0);
  const lines = treeLines.value;
  const strip = useStrip(scroller, { count: lines.length, size: ROW });
  const at = Math.min(active.value, Math.max(0, lines.length - 1));
  const { tensor } = place.value;

  useEffect(() => {
    const line = lines.findIndex(({ node }) => node.tensor && node.tensor.name === tensor);
    if (line < 0) return;
    active.value = line;
    strip.reveal(line);
  }, [tensor]);

  const mark = (to: number) => {
    active.value = to;
    strip.reveal(to);
  };
  const keys = (event: KeyboardEvent) => {
    const line = lines[at];
    if (!line) return;
    const to = moved(event.key, at, lines.length, strip.page);
    if (to !== undefined) mark(to);
    else if (event.key === "Enter" || event.key === " ") activate(line);
    else if (event.key === "ArrowRight" && !line.node.tensor) {
      if (line.open) mark(Math.min(at + 1, lines.length - 1));
      else setOpen(line.node.path, true);
    } else if (event.key === "ArrowLeft") {
      if (line.open) setOpen(line.node.path, false);
      else {
        const parent = lines.findLastIndex((one, i) => i < at && one.level < line.level);
        if (parent >= 0) mark(parent);
      }
    } else return;
    event.preventDefault();
  };

  if (lines.length === 0) return <p class="nothing">No tensor matches.</p>;
  return (
    <div
      ref={scroller}
      class="scroller tree"
      id="tensor-list"
      data-testid="tensor-tree"
      role="tree"
      tabIndex={0}
      aria-label="Tensors by name"
      aria-activedescendant={`tree-${at}`}
      onKeyDown={keys}
    >
      <div role="none" class="spacer" style={{ height: `${strip.length}px` }}>
        {lines.slice(strip.first, strip.last).map((line, i) => (
          <TreeRow
            key={`${line.node.path}${line.node.tensor ? "" : "/"}`}
            line={line}
            index={strip.first + i}
            active={strip.first + i === at}
            top={strip.place(strip.first + i)}
            press={() => {
              active.value = strip.first + i;
              activate(line);
            }}
          />
        ))}
      </div>
    </div>
  );
}

function activate({ node, open }: Line) {
  if (node.tensor) openTensor(node.tensor.name);
  else setOpen(node.path, !open);
}

interface RowProps {
  line: Line;
  index: number;
  active: boolean;
  top: number;
  press: () => void;
}

function TreeRow({ line, index, active, top, press }: RowProps) {
  const { node, level, open, position, siblings } = line;
  const share = tree.value.bytes > 0 ? node.bytes / tree.value.bytes : 0;
  const name = node.tensor?.name;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree itself has the keys
    <div
      id={`tree-${index}`}
      class="row"
      role="treeitem"
      data-testid="tree-row"
      data-path={node.path}
      data-name={name}
      data-active={active}
      aria-level={level}
      aria-posinset={position}
      aria-setsize={siblings}
      aria-expanded={node.tensor ? undefined : open}
      aria-selected={name !== undefined && name === place.value.tensor}
      style={{ transform: `translateY(${top}px)`, paddingLeft: `${4 + 14 * (level - 1)}px` }}
      onClick={press}
    >
      <span class="twist" aria-hidden="true">
        {node.tensor ? "" : open ? "▾" : "▸"}
      </span>
      {node.tensor && <Swatch dtype={node.tensor.dtype} />}
      <Name
        text={node.label}
        ranges={name === undefined ? undefined : ranges.value.get(name)}
        offset={name === undefined ? 0 : name.length - node.label.length}
      />
      {node.blocks > 0 && <span class="blocks">×{numbers.whole(node.blocks)}</span>}
      {name !== undefined && <Soundness name={name} />}
      <span class="row-facts">
        {node.tensor ? numbers.shape(node.tensor.shape) : numbers.plural(node.tensors, "tensor")}
      </span>
      <span class="share" title={`${numbers.percent(share)}, ${numbers.exactBytes(node.bytes)}`}>
        <span class="share-bar" aria-hidden="true">
          <span style={{ width: `${100 * share}%` }} />
        </span>
        <span class="share-words">{numbers.bytes(node.bytes)}</span>
      </span>
      <span class="off-screen">{visible(node.path)}</span>
    </div>
  );
}

/** What verification found out, once it did. */
export function Soundness({ name }: { name: string }) {
  const known = sound.value.get(name);
  if (known === undefined) return null;
  return known ? (
    <span class="sound" title="verified: its bytes are those that were written">
      ✓
    </span>
  ) : (
    <span class="unsound" title="damaged: its bytes are not those that were written">
      ✗ damaged
    </span>
  );
}
