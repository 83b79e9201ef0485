// The real JavaScript client, unmodified, through the proxy to a scripted backend (backend.py).
//
// Each case asks as an application would and looks at what the client hands out, at the raw bytes (fetch) where the
// client hides them, and at what reached the backend (`GET /_seen`). The Python suite beside it goes through every rule
// of the wire; this one through what this client can see. It refuses to know how the proxy works.
//
// usage: PROXY=URL PROXY_KEYED=URL PROXY_DOWN=URL BACKEND=URL node test_js.mjs

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";

import { Ollama } from "ollama";

const { PROXY, PROXY_KEYED, PROXY_DOWN, BACKEND } = process.env;
const ASK = [{ role: "user", content: "hi" }];
// Every wait has a bound; the client itself would wait for ever.
const CASE_MS = 60_000;
const HANG_UP_WITHIN_MS = 1000;
const LINE_MAX = 64 * 1024;

const client = new Ollama({ host: PROXY });
const keyed = new Ollama({ host: PROXY_KEYED });
const down = new Ollama({ host: PROXY_DOWN });

const json = async (url) => (await fetch(url)).json();
const pieces = await json(`${BACKEND}/_texts`);
const texts = Object.fromEntries(Object.entries(pieces).map(([model, parts]) => [model, parts.join("")]));

// This client prints a warning for a line it cannot parse, and goes on without it. That is a failure here.
const warnings = [];
console.warn = (...words) => warnings.push(words.map((word) => inspect(word)).join(" "));

const cases = [];
const test = (name, run) => cases.push([name, run]);
const each = (name, values, run) => values.forEach((value) => test(`${name}[${value}]`, () => run(value)));

// --- ways to ask ------------------------------------------------------------------------------------------------

const joined = async (stream, pick) => {
  let text = "";
  for await (const part of stream) text += pick(part);
  return text;
};
const whole = {
  chat_whole: async (model, more) => (await client.chat({ model, messages: ASK, ...more })).message.content,
  generate_whole: async (model, more) => (await client.generate({ model, prompt: "hi", ...more })).response,
};
const streamed = {
  chat_streamed: async (model, more) =>
    joined(await client.chat({ model, messages: ASK, stream: true, ...more }), (part) => part.message.content),
  generate_streamed: async (model, more) =>
    joined(await client.generate({ model, prompt: "hi", stream: true, ...more }), (part) => part.response),
  raw_generate_streamed: async (model, more) =>
    joined(await client.generate({ model, prompt: "hi", stream: true, raw: true, ...more }), (part) => part.response),
};
const ways = { ...whole, ...streamed };

// What the backend received: the model `echo` answers with the request it got.
const upstream = async (asked) => JSON.parse(await asked);
const seen = () => json(`${BACKEND}/_seen`);
const refused = async (asked) => {
  try {
    await asked;
  } catch (error) {
    return error;
  }
  assert.fail("no error but an answer");
};
const raw = (path, body) => fetch(`${PROXY}/api/${path}`, { method: "POST", body: JSON.stringify(body) });
const bodyOf = (path, model) => ({ model, ...(path === "chat" ? { messages: ASK } : { prompt: "hi" }) });

// --- the small GETs ---------------------------------------------------------------------------------------------

test("version_is_three_numbers", async () => {
  const { version } = await client.version();
  assert.match(version, /^\d+\.\d+\.\d+$/);
});

test("list_has_every_model_once_under_a_tag", async () => {
  const { models } = await client.list();
  const offered = (await json(`${BACKEND}/v1/models`)).data;
  assert.deepEqual(models.map((model) => model.name).sort(), offered.map((model) => `${model.id}:latest`).sort());
  for (const model of models) {
    assert.equal(model.name, model.model);
    assert.match(model.digest, /^[0-9a-f]{64}$/);
    assert.ok(!Number.isNaN(Date.parse(model.modified_at)), model.modified_at);
    assert.equal(typeof model.size, "number");
    assert.ok(Array.isArray(model.details.families), inspect(model));
  }
});

