// The npm OpenAI client against a running server: what works, and what is refused.
// usage: node openai_client.mjs BASE_URL MODEL   (token in OPENAI_API_KEY, trust in NODE_EXTRA_CA_CERTS)
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, maxRetries: 0, timeout: 120_000 });
let passed = 0;

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

const chat = (extra = {}) =>
  client.chat.completions.create({
    model, messages: [{ role: "user", content: "Say hello." }], max_tokens: 16, temperature: 0, ...extra,
  });

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

const hangUp = await chat({ stream: true, max_tokens: 64 });
for await (const _ of hangUp) break;
check("a client may hang up in the middle", (await chat({ max_tokens: 1 })).choices.length === 1);

await refused("unknown model", 404, () => chat({ model: "no-such-model" }), { code: "model_not_found" });
await refused("temperature out of range", 400, () => chat({ temperature: 99 }), { param: "temperature" });
await refused("unknown field", 400, () => chat({ no_such_field: 1 }), { param: "no_such_field" });
if (process.argv.includes("--token-checked")) {
  const stranger = new OpenAI({ baseURL, apiKey: "lth_" + "A".repeat(43), maxRetries: 0 });
  await refused("wrong token", 401, () => stranger.models.list());
}
console.error(`openai (npm): ${passed} passed, 0 failed`);
