/** Of this package; the same as that of the Rust and Python ones. */
export const version = "0.4.0";