each("show_knows_the_model_as", ["plain", "plain:latest", "PLAIN"], async (model) => {
  const shown = await client.show({ model });
  assert.ok(shown.capabilities.includes("completion"), inspect(shown));
  assert.ok(!shown.capabilities.includes("embedding"), inspect(shown));
  assert.equal(typeof shown.model_info["general.architecture"], "string");
  assert.equal("error" in shown, false);
});

test("show_of_an_unknown_model_is_404", async () => {
  const error = await refused(client.show({ model: "nobody" }));
  assert.equal(error.status_code, 404);
  assert.match(error.message, /not found/);
});

test("ps_parses", async () => {
  assert.ok(Array.isArray((await client.ps()).models));
});

// --- text -------------------------------------------------------------------------------------------------------

each("text_arrives_unharmed_every_way", Object.keys(texts), async (model) => {
  for (const [name, ask] of Object.entries(ways)) {
    assert.equal(await ask(model), texts[model], name);
  }
});

each("raw_stream_is_well_framed", Object.keys(texts), async (model) => {
  for (const path of ["chat", "generate"]) {
    const answer = await raw(path, bodyOf(path, model));
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "application/x-ndjson");
    const bytes = Buffer.from(await answer.arrayBuffer());
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    assert.ok(text.endsWith("\n"));
    assert.ok(!/[\u2028\u2029\u0085\r]/.test(text), "a raw line separator");
    const lines = text.split("\n").slice(0, -1);
    for (const line of lines) assert.ok(Buffer.byteLength(line) + 1 <= LINE_MAX, `${Buffer.byteLength(line)} bytes`);
    const parsed = lines.map((line) => JSON.parse(line));
    const said = parsed.map((line) => (path === "chat" ? line.message.content : line.response));
    assert.equal(said.join(""), texts[model]);
    assert.deepEqual(parsed.map((line) => line.done), parsed.map((_, at) => at === parsed.length - 1));
    assert.ok(parsed.every((line) => !("error" in line)));
  }
});

test("last_part_has_the_counts_and_only_the_last", async () => {
  const parts = [];
  for await (const part of await client.chat({ model: "plain", messages: ASK, stream: true })) parts.push(part);
  const last = parts.pop();
  assert.deepEqual(parts.map((part) => part.message.content).filter((text) => text), pieces.plain);
  assert.ok(parts.every((part) => !part.done && part.total_duration === undefined));
  assert.equal(last.done_reason, "stop");
  assert.deepEqual([last.prompt_eval_count, last.eval_count], [11, 7]);
  for (const name of ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"]) {
    assert.ok(Number.isInteger(last[name]) && last[name] > 0, name);
  }
});

test("whole_answers_have_the_counts", async () => {
  for (const answer of [await client.chat({ model: "length", messages: ASK }),
    await client.generate({ model: "length", prompt: "hi" })]) {
    assert.deepEqual([answer.done, answer.done_reason, answer.eval_count], [true, "length", 7]);
  }
});

// --- what is sent upstream --------------------------------------------------------------------------------------

test("nothing_is_sent_that_was_not_given", async () => {
  for (const [name, ask] of Object.entries(ways)) {
    const { body, path } = await upstream(ask("echo"));
    const allowed = ["model", "messages", "stream", "stream_options"];
    if (name.startsWith("raw")) allowed.push("prompt");
    assert.deepEqual(Object.keys(body).filter((key) => !allowed.includes(key)), [], name);
    assert.equal(path, name.startsWith("raw") ? "/v1/completions" : "/v1/chat/completions");
  }
});

test("options_are_mapped", async () => {
  const options = { num_predict: 5, temperature: 0.25, top_p: 0.5, seed: 42, stop: ["a"], num_ctx: 8192,
    frequency_penalty: 0.5, presence_penalty: -0.5 };
  for (const [name, ask] of Object.entries(ways)) {
    const { body } = await upstream(ask("echo", { options }));
    const { model, messages, prompt, stream, stream_options, ...rest } = body;
    assert.deepEqual(rest, { max_tokens: 5, temperature: 0.25, top_p: 0.5, seed: 42, stop: ["a"],
      frequency_penalty: 0.5, presence_penalty: -0.5 }, name);
  }
});

