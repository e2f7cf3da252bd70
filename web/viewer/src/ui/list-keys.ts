/** Where the keys of a list lead from `now`, or nothing for another key. */
export function moved(key: string, now: number, count: number, page: number): number | undefined {
  const to = {
    ArrowDown: now + 1,
    ArrowUp: now - 1,
    PageDown: now + page,
    PageUp: now - page,
    Home: 0,
    End: count - 1,
  }[key];
  return to === undefined ? undefined : Math.max(0, Math.min(count - 1, to));
}
