import type { TensorFileErrorShape } from "deathtensors";

/** A failure in plain words: what was tried, what came back, what the reader can do. */
export interface Problem {
  readonly tried: string;
  readonly title: string;
  readonly message: string;
  readonly kind: string;
  readonly code: string;
  readonly tensor?: string;
  readonly expected?: string;
  readonly found?: string;
  readonly advice: string;
}

export function isAbort(error: unknown): boolean {
  return (
    shaped(error)?.code === "io.interrupted" ||
    (error instanceof Error && error.name === "AbortError")
  );
}

export function problem(tried: string, error: unknown): Problem {
  const shape = shaped(error);
  if (!shape) {
    return {
      tried,
      title: FAULT[0],
      message: error instanceof Error ? error.message : String(error),
      kind: "viewer",
      code: "viewer.internal",
      advice: FAULT[1],
    };
  }
  const [title, advice] = words(shape);
  return {
    tried,
    title,
    advice,
    message: shape.message,
    kind: shape.kind,
    code: shape.code,
    ...(shape.tensor !== undefined && { tensor: shape.tensor }),
    ...(shape.expected !== undefined && { expected: shape.expected }),
    ...(shape.found !== undefined && { found: shape.found }),
  };
}

export function shaped(error: unknown): TensorFileErrorShape | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { code, kind, message } = error as Partial<TensorFileErrorShape>;
  const whole = typeof code === "string" && typeof kind === "string" && typeof message === "string";
  return whole ? (error as TensorFileErrorShape) : undefined;
}

type Words = readonly [title: string, advice: string];

const FAULT: Words = [
  "Something went wrong in this page",
  "This is a fault of the viewer, not of your file. Reloading the page may help; please report it with the words above.",
];

const DOWNLOAD = "Or download it, and drop it onto this page.";

/** By code, or by what the code begins with; the first that fits. */
const WORDS: readonly (readonly [RegExp, Words])[] = [
  [
    /^network\.cors/,
    [
      "The server did not let this page read the file",
      `Either it cannot be reached, or it does not allow other sites to read it: it must send “Access-Control-Allow-Origin”, and should expose “Content-Range”. Check the address by opening it in a tab of its own. ${DOWNLOAD}`,
    ],
  ],
  [
    /^network\.not_found/,
    [
      "There is no such file",
      "Check the address for typing errors. For a Hub repository, leave the file’s name out to see what it holds. Private repositories look absent to those without a token: the key button takes one.",
    ],
  ],
  [
    /^network\.denied/,
    [
      "The file is private or gated",
      "If it is gated, accept its terms on its page of the Hub. Then enter a token that may read it (the key button). The token stays in this tab and goes to the Hub’s own address only.",
    ],
  ],
  [
    /^network\.range/,
    [
      "The server does not send parts of files",
      `Looking inside would mean downloading all of it, so this page stopped. ${DOWNLOAD}`,
    ],
  ],
  [
    /^network\.changed/,
    [
      "The file changed while it was read",
      "What was read before no longer belongs to it. Open it again to see the new one.",
    ],
  ],
  [
    /^network\.offline/,
    ["This device is offline", "Connect it, then try again. Files from this machine still open."],
  ],
  [
    /^network\.(status|timeout|truncated)/,
    [
      "The server could not answer",
      "It was asked several times. It may be busy, or limit how often it is asked: try again in a minute.",
    ],
  ],
  [
    /^network\./,
    [
      "The file could not be fetched",
      `Check the address and the connection, then try again. ${DOWNLOAD}`,
    ],
  ],
  [
    /^io\./,
    [
      "The file can no longer be read",
      "It was changed, moved or deleted since it was chosen, or is a folder. Choose it again.",
    ],
  ],
  [
    /^not_found\.file/,
    [
      "A file that belongs to it is not here",
      "A model in several files takes all of them: drop the index and its shards together, or the folder that holds them.",
    ],
  ],
  [
    /^not_found\./,
    ["There is no such tensor", "Choose one from the list: the file holds none of this name."],
  ],
  [/^internal\./, FAULT],
  [
    /^usage\.source/,
    [
      "This does not name a file",
      "Give a link, a Hub repository (org/name), a file in one (hf://org/name/file), or drop a file onto the page.",
    ],
  ],
  [
    /^limit\.memory/,
    [
      "That is too much for this browser’s memory",
      "Look at a part of it, or use the Python package for the whole.",
    ],
  ],
  [
    /^(prefix\.magic|prefix\.truncated|sniff|usage\.(format|unknown_format)|safetensors\.header)/,
    [
      "This is not a tensor file",
      "The page opens .deathtensors, .dt and .safetensors files, their indexes of shards, and manifests (.json). Links to a repository’s page or to a Git LFS pointer are not the file itself.",
    ],
  ],
  [
    /^prefix\.encrypted/,
    ["The file is encrypted", "No released version can read encrypted files."],
  ],
  [
    /^prefix\.(version|flags)|^header\.format_version/,
    [
      "The file is of a newer kind",
      "It was written by a later version than this page knows. Use a newer viewer.",
    ],
  ],
  [
    /truncated|^tensor\.bounds|^footer\.truncated/,
    [
      "The file ends too early",
      "Its catalogue says it should be longer: it was probably not copied or uploaded in full. Compare its size with the original’s, and fetch it again.",
    ],
  ],
  [
    /^integrity\.tensor|^frames\.checksum/,
    [
      "These are not the bytes that were written",
      "The tensor’s data was damaged or changed after writing. Other tensors may be sound: verify the file to see which. Fetch it again from where it came.",
    ],
  ],
  [
    /^integrity\./,
    [
      "The file is not the one that was written",
      "Its checksum differs: something was damaged or changed. Fetch it again from where it came.",
    ],
  ],
  [
    /^frames\./,
    [
      "The compressed data is damaged",
      "Some of it cannot be decoded. Tensors in other frames may still be readable: verify the file to see which are sound.",
    ],
  ],
  [
    /^limit\./,
    [
      "The file asks for more than this page allows",
      "The limits protect your browser’s memory from hostile files. The Python package and the command line allow higher ones.",
    ],
  ],
  [
    /^(header|tensor|safetensors|shards|manifest|sparse)\./,
    [
      "The file breaks the rules of its format",
      "It is damaged, or was written by something that does not follow the specification. It was refused as a whole, so nothing in it was trusted.",
    ],
  ],
  [
    /^usage\.(memory|too_large)/,
    [
      "That is too much for a browser’s memory",
      "Look at a part of it, or use the Python package for the whole.",
    ],
  ],
  [
    /^usage\./,
    ["That cannot be done here", "What was asked for does not fit the file; see the words above."],
  ],
];

function words({ code, kind }: TensorFileErrorShape): Words {
  for (const [pattern, found] of WORDS) if (pattern.test(code)) return found;
  for (const [pattern, found] of WORDS) if (pattern.test(`${kind}.`)) return found;
  return ["That did not work", "See what came back, above."];
}
