"""langchain-openai."""

from __future__ import annotations

import pytest

from tests.openai_server import OpenAIServer
from tests.round_trip import START, round_trip

APP = """
import contextlib
import httpx
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import AzureChatOpenAI, ChatOpenAI, OpenAI

def _model(**how):
    return ChatOpenAI(model=MODEL, api_key=KEY, temperature=0, max_retries=0, **how)

def invoke():
    return _model().invoke("how is it?").content

def messages():
    return _model().invoke([SystemMessage("Be short."), HumanMessage("how is it?")]).content

def stream():
    return "".join(chunk.content for chunk in _model(stream_usage=True).stream("how is it?"))

def chain():
    prompt = ChatPromptTemplate.from_template("how is {thing}?")
    return (prompt | _model() | StrOutputParser()).invoke({"thing": "it"})

def batch_in_threads():
    (said,) = {made.content for made in _model().batch(["one", "two", "three"])}
    return said

def structured_output():
    return _model().with_structured_output(Said).invoke("how is it?").text

def structured_output_by_a_tool():
    structured = _model().with_structured_output(Said, method="function_calling")
    return structured.invoke("how is it?").text

def tool_call():
    @tool
    def say(text: str) -> str:
        '''Say it.'''
    (call,) = _model().bind_tools([say]).invoke("how is it?").tool_calls
    return call["args"]["text"]

def responses_api():
    return _model(use_responses_api=True).invoke("how is it?").text

def responses_api_stream():
    chunks = _model(use_responses_api=True).stream("how is it?")
    return "".join(str(chunk.text) for chunk in chunks)

def completions():
    return OpenAI(model=MODEL, api_key=KEY, temperature=0).invoke("how is it?")

def azure():
    model = AzureChatOpenAI(
        azure_deployment=MODEL, model=MODEL, api_key=KEY, temperature=0,
        api_version="2024-10-21", azure_endpoint="https://r.openai.azure.com",
    )
    return model.invoke("how is it?").content

@contextlib.asynccontextmanager
async def _async_model(**how):
    '''The library keeps one connection pool for all event loops; a new loop needs its own.'''
    async with httpx.AsyncClient() as http:
        yield _model(http_async_client=http, **how)

@_run
async def ainvoke():
    async with _async_model() as model:
        return (await model.ainvoke("how is it?")).content

@_run
async def astream():
    async with _async_model(stream_usage=True) as model:
        return "".join([chunk.content async for chunk in model.astream("how is it?")])

@_run
async def abatch():
    async with _async_model() as model:
        (said,) = {made.content for made in await model.abatch(["one", "two", "three"])}
        return said
"""


def test_round_trip(project: pytest.Pytester, server: OpenAIServer) -> None:
    assert len(round_trip(project, server, START + APP)) == 2 * 15
