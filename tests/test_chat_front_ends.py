"""Chats on the command line, over HTTP and on the page: the same messages, the same sentences."""

import json
from collections.abc import Generator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import patchwright as pw
from app_pages import one_view, settled
from chats import PLAIN, assistant, system, user
from checkpoints import save_tiny
from command import patchwright
from http_service import asked, client_of
from patchwright.app import resources, restore_state, session_state, url_state
from patchwright.methods import METHODS

CLEAN, CORRUPT = "Mary gave John a drink", "Mary gave Tom a drink"
CHAT: dict[str, Any] = {
    "clean": [system("Be kind."), user(CLEAN)],
    "corrupt": [system("Be kind."), user(CORRUPT)],
    "answer": [" Mary"],
    "wrong": [" John"],
}
ANSWERS = ["--answer", " Mary", "--wrong", " John"]
TYPED = ["--clean", CLEAN, "--corrupt", CORRUPT, *ANSWERS]
SAID = ["--system", "Be kind."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = save_tiny(tmp_path_factory.mktemp("models") / "model")
    (folder / "chat_template.jinja").write_text(PLAIN, encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def model(folder: str) -> pw.Model:
    return pw.load_model(folder)


# The command line.


@pytest.mark.parametrize(
    "command",
    [
        ["patch", *TYPED], ["attribute", *TYPED], ["ablate", *TYPED, "--ablation", "mean", "--prompt", CLEAN],
        ["paths", *TYPED], ["circuit", *TYPED], ["diff", *TYPED], ["attention", *TYPED], ["lens", *TYPED],
    ],
    ids=lambda one: one[0],
)  # fmt: skip
def test_every_command_takes_what_is_typed_as_said(folder: str, command: list[str]) -> None:
    done = patchwright(*command, *SAID, "--model", folder, "--experiment", "-", "--no-store")
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)
    assert {name: written["pairs"][name] for name in CHAT} == CHAT
    if command[0] == "ablate":
        assert written["prompts"] == [CHAT["clean"]]


def test_trace_takes_its_prompt_as_said(folder: str) -> None:
    command = ["trace", "--prompt", CLEAN, "--subject", "John", *ANSWERS, "--chat"]
    done = patchwright(*command, "--model", folder, "--json", "-", "--samples", "2", "--no-store")
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)
    assert written["experiment"]["prompt"] == [user(CLEAN)]
    assert written["details"]["subject_tokens"] == [" John"]
    assert "Warning (bos_added)" in done.stderr


def test_tokens_are_shown_with_the_templates(folder: str) -> None:
    done = patchwright("tokens", "Mary", "John", "--system", "Be", "--model", folder)
    assert "ASSISTANT:" in "".join(
        line.split()[2] for line in done.stdout.splitlines() if line[:1].isdigit()
    ).replace("<|endoftext|>", "")
    assert "The chat template writes no beginning-of-text token" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["patch", *TYPED, "--chat", "--model", "demo"], "has no chat template"),
        (
            ["patch", "--example", "ioi", "--chat"],
            "--chat and --system go with prompts that are typed",
        ),
        (["lens", "--pairs", "-", "--system", "x"], "a prompt may be messages"),
        (["trace", "--example", "ioi", "--chat"], "go with a --prompt that is typed"),
        (["patch", "--chat"], "--clean is missing or empty"),
        (["patch", *TYPED, "--system", " "], "message 1 has no content"),
    ],
)
def test_what_cannot_be_a_chat_is_a_sentence(arguments: list[str], says: str) -> None:
    done = patchwright(*arguments, "--no-store")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


# Over HTTP.


def test_over_http_messages_are_taken_and_shown(model: pw.Model) -> None:
    with client_of(model) as client:
        experiment = asked(model=model.name, pairs=CHAT, site="resid_pre", layers=[0])
        said = client.post("/v1/experiments", json=experiment)
        assert said.status_code in (200, 202), said.text
        assert said.json()["hash"] == METHODS.parse(experiment).hash
        job = client.get(f"/v1/jobs/{said.json().get('id')}/events")
        assert "event: done" in job.text
        result = client.get(f"/v1/results/{said.json()['hash']}").json()
        assert result["experiment"]["pairs"]["clean"] == CHAT["clean"]
        tokens = client.get("/v1/tokens", params={"text": CLEAN, "system": "Be kind."}).json()
        assert [one["text"] for one in tokens["tokens"]] == result["tokens"]["clean"]
        assert any("beginning-of-text" in one for one in tokens["warnings"])
        for bad, says in (
            ([{"role": "tool", "content": "a"}], "message 1 has another role"),
            ([user("a <|endoftext|>")], "spells '<|endoftext|>'"),
        ):
            refused = client.post(
                "/v1/experiments", json=asked(model=model.name, pairs=CHAT | {"clean": bad})
            )
            assert refused.status_code == 422
            assert says in refused.json()["error"]["message"]


