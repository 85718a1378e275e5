"""A language model's text holds only numbers and places that the results have."""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from time import sleep
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from chat_server import ChatServer
from handmade_results import made
from patchwright.errors import ExplainError
from patchwright.insights import Sentence, insights
from patchwright.insights.llm import (
    KEY,
    MODEL,
    URL,
    CitedSentence,
    Endpoint,
    LlmExplanation,
    endpoint_from_environment,
    write_explanation,
)
from patchwright.insights.sentences import Numbers

SECRET = "sk-0123456789abcdefgh"
PROMPTS = {"clean": "a", "corrupt": "b"}


def facts() -> list[Sentence]:
    say = Numbers()
    return [
        say.sentence("gap", f"The runs are {say.amount(22.184)} logits apart."),
        say.sentence("enters", f"L0.resid_pre@10 restores {say.share(0.982)} of it.", "x"),
        say.sentence(
            "heads",
            f"{say.count(3)} heads restore it; {say.place('L9H6.z')} most, L2H3.z least (`·7th`).",
            "y",
        ),
        Sentence("warned", "The two runs differ by only 0.3 in logit_diff.", None, ()),
    ]


def ask(*sentences: Any, around: str = "{}", **server: Any) -> LlmExplanation:
    """What is made of an answer with these sentences, (text, cited facts)."""
    said = [{"text": text, "facts": cited} for text, cited in sentences]
    reply = around.replace("{}", json.dumps({"sentences": said}))
    with ChatServer(reply, **server) as chat:
        return write_explanation(facts(), PROMPTS, Endpoint(chat.url, "tiny", SECRET))


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("They are 22.18 logits apart, about 22.2.", [1]),
        ("Copying L0.resid_pre@10 brings back 98 %, 98% or 98 percent of it.", [2]),
        ("Three heads do it, most of all head 6 of layer 9, after '·7th'.", [3]),
        ("Three heads do it, most of all layer 9 head 6, after ` 7th`.", [3]),
        ("It is L2H3 that restores 98.2 %, not L2H3.z alone.", [2, 3]),
        ("The runs differ by only 0.3.", [4]),
        ("The copied place is enough.", [2]),
    ],
)
def test_a_sentence_with_the_numbers_of_its_facts_stays(text: str, cited: list[int]) -> None:
    answer = ask((text, cited))
    assert [(one.text, list(one.facts)) for one in answer.sentences] == [(text, cited)]
    assert (answer.rejected, answer.note) == (0, None)


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("They are 22.18 logits apart.", [2]),  # a fact that is not cited
        ("They are 22 logits apart.", [1]),  # a whole number stands for itself only
        ("They are -22.18 logits apart.", [1]),
        ("It restores 99 %.", [2]),
        ("It restores 98 of it.", [2]),  # without its sign
        ("It restores 0.98.", [2]),
        ("Four heads do it.", [3]),
        ("Two hundred heads do it.", [3]),
        ("Head L2H4.z does it.", [3]),
        ("Head L2H3.z@1 does it.", [3]),
        ("Head 7 of layer 9 does it.", [3]),
        ("Head 9 of layer 6 does it.", [3]),
        ("Layer 6, head 9 does it.", [3]),
        ("It reads ` 8th`.", [3]),
        ("It reads '·8th'.", [3]),
        ("It works.", []),
        ("It works.", [0]),
        ("It works.", [5]),
    ],
)
def test_a_sentence_that_its_facts_do_not_bear_is_struck_and_counted(
    text: str, cited: list[int]
) -> None:
    answer = ask((text, cited), ("It works.", [2]))
    assert [one.text for one in answer.sentences] == ["It works."]
    assert answer.rejected == 1
    alone = ask((text, cited))
    assert alone.sentences == ()
    assert alone.note is not None
    assert "All 1 sentences" in alone.note


