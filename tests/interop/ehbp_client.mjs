// The EHBP client of npm against the server: whole, streamed, an error behind the seal, and tampering on the way.
// usage: node ehbp_client.mjs URL MODEL   (the token in EHBP_TOKEN)
import assert from 'node:assert/strict';
import { KeyConfigMismatchError, createTransport } from 'ehbp';

const [url, model] = process.argv.slice(2);
const headers = { 'content-type': 'application/json', authorization: `Bearer ${process.env.EHBP_TOKEN}` };
const chat = (extra) =>
  JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8, temperature: 0, ...extra });
const path = `${url}/v1/chat/completions`;
const transport = await createTransport(url);

const whole = await transport.post(path, chat(), { headers });
assert.equal(whole.status, 200);
const text = (await whole.json()).choices[0].message.content;
assert.equal(typeof text, 'string');

const streamed = await transport.post(path, chat({ stream: true }), { headers });
let events = '';
for await (const piece of streamed.body) events += Buffer.from(piece).toString();
const data = events.split('\n').filter((line) => line.startsWith('data: ')).map((line) => line.slice(6));
assert.equal(data.at(-1), '[DONE]');
assert.equal(data.slice(0, -1).map((event) => JSON.parse(event).choices[0]?.delta?.content ?? '').join(''), text);

const refused = await transport.post(path, chat({ temperature: 99 }), { headers });
assert.equal(refused.status, 400);
assert.equal((await refused.json()).error.param, 'temperature');

// somebody on the way changes one byte, first of the request, then of the answer
const fetched = globalThis.fetch;
const flipped = (bytes) => bytes.map((byte, index) => (index === bytes.length - 1 ? byte ^ 1 : byte));
globalThis.fetch = async (request) => {
  const body = flipped(new Uint8Array(await request.arrayBuffer()));
  return fetched(request.url, { method: request.method, headers: request.headers, body });
};
await assert.rejects(transport.post(path, chat(), { headers }), KeyConfigMismatchError);
globalThis.fetch = async (request) => {
  const response = await fetched(request);
  const body = flipped(new Uint8Array(await response.arrayBuffer()));
  return new Response(body, { status: response.status, headers: response.headers });
};
const changed = await transport.post(path, chat(), { headers });
await assert.rejects(changed.text());
console.log('ehbp: ok');
