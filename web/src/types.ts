/** The public types of the package. Offsets and sizes are in bytes, ends are exclusive. */

/** An element type, by the name it has in the file. */
export type Dtype =
  | "BOOL"
  | "U8"
  | "I8"
  | "U16"
  | "I16"
  | "F16"
  | "BF16"
  | "I32"
  | "U32"
  | "F32"
  | "I64"
  | "U64"
  | "F64"
  | "C64"
  | "C128"
  | "F8_E4M3"
  | "F8_E5M2"
  | "F8_E8M0"
  | "F8_E4M3FNUZ"
  | "F8_E5M2FNUZ"
  | "F6_E2M3"
  | "F6_E3M2"
  | "F4";

/** What a tensor's elements come as. Dtypes without a typed array of their own come as bytes. */
export type TensorData =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigUint64Array
  | BigInt64Array
  | Float32Array
  | Float64Array;

/** Caps on what a file may ask for; see `LIMITS` for the defaults. Lower them at will. */
export interface Limits {
  /** Bytes of the header. */
  headerBytes: number;
  tensors: number;
  nameBytes: number;
  metadataBytes: number;
  rank: number;
  /** Nesting of JSON. */
  depth: number;
  /** Bytes that compressed data may inflate to. */
  inflatedBytes: number;
  /** Bytes that one call may set aside on the word of a file: for its header, or to return. */
  memoryBytes: number;
}

/** Work under way: `done` of `total` bytes. */
export type OnProgress = (done: number, total: number) => void;

/** What reading anything takes. */
export interface ReadOptions {
  signal?: AbortSignal;
  onProgress?: OnProgress;
}

/** Anything that bytes can be read from. */
export interface ByteSource {
  readonly byteLength: number;
  /** Exactly `length` bytes from `offset` on. */
  read(offset: number, length: number, options?: { signal?: AbortSignal }): Promise<Uint8Array>;
  /** What to show people; a URL without its secrets, or a file name. */
  readonly name?: string;
}

/** What `openTensorFile` opens: a URL, a Hub reference or page, a path in Node, a file, bytes. */
export type Source = string | URL | Blob | ArrayBuffer | ArrayBufferView | ByteSource;

export interface OpenOptions extends ReadOptions {
  limits?: Partial<Limits>;
  /** Used in place of the global `fetch`. */
  fetch?: typeof fetch;
  /** A Hub token. It goes to the hub's origin only, never to another. */
  token?: string;
  /** Refuse the file unless its root digest is this; then check each tensor when it is first read. */
  root?: string;
  /** Where the Hub is; `https://huggingface.co` unless told. */
  hubEndpoint?: string;
  /** How many workers do the heavy work; 0 does it on this thread. */
  workers?: number;
  /** Bytes of fetched ranges that are kept, 64 MiB unless told. */
  cacheBytes?: number;
  /** Requests under way at once, 6 unless told. */
  concurrency?: number;
  /** How often a failed request is tried again, 4 times unless told. */
  retries?: number;
  /** Milliseconds that a server may stay silent, or bring less than 1 KiB/s; 30,000 unless told. */
  timeout?: number;
  /**
   * Where the files beside this one are, by name: needed for a sharded model that was dropped or
   * is in memory. URLs, Hub references and paths find theirs by themselves.
   */
  siblings?: (name: string) => Source | undefined;
}

/** What it cost so far. Bytes are those of response bodies. */
export interface TransferCounters {
  readonly requests: number;
  readonly bytes: number;
  readonly retries: number;
  readonly cacheHits: number;
}

export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Start and end in the uncompressed data. */
  readonly dataOffsets: readonly [number, number];
  readonly nbytes: number;
  readonly elements: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** SHA-256 of the bytes, if the file carries it. */
  readonly sha256?: string;
  /** The file of a sharded model that holds it. */
  readonly shard?: string;
}

