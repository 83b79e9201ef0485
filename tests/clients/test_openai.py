"""The official OpenAI client, unmodified, sync and async, through `/v1` of the proxy: whatever it is given there must be
what the backend gives it directly, to the byte, answers and errors alike; only the model goes by an Ollama name.

usage: PROXY=URL PROXY_KEYED=URL PROXY_DOWN=URL BACKEND=URL test_openai.py
"""

import asyncio
import io
import os
import sys
import time

import httpx
import openai
from cases import case, each, run
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

PROXY, KEYED, DOWN, BACKEND = (os.environ[name] for name in ("PROXY", "PROXY_KEYED", "PROXY_DOWN", "BACKEND"))
TIMEOUT_S = 30
HANG_UP_WITHIN_S = 1.0
ASK = [{"role": "user", "content": "hi"}]
HELLO = "Hello from the scripted backend."
WHERE = {"api_key": "the-clients-key", "max_retries": 0, "timeout": TIMEOUT_S}

direct = OpenAI(base_url=f"{BACKEND}/v1", **WHERE)
proxied = OpenAI(base_url=f"{PROXY}/v1", **WHERE)
http = httpx.Client(timeout=TIMEOUT_S)
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


class Person(BaseModel):
    name: str
    age: int


def same(ask, client_name: str, backend_name: str):
    """Asks both in the same way; the two raw answers must be equal, and the one that is parsed is handed on."""
    through, plainly = ask(proxied, client_name), ask(direct, backend_name)
    assert through.content == plainly.content, (through.content, plainly.content)
    for name in ("content-type", "retry-after"):
        assert through.headers.get(name) == plainly.headers.get(name), name
    return through.parse()


def last_request() -> dict:
    return http.get(f"{BACKEND}/_seen").json()["requests"][-1]


# --- answers -------------------------------------------------------------------------------------------------------


@each(["plain", "plain:latest", "PLAIN"])
def chat_answers(name):
    def ask(client, model):
        return client.chat.completions.with_raw_response.create(model=model, messages=ASK)
    answer = same(ask, name, "plain")
    assert answer.choices[0].message.content == HELLO and answer.usage.total_tokens == 18, answer
    assert answer.model == "plain", "the answer is the backend's, and so is the name in it"


@each(["plain", "emoji", "separators", "quotes", "big", "crlf", "bytewise", "spaceless", "escaped", "length", "empty"])
def a_stream_is_the_backends_to_the_byte(model):
    def ask(client, name):
        with client.chat.completions.with_streaming_response.create(
                model=name, messages=ASK, stream=True, stream_options={"include_usage": True}) as answer:
            return answer.headers["content-type"], b"".join(answer.iter_bytes())
    assert ask(proxied, f"{model}:latest") == ask(direct, model)


@case
def a_stream_comes_in_pieces_with_its_usage():
    def ask(client, name):
        stream = client.chat.completions.create(
            model=name, messages=ASK, stream=True, stream_options={"include_usage": True})
        return [chunk.to_dict() for chunk in stream]
    chunks = ask(proxied, "plain:latest")
    assert chunks == ask(direct, "plain")
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"]) == HELLO
    assert chunks[-1]["usage"]["completion_tokens"] == 7, chunks[-1]


@case
def a_stream_is_not_held_back():
    stream = proxied.chat.completions.create(model="slow:latest", messages=ASK, stream=True)
    began = time.monotonic()
    for count, chunk in enumerate(stream):
        assert chunk.choices[0].delta.content == f"{count} ", chunk
        if count == 3:
            break
    assert time.monotonic() - began < TIMEOUT_S / 3, "the whole takes a minute"
    left = time.time()
    stream.close()
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        gone = [hangup for hangup in http.get(f"{BACKEND}/_seen").json()["hangups"] if hangup["time"] >= left - 0.1]
        if any(hangup["model"] == "slow" for hangup in gone):
            assert gone[0]["time"] - left < HANG_UP_WITHIN_S, gone
            return
    raise AssertionError("the backend goes on for nobody")


