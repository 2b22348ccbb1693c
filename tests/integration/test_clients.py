"""Every client that the documentation names: a tier answers, and the replay needs no server."""

from __future__ import annotations

import pytest

from tests.openai_server import OpenAIServer
from tests.round_trip import START, round_trip

OPENAI = """
import httpx, openai
from openai import DefaultHttpxClient, OpenAI

_at_import = OpenAI(api_key=KEY)
openai.api_key = KEY

def made_at_import():
    return _at_import.chat.completions.create(**ASKED).choices[0].message.content

def made_inside():
    return OpenAI(api_key=KEY).chat.completions.create(**ASKED).choices[0].message.content

def module_level():
    return openai.chat.completions.create(**ASKED).choices[0].message.content

def with_options():
    client = _at_import.with_options(timeout=5, max_retries=0)
    return client.chat.completions.create(**ASKED).choices[0].message.content

def another_base_url():
    client = OpenAI(api_key=KEY, base_url="https://gateway.example.com/openai/v1")
    return client.chat.completions.create(**ASKED).choices[0].message.content

def openais_http_client():
    with DefaultHttpxClient(headers={"x-trace": "1"}) as http:
        client = OpenAI(api_key=KEY, http_client=http)
        return client.chat.completions.create(**ASKED).choices[0].message.content

def older_http_client():
    with httpx.Client(timeout=5) as http:
        client = OpenAI(api_key=KEY, http_client=http)
        return client.chat.completions.create(**ASKED).choices[0].message.content

def own_transport():
    class Traced(httpx.HTTPTransport):
        def handle_request(self, request):
            request.headers["x-trace"] = "1"
            return super().handle_request(request)
    with httpx.Client(transport=Traced(retries=2)) as http:
        client = OpenAI(api_key=KEY, http_client=http)
        return client.chat.completions.create(**ASKED).choices[0].message.content

def stream():
    return _joined(_at_import.chat.completions.create(**STREAMED))

def stream_in_a_with():
    with _at_import.chat.completions.create(**STREAMED) as chunks:
        return _joined(chunks)

def stream_helper():
    options = {"include_usage": True}
    with _at_import.chat.completions.stream(**ASKED, stream_options=options) as events:
        return "".join(event.delta for event in events if event.type == "content.delta")

def stream_helper_parsed():
    options = {"include_usage": True}
    with _at_import.chat.completions.stream(
        **ASKED, stream_options=options, response_format=Said
    ) as events:
        return events.get_final_completion().choices[0].message.parsed.text

def parse():
    made = _at_import.chat.completions.parse(**ASKED, response_format=Said)
    return made.choices[0].message.parsed.text

def raw_response():
    raw = _at_import.chat.completions.with_raw_response.create(**ASKED)
    assert raw.status_code == 200 and raw.headers["content-type"] == "application/json"
    return raw.parse().choices[0].message.content

def raw_response_of_a_stream():
    return _joined(_at_import.chat.completions.with_raw_response.create(**STREAMED).parse())

def streaming_response():
    with _at_import.chat.completions.with_streaming_response.create(**ASKED) as raw:
        return _text(json.loads("".join(raw.iter_text())))

def streaming_response_of_a_stream():
    with _at_import.chat.completions.with_streaming_response.create(**STREAMED) as raw:
        return _of_lines(raw.iter_lines())

def untyped():
    return _text(_at_import.post("/chat/completions", body=ASKED, cast_to=object))

def responses():
    return _at_import.responses.create(**INPUT).output_text

def responses_stream():
    events = _at_import.responses.create(**INPUT, stream=True)
    return "".join(event.delta for event in events if event.type.endswith("text.delta"))

def responses_stream_helper():
    with _at_import.responses.stream(**INPUT) as events:
        return events.get_final_response().output_text

def responses_stream_helper_parsed():
    with _at_import.responses.stream(**INPUT, text_format=Said) as events:
        return events.get_final_response().output_parsed.text

def responses_parse():
    return _at_import.responses.parse(**INPUT, text_format=Said).output_parsed.text

def responses_raw():
    return _at_import.responses.with_raw_response.create(**INPUT).parse().output_text

def completions():
    made = _at_import.completions.create(model=MODEL, prompt="how?", max_tokens=9, temperature=0)
    return made.choices[0].text

def completions_stream():
    chunks = _at_import.completions.create(
        model=MODEL, prompt="how?", stream=True, stream_options={"include_usage": True}
    )
    return "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)

def thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(made_inside()))
    thread.start()
    thread.join()
    return found[0]

def pool_of_threads():
    with ThreadPoolExecutor(4) as pool:
        (said,) = set(pool.map(lambda _: made_at_import(), range(8)))
    return said
"""

