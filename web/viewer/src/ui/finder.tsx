import {
  chosen,
  drawer,
  dtypes,
  filtered,
  found,
  query,
  type Tab,
  tab,
  toggleDtype,
} from "../state/finder.ts";
import { place } from "../state/location.ts";
import { opened } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { baseName, visible } from "../text/visible.ts";
import { ByteMap } from "./byte-map.tsx";
import { Swatch } from "./dtype.tsx";
import { openTensor } from "./keys.ts";
import { Tabs } from "./tabs.tsx";
import { TensorTable } from "./tensor-table.tsx";
import { TensorTree } from "./tensor-tree.tsx";

const TABS = [
  ["tree", "Tree"],
  ["table", "Table"],
  ["map", "Map"],
] as const satisfies readonly (readonly [Tab, string])[];

/** The left side: finding tensors. On a phone it is a drawer. */
export function Finder() {
  const facts = opened.value?.file.facts;
  if (!facts) return null;
  return (
    <nav class="finder" id="finder" aria-label="Tensors" data-open={drawer.value}>
      <button
        type="button"
        class="file-button"
        data-testid="file-button"
        aria-current={place.value.tensor === undefined ? "page" : undefined}
        title="The file’s own page (f)"
        onClick={() => openTensor(undefined)}
      >
        <span class="file-button-name">{visible(baseName(facts.name))}</span>
        <span class="file-button-facts">{numbers.bytes(facts.fileBytes)}</span>
      </button>
      <Search />
      <Chips />
      <Tabs
        id="finder-tab"
        label="Ways to look at the tensors"
        tabs={TABS}
        chosen={tab.value}
        choose={(key) => {
          tab.value = key;
        }}
      >
        {tab.value === "tree" && <TensorTree />}
        {tab.value === "table" && <TensorTable />}
        {tab.value === "map" && <ByteMap />}
      </Tabs>
    </nav>
  );
}

function Search() {
  const total = opened.value?.file.facts.tensors ?? 0;
  return (
    <div class="search">
      <input
        id="search"
        data-testid="search"
        type="search"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        placeholder="Search names   /"
        aria-label="Search tensors by name; * and ? stand for anything and one character"
        value={query.value}
        onInput={(event) => {
          query.value = event.currentTarget.value;
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape" && query.value) {
            query.value = "";
            event.stopPropagation();
          } else if (event.key === "ArrowDown" || event.key === "Enter") {
            event.preventDefault();
            document.getElementById("tensor-list")?.focus();
          }
        }}
      />
      <span
        class="search-count"
        role="status"
        data-testid="search-count"
        data-value={found.value.length}
      >
        {filtered.value
          ? `${numbers.whole(found.value.length)} of ${numbers.plural(total, "tensor")}`
          : numbers.plural(total, "tensor")}
      </span>
    </div>
  );
}

function Chips() {
  return (
    <div class="chips" role="group" aria-label="Only these dtypes">
      {dtypes.value.map(({ dtype, tensors, bytes }) => (
        <button
          key={dtype}
          type="button"
          class="chip"
          data-testid="dtype-chip"
          data-dtype={dtype}
          aria-pressed={chosen.value.has(dtype)}
          title={`${numbers.plural(tensors, "tensor")}, ${numbers.bytes(bytes)}`}
          onClick={() => toggleDtype(dtype)}
        >
          <Swatch dtype={dtype} />
          {dtype}
          <span class="chip-count">{numbers.whole(tensors)}</span>
        </button>
      ))}
    </div>
  );
}
