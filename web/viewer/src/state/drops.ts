/** What was dropped or picked, and what of it is opened. */

export interface Chosen<F> {
  readonly main: F | undefined;
  /** A second whole file, to compare the first with. */
  readonly second: F | undefined;
  readonly all: readonly F[];
}

/** Of an index and its shards, the index; of a folder, what can be opened. */
export function chosenOf<F extends { readonly name: string }>(all: readonly F[]): Chosen<F> {
  const tensors = all.filter(({ name }) => /\.(deathtensors|dt|safetensors)$/i.test(name));
  const index = all.find(({ name }) => name.endsWith(".index.json"));
  if (index) return { main: index, second: undefined, all };
  const whole = tensors.filter(({ name }) => !/-\d{4,}-of-\d{4,}\./.test(name));
  const main = whole[0] ?? tensors[0] ?? all[0];
  // With shards among them, what is whole is their index.
  const second = whole.length === 2 && tensors.length === 2 ? whole[1] : undefined;
  return { main, second, all };
}

/** The files of a drop; of folders, those that lie in them. */
export async function filesOf(transfer: DataTransfer): Promise<File[]> {
  // All of this must be asked for at once: afterwards the drop is gone.
  const files = [...transfer.files];
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry?.() ?? []);
  if (!entries.some(({ isDirectory }) => isDirectory)) return files;
  return (await Promise.all(entries.map(filesIn))).flat();
}

async function filesIn(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) {
    return [await new Promise<File>((got, no) => (entry as FileSystemFileEntry).file(got, no))];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: FileSystemEntry[] = [];
  // It answers in portions, of which the last is empty.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((got, no) => reader.readEntries(got, no));
    if (some.length === 0) break;
    found.push(...some);
  }
  const files = await Promise.all(found.filter(({ isFile }) => isFile).map(filesIn));
  return files.flat().sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A link that was dropped, as from another page. */
export function linkOf(transfer: DataTransfer): string | undefined {
  const text = transfer.getData("text/uri-list") || transfer.getData("text/plain");
  return text.split(/\r?\n/).find((line) => line.trim() !== "" && !line.startsWith("#"));
}