@given(value=st.floats(-1e4, 1e4), other=st.floats(-1e4, 1e4))
def test_a_number_is_known_if_and_only_if_it_rounds_as_the_rules_round(
    value: float, other: float
) -> None:
    from patchwright.insights.llm import _is_supported  # pyright: ignore[reportPrivateUsage]

    say = Numbers()
    fact = say.sentence("x", f"{say.amount(value)} and {say.probability(value)}")
    assert _is_supported(CitedSentence(text=fact.text, facts=(1,)), [fact])
    wrong = Numbers()
    text = f"It is {wrong.amount(other)}"
    close = abs(other - value) <= 1e-3 * max(abs(other), 1e-2)
    if not close:
        assert not _is_supported(
            CitedSentence(text=wrong.sentence("x", text).text, facts=(1,)), [fact]
        )


def test_every_sentence_of_the_rules_bears_itself(demo: pw.Model) -> None:
    pair = pw.Pair(
        clean="When Mary and John went to the store, John gave a drink to",
        corrupt="When Mary and John went to the store, Mary gave a drink to",
        answer=" Mary",
        wrong=" John",
    )
    said = insights(pw.patch(demo, pair), heads=pw.patch(demo, pair, "z"))
    every = [*said.steps, *said.cautions]
    reply = {"sentences": [{"text": one.text, "facts": [i]} for i, one in enumerate(every, 1)]}
    with ChatServer(json.dumps(reply)) as chat:
        answer = write_explanation(every, PROMPTS, Endpoint(chat.url, "tiny"))
    assert [one.text for one in answer.sentences] == [one.text for one in every]


def test_the_request_has_the_facts_by_number_and_the_prompts() -> None:
    with ChatServer('{"sentences": [{"text": "It works.", "facts": [1]}]}') as chat:
        write_explanation(facts(), PROMPTS, Endpoint(chat.url, "tiny", SECRET))
    (asked,) = chat.asked
    assert asked["model"] == "tiny"
    assert chat.keys == [f"Bearer {SECRET}"]
    message = json.loads(asked["messages"][1]["content"])
    assert [one["number"] for one in message["facts"]] == [1, 2, 3, 4]
    assert message["facts"][1]["text"].endswith("98 % of it.")
    assert message["prompts"] == PROMPTS


def test_json_in_a_fence_with_words_around_it_is_read() -> None:
    answer = ask(("It works.", [2]), around="Sure!\n```json\n{}\n```\nBye.")
    assert [one.text for one in answer.sentences] == ["It works."]


