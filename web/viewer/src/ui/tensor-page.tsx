import { useSignal } from "@preact/signals";
import type { FrameInfo, TensorInfo, VerifyReport } from "deathtensors";
import { useEffect } from "preact/hooks";
import { budget } from "../model/budget.ts";
import { noteSound, sound } from "../state/checks.ts";
import { type Opened, opened } from "../state/session.ts";
import type { Task } from "../state/task.ts";
import * as numbers from "../text/numbers.ts";
import { visibleName } from "../text/visible.ts";
import { Channels } from "./channels.tsx";
import { CopyButton } from "./copy.tsx";
import { Details } from "./details.tsx";
import { Distribution } from "./distribution.tsx";
import { DtypeTag } from "./dtype.tsx";
import { Heatmap } from "./heatmap.tsx";
import { useTask } from "./hooks.ts";
import { ProblemCard } from "./problem.tsx";
import { Cancelled, ProgressBar } from "./progress.tsx";
import { Tabs } from "./tabs.tsx";
import { Values } from "./values.tsx";

type Below = "values" | "channels" | "details";

const BELOW = [
  ["values", "Values"],
  ["channels", "Rows and columns"],
  ["details", "Details"],
] as const satisfies readonly (readonly [Below, string])[];

/** One tensor. */
export function TensorPage({ name }: { name: string }) {
  const below = useSignal<Below>("values");
  const now = opened.value;
  const first = useTask<readonly FrameInfo[]>();
  useEffect(() => {
    if (now?.file.has(name)) void readFirst(first, now, now.file.info(name));
  }, [now, name, first]);
  if (!now?.file.has(name)) return null;
  const info = now.file.info(name);
  const { running, progress, failure, cancelled, result } = first;
  return (
    <article class="tensor" data-testid="tensor-page" aria-labelledby="tensor-title">
      <Title now={now} info={info} frames={result.value} />
      {running.value && (
        <ProgressBar
          what="Reading the tensor"
          progress={progress.value}
          cancel={() => first.cancel()}
        />
      )}
      {failure.value && (
        <ProblemCard problem={failure.value} again={() => void readFirst(first, now, info)} />
      )}
      {cancelled.value && <Cancelled again={() => void readFirst(first, now, info)} />}
      {!result.value ? null : info.elements === 0 ? (
        <p class="notice">The tensor has no elements: one of its dimensions is 0.</p>
      ) : (
        <div class="figures">
          <Distribution now={now} info={info} />
          <Heatmap now={now} info={info} />
        </div>
      )}
      <Tabs
        id="below"
        label="More of the tensor"
        tabs={BELOW}
        chosen={below.value}
        choose={(key) => {
          below.value = key;
        }}
      >
        {below.value === "values" && result.value && <Values now={now} info={info} />}
        {below.value === "channels" && result.value && <Channels now={now} info={info} />}
        {below.value === "details" && <Details now={now} info={info} frames={result.value} />}
      </Tabs>
    </article>
  );
}

/**
 * Finds the frames of a tensor. A small one is fetched as a whole, once, before anything looks at
 * it: what is shown of it then needs no request of its own, and if it cannot be read, that is said
 * once.
 */
function readFirst(task: Task<readonly FrameInfo[]>, now: Opened, info: TensorInfo) {
  return task.run(`read ${info.name}`, async (work) => {
    const frames = now.file.facts.compressed ? await now.file.frames(info.name, work) : [];
    const small = info.elements > 0 && info.nbytes <= budget(now).whole;
    if (small && !now.local) await now.file.getTensor(info.name, { ...work, as: "bytes" });
    return frames;
  });
}

interface TitleProps {
  now: Opened;
  info: TensorInfo;
  frames: readonly FrameInfo[] | undefined;
}

function Title({ now, info, frames }: TitleProps) {
  const npy = useTask<void>();
  const check = useTask<VerifyReport>();
  const { name } = info;
  const known = sound.value.get(name);
  const verify = () =>
    check.run(`verify ${name}`, async (work) => {
      const report = await now.file.verify(name, work);
      noteSound(name, report.tensors.get(name));
      return report;
    });
  const download = () =>
    npy.run(`read ${name}`, async (work) =>
      save(await now.file.npy(name, work), `${fileName(name)}.npy`),
    );
  return (
    <header>
      <div class="title">
        <h2 id="tensor-title" data-testid="tensor-title" data-name={name}>
          {visibleName(name)}
        </h2>
        <div class="actions">
          <CopyButton what="name" text={() => name} testid="copy-name">
            Copy name
          </CopyButton>
          <button
            type="button"
            data-testid="verify-tensor-button"
            disabled={check.running.value}
            title="Read the whole tensor and compare it with its digest"
            onClick={verify}
          >
            Verify
          </button>
          <button
            type="button"
            data-testid="npy-button"
            disabled={npy.running.value}
            title={`Download for NumPy (${numbers.bytes(info.nbytes)})`}
            onClick={download}
          >
            .npy
          </button>
          <CopyButton
            what="link"
            text={() => location.href}
            disabled={now.local}
            testid="link-button"
          >
            Link
          </CopyButton>
        </div>
      </div>
      <p class="line" data-testid="tensor-facts">
        <DtypeTag dtype={info.dtype} />
        <span>{numbers.shape(info.shape)}</span>
        <span title={numbers.whole(info.elements)}>{numbers.count(info.elements)} values</span>
        <span title={numbers.exactBytes(info.nbytes)}>{numbers.bytes(info.nbytes)}</span>
        {frames && frames.length > 0 && <Stored info={info} frames={frames} />}
        <span
          class={known === false ? "unsound" : known ? "sound" : "quiet"}
          data-testid="tensor-sound"
          role="status"
        >
          {known === false
            ? "✗ damaged"
            : known
              ? "✓ verified"
              : info.sha256
                ? "SHA-256, not checked yet"
                : check.result.value
                  ? "? nothing to check by"
                  : "no digest"}
        </span>
      </p>
      {npy.running.value && (
        <ProgressBar
          what="Reading the whole tensor"
          progress={npy.progress.value}
          cancel={() => npy.cancel()}
        />
      )}
      {check.running.value && (
        <ProgressBar
          what="Verifying the tensor"
          progress={check.progress.value}
          cancel={() => check.cancel()}
        />
      )}
      {npy.failure.value && <ProblemCard problem={npy.failure.value} />}
      {check.failure.value && <ProblemCard problem={check.failure.value} />}
    </header>
  );
}

function Stored({ info, frames }: { info: TensorInfo; frames: readonly FrameInfo[] }) {
  const stored = frames.reduce((sum, frame) => sum + frame.stored[1] - frame.stored[0], 0);
  const data = frames.reduce((sum, frame) => sum + frame.data[1] - frame.data[0], 0);
  const shared = data > info.nbytes ? " (shared with neighbours)" : "";
  return (
    <span title={`${numbers.exactBytes(stored)} for ${numbers.exactBytes(data)} of data`}>
      stored {numbers.bytes(stored)} in {numbers.plural(frames.length, "frame")}
      {shared}
    </span>
  );
}

/** A name that any system takes for a file. */
function fileName(name: string): string {
  return name.replace(/[^\w.-]+/g, "_").slice(0, 120) || "tensor";
}

function save(bytes: Uint8Array, name: string) {
  const url = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>]));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
