// Loaded by node before a server (`node -r`): whatever address the server asks for, it listens on 127.0.0.1.
"use strict";

const net = require("node:net");
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (where, ...rest) {
  const done = rest.filter((argument) => typeof argument === "function");
  if (where === undefined || where === null || typeof where === "number" || /^\d+$/.test(where)) {
    return listen.call(this, { port: Number(where || 0), host: "127.0.0.1" }, ...done);
  }
  if (typeof where === "object" && where.port !== undefined) {
    return listen.call(this, { ...where, host: "127.0.0.1" }, ...done);
  }
  if (typeof where === "function") {
    return listen.call(this, { port: 0, host: "127.0.0.1" }, where);
  }
  return listen.call(this, where, ...rest); // a path or a handle, which are local already
};
