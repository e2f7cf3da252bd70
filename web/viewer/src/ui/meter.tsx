import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { opened, other } from "../state/session.ts";
import * as numbers from "../text/numbers.ts";

const used = signal({ requests: 0, bytes: 0 });

/** What it cost so far, beside what the whole would cost. */
export function Meter() {
  useEffect(() => {
    const look = () => {
      const sum = { requests: 0, bytes: 0 };
      for (const one of [opened.value, other.value]) {
        sum.requests += one?.file.counters.requests ?? 0;
        sum.bytes += one?.file.counters.bytes ?? 0;
      }
      if (sum.bytes !== used.value.bytes || sum.requests !== used.value.requests) used.value = sum;
    };
    look();
    const timer = setInterval(look, 150);
    return () => clearInterval(timer);
  }, []);
  const total = fileBytes();
  if (total === 0) return <div class="meter" data-testid="meter" />;
  const { requests, bytes } = used.value;
  const share = Math.min(1, bytes / total);
  return (
    <div
      class="meter"
      data-testid="meter"
      title={`${numbers.exactBytes(bytes)} of ${numbers.exactBytes(total)} read (${numbers.percent(share)})`}
    >
      <span class="meter-bar" aria-hidden="true">
        <span style={{ width: `${100 * share}%` }} />
      </span>
      <span>
        <strong data-testid="meter-bytes" data-value={bytes}>
          {numbers.bytes(bytes)}
        </strong>{" "}
        of {numbers.bytes(total)}
      </span>
      <span class="meter-requests" data-testid="meter-requests" data-value={requests}>
        {numbers.plural(requests, opened.value?.local ? "read" : "request")}
      </span>
    </div>
  );
}

function fileBytes(): number {
  return (opened.value?.file.facts.fileBytes ?? 0) + (other.value?.file.facts.fileBytes ?? 0);
}