export interface Tensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Facts about the file as a whole. */
export interface FileFacts {
  readonly format: "deathtensors" | "safetensors" | "manifest" | "sharded";
  /** What to show people: a file name or URL without secrets. */
  readonly name: string;
  readonly fileBytes: number;
  readonly headerBytes: number;
  /** Bytes of the tensors as they are stored, and uncompressed. */
  readonly storedBytes: number;
  readonly dataBytes: number;
  /** Where the data starts in the file. */
  readonly dataStart: number;
  readonly tensors: number;
  /** Elements of all tensors, tied ones counted once. */
  readonly parameters: number;
  readonly compressed: boolean;
  /** Whether there is a SHA-256 footer. */
  readonly checksum: boolean;
  /** Whether every tensor carries a digest. */
  readonly digests: boolean;
  readonly root?: string;
  readonly createdBy?: string;
  /** Of a sharded model: its files. */
  readonly shards?: readonly {
    readonly name: string;
    readonly tensors: number;
    readonly bytes: number;
    readonly root?: string;
  }[];
  /** The commit that a Hub reference was pinned to. */
  readonly commit?: string;
}

/** Statistics of a tensor's finite elements; NaN where there are none. */
export interface Stats {
  readonly dtype: Dtype;
  readonly count: number;
  /** Exact; a bigint for integers beyond 2^53. */
  readonly min: number | bigint;
  readonly max: number | bigint;
  readonly absmax: number | bigint;
  readonly mean: number;
  /** Of the population. */
  readonly stddev: number;
  readonly l2: number;
  /** Elements that are not zero. */
  readonly nnz: number;
  readonly nan: number;
  readonly posinf: number;
  readonly neginf: number;
  /** The share of the elements that was looked at, 1 if all. */
  readonly share: number;
}

export interface Histogram {
  /** `counts.length + 1` edges, the last bin closed. */
  readonly edges: Float64Array;
  readonly counts: Float64Array;
  readonly below: number;
  readonly above: number;
  readonly nan: number;
  readonly posinf: number;
  readonly neginf: number;
  readonly share: number;
}

export interface SampleOptions extends ReadOptions {
  /** Look at no more than about this many bytes, in evenly spaced pieces. Everything unless told. */
  maxBytes?: number;
}

export interface HistogramOptions extends SampleOptions {
  /** 64 unless told. */
  bins?: number;
  /** The smallest and largest finite value unless told; half of each if no double spans them. */
  range?: readonly [number, number];
}

/** Some of the rows or columns of a 2-D slice: `count` of them, every `step`th from `start` on. */
export interface Span {
  start: number;
  count: number;
  step?: number;
}

/** A 2-D slice of a tensor. */
export interface WindowRequest extends ReadOptions {
  /** The axes that run down and across. A tensor of rank 1 is one row, a scalar one cell. */
  axes?: readonly [number, number];
  /** A place on every axis; those of the two axes above are ignored. */
  index?: readonly number[];
  rows: Span;
  columns: Span;
}

export interface Window {
  readonly rows: number;
  readonly columns: number;
  /** Row by row; decoded, 64-bit integers rounded. */
  readonly values: Float64Array;
  /** Of `I64` and `U64`: the same values, exactly. */
  readonly integers?: BigInt64Array | BigUint64Array;
}

/** Statistics along one axis: entry `i` is of all elements whose index on the axis is `i`. */
export interface ChannelStats {
  readonly axis: number;
  readonly count: Float64Array;
  readonly min: Float64Array;
  readonly max: Float64Array;
  readonly mean: Float64Array;
  readonly stddev: Float64Array;
  readonly share: number;
}

/** A piece of a compressed file. */
export interface FrameInfo {
  /** In the file. */
  readonly stored: readonly [number, number];
  /** In the uncompressed data. */
  readonly data: readonly [number, number];
}

export interface VerifyReport {
  /** Undefined where the file carries nothing to check by. */
  readonly footer?: boolean;
  readonly root?: boolean;
  readonly frames?: boolean;
  /** By name: whether the tensor's bytes are the ones that were written. */
  readonly tensors: ReadonlyMap<string, boolean | undefined>;
  /** Every disagreement, as the error that reading would throw. */
  readonly errors: readonly TensorFileErrorShape[];
  /** Whether nothing disagrees, and everything was checked by something. */
  readonly verified: boolean;
}