@case
def the_asynchronous_client_gets_the_same():
    async def ask() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=f"{PROXY}/v1", **WHERE) as client:
            whole = await client.chat.completions.create(model="plain:latest", messages=ASK)
            stream = await client.chat.completions.create(model="plain:latest", messages=ASK, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return whole.choices[0].message.content, "".join(pieces)
    assert asyncio.run(ask()) == (HELLO, HELLO)


@case
def completions_answer_whole_and_streamed():
    def ask(client, name):
        return client.completions.with_raw_response.create(model=name, prompt="hi")
    assert same(ask, "plain:latest", "plain").choices[0].text == HELLO
    stream = proxied.completions.create(model="plain:latest", prompt="hi", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == HELLO


@each([False, True])
def a_round_of_tools(streamed):
    def ask(client, name, messages):
        if not streamed:
            return client.chat.completions.create(model=name, messages=messages, tools=[WEATHER])
        with client.chat.completions.stream(model=name, messages=messages, tools=[WEATHER]) as stream:
            return stream.get_final_completion()
    def round_of(client, name):
        message = ask(client, name, ASK).choices[0].message
        results = [{"role": "tool", "tool_call_id": call.id, "content": f"sunny ({call.function.arguments})"}
                   for call in message.tool_calls]
        history = [*ASK, message.to_dict(exclude_unset=True), *results]
        for call in history[1]["tool_calls"]:
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        history[1].pop("parsed", None)
        said = ask(client, name, history).choices[0].message.content
        return [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls], said
    through = round_of(proxied, "tools:latest")
    assert through == round_of(direct, "tools")
    assert through[1] == 'Paris: sunny ({"city": "Paris"}); Łódź: sunny ({"city": "\\u0141\\u00f3d\\u017a"})', through


@case
def structured_output_is_parsed():
    answer = proxied.chat.completions.parse(model="json:latest", messages=ASK, response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36), answer
    form = last_request()["body"]["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["strict"] is True, form


@each(["float", "base64", None])
def embeddings_are_the_backends(encoding):
    def ask(client, name):
        more = {} if encoding is None else {"encoding_format": encoding}
        return client.embeddings.with_raw_response.create(model=name, input=["a", "bb"], **more)
    answer = same(ask, "embed:latest", "embed")
    by_index = {one.index: one.embedding for one in answer.data}
    if encoding != "base64":
        assert by_index == {0: [1.0, 2.0, -2.0], 1: [2.0, 4.0, -4.0]}, answer


@case
def models_are_listed_and_found_by_either_name():
    assert proxied.models.list().to_dict() == direct.models.list().to_dict()
    for name in ("plain", "plain:latest"):
        assert proxied.models.retrieve(name).to_dict() == direct.models.retrieve("plain").to_dict(), name


@case
def an_upload_arrives_whole():
    sound = bytes(range(256)) * 4000
    def ask(client):
        return client.audio.transcriptions.create(model="whisper", file=("a.wav", io.BytesIO(sound))).text
    said = ask(proxied)
    assert said == ask(direct)
    assert said.startswith("multipart/form-data: ") and int(said.split()[1]) > len(sound), said


# --- keys ----------------------------------------------------------------------------------------------------------


@case
def the_key_is_the_clients_unless_the_proxy_has_its_own():
    proxied.chat.completions.create(model="plain", messages=ASK)
    assert last_request()["headers"]["authorization"] == "Bearer the-clients-key"
    OpenAI(base_url=f"{KEYED}/v1", organization="org", **WHERE).chat.completions.create(model="plain", messages=ASK)
    headers = last_request()["headers"]
    assert headers["authorization"] == "Bearer configured-key", headers
    assert headers["openai-organization"] == "org" and headers["x-stainless-lang"] == "python", headers


# --- errors --------------------------------------------------------------------------------------------------------

ERRORS = {
    "err401": openai.AuthenticationError,
    "err429": openai.RateLimitError,
    "err500": openai.InternalServerError,
    "err503": openai.InternalServerError,
    "missing": openai.NotFoundError,
    "htmlerror": openai.InternalServerError,
}


@each(ERRORS)
def an_error_has_the_type_and_the_words_that_it_has_directly(model):
    def ask(client, stream):
        try:
            client.chat.completions.create(model=model, messages=ASK, stream=stream)
        except openai.APIStatusError as error:
            return (type(error), error.status_code, error.code, error.param, str(error), error.body,
                    error.response.content, error.response.headers.get("retry-after"))
        raise AssertionError(f"{model}: no error")
    for stream in (False, True):
        through = ask(proxied, stream)
        assert through == ask(direct, stream)
        assert through[0] is ERRORS[model], through


@each(["errstream", "errlate", "dies", "closes"])
def a_stream_that_fails_does_so_as_it_does_directly(model):
    def ask(client):
        said = []
        try:
            for chunk in client.chat.completions.create(model=model, messages=ASK, stream=True):
                said.append(chunk.choices[0].delta.content or "")
        except (openai.APIError, httpx.HTTPError) as error:
            # Of a broken connection only that it is one: which side says so first is chance.
            told = str(error) if isinstance(error, openai.APIError) and error.body else "broken"
            return "".join(said), told
        raise AssertionError(f"{model}: no error but {said}")
    assert ask(proxied) == ask(direct)


@case
def a_path_that_the_backend_lacks_is_not_found():
    try:
        proxied.responses.create(model="plain", input="hi")
    except openai.NotFoundError as error:
        assert "no route POST /v1/responses" in str(error), error
    else:
        raise AssertionError("no error")


@case
def a_backend_that_is_down_is_an_error_that_the_client_understands():
    client = OpenAI(base_url=f"{DOWN}/v1", **WHERE)
    try:
        client.chat.completions.create(model="plain", messages=ASK)
    except openai.InternalServerError as error:
        assert error.status_code == 502 and error.body["type"] == "api_error", error.body
        assert "cannot reach the backend" in error.body["message"], error.body
    else:
        raise AssertionError("no error")


if __name__ == "__main__":
    sys.exit(run("openai client", TIMEOUT_S))