@pytest.mark.parametrize(
    ("server", "note"),
    [
        ({"status": 401}, "does not accept the key"),
        ({"status": 404}, "does not know the model"),
        ({"status": 429}, "no more requests for now"),
        ({"status": 500}, "(status 500)"),
        ({"reply": ""}, "declined"),
        ({"reply": b'{"choices": []}'}, "declined"),
        ({"reply": b"[]"}, "not an answer"),
        ({"reply": b"not json"}, "not an answer"),
        ({"reply": b'{"choices": 3}'}, "not an answer"),
        ({"reply": "I would rather not."}, "not in the form"),
        ({"reply": '{"sentences": []}'}, "not in the form"),
        ({"reply": '{"sentences": "It works."}'}, "not in the form"),
        ({"reply": '{"sentences": [{"text": 3, "facts": [1]}]}'}, "not in the form"),
        ({"reply": '{"sentences": [{"text": "It works.", "facts": ["1"]}]}'}, "not in the form"),
        ({"reply": '{"sentences": [{"text": "\\u202e", "facts": [1]}]}'}, "not in the form"),
        ({"reply": '{"a":' * 5000}, "not in the form"),
        ({"reply": f'{{"sentences": [{{"text": "{SECRET}", "facts": [1]}}]}}'}, "not in the form"),
    ],
)
def test_any_fault_gives_a_note_and_never_the_key(
    server: dict[str, Any], note: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ChatServer(**server) as chat:
        where = Endpoint(chat.url, "tiny", SECRET)
        answer = write_explanation(facts(), PROMPTS, where)
    assert answer.sentences == ()
    assert answer.note is not None
    assert note in answer.note
    assert answer.note.endswith("Below is what the rules say.")
    assert len(chat.asked) == 1
    assert SECRET not in f"{answer!r} {where!r} {caplog.text}"


def test_a_server_that_is_silent_or_absent_gives_a_note() -> None:
    with ChatServer("{}", silent=True) as chat:
        slow = write_explanation(facts(), PROMPTS, Endpoint(chat.url, "tiny", SECRET), patience=0.2)
    assert "did not answer within" in (slow.note or "")
    absent = write_explanation(facts(), PROMPTS, Endpoint("http://127.0.0.1:9/v1", "tiny"))
    assert "could not be reached" in (absent.note or "")


class Scripted(ChatServer):
    """Answers a request by calling `answer` with the handler."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.answer = answer
        super().__init__()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                chat.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                with suppress(BrokenPipeError, ConnectionResetError):
                    chat.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def trickle(handler: BaseHTTPRequestHandler, head: bytes) -> None:
    """Send `head`, then a byte now and then, for half a minute at most."""
    handler.wfile.write(head)
    for _ in range(600):
        handler.wfile.write(b" ")
        sleep(0.05)


@pytest.mark.parametrize(
    "head",
    [
        *(b"H", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\n\r\n"),
        *(b"HTTP/1.1 500 No\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"),
    ],
)
def test_the_time_is_for_the_whole_answer_however_it_trickles(head: bytes) -> None:
    with Scripted(lambda handler: trickle(handler, head)) as chat:
        found = write_explanation(
            facts(), PROMPTS, Endpoint(chat.url, "tiny", SECRET), patience=0.5
        )
    assert "did not answer within 0.5 seconds" in (found.note or "")


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(4000):
            handler.wfile.write(bytes(2**16))

    with Scripted(endless) as chat:
        found = write_explanation(facts(), PROMPTS, Endpoint(chat.url, "tiny", SECRET))
    assert "not an answer" in (found.note or "")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_the_prompts_to_another_host(status: int) -> None:
    with ChatServer("{}") as other:

        def elsewhere(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Location", f"{other.url}/chat/completions")
            handler.end_headers()

        with Scripted(elsewhere) as chat:
            found = write_explanation(facts(), PROMPTS, Endpoint(chat.url, "tiny", SECRET))
        assert len(chat.asked) == 1
        assert other.asked == []
    assert "points to another address, which gets nothing" in (found.note or "")


def test_no_proxy_gets_what_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer("{}") as proxy, ChatServer("{}") as chat:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.origin)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        write_explanation(facts(), PROMPTS, Endpoint(chat.url, "tiny", SECRET))
        assert (len(chat.asked), proxy.asked) == (1, [])


def test_it_answers_where_an_event_loop_runs_already() -> None:
    """As in a notebook."""

    async def cell() -> LlmExplanation:
        return ask(("It works.", [2]))

    assert [one.text for one in asyncio.run(cell()).sentences] == ["It works."]


def test_the_environment_names_the_endpoint() -> None:
    assert endpoint_from_environment({}) is None
    assert endpoint_from_environment({KEY: SECRET}) is None
    local = {URL: "http://127.0.0.1:8080/v1", MODEL: "tiny", KEY: SECRET}
    assert endpoint_from_environment(local) == Endpoint(local[URL], "tiny", SECRET)
    assert endpoint_from_environment(local | {URL: "https://chat.example/v1"}) is not None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({URL: "http://127.0.0.1/v1"}, "set both"),
        ({MODEL: "tiny"}, "set both"),
        ({URL: "file:///etc/passwd", MODEL: "tiny"}, "http:// or https://"),
        ({URL: "https://me:pw@chat.example", MODEL: "tiny"}, "holds no password"),
        ({URL: "http://chat.example/v1", MODEL: "tiny", KEY: SECRET}, "not encrypted"),
    ],
)
def test_half_an_endpoint_or_an_unsafe_one_is_refused(
    environment: dict[str, str], said: str
) -> None:
    with pytest.raises(ExplainError, match=said) as raised:
        endpoint_from_environment(environment)
    assert SECRET not in str(raised.value)
    assert "me:pw" not in str(raised.value)


def test_numbers_say_how_they_are_written() -> None:
    said = insights(made([[1.0, 0.5]])).steps
    for one in said:
        assert len(one.written) == len(one.numbers)
        assert all(written in one.text for written in one.written)
