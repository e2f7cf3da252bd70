/** What is measured, the same in Node and in a page. Speeds are in MB of data per second. */

const PASSES = 7;
const MIB = 1 << 20;
const DTYPES = "F32 BF16 F16 F64 C64 F8_E4M3 F4 I8 I16 I32 I64 BOOL".split(" ");

/** The upper half of every binary32. */
export function toBf16(f32) {
  const halves = new Uint16Array(f32.buffer, f32.byteOffset, f32.length / 2);
  return new Uint8Array(
    Uint16Array.from({ length: f32.length / 4 }, (_, i) => halves[2 * i + 1]).buffer,
  );
}

/** Finite binary16 of the same bytes but one bit: what they mean is of no matter here. */
function toF16(bf16) {
  return bf16.map((byte, i) => (i % 2 ? byte & 0xbf : byte));
}

/**
 * All rows, `{group, name, columns: {title: speed}}`. `ours` and `peers` are wasm-bindgen's
 * modules, `zstd` is @bokuweb/zstd-wasm, which also makes the frames.
 */
export async function measure({ ours, peers, zstd, fzstd }, weights) {
  const data = { F32: weights, BF16: toBf16(weights) };
  const decoders = {
    ours: (frame, length) => ours.decodeWhole(frame, length),
    "structured-zstd": (frame, length) => peers.structured(frame, length),
    ruzstd: (frame, length) => peers.ruzstd(frame, length),
    "C zstd (@bokuweb/zstd-wasm)": (frame) => zstd.decompress(frame),
    fzstd: (frame, length) => fzstd.decompress(frame, new Uint8Array(length)),
  };
  const rows = [];
  for (const [name, decode] of Object.entries(decoders)) {
    const columns = {};
    for (const [dtype, bytes] of Object.entries(data)) {
      for (const size of [MIB / 4, MIB]) {
        const pieces = cut(bytes, size);
        const frames = pieces.map((piece) => zstd.compress(piece, 3));
        check(name, pieces, frames, decode);
        const all = () => {
          for (const [nth, frame] of frames.entries()) decode(frame, pieces[nth].length);
        };
        columns[`${dtype}, ${size / 1024} KiB`] = await speed(bytes.length, all);
      }
    }
    rows.push({ group: "zstd", name, columns });
  }
  const digest = async (name, of) => {
    const all = async () => {
      for (const piece of cut(weights, MIB)) await of(piece);
    };
    rows.push({ group: "SHA-256", name, columns: { "1 MiB": await speed(weights.length, all) } });
  };
  await digest("ours", (piece) => hash(ours, piece));
  await digest("crypto.subtle", (piece) => crypto.subtle.digest("SHA-256", piece));
  for (const dtype of DTYPES) {
    const bytes = dtype === "F16" ? toF16(data.BF16) : (data[dtype] ?? weights);
    const all = () => statistics(ours, dtype, bytes);
    rows.push({
      group: "statistics",
      name: dtype,
      columns: { ours: await speed(bytes.length, all) },
    });
  }
  return rows;
}

function cut(bytes, size) {
  const count = Math.ceil(bytes.length / size);
  return Array.from({ length: count }, (_, nth) => bytes.slice(nth * size, (nth + 1) * size));
}

function check(name, pieces, frames, decode) {
  frames.forEach((frame, nth) => {
    const got = decode(frame, pieces[nth].length);
    const same =
      got?.length === pieces[nth].length && got.every((byte, i) => byte === pieces[nth][i]);
    if (!same) throw new Error(`${name} decodes frame ${nth} wrongly`);
  });
}

function hash(ours, piece) {
  const hasher = new ours.Sha256();
  hasher.update(piece);
  return hasher.finish();
}

function statistics(ours, dtype, bytes) {
  const reducer = new ours.StatsReducer(dtype);
  for (let at = 0; at < bytes.length; at += MIB) reducer.update(bytes.subarray(at, at + MIB));
  return reducer.finish();
}

/** Of the best of some passes, since others may work on the machine. */
async function speed(bytes, pass) {
  let best = Number.POSITIVE_INFINITY;
  for (let nth = 0; nth < PASSES; nth++) {
    const start = performance.now();
    await pass();
    best = Math.min(best, performance.now() - start);
  }
  return bytes / 1000 / best;
}