test("format_is_mapped", async () => {
  const schema = { type: "object", properties: { b: { type: "string" }, a: { type: "integer" } } };
  for (const name of ["chat_whole", "chat_streamed", "generate_whole", "generate_streamed"]) {
    let { body } = await upstream(ways[name]("echo", { format: "json" }));
    assert.deepEqual(body.response_format, { type: "json_object" }, name);
    ({ body } = await upstream(ways[name]("echo", { format: schema })));
    assert.equal(body.response_format.type, "json_schema", name);
    assert.equal(JSON.stringify(body.response_format.json_schema.schema), JSON.stringify(schema), name);
    ({ body } = await upstream(ways[name]("echo", { format: "" })));
    assert.ok(!("response_format" in body), name);
  }
});

const weather = { type: "function", function: { name: "weather", description: "the weather of a city",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } };

// The results go back without ids: two calls of one name, told apart by their order.
each("tools_go_round", [false, true], async (stream) => {
  const ask = async (messages) => {
    const answer = await client.chat({ model: "tools", messages, tools: [weather], stream });
    const said = [];
    if (stream) for await (const part of answer) said.push(part.message);
    else said.push(answer.message);
    return { text: said.map((message) => message.content).join(""), calls: said.flatMap((message) => message.tool_calls ?? []) };
  };
  const { text, calls } = await ask(ASK);
  assert.equal(text, "");
  assert.deepEqual(calls.map((call) => call.function.arguments), [{ city: "Paris" }, { city: "Łódź" }]);
  const asked = { role: "assistant", content: "", tool_calls: calls.map(({ function: { name, arguments: given } }) =>
    ({ function: { name, arguments: given } })) };
  const results = calls.map((call) => ({ role: "tool", tool_name: "weather", content: `sunny in ${call.function.arguments.city}` }));
  const told = await ask([...ASK, asked, ...results]);
  assert.deepEqual(told, { text: "Paris: sunny in Paris; Łódź: sunny in Łódź", calls: [] });
});

test("structured_output_is_parsed", async () => {
  const schema = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } } };
  for (const name of ["chat_whole", "chat_streamed", "generate_whole", "generate_streamed"])
    assert.deepEqual(JSON.parse(await ways[name]("json", { format: schema })), { name: "Ada", age: 36 }, name);
});

test("system_raw_and_suffix", async () => {
  for (const name of ["generate_whole", "generate_streamed"]) {
    const asked = await upstream(ways[name]("echo", { system: "be brief" }));
    assert.deepEqual(asked.body.messages, [{ role: "system", content: "be brief" }, ...ASK]);
    const bare = await upstream(ways[name]("echo", { raw: true }));
    assert.deepEqual([bare.path, bare.body.prompt], ["/v1/completions", "hi"]);
    const filled = await upstream(ways[name]("echo", { suffix: "end" }));
    assert.deepEqual([filled.path, filled.body.prompt, filled.body.suffix], ["/v1/completions", "hi", "end"]);
  }
});

each("empty_prompt_calls_nobody", [undefined, 0, "0s", "5m"], async (keep_alive) => {
  const before = (await seen()).requests.length;
  const reason = keep_alive === 0 || keep_alive === "0s" ? "unload" : "load";
  const generated = await client.generate({ model: "plain", prompt: "", keep_alive });
  assert.deepEqual([generated.done, generated.done_reason, generated.response], [true, reason, ""]);
  const chatted = await client.chat({ model: "plain", messages: [], keep_alive });
  assert.deepEqual([chatted.done, chatted.done_reason, chatted.message.content], [true, reason, ""]);
  // A stream was asked for; one JSON object without a line end comes, and this client takes it.
  const parts = [];
  const stream = await client.generate({ model: "plain", prompt: "", keep_alive, stream: true });
  for await (const part of stream) parts.push(part);
  assert.deepEqual(parts.map((part) => part.done_reason), [reason]);
  const sent = (await seen()).requests.slice(before).filter((request) => request.path !== "/v1/models");
  assert.deepEqual(sent, []);
});

