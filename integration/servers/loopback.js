// A preload for node (node --require loopback.js ...): every TCP server of the
// process listens on 127.0.0.1, whatever host it asks for. kinesis-local has no
// option for that and would bind 0.0.0.0. Unix sockets and handles are left alone.
'use strict';
const net = require('node:net');
const listen = net.Server.prototype.listen;
const isPort = (v) => typeof v === 'number' || (typeof v === 'string' && /^\d+$/.test(v));

net.Server.prototype.listen = function (first, ...rest) {
  if (isPort(first)) {
    // listen(port[, host][, backlog][, callback])
    const host = typeof rest[0] === 'string' ? rest.shift() : undefined;
    void host;
    return listen.call(this, first, '127.0.0.1', ...rest);
  }
  if (first && typeof first === 'object' && isPort(first.port)) {
    return listen.call(this, { ...first, host: '127.0.0.1' }, ...rest);
  }
  return listen.call(this, first, ...rest);
};
