// SPDX-License-Identifier: MIT
// One case of a client of Node's http2. Ends with 0 when it passed.
// usage: node http2_client.js CASE ADDRESS [CA]
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const http2 = require('http2');

const [name, address, ca] = process.argv.slice(2);
const unique = `${name} ${process.pid}`;
let session;

function open(settings = {}) {
  const secure = ca && { ca: fs.readFileSync(ca), servername: 'localhost' };
  session = http2.connect(`${ca ? 'https' : 'http'}://${address}`, { ...secure, settings, maxSessionMemory: 100 });
  return session;
}

// A request, to its end.
function ask(path, body, headers = {}, trailers = undefined) {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST';
    const stream = session.request({ ':path': path, ':method': method, ...headers }, { waitForTrailers: Boolean(trailers), endStream: false });
    const result = { chunks: [] };
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.on('headers', (fields) => { result.interim = fields; });
    stream.on('response', (fields) => { result.headers = fields; });
    stream.on('trailers', (fields) => { result.trailers = fields; });
    stream.on('data', (chunk) => result.chunks.push(chunk));
    stream.on('error', reject);
    stream.on('close', () => resolve(Object.assign(result, { body: Buffer.concat(result.chunks) })));
    stream.end(body);
  });
}

const cases = {
  async many_streams() { // more than may be open at once: Node queues the others
    open();
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    assert.strictEqual(session.remoteSettings.maxConcurrentStreams, 100);
    const bodies = [...Array(400).keys()].map((i) => `body ${i}`);
    const results = await Promise.all(bodies.map((body) => ask('/echo', body)));
    results.forEach(({ body, headers }, i) => assert(headers[':status'] === 200 && String(body) === bodies[i]));
  },
  async no_push() {
    open({ enablePush: false });
    session.on('stream', () => assert.fail('a stream was pushed'));
    assert.strictEqual(String((await ask('/push')).body), 'false');
  },
  async big_bodies() {
    open();
    const bodies = [...Array(4)].map(() => crypto.randomBytes(8 << 20));
    const results = await Promise.all(bodies.map((body) => ask('/echo', body)));
    results.forEach(({ body }, i) => assert(body.equals(bodies[i])));
  },
  async trailers() {
    open();
    const { trailers, body } = await ask('/trailers', 'body', {}, { 'x-sent': 'there' });
    assert.strictEqual(trailers['x-seen'], 'there');
    assert.strictEqual(String(body), 'body');
  },
  async interim_response() {
    open();
    const { interim, body } = await ask('/early');
    assert.strictEqual(interim[':status'], 103);
    assert.strictEqual(interim.link, '</style.css>; rel=preload');
    assert.strictEqual(String(body), 'late');
  },
  async reset_by_the_server() {
    open();
    await assert.rejects(ask('/reset'), { code: 'ERR_HTTP2_STREAM_ERROR' });
    assert.strictEqual(String((await ask('/echo', 'next')).body), 'next');
  },
  async reset_by_the_client() {
    open();
    const stream = session.request({ ':path': '/hang', 'x-name': unique });
    await new Promise((resolve) => stream.once('data', resolve));
    const closed = new Promise((resolve) => stream.once('close', resolve));
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await closed;
    assert.strictEqual(String((await ask('/aborted', undefined, { 'x-name': unique })).body), 'aborted');
  },
  async ping_and_close() {
    open();
    await new Promise((resolve) => session.once('connect', resolve));
    await new Promise((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
    const stream = session.request({ ':path': '/echo', ':method': 'POST' });
    await new Promise((resolve) => stream.once('response', resolve));
    session.close(); // says GOAWAY, and lets the stream finish
    stream.end('last');
    let body = '';
    for await (const chunk of stream) body += chunk;
    assert.strictEqual(body, 'last');
  },
};

if (name === '--list') {
  console.log(Object.keys(cases).join('\n'));
} else {
  cases[name]().then(() => session.close(), (error) => {
    console.error(error);
    process.exit(1);
  });
}
