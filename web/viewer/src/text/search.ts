/**
 * Search by part of a name, upper and lower case alike. `*` stands for anything, `?` for one
 * character, `{3-7}` for a number in a range. Where a pattern matches is told for highlighting.
 *
 * Pieces between stars are found from the left, each after the last: that finds a match if there
 * is one, and takes no more than length × length steps on any name and pattern.
 */

export type Ranges = readonly (readonly [number, number])[];

type Token = { any: true } | { code: string } | { low: number; high: number };

export interface Pattern {
  /** The ranges that matched, or nothing where the name does not match. */
  match(name: string): Ranges | undefined;
}

export function pattern(text: string): Pattern | undefined {
  const pieces = text
    .trim()
    .toLowerCase()
    .split("*")
    .filter((piece) => piece !== "")
    .map(tokens);
  if (pieces.length === 0) return undefined;
  return { match: (name) => match(pieces, lower(name)) };
}

/** Lower case of the same length, so that places in it are places in the name. */
function lower(name: string): string {
  const text = name.toLowerCase();
  return text.length === name.length ? text : name;
}

function tokens(piece: string): Token[] {
  const found: Token[] = [];
  for (let at = 0; at < piece.length; at++) {
    const range = /^\{(\d{1,9})-(\d{1,9})\}/.exec(piece.slice(at));
    if (range) {
      found.push({ low: Number(range[1]), high: Number(range[2]) });
      at += range[0].length - 1;
    } else if (piece[at] === "?") found.push({ any: true });
    else found.push({ code: piece.charAt(at) });
  }
  return found;
}

function match(pieces: readonly Token[][], name: string): Ranges | undefined {
  const ranges: [number, number][] = [];
  let from = 0;
  for (const piece of pieces) {
    const range = find(piece, name, from);
    if (!range) return undefined;
    ranges.push(range);
    from = range[1];
  }
  return ranges;
}

function find(piece: readonly Token[], name: string, from: number): [number, number] | undefined {
  for (let start = from; start < name.length; start++) {
    const end = endOf(piece, name, start);
    if (end !== undefined) return [start, end];
  }
  return undefined;
}

function endOf(piece: readonly Token[], name: string, start: number): number | undefined {
  let at = start;
  for (const token of piece) {
    if (at >= name.length) return undefined;
    if ("code" in token) {
      if (name[at] !== token.code) return undefined;
      at++;
    } else if ("any" in token) at++;
    else {
      const digits = /^\d{1,9}(?!\d)/.exec(name.slice(at, at + 10))?.[0];
      const inside = digits && Number(digits) >= token.low && Number(digits) <= token.high;
      if (!inside || /\d/.test(name.charAt(at - 1))) return undefined;
      at += digits.length;
    }
  }
  return at;
}
