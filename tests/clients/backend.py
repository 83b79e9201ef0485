#!/usr/bin/env python3
"""A scripted OpenAI-compatible backend for the tests with real clients: what it does is chosen by the model's name.

It speaks HTTP over bare sockets with the standard library alone, so that a test can choose the exact bytes, where they
are cut, when they pause and how a connection dies. `GET /_seen` tells what arrived and which callers hung up, with
times (seconds since the epoch), so that tests can ask what the proxy did upstream; `GET /_texts` the pieces of every
text it speaks.

It refuses to be a server for anything else: one request is read whole, answered by its script, and no fault of the
caller is forgiven.

usage: backend.py PORT
"""

import asyncio
import base64
import hashlib
import json
import socket
import struct
import sys
import time

ANSWER = ["Hello", " from", " the", " scripted", " backend", "."]
TEXTS = {
    "plain": ANSWER,
    "emoji": ["one ", "🦙", " two 👩\u200d🚀", " é 中文 ", "🇪🇺", "\U0001d518 end"],
    # Raw in the JSON: legal there, and fatal to a client that splits lines as `splitlines` does.
    "separators": ["a\u2028b", "c\u2029", "\u0085d", "e\u000bf\u000cg\u001c\u001d\u001eh", "\u2028"],
    "quotes": ['say "hi"', " back\\slash \\n \\u0041 ", "/ \b\f\n\r\t", "\u0000\u0001\u001f\u007f", '{"a":"b"}',
               "<b>&amp;</b>"],
    # One delta of more than 300 KB, in which a blind cut would fall into an escape or a character.
    "big": ['0123456789"\\\n\té中🦙\u2028' * 12_000],
    "length": ["cut", " short"],
    "nousage": ANSWER,
    "crlf": ANSWER,
    "bytewise": ["caf\u00e9 ", "🦙", ' "q"\\ ', "done"],
    "spaceless": ANSWER,
    # Backends that escape all but ASCII: surrogate pairs must not be torn or doubled.
    "escaped": ["one ", "🦙", " \u2028 é ", "中"],
    "empty": [],
}
FAILURES = {
    "err429": (429, "rate limit reached, slow down", "rate_limit_exceeded"),
    "err401": (401, "incorrect api key provided", "invalid_api_key"),
    "err500": (500, "the model crashed", None),
    "err503": (503, "the model is loading", None),
    "missing": (404, "the model `missing` does not exist", "model_not_found"),
}
CITIES = ["Paris", "Łódź"]
PERSON = '{"name": "Ada", "age": 36}'
SCRIPTED = ["echo", "tools", "json", "embed", "late", "slow", "silent", "dies", "closes", "truncates", "errstream", "errlate", "htmlerror"]
MODELS = [*TEXTS, *FAILURES, *SCRIPTED]
# At most this long does a slow answer go on when nobody hangs up: a bound for the tests' sake, not a pace.
SLOW_TOKENS, SLOW_PAUSE_S = 1200, 0.05
# How long `late` thinks before it says anything at all.
LATE_S = 0.4
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}

seen = {"requests": [], "hangups": []}


class HungUp(Exception):
    """The caller closed its end while we were still answering."""


