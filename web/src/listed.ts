import type { As, OpenFile } from "./file.ts";
import type { Names } from "./inside.ts";
import type {
  ChannelStats,
  FileFacts,
  Histogram,
  HistogramOptions,
  ReadOptions,
  SampleOptions,
  Stats,
  Tensor,
  TensorInfo,
  TransferCounters,
  Window,
  WindowRequest,
} from "./types.ts";

/** What files of every kind tell from their catalogue alone. */
export abstract class Listed {
  readonly facts: FileFacts;
  readonly metadata: Readonly<Record<string, string>>;
  readonly counters: TransferCounters;
  protected readonly names: Names;

  constructor(
    facts: FileFacts,
    metadata: Readonly<Record<string, string>>,
    counters: TransferCounters,
    names: Names,
  ) {
    this.facts = facts;
    this.metadata = metadata;
    this.counters = counters;
    this.names = names;
  }

  get root(): string | undefined {
    return this.facts.root;
  }

  keys(): string[] {
    return this.infos().map(({ name }) => name);
  }

  has(name: string): boolean {
    return this.names.has(name);
  }

  info(name: string): TensorInfo {
    return this.names.get(name);
  }

  infos(): readonly TensorInfo[] {
    return this.names.infos;
  }
}

/** A file whose tensors are in others. */
export abstract class Forwarding extends Listed {
  /** The file that holds a tensor. */
  protected abstract holder(name: string): OpenFile | Promise<OpenFile>;

  async getTensor(name: string, options?: As): Promise<Tensor> {
    return (await this.holder(name)).getTensor(name, options);
  }

  async getSlice(name: string, start: number, count: number, options?: As): Promise<Tensor> {
    return (await this.holder(name)).getSlice(name, start, count, options);
  }

  async getWindow(name: string, request: WindowRequest): Promise<Window> {
    return (await this.holder(name)).getWindow(name, request);
  }

  async stats(name: string, options?: SampleOptions): Promise<Stats> {
    return (await this.holder(name)).stats(name, options);
  }

  async histogram(name: string, options?: HistogramOptions): Promise<Histogram> {
    return (await this.holder(name)).histogram(name, options);
  }

  async channelStats(name: string, axis: number, options?: SampleOptions): Promise<ChannelStats> {
    return (await this.holder(name)).channelStats(name, axis, options);
  }

  async npy(name: string, options?: ReadOptions): Promise<Uint8Array> {
    return (await this.holder(name)).npy(name, options);
  }
}
