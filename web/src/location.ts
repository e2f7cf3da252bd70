import { usage } from "./errors.ts";
import { blobFeed, customFeed, type Feed, memoryFeed } from "./source/feed.ts";
import { cleanUrl, type Fetcher } from "./source/fetcher.ts";
import { openHttp } from "./source/http.ts";
import { Hub, type HubPlace, parseHub } from "./source/hub.ts";
import { beside, isNode, nodeFeed } from "./source/node.ts";
import type { ByteSource, OpenOptions, Source } from "./types.ts";

/** An open source: its bytes, and how to get to the files beside it. */
export interface Located {
  readonly feed: Feed;
  /** The first bytes, if they came with the opening. */
  readonly head?: Uint8Array;
  readonly commit?: string;
  /** A file in the same folder, or undefined where there is no such place. */
  sibling?(name: string): Promise<Source | Place>;
  close?(): void;
}

/** A file on the Hub that is pinned already. */
export class Place {
  readonly hub: HubPlace;

  constructor(hub: HubPlace) {
    this.hub = hub;
  }
}

/** Opens whatever a source is. */
export async function locate(
  source: Source | Place,
  options: OpenOptions,
  fetcher: Fetcher,
): Promise<Located> {
  const { signal, siblings } = options;
  const located = await locateAlone(source, options, fetcher, signal);
  if (!siblings) return located;
  const own = located.sibling;
  const sibling = async (name: string) => {
    const found = siblings(name) ?? (await own?.(name));
    if (found !== undefined) return found;
    throw usage(
      "unavailable",
      `the file ${JSON.stringify(name)}, which belongs to this one, is not here`,
    );
  };
  return { ...located, sibling };
}

async function locateAlone(
  source: Source | Place,
  options: OpenOptions,
  fetcher: Fetcher,
  signal?: AbortSignal,
): Promise<Located> {
  if (source instanceof Place) return locateHub(source.hub, options, fetcher, signal);
  if (typeof source === "string") return locateText(source, options, fetcher, signal);
  if (source instanceof URL) return locateText(source.href, options, fetcher, signal);
  if (typeof Blob !== "undefined" && source instanceof Blob) return { feed: blobFeed(source) };
  if (source instanceof ArrayBuffer) return { feed: memoryFeed(new Uint8Array(source)) };
  if (ArrayBuffer.isView(source)) {
    const { buffer, byteOffset, byteLength } = source;
    return { feed: memoryFeed(new Uint8Array(buffer, byteOffset, byteLength)) };
  }
  if (typeof (source as Partial<ByteSource> | null)?.read === "function") {
    return { feed: customFeed(source as ByteSource) };
  }
  throw usage("source", "this cannot be opened", {
    expected:
      "a URL, a Hub reference, a path, a Blob, bytes, or an object with byteLength and read",
    found: source === null ? "null" : typeof source,
  });
}

async function locateText(
  text: string,
  options: OpenOptions,
  fetcher: Fetcher,
  signal?: AbortSignal,
): Promise<Located> {
  const wanted = text.trim();
  const place = parseHub(wanted, options.hubEndpoint);
  if (place) return locateHub(place, options, fetcher, signal);
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(wanted)?.[1].toLowerCase();
  if (scheme === "file" && isNode()) {
    const path = decodeURIComponent(new URL(wanted).pathname);
    // On Windows the path of a URL has a slash before the drive.
    return locatePath(path.replace(/^\/(?=[a-z]:)/i, ""));
  }
  if (scheme === undefined && isNode()) return locatePath(text);
  if (scheme === "blob" || scheme === "data") {
    const response = await (options.fetch ?? fetch)(wanted, { signal });
    return { feed: blobFeed(await response.blob(), `a ${scheme}: address`) };
  }
  const url = absolute(wanted);
  if (!/^https?:$/.test(url.protocol)) {
    throw usage("source", "only http and https addresses can be opened", { found: url.protocol });
  }
  url.hash = "";
  const { feed, head } = await openHttp(
    { url: url.href, name: cleanUrl(url.href) },
    fetcher,
    signal,
  );
  const sibling = async (name: string) => {
    const beside = new URL(url);
    beside.pathname = url.pathname.replace(/[^/]*$/, () => encodeURIComponent(name));
    return beside;
  };
  return { feed, head, sibling };
}

function absolute(text: string): URL {
  const base = typeof document === "undefined" ? globalThis.location?.href : document.baseURI;
  if (text !== "" && URL.canParse(text, base)) return new URL(text, base);
  throw usage("source", "this is not an address", { found: text.slice(0, 200) });
}

async function locatePath(path: string): Promise<Located> {
  const feed = await nodeFeed(path);
  return { feed, sibling: (name) => beside(path, name), close: () => feed.close() };
}

async function locateHub(
  place: HubPlace,
  { hubEndpoint }: OpenOptions,
  fetcher: Fetcher,
  signal?: AbortSignal,
): Promise<Located> {
  if (place.path === "") {
    throw usage("source", "this is a repository, not a file; listHub lists its files", {
      found: place.repo,
    });
  }
  const hub = new Hub(fetcher, hubEndpoint);
  const pinned = await hub.pin(place, signal);
  const { feed, head } = await openHttp(
    {
      url: hub.url(pinned),
      name: `hf://${place.repoType === "model" ? "" : `${place.repoType}s/`}${place.repo}/${place.path}`,
      sizeHint: (signal) => hub.size(pinned, signal),
    },
    fetcher,
    signal,
  );
  const sibling = async (name: string) =>
    new Place({ ...pinned, path: place.path.replace(/[^/]*$/, () => name) });
  return { feed, head, sibling, commit: pinned.revision };
}