class Answer:
    """One answer on one connection: writes what it is told, and notices when the caller goes away."""

    def __init__(self, reader, writer, request):
        self.reader, self.writer, self.request = reader, writer, request
        self.body = request["body"] if isinstance(request["body"], dict) else {}
        self.is_chat = request["path"].endswith("/chat/completions")
        self.chunked = False
        self.reusable = True

    async def write(self, data: bytes) -> None:
        """Chunked once a stream has begun; drained at once, so that each call is a write of its own."""
        if self.chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.writer.write(data)
        await self.writer.drain()

    async def whole(self, status: int, body: bytes, kind: str = "application/json", extra: tuple = ()) -> None:
        head = [f"HTTP/1.1 {status} Scripted", f"content-type: {kind}", f"content-length: {len(body)}", *extra]
        await self.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    async def json(self, status: int, value, extra: tuple = ()) -> None:
        await self.whole(status, json.dumps(value, ensure_ascii=False).encode(), extra=extra)

    async def begin_stream(self) -> None:
        await self.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self.chunked = True

    async def end_stream(self) -> None:
        self.chunked = False
        await self.write(b"0\r\n\r\n")

    async def pause(self, seconds: float) -> None:
        """Waits, and raises as soon as the caller hangs up. Nobody pipelines here, so any read is the end."""
        try:
            await asyncio.wait_for(self.reader.read(1), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return
        raise HungUp

    def reset(self) -> None:
        """Ends the connection with RST: unread data is thrown away on both sides."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.reusable = False

    def close(self) -> None:
        """Ends the connection with FIN in the middle of a chunked body."""
        self.writer.close()
        self.reusable = False

    def chunk(self, text=None, finish=None) -> dict:
        if self.is_chat:
            choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
        else:
            choice = {"index": 0, "text": text or "", "finish_reason": finish}
        return self.around([choice], "chat.completion.chunk" if self.is_chat else "text_completion")

    def completion(self, text: str, finish: str) -> dict:
        if self.is_chat:
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        else:
            choice = {"index": 0, "text": text, "finish_reason": finish}
        return self.around([choice], "chat.completion" if self.is_chat else "text_completion")

    def around(self, choices: list, kind: str) -> dict:
        return {"id": "scripted-1", "object": kind, "created": 1_700_000_000, "model": self.body.get("model"),
                "choices": choices}


def event(value, ascii_only: bool = False) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=ascii_only).encode() + b"\n\n"


async def speak(answer: Answer, model: str, pieces: list) -> None:
    """The scripts that end well: the same text, framed in many ways."""
    finish = "length" if model == "length" else "stop"
    with_usage = model != "nousage"
    if not answer.body.get("stream"):
        value = answer.completion("".join(pieces), finish)
        if with_usage:
            value["usage"] = USAGE
        await answer.json(200, value)
        return
    chunks = [answer.chunk(text) for text in pieces] + [answer.chunk(finish=finish)]
    if answer.is_chat:
        first = answer.chunk("")
        first["choices"][0]["delta"]["role"] = "assistant"
        chunks.insert(0, first)
    if with_usage and (answer.body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**answer.around([], "chat.completion.chunk"), "usage": USAGE})
    events = [event(chunk, ascii_only=model == "escaped") for chunk in chunks] + [b"data: [DONE]\n\n"]
    await answer.begin_stream()
    if model == "crlf":
        # The pair is also cut in two, and a comment comes between.
        for one in events:
            one = one.replace(b"\n", b"\r\n")
            await cut(answer, [one[:-3], one[-3:]])
            await answer.write(b": still here\r\n\r\n")
    elif model == "spaceless":
        for one in events:
            await answer.write(one.replace(b"data: ", b"data:", 1))
    elif model == "bytewise":
        await cut(answer, [bytes([byte]) for byte in b"".join(events)])
    elif model == "emoji":
        # Every character of four bytes is cut in its middle.
        data = b"".join(events)
        cuts = [0] + [at + 2 for at, byte in enumerate(data) if byte >= 0xF0] + [len(data)]
        await cut(answer, [data[start:end] for start, end in zip(cuts, cuts[1:])])
    else:
        for one in events:
            await answer.write(one)
    await answer.end_stream()


async def cut(answer: Answer, parts: list) -> None:
    """Writes the parts apart: without a turn of the loop between, the kernel may join them."""
    for part in parts:
        await answer.write(part)
        await asyncio.sleep(0)


async def fail_midway(answer: Answer, model: str) -> None:
    """The scripts that end badly."""
    if not answer.body.get("stream"):
        if model in ("errstream", "errlate"):
            # Some gateways say 200 and put the error in the body.
            await answer.json(200, {"error": {"message": "the model ran out of memory", "type": "server_error"}})
            return
        if model == "truncates":
            await answer.json(200, {"id": "scripted-1", "object": "chat.completion"})
            return
        await answer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":")
        answer.reset() if model == "dies" else answer.close()
        return
    await answer.begin_stream()
    for text in [] if model == "errstream" else ANSWER[:3]:
        await answer.write(event(answer.chunk(text)))
    if model in ("errstream", "errlate"):
        await answer.write(event({"error": {"message": "the model ran out of memory", "type": "server_error"}}))
        await answer.end_stream()
        return
    if model == "truncates":
        # As HTTP it ends well; as an answer it has no finish reason and no [DONE].
        await answer.end_stream()
        return
    # A reset throws away what the other side has not read yet: let the three deltas arrive first.
    await answer.pause(0.2)
    answer.reset() if model == "dies" else answer.close()


async def call_tools(answer: Answer) -> None:
    """Asks for the weather of two cities at once, in interleaved fragments; with the results, says them."""
    messages = answer.body.get("messages") or []
    results = [message for message in messages if message["role"] == "tool"]
    if results:
        asked = {call["id"]: json.loads(call["function"]["arguments"])["city"]
                 for message in messages for call in message.get("tool_calls") or []}
        told = [f"{asked[result['tool_call_id']]}: {result['content']}" for result in results]
        await speak(answer, "tools", ["; ".join(told)])
        return
    calls = [{"index": at, "id": f"call_{at}", "type": "function",
              "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
             for at, city in enumerate(CITIES)]
    if not answer.body.get("stream"):
        value = answer.completion("", "tool_calls")
        value["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": calls}
        await answer.json(200, {**value, "usage": USAGE})
        return
    deltas = [{**call, "function": {**call["function"], "arguments": ""}} for call in calls]
    pieces = [call["function"]["arguments"] for call in calls]
    deltas += [{"index": index, "function": {"arguments": pieces[index][at:at + 3]}}
               for at in range(0, max(map(len, pieces)), 3) for index in range(len(pieces))]
    await answer.begin_stream()
    for delta in deltas:
        chunk = answer.chunk()
        chunk["choices"][0]["delta"] = {"tool_calls": [delta]}
        await answer.write(event(chunk))
    await answer.write(event({**answer.chunk(finish="tool_calls"), "usage": USAGE}) + b"data: [DONE]\n\n")
    await answer.end_stream()


async def embed(answer: Answer) -> None:
    """A vector of length 3(n + 1) for the nth text, the last text's first."""
    texts = answer.body["input"]
    texts = [texts] if isinstance(texts, str) else texts
    data = [{"object": "embedding", "index": at, "embedding": [1.0 * (at + 1), 2.0 * (at + 1), -2.0 * (at + 1)]}
            for at in range(len(texts))]
    usage = {"prompt_tokens": sum(map(len, texts)), "total_tokens": sum(map(len, texts))}
    value = {"object": "list", "model": "embed", "data": data[::-1], "usage": usage}
    if answer.body.get("encoding_format") == "base64":
        for one in data:
            one["embedding"] = base64.b64encode(struct.pack("<3f", *one["embedding"])).decode()
    await answer.json(200, value)


async def be_slow(answer: Answer, model: str) -> None:
    """Answers so slowly, or not at all, that the caller must hang up to get out of it."""
    if model == "silent" or not answer.body.get("stream"):
        await answer.pause(SLOW_TOKENS * SLOW_PAUSE_S)
        await answer.json(200, answer.completion("too late", "stop"))
        return
    await answer.begin_stream()
    for count in range(SLOW_TOKENS):
        await answer.write(event(answer.chunk(f"{count} ")))
        await answer.pause(SLOW_PAUSE_S)
    await answer.write(event(answer.chunk(finish="stop")) + b"data: [DONE]\n\n")
    await answer.end_stream()


async def respond(answer: Answer) -> None:
    method, path = answer.request["method"], answer.request["path"]
    if path == "/_seen":
        await answer.json(200, seen)
        return
    if path == "/_texts":
        await answer.json(200, TEXTS)
        return
    if (method, path) == ("GET", "/v1/models"):
        listed = [{"id": name, "object": "model", "created": 1_700_000_000 + at, "owned_by": "scripts"}
                  for at, name in enumerate(MODELS)]
        await answer.json(200, {"object": "list", "data": listed})
        return
    if (method, path, answer.body.get("model")) == ("POST", "/v1/embeddings", "embed"):
        await embed(answer)
        return
    if method == "GET" and path.startswith("/v1/models/"):
        await answer.json(200, {"id": path.removeprefix("/v1/models/"), "object": "model", "owned_by": "scripts"})
        return
    if (method, path) == ("POST", "/v1/audio/transcriptions"):
        # What arrived, told so that any byte more or less is seen.
        kind, _, boundary = answer.request["headers"]["content-type"].partition("; boundary=")
        data = answer.request["body"].replace(boundary, "").encode("latin-1")
        await answer.json(200, {"text": f"{kind}: {len(data)} {hashlib.sha256(data).hexdigest()}"})
        return
    if method != "POST" or path not in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        await answer.json(404, {"error": {"message": f"no route {method} {path}", "type": "invalid_request_error"}})
        return
    model = answer.body.get("model")
    if model == "echo":
        await speak(answer, model, [json.dumps(answer.request, ensure_ascii=False)])
    elif model == "tools":
        await call_tools(answer)
    elif model == "json":
        # Only who asked for a form gets it.
        await speak(answer, model, ["{", *PERSON[1:]] if "response_format" in answer.body else ["no form was asked for"])
    elif model == "late":
        await answer.pause(LATE_S)
        await speak(answer, model, ANSWER)
    elif model in TEXTS:
        await speak(answer, model, TEXTS[model])
    elif model in ("slow", "silent"):
        await be_slow(answer, model)
    elif model == "htmlerror":
        page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
        await answer.whole(502, page, kind="text/html")
    elif model in SCRIPTED:
        await fail_midway(answer, model)
    else:
        status, message, code = FAILURES.get(
            model, (404, f"the model `{model}` does not exist or you do not have access to it", "model_not_found"))
        extra = ("retry-after: 7",) if status == 429 else ()
        error = {"message": message, "type": "scripted", "param": None, "code": code}
        await answer.json(status, {"error": error}, extra)


async def read_request(reader) -> dict | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ", 2)
    headers = {}
    for line in rest:
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        data = b""
        while size := int(await reader.readline(), 16):
            data += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        data = await reader.readexactly(int(headers.get("content-length", 0)))
    try:
        body = json.loads(data) if data else None
    except ValueError:
        body = data.decode("latin-1")
    return {"method": method, "path": path, "headers": headers, "body": body, "time": time.time()}


async def serve(reader, writer) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while True:
            request = await read_request(reader)
            if not request["path"].startswith("/_"):
                request["id"] = len(seen["requests"])
                seen["requests"].append(request)
            answer = Answer(reader, writer, request)
            try:
                await respond(answer)
            except (HungUp, ConnectionError):
                seen["hangups"].append({"id": request["id"], "model": answer.body.get("model"), "time": time.time()})
                return
            if not answer.reusable:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        return  # between two requests anyone may leave
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=16 * 1024 * 1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
