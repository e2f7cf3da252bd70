import { TensorFileError, usage } from "../errors.ts";
import type { HubEntry, ParsedSource } from "../types.ts";
import type { Fetcher } from "./fetcher.ts";

export const HUB = "https://huggingface.co";

/** A file or folder of a Hub repository. */
export type HubPlace = Extract<ParsedSource, { kind: "hub" }>;

const REPOSITORY = /^[\w.-]+\/[\w.-]+$/;
const COMMIT = /^[0-9a-f]{40}$/;
const OPENABLE =
  /\.(deathtensors|dt|safetensors)$|\.safetensors\.index\.json$|\.(deathtensors|dt)\.json$/i;
/** A repository with more files than this is not listed in full. */
const MOST_PAGES = 200;

/** Whether `openTensorFile` opens files of that name. */
export function isOpenable(path: string): boolean {
  return OPENABLE.test(path);
}

/**
 * What a text means as a source, without asking anyone. A repository or folder has a path that
 * names no file; `org/name` counts as a repository here.
 */
export function parseSource(text: string, options: { hubEndpoint?: string } = {}): ParsedSource {
  if (typeof text !== "string") {
    throw usage("source", "this is no text that names a source", { found: typeof text });
  }
  const wanted = text.trim();
  const place = parseHub(wanted, options.hubEndpoint);
  if (place) return place;
  const [id, revision] = splitRevision(wanted);
  if (REPOSITORY.test(id) && !isOpenable(id) && !id.startsWith(".")) {
    return { kind: "hub", repoType: "model", repo: id, revision: revision ?? "main", path: "" };
  }
  return /^[a-z][a-z0-9+.-]+:/i.test(wanted)
    ? { kind: "url", url: wanted }
    : { kind: "path", path: wanted };
}

