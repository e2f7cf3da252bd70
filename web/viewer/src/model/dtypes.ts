import type { Dtype } from "deathtensors";

/** A family of dtypes: a colour of the Okabe-Ito palette, and a letter that says the same. */
export interface Family {
  readonly key: string;
  readonly letter: string;
  readonly words: string;
  readonly colour: string;
}

const FAMILIES = {
  full: { key: "full", letter: "F", words: "32 and 64-bit floats", colour: "#0072b2" },
  half: { key: "half", letter: "H", words: "16-bit floats", colour: "#56b4e9" },
  brain: { key: "brain", letter: "B", words: "bfloat16", colour: "#009e73" },
  eight: { key: "eight", letter: "8", words: "8-bit floats", colour: "#e69f00" },
  tiny: { key: "tiny", letter: "4", words: "4 and 6-bit floats", colour: "#f0e442" },
  signed: { key: "signed", letter: "I", words: "signed integers", colour: "#d55e00" },
  unsigned: { key: "unsigned", letter: "U", words: "unsigned integers", colour: "#cc79a7" },
  other: { key: "other", letter: "C", words: "complex and boolean", colour: "#8a8f98" },
} as const satisfies Record<string, Family>;

export function family(dtype: Dtype): Family {
  if (dtype === "F32" || dtype === "F64") return FAMILIES.full;
  if (dtype === "F16") return FAMILIES.half;
  if (dtype === "BF16") return FAMILIES.brain;
  if (dtype.startsWith("F8")) return FAMILIES.eight;
  if (dtype.startsWith("F4") || dtype.startsWith("F6")) return FAMILIES.tiny;
  if (dtype.startsWith("I")) return FAMILIES.signed;
  if (dtype.startsWith("U")) return FAMILIES.unsigned;
  return FAMILIES.other;
}

/** The letter of one dtype; those that share a family's colour differ in it. */
export function letter(dtype: Dtype): string {
  if (dtype === "BOOL") return "T";
  if (dtype === "F64") return "D";
  if (dtype.startsWith("F6")) return "6";
  return family(dtype).letter;
}

export function isComplex(dtype: Dtype): boolean {
  return dtype === "C64" || dtype === "C128";
}

export function isInteger(dtype: Dtype): boolean {
  return dtype === "BOOL" || family(dtype).key === "signed" || family(dtype).key === "unsigned";
}
