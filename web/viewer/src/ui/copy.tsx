import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";

interface Props {
  /** What is copied, in a word. */
  what: string;
  text: () => string;
  children: ComponentChildren;
  testid: string;
  disabled?: boolean;
}

/** Copies, and says that it did. */
export function CopyButton({ what, text, children, testid, disabled = false }: Props) {
  const said = useSignal("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      said.value = "copied";
    } catch {
      said.value = "not allowed";
    }
    setTimeout(() => {
      said.value = "";
    }, 1500);
  };
  return (
    <button
      type="button"
      data-testid={testid}
      disabled={disabled}
      title={disabled ? "A file from this machine has no link" : `Copy the ${what}`}
      onClick={copy}
    >
      {said.value === "" ? children : said.value === "copied" ? "✓ copied" : "✗ not allowed"}
      <span class="off-screen" role="status">
        {said.value && `${what}: ${said.value}`}
      </span>
    </button>
  );
}
