import { cancelOpening, opening } from "../state/session.ts";
import { visible } from "../text/visible.ts";
import { ProgressBar } from "./progress.tsx";

export function Opening() {
  const now = opening.value;
  if (!now) return null;
  const { done, total } = now;
  return (
    <section class="notice" data-testid="opening">
      <ProgressBar
        what={`Opening ${visible(now.tried)}`}
        progress={{ done, total, secondsLeft: Number.NaN }}
        cancel={cancelOpening}
      />
    </section>
  );
}