ASYNC_OPENAI = """
import functools
import httpx
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultAioHttpClient

def _client(ask):
    '''Ways over each HTTP library: httpx2 (OpenAI's default), httpx and aiohttp.'''
    async def over(make):
        async with AsyncOpenAI(api_key=KEY, http_client=make()) as client:
            return await ask(client)
    for name, make in {
        "httpx2": DefaultAsyncHttpxClient,
        "httpx": httpx.AsyncClient,
        "aiohttp": DefaultAioHttpClient,
    }.items():
        globals()[f"{ask.__name__}_over_{name}"] = _run(functools.partial(over, make))

@_client
async def create(client):
    return (await client.chat.completions.create(**ASKED)).choices[0].message.content

@_client
async def stream(client):
    chunks = await client.chat.completions.create(**STREAMED)
    return _joined([chunk async for chunk in chunks])

@_client
async def stream_helper(client):
    options = {"include_usage": True}
    async with client.chat.completions.stream(**ASKED, stream_options=options) as events:
        deltas = [event.delta async for event in events if event.type == "content.delta"]
    return "".join(deltas)

@_client
async def parse(client):
    made = await client.chat.completions.parse(**ASKED, response_format=Said)
    return made.choices[0].message.parsed.text

@_client
async def raw_response(client):
    raw = await client.chat.completions.with_raw_response.create(**ASKED)
    return raw.parse().choices[0].message.content

@_client
async def streaming_response(client):
    async with client.chat.completions.with_streaming_response.create(**STREAMED) as raw:
        return _of_lines([line async for line in raw.iter_lines()])

@_client
async def responses(client):
    return (await client.responses.create(**INPUT)).output_text

@_client
async def responses_stream(client):
    events = await client.responses.create(**INPUT, stream=True)
    return "".join([event.delta async for event in events if event.type.endswith("text.delta")])

@_client
async def responses_stream_helper(client):
    async with client.responses.stream(**INPUT, text_format=Said) as events:
        return (await events.get_final_response()).output_parsed.text

@_client
async def responses_parse(client):
    return (await client.responses.parse(**INPUT, text_format=Said)).output_parsed.text

@_client
async def completions(client):
    return (await client.completions.create(model=MODEL, prompt="how?")).choices[0].text

@_client
async def gathered(client):
    made = await asyncio.gather(*(client.chat.completions.create(**ASKED) for _ in range(5)))
    (said,) = {each.choices[0].message.content for each in made}
    return said

@_client
async def task_group(client):
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(client.chat.completions.create(**ASKED)) for _ in range(3)]
    return made[-1].result().choices[0].message.content
"""

AZURE = """
from openai import AsyncAzureOpenAI, AzureOpenAI

ENDPOINT = {"api_version": "2024-10-21", "azure_endpoint": "https://r.openai.azure.com"}

def key():
    client = AzureOpenAI(api_key=KEY, **ENDPOINT)
    return client.chat.completions.create(**ASKED).choices[0].message.content

def entra_id_token():
    client = AzureOpenAI(azure_ad_token_provider=lambda: KEY, **ENDPOINT)
    return client.chat.completions.create(**ASKED).choices[0].message.content

def deployment_of_the_client():
    client = AzureOpenAI(api_key=KEY, azure_deployment="prod", **ENDPOINT)
    return client.chat.completions.create(**ASKED).choices[0].message.content

def stream():
    client = AzureOpenAI(api_key=KEY, **ENDPOINT)
    return _joined(client.chat.completions.create(**STREAMED))

def responses():
    client = AzureOpenAI(api_key=KEY, **ENDPOINT)
    return client.responses.create(**INPUT).output_text

@_run
async def asynchronous():
    async with AsyncAzureOpenAI(api_key=KEY, **ENDPOINT) as client:
        return (await client.chat.completions.create(**ASKED)).choices[0].message.content

@_run
async def asynchronous_stream():
    async with AsyncAzureOpenAI(api_key=KEY, **ENDPOINT) as client:
        chunks = await client.chat.completions.create(**STREAMED)
        return _joined([chunk async for chunk in chunks])
"""

URL = """
URL = "https://api.openai.com/v1/chat/completions"
HEADERS = {"Authorization": f"Bearer {KEY}"}
"""

HTTPX = """
import httpx as http

def function():
    return _text(http.post(URL, json=ASKED, headers=HEADERS).json())

def session():
    with http.Client(base_url="https://api.openai.com/v1", headers=HEADERS) as client:
        return _text(client.post("/chat/completions", json=ASKED).json())

def auth():
    class Bearer(http.Auth):
        def auth_flow(self, request):
            request.headers.update(HEADERS)
            yield request
    return _text(http.post(URL, json=ASKED, auth=Bearer()).json())

def chunks():
    body = iter([json.dumps(ASKED).encode()])
    return _text(http.post(URL, content=body, headers=HEADERS).json())

def stream():
    with http.stream("POST", URL, json=STREAMED, headers=HEADERS) as answer:
        return _of_lines(answer.iter_lines())

def built_request():
    with http.Client() as client:
        request = client.build_request("POST", URL, json=ASKED, headers=HEADERS)
        return _text(client.send(request).json())

@_run
async def asynchronous():
    async with http.AsyncClient(headers=HEADERS) as client:
        return _text((await client.post(URL, json=ASKED)).json())

@_run
async def asynchronous_chunks():
    async def body():
        yield json.dumps(ASKED).encode()
    async with http.AsyncClient(headers=HEADERS) as client:
        return _text((await client.post(URL, content=body())).json())

@_run
async def asynchronous_stream():
    async with http.AsyncClient(headers=HEADERS) as client:
        async with client.stream("POST", URL, json=STREAMED) as answer:
            return _of_lines([line async for line in answer.aiter_lines()])

def pool_of_threads():
    with ThreadPoolExecutor(4) as pool:
        (said,) = set(pool.map(lambda _: session(), range(8)))
    return said
"""

