/** Names and metadata come from strangers. They are only ever shown as text, through here. */

// What is not seen, or changes the direction or the lines of the rest: Unicode's categories Cc,
// Cf, Zl and Zp, its Default_Ignorable_Code_Point, and surrogates that stand alone.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu;

function written(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** The text with everything that would not be seen, or would reorder it, written out. */
export function visible(text: string): string {
  return text.replace(HIDDEN, written);
}

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
