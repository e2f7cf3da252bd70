import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

/**
 * Only what is in sight is made. Browsers cap how tall an element may be, so beyond `LONGEST`
 * pixels the scroll bar stands for more than it is long, and rows are placed by its share.
 */
const LONGEST = 8_000_000;

export interface Strip {
  readonly first: number;
  /** Exclusive. */
  readonly last: number;
  /** Of the element that gives the scroll bar its length, in pixels. */
  readonly length: number;
  /** Where entry `i` stands in it. */
  place(i: number): number;
  /** Brings entry `i` into sight. */
  reveal(i: number): void;
  /** How many entries fit. */
  readonly page: number;
}

export interface StripOptions {
  count: number;
  /** Of one entry, in pixels. */
  size: number;
  axis?: "y" | "x";
  /** Pixels at the beginning that something sticky covers. */
  covered?: number;
}

export function useStrip(
  scroller: RefObject<HTMLElement | null>,
  { count, size, axis = "y", covered = 0 }: StripOptions,
): Strip {
  const [{ offset, room }, look] = useState({ offset: 0, room: 600 });
  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const update = () => {
      const next =
        axis === "y"
          ? { offset: element.scrollTop, room: element.clientHeight }
          : { offset: element.scrollLeft, room: element.clientWidth };
      look((now) => (now.offset === next.offset && now.room === next.room ? now : next));
    };
    update();
    element.addEventListener("scroll", update, { passive: true });
    const observer = new ResizeObserver(update);
    observer.observe(element);
    return () => {
      element.removeEventListener("scroll", update);
      observer.disconnect();
    };
  }, [scroller, axis]);

  const full = count * size;
  const length = Math.min(full, LONGEST);
  const seen = Math.max(0, room - covered);
  const stretch = full > length ? (full - seen) / (length - seen) : 1;
  const start = offset * stretch;
  const spare = 6;
  const first = Math.max(0, Math.min(count, Math.floor(start / size) - spare));
  const last = Math.min(count, Math.ceil((start + seen) / size) + spare);
  const scrollTo = (to: number) => {
    const element = scroller.current;
    if (!element) return;
    if (axis === "y") element.scrollTop = to / stretch;
    else element.scrollLeft = to / stretch;
  };
  return {
    first,
    last,
    length,
    page: Math.max(1, Math.floor(seen / size)),
    place: (i) => i * size - start + offset,
    reveal: (i) => {
      const from = i * size;
      if (from < start) scrollTo(from);
      else if (from + size > start + seen) scrollTo(from + size - seen);
    },
  };
}
