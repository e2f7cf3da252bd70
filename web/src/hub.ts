import { asError, usage } from "./errors.ts";
import { Fetcher } from "./source/fetcher.ts";
import { Hub, type HubPlace, parseSource } from "./source/hub.ts";
import type { HubEntry, OpenOptions } from "./types.ts";

/** The files of a Hub repository: `org/name`, `org/name@rev`, a reference, or a page of it. */
export async function listHub(repository: string, options: OpenOptions = {}): Promise<HubEntry[]> {
  try {
    const place = parseSource(repository, options);
    if (place.kind !== "hub") {
      throw usage("source", "this is not a repository on the Hub", {
        expected: "org/name, hf://org/name, or the address of its page",
        found: repository.slice(0, 200),
      });
    }
    return await new Hub(new Fetcher(options), options.hubEndpoint).list(
      folder(place),
      options.signal,
    );
  } catch (error) {
    throw asError(error);
  }
}

/** A page of a file stands for the folder around it. */
function folder(place: HubPlace): HubPlace {
  const named = /\.[a-z0-9]+$/i.test(place.path);
  return named ? { ...place, path: place.path.replace(/\/?[^/]*$/, "") } : place;
}
