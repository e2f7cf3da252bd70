import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { hub, retry } from "../state/session.ts";
import { hubTyped, token } from "../state/settings.ts";

/** The token for private and gated repositories, and where it goes. */
export function AccessPanel() {
  const open = useSignal(false);
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open.value) return;
    const close = (event: Event) => {
      const escaped = event instanceof KeyboardEvent && event.key === "Escape";
      const outside =
        !(event instanceof KeyboardEvent) && !panel.current?.contains(event.target as Node);
      if (escaped || outside) open.value = false;
    };
    addEventListener("pointerdown", close);
    addEventListener("keydown", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("keydown", close);
    };
  }, [open.value]);
  return (
    <div class="access" ref={panel}>
      <button
        type="button"
        class="icon"
        data-testid="access-button"
        aria-label="Access token and Hub"
        title="Access token and Hub"
        aria-expanded={open.value}
        aria-controls="access-panel"
        data-active={token.value !== ""}
        onClick={() => {
          open.value = !open.value;
        }}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <circle cx="5" cy="8" r="3" />
          <path d="M8 8h6.5M12 8v3M14.5 8v2" />
        </svg>
      </button>
      {open.value && (
        <div class="panel" id="access-panel">
          <label>
            Token
            <input
              data-testid="token-input"
              type="password"
              autocomplete="off"
              spellcheck={false}
              placeholder="hf_…"
              value={token.value}
              onInput={(event) => {
                token.value = event.currentTarget.value.trim();
              }}
            />
          </label>
          <label>
            Hub
            <input
              data-testid="hub-input"
              type="url"
              spellcheck={false}
              placeholder={hub()}
              value={hubTyped.value}
              onChange={(event) => {
                hubTyped.value = origin(event.currentTarget.value);
              }}
            />
          </label>
          <p>
            For private and gated repositories. The token stays in this tab’s memory and is sent to{" "}
            <strong>{hub()}</strong> only.
          </p>
          <button
            type="button"
            onClick={() => {
              open.value = false;
              retry();
            }}
          >
            Open again with it
          </button>
        </div>
      )}
    </div>
  );
}

/** Scheme and host of what was typed; nothing if it is no web address. */
function origin(text: string): string {
  try {
    const url = new URL(text.includes("://") ? text : `https://${text}`);
    return text.trim() && /^https?:$/.test(url.protocol) ? url.origin : "";
  } catch {
    return "";
  }
}
