import type { ComponentChildren } from "preact";

interface Props<K extends string> {
  label: string;
  tabs: readonly (readonly [K, string])[];
  chosen: K;
  choose: (key: K) => void;
  /** What the chosen tab shows. */
  children: ComponentChildren;
  id: string;
}

/** Tabs as the ARIA practices describe them: arrows move, the chosen one is in the tab order. */
export function Tabs<K extends string>({ label, tabs, chosen, choose, children, id }: Props<K>) {
  const move = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = tabs.findIndex(([key]) => key === chosen);
    const next = tabs[(at + by + tabs.length) % tabs.length];
    if (!next) return;
    choose(next[0]);
    document.getElementById(`${id}-${next[0]}`)?.focus();
  };
  return (
    <div class="tabs">
      <div role="tablist" aria-label={label} onKeyDown={move}>
        {tabs.map(([key, words]) => (
          <button
            key={key}
            type="button"
            role="tab"
            id={`${id}-${key}`}
            data-testid={`tab-${key}`}
            aria-selected={key === chosen}
            aria-controls={`${id}-panel`}
            tabIndex={key === chosen ? 0 : -1}
            onClick={() => choose(key)}
          >
            {words}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${chosen}`} class="tab-panel">
        {children}
      </div>
    </div>
  );
}