each("name_is_found_and_echoed", ["echo", "echo:latest", "ECHO"], async (model) => {
  assert.equal((await client.chat({ model, messages: ASK })).model, model);
  const stream = await client.generate({ model, prompt: "hi", stream: true });
  for await (const part of stream) assert.equal(part.model, model);
  for (const ask of Object.values(ways)) assert.equal((await upstream(ask(model))).body.model, "echo");
});

// --- embeddings -------------------------------------------------------------------------------------------------

const sameVectors = (found, expected) => {
  const near = (a, b) => Math.abs(a - b) < 1e-7;
  const same = found.length === expected.length && found.every((vector, at) =>
    vector.length === expected[at].length && vector.every((number, n) => near(number, expected[at][n])));
  assert.ok(same, inspect(found));
};

test("embed_gives_unit_vectors_in_order", async () => {
  const unit = [1 / 3, 2 / 3, -2 / 3];
  const answer = await client.embed({ model: "embed", input: ["a", "b"] });
  sameVectors(answer.embeddings, [unit, unit]);
  assert.deepEqual([answer.model, answer.prompt_eval_count], ["embed", 2]);
  sameVectors((await client.embed({ model: "Embed:latest", input: "a", truncate: true })).embeddings, [unit]);
  const short = await client.embed({ model: "embed", input: ["a", "b"], dimensions: 2 });
  sameVectors(short.embeddings, Array(2).fill([5 ** -0.5, 2 * 5 ** -0.5]));
  assert.deepEqual((await client.embed({ model: "embed", input: [] })).embeddings, []);
});

test("embeddings_of_old_scale_nothing", async () => {
  assert.deepEqual(await client.embeddings({ model: "embed", prompt: "a" }), { embedding: [1, 2, -2] });
});

each("embed_errors_have_their_status", [["err429", 429], ["err500", 500], ["missing", 404]], async ([model, status]) => {
  assert.equal((await refused(client.embed({ model, input: "a" }))).status_code, status);
  assert.equal((await refused(client.embeddings({ model, prompt: "a" }))).status_code, status);
});

// --- authorization ----------------------------------------------------------------------------------------------

test("authorization_of_client_and_proxy", async () => {
  const headers = { Authorization: "Bearer client-key" };
  const sent = async (host, more) => {
    const answer = await new Ollama({ host, ...more }).chat({ model: "echo", messages: ASK });
    return JSON.parse(answer.message.content).headers.authorization;
  };
  assert.equal(await sent(PROXY, { headers }), "Bearer client-key");
  assert.equal(await sent(PROXY, {}), undefined);
  assert.equal(await sent(PROXY_KEYED, { headers }), "Bearer configured-key");
  assert.equal(await sent(PROXY_KEYED, {}), "Bearer configured-key");
});

// --- errors -----------------------------------------------------------------------------------------------------

const ERRORS = {
  nobody: [404, /not found/],
  missing: [404, /not found/],
  err429: [429, /slow down/],
  err401: [502, /incorrect api key/],
  err500: [500, /the model crashed/],
  htmlerror: [502, /Bad Gateway/],
};

each("error_before_the_first_line_has_its_status", Object.keys(ERRORS), async (model) => {
  const [status, text] = ERRORS[model];
  for (const [name, ask] of Object.entries(ways)) {
    const error = await refused(ask(model));
    assert.equal(error.status_code, status, name);
    assert.match(error.message, text, name);
    // A type that is not JSON would have made the whole body the message.
    assert.ok(!error.message.includes("{") && !error.message.includes("<"), error.message);
  }
});

test("error_with_the_proxys_own_key_is_not_401", async () => {
  assert.equal((await refused(keyed.chat({ model: "err401", messages: ASK }))).status_code, 502);
});

