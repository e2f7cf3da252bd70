import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { drawer } from "../state/finder.ts";
import { localFile, look, place } from "../state/location.ts";
import { comparing, opened, openLocal, openSource } from "../state/session.ts";
import { theme, toggleTheme } from "../state/settings.ts";
import { AccessPanel } from "./access.tsx";
import { focusSoon } from "./focus.ts";
import { helping } from "./help.tsx";
import { Meter } from "./meter.tsx";

export function Header() {
  return (
    <header class="top">
      {opened.value && (
        <button
          type="button"
          class="icon drawer-toggle"
          data-testid="drawer-toggle"
          aria-label="List of tensors"
          aria-expanded={drawer.value}
          aria-controls="finder"
          onClick={() => {
            drawer.value = !drawer.value;
          }}
        >
          ☰
        </button>
      )}
      <h1 class="brand">
        <span class="mark" aria-hidden="true" />
        <span>deathtensors</span>
      </h1>
      <SourceForm />
      <Meter />
      <div class="tools">
        <button
          type="button"
          data-testid="compare-button"
          aria-pressed={comparing.value}
          disabled={!opened.value}
          title="Compare with a second file (c)"
          onClick={toggleCompare}
        >
          Compare
        </button>
        <button
          type="button"
          class="icon"
          data-testid="theme-toggle"
          aria-label={theme.value === "dark" ? "Light colours" : "Dark colours"}
          title={theme.value === "dark" ? "Light colours (t)" : "Dark colours (t)"}
          onClick={toggleTheme}
        >
          {theme.value === "dark" ? "☀" : "☾"}
        </button>
        <button
          type="button"
          class="icon"
          data-testid="help-button"
          aria-label="Keys and help"
          title="Keys and help (?)"
          onClick={() => {
            helping.value = true;
          }}
        >
          ?
        </button>
      </div>
    </header>
  );
}

export function toggleCompare() {
  if (!opened.value) return;
  const begin = !comparing.value || place.value.tensor !== undefined;
  comparing.value = begin;
  if (begin && place.value.tensor !== undefined) look({ tensor: undefined, view: undefined });
  if (begin) focusSoon("compare-input");
}

function SourceForm() {
  const typed = useSignal(place.value.source ?? "");
  const picker = useRef<HTMLInputElement>(null);
  const { source } = place.value;
  useEffect(() => {
    typed.value = localFile.value === undefined ? (source ?? "") : "";
  }, [source, localFile.value]);
  return (
    <form
      class="source"
      role="search"
      aria-label="Open a tensor file"
      onSubmit={(event) => {
        event.preventDefault();
        openSource("main", typed.value);
      }}
    >
      <input
        id="source-input"
        data-testid="source-input"
        type="text"
        inputMode="url"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        aria-label="Link to a tensor file, or a Hub repository"
        placeholder="link, or Hub repository: org/name"
        value={typed.value}
        onInput={(event) => {
          typed.value = event.currentTarget.value;
        }}
      />
      <AccessPanel />
      <button type="submit" class="main" data-testid="open-button">
        Open
      </button>
      <button
        type="button"
        class="pick"
        title="Open a file from this machine"
        onClick={() => picker.current?.click()}
      >
        File…
      </button>
      <input
        ref={picker}
        data-testid="file-picker"
        type="file"
        multiple
        class="off-screen"
        tabIndex={-1}
        aria-label="A tensor file from this machine"
        accept=".deathtensors,.dt,.safetensors,.json"
        onChange={(event) => {
          openLocal("main", event.currentTarget.files ?? []);
          event.currentTarget.value = "";
        }}
      />
    </form>
  );
}
