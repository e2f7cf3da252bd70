import type { Face } from "./engine/face.ts";
import type { Tensor, TensorInfo } from "./types.ts";

/** A tensor as a NumPy file. */
export async function npyBytes(
  face: Face,
  { dtype, shape }: TensorInfo,
  read: (as: "bytes" | "float32") => Promise<Tensor>,
): Promise<Uint8Array> {
  const { data } = await read(face.npyDtype(dtype) === undefined ? "float32" : "bytes");
  const head = face.npyHeader(dtype, Float64Array.from(shape));
  const file = new Uint8Array(head.byteLength + data.byteLength);
  file.set(head);
  file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), head.byteLength);
  return file;
}
