import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

export const helping = signal(false);

const KEYS: readonly (readonly [string[], string])[] = [
  [["/"], "search for tensors"],
  [["↑", "↓"], "move through a list; also Page Up, Page Down, Home, End"],
  [["←", "→"], "close and open a folder of the tree"],
  [["Enter"], "open what is marked"],
  [["+", "−"], "zoom the picture of values; also Ctrl and the wheel"],
  [["Shift", "↑"], "move the picture; also by dragging"],
  [["["], "previous tensor"],
  [["]"], "next tensor"],
  [["f"], "the file’s own page"],
  [["v"], "verify the file"],
  [["c"], "compare with a second file"],
  [["t"], "light or dark"],
  [["?"], "this list"],
  [["Esc"], "close, or leave the search"],
];

export function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    if (helping.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [helping.value]);
  return (
    <dialog
      ref={dialog}
      class="help"
      data-testid="help"
      aria-labelledby="help-title"
      onClose={() => {
        helping.value = false;
      }}
    >
      <h2 id="help-title">Keys</h2>
      <dl>
        {KEYS.map(([keys, words]) => (
          <div key={words}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{words}</dd>
          </div>
        ))}
      </dl>
      <h2>Search</h2>
      <p>
        Part of a name, or a pattern: <code>*</code> stands for anything, <code>?</code> for one
        character, <code>{"{3-7}"}</code> for a number from 3 to 7, as in{" "}
        <code>{"layer.{3-7}.*weight"}</code>.
      </p>
      <h2>What leaves this page</h2>
      <p>
        Requests for the file you name, to the server you name, and nothing else. Files from your
        machine are read in the browser and sent nowhere.
      </p>
      <form method="dialog">
        <button type="submit" class="main">
          Close
        </button>
      </form>
    </dialog>
  );
}
