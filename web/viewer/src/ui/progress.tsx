import type { Progress } from "../state/task.ts";
import * as numbers from "../text/numbers.ts";

interface Props {
  what: string;
  progress: Progress | undefined;
  cancel: () => void;
}

/** Work that was given up before anything came of it, with a way back. */
export function Cancelled({ again }: { again: () => void }) {
  return (
    <p class="notice" data-testid="cancelled">
      Cancelled.{" "}
      <button type="button" data-testid="again" onClick={again}>
        Read it
      </button>
    </p>
  );
}

/** Work under way, in bytes, with a way out. */
export function ProgressBar({ what, progress, cancel }: Props) {
  const { done = 0, total = 0, secondsLeft = Number.NaN } = progress ?? {};
  const share = total > 0 ? Math.min(1, done / total) : 0;
  return (
    <div class="progress" data-testid="progress" data-done={done} data-total={total}>
      <div
        class="progress-bar"
        role="progressbar"
        aria-label={what}
        aria-valuemin={0}
        aria-valuemax={100}
        {...(total > 0 && { "aria-valuenow": Math.round(100 * share) })}
        data-unknown={total === 0}
      >
        <span style={{ width: `${100 * share}%` }} />
      </div>
      <span class="progress-words">
        {what}
        {total > 0 && `: ${numbers.bytes(done)} of ${numbers.bytes(total)}`}
        {Number.isFinite(secondsLeft) && `, ${numbers.duration(secondsLeft)}`}
      </span>
      <button type="button" data-testid="cancel" onClick={cancel}>
        Cancel
      </button>
    </div>
  );
}
