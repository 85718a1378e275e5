"""Patch in a language model's words: only where the server names one, only when asked."""

import json
from collections.abc import Generator

import pytest
from streamlit.testing.v1 import AppTest

from chat_server import ChatServer
from patchwright.app.text import BREAK
from patchwright.app.views import llm_explanation
from patchwright.insights.llm import KEY, MODEL, URL
from patchwright.prompts.examples import example
from timeouts import SECONDS

pytestmark = pytest.mark.filterwarnings("default")

LABEL = "In a language model's words"
SAID = [
    {"text": "The runs are 3.5 <b>logits</b> apart.", "facts": [1]},
    {"text": "One head does 99 % of it.", "facts": [2]},
]


@pytest.fixture(autouse=True)
def fresh() -> Generator[None]:
    llm_explanation.explanation_slot.clear()
    yield
    llm_explanation.explanation_slot.clear()


def page() -> AppTest:
    def script() -> None:
        from patchwright.app.views import llm_explanation
        from patchwright.insights import Sentence
        from patchwright.methods.patch import Patch
        from patchwright.prompts.examples import example

        facts = [Sentence("a", "The gap is 3.5.", None, ()), Sentence("b", "L0 is 1.", None, ())]
        swept = Patch(model="demo", pairs=example("ioi").pair, per="position")
        llm_explanation.show(facts, swept)

    shown = AppTest.from_function(script, default_timeout=SECONDS).run()
    assert not shown.exception
    return shown


def configured(monkeypatch: pytest.MonkeyPatch, url: str, key: str = "sk-secret-secret") -> None:
    for name, value in {URL: url, MODEL: "tiny", KEY: key}.items():
        monkeypatch.setenv(name, value)


def test_without_an_endpoint_there_is_no_button(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (URL, MODEL, KEY):
        monkeypatch.delenv(name, raising=False)
    assert not page().button


def test_it_asks_when_clicked_and_shows_what_the_facts_bear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ChatServer(json.dumps({"sentences": SAID})) as chat:
        configured(monkeypatch, chat.url)
        shown = page()
        assert chat.asked == [], "never on its own"
        shown = shown.button(key="worded").click().run()
        texts = [one.value.replace(BREAK, "") for one in shown.markdown]
        assert texts == [r"The runs are 3\.5 \<b\>logits\<\/b\> apart\. :small[\[1\]]"]
        assert "1 sentence was struck out" in shown.caption[0].value
        asked = json.loads(chat.asked[0]["messages"][1]["content"])
        assert [one["number"] for one in asked["facts"]] == [1, 2]
        assert asked["prompts"]["clean"] == example("ioi").pair.clean
        assert shown.run().markdown[0].value, "it stays"
        page().button(key="worded").click().run()
        assert len(chat.asked) == 1, "another visitor's click costs the operator nothing"


def test_a_failure_is_said_without_the_key_and_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ChatServer(status=429) as chat:
        configured(monkeypatch, chat.url)
        shown = page().button(key="worded").click().run()
        assert "takes no more requests" in shown.warning[0].value
        assert "secret" not in repr(shown)
        shown.button(key="worded").click().run()
        assert len(chat.asked) == 2


def test_half_an_endpoint_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "http://127.0.0.1:1/v1")
    monkeypatch.delenv(MODEL, raising=False)
    shown = page()
    assert not shown.button
    assert "only one is set" in shown.caption[0].value
