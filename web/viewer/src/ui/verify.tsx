import type { TensorFileErrorShape } from "deathtensors";
import { sound, verification, verifyFile } from "../state/checks.ts";
import { opened } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";
import { visible } from "../text/visible.ts";
import { openTensor } from "./keys.ts";
import { ProblemCard } from "./problem.tsx";
import { ProgressBar } from "./progress.tsx";

type State = "none" | "running" | "sound" | "unsound" | "unchecked" | "cancelled";

/** Whether the file's bytes are those that were written, checked here in the browser. */
export function Verify() {
  const { facts } = opened.value?.file ?? {};
  if (!facts) return null;
  const nothing = !facts.checksum && !facts.digests && !facts.root && !facts.compressed;
  return (
    <section class="verify" aria-labelledby="verify-title">
      <h3 id="verify-title" class="off-screen">
        Verification
      </h3>
      <div class="verify-line">
        <button
          type="button"
          data-testid="verify-button"
          disabled={verification.running.value}
          title="Check every digest the file carries (v)"
          onClick={verifyFile}
        >
          Verify
        </button>
        <Status nothing={nothing} />
      </div>
      {verification.running.value && (
        <ProgressBar
          what="Verifying"
          progress={verification.progress.value}
          cancel={() => verification.cancel()}
        />
      )}
      {verification.failure.value && <ProblemCard problem={verification.failure.value} />}
      <Errors />
    </section>
  );
}

function Status({ nothing }: { nothing: boolean }) {
  const [state, words] = status(nothing);
  const mark = {
    sound: "✓ ",
    unsound: "✗ ",
    none: "",
    running: "",
    unchecked: "? ",
    cancelled: "",
  }[state];
  return (
    <p class="verify-status" role="status" data-testid="verify-status" data-state={state}>
      {mark}
      {words}
    </p>
  );
}

function status(nothing: boolean): [State, string] {
  const { running, cancelled, result } = verification;
  const counted = [...sound.value.values()];
  const bad = counted.filter((one) => one === false).length;
  const good = counted.filter((one) => one === true).length;
  const soFar = `${numbers.whole(good)} sound${bad > 0 ? `, ${numbers.whole(bad)} damaged` : ""}`;
  if (running.value) return ["running", soFar];
  if (cancelled.value)
    return ["cancelled", `Cancelled after ${numbers.plural(counted.length, "tensor")}: ${soFar}.`];
  const report = result.value;
  if (!report) {
    return [
      "none",
      nothing
        ? "The file carries no checksum or digest, so damage cannot be told from data."
        : "Reads the whole file and compares it with the digests it carries.",
    ];
  }
  if (report.errors.length > 0 || bad > 0) {
    return [
      "unsound",
      `Damaged: ${numbers.plural(Math.max(report.errors.length, bad), "disagreement")}. ${soFar}.`,
    ];
  }
  const parts = [
    report.footer && "footer",
    report.root && "root",
    report.frames && "frames",
    good > 0 && numbers.plural(good, "tensor"),
  ].filter(Boolean);
  if (!report.verified) {
    return [
      "unchecked",
      parts.length > 0
        ? `Sound as far as it can be checked (${parts.join(", ")}); the rest carries nothing to check by.`
        : "Nothing to check by: the file carries no digests.",
    ];
  }
  return ["sound", `Every byte is as it was written: ${parts.join(", ")}.`];
}

const SHOWN = 50;

/** What is said of a tensor, whose name stands before it already. */
function words({ message, tensor }: TensorFileErrorShape): string {
  const name = `tensor '${tensor}': `;
  return tensor !== undefined && message.startsWith(name) ? message.slice(name.length) : message;
}

function Errors() {
  const errors = verification.result.value?.errors ?? [];
  if (errors.length === 0) return null;
  return (
    <ul class="verify-errors" data-testid="verify-errors">
      {errors.slice(0, SHOWN).map((error) => (
        <li key={`${error.code} ${error.tensor}`} data-code={error.code} data-name={error.tensor}>
          <span aria-hidden="true">✗</span>{" "}
          {error.tensor !== undefined ? (
            <button type="button" class="plain" onClick={() => openTensor(error.tensor)}>
              {visible(error.tensor)}
            </button>
          ) : (
            <strong>the file</strong>
          )}{" "}
          {visible(words(error))} <code>{error.code}</code>
        </li>
      ))}
      {errors.length > SHOWN && <li>and {numbers.whole(errors.length - SHOWN)} more</li>}
    </ul>
  );
}
