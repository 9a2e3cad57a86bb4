// SPDX-License-Identifier: MIT
// A server of Node's http2, in the clear. Prints "PORT" once it listens; ends when its standard input does.
'use strict';

const http2 = require('http2');

const aborted = new Map(); // by name: whether the request was broken off, or who waits to hear of it
const server = http2.createServer({ maxSessionMemory: 100 });

const paths = {
  '/echo'(stream) {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  },
  '/push'(stream) { // what it may do towards the proxy
    stream.respond({ ':status': 200 });
    stream.end(String(stream.pushAllowed));
  },
  '/trailers'(stream) {
    let seen;
    stream.on('trailers', (fields) => { seen = fields['x-sent']; });
    stream.on('end', () => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-seen': seen }));
      stream.end('body');
    }).resume();
  },
  '/early'(stream) {
    stream.additionalHeaders({ ':status': 103, link: '</style.css>; rel=preload' });
    stream.respond({ ':status': 200 });
    stream.end('late');
  },
  '/reset'(stream) {
    stream.respond({ ':status': 200 });
    stream.write('half', () => stream.destroy(new Error('halfway'))); // RST_STREAM with INTERNAL_ERROR
  },
  '/hang'(stream, headers) {
    const name = headers['x-name'];
    stream.respond({ ':status': 200 });
    stream.write('begun');
    stream.on('aborted', () => {
      const waiting = aborted.get(name);
      aborted.set(name, true);
      if (typeof waiting === 'function') waiting();
    });
  },
  '/aborted'(stream, headers) {
    const answer = () => {
      stream.respond({ ':status': 200 });
      stream.end('aborted');
    };
    if (aborted.get(headers['x-name']) === true) answer();
    else aborted.set(headers['x-name'], answer);
  },
};

server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  paths[headers[':path'].split('?')[0]](stream, headers);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
