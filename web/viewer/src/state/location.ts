import { signal } from "@preact/signals";
import type { Span } from "deathtensors";

/**
 * What the page shows, as it stands behind the `#` of its address, so that a link reproduces the
 * view. The form is described in README.md.
 */
export interface Place {
  readonly source?: string;
  readonly compare?: string;
  readonly tensor?: string;
  readonly view?: View;
  /** A Hub other than huggingface.co; links may only name one on this machine. */
  readonly hub?: string;
}

/** Which 2-D slice of a tensor is looked at. */
export interface View {
  readonly axes?: readonly [number, number] | undefined;
  readonly index?: readonly number[] | undefined;
  readonly rows?: Span | undefined;
  readonly columns?: Span | undefined;
}

/** What the browser keeps with an entry of its history: which local file was open, if one was. */
interface Kept {
  local?: number;
}

export const place = signal<Place>(read(location.hash));
export const localFile = signal<number | undefined>(kept().local);

/** Goes to a place, as a new entry of the history or in place of this one. */
export function go(next: Place, options: { replace?: boolean; local?: number } = {}) {
  const address = write(next);
  const state: Kept = options.local === undefined ? {} : { local: options.local };
  // Files of this machine have no address, so that the same one may stand for another file.
  const same = address === location.hash && options.local === localFile.value;
  if (options.replace || same) history.replaceState(state, "", address || "#");
  else history.pushState(state, "", address || "#");
  localFile.value = options.local;
  place.value = next;
}

/** Changes what is looked at in the file that is open. */
export function look(change: { [K in keyof Place]?: Place[K] | undefined }, replace = false) {
  const next = Object.fromEntries(
    Object.entries({ ...place.value, ...change }).filter(([, value]) => value !== undefined),
  );
  const local = localFile.value;
  go(next, local === undefined ? { replace } : { replace, local });
}

/** Follows the browser's back and forward buttons, and addresses that were edited. */
export function follow() {
  const listen = () => {
    localFile.value = kept().local;
    place.value = read(location.hash);
  };
  addEventListener("popstate", listen);
  addEventListener("hashchange", listen);
}

function kept(): Kept {
  const state: unknown = history.state;
  if (typeof state !== "object" || state === null || !("local" in state)) return {};
  return typeof state.local === "number" ? { local: state.local } : {};
}

export function read(hash: string): Place {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const text = (key: string) => given.get(key) || undefined;
  const axes = integers(given.get("axes"));
  const index = integers(given.get("index"));
  const view: View = {
    ...(axes?.length === 2 && { axes: [axes[0] as number, axes[1] as number] as const }),
    ...(index && { index }),
    ...part("rows", span(given.get("rows"))),
    ...part("columns", span(given.get("columns"))),
  };
  return {
    ...part("source", text("source")),
    ...part("compare", text("compare")),
    ...part("tensor", text("tensor")),
    ...part("hub", text("hub")),
    ...(Object.keys(view).length > 0 && { view }),
  };
}

export function write({ source, compare, tensor, hub, view = {} }: Place): string {
  const parts: [string, string | undefined][] = [
    ["source", source],
    ["compare", compare],
    ["hub", hub],
    ["tensor", tensor],
    ["axes", view.axes?.join(",")],
    ["index", view.index?.join(",")],
    ["rows", spanText(view.rows)],
    ["columns", spanText(view.columns)],
  ];
  const text = parts
    .filter(([, value]) => value)
    .map(([key, value]) => `${key}=${readable(value as string)}`);
  return text.length > 0 ? `#${text.join("&")}` : "";
}

/** Escaped no more than needed, since people read addresses. */
function readable(value: string): string {
  return encodeURIComponent(value).replace(/%(2F|3A|40|2C)/g, (escaped) =>
    decodeURIComponent(escaped),
  );
}

function part<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}

function integers(text: string | null): number[] | undefined {
  if (!text || !/^\d{1,15}(,\d{1,15}){0,63}$/.test(text)) return undefined;
  return text.split(",").map(Number);
}

function span(text: string | null): Span | undefined {
  const found = /^(\d{1,15}):(\d{1,15})(?::(\d{1,15}))?$/.exec(text ?? "");
  if (!found) return undefined;
  return {
    start: Number(found[1]),
    count: Number(found[2]),
    step: Math.max(1, Number(found[3] ?? 1)),
  };
}

function spanText(value: Span | undefined): string | undefined {
  if (!value) return undefined;
  const { start, count, step = 1 } = value;
  return step === 1 ? `${start}:${count}` : `${start}:${count}:${step}`;
}
