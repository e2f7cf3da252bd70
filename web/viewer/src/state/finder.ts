import { computed, effect, signal, untracked } from "@preact/signals";
import type { Dtype, TensorInfo } from "deathtensors";
import { lines, openAtFirst, treeOf, wayTo } from "../model/tree.ts";
import { natural } from "../text/natural.ts";
import { pattern, type Ranges } from "../text/search.ts";
import { place } from "./location.ts";
import { opened } from "./session.ts";

/** The left side: which tensors are found, and in which order. */

export type SortKey = "name" | "dtype" | "shape" | "elements" | "bytes";
export type Tab = "tree" | "table" | "map";

export interface Found {
  readonly info: TensorInfo;
  readonly ranges: Ranges;
}

export const tab = signal<Tab>("tree");
export const query = signal("");
export const chosen = signal<ReadonlySet<Dtype>>(new Set());
export const sort = signal<{ key: SortKey; down: boolean } | undefined>(undefined);
export const drawer = signal(false);
const openFolders = signal<ReadonlySet<string>>(new Set());

const infos = computed(() => opened.value?.file.infos() ?? []);

/** Dtypes by how many bytes they take. */
export const dtypes = computed(() => {
  const sums = new Map<Dtype, { bytes: number; tensors: number; elements: number }>();
  for (const { dtype, nbytes, elements } of infos.value) {
    const sum = sums.get(dtype) ?? { bytes: 0, tensors: 0, elements: 0 };
    sums.set(dtype, {
      bytes: sum.bytes + nbytes,
      tensors: sum.tensors + 1,
      elements: sum.elements + elements,
    });
  }
  return [...sums].map(([dtype, sum]) => ({ dtype, ...sum })).sort((a, b) => b.bytes - a.bytes);
});

export const filtered = computed(() => query.value.trim() !== "" || chosen.value.size > 0);

/** In the order of the file. */
export const found = computed<readonly Found[]>(() => {
  const wanted = pattern(query.value);
  const kinds = chosen.value;
  const out: Found[] = [];
  for (const info of infos.value) {
    if (kinds.size > 0 && !kinds.has(info.dtype)) continue;
    const ranges = wanted ? wanted.match(info.name) : [];
    if (ranges) out.push({ info, ranges });
  }
  return out;
});

export const sorted = computed<readonly Found[]>(() => {
  const order = sort.value;
  if (!order) return found.value;
  const sign = order.down ? -1 : 1;
  const compare = comparisons[order.key];
  return [...found.value].sort(
    (a, b) => sign * compare(a.info, b.info) || natural(a.info.name, b.info.name),
  );
});

const comparisons: Record<SortKey, (a: TensorInfo, b: TensorInfo) => number> = {
  name: (a, b) => natural(a.name, b.name),
  dtype: (a, b) => natural(a.dtype, b.dtype),
  shape: (a, b) => a.shape.length - b.shape.length || byDimensions(a.shape, b.shape),
  elements: (a, b) => a.elements - b.elements,
  bytes: (a, b) => a.nbytes - b.nbytes,
};

function byDimensions(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((size, i) => size !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

const whole = computed(() => treeOf(infos.value));

export const tree = computed(() =>
  filtered.value ? treeOf(found.value.map(({ info }) => info)) : whole.value,
);

export const ranges = computed(
  () => new Map(found.value.map((one) => [one.info.name, one.ranges])),
);

export const treeLines = computed(() => {
  // What was searched for is shown, however deep it stands.
  if (filtered.value) return lines(tree.value, (path) => !closedWhileFiltered.value.has(path));
  return lines(tree.value, (path) => openFolders.value.has(path));
});
const closedWhileFiltered = signal<ReadonlySet<string>>(new Set());

export function setOpen(path: string, open: boolean) {
  const [folders, has] = filtered.value ? [closedWhileFiltered, !open] : [openFolders, open];
  const next = new Set(folders.value);
  if (has) next.add(path);
  else next.delete(path);
  folders.value = next;
}

/** Names in the order that is shown, for going to the previous and next tensor. */
export const order = computed(() => {
  if (tab.value === "tree") {
    return lines(tree.value, () => true).flatMap(({ node }) =>
      node.tensor ? [node.tensor.name] : [],
    );
  }
  if (tab.value === "map") {
    const byPlace = [...found.value].sort((a, b) => a.info.dataOffsets[0] - b.info.dataOffsets[0]);
    return byPlace.map(({ info }) => info.name);
  }
  return sorted.value.map(({ info }) => info.name);
});

export function toggleDtype(dtype: Dtype) {
  const next = new Set(chosen.value);
  if (!next.delete(dtype)) next.add(dtype);
  chosen.value = next;
}

/** First what matters most: large before small; names from A. */
export function sortBy(key: SortKey) {
  const first = key === "bytes" || key === "elements";
  const now = sort.value;
  if (now?.key !== key) sort.value = { key, down: first };
  else if (now.down === first) sort.value = { key, down: !first };
  else sort.value = undefined;
}

export function followFinder() {
  effect(() => {
    if (!opened.value) return;
    untracked(() => {
      query.value = "";
      chosen.value = new Set();
      sort.value = undefined;
      openFolders.value = openAtFirst(whole.value);
    });
  });
  effect(() => {
    query.value;
    closedWhileFiltered.value = new Set();
  });
  // The tensor that is open is in sight.
  effect(() => {
    const name = place.value.tensor;
    if (name === undefined || !opened.value?.file.has(name)) return;
    untracked(() => {
      const way = wayTo(whole.value, name);
      if (way.some((path) => !openFolders.value.has(path))) {
        openFolders.value = new Set([...openFolders.value, ...way]);
      }
    });
  });
}
