// One of the JavaScript clients against a proxy in front of a server that nobody scripted: a chat, a stream of the same,
// and an error. Greedy and seeded, one question has one answer: the stream must say what the whole answer said.
//
// usage: genuine.mjs ollama|vercel PROXY_URL MODEL

import assert from "node:assert/strict";

const [which, proxy, model] = process.argv.slice(2);
const question = "Why is the sky blue?";
const greedy = { temperature: 0, seed: 7, num_predict: 24 };

const joined = async (stream, pick) => {
  let text = "";
  for await (const part of stream) text += pick(part);
  return text;
};

async function byOllama() {
  const { Ollama } = await import("ollama");
  const client = new Ollama({ host: proxy });
  const ask = { model, messages: [{ role: "user", content: question }], options: greedy };
  const whole = (await client.chat(ask)).message.content;
  const streamed = await joined(await client.chat({ ...ask, stream: true }), (part) => part.message.content);
  await assert.rejects(client.show({ model: "absent" }), (error) => error.status_code === 404);
  return [whole, streamed];
}

async function byVercel() {
  const { generateText, streamText } = await import("ai");
  const { createOllama } = await import("ollama-ai-provider-v2");
  const provider = createOllama({ baseURL: `${proxy}/api` });
  const ask = { model: provider(model), prompt: question, maxRetries: 0, providerOptions: { ollama: { options: greedy } } };
  const whole = (await generateText(ask)).text;
  const streamed = await joined(streamText(ask).textStream, (piece) => piece);
  return [whole, streamed];
}

const [whole, streamed] = await { ollama: byOllama, vercel: byVercel }[which]();
assert.ok(whole.length > 0);
assert.equal(streamed, whole);
console.log(`ok   ${which}: ${whole.length} characters, whole and streamed`);
