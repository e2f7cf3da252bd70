/** What the tests share: where things are, and what Python made for them. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const vectors = `${root}tests/vectors`;
export const fixtures = `${root}build/web-fixtures`;

/** The interpreter that has the Python package, numpy and the real weights. */
export function python() {
  const found = process.env.DEATHTENSORS_PYTHON ?? `${root}build/venv/bin/python`;
  if (existsSync(found)) return found;
  throw new Error(
    `${found} is missing; \`make build\` makes it, DEATHTENSORS_PYTHON names another`,
  );
}

/** Makes the fixtures anew, if the script that makes them or the package changed. */
export function makeFixtures() {
  execFileSync(python(), [`${root}tests/web/fixtures.py`, fixtures], { stdio: "inherit" });
}

export function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

/** The code and tensor of the error that some work ends in. */
export async function refusal(work) {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error("this was not refused");
}