/** A Hub reference or page, or undefined. */
export function parseHub(text: string, endpoint = HUB): HubPlace | undefined {
  if (/^hf:\/\//i.test(text)) return parseReference(text);
  const local = /^(?:www\.)?(?:huggingface\.co|hf\.co)\//i.test(text) ? `https://${text}` : text;
  if (!/^https?:/i.test(local) || !URL.canParse(local)) return undefined;
  return parsePage(new URL(local), endpoint);
}

/** `hf://[datasets/]org/name[@rev]/path[@rev]` */
function parseReference(text: string): HubPlace {
  const parts = text.slice("hf://".length).split("/");
  const repoType = takeType(parts);
  const owner = parts.shift() ?? "";
  const [name, early] = splitRevision(parts.shift() ?? "");
  let revision = early;
  // A revision such as refs/pr/1 holds slashes itself.
  if (revision === "refs" && parts.length >= 2)
    revision = ["refs", ...parts.splice(0, 2)].join("/");
  let path = parts.join("/");
  const late = /^(.*)@([^@/]+|refs\/[^@/]+\/[^@/]+)$/.exec(path);
  if (late && revision === undefined) [, path, revision] = late;
  return hubPlace(repoType, `${owner}/${name}`, revision ?? "main", path, text);
}

/** A page of the Hub: `/org/name[/(blob|resolve|tree|raw|…)/rev/path]`. */
function parsePage(url: URL, endpoint: string): HubPlace | undefined {
  const hub = new URL(endpoint);
  const wellKnown = hub.origin === HUB && /^(www\.)?(huggingface\.co|hf\.co)$/.test(url.hostname);
  if (url.origin !== hub.origin && !wellKnown) return undefined;
  const base = hub.pathname.replace(/\/$/, "");
  if (!wellKnown && !url.pathname.startsWith(`${base}/`)) return undefined;
  const path = wellKnown ? url.pathname : url.pathname.slice(base.length);
  const parts = path.split("/").filter(Boolean).map(decode);
  const repoType = takeType(parts);
  const verb = parts.findIndex((part, at) => at <= 2 && at >= 1 && VERBS.has(part));
  if (verb < 0) {
    const id = parts.join("/");
    return REPOSITORY.test(id) ? hubPlace(repoType, id, "main", "", url.href) : undefined;
  }
  const id = parts.slice(0, verb).join("/");
  const rest = parts.slice(verb + 1);
  // An unencoded refs/pr/1 in the address.
  const revision = rest[0] === "refs" ? rest.splice(0, 3).join("/") : (rest.shift() ?? "main");
  return hubPlace(repoType, id, revision, rest.join("/"), url.href);
}

const VERBS = new Set(["blob", "resolve", "tree", "raw", "blame", "edit", "commits"]);

function takeType(parts: string[]): HubPlace["repoType"] {
  if (parts[0] === "models") parts.shift();
  if (parts[0] !== "datasets" && parts[0] !== "spaces") return "model";
  return parts.shift() === "datasets" ? "dataset" : "space";
}

function hubPlace(
  repoType: HubPlace["repoType"],
  repo: string,
  revision: string,
  path: string,
  given: string,
): HubPlace {
  const sound = /^[\w.-]+(\/[\w.-]+)?$/.test(repo) && !repo.split("/").some(isDots);
  if (!sound || !revision || path.split("/").some(isDots) || isDots(revision)) {
    throw usage("source", "this is not a reference to a file on the Hub", {
      expected: "hf://org/name/path@revision, or the address of a page",
      found: given,
    });
  }
  return { kind: "hub", repoType, repo, revision, path };
}

function isDots(part: string): boolean {
  return part === "." || part === "..";
}

function splitRevision(text: string): [string, string | undefined] {
  const at = text.indexOf("@");
  return at < 0 ? [text, undefined] : [text.slice(0, at), decode(text.slice(at + 1))];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The Hub's own interface, as far as it takes to find a file and pin it to a commit. */
export class Hub {
  readonly #fetcher: Fetcher;
  readonly #endpoint: string;

  constructor(fetcher: Fetcher, endpoint = HUB) {
    this.#fetcher = fetcher;
    this.#endpoint = endpoint.replace(/\/$/, "");
  }

  /** The same place, at the commit that its revision means now. */
  async pin(place: HubPlace, signal?: AbortSignal): Promise<HubPlace> {
    if (COMMIT.test(place.revision)) return place;
    const url = `${this.#api(place)}/revision/${encodeURIComponent(place.revision)}`;
    const { value } = await this.#fetcher.json(`${url}?expand%5B%5D=sha`, signal);
    const { sha } = value as { sha?: unknown };
    if (typeof sha !== "string" || !COMMIT.test(sha)) throw malformed("no commit for the revision");
    return { ...place, revision: sha };
  }

  /** Where the bytes are. */
  url(place: HubPlace): string {
    const prefix = place.repoType === "model" ? "" : `${place.repoType}s/`;
    return `${this.#endpoint}/${prefix}${place.repo}/resolve/${encodeURIComponent(place.revision)}/${encodePath(place.path)}`;
  }

  /** The files under a place. */
  async list(place: HubPlace, signal?: AbortSignal, recursive = true): Promise<HubEntry[]> {
    const entries: HubEntry[] = [];
    const folder = place.path ? `/${encodePath(place.path)}` : "";
    let url: string | undefined =
      `${this.#api(place)}/tree/${encodeURIComponent(place.revision)}${folder}`;
    if (recursive) url += "?recursive=true";
    for (let page = 0; url && page < MOST_PAGES; page++) {
      const { value, link }: { value: unknown; link: string | null } = await this.#fetcher.json(
        url,
        signal,
      );
      if (!Array.isArray(value)) throw malformed("a listing is not a list");
      for (const entry of value) if (entry?.type === "file") entries.push(hubEntry(entry));
      url = this.#next(link, url);
    }
    return entries;
  }

  /** A file's size as the tree says it. */
  async size(place: HubPlace, signal?: AbortSignal): Promise<number | undefined> {
    const folder = place.path.includes("/") ? place.path.replace(/\/[^/]*$/, "") : "";
    const entries = await this.list({ ...place, path: folder }, signal, false);
    return entries.find(({ path }) => path === place.path)?.size;
  }

  #api({ repoType, repo }: HubPlace): string {
    return `${this.#endpoint}/api/${repoType}s/${repo}`;
  }

  /** The next page; never on another origin, since the token goes along. */
  #next(link: string | null, url: string): string | undefined {
    const found = /<([^>]+)>\s*;[^,]*rel="?next"?/.exec(link ?? "");
    if (!found) return undefined;
    const next = new URL(found[1], url);
    if (next.origin !== new URL(this.#endpoint).origin) throw malformed("a page on another origin");
    return next.href;
  }
}

function hubEntry(entry: Record<string, unknown>): HubEntry {
  const { path, size } = entry;
  if (typeof path !== "string" || !Number.isSafeInteger(size) || (size as number) < 0) {
    throw malformed("an entry without a path or size");
  }
  const { oid } = (entry.lfs ?? {}) as { oid?: unknown };
  const sha256 = typeof oid === "string" ? oid.replace(/^sha256:/, "") : undefined;
  const known = { path, size: size as number, openable: isOpenable(path) };
  return sha256 === undefined ? known : { ...known, sha256 };
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

function malformed(what: string): TensorFileError {
  return new TensorFileError({
    code: "network.hub",
    message: `the Hub's answer cannot be understood: ${what}`,
  });
}
