import { useSignal } from "@preact/signals";
import type { Difference } from "deathtensors";
import { useRef } from "preact/hooks";
import { bytesToCompare, compareNow, comparison } from "../state/checks.ts";
import { place } from "../state/location.ts";
import { closeOther, comparing, opened, openLocal, openSource, other } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { baseName, visible } from "../text/visible.ts";
import { openTensor } from "./keys.ts";
import { ProblemCard } from "./problem.tsx";
import { ProgressBar } from "./progress.tsx";
import { useStrip } from "./virtual.ts";

/** A second file beside the first, and what differs. */
export function Compare() {
  const typed = useSignal(place.value.compare ?? "");
  const picker = useRef<HTMLInputElement>(null);
  return (
    <section class="compare" aria-labelledby="compare-title">
      <header class="title">
        <h2 id="compare-title">
          Compare {visible(baseName(opened.value?.file.facts.name ?? ""))}
          {other.value && ` with ${visible(baseName(other.value.file.facts.name))}`}
        </h2>
        <button
          type="button"
          onClick={() => {
            comparing.value = false;
            closeOther();
          }}
        >
          Close
        </button>
      </header>
      <form
        class="source"
        onSubmit={(event) => {
          event.preventDefault();
          openSource("other", typed.value);
        }}
      >
        <input
          id="compare-input"
          data-testid="compare-input"
          type="text"
          inputMode="url"
          autocomplete="off"
          spellcheck={false}
          aria-label="Link to the file to compare with"
          placeholder="link or Hub repository, or drop a file"
          value={typed.value}
          onInput={(event) => {
            typed.value = event.currentTarget.value;
          }}
        />
        <button type="submit" class="main" data-testid="compare-open">
          Compare
        </button>
        <button type="button" onClick={() => picker.current?.click()}>
          File…
        </button>
        <input
          ref={picker}
          data-testid="compare-picker"
          type="file"
          multiple
          class="off-screen"
          tabIndex={-1}
          aria-label="A file from this machine to compare with"
          onChange={(event) => {
            openLocal("other", event.currentTarget.files ?? []);
            event.currentTarget.value = "";
          }}
        />
      </form>
      <Result />
    </section>
  );
}

function Result() {
  const { running, progress, result, failure, cancelled } = comparison;
  if (!other.value) return null;
  if (running.value) {
    return (
      <ProgressBar what="Comparing" progress={progress.value} cancel={() => comparison.cancel()} />
    );
  }
  if (failure.value) return <ProblemCard problem={failure.value} />;
  if (result.value) return <Differences difference={result.value} />;
  return (
    <p>
      {cancelled.value && "Cancelled. "}
      Not every tensor carries a digest, so comparing reads up to{" "}
      <strong>{numbers.bytes(bytesToCompare())}</strong>.{" "}
      <button type="button" onClick={compareNow}>
        Compare all values
      </button>
    </p>
  );
}

type Kind = "added" | "removed" | "shape" | "dtype" | "metadata" | "values";

interface Change {
  readonly kind: Kind;
  readonly name: string;
  readonly words: string;
}

const SIGNS: Record<Kind, readonly [sign: string, words: string]> = {
  added: ["+", "added"],
  removed: ["−", "removed"],
  shape: ["▭", "shape"],
  dtype: ["T", "dtype"],
  values: ["≠", "values"],
  metadata: ["i", "metadata"],
};

function changesOf(difference: Difference): Change[] {
  const plain = (kind: Kind, names: readonly string[], words = "") =>
    names.map((name) => ({ kind, name, words }));
  return [
    ...plain("added", difference.added, "only in the second file"),
    ...plain("removed", difference.removed, "only in the first file"),
    ...difference.shapeChanged.map(({ name, a, b }) => ({
      kind: "shape" as const,
      name,
      words: `${numbers.shape(a)} → ${numbers.shape(b)}`,
    })),
    ...difference.dtypeChanged.map(({ name, a, b }) => ({
      kind: "dtype" as const,
      name,
      words: `${a} → ${b}`,
    })),
    ...plain("values", difference.valueChanged, "open to see where"),
    ...difference.metadataChanged.map(({ name, a, b }) => ({
      kind: "metadata" as const,
      name,
      words: keysChanged(a, b),
    })),
  ];
}

function keysChanged(a: Record<string, string>, b: Record<string, string>): string {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter(
    (key) => a[key] !== b[key],
  );
  return keys.map(visible).join(", ");
}

const ROW = 26;

function Differences({ difference }: { difference: Difference }) {
  const scroller = useRef<HTMLDivElement>(null);
  const changes = changesOf(difference);
  const strip = useStrip(scroller, { count: changes.length, size: ROW });
  const file = difference.globalMetadataChanged;
  return (
    <>
      <p
        class="diff-summary"
        role="status"
        data-testid="diff-summary"
        data-equal={difference.equal}
      >
        {difference.equal
          ? "= The two hold the same tensors, values and metadata."
          : summary(changes)}
        {file && ` The file’s metadata differs: ${keysChanged(file.a, file.b)}.`}
      </p>
      <div
        ref={scroller}
        class="scroller diff"
        data-testid="diff-list"
        role="list"
        aria-label="What differs"
        style={{ height: `${Math.min(12, changes.length) * ROW}px` }}
      >
        <div role="none" class="spacer" style={{ height: `${strip.length}px` }}>
          {changes.slice(strip.first, strip.last).map((change, i) => (
            <Row
              key={`${change.kind} ${change.name}`}
              change={change}
              top={strip.place(strip.first + i)}
            />
          ))}
        </div>
      </div>
    </>
  );
}

function Row({ change: { kind, name, words }, top }: { change: Change; top: number }) {
  const [sign, label] = SIGNS[kind];
  const here = opened.value?.file.has(name) ?? false;
  return (
    <div
      role="listitem"
      class="row"
      data-testid="diff-row"
      data-kind={kind}
      data-name={name}
      style={{ transform: `translateY(${top}px)` }}
    >
      <span class="diff-kind">
        <span aria-hidden="true">{sign}</span> {label}
      </span>
      <button type="button" class="plain name" disabled={!here} onClick={() => openTensor(name)}>
        {visible(name)}
      </button>
      <span class="diff-words">{words}</span>
    </div>
  );
}

function summary(changes: readonly Change[]): string {
  const counts = new Map<Kind, number>();
  for (const { kind } of changes) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const words: Record<Kind, string> = {
    added: "added",
    removed: "removed",
    shape: "of another shape",
    dtype: "of another dtype",
    values: "of other values",
    metadata: "with other metadata",
  };
  const parts = [...counts].map(([kind, n]) => `${numbers.whole(n)} ${words[kind]}`);
  return parts.length > 0 ? `${parts.join(", ")}.` : "";
}
