import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";
import { Task } from "../state/task.ts";

/** Work that belongs to a part of the page, and ends with it. */
export function useTask<T>(): Task<T> {
  const task = useMemo(() => new Task<T>(), []);
  useEffect(() => () => task.reset(), [task]);
  return task;
}

/** How wide an element is, in whole pixels. */
export function useWidth(element: RefObject<HTMLElement | null>): number {
  const [width, set] = useState(0);
  useLayoutEffect(() => {
    if (!element.current) return;
    const update = () => set(Math.floor(element.current?.clientWidth ?? 0));
    update();
    const observer = new ResizeObserver(update);
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);
  return width;
}
