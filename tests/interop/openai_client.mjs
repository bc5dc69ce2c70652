// The npm OpenAI client against a running server: what works, and what is refused.
// usage: node openai_client.mjs BASE_URL MODEL [--token-checked] [--one-sequence]   (token in OPENAI_API_KEY, trust in NODE_EXTRA_CA_CERTS)
// --token-checked: the server wants the token. --one-sequence: the server answers one request at a time, in streams of half a minute;
// only hanging up is tested then.
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, maxRetries: 0, timeout: 120_000 });
let passed = 0;
const HANG_UPS = 5; // one more than the server has sequences

function check(name, holds) {
  if (!holds) {
    console.error(`failed: ${name}`);
    process.exit(1);
  }
  passed += 1;
}

async function refused(name, status, call, expected = {}) {
  try {
    await call();
  } catch (error) {
    check(`${name}: status ${error.status}`, error.status === status);
    for (const [key, value] of Object.entries(expected)) check(`${name}: ${key} ${error[key]}`, error[key] === value);
    return;
  }
  check(`${name} was not refused`, false);
}

const chat = (extra = {}, options = {}) =>
  client.chat.completions.create({
    model, messages: [{ role: "user", content: "Say hello." }], max_tokens: 16, temperature: 0, ...extra,
  }, options);

// A stream that is not over when its reader goes away: as long as the server allows. Its first piece is here.
async function begun() {
  const stream = await chat({ stream: true, max_tokens: 4096, ignore_eos: true });
  await stream[Symbol.asyncIterator]().next();
  return stream;
}

const shortAnswer = (options = {}) => chat({ max_tokens: 1 }, options);

async function millisecondsOfAShortAnswer() {
  const start = performance.now();
  await shortAnswer();
  return Math.ceil(performance.now() - start);
}

// Goes away in the middle of streams, each of which has to give its sequence back at once.
async function hangUp(times) {
  const soon = 15_000 + 3 * (await millisecondsOfAShortAnswer());
  for (let count = 0; count < times; count += 1) (await begun()).controller.abort();
  const answer = await shortAnswer({ timeout: soon });
  check(`${times} streams that nobody reads any more leave no sequence taken`, answer.choices.length === 1);
}

if (process.argv.includes("--one-sequence")) {
  const usual = await millisecondsOfAShortAnswer();
  const stream = await begun();
  const waited = await shortAnswer({ timeout: 2_000 + 2 * usual }).catch((error) => error);
  check("a second answer while the only sequence is read was refused", waited instanceof OpenAI.APIConnectionTimeoutError);
  stream.controller.abort();
  await hangUp(3);
  console.error(`openai (npm), hanging up: ${passed} passed, 0 failed`);
  process.exit(0);
}

const ids = [];
for await (const entry of client.models.list()) ids.push(entry.id);
check("the model is listed", ids.includes(model));

const answer = await chat();
check("an answer has text", typeof answer.choices[0].message.content === "string");
check("it names a finish reason", ["stop", "length"].includes(answer.choices[0].finish_reason));

let text = "";
let usage = null;
for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } })) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
check("a stream carries the same greedy text", text === answer.choices[0].message.content);
check("a stream ends with usage", usage?.completion_tokens === answer.usage.completion_tokens);

await hangUp(HANG_UPS);

// Asks while others ask; every second answer streams.
async function oneOfMany(number) {
  const messages = [{ role: "user", content: `Count from ${number}.` }];
  if (number % 2 === 0) return (await chat({ messages })).choices[0].finish_reason;
  let reason = null;
  for await (const chunk of await chat({ messages, stream: true })) reason = chunk.choices[0]?.finish_reason ?? reason;
  return reason;
}
const reasons = await Promise.all(Array.from({ length: 16 }, (_, number) => oneOfMany(number)));
check("16 at once are answered", reasons.every((reason) => ["stop", "length"].includes(reason)));

await refused("unknown model", 404, () => chat({ model: "no-such-model" }), { code: "model_not_found" });
await refused("temperature out of range", 400, () => chat({ temperature: 99 }), { param: "temperature" });
await refused("unknown field", 400, () => chat({ no_such_field: 1 }), { param: "no_such_field" });
if (process.argv.includes("--token-checked")) {
  const stranger = new OpenAI({ baseURL, apiKey: "lth_" + "A".repeat(43), maxRetries: 0 });
  await refused("wrong token", 401, () => stranger.models.list());
}
console.error(`openai (npm): ${passed} passed, 0 failed`);
