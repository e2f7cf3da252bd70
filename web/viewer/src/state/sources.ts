import { type ParsedSource, parseSource } from "deathtensors";

/** What people type into the box for a source, and what it leads to. */

export const HUB = "https://huggingface.co";

export type Repository = Extract<ParsedSource, { kind: "hub" }>;

export type Target =
  | { readonly kind: "file"; readonly address: string }
  | { readonly kind: "repository"; readonly place: Repository; readonly text: string };

/** Throws what the package throws for references that make no sense. */
export function target(text: string, hub: string): Target {
  const given = text.trim();
  const meant = parseSource(given, { hubEndpoint: hub });
  if (meant.kind === "hub") {
    const folder = !/\.\w+$/.test(meant.path);
    return folder
      ? { kind: "repository", place: meant, text: given }
      : { kind: "file", address: given };
  }
  // On a page, a path is one relative to it.
  const url = URL.canParse(given, location.href) ? new URL(given, location.href).href : given;
  return { kind: "file", address: url };
}

/** Whether an address of the Hub may come from a link, which anyone can make. */
export function hubFromLink(hub: string | undefined): string | undefined {
  if (!hub || !URL.canParse(hub, location.href)) return undefined;
  const url = new URL(hub, location.href);
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  return here || url.origin === location.origin ? url.origin : undefined;
}

/** The source of one file of a repository. */
export function hubFile({ repoType, repo, revision }: Repository, path: string): string {
  const type = repoType === "model" ? "" : `${repoType}s/`;
  return `hf://${type}${repo}/${path}${revision === "main" ? "" : `@${revision}`}`;
}
