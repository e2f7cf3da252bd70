/**
 * What is not seen, or changes the direction or the lines of the rest: Unicode's categories Cc, Cf,
 * Zl and Zp, its Default_Ignorable_Code_Point, and surrogates that stand alone.
 */
export const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu;

/** A character by its number. */
export function written(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** The text with everything that would not be seen, or would reorder it, written out. */
export function visible(text: string): string {
  return text.replace(HIDDEN, written);
}
