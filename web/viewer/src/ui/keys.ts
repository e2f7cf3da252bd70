import { verifyFile } from "../state/checks.ts";
import { drawer, order } from "../state/finder.ts";
import { look, place } from "../state/location.ts";
import { opened } from "../state/session.ts";
import { toggleTheme } from "../state/settings.ts";
import { focusSoon } from "./focus.ts";
import { toggleCompare } from "./header.tsx";
import { helping } from "./help.tsx";

/** Keys that work wherever nothing is typed. */
export function followKeys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape") {
      drawer.value = false;
      return;
    }
    if (document.querySelector("dialog[open]") || typing(event.target)) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

export function openTensor(name: string | undefined) {
  drawer.value = false;
  look({ tensor: name, view: undefined });
}

const actions: Record<string, () => void> = {
  "/": () => {
    drawer.value = true;
    focusSoon("search");
  },
  "?": () => {
    helping.value = true;
  },
  "[": () => step(-1),
  "]": () => step(1),
  c: toggleCompare,
  f: () => openTensor(undefined),
  t: toggleTheme,
  v: () => {
    if (!opened.value) return;
    openTensor(undefined);
    verifyFile();
  },
};

function step(by: number) {
  const names = order.value;
  const now = place.value.tensor;
  const at = now === undefined ? (by > 0 ? -1 : names.length) : names.indexOf(now);
  const next = names[at + by];
  if (next !== undefined) openTensor(next);
}

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement)
    return !["checkbox", "radio", "button"].includes(target.type);
  return (
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement ||
    target.isContentEditable
  );
}
