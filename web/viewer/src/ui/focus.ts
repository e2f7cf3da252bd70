/** Focuses what the next picture of the page will hold. */
export function focusSoon(id: string) {
  requestAnimationFrame(() => {
    requestAnimationFrame(() => document.getElementById(id)?.focus());
  });
}
