"""One of the Python clients against a proxy in front of a server that nobody scripted: a chat, a stream of the same, and
an error. Greedy and seeded, one question has one answer: the stream must say what the whole answer said.

usage: genuine.py ollama|langchain|openai PROXY_URL MODEL
"""

import sys

WHICH, PROXY, MODEL = sys.argv[1:4]
QUESTION = "Why is the sky blue?"
GREEDY = {"temperature": 0, "seed": 7}
TOKENS = 24
TIMEOUT_S = 120


def by_ollama() -> tuple[str, str, int]:
    from ollama import Client, ResponseError
    client = Client(PROXY, timeout=TIMEOUT_S)
    ask = {"messages": [{"role": "user", "content": QUESTION}], "options": {**GREEDY, "num_predict": TOKENS}}
    whole = client.chat(MODEL, **ask).message.content
    streamed = "".join(part.message.content for part in client.chat(MODEL, stream=True, **ask))
    try:
        client.show("absent")
    except ResponseError as error:
        return whole, streamed, error.status_code
    return whole, streamed, 200


def by_langchain() -> tuple[str, str, int]:
    from langchain_ollama import ChatOllama
    llm = ChatOllama(model=MODEL, base_url=PROXY, num_predict=TOKENS, client_kwargs={"timeout": TIMEOUT_S}, **GREEDY)
    whole = llm.invoke(QUESTION).content
    streamed = "".join(chunk.content for chunk in llm.stream(QUESTION))
    try:
        ChatOllama(model="absent", base_url=PROXY, validate_model_on_init=True)
    except ValueError:
        return whole, streamed, 404
    return whole, streamed, 200


def by_openai() -> tuple[str, str, int]:
    from openai import NotFoundError, OpenAI
    client = OpenAI(base_url=f"{PROXY}/v1", api_key="none", timeout=TIMEOUT_S, max_retries=0)
    ask = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": TOKENS, **GREEDY}
    whole = client.chat.completions.create(**ask).choices[0].message.content
    chunks = client.chat.completions.create(stream=True, **ask)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    try:
        client.get("/absent", cast_to=object)
    except NotFoundError as error:
        return whole, streamed, error.status_code
    return whole, streamed, 200


whole, streamed, status = {"ollama": by_ollama, "langchain": by_langchain, "openai": by_openai}[WHICH]()
assert whole and whole == streamed, (whole, streamed)
assert status == 404, status
print(f"ok   {WHICH}: {len(whole)} characters, whole and streamed")
