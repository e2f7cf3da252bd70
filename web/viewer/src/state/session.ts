import { effect, signal, untracked } from "@preact/signals";
import { type HubEntry, listHub, openTensorFile, type TensorFile } from "deathtensors";
import { chosenOf } from "./drops.ts";
import { go, localFile, look, place } from "./location.ts";
import { isAbort, type Problem, problem } from "./problems.ts";
import { hubTyped, token } from "./settings.ts";
import { HUB, hubFromLink, type Repository, type Target, target } from "./sources.ts";

/** What is open: the file, perhaps a second one beside it, and what is on the way. */

export type Side = "main" | "other";

export interface Opened {
  readonly file: TensorFile;
  /** What was asked for, in the reader's words. */
  readonly tried: string;
  /** Whether its bytes are on this machine, so that reading costs next to nothing. */
  readonly local: boolean;
  /** What opening it took. */
  readonly cost: { readonly requests: number; readonly bytes: number };
}

export interface Opening {
  readonly side: Side;
  readonly tried: string;
  readonly done: number;
  readonly total: number;
}

export interface Listing {
  readonly side: Side;
  readonly place: Repository;
  readonly entries: readonly HubEntry[];
}

export const SAMPLE = "sample.deathtensors";

export const opened = signal<Opened | undefined>(undefined);
export const other = signal<Opened | undefined>(undefined);
export const opening = signal<Opening | undefined>(undefined);
export const listing = signal<Listing | undefined>(undefined);
/** Whether a second file is looked at, or asked for. */
export const comparing = signal(false);
export const failure = signal<Problem | undefined>(undefined);
/** What was given up while it was being opened. */
export const givenUp = signal<string | undefined>(undefined);
/** Which side failed or was given up last. */
let lastSide: Side = "main";

/** Files that were dropped or picked together: one to open, and those beside it. */
interface LocalFiles {
  readonly main: File;
  readonly all: readonly File[];
}

const locals = new Map<number, LocalFiles>();
const under: { main?: AbortController; other?: AbortController } = {};

export const hub = () => hubTyped.value.trim() || hubFromLink(place.value.hub) || HUB;

/** Opens what the address names, now and whenever it changes. */
export function followAddress() {
  const sources = signal("");
  effect(() => {
    const { source } = place.value;
    const local = localFile.value;
    sources.value = local === undefined ? `link ${source ?? SAMPLE}` : `local ${local}`;
  });
  effect(() => {
    const text = sources.value;
    const at = text.indexOf(" ");
    untracked(() => void openNamed("main", text.slice(0, at), text.slice(at + 1)));
  });
  const others = signal<string | undefined>(undefined);
  effect(() => {
    others.value = place.value.compare;
  });
  effect(() => {
    const text = others.value;
    untracked(() => {
      if (text) void openText("other", text);
      else if (other.value && !other.value.local) closeOther();
    });
  });
}

/** Asked for by the reader: a link, a repository, a relative address. */
export function openSource(side: Side, text: string) {
  const source = text.trim();
  if (!source) return;
  const { hub: linked } = place.value;
  if (side === "other") {
    if (place.value.compare === source) void openText("other", source);
    else look({ compare: source });
  } else if (place.value.source === source && localFile.value === undefined) {
    void openText("main", source);
  } else go({ source, ...(linked && { hub: linked }) });
}

let lastLocal = Date.now();

/** Asked for by dropping or picking files. Two that are whole are opened to be compared. */
export function openLocal(side: Side, given: Iterable<File>) {
  const { main, second, all } = chosenOf([...given]);
  if (!main) return;
  const files = { main, all };
  if (side === "other") {
    if (place.value.compare) look({ compare: undefined });
    void open("other", main.name, files);
    return;
  }
  locals.set(++lastLocal, files);
  go({}, { local: lastLocal });
  comparing.value = second !== undefined;
  if (second) void open("other", second.name, { main: second, all });
}

export function retry() {
  const { source = SAMPLE, compare } = place.value;
  if (lastSide === "other" && compare) void openText("other", compare);
  else if (localFile.value === undefined) void openText("main", source);
  else void openNamed("main", "local", String(localFile.value));
}

export function cancelOpening() {
  if (opening.value) {
    givenUp.value = opening.value.tried;
    lastSide = opening.value.side;
  }
  for (const side of ["main", "other"] as const) under[side]?.abort();
  opening.value = undefined;
}

export function closeOther() {
  under.other?.abort();
  other.value?.file.close();
  other.value = undefined;
  if (place.value.compare) look({ compare: undefined });
}

async function openNamed(side: Side, kind: string, name: string) {
  if (kind === "link") return openText(side, name);
  const files = locals.get(Number(name));
  if (files) return open(side, files.main.name, files);
  close("main");
  failure.value = {
    tried: "a file from this machine",
    title: "The file must be chosen again",
    message: "a page that was reloaded may not open files by itself",
    kind: "usage",
    code: "viewer.local_gone",
    advice: "Drop it here once more, or pick it with the button above.",
  };
}

async function openText(side: Side, text: string) {
  let wanted: Target;
  try {
    wanted = target(text, hub());
  } catch (error) {
    const begun = begin(side, text);
    failed(side, begun, text, error);
    return ended(begun);
  }
  if (wanted.kind === "file") return open(side, text, wanted.address);
  const begun = begin(side, text);
  try {
    const entries = await listHub(wanted.text, { ...access(), signal: begun.signal });
    if (!begun.signal.aborted) listing.value = { side, place: wanted.place, entries };
  } catch (error) {
    failed(side, begun, text, error);
  } finally {
    ended(begun);
  }
}

async function open(side: Side, tried: string, source: string | LocalFiles) {
  const local = typeof source !== "string";
  const begun = begin(side, tried);
  try {
    const file = await openTensorFile(local ? source.main : source, {
      ...access(),
      ...(local && { siblings: (name: string) => source.all.find((one) => one.name === name) }),
      signal: begun.signal,
      onProgress: (done, total) => {
        if (opening.value && !begun.signal.aborted) opening.value = { side, tried, done, total };
      },
    });
    if (begun.signal.aborted) return file.close();
    const { requests, bytes } = file.counters;
    const result = { file, tried, local, cost: { requests, bytes } };
    if (side === "main") opened.value = result;
    else other.value = result;
  } catch (error) {
    failed(side, begun, tried, error);
  } finally {
    ended(begun);
  }
}

function access() {
  return { hubEndpoint: hub(), ...(token.value && { token: token.value }) };
}

/** Ends what this side was doing, and shows nothing of what it had. */
function begin(side: Side, tried: string): AbortController {
  under[side]?.abort();
  const controller = new AbortController();
  under[side] = controller;
  close(side);
  failure.value = undefined;
  givenUp.value = undefined;
  listing.value = undefined;
  opening.value = { side, tried, done: 0, total: 0 };
  return controller;
}

function close(side: Side) {
  const slot = side === "main" ? opened : other;
  slot.value?.file.close();
  slot.value = undefined;
}

function failed(side: Side, { signal }: AbortController, tried: string, error: unknown) {
  if (signal.aborted || isAbort(error)) return;
  lastSide = side;
  failure.value = problem(tried, error);
}

function ended({ signal }: AbortController) {
  if (!signal.aborted) opening.value = undefined;
}
