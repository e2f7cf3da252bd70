import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** What the reader may do with the window that a picture shows. */
export interface Steer {
  /** By so many values of the picture, down and across. */
  move(rows: number, columns: number): void;
  /** `at` is the place that stays, as shares of the height and width. */
  zoom(factor: number, at?: readonly [down: number, across: number]): void;
}

/** Turns of a wheel, or of two fingers, that make one step. */
const TURN = 40;

/** Dragging with a mouse or pen; with fingers the page itself is moved. */
export function useDrag(size: readonly [across: number, down: number], steer: Steer) {
  const from = useRef<{ x: number; y: number } | undefined>(undefined);
  const by = useSignal<readonly [rows: number, columns: number]>([0, 0]);
  const [across, down] = size;
  const end = () => {
    from.current = undefined;
    by.value = [0, 0];
  };
  return {
    /** How far the picture was dragged, in values. */
    by,
    begin(event: PointerEvent) {
      if (event.button !== 0 || event.pointerType === "touch") return;
      from.current = { x: event.clientX, y: event.clientY };
      (event.currentTarget as Element).setPointerCapture(event.pointerId);
    },
    follow(event: PointerEvent) {
      if (!from.current) return;
      by.value = [
        Math.round((event.clientY - from.current.y) / down),
        Math.round((event.clientX - from.current.x) / across),
      ];
    },
    drop() {
      const [rows, columns] = by.value;
      end();
      if (rows !== 0 || columns !== 0) steer.move(-rows, -columns);
    },
    end,
  };
}

/** Zooming with a wheel while Ctrl or ⌘ is held, which is also how two fingers on a pad come. */
export function useWheel(element: RefObject<HTMLElement | null>, steer: Steer) {
  const latest = useRef(steer);
  latest.current = steer;
  useEffect(() => {
    const target = element.current;
    if (!target) return;
    let turned = 0;
    const turn = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      turned += event.deltaY;
      if (Math.abs(turned) < TURN) return;
      const { left, top, width, height } = target.getBoundingClientRect();
      latest.current.zoom(turned > 0 ? 2 : 0.5, [
        (event.clientY - top) / height,
        (event.clientX - left) / width,
      ]);
      turned = 0;
    };
    // By hand, since only so it can keep the page from being zoomed.
    target.addEventListener("wheel", turn, { passive: false });
    return () => target.removeEventListener("wheel", turn);
  }, [element]);
}
