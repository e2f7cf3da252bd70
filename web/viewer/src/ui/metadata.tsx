import { useSignal } from "@preact/signals";
import { natural } from "../text/natural.ts";
import * as numbers from "../text/numbers.ts";
import { visible, visibleLines } from "../text/visible.ts";

const AT_ONCE = 200;
const LONG = 400;

/** Strings by strings, searchable; those that are JSON are laid out. */
export function Metadata({ metadata }: { metadata: Readonly<Record<string, string>> }) {
  const query = useSignal("");
  const all = useSignal(false);
  const wanted = query.value.trim().toLowerCase();
  const pairs = Object.entries(metadata)
    .filter(([key, value]) => `${key}\n${value}`.toLowerCase().includes(wanted))
    .sort(([a], [b]) => natural(a, b));
  const shown = all.value ? pairs : pairs.slice(0, AT_ONCE);
  const total = Object.keys(metadata).length;
  return (
    <section aria-labelledby="metadata-title" data-testid="metadata">
      <h3 id="metadata-title">
        Metadata <small>{numbers.plural(total, "entry", "entries")}</small>
      </h3>
      {total > 3 && (
        <input
          type="search"
          class="filter"
          data-testid="metadata-search"
          placeholder="Search metadata"
          aria-label="Search metadata"
          value={query.value}
          onInput={(event) => {
            query.value = event.currentTarget.value;
          }}
        />
      )}
      {pairs.length === 0 && (
        <p class="nothing">{total === 0 ? "There is none." : "None matches."}</p>
      )}
      <dl class="metadata">
        {shown.map(([key, value]) => (
          <Entry key={key} name={key} value={value} />
        ))}
      </dl>
      {shown.length < pairs.length && (
        <button
          type="button"
          onClick={() => {
            all.value = true;
          }}
        >
          Show all {numbers.whole(pairs.length)}
        </button>
      )}
    </section>
  );
}

function Entry({ name, value }: { name: string; value: string }) {
  const open = useSignal(false);
  const text = pretty(value);
  const cut = text.length > LONG && !open.value;
  return (
    <div data-testid="metadata-row" data-key={name}>
      <dt>{visible(name)}</dt>
      <dd>
        <pre>
          {visibleLines(cut ? text.slice(0, LONG) : text)}
          {cut && "…"}
        </pre>
        {cut && (
          <button
            type="button"
            class="plain"
            onClick={() => {
              open.value = true;
            }}
          >
            Show all {numbers.whole(text.length)} characters
          </button>
        )}
      </dd>
    </div>
  );
}

/** JSON objects and arrays are indented; everything else is as it is. */
function pretty(value: string): string {
  if (!/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}
