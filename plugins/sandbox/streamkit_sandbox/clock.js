// Loaded by node before a server: its clock is ahead by the milliseconds that a file says, read at the start and at each SIGUSR2.
// The file's name is in STREAMKIT_SANDBOX_CLOCK; beside it, with `.seen`, is written what was read last.
"use strict";

const fs = require("node:fs");
const file = process.env.STREAMKIT_SANDBOX_CLOCK;
const SystemDate = Date;
let ahead = 0;

globalThis.Date = new Proxy(SystemDate, {
  construct: (target, given, made) => Reflect.construct(target, given.length ? given : [target.now() + ahead], made),
  apply: (target) => new target(target.now() + ahead).toString(),
  get: (target, name) => (name === "now" ? () => target.now() + ahead : Reflect.get(target, name)),
});

// What is added to performance.now() for the time of day; intervals stay as they are.
const origin = performance.timeOrigin;
Object.defineProperty(performance, "timeOrigin", { get: () => origin + ahead });

function look() {
  if (!fs.existsSync(file)) return;
  const text = fs.readFileSync(file, "utf8");
  ahead = Number(text);
  fs.writeFileSync(`${file}.seen`, text);
}

look();
process.on("SIGUSR2", look);
