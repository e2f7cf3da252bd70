import { effect } from "@preact/signals";
import { place } from "../state/location.ts";
import { opened } from "../state/session.ts";
import { baseName, visible } from "../text/visible.ts";

/** The tab's title says what is open, so that tabs and history can be told apart. */
export function followTitle() {
  effect(() => {
    const file = opened.value?.file;
    const tensor = file && place.value.tensor;
    const parts = [tensor, file && baseName(file.facts.name), "deathtensors"];
    document.title = parts
      .flatMap((part) => (part === undefined ? [] : [visible(part)]))
      .join(" · ");
  });
}
