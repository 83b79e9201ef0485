"""The real Python client, unmodified, sync and async, through the proxy to a scripted backend.

Each case asks as an application would and looks at what the client hands out, and, where the client hides it, at the
raw bytes (httpx) and at what reached the backend (`GET /_seen`). It refuses to know how the proxy works: whatever the
contract leaves open is left open here.

usage: PROXY=URL PROXY_KEYED=URL PROXY_DOWN=URL BACKEND=URL test_python.py
"""

import asyncio
import inspect
import json
import os
import re
import sys
import time
from datetime import datetime, timezone

import httpx
from cases import case, each, run
from ollama import AsyncClient, Client, ResponseError

PROXY, KEYED, DOWN, BACKEND = (os.environ[name] for name in ("PROXY", "PROXY_KEYED", "PROXY_DOWN", "BACKEND"))
ASK = [{"role": "user", "content": "hi"}]
# Every wait has a bound; the client itself would wait for ever.
TIMEOUT_S = 30
HANG_UP_WITHIN_S = 1.0
LINE_MAX = 64 * 1024
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")

client = Client(PROXY, timeout=TIMEOUT_S)
http = httpx.Client(timeout=TIMEOUT_S)
TEXTS = {model: "".join(pieces) for model, pieces in http.get(f"{BACKEND}/_texts").json().items()}
PIECES = {model: len(pieces) for model, pieces in http.get(f"{BACKEND}/_texts").json().items()}

# --- ways to ask -------------------------------------------------------------------------------------------------


def chat_whole(model: str, **more) -> str:
    return client.chat(model, ASK, **more).message.content


def chat_streamed(model: str, **more) -> str:
    return "".join(part.message.content for part in client.chat(model, ASK, stream=True, **more))


def generate_whole(model: str, **more) -> str:
    return client.generate(model, "hi", **more).response


def generate_streamed(model: str, **more) -> str:
    return "".join(part.response for part in client.generate(model, "hi", stream=True, **more))


def raw_generate_streamed(model: str, **more) -> str:
    return generate_streamed(model, raw=True, **more)


def async_chat_whole(model: str, **more) -> str:
    async def ask() -> str:
        return (await AsyncClient(PROXY, timeout=TIMEOUT_S).chat(model, ASK, **more)).message.content
    return asyncio.run(ask())


def async_chat_streamed(model: str, **more) -> str:
    async def ask() -> str:
        parts = await AsyncClient(PROXY, timeout=TIMEOUT_S).chat(model, ASK, stream=True, **more)
        return "".join([part.message.content async for part in parts])
    return asyncio.run(ask())


def async_generate_streamed(model: str, **more) -> str:
    async def ask() -> str:
        parts = await AsyncClient(PROXY, timeout=TIMEOUT_S).generate(model, "hi", stream=True, **more)
        return "".join([part.response async for part in parts])
    return asyncio.run(ask())


WHOLE = [chat_whole, generate_whole, async_chat_whole]
STREAMED = [chat_streamed, generate_streamed, raw_generate_streamed, async_chat_streamed, async_generate_streamed]


def upstream_of(ask) -> dict:
    """What the backend received: the model `echo` answers with the request it got."""
    return json.loads(ask)


def refused(ask, *arguments, **more) -> ResponseError:
    try:
        answer = ask(*arguments, **more)
        if inspect.isgenerator(answer):
            answer = list(answer)
    except ResponseError as error:
        return error
    raise AssertionError(f"no error but an answer: {str(answer)[:200]}")


def seen() -> dict:
    return http.get(f"{BACKEND}/_seen").json()


def requests_since(count: int) -> list:
    return [request for request in seen()["requests"][count:] if request["path"] != "/v1/models"]


def body_of(path: str, model: str) -> dict:
    return {"model": model, **({"messages": ASK} if path == "chat" else {"prompt": "hi"})}


