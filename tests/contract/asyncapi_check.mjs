// Prints the problems that @asyncapi/parser finds in the document on the command line, one a line; nothing when it is valid.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.argv[3] + "/");
const { Parser } = require("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const d of diagnostics) {
  if (d.severity <= 1) console.log(`${d.severity} ${d.code} ${d.path.join(".")}: ${d.message}`);
}
if (document === undefined) console.log("0 no-document: the parser gave no document");
