// The Vercel AI SDK with its Ollama provider, both unmodified, through the proxy: chat, stream, tools, structured output,
// embeddings, errors.
//
// usage: PROXY=URL test_vercel.mjs

import assert from "node:assert/strict";
import { inspect } from "node:util";
import { embed, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { createOllama } from "ollama-ai-provider-v2";
import { z } from "zod";

const HELLO = "Hello from the scripted backend.";
const ollama = createOllama({ baseURL: `${process.env.PROXY}/api` });
// A test asks once: what is tried again is not what is tested.
const ask = (model, more = {}) => ({ model: ollama(model), prompt: "hi", maxRetries: 0, ...more });
const cases = [];
const test = (name, run) => cases.push([name, run]);
const weather = tool({
  description: "the weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

test("chat answers and counts its tokens", async () => {
  const answer = await generateText(ask("plain"));
  assert.equal(answer.text, HELLO);
  assert.equal(answer.usage.inputTokens, 11);
  assert.equal(answer.usage.outputTokens, 7);
  assert.equal(answer.finishReason, "stop");
});

test("a stream comes in pieces", async () => {
  const pieces = [];
  for await (const piece of streamText(ask("plain")).textStream) pieces.push(piece);
  assert.equal(pieces.join(""), HELLO);
  assert.equal(pieces.length, 6);
});

test("a round of tools", async () => {
  const answer = await generateText(ask("tools", { tools: { weather }, stopWhen: stepCountIs(3) }));
  assert.equal(answer.text, "Paris: sunny in Paris; Łódź: sunny in Łódź");
});

test("a round of tools, streamed", async () => {
  const answer = streamText(ask("tools", { tools: { weather }, stopWhen: stepCountIs(3) }));
  let text = "";
  for await (const piece of answer.textStream) text += piece;
  assert.equal(text, "Paris: sunny in Paris; Łódź: sunny in Łódź");
});

test("structured output is parsed", async () => {
  const schema = z.object({ name: z.string(), age: z.number() });
  const answer = await generateText(ask("json", { output: Output.object({ schema }) }));
  assert.deepEqual(answer.output, { name: "Ada", age: 36 });
});

test("texts become unit vectors in order", async () => {
  const model = ollama.embeddingModel("embed");
  const unit = [1 / 3, 2 / 3, -2 / 3];
  const isUnit = (vector) => vector.length === 3 && vector.every((number, at) => Math.abs(number - unit[at]) < 1e-7);
  const many = await embedMany({ model, values: ["a", "b"], maxRetries: 0 });
  assert.equal(many.embeddings.length, 2);
  assert.ok(many.embeddings.every(isUnit), inspect(many.embeddings));
  assert.equal(many.usage.tokens, 2);
  assert.ok(isUnit((await embed({ model, value: "a", maxRetries: 0 })).embedding));
});

for (const [model, status] of [["err429", 429], ["err500", 500], ["missing", 404]]) {
  test(`errors have their status: ${model}`, async () => {
    await assert.rejects(generateText(ask(model)), (error) => error.statusCode === status);
  });
}

let passed = 0;
let failed = 0;
for (const [name, run] of cases) {
  try {
    await run();
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n${inspect(error)}`);
  }
}
console.log(`vercel client: ${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