def raw_lines(path: str, body: dict) -> list[dict]:
    """One streamed answer as bytes: checks status, type and framing, returns the parsed lines."""
    with http.stream("POST", f"{PROXY}/api/{path}", json=body) as answer:
        raw = answer.read()
        assert answer.status_code == 200, (answer.status_code, raw)
        assert answer.headers["content-type"] == "application/x-ndjson", answer.headers
        assert "content-length" not in answer.headers, answer.headers
    assert raw.endswith(b"\n"), raw[-80:]
    lines = raw.split(b"\n")[:-1]
    for line in lines:
        assert line.strip(), "a blank line"
        assert len(line) + 1 <= LINE_MAX, f"a line of {len(line) + 1} bytes"
        text = line.decode("utf-8")
        assert text.splitlines() == [text], f"a raw line separator in {text[:200]!r}"
    return [json.loads(line) for line in lines]


def text_of(path: str, lines: list) -> str:
    return "".join(line["message"]["content"] if path == "chat" else line["response"] for line in lines)


# --- the small GETs ----------------------------------------------------------------------------------------------


@case
def root_says_it_is_running():
    assert http.get(PROXY).text == "Ollama is running"
    head = http.head(PROXY)
    assert (head.status_code, head.content) == (200, b""), head


@case
def version_is_three_numbers():
    version = http.get(f"{PROXY}/api/version").json()["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version), version
    assert tuple(map(int, version.split("."))) >= (0, 12, 0), version


@case
def list_has_every_model_once_under_a_tag():
    listed = client.list().models
    offered = {model["id"]: model["created"] for model in http.get(f"{BACKEND}/v1/models").json()["data"]}
    assert sorted(model.model for model in listed) == sorted(f"{name}:latest" for name in offered), listed
    for model in listed:
        assert model.modified_at.timestamp() == offered[model.model.removesuffix(":latest")], model
        assert model.details is not None and model.size is not None, model
    raw = http.get(f"{PROXY}/api/tags")
    assert raw.headers["content-type"] == "application/json; charset=utf-8", raw.headers
    models = raw.json()["models"]
    assert all(model["name"] == model["model"] for model in models), models[0]
    assert all(re.fullmatch("[0-9a-f]{64}", model["digest"]) for model in models), models[0]
    assert len({model["digest"] for model in models}) == len(models), "two models with one digest"
    assert http.head(f"{PROXY}/api/tags").status_code == 200


@case
def list_async_is_the_same():
    async def ask():
        return await AsyncClient(PROXY, timeout=TIMEOUT_S).list()
    assert sorted(model.model for model in asyncio.run(ask()).models) == sorted(m.model for m in client.list().models)


@each(["plain", "plain:latest", "PLAIN", "Plain:Latest"])
def show_knows_the_model_as(name):
    shown = client.show(name)
    assert "completion" in shown.capabilities and "embedding" not in shown.capabilities, shown
    assert shown.modelinfo["general.architecture"] and shown.template, shown
    # The command line and older editors still send `name`.
    by_name = http.post(f"{PROXY}/api/show", json={"name": name})
    assert by_name.status_code == 200 and by_name.json()["model_info"], by_name.text


@case
def show_tells_the_context_length_that_was_set():
    # The proxy with a key was also told OLLAMA_CONTEXT_LENGTH; editors size their prompts by it.
    info = Client(KEYED, timeout=TIMEOUT_S).show("plain").modelinfo
    length = info[f"{info['general.architecture']}.context_length"]
    assert type(length) is int and length == 8192, info


@case
def show_of_an_unknown_model_is_404():
    error = refused(client.show, "nobody")
    assert error.status_code == 404 and "not found" in error.error, (error.status_code, error.error)


@case
def ps_parses():
    client.generate("plain", "hi", keep_alive="10h")
    entry = next(entry for entry in client.ps().models if entry.model == "plain:latest")
    listed = next(model for model in client.list().models if model.model == "plain:latest")
    assert (entry.name, entry.digest) == ("plain:latest", listed.digest), entry
    hours = (entry.expires_at - datetime.now(timezone.utc)).total_seconds() / 3600
    assert 9 < hours <= 10, entry.expires_at
    client.generate("plain", keep_alive=0)
    assert all(entry.model != "plain:latest" for entry in client.ps().models)


# --- text --------------------------------------------------------------------------------------------------------


@each(TEXTS)
def text_arrives_unharmed_every_way(model):
    for ask in WHOLE + STREAMED:
        text = ask(model)
        assert text == TEXTS[model], f"{ask.__name__}: got {text[:300]!r}, expected {TEXTS[model][:300]!r}"


@each([f"{path} {model}" for path in ("chat", "generate") for model in TEXTS])
def raw_stream_is_well_framed(which):
    path, model = which.split()
    # `stream` is not named: true is the default.
    lines = raw_lines(path, body_of(path, model))
    assert text_of(path, lines) == TEXTS[model]
    *before, last = lines
    for line in before:
        assert line["done"] is False and "done_reason" not in line and "total_duration" not in line, line
        assert list(line) == ["model", "created_at", "message" if path == "chat" else "response", "done"], line
    assert last["done"] is True, last
    assert last["done_reason"] == ("length" if model == "length" else "stop"), last
    for line in lines:
        assert line["model"] == model, line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", line["created_at"]), line
        datetime.fromisoformat(re.sub(r"(\.\d{1,6})?\d*Z$", "+00:00", line["created_at"]))
    for name in DURATIONS:
        # Omitted when zero; there is nothing to time in an answer without a token.
        value = last.get(name, 0)
        assert type(value) is int and (value > 0 or not TEXTS[model]), (name, value)
    if model == "nousage":
        assert last["eval_count"] == PIECES[model], last
        assert type(last.get("prompt_eval_count", 0)) is int, last
    else:
        assert (last["prompt_eval_count"], last["eval_count"]) == (11, 7), last


@case
def stream_comes_in_parts_as_the_backend_sends_them():
    parts = [part.message.content for part in client.chat("plain", ASK, stream=True)]
    assert [part for part in parts if part] == ["Hello", " from", " the", " scripted", " backend", "."], parts


@each(["chat", "generate"])
def whole_answer_has_the_fields_in_order(path):
    answer = http.post(f"{PROXY}/api/{path}", json={**body_of(path, "plain"), "stream": False})
    assert answer.headers["content-type"] == "application/json; charset=utf-8", answer.headers
    value = answer.json()
    # Nobody sees the first token of a whole answer: the time until it may be left out.
    value.setdefault("prompt_eval_duration", 1)
    assert [name for name in value if name != "prompt_eval_duration"] == [
        "model", "created_at", "message" if path == "chat" else "response", "done", "done_reason", "total_duration",
        "load_duration", "prompt_eval_count", "eval_count", "eval_duration"], value
    assert (value["done"], value["done_reason"]) == (True, "stop"), value
    assert (value["prompt_eval_count"], value["eval_count"]) == (11, 7), value
    for name in DURATIONS:
        assert type(value[name]) is int and value[name] > 0, (name, value[name])


@each([chat_whole, chat_streamed, generate_whole, generate_streamed])
def time_is_told_where_it_was_spent_by(ask):
    # The backend thinks for 0.4 s before it says anything. That is no loading of ours, and an answer's tokens per
    # second are worked out from what is told here.
    parts = []
    if ask in (chat_whole, generate_whole):
        parts.append(client.chat("late", ASK) if ask is chat_whole else client.generate("late", "hi"))
    else:
        streamed = ask is chat_streamed
        parts.extend(client.chat("late", ASK, stream=True) if streamed else client.generate("late", "hi", stream=True))
    last = parts[-1]
    assert last.total_duration >= 400_000_000, last
    assert last.load_duration < 200_000_000, last
    assert (last.prompt_eval_duration or 0) + last.eval_duration >= 300_000_000, last
    assert len(parts) == 1 or last.prompt_eval_duration >= 300_000_000, last


@case
def whole_answer_cut_by_length_says_so():
    assert client.chat("length", ASK).done_reason == "length"
    assert client.generate("length", "hi").done_reason == "length"


@case
async def many_streams_at_once_do_not_mix():
    asker = AsyncClient(PROXY, timeout=TIMEOUT_S)

    async def ask(model: str) -> None:
        parts = await asker.chat(model, ASK, stream=True)
        text = "".join([part.message.content async for part in parts])
        assert text == TEXTS[model], (model, text[:200])

    models = [model for model in TEXTS if model != "big"] * 6
    await asyncio.gather(*(ask(model) for model in models))


# --- what is sent upstream ---------------------------------------------------------------------------------------


@each(["chat", "generate"])
def nothing_is_sent_that_was_not_given(path):
    for stream in (False, True):
        ask = {"chat": (chat_whole, chat_streamed), "generate": (generate_whole, generate_streamed)}[path][stream]
        request = upstream_of(ask("echo"))
        assert request["path"] == "/v1/chat/completions", request
        body = request["body"]
        assert (body["model"], body["messages"]) == ("echo", ASK), body
        assert set(body) <= {"model", "messages", "stream", "stream_options"}, body
        assert bool(body.get("stream")) is stream, body
        if stream:
            assert body["stream_options"]["include_usage"] is True, body
        else:
            assert "stream_options" not in body, body
        assert request["headers"]["content-type"].startswith("application/json"), request
        assert request["headers"].get("accept-encoding", "identity") == "identity", request
        assert request["headers"]["host"] == BACKEND.removeprefix("http://"), request


@each([chat_whole, chat_streamed, generate_whole, generate_streamed, raw_generate_streamed])
def options_are_mapped_by(ask):
    given = {"num_predict": 5, "temperature": 0.25, "top_p": 0.5, "seed": 42, "stop": ["a", "b\n"],
             "frequency_penalty": 0.5, "presence_penalty": -0.5, "num_ctx": 8192, "num_keep": 4, "num_gpu": 1,
             "num_thread": 2, "mirostat": 1, "low_vram": True}
    body = upstream_of(ask("echo", options=given))["body"]
    expected = {"max_tokens": 5, "temperature": 0.25, "top_p": 0.5, "seed": 42, "stop": ["a", "b\n"],
                "frequency_penalty": 0.5, "presence_penalty": -0.5}
    known = {"model", "messages", "prompt", "stream", "stream_options"}
    assert {name: value for name, value in body.items() if name not in known} == expected, body


@case
def options_that_mean_nothing_are_not_sent():
    given = {"num_predict": -1, "seed": -1, "stop": [], "num_ctx": 4096}
    for more in (given, {**given, "num_predict": -2}, {"num_predict": 0}, {}, None):
        body = upstream_of(chat_whole("echo", options=more))["body"]
        assert set(body) <= {"model", "messages", "stream"}, (more, body)
    # Zero is a value where it means something.
    body = upstream_of(chat_whole("echo", options={"temperature": 0, "seed": 0, "top_p": 0}))["body"]
    assert (body["temperature"], body["seed"], body["top_p"]) == (0, 0, 0), body


@each([chat_whole, chat_streamed, generate_whole, generate_streamed])
def format_is_mapped_by(ask):
    schema = {"title": "A", "type": "object", "properties": {"z": {"type": "string"}, "a": {"$ref": "#/$defs/B"}},
              "$defs": {"B": {"type": "integer"}}, "required": ["z", "a"]}
    assert upstream_of(ask("echo", format="json"))["body"]["response_format"] == {"type": "json_object"}
    sent = upstream_of(ask("echo", format=schema))["body"]["response_format"]
    assert sent["type"] == "json_schema" and "strict" not in sent["json_schema"], sent
    assert sent["json_schema"]["schema"] == schema and sent["json_schema"]["name"], sent
    assert list(sent["json_schema"]["schema"]["properties"]) == ["z", "a"], "the order of keys is the order of fields"
    for nothing in ("", None):
        assert "response_format" not in upstream_of(ask("echo", format=nothing))["body"]


WEATHER = {"type": "function", "function": {"name": "weather", "description": "the weather of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


@each([False, True])
def tools_go_round(stream):
    """The results go back without ids, as this client sends them: two calls of one name, told apart by their order."""
    def ask(messages):
        answer = client.chat("tools", messages, tools=[WEATHER], stream=stream)
        messages_said = [part.message for part in answer] if stream else [answer.message]
        calls = [call.function for message in messages_said for call in message.tool_calls or []]
        return "".join(message.content for message in messages_said), calls
    text, calls = ask(ASK)
    assert text == "" and [(call.name, call.arguments) for call in calls] == [
        ("weather", {"city": "Paris"}), ("weather", {"city": "Łódź"})], calls
    asked = {"role": "assistant", "tool_calls": [{"function": {"name": call.name, "arguments": call.arguments}}
                                                 for call in calls]}
    results = [{"role": "tool", "tool_name": call.name, "content": f"sunny in {call.arguments['city']}"}
               for call in calls]
    assert ask([*ASK, asked, *results]) == ("Paris: sunny in Paris; Łódź: sunny in Łódź", [])


@case
def structured_output_is_parsed():
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
              "required": ["name", "age"]}
    for ask in (chat_whole, chat_streamed, generate_whole, generate_streamed):
        assert json.loads(ask("json", format=schema)) == {"name": "Ada", "age": 36}


@case
def system_becomes_the_first_message():
    for stream in (False, True):
        ask = generate_streamed if stream else generate_whole
        body = upstream_of(ask("echo", system='be "brief"\n'))["body"]
        assert body["messages"] == [{"role": "system", "content": 'be "brief"\n'}, *ASK], body


@case
def history_goes_as_it_was_said():
    messages = [{"role": "system", "content": "s\u2028\u0085"}, {"role": "user", "content": '🦙 "q" \\ \x00\n'},
                {"role": "assistant", "content": "é\u2029"}, {"role": "user", "content": "x" * 200_000}]
    for stream in (False, True):
        answer = client.chat("echo", messages, stream=stream)
        text = "".join(part.message.content for part in answer) if stream else answer.message.content
        assert upstream_of(text)["body"]["messages"] == messages


@case
def raw_is_the_bare_prompt_through_completions():
    for ask in (generate_whole, generate_streamed):
        request = upstream_of(ask("echo", raw=True, options={"num_predict": 3}))
        assert request["path"] == "/v1/completions", request
        assert (request["body"]["prompt"], request["body"]["max_tokens"]) == ("hi", 3), request
        assert "messages" not in request["body"], request


@case
def suffix_goes_through_completions():
    for ask in (generate_whole, generate_streamed):
        request = upstream_of(ask("echo", suffix="return x\n"))
        assert request["path"] == "/v1/completions", request
        assert (request["body"]["prompt"], request["body"]["suffix"]) == ("hi", "return x\n"), request


@case
def what_has_no_counterpart_stays_here():
    body = upstream_of(generate_whole("echo", context=[1, 2, 3], keep_alive="10m"))["body"]
    assert set(body) <= {"model", "messages", "stream"}, body
    assert client.generate("plain", "hi", context=[1, 2, 3]).response == TEXTS["plain"]
    body = upstream_of(chat_whole("echo", keep_alive=-1, tools=[]))["body"]
    assert set(body) <= {"model", "messages", "stream"}, body


@each([(None, "load"), (0, "unload"), ("0s", "unload"), (300, "load"), ("5m", "load")])
def empty_prompt_calls_nobody(which):
    keep_alive, reason = which
    before = len(seen()["requests"])
    for answer in (client.generate("plain", "", keep_alive=keep_alive), client.generate("plain", keep_alive=keep_alive),
                   client.chat("plain", [], keep_alive=keep_alive), client.chat("plain", keep_alive=keep_alive)):
        assert (answer.done, answer.done_reason) == (True, reason), answer
        assert (answer.message.content if "message" in answer else answer.response) == "", answer
        assert answer.total_duration is None and answer.eval_count is None, answer
    # One JSON object even when a stream was asked for.
    for path, body in (("generate", {"model": "plain"}), ("chat", {"model": "plain", "messages": []})):
        if keep_alive is not None:
            body["keep_alive"] = keep_alive
        answer = http.post(f"{PROXY}/api/{path}", json=body)
        assert answer.headers["content-type"] == "application/json; charset=utf-8", answer.headers
        assert answer.json()["done_reason"] == reason, answer.text
    (part,) = client.generate("plain", "", stream=True, keep_alive=keep_alive)
    assert part.done_reason == reason, part
    assert requests_since(before) == [], "an empty prompt must not reach the backend"


@each(["echo", "echo:latest", "ECHO", "Echo:Latest"])
def name_is_found_and_echoed(name):
    for answer in (client.chat(name, ASK), *client.chat(name, ASK, stream=True)):
        assert answer.model == name, answer
    for answer in (client.generate(name, "hi"), *client.generate(name, "hi", stream=True)):
        assert answer.model == name, answer
    for ask in WHOLE + STREAMED:
        assert upstream_of(ask(name))["body"]["model"] == "echo", name


# --- embeddings --------------------------------------------------------------------------------------------------

UNIT = [1 / 3, 2 / 3, -2 / 3]


def same_vectors(found, expected) -> None:
    found = [list(vector) for vector in found]
    assert [len(vector) for vector in found] == [len(vector) for vector in expected], found
    pairs = [pair for one, other in zip(found, expected) for pair in zip(one, other)]
    assert all(abs(a - b) < 1e-7 for a, b in pairs), (found, expected)


def async_embed(model: str, texts, **more):
    return asyncio.run(AsyncClient(PROXY, timeout=TIMEOUT_S).embed(model, texts, **more))


@each([client.embed, async_embed, Client(KEYED, timeout=TIMEOUT_S).embed])
def embed_gives_unit_vectors_in_order(ask):
    answer = ask("embed", ["a", "b"], truncate=True, keep_alive="5m", options={"num_ctx": 8192})
    same_vectors(answer.embeddings, [UNIT, UNIT])
    assert (answer.model, answer.prompt_eval_count) == ("embed", 2), answer
    assert answer.total_duration >= answer.load_duration > 0, answer
    same_vectors(ask("Embed:latest", "a").embeddings, [UNIT])
    assert ask("embed", []).embeddings == [] and ask("embed", "").embeddings == []


@case
def embed_cuts_to_the_dimensions():
    same_vectors(client.embed("embed", ["a", "b"], dimensions=2).embeddings, [[5 ** -0.5, 2 * 5 ** -0.5]] * 2)
    same_vectors(client.embed("embed", "a", dimensions=4096).embeddings, [UNIT])


@case
def embeddings_of_old_scale_nothing():
    assert list(client.embeddings("embed", "a").embedding) == [1, 2, -2]
    assert list(client.embeddings("embed", "").embedding) == []


@each([("err429", 429, "slow down"), ("err500", 500, "crashed"), ("missing", 404, "not found"),
       ("err401", 502, "incorrect api key")])
def embed_errors_have_their_status(which):
    model, status, text = which
    for ask in (client.embed, async_embed, client.embeddings):
        error = refused(ask, model, "a")
        assert error.status_code == status and text in error.error, (error.status_code, error.error)


# --- authorization -----------------------------------------------------------------------------------------------


def authorization_upstream(proxy: str, headers: dict) -> list:
    asker = Client(proxy, headers=headers, timeout=TIMEOUT_S)
    requests = [json.loads(asker.chat("echo", ASK).message.content),
                json.loads("".join(part.response for part in asker.generate("echo", "hi", stream=True))),
                json.loads(asker.generate("echo", "hi", raw=True).response)]
    assert all("client-key" not in json.dumps({**request["headers"], "authorization": ""}) for request in requests)
    return [request["headers"].get("authorization") for request in requests]


@case
def without_a_key_the_clients_own_goes_upstream():
    assert authorization_upstream(PROXY, {"Authorization": "Bearer client-key"}) == ["Bearer client-key"] * 3
    assert authorization_upstream(PROXY, {}) == [None] * 3


@case
def with_a_key_the_clients_own_never_does():
    assert authorization_upstream(KEYED, {"Authorization": "Bearer client-key"}) == ["Bearer configured-key"] * 3
    assert authorization_upstream(KEYED, {}) == ["Bearer configured-key"] * 3
    before = len(seen()["requests"])
    Client(KEYED, headers={"Authorization": "Bearer client-key"}, timeout=TIMEOUT_S).list()
    assert all(request["headers"].get("authorization") == "Bearer configured-key"
               for request in seen()["requests"][before:])


# --- errors ------------------------------------------------------------------------------------------------------

ERRORS = {
    "nobody": (404, "not found"),
    "missing": (404, "not found"),
    "err429": (429, "slow down"),
    "err401": (502, "incorrect api key"),
    "err500": (500, "the model crashed"),
    "err503": (503, "the model is loading"),
    "htmlerror": (502, "Bad Gateway"),
}


@each(ERRORS)
def error_before_the_first_line_has_its_status(model):
    status, text = ERRORS[model]
    for ask in WHOLE + STREAMED:
        error = refused(ask, model)
        assert error.status_code == status and text in error.error, (ask.__name__, error.status_code, error.error)
        assert "<" not in error.error and "upstream error" not in error.error, error.error
    for path in ("chat", "generate"):
        answer = http.post(f"{PROXY}/api/{path}", json=body_of(path, model))
        assert answer.status_code == status, (answer.status_code, answer.text)
        assert answer.headers["content-type"].startswith("application/json"), answer.headers
        assert list(answer.json()) == ["error"] and isinstance(answer.json()["error"], str), answer.text
        assert (answer.headers.get("retry-after") == "7") is (status == 429), answer.headers


@case
def error_with_the_proxys_own_key_is_not_401():
    # 401 sends the command line into its sign-in flow, whatever the cause.
    error = refused(Client(KEYED, timeout=TIMEOUT_S).chat, "err401", ASK)
    assert error.status_code == 502 and "incorrect api key" in error.error, (error.status_code, error.error)


@case
def error_when_the_backend_is_down_is_502():
    asker = Client(DOWN, timeout=TIMEOUT_S)
    for ask in (lambda: asker.chat("plain", ASK), lambda: asker.chat("plain", ASK, stream=True),
                lambda: asker.generate("plain", "hi"), lambda: asker.generate("plain", "hi", stream=True), asker.list,
                lambda: asker.embed("embed", "a")):
        error = refused(ask)
        assert error.status_code == 502 and error.error, (error.status_code, error.error)
    assert http.get(DOWN).text == "Ollama is running", "the proxy itself is there"
    assert http.get(f"{DOWN}/api/version").status_code == 200


@each(["dies", "closes", "truncates", "errlate"])
def error_midway_comes_after_the_text(model):
    for stream in (client.chat(model, ASK, stream=True), client.generate(model, "hi", stream=True)):
        texts = []
        try:
            for part in stream:
                texts.append(part.message.content if "message" in part else part.response)
                assert part.done is False, part
        except ResponseError as error:
            assert error.error, error
            assert model != "errlate" or "ran out of memory" in error.error, error.error
        else:
            raise AssertionError("the stream ended as if all were well")
        assert "".join(texts) == "Hello from the", texts
    for path in ("chat", "generate"):
        *lines, last = raw_lines(path, body_of(path, model))
        assert list(last) == ["error"] and isinstance(last["error"], str), last
        assert text_of(path, lines) == "Hello from the", lines
        assert not any(line["done"] for line in lines), lines


@case
async def error_midway_reaches_the_async_client():
    texts = []
    try:
        async for part in await AsyncClient(PROXY, timeout=TIMEOUT_S).chat("dies", ASK, stream=True):
            texts.append(part.message.content)
    except ResponseError as error:
        assert error.error, error
    else:
        raise AssertionError("the stream ended as if all were well")
    assert "".join(texts) == "Hello from the", texts


@each(["dies", "closes", "truncates", "errstream", "errlate"])
def error_in_a_whole_answer_has_a_status(model):
    for ask in WHOLE:
        error = refused(ask, model)
        assert 500 <= error.status_code < 600 and error.error, (ask.__name__, error.status_code, error.error)
        assert not model.startswith("err") or "ran out of memory" in error.error, error.error


@case
def error_as_the_first_event_has_a_status():
    for ask in STREAMED:
        error = refused(ask, "errstream")
        # The client says -1 for an error that came as a line.
        assert 500 <= error.status_code < 600 and "ran out of memory" in error.error, (error.status_code, error.error)


@each([("chat", b"", 400, "missing request body"), ("generate", b"", 400, "missing request body"),
       ("chat", b"{}", 400, "model is required"), ("generate", b"{}", 404, "model '' not found"),
       ("show", b"{}", 400, "model is required"), ("embed", b"{}", 404, "model '' not found"),
       ("embeddings", b"{}", 400, "model is required"),
       ("embed", b'{"model":"embed","input":[1]}', 400, "invalid input type"), ("chat", b'{"model":', 400, ""), ("generate", b"[1]", 400, "")])
def request_that_is_wrong_is_told_so(which):
    path, body, status, text = which
    answer = http.post(f"{PROXY}/api/{path}", content=body)
    assert answer.status_code == status and text in answer.json()["error"], (answer.status_code, answer.text)


# --- hanging up --------------------------------------------------------------------------------------------------


def started(model: str, count: int) -> int:
    """Waits until the backend has a request for the model beyond `count`; returns its id."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for request in seen()["requests"][count:]:
            if isinstance(request["body"], dict) and request["body"].get("model") == model:
                return request["id"]
        time.sleep(0.02)
    raise AssertionError(f"no request for {model} reached the backend")


def check_hang_up(request: int, left_at: float) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for hang_up in seen()["hangups"]:
            if hang_up["id"] == request:
                assert hang_up["time"] - left_at <= HANG_UP_WITHIN_S, hang_up["time"] - left_at
                return
        time.sleep(0.02)
    raise AssertionError("the backend still thinks somebody listens, five seconds after the client left")


@each(["chat", "generate"])
def closing_the_stream_hangs_up_upstream(path):
    count = len(seen()["requests"])
    stream = client.chat("slow", ASK, stream=True) if path == "chat" else client.generate("slow", "hi", stream=True)
    for _ in range(3):
        next(stream)
    request = started("slow", count)
    left_at = time.time()
    stream.close()
    check_hang_up(request, left_at)


async def cancel_when_started(asking, model: str, count: int) -> None:
    task = asyncio.ensure_future(asking)
    request = await asyncio.to_thread(started, model, count)
    assert not task.done(), task
    left_at = time.time()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    await asyncio.to_thread(check_hang_up, request, left_at)


@case
async def cancelling_a_streaming_task_hangs_up_upstream():
    async def ask() -> None:
        async for _ in await AsyncClient(PROXY, timeout=TIMEOUT_S).chat("slow", ASK, stream=True):
            pass
    await cancel_when_started(ask(), "slow", len(seen()["requests"]))


@case
async def cancelling_a_whole_request_hangs_up_upstream():
    count = len(seen()["requests"])
    await cancel_when_started(AsyncClient(PROXY, timeout=TIMEOUT_S).chat("slow", ASK), "slow", count)


@case
async def cancelling_before_the_backend_said_anything_hangs_up_upstream():
    async def ask() -> None:
        async for _ in await AsyncClient(PROXY, timeout=TIMEOUT_S).generate("silent", "hi", stream=True):
            pass
    await cancel_when_started(ask(), "silent", len(seen()["requests"]))


@case
def others_are_served_after_all_that():
    assert chat_streamed("plain") == TEXTS["plain"]
    assert Client(KEYED, timeout=TIMEOUT_S).chat("plain", ASK).message.content == TEXTS["plain"]


if __name__ == "__main__":
    sys.exit(run("python client", 2 * TIMEOUT_S))
