import { useSignal } from "@preact/signals";
import type { FrameInfo, TensorFile } from "deathtensors";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { css, entry, sequential } from "../model/colours.ts";
import { family, letter } from "../model/dtypes.ts";
import { type Layout, layoutOf, ratio, type Segment, segmentAt } from "../model/segments.ts";
import { place } from "../state/location.ts";
import { opened } from "../state/session.ts";
import { type Theme, theme } from "../state/settings.ts";
import * as numbers from "../text/numbers.ts";
import { visible } from "../text/visible.ts";
import { useTask, useWidth } from "./hooks.ts";
import { openTensor } from "./keys.ts";
import { ProblemCard } from "./problem.tsx";

const LINE = 18;
const GAP = 4;
const RATIO = 5;

/** The file as a strip of bytes, wrapped into lines: tensors by dtype, frames by their ratio. */
export function ByteMap({ lines = 20 }: { lines?: number }) {
  const file = opened.value?.file;
  return file ? <Strip key={file} file={file} lines={lines} /> : null;
}

function Strip({ file, lines }: { file: TensorFile; lines: number }) {
  const layout = useMemo(() => layoutOf(file), [file]);
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const active = useSignal(-1);
  const frames = useTask<readonly FrameInfo[]>();
  const now = layout.segments[active.value];
  const selected = place.value.tensor;

  useEffect(() => {
    if (canvas.current && width > 0) {
      draw(canvas.current, {
        layout,
        width,
        lines,
        selected,
        theme: theme.value,
        frames: frames.result.value ?? [],
      });
    }
  }, [layout, width, lines, selected, theme.value, frames.result.value]);

  const at = (event: PointerEvent | MouseEvent) => {
    const { left, top } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const line = Math.floor((event.clientY - top) / (LINE + GAP));
    const share = (line + (event.clientX - left) / width) / lines;
    return segmentAt(layout.segments, share * layout.bytes);
  };
  const keys = (event: KeyboardEvent) => {
    const by = {
      ArrowRight: 1,
      ArrowDown: 1,
      ArrowLeft: -1,
      ArrowUp: -1,
      PageDown: 10,
      PageUp: -10,
    }[event.key];
    if (by) active.value = Math.max(0, Math.min(layout.segments.length - 1, active.value + by));
    else if (event.key === "Enter" && now?.info) openTensor(now.info.name);
    else return;
    event.preventDefault();
  };
  return (
    <div class="byte-map">
      <div ref={box} class="byte-map-box">
        <canvas
          ref={canvas}
          id={lines === 20 ? "tensor-list" : undefined}
          data-testid="byte-map"
          role="slider"
          tabIndex={0}
          aria-label="The file from its first byte to its last; arrows move from tensor to tensor, Enter opens one"
          aria-valuemin={0}
          aria-valuemax={Math.max(0, layout.segments.length - 1)}
          aria-valuenow={Math.max(0, active.value)}
          aria-valuetext={now ? sentence(now, layout) : "nothing marked"}
          onPointerMove={(event) => {
            active.value = at(event);
          }}
          onPointerLeave={() => {
            active.value = -1;
          }}
          onClick={(event) => {
            const { info } = layout.segments[at(event)] ?? {};
            if (info) openTensor(info.name);
          }}
          onKeyDown={keys}
        />
        {now && <Marker segment={now} layout={layout} width={width} lines={lines} />}
      </div>
      <p class="under" data-testid="byte-map-value">
        {now
          ? sentence(now, layout)
          : `${numbers.bytes(layout.bytes)} ${layout.uncompressed ? "of data, as decoded" : "from first to last"}; point at a place to see what stands there`}
      </p>
      {layout.uncompressed && <Ratios file={file} task={frames} />}
    </div>
  );
}

function Ratios({
  file,
  task,
}: {
  file: TensorFile;
  task: ReturnType<typeof useTask<readonly FrameInfo[]>>;
}) {
  if (task.failure.value) return <ProblemCard problem={task.failure.value} />;
  const frames = task.result.value;
  if (frames) {
    const stops = [0, 0.25, 0.5, 0.75, 1].map((share) =>
      css(entry(sequential, Math.round(255 * share))),
    );
    return (
      <p class="under ratio-legend">
        {numbers.plural(frames.length, "frame")}; the line below each: stored size
        <span>0 %</span>
        <span
          class="ramp"
          style={{ background: `linear-gradient(90deg, ${stops.join(",")})` }}
          aria-hidden="true"
        />
        <span>100 % of the data</span>
      </p>
    );
  }
  const load = () => task.run("read the table of frames", (work) => file.frames(undefined, work));
  return (
    <button type="button" disabled={task.running.value} onClick={load}>
      Show how well each part is compressed
    </button>
  );
}

