import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Starts the model of the Hub; it ends with this process. */
export async function startHub(python, root) {
  const child = spawn(python, ["-m", "tests.hub"], {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const line = await new Promise((resolve, reject) => {
    lines.once("line", resolve);
    child.once("exit", (code) => reject(new Error(`the model of the Hub ended with ${code}`)));
  });
  const facts = JSON.parse(line);
  return { ...steering(facts), facts, stop: () => child.kill() };
}

/** What a test may ask of it. */
export function steering(facts) {
  const ask = async (method, what, value) => {
    const answer = await fetch(`${facts.hub}/__test__/${what}`, {
      method,
      ...(value !== undefined && { body: JSON.stringify(value) }),
    });
    if (!answer.ok) throw new Error(`${method} ${what}: ${await answer.text()}`);
    return answer.json();
  };
  return {
    ...facts,
    put: (id, files, texts, more = {}) => ask("POST", "repo", { id, files, texts, ...more }),
    fail: (...faults) => ask("POST", "faults", faults),
    set: (values) => ask("POST", "settings", values),
    log: () => ask("GET", "log"),
    forget: () => ask("DELETE", "log"),
    /** As it was when it started, but for its repositories. */
    async reset() {
      await ask("DELETE", "faults");
      await ask("POST", "settings", {
        latency: 0,
        lifetime: 3600,
        hub_cors: true,
        cdn_cors: true,
        expose_content_range: true,
      });
      await ask("DELETE", "log");
    },
  };
}
