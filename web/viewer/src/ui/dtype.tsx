import type { Dtype } from "deathtensors";
import { family, letter } from "../model/dtypes.ts";

/** A dtype's colour with its letter in it. */
export function Swatch({ dtype }: { dtype: Dtype }) {
  return (
    <span class="swatch" data-family={family(dtype).key} aria-hidden="true">
      {letter(dtype)}
    </span>
  );
}

export function DtypeTag({ dtype }: { dtype: Dtype }) {
  return (
    <span class="dtype" title={family(dtype).words}>
      <Swatch dtype={dtype} />
      {dtype}
    </span>
  );
}
