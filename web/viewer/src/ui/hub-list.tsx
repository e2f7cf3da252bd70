import { useSignal } from "@preact/signals";
import { type Listing, openSource } from "../state/session.ts";
import { hubFile } from "../state/sources.ts";
import { natural } from "../text/natural.ts";
import * as numbers from "../text/numbers.ts";
import { visible } from "../text/visible.ts";

/** The files of a repository that can be opened, for choosing one. */
export function HubList({ listing }: { listing: Listing }) {
  const all = useSignal(false);
  const { place, entries, side } = listing;
  const openable = entries.filter((entry) => entry.openable);
  const shown = [...(all.value ? entries : openable)].sort((a, b) => natural(a.path, b.path));
  return (
    <section class="hub" data-testid="hub-list" aria-labelledby="hub-title">
      <h2 id="hub-title">
        {visible(place.repo)}
        {place.path && `/${visible(place.path)}`} <small>@ {visible(place.revision)}</small>
      </h2>
      <p>
        {openable.length === 0
          ? "This repository holds no file that this page opens."
          : `${numbers.plural(openable.length, "file")} of ${numbers.whole(entries.length)} can be opened.`}{" "}
        {entries.length > openable.length && (
          <button
            type="button"
            class="plain"
            onClick={() => {
              all.value = !all.value;
            }}
          >
            {all.value ? "Show only those" : "Show all files"}
          </button>
        )}
      </p>
      <ul>
        {shown.map((entry) => (
          <li key={entry.path}>
            <button
              type="button"
              data-testid="hub-entry"
              data-path={entry.path}
              disabled={!entry.openable}
              onClick={() => openSource(side, hubFile(place, entry.path))}
            >
              <span class="path">{visible(entry.path)}</span>
              <span class="size" title={numbers.exactBytes(entry.size)}>
                {numbers.bytes(entry.size)}
              </span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
