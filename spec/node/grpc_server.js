// SPDX-License-Identifier: MIT
// A server of @grpc/grpc-js. Prints "PORT" once it listens; ends when its standard input does.
// usage: node grpc_server.js [CERT KEY]
'use strict';

const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const service = require('./grpc_service.js');

const METHODS = ['echo', 'count', 'repeat', 'chat', 'refuse', 'hang', 'cancelled'];
const COUNT = 100;
const ended = new Map(); // by the name of a call: whether its client broke it off, or who waits to hear of it

function noteCancelled(name) {
  const waiting = ended.get(name);
  ended.set(name, true);
  if (typeof waiting === 'function') waiting();
}

// Metadata that came is sent back, the text at the start and the bytes at the end.
function mirror(call) {
  const head = new grpc.Metadata();
  const tail = new grpc.Metadata();
  for (const value of call.metadata.get('x-text')) head.add('x-text', value);
  for (const value of call.metadata.get('x-bytes-bin')) tail.add('x-bytes-bin', value);
  call.sendMetadata(head);
  return tail;
}

const handlers = {
  echo(call, done) {
    done(null, call.request, mirror(call));
  },
  count(call, done) {
    let bytes = 0;
    call.on('data', (message) => { bytes += message.length; });
    call.on('end', () => done(null, Buffer.from(String(bytes))));
  },
  repeat(call) {
    for (let i = 0; i < COUNT; i++) call.write(Buffer.concat([Buffer.from([i]), call.request]));
    call.end();
  },
  chat(call) {
    const name = String(call.metadata.get('x-name')[0]);
    call.on('data', (message) => call.write(message));
    call.on('end', () => call.end());
    call.on('cancelled', () => noteCancelled(name));
  },
  refuse(call, done) {
    const tail = new grpc.Metadata();
    tail.set('x-reason', 'closed');
    done({ code: grpc.status.FAILED_PRECONDITION, details: 'geschlossen – später % wieder', metadata: tail });
  },
  hang(call) {
    const name = String(call.metadata.get('x-name')[0]);
    call.on('cancelled', () => noteCancelled(name));
  },
  cancelled(call, done) {
    const name = String(call.request);
    const answer = () => done(null, Buffer.from('cancelled'));
    if (ended.get(name) === true) answer();
    else ended.set(name, answer);
  },
};

const [cert, key] = process.argv.slice(2);
const pair = cert && [{ cert_chain: fs.readFileSync(cert), private_key: fs.readFileSync(key) }];
const credentials = pair ? grpc.ServerCredentials.createSsl(null, pair) : grpc.ServerCredentials.createInsecure();
const server = new grpc.Server({ 'grpc.max_receive_message_length': -1 });
server.addService(Object.fromEntries(METHODS.map((name) => [name, service[name]])), handlers);
server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
  if (error) throw error;
  console.log(port);
});
process.stdin.on('end', () => process.exit(0)).resume();
