/** Small files that the tests write themselves, so that each shows what is in it. */
import { createHash } from "node:crypto";

/** A safetensors file of `[name, dtype, shape, bytes]`. */
export function safetensors(tensors, metadata) {
  const header = metadata === undefined ? {} : { __metadata__: metadata };
  let at = 0;
  const entries = tensors.map(([name, dtype, shape, bytes]) => {
    const offsets = [at, at + bytes.byteLength];
    at = offsets[1];
    return [name, { dtype, shape, data_offsets: offsets }];
  });
  // By hand, since objects put names that are numbers first.
  const fields = [...Object.entries(header), ...entries].map(
    ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`,
  );
  const text = Buffer.from(`{${fields.join()}}`);
  const padding = Buffer.alloc(-text.length & 7, " ");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length + padding.length));
  return Buffer.concat([length, text, padding, ...tensors.map(([, , , bytes]) => view(bytes))]);
}

/** The index of a model that is spread over `[file, names]`. */
export function shardIndex(files) {
  const weight_map = Object.fromEntries(
    files.flatMap(([file, names]) => names.map((name) => [name, file])),
  );
  return Buffer.from(JSON.stringify({ metadata: {}, weight_map }));
}

export const sha256 = (bytes) => createHash("sha256").update(view(bytes)).digest("hex");

function view({ buffer, byteOffset, byteLength }) {
  return Buffer.from(buffer, byteOffset, byteLength);
}
