/** Names and metadata come from strangers. They are only ever shown as text, through here. */

import { HIDDEN, visible, written } from "../../../src/visible.ts";

export { visible };

/** The same for a whole name: spaces alone would not be seen either. */
export function visibleName(name: string): string {
  return name.trim() === "" ? name.replace(/./gsu, written) : visible(name);
}

/** The same for text that may have lines and tabs, such as metadata. */
export function visibleLines(text: string): string {
  return text.replace(HIDDEN, (character) =>
    character === "\n" || character === "\t" ? character : written(character),
  );
}

/** The last part of a URL's path, which is the file's name; other names are as they are. */
export function baseName(name: string): string {
  if (!/^[a-z]+:\/\//i.test(name)) return name;
  const last =
    name
      .replace(/[?#].*$/, "")
      .replace(/\/+$/, "")
      .split("/")
      .at(-1) || name;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}
