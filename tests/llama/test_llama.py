"""The proxy against llama-cpp-python's own server: what Ollama's Python client reads through the proxy must be what the
server says to whoever asks it directly.

The model is random garbage (make_gguf.py), so nothing here looks at sense; the same question at temperature 0 with a
seed has one answer, and that answer must arrive unharmed. It refuses to mock: both ends are real.

usage: test_llama.py PROXY_URL BACKEND_URL
"""

import json
import math
import re
import sys
import time
import traceback

import httpx
import ollama

PROXY, BACKEND = sys.argv[1:3]
MODEL = "tiny"
QUESTIONS = ["Hello", "Why is the sky blue?", "one two 😀 中 \u2028 three", 'quotes " and \\ and\ttabs\nand lines']
# Greedy and seeded: one question, one answer. The server's own defaults differ between its two endpoints, so the
# direct request names the same three.
GREEDY = {"temperature": 0, "seed": 7, "num_predict": 64}
COUNTS = ("prompt_eval_count", "eval_count")
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")

client = ollama.Client(PROXY, timeout=60)
http = httpx.Client(timeout=60)


def said(question: str) -> list[dict]:
    return [{"role": "user", "content": question}]


def upstream_options(options: dict) -> dict:
    names = {"num_predict": "max_tokens"}
    return {names.get(name, name): value for name, value in options.items()}