export interface VerifyOptions extends ReadOptions {
  /** What to check; everything the file carries unless told. */
  parts?: readonly ("footer" | "root" | "tensors")[];
  /** Told of every tensor as it is done. */
  onTensor?: (name: string, sound: boolean | undefined) => void;
}

export interface Difference {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly shapeChanged: readonly { name: string; a: readonly number[]; b: readonly number[] }[];
  readonly dtypeChanged: readonly { name: string; a: Dtype; b: Dtype }[];
  readonly metadataChanged: readonly {
    name: string;
    a: Record<string, string>;
    b: Record<string, string>;
  }[];
  readonly globalMetadataChanged?: { a: Record<string, string>; b: Record<string, string> };
  readonly valueChanged: readonly string[];
  readonly equal: boolean;
}

export interface DiffOptions extends ReadOptions {
  /** Compare bytes even where both sides carry digests. */
  compareBytes?: boolean;
}

/** What went wrong, in the words and codes of the specification. */
export interface TensorFileErrorShape {
  /** The family: "header", "tensor", "frames", "integrity", "limit", "network", "usage", … */
  readonly kind: string;
  /** Stable, as in the specification: "header.json", "frames.decode", "network.cors", … */
  readonly code: string;
  readonly message: string;
  readonly tensor?: string;
  readonly expected?: string;
  readonly found?: string;
}

/** An open file, or a sharded model as if it were one. */
export interface TensorFile {
  readonly facts: FileFacts;
  readonly metadata: Readonly<Record<string, string>>;
  readonly root: string | undefined;
  readonly counters: TransferCounters;
  keys(): string[];
  has(name: string): boolean;
  info(name: string): TensorInfo;
  infos(): readonly TensorInfo[];
  /** The manifest sidecar's text. */
  manifest(): string;
  getTensor(name: string, options?: ReadOptions & { as?: "float32" | "bytes" }): Promise<Tensor>;
  /** Rows `start` to `start + count` of the first axis. */
  getSlice(
    name: string,
    start: number,
    count: number,
    options?: ReadOptions & { as?: "float32" | "bytes" },
  ): Promise<Tensor>;
  getWindow(name: string, request: WindowRequest): Promise<Window>;
  stats(name: string, options?: SampleOptions): Promise<Stats>;
  histogram(name: string, options?: HistogramOptions): Promise<Histogram>;
  channelStats(name: string, axis: number, options?: SampleOptions): Promise<ChannelStats>;
  /** The frames of a compressed file, or those that hold a tensor; empty if it is not compressed. */
  frames(name?: string, options?: ReadOptions): Promise<readonly FrameInfo[]>;
  verify(name?: string, options?: VerifyOptions): Promise<VerifyReport>;
  /** The problems with regard to a schema, in the JSON form of the specification; none if it fits. */
  validate(schema: unknown): readonly TensorFileErrorShape[];
  /** The bytes of a tensor as a NumPy `.npy` file, where NumPy has the dtype; else as float32. */
  npy(name: string, options?: ReadOptions): Promise<Uint8Array>;
  close(): void;
}

/** What a Hub repository holds, for choosing a file. */
export interface HubEntry {
  readonly path: string;
  readonly size: number;
  /** Whether `openTensorFile` opens such files. */
  readonly openable: boolean;
  /** Of the content, where the Hub says it. */
  readonly sha256?: string;
}

/** What a text means as a source. */
export type ParsedSource =
  | {
      readonly kind: "hub";
      readonly repoType: "model" | "dataset" | "space";
      readonly repo: string;
      /** A branch, tag or commit; `main` unless told. */
      readonly revision: string;
      /** Of a file or folder; empty for the repository itself. */
      readonly path: string;
    }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "path"; readonly path: string };

/** How the package works here. */
export interface EngineInfo {
  readonly version: string;
  /** Workers that the heavy work would go to; 0 if it is done on this thread. */
  readonly workers: number;
  /** Whether a worker could not be started, so that this thread does the work. */
  readonly fallback: boolean;
  /** Who computes SHA-256. */
  readonly sha256: "crypto.subtle" | "wasm";
}