test("error_when_the_backend_is_down_is_502", async () => {
  for (const stream of [false, true]) {
    assert.equal((await refused(down.chat({ model: "plain", messages: ASK, stream }))).status_code, 502);
    assert.equal((await refused(down.generate({ model: "plain", prompt: "hi", stream }))).status_code, 502);
  }
  assert.equal((await refused(down.list())).status_code, 502);
});

each("error_midway_comes_after_the_text", ["dies", "closes", "truncates", "errlate"], async (model) => {
  for (const stream of [await client.chat({ model, messages: ASK, stream: true }),
    await client.generate({ model, prompt: "hi", stream: true })]) {
    let text = "";
    const error = await refused((async () => {
      for await (const part of stream) text += part.message ? part.message.content : part.response;
    })());
    assert.equal(text, "Hello from the");
    // This is what the client says when nothing told it of an error.
    assert.doesNotMatch(error.message, /Did not receive done|object Object|terminated/);
    if (model === "errlate") assert.match(error.message, /ran out of memory/);
  }
});

const WHOLE_FAILURES = ["dies", "closes", "truncates", "errstream"];
each("error_in_a_whole_answer_or_first_event_has_a_status", WHOLE_FAILURES, async (model) => {
  const asked = model === "errstream" ? Object.values(ways) : Object.values(whole);
  for (const ask of asked) {
    const error = await refused(ask(model));
    assert.ok(error.status_code >= 500 && error.status_code < 600, inspect(error));
    if (model === "errstream") assert.match(error.message, /ran out of memory/);
  }
});

// --- hanging up -------------------------------------------------------------------------------------------------

const pollSeen = async (what, find) => {
  const end = Date.now() + 5000;
  while (Date.now() < end) {
    const found = find(await seen());
    if (found !== undefined) return found;
    await delay(20);
  }
  assert.fail(`the backend has not seen ${what} within five seconds`);
};
const startedAfter = (count, model) => pollSeen("the request", ({ requests }) =>
  requests.slice(count).find((request) => request.body?.model === model)?.id);
const checkHangUp = async (id, leftAt) => {
  const at = await pollSeen("the hang-up", ({ hangups }) => hangups.find((one) => one.id === id)?.time);
  assert.ok(at * 1000 - leftAt <= HANG_UP_WITHIN_MS, `${at * 1000 - leftAt} ms`);
};

each("abort_hangs_up_upstream", ["client", "stream", "break"], async (how) => {
  // `client.abort()` ends every stream of its client, so it gets a client of its own.
  const own = new Ollama({ host: PROXY });
  const count = (await seen()).requests.length;
  let parts = 0;
  let leftAt;
  const stream = await own.chat({ model: "slow", messages: ASK, stream: true });
  const id = await startedAfter(count, "slow");
  const read = (async () => {
    for await (const part of stream) {
      parts += part.message.content ? 1 : 0;
      if (parts < 3) continue;
      leftAt ??= Date.now();
      if (how === "client") own.abort();
      else if (how === "stream") stream.abort();
      else break;
    }
  })();
  if (how === "break") {
    await read;
    // The client does not cancel the body when its reader stops early; only an abort closes the connection.
    stream.abort();
    leftAt = Date.now();
  } else {
    assert.equal((await refused(read)).name, "AbortError");
  }
  await checkHangUp(id, leftAt);
});

test("others_are_served_after_all_that", async () => {
  for (const [name, ask] of Object.entries(ways)) assert.equal(await ask("plain"), texts.plain, name);
});

let passed = 0;
let failed = 0;
for (const [name, run] of cases) {
  warnings.length = 0;
  // A case that hangs must fail, not hold the run.
  const bound = new AbortController();
  const late = delay(CASE_MS, undefined, { signal: bound.signal, ref: false }).then(
    () => assert.fail(`not done within ${CASE_MS} ms`), () => {});
  try {
    await Promise.race([run(), late]);
    assert.deepEqual(warnings, [], "the client warned");
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n${inspect(error)}`);
  } finally {
    bound.abort();
  }
}
console.log(`javascript client: ${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
