import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** How Chromium is started: without what would ask anybody else for anything. */
export const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Where Chromium is. It is installed if need be: a test that does not run shows nothing. */
export function findChromium() {
  const found = look();
  if (found) return found;
  if (process.getuid?.() === 0) {
    const run = (...words) => spawnSync(words[0], words.slice(1), { stdio: "inherit" });
    run("apt-get", "update", "-qq");
    // Without fonts nothing has a width.
    const fonts = ["fonts-dejavu-core", "fonts-liberation"];
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", ...fonts);
    const installed = look();
    if (installed) return installed;
  }
  console.error("e2e: Chromium is needed: apt-get install chromium, or set CHROMIUM to its path");
  process.exit(1);
}

function look() {
  return [process.env.CHROMIUM, ...PLACES].find((path) => path && isProgram(path));
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