REQUESTS = """
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

def function():
    return _text(requests.post(URL, json=ASKED, headers=HEADERS).json())

def session():
    with requests.Session() as session:
        session.headers.update(HEADERS)
        return _text(session.post(URL, json=ASKED).json())

def retrying_adapter():
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter(max_retries=Retry(3, allowed_methods=None)))
        return _text(session.post(URL, json=ASKED, headers=HEADERS).json())

def own_adapter():
    class Traced(HTTPAdapter):
        def send(self, request, **how):
            request.headers["x-trace"] = "1"
            return super().send(request, **how)
    with requests.Session() as session:
        session.mount("https://api.openai.com", Traced())
        return _text(session.post(URL, json=ASKED, headers=HEADERS).json())

def prepared():
    with requests.Session() as session:
        request = requests.Request("POST", URL, json=ASKED, headers=HEADERS)
        return _text(session.send(session.prepare_request(request)).json())

def stream_of_lines():
    with requests.post(URL, json=STREAMED, headers=HEADERS, stream=True) as answer:
        return _of_lines(answer.iter_lines(decode_unicode=True))

def stream_of_pieces():
    with requests.post(URL, json=STREAMED, headers=HEADERS, stream=True) as answer:
        return _of_lines("".join(answer.iter_content(5, decode_unicode=True)).split("\\n"))

def raw_stream():
    with requests.post(URL, json=ASKED, headers=HEADERS, stream=True) as answer:
        return _text(json.loads(answer.raw.read()))

def chunks():
    body = iter([json.dumps(ASKED).encode()])
    return _text(requests.post(URL, data=body, headers=HEADERS).json())

def hook():
    seen = []
    hooks = {"response": lambda answer, **_: seen.append(answer.status_code)}
    answer = requests.post(URL, json=ASKED, headers=HEADERS, hooks=hooks)
    assert seen == [200]
    return _text(answer.json())

def pool_of_threads():
    with ThreadPoolExecutor(4) as pool:
        (said,) = set(pool.map(lambda _: function(), range(8)))
    return said
"""

AIOHTTP = """
import aiohttp

@_run
async def json_body():
    async with aiohttp.ClientSession() as session:
        async with session.post(URL, json=ASKED, headers=HEADERS) as answer:
            assert answer.status == 200
            return _text(await answer.json())

@_run
async def key_in_the_session():
    async with aiohttp.ClientSession("https://api.openai.com", headers=HEADERS) as session:
        answer = await session.post("/v1/chat/completions", data=json.dumps(ASKED))
        return _text(json.loads(await answer.read()))

@_run
async def request_function():
    async with aiohttp.request("POST", URL, json=ASKED, headers=HEADERS) as answer:
        return _text(json.loads(await answer.text()))

@_run
async def chunks():
    async def body():
        yield json.dumps(ASKED).encode()
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.post(URL, data=body(), headers=HEADERS) as answer:
            return _text(await answer.json())

@_run
async def stream_of_lines():
    async with aiohttp.ClientSession() as session:
        async with session.post(URL, json=STREAMED, headers=HEADERS) as answer:
            return _of_lines([line.decode().strip() async for line in answer.content])

@_run
async def stream_of_pieces():
    async with aiohttp.ClientSession() as session:
        async with session.post(URL, json=STREAMED, headers=HEADERS) as answer:
            pieces = [piece async for piece in answer.content.iter_chunked(7)]
            return _of_lines(b"".join(pieces).decode().split("\\n"))

@_run
async def compressed():
    headers = {**HEADERS, "Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.post(URL, json=ASKED, headers=headers) as answer:
            return _text(await answer.json())

@_run
async def gathered():
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        async def ask():
            async with session.post(URL, json=ASKED) as answer:
                return _text(await answer.json())
        (said,) = set(await asyncio.gather(*(ask() for _ in range(5))))
        return said
"""


@pytest.mark.parametrize(
    ("app", "ways"),
    [
        (OPENAI, 28),
        (ASYNC_OPENAI, 39),
        (AZURE, 7),
        (URL + HTTPX, 10),
        (URL + HTTPX.replace("import httpx", "import httpx2"), 10),
        (URL + REQUESTS, 11),
        (URL + AIOHTTP, 8),
    ],
    ids=["openai", "async openai", "azure", "httpx", "httpx2", "requests", "aiohttp"],
)
def test_round_trip(project: pytest.Pytester, server: OpenAIServer, app: str, ways: int) -> None:
    trials = round_trip(project, server, START + app)
    assert len(trials) == 2 * ways
