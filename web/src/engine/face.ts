/**
 * The wasm module as the rest of the package sees it. Every method that can refuse throws an
 * object `{kind, code, message, tensor?, expected?, found?}`.
 */
export interface Face {
  Opening: new (fileBytes: number, limitsJson?: string) => FaceOpening;
  manifestModel(text: string, limitsJson?: string): Model;
  parseIndex(model: Model): ShardIndex | undefined;
  parseSafetensorsIndex(text: string, limitsJson?: string): ShardIndex;
  compare(a: Model, b: Model, trustDigests: boolean): string;
  coalesce(ranges: Float64Array, gap: number, longest: number): Float64Array;
  startsAsZstd(stored: Uint8Array): boolean;
  decodeFrame(stored: Uint8Array, dataBytes: number, skip: number, take: number): Uint8Array;
  decodeWhole(stored: Uint8Array, dataBytes: number): Uint8Array;
  StatsReducer: new (dtype: string) => Reducer<object>;
  HistogramReducer: new (dtype: string, low: number, high: number, bins: number) => Reducer<object>;
  ChannelReducer: new (dtype: string, shape: Float64Array, axis: number) => ChannelReducer;
  Sha256: new () => Reducer<string>;
  decodeFloats(dtype: string, bytes: Uint8Array): Float32Array;
  npyDtype(dtype: string): string | undefined;
  npyHeader(dtype: string, shape: Float64Array): Uint8Array;
}

interface Freed {
  free(): void;
}

export interface FaceOpening extends Freed {
  need(): Float64Array;
  feed(offset: number, bytes: Uint8Array): boolean;
  finish(): Model;
}

/** A parsed catalogue. */
export interface Model extends Freed {
  summary(): string;
  list(): string;
  rows(nth: number, start: number, count: number): Float64Array;
  manifest(version: string, writtenAt: string): string;
  headerRange(): Float64Array;
  checkRoot(headerBytes?: Uint8Array, wanted?: string): void;
  checkDigest(nth: number, found: string): boolean;
  checkFooter(carried: Uint8Array, found: string): void;
  footed(): Float64Array;
  footer(): Float64Array | undefined;
  problems(schemaJson: string): string;
  checkShard(index: ShardIndex, nth: number): void;
  tableNeed(): Float64Array | undefined;
  tableFeed(offset: number, bytes: Uint8Array): boolean;
  frameCount(): number;
  plan(start: number, end: number): Float64Array;
  sample(nth: number, maxBytes: number): Float64Array;
  window(
    nth: number,
    axes: Uint32Array | undefined,
    index: Float64Array | undefined,
    rows: Float64Array,
    columns: Float64Array,
  ): WindowPlan;
}

export interface ShardIndex extends Freed {
  json(): string;
}

export interface WindowPlan extends Freed {
  readonly rows: number;
  readonly columns: number;
  /** Within the tensor. */
  spans(): Float64Array;
  values(bytes: Uint8Array): Float64Array;
}

export interface Reducer<T> extends Freed {
  update(bytes: Uint8Array): void;
  finish(): T;
}

export interface ChannelReducer extends Reducer<object> {
  seek(byte: number): void;
}
