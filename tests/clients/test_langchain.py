"""LangChain's Ollama integration, unmodified, through the proxy: chat, stream, tools, structured output, embeddings,
errors.

usage: PROXY=URL PROXY_DOWN=URL test_langchain.py
"""

import asyncio
import os
import sys

from cases import case, each, run
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from ollama import ResponseError
from pydantic import BaseModel

PROXY, DOWN = (os.environ[name] for name in ("PROXY", "PROXY_DOWN"))
TIMEOUT_S = 30
HELLO = "Hello from the scripted backend."


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def model(name: str, **more) -> ChatOllama:
    return ChatOllama(model=name, base_url=PROXY, client_kwargs={"timeout": TIMEOUT_S}, **more)


@case
def chat_answers_and_counts_its_tokens():
    answer = model("plain", validate_model_on_init=True).invoke([SystemMessage("be brief"), HumanMessage("hi")])
    assert answer.content == HELLO, answer
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (11, 7), answer
    assert answer.response_metadata["done_reason"] == "stop", answer


@case
def a_stream_comes_in_pieces():
    pieces = [chunk.content for chunk in model("plain").stream("hi")]
    assert "".join(pieces) == HELLO and len([piece for piece in pieces if piece]) == 6, pieces


@case
def the_asynchronous_ways_are_the_same():
    async def ask() -> tuple[str, str]:
        pieces = [chunk.content async for chunk in model("plain").astream("hi")]
        return (await model("plain").ainvoke("hi")).content, "".join(pieces)
    assert asyncio.run(ask()) == (HELLO, HELLO)


@case
def completions_answer():
    llm = OllamaLLM(model="plain", base_url=PROXY)
    assert llm.invoke("hi") == HELLO
    assert "".join(llm.stream("hi")) == HELLO


@case
def a_round_of_tools():
    llm = model("tools").bind_tools([weather])
    asked = HumanMessage("what is the weather?")
    answer = llm.invoke([asked])
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Paris"}, {"city": "Łódź"}], answer
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    said = llm.invoke([asked, answer, *results]).content
    assert said == "Paris: sunny in Paris; Łódź: sunny in Łódź", said


@each(["json_schema", "json_mode"])
def structured_output_is_parsed(method):
    person = model("json").with_structured_output(Person, method=method).invoke("who?")
    assert person == Person(name="Ada", age=36), person


@case
def texts_become_unit_vectors_in_order():
    unit = [1 / 3, 2 / 3, -2 / 3]
    embedder = OllamaEmbeddings(model="embed", base_url=PROXY)
    for found, count in (
        (embedder.embed_documents(["a", "b"]), 2),
        ([embedder.embed_query("a")], 1),
        (asyncio.run(embedder.aembed_documents(["a", "b"])), 2),
    ):
        assert len(found) == count, found
        assert all(len(one) == 3 and all(abs(a - b) < 1e-7 for a, b in zip(one, unit)) for one in found), found


@each([("err429", 429), ("err500", 500), ("missing", 404)])
def errors_have_their_status(which):
    name, status = which
    for ask in (lambda: model(name).invoke("hi"), lambda: list(model(name).stream("hi"))):
        try:
            ask()
        except ResponseError as error:
            assert error.status_code == status, error
        else:
            raise AssertionError(f"{name}: no error")


@case
def an_error_in_the_middle_is_not_swallowed():
    try:
        pieces = list(model("errlate").stream("hi"))
    except ResponseError as error:
        assert "ran out of memory" in error.error, error
    else:
        raise AssertionError(f"no error but {pieces}")


if __name__ == "__main__":
    sys.exit(run("langchain client", 2 * TIMEOUT_S))
