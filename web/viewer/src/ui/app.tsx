import { useSignal } from "@preact/signals";
import { filesOf, linkOf } from "../state/drops.ts";
import { drawer, tab } from "../state/finder.ts";
import { place } from "../state/location.ts";
import { type Problem, problem } from "../state/problems.ts";
import {
  comparing,
  failure,
  givenUp,
  listing,
  type Opened,
  opened,
  opening,
  openLocal,
  openSource,
  retry,
} from "../state/session.ts";
import { visible } from "../text/visible.ts";
import { FilePage } from "./file-page.tsx";
import { Finder } from "./finder.tsx";
import { Header } from "./header.tsx";
import { Help } from "./help.tsx";
import { HubList } from "./hub-list.tsx";
import { Opening } from "./opening.tsx";
import { ProblemCard } from "./problem.tsx";
import { TensorPage } from "./tensor-page.tsx";

export function App() {
  const dragging = useSignal(false);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    dragging.value = false;
    if (event.dataTransfer) void take(event.dataTransfer);
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: files may be dropped anywhere
    <div
      class="page"
      data-testid="drop-zone"
      data-dragging={dragging.value}
      onDragOver={(event) => {
        event.preventDefault();
        dragging.value = true;
      }}
      onDragLeave={(event) => {
        if (!event.relatedTarget) dragging.value = false;
      }}
      onDrop={drop}
    >
      <button type="button" class="skip" onClick={skip}>
        Skip to the content
      </button>
      <Header />
      <div class="body" data-find={tab.value} data-drawer={drawer.value}>
        {opened.value && <Finder />}
        {opened.value && drawer.value && (
          <button
            type="button"
            class="shade"
            aria-label="Close the list of tensors"
            onClick={() => {
              drawer.value = false;
            }}
          />
        )}
        <main id="main" tabIndex={-1}>
          <Content />
        </main>
      </div>
      {dragging.value && (
        <div class="drop-hint" aria-hidden="true">
          {comparing.value && opened.value
            ? "Drop the file to compare with"
            : "Drop a tensor file to open it"}
        </div>
      )}
      <Help />
    </div>
  );
}

async function take(transfer: DataTransfer) {
  const side = comparing.value && opened.value ? "other" : "main";
  const link = linkOf(transfer);
  if (transfer.files.length === 0 && link !== undefined) {
    openSource(side, link);
    return;
  }
  try {
    const files = await filesOf(transfer);
    if (files.length > 0) openLocal(side, files);
    else failure.value = nothingDropped();
  } catch (error) {
    failure.value = problem("read what was dropped", error);
  }
}

function nothingDropped(): Problem {
  return {
    tried: "open what was dropped",
    title: "There was no file in it",
    message: "a folder without files, or something that is no file",
    kind: "usage",
    code: "viewer.nothing_dropped",
    advice: "Drop a tensor file, several shards with their index, or the folder that holds them.",
  };
}

function skip() {
  document.getElementById("main")?.focus();
}

function Content() {
  const { tensor } = place.value;
  const file = opened.value?.file;
  return (
    <>
      {failure.value && <ProblemCard problem={failure.value} retry />}
      {opening.value && <Opening />}
      {givenUp.value !== undefined && (
        <p class="notice" role="status" data-testid="given-up">
          Opening {visible(givenUp.value)} was cancelled.{" "}
          <button type="button" onClick={retry}>
            Open it
          </button>
        </p>
      )}
      {listing.value && <HubList listing={listing.value} />}
      {file && tensor === undefined && <FilePage key={file} opened={opened.value as Opened} />}
      {file && tensor !== undefined && file.has(tensor) && (
        <TensorPage key={tensor} name={tensor} />
      )}
      {file && tensor !== undefined && !file.has(tensor) && (
        <section class="notice" role="status">
          <h2>No such tensor</h2>
          <p>
            The address names <code>{visible(tensor)}</code>, which this file does not hold. Choose
            one from the list.
          </p>
        </section>
      )}
    </>
  );
}