/** Outlines the marked segment's first line, without touching the picture. */
function Marker({
  segment,
  layout,
  width,
  lines,
}: {
  segment: Segment;
  layout: Layout;
  width: number;
  lines: number;
}) {
  const perLine = layout.bytes / lines;
  const line = Math.min(lines - 1, Math.floor(segment.start / perLine));
  const left = ((segment.start - line * perLine) / perLine) * width;
  const right = Math.min(width, ((segment.end - line * perLine) / perLine) * width);
  const style = {
    left: `${left}px`,
    top: `${line * (LINE + GAP)}px`,
    width: `${Math.max(3, right - left)}px`,
    height: `${LINE}px`,
  };
  return <span class="marker" style={style} aria-hidden="true" />;
}

function sentence({ info, words, start, end }: Segment, { uncompressed }: Layout): string {
  const where = `${numbers.whole(start)} to ${numbers.whole(end)}${uncompressed ? " of the data" : ""}`;
  if (!info) return `${words}: ${numbers.bytes(end - start)}, bytes ${where}`;
  return `${visible(info.name)}: ${info.dtype} ${numbers.shape(info.shape)}, ${numbers.bytes(end - start)}, bytes ${where}`;
}

interface Picture {
  layout: Layout;
  width: number;
  lines: number;
  selected: string | undefined;
  theme: Theme;
  frames: readonly FrameInfo[];
}

function draw(canvas: HTMLCanvasElement, picture: Picture) {
  const { layout, width, lines, selected, frames } = picture;
  const dense = devicePixelRatio || 1;
  const height = lines * (LINE + GAP);
  canvas.width = Math.round(width * dense);
  canvas.height = Math.round(height * dense);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(dense, dense);
  const dark = picture.theme === "dark";
  context.fillStyle = dark ? "#222a33" : "#e4e7eb";
  for (let line = 0; line < lines; line++) context.fillRect(0, line * (LINE + GAP), width, LINE);
  const tall = frames.length > 0 ? LINE - RATIO - 1 : LINE;
  context.font = "bold 10px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const { start, end, info } of layout.segments) {
    const colour = info ? family(info.dtype).colour : dark ? "#55606d" : "#a9b1bb";
    pieces(start, end, picture, (x, y, w) => {
      context.fillStyle = colour;
      // A line of the background keeps neighbours apart where there is room for one.
      context.fillRect(x, y, w > 3 ? w - 1 : Math.max(w, 0.5), tall);
      if (info && w > 16) {
        context.fillStyle = ["full", "signed"].includes(family(info.dtype).key) ? "#fff" : "#000";
        context.fillText(w > 44 ? info.dtype : letter(info.dtype), x + 4, y + tall / 2 + 0.5);
      }
      if (info && info.name === selected) {
        context.strokeStyle = dark ? "#fff" : "#000";
        context.lineWidth = 2;
        context.strokeRect(x + 1, y + 1, Math.max(1, w - 3), tall - 2);
      }
    });
  }
  for (const frame of frames) {
    context.fillStyle = css(entry(sequential, Math.round(255 * Math.min(1, ratio(frame)))));
    pieces(frame.data[0], frame.data[1], picture, (x, y, w) => {
      context.fillRect(x, y + LINE - RATIO, Math.max(w, 0.5), RATIO);
    });
  }
}

/** The rectangles of a span, one for each line that it crosses. */
function pieces(
  start: number,
  end: number,
  { layout, width, lines }: Picture,
  each: (x: number, y: number, w: number) => void,
) {
  const perLine = layout.bytes / lines;
  const first = Math.floor(start / perLine);
  const last = Math.min(lines - 1, Math.floor(end / perLine));
  for (let line = first; line <= last; line++) {
    const from = Math.max(0, (start / perLine - line) * width);
    const to = Math.min(width, (end / perLine - line) * width);
    if (to > from) each(from, line * (LINE + GAP), to - from);
  }
}
