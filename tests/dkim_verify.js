// Verifies the DKIM signatures of messages by the package mailauth: node dkim_verify.js ZONE MESSAGE...
// ZONE stands for the DNS: a line for each record, name and text with a tab between.
// Prints a line for each message: algorithm=result of every signature, from the top.
const { readFileSync } = require("node:fs");
const { dkimVerify } = require("mailauth/lib/dkim/verify");

const [zone, ...messages] = process.argv.slice(2);
const records = new Map(
  readFileSync(zone, "utf8").trim().split("\n").map((line) => line.split("\t"))
);
const resolver = async (name) => {
  if (!records.has(name)) throw Object.assign(new Error(name), { code: "ENOTFOUND" });
  return [[records.get(name)]];
};

(async () => {
  for (const message of messages) {
    const { results } = await dkimVerify(readFileSync(message), { resolver });
    console.log(results.map((each) => `${each.algo}=${each.status.result}`).join(" "));
  }
})();