# The page.


@pytest.fixture
def page_of(model: pw.Model, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    resources.shared_model.clear()
    monkeypatch.setattr(resources, "load_model", lambda _: model)
    yield
    resources.shared_model.clear()


FIELDS = {"clean": CLEAN, "corrupt": CORRUPT, "answer": " Mary", "wrong": " John"}


def chips(page: AppTest) -> str:
    return "".join(
        one.proto.body for one in page.get("html") if 'class="pw-chips"' in one.proto.body
    )


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("page_of")
def test_a_switch_makes_what_is_typed_a_users_message() -> None:
    page = one_view("patch", **FIELDS)
    assert not page.exception
    before = chips(page)
    settled(page.toggle(key="chat").set_value(True).run())
    settled(page.text_input(key="system").set_value("Be kind.").run())
    assert not page.exception
    assert not page.error
    assert dict(page.query_params) | {"chat": "1", "system": "Be kind."} == page.query_params
    assert any("The chat template writes no" in one.value for one in page.caption)
    assert not any("The chat template" in one.value for one in page.warning), "it is said once"
    again = one_view("patch", **dict(page.query_params))
    assert chips(again) == chips(page)
    assert chips(page).count("pw-chip") > before.count("pw-chip")
    settled(page.toggle(key="chat").set_value(False).run())
    assert chips(page) == before
    assert "chat" not in page.query_params


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("page_of")
def test_trace_asks_for_the_subject_in_the_chat() -> None:
    page = one_view("trace", **FIELDS, chat="1", samples="2")
    assert not page.exception
    assert not page.error
    (subject,) = page.session_state["subject"]
    tokens: Any = page.session_state["subject_tokens"]
    assert tokens[subject] == " John"


def test_without_a_template_the_page_says_so_and_lets_the_chat_go() -> None:
    page = one_view("patch", **FIELDS, chat="1", model="demo")
    assert not page.exception
    assert any("has no chat template" in one.value for one in page.error)
    settled(page.toggle(key="chat").set_value(False).run())
    assert not page.error
    assert not page.toggle


EXPERIMENTS = {
    "patch": pw.Patch(model="demo", pairs=pw.Pair(**CHAT)),
    "ablation": pw.Ablate(
        model="demo", pairs=pw.Pair(**CHAT), site="z", ablation="mean",
        prompts=(CHAT["clean"], CHAT["corrupt"]),
    ),
    "lens": pw.LogitLens(model="demo", pairs=pw.Pair(**CHAT)),
    "trace": pw.Trace(
        model="demo", prompt=[user(CLEAN)], subject=(3,), answer=[" Mary"], samples=2
    ),
}  # fmt: skip


@pytest.mark.parametrize("page", EXPERIMENTS)
def test_a_stored_chat_opens_on_its_page(page: str) -> None:
    found = restore_state.page_of(EXPERIMENTS[page])
    assert found is not None
    assert found[0] == page
    assert (found[1]["chat"], found[1]["clean"]) == (True, CLEAN)
    controls = {**session_state.FIELDS, **found[1]}
    read = url_state.read_parameters(page, url_state.query_parameters(page, controls))
    assert all(read[name] == controls[name] for name in ("chat", "system", "clean"))


@pytest.mark.parametrize(
    "clean",
    [
        [user(CLEAN), assistant("a"), user("b")],
        [user(CLEAN), assistant("a")],
        [system("Be unkind."), user(CLEAN)],
        CLEAN,
    ],
)
def test_a_chat_that_no_field_holds_is_on_no_page(clean: Any) -> None:
    experiment = pw.Patch(model="demo", pairs=pw.Pair(**CHAT | {"clean": clean}))
    assert restore_state.page_of(experiment) is None
