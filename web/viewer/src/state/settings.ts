import { signal } from "@preact/signals";

export type Theme = "light" | "dark";

const STORED = "deathtensors.theme";
const night = matchMedia("(prefers-color-scheme: dark)");

export const theme = signal<Theme>(stored() ?? system());

/** A Hub token. It lives in this variable only: in no link, no storage, and gone with the tab. */
export const token = signal("");

/** Another Hub than the public one, as typed by the reader. */
export const hubTyped = signal("");

export function toggleTheme() {
  theme.value = theme.value === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(STORED, theme.value);
  } catch {
    // A browser that keeps nothing still shows the theme.
  }
}

export function followTheme() {
  night.addEventListener("change", () => {
    if (!stored()) theme.value = system();
  });
  theme.subscribe((value) => {
    document.documentElement.dataset.theme = value;
  });
}

function system(): Theme {
  return night.matches ? "dark" : "light";
}

function stored(): Theme | undefined {
  try {
    const value = localStorage.getItem(STORED);
    return value === "light" || value === "dark" ? value : undefined;
  } catch {
    return undefined;
  }
}