def direct_whole(path: str, body: dict) -> dict:
    answer = http.post(f"{BACKEND}/v1/{path}", json={"model": MODEL, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def direct_deltas(path: str, body: dict) -> list[str]:
    """The texts of the server's own events, by a reader with no other purpose than being obviously right."""
    deltas = []
    with http.stream("POST", f"{BACKEND}/v1/{path}", json={"model": MODEL, "stream": True, **body}) as answer:
        assert answer.status_code == 200
        for event in answer.read().decode("utf-8").split("\n\n"):
            if event.startswith("data: {"):
                choice = json.loads(event.removeprefix("data: "))["choices"][0]
                deltas.append(choice["text"] if "text" in choice else choice["delta"].get("content") or "")
    return [delta for delta in deltas if delta]


def raw_lines(path: str, body: dict) -> list[dict]:
    """One streamed answer as bytes: checks the framing, returns the parsed lines."""
    with http.stream("POST", f"{PROXY}/api/{path}", json={"model": MODEL, **body}) as answer:
        raw = answer.read()
        assert answer.status_code == 200, (answer.status_code, raw)
        assert answer.headers["content-type"] == "application/x-ndjson", answer.headers
    assert raw.endswith(b"\n"), raw[-80:]
    lines = raw.split(b"\n")[:-1]
    for line in lines:
        assert line.strip(), "a blank line"
        assert len(line) < 64 * 1024, len(line)
        # What `splitlines` would split at: httpx's `iter_lines` does, inside a JSON string too.
        assert line.decode("utf-8").splitlines() == [line.decode("utf-8")], line
    parsed = [json.loads(line) for line in lines]
    assert [line["done"] for line in parsed] == [False] * (len(parsed) - 1) + [True], parsed[-2:]
    return parsed


def check_durations(last, names=DURATIONS) -> None:
    for name in names:
        value = last[name]
        assert type(value) is int and value > 0, (name, value)
    assert last["total_duration"] >= last["eval_duration"], last


def check_whole_durations(answer) -> None:
    # Nobody sees the first token of a whole answer: the time until it may be left out.
    check_durations(answer, ("total_duration", "load_duration", "eval_duration"))
    assert answer.prompt_eval_duration is None or answer.prompt_eval_duration > 0, answer
    # All the server's work is between the question and the head of its answer; none of it is ours.
    assert answer.load_duration < answer.total_duration / 2, answer


# --- the small GETs ----------------------------------------------------------------------------------------------


def test_list_has_the_served_models_under_a_tag():
    models = client.list().models
    # This server gives no `created`.
    assert sorted(model.model for model in models) == ["bytes:latest", "embed:latest", "tiny:latest"], models
    for raw in http.get(f"{PROXY}/api/tags").json()["models"]:
        assert raw["name"] == raw["model"], raw
        assert re.fullmatch("[0-9a-f]{64}", raw["digest"]), raw


def test_show_describes_the_model_with_and_without_tag():
    for name in ("tiny", "tiny:latest", "TINY"):
        shown = client.show(name)
        assert "completion" in shown.capabilities, shown
        assert "embedding" not in shown.capabilities, shown
        assert shown.modelinfo["general.architecture"], shown


def test_version_is_three_numbers():
    version = http.get(f"{PROXY}/api/version").json()["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version), version
    assert tuple(map(int, version.split("."))) >= (0, 12, 0), version


def test_ps_shows_what_was_used_until_it_is_unloaded():
    client.chat(MODEL, said("Hi"), options={**GREEDY, "num_predict": 2})
    assert [entry.model for entry in client.ps().models] == ["tiny:latest"]
    client.generate(MODEL, keep_alive=0)
    assert client.ps().models == []


# --- the same text, four ways ------------------------------------------------------------------------------------


def test_chat_whole_is_what_the_server_says():
    for question in QUESTIONS:
        direct = direct_whole("chat/completions", {"messages": said(question), **upstream_options(GREEDY)})
        whole = client.chat(MODEL, said(question), options=GREEDY)
        assert whole.message.content == direct["choices"][0]["message"]["content"], (whole, direct)
        assert whole.message.content, "an empty answer proves nothing"
        assert whole.done is True and whole.message.role == "assistant" and whole.model == MODEL, whole
        assert whole.prompt_eval_count == direct["usage"]["prompt_tokens"], (whole, direct["usage"])
        assert whole.eval_count == direct["usage"]["completion_tokens"], (whole, direct["usage"])
        check_whole_durations(whole)


def test_chat_streamed_is_what_the_server_says():
    for question in QUESTIONS:
        body = {"messages": said(question), **upstream_options(GREEDY)}
        deltas = direct_deltas("chat/completions", body)
        parts = list(client.chat(MODEL, said(question), options=GREEDY, stream=True))
        text = "".join(part.message.content for part in parts)
        assert text == "".join(deltas), (text, deltas)
        assert text == client.chat(MODEL, said(question), options=GREEDY).message.content
        assert len(parts) > 10, "a stream arrives in parts"
        assert all(part.message.content is not None and part.message.role == "assistant" for part in parts)


def test_generate_whole_and_streamed_are_the_same_text():
    for question in QUESTIONS:
        # Generate is a chat of one message, as Ollama itself does it.
        direct = direct_whole("chat/completions", {"messages": said(question), **upstream_options(GREEDY)})
        whole = client.generate(MODEL, question, options=GREEDY)
        assert whole.response == direct["choices"][0]["message"]["content"], (whole, direct)
        assert whole.eval_count == direct["usage"]["completion_tokens"], (whole, direct["usage"])
        assert whole.prompt_eval_count == direct["usage"]["prompt_tokens"], (whole, direct["usage"])
        check_whole_durations(whole)
        parts = list(client.generate(MODEL, question, options=GREEDY, stream=True))
        assert "".join(part.response for part in parts) == whole.response


def test_system_text_reaches_the_model():
    direct = direct_whole("chat/completions", {
        "messages": [{"role": "system", "content": "Be brief."}, *said("Hello")], **upstream_options(GREEDY)})
    whole = client.generate(MODEL, "Hello", system="Be brief.", options=GREEDY)
    assert whole.response == direct["choices"][0]["message"]["content"], (whole, direct)
    assert whole.prompt_eval_count == direct["usage"]["prompt_tokens"], (whole, direct["usage"])


def test_a_conversation_with_history_reaches_the_model():
    messages = [*said("Hello"), {"role": "assistant", "content": "Hi \u0085\u2029 \"you\""}, *said("And now?")]
    direct = direct_whole("chat/completions", {"messages": messages, **upstream_options(GREEDY)})
    whole = client.chat(MODEL, messages, options=GREEDY)
    assert whole.message.content == direct["choices"][0]["message"]["content"], (whole, direct)
    assert whole.prompt_eval_count == direct["usage"]["prompt_tokens"], (whole, direct["usage"])


def test_hot_sampling_with_a_seed_is_carried_as_it_is():
    hot = {"temperature": 2.0, "top_p": 1.0, "seed": 3, "num_predict": 200}
    body = {"messages": said("Hello"), **upstream_options(hot)}
    parts = client.chat(MODEL, said("Hello"), options=hot, stream=True)
    assert "".join(part.message.content for part in parts) == "".join(direct_deltas("chat/completions", body))
    whole = client.chat(MODEL, said("Hello"), options=hot)
    assert whole.message.content == direct_whole("chat/completions", body)["choices"][0]["message"]["content"]


def test_broken_characters_are_carried_as_the_server_mends_them():
    # The other model speaks single bytes: broken UTF-8, which the server holds back and then drops, not in the same
    # way streamed and whole. Each way must be carried as the server says it.
    for question in QUESTIONS:
        body = {"model": "bytes", "messages": said(question), **upstream_options(GREEDY)}
        streamed = "".join(direct_deltas("chat/completions", body))
        parts = list(client.chat("bytes", said(question), options=GREEDY, stream=True))
        assert "".join(part.message.content for part in parts) == streamed
        whole = client.chat("bytes", said(question), options=GREEDY)
        direct = direct_whole("chat/completions", body)
        assert whole.message.content == direct["choices"][0]["message"]["content"]
        assert whole.eval_count == direct["usage"]["completion_tokens"], (whole, direct["usage"])


# --- raw completions ---------------------------------------------------------------------------------------------


def test_raw_generate_goes_through_completions():
    body = {"prompt": "Once upon", **upstream_options(GREEDY)}
    direct = direct_whole("completions", body)
    whole = client.generate(MODEL, "Once upon", raw=True, options=GREEDY)
    assert whole.response == direct["choices"][0]["text"], (whole, direct)
    assert whole.prompt_eval_count == direct["usage"]["prompt_tokens"], (whole, direct["usage"])
    assert whole.eval_count == direct["usage"]["completion_tokens"], (whole, direct["usage"])
    # The chat template adds tokens: had the prompt gone the other way, the count would tell.
    assert whole.prompt_eval_count < client.generate(MODEL, "Once upon", options=GREEDY).prompt_eval_count
    parts = list(client.generate(MODEL, "Once upon", raw=True, options=GREEDY, stream=True))
    assert "".join(part.response for part in parts) == whole.response == "".join(direct_deltas("completions", body))


def test_suffix_goes_through_completions():
    body = {"prompt": "def f(", "suffix": "return x", **upstream_options(GREEDY)}
    whole = client.generate(MODEL, "def f(", suffix="return x", options=GREEDY)
    direct = direct_whole("completions", body)
    assert whole.response == direct["choices"][0]["text"], (whole, direct)
    assert whole.prompt_eval_count == direct["usage"]["prompt_tokens"], (whole, direct["usage"])


# --- ends and counts ---------------------------------------------------------------------------------------------


def test_num_predict_is_kept_and_named_as_the_reason():
    for length in (1, 9):
        options = {**GREEDY, "num_predict": length}
        whole = client.chat(MODEL, said("Hello"), options=options)
        assert (whole.eval_count, whole.done_reason) == (length, "length"), whole
        last = list(client.chat(MODEL, said("Hello"), options=options, stream=True))[-1]
        assert (last.done, last.done_reason) == (True, "length"), last
        assert client.generate(MODEL, "Hello", options=options).done_reason == "length"
        assert client.generate(MODEL, "Hello", raw=True, options=options).done_reason == "length"


def test_a_stop_text_ends_the_answer():
    full = client.chat(MODEL, said("Hello"), options=GREEDY).message.content
    middle = len(full) // 2
    stop = full[middle:middle + 3]
    options = {**GREEDY, "stop": [stop]}
    expected = full[:full.index(stop)]
    whole = client.chat(MODEL, said("Hello"), options=options)
    assert (whole.message.content, whole.done_reason) == (expected, "stop"), (whole, expected)
    parts = list(client.chat(MODEL, said("Hello"), options=options, stream=True))
    body = {"messages": said("Hello"), **upstream_options(options)}
    assert "".join(part.message.content for part in parts) == "".join(direct_deltas("chat/completions", body))
    assert parts[-1].done_reason == "stop", parts[-1]


def test_streamed_counts_are_integers_though_the_server_gives_none():
    question = "Why is the sky blue?"
    deltas = direct_deltas("chat/completions", {"messages": said(question), **upstream_options(GREEDY)})
    for path, body in (("chat", {"messages": said(question)}), ("generate", {"prompt": question})):
        last = raw_lines(path, {**body, "options": GREEDY})[-1]
        assert type(last["eval_count"]) is int and last["eval_count"] == len(deltas), (last, len(deltas))
        # Nobody counted the prompt: absent or an integer, never null or a fraction.
        assert type(last.get("prompt_eval_count", 0)) is int, last
        check_durations(last)


# --- raw bytes ---------------------------------------------------------------------------------------------------


def test_every_raw_line_is_one_json_object():
    for question in QUESTIONS:
        lines = raw_lines("chat", {"messages": said(question), "options": GREEDY})
        assert all(set(line["message"]) == {"role", "content"} for line in lines), lines
        assert all(line["model"] == MODEL and line["created_at"].endswith("Z") for line in lines), lines
        lines = raw_lines("generate", {"prompt": question, "options": GREEDY})
        assert all(isinstance(line["response"], str) for line in lines), lines
        lines = raw_lines("generate", {"prompt": question, "raw": True, "options": GREEDY})
        assert all(isinstance(line["response"], str) for line in lines), lines


def test_metrics_are_on_the_last_line_only():
    lines = raw_lines("chat", {"messages": said("Hello"), "options": GREEDY})
    for line in lines[:-1]:
        assert not {"done_reason", *COUNTS, *DURATIONS} & set(line), line


# --- formats -----------------------------------------------------------------------------------------------------


def test_format_json_is_the_servers_json_mode():
    body = {"messages": said("Hello"), **upstream_options(GREEDY), "response_format": {"type": "json_object"}}
    direct = direct_whole("chat/completions", body)["choices"][0]["message"]["content"]
    assert client.chat(MODEL, said("Hello"), format="json", options=GREEDY).message.content == direct


def test_a_schema_the_server_refuses_is_a_plain_error():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    for stream in (False, True):
        try:
            answer = client.chat(MODEL, said("Hello"), format=schema, options=GREEDY, stream=stream)
            list(answer)
        except ollama.ResponseError as error:
            assert error.status_code >= 400 and "json_schema" in error.error, (error.status_code, error.error)
        else:
            raise AssertionError("this server knows json_object only; the client must hear of it")


# --- errors ------------------------------------------------------------------------------------------------------


def test_an_unknown_model_is_refused_or_answered_as_the_server_does():
    # This server answers whatever name it is given with the one model it has. The proxy either lets it, under the
    # name the client used, or says so as Ollama does; never anything else.
    try:
        answer = client.chat("nobody", said("Hello"), options=GREEDY)
    except ollama.ResponseError as error:
        assert error.status_code == 404 and "not found" in error.error, (error.status_code, error.error)
    else:
        assert answer.model == "nobody" and answer.message.content, answer
    try:
        client.show("nobody")
    except ollama.ResponseError as error:
        assert error.status_code == 404 and "not found" in error.error, (error.status_code, error.error)
    else:
        raise AssertionError("a model that is not listed cannot be shown")


def test_too_long_a_prompt_is_the_servers_own_error():
    try:
        client.chat(MODEL, said("x" * 40_000))
    except ollama.ResponseError as error:
        assert error.status_code == 400 and "maximum context length" in error.error, (error.status_code, error.error)
    else:
        raise AssertionError("40,000 tokens fit nowhere")


def test_a_stream_that_ends_before_it_began_is_an_error_with_a_status():
    # Asked for a stream, this server first says 200 and then ends it without an event. Nothing was promised to the
    # client yet, so it must get a real status.
    answer = http.post(f"{PROXY}/api/chat", json={"model": MODEL, "messages": said("x" * 40_000)})
    assert answer.status_code == 502, (answer.status_code, answer.text)
    assert isinstance(answer.json()["error"], str), answer.text


def test_the_next_request_after_a_failed_stream_is_served():
    # After such a stream the server closes the connection, though it has ended the body properly and announced
    # nothing. Whoever asks next must not be sent down it.
    for _ in range(5):
        http.post(f"{PROXY}/api/chat", json={"model": MODEL, "messages": said("x" * 40_000)})
        answer = client.chat(MODEL, said("Hi"), options={**GREEDY, "num_predict": 2})
        assert answer.eval_count == 2, answer


# --- hanging up --------------------------------------------------------------------------------------------------


def test_hanging_up_frees_the_server():
    # The server makes one answer at a time, and this one would take minutes.
    endless = {"temperature": 0, "seed": 7}
    stream = client.chat(MODEL, said("Hello"), options=endless, stream=True)
    for _ in range(3):
        assert next(stream).done is False
    # First the proof that this test can see a proxy that holds on: while the stream is read, nobody else is served.
    body = {"model": MODEL, "messages": said("Hi"), "max_tokens": 1}
    try:
        httpx.post(f"{BACKEND}/v1/chat/completions", json=body, timeout=1)
    except httpx.ReadTimeout:
        pass
    else:
        raise AssertionError("the server answered two at once; this test has lost its ground")
    stream.close()
    started = time.monotonic()
    answer = ollama.Client(PROXY, timeout=20).chat(MODEL, said("Hi"), options={**GREEDY, "num_predict": 2})
    assert answer.eval_count == 2, answer
    assert time.monotonic() - started < 5, time.monotonic() - started


# --- embeddings --------------------------------------------------------------------------------------------------


def test_embed_is_the_servers_vectors_at_unit_length_in_order():
    direct = http.post(f"{BACKEND}/v1/embeddings", json={"model": "embed", "input": QUESTIONS}).json()
    vectors = [entry["embedding"] for entry in sorted(direct["data"], key=lambda entry: entry["index"])]
    lengths = [math.hypot(*vector) for vector in vectors]
    assert min(lengths) > 1.5, ("nothing is left to scale", lengths)
    answer = client.embed("embed", QUESTIONS)
    assert len(answer.embeddings) == len(QUESTIONS), len(answer.embeddings)
    assert answer.prompt_eval_count == direct["usage"]["prompt_tokens"], answer
    for got, vector, length in zip(answer.embeddings, vectors, lengths):
        assert math.isclose(math.hypot(*got), 1, abs_tol=1e-9), math.hypot(*got)
        # The server computes a batch anew: the last bits of 32 may differ.
        assert all(math.isclose(a, b / length, abs_tol=1e-5) for a, b in zip(got, vector, strict=True)), (got, vector)
    # Each is another vector, so a swapped order would show.
    assert all(math.dist(answer.embeddings[0], other) > 1e-3 for other in answer.embeddings[1:]), answer.embeddings
    assert "embedding" in client.show("embed").capabilities


def test_embeddings_are_as_the_server_gives_them():
    direct = http.post(f"{BACKEND}/v1/embeddings", json={"model": "embed", "input": QUESTIONS[1]}).json()
    vector = direct["data"][0]["embedding"]
    got = client.embeddings("embed", QUESTIONS[1]).embedding
    assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(got, vector, strict=True)), (got, vector)


def main() -> int:
    passed = failed = 0
    for name, case in [(name, case) for name, case in globals().items() if name.startswith("test_")]:
        try:
            case()
        except Exception:  # a failing case must not hide the ones after it
            failed += 1
            print(f"FAIL {name}")
            traceback.print_exc(file=sys.stdout)
        else:
            passed += 1
            print(f"ok   {name}")
    print(f"llama: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
