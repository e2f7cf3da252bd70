/** The viewer's own logic, which is TypeScript that only its bundler understands. */
import { mkdirSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { build } from "vite";
import { root } from "./support.js";

/** The modules of `web/viewer/src` by these names, as one. */
export async function bundled(...names) {
  const entry = "\0entry";
  const result = await build({
    configFile: false,
    logLevel: "error",
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === entry ? id : undefined),
        load: (id) =>
          id === entry
            ? names.map((name) => `export * from "${root}web/viewer/src/${name}.ts";`).join("\n")
            : undefined,
      },
    ],
    resolve: { alias: { deathtensors: `${root}web/src/index.ts` } },
    build: {
      target: "es2022",
      write: false,
      lib: { entry, formats: ["es"], fileName: "entry" },
      rolldownOptions: { input: entry, external: [/^node:/] },
      minify: false,
    },
  });
  const [{ output }] = [result].flat();
  const folder = `${root}build/viewer-logic`;
  mkdirSync(folder, { recursive: true });
  const path = `${folder}/${names.join("+").replaceAll("/", ".")}.mjs`;
  writeFileSync(path, output[0].code);
  return import(pathToFileURL(path).href);
}
