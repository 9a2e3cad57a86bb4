// SPDX-License-Identifier: MIT
// One case of the client of @grpc/grpc-js. Ends with 0 when it passed.
// usage: node grpc_client.js CASE ADDRESS [CA]
'use strict';

const assert = require('assert');
const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const service = require('./grpc_service.js');

const [name, address, ca] = process.argv.slice(2);
const credentials = ca ? grpc.credentials.createSsl(fs.readFileSync(ca)) : grpc.credentials.createInsecure();
const options = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1, 'grpc.enable_retries': 0 };
const client = new (grpc.makeGenericClientConstructor(service, 'Echo'))(address, credentials, options);
const unique = `${name} ${process.pid}`;

function metadata(fields = {}) {
  const made = new grpc.Metadata();
  for (const [key, value] of Object.entries(fields)) made.add(key, value);
  return made;
}

// A unary call, to its end: what came, or the error, with both kinds of metadata.
function ask(method, message, fields, settings = {}) {
  return new Promise((resolve) => {
    const result = {};
    const call = client[method](message, metadata(fields), settings, (error, answer) => Object.assign(result, { error, answer }));
    call.on('metadata', (head) => { result.head = head; });
    call.on('status', (status) => resolve(Object.assign(result, { status })));
  });
}

async function read(call) {
  const messages = [];
  for await (const message of call) messages.push(message);
  return messages;
}

async function refused(method, code, details) {
  const { error } = await ask(method, Buffer.alloc(3));
  assert.strictEqual(error.code, code, error.message);
  if (details) assert.strictEqual(error.details, details);
  return error;
}

const cases = {
  async unary() {
    const message = Buffer.alloc(1 << 20, 'perigee');
    const { answer, error } = await ask('echo', message);
    assert.ifError(error);
    assert(answer.equals(message));
    assert((await ask('echo', Buffer.alloc(0))).answer.length === 0);
  },
  async metadata() {
    const bytes = Buffer.from([0, 255, 10, 13, 44]);
    const { head, status } = await ask('echo', Buffer.alloc(1), { 'x-text': 'a, b', 'x-bytes-bin': bytes });
    assert.deepStrictEqual(head.get('x-text'), ['a, b']);
    assert.deepStrictEqual(status.metadata.get('x-bytes-bin'), [bytes]);
  },
  async client_streaming() {
    const answer = await new Promise((resolve, reject) => {
      const call = client.count(metadata(), (error, value) => (error ? reject(error) : resolve(value)));
      for (let i = 0; i < 100; i++) call.write(Buffer.alloc(10000));
      call.end();
    });
    assert.strictEqual(String(answer), '1000000');
  },
  async server_streaming() {
    const messages = await read(client.repeat(Buffer.alloc(10000), metadata()));
    assert.deepStrictEqual(messages.map((message) => message[0]), [...Array(100).keys()]);
    assert(messages.every((message) => message.length === 10001));
  },
  async both_streaming() {
    const call = client.chat(metadata({ 'x-name': unique }));
    const answers = call[Symbol.asyncIterator]();
    for (let i = 0; i < 50; i++) { // each message waits for the answer to the one before
      call.write(Buffer.from([i]));
      assert.deepStrictEqual((await answers.next()).value, Buffer.from([i]));
    }
    call.end();
    assert((await answers.next()).done);
  },
  async error_status() {
    const error = await refused('refuse', grpc.status.FAILED_PRECONDITION, 'geschlossen – später % wieder');
    assert.deepStrictEqual(error.metadata.get('x-reason'), ['closed']);
    await refused('unknown', grpc.status.UNIMPLEMENTED);
  },
  async errors_of_the_proxy() {
    await refused('nowhere', grpc.status.UNIMPLEMENTED, 'No route matches the request.');
    await refused('gone', grpc.status.UNAVAILABLE, 'The upstream could not be reached.');
    await refused('denied', grpc.status.UNAUTHENTICATED, 'The request needs an API key.');
  },
  async deadline() {
    const { error } = await ask('hang', Buffer.alloc(1), { 'x-name': unique }, { deadline: Date.now() + 300 });
    assert.strictEqual(error.code, grpc.status.DEADLINE_EXCEEDED, error.message);
    assert.strictEqual(String((await ask('cancelled', Buffer.from(unique))).answer), 'cancelled');
  },
  async cancel() {
    const call = client.chat(metadata({ 'x-name': unique }));
    call.write(Buffer.from('a'));
    call.on('error', () => {});
    await new Promise((resolve) => call.once('data', resolve));
    const status = new Promise((resolve) => call.on('status', resolve));
    call.cancel();
    assert.strictEqual((await status).code, grpc.status.CANCELLED);
    assert.strictEqual(String((await ask('cancelled', Buffer.from(unique))).answer), 'cancelled');
  },
  async many_calls_at_once() { // more than a connection allows
    const messages = [...Array(250).keys()].map((i) => Buffer.from(`message ${i}`));
    const results = await Promise.all(messages.map((message) => ask('echo', message)));
    results.forEach(({ answer, error }, i) => assert(!error && answer.equals(messages[i]), String(error)));
  },
};

if (name === '--list') {
  console.log(Object.keys(cases).join('\n'));
} else {
  cases[name]().then(() => client.close(), (error) => {
    console.error(error);
    process.exit(1);
  });
}
