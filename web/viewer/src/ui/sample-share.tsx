import * as numbers from "../text/numbers.ts";

interface Props {
  share: number;
  /** Of the whole. */
  bytes: number;
  readAll: () => void;
}

/** Says that a figure is of a sample, of how large a one, and offers the rest. */
export function SampleShare({ share, bytes, readAll }: Props) {
  if (!(share < 1)) return null;
  return (
    <span class="sample">
      <span data-testid="sample-share" data-value={share}>
        sample of {numbers.percent(share)}
      </span>
      <button type="button" data-testid="read-all" onClick={readAll}>
        Read all {numbers.bytes(bytes)}
      </button>
    </span>
  );
}
