"""Each address of the HTTP interface: what it gives, and what it refuses."""

import csv
import json
from collections.abc import Generator
from io import StringIO
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import patchwright as pw
from http_service import PAIR, asked, client_of
from patchwright.methods.patch import Patch
from patchwright.storage.job_store import JobStore
from patchwright.storage.store import Store


@pytest.fixture(scope="module")
def client(demo: pw.Model, tmp_path_factory: pytest.TempPathFactory) -> Generator[TestClient]:
    with client_of(demo, store=JobStore(tmp_path_factory.mktemp("store"))) as client:
        yield client


def done(client: TestClient, experiment: dict[str, Any]) -> str:
    """The address of its result, once it is there."""
    answer = client.post("/v1/experiments", json=experiment)
    if answer.status_code == 200:
        return answer.json()["result"]
    assert answer.status_code == 202, answer.text
    events = client.get(answer.json()["events"]).text
    assert "event: done" in events
    return client.get(answer.headers["location"]).json()["result"]


def refusal(answer: Any, status: int, code: str) -> str:
    """What a refused request is told."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    return error["message"]


def test_an_experiment_gives_the_result_that_the_library_gives(
    client: TestClient, demo: pw.Model
) -> None:
    result = client.get(done(client, asked()))
    straight = pw.patch(demo, pw.Pair.model_validate(PAIR))
    assert result.headers["content-type"] == "application/json"
    same = result.json() | {"seconds": 0} == json.loads(straight.to_json()) | {"seconds": 0}
    assert same


def test_what_was_computed_once_is_answered_at_once(client: TestClient) -> None:
    where = done(client, asked(site="attn_out"))
    again = client.post("/v1/experiments", json=asked(site="attn_out"))
    assert again.status_code == 200
    hash_ = Patch.of(asked(site="attn_out")).hash
    assert again.json() == {"state": "done", "hash": hash_, "result": where}
    assert where == f"/v1/results/{hash_}"


def test_a_run_that_the_command_line_kept_is_answered_at_once(demo: pw.Model) -> None:
    Store().save(pw.run(Patch.of(asked(site="mlp_out")), demo))
    with client_of(demo) as client:
        assert client.post("/v1/experiments", json=asked(site="mlp_out")).status_code == 200


@pytest.mark.parametrize(
    ("accept", "query", "media"),
    [
        ("text/csv", "", "text/csv; charset=utf-8"),
        ("image/png", "", "image/png"),
        ("text/html;q=0.9,image/svg+xml;q=0.5", "", "image/svg+xml"),
        ("image/*", "", "image/png"),
        ("text/csv;q=0.1, application/json", "", "application/json"),
        ("*/*", "", "application/json"),
        ("text/csv", "?format=svg", "image/svg+xml"),
        ("text/html", "?format=csv", "text/csv; charset=utf-8"),
    ],
)
def test_a_result_comes_as_what_is_accepted_or_named(
    client: TestClient, accept: str, query: str, media: str
) -> None:
    where = done(client, asked())
    answer = client.get(f"{where}{query}", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media)
    signs = {"image/png": b"\x89PNG", "image/svg+xml": b"<?xml", "text/csv": b"place,"}
    assert answer.content.startswith(signs.get(media.partition(";")[0], b"{"))


def test_the_csv_has_a_row_for_each_cell(client: TestClient) -> None:
    where = done(client, asked())
    rows = list(csv.DictReader(StringIO(client.get(where, params={"format": "csv"}).text)))
    effect = np.array(client.get(where).json()["effect"])
    assert [float(row["effect"]) for row in rows] == effect.ravel().tolist()


def test_kinds_that_there_are_not_are_refused(client: TestClient) -> None:
    where = done(client, asked())
    says = refusal(client.get(where, headers={"Accept": "text/html"}), 406, "not_acceptable")
    assert "image/svg+xml" in says
    assert "format" in refusal(client.get(f"{where}?format=pdf"), 422, "request")


def test_results_and_jobs_that_nobody_knows_are_not_found(client: TestClient) -> None:
    assert "'0123'" in refusal(client.get("/v1/results/0123"), 404, "unknown_result")
    for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
        says = refusal(client.request(method, f"/v1/jobs/0123{path}"), 404, "unknown_job")
        assert "'0123'" in says
    refusal(client.get("/v1/experiments/x"), 404, "not_found")
    refusal(client.put("/v1/models"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("experiment", "code", "says"),
    [
        (asked(site="resid"), "experiment", "The experiment's field 'site'"),
        (asked(metod="patch"), "experiment", "'metod': there is no such field"),
        ({"method": "lens"}, "experiment", "does not match any of the expected tags"),
        (asked(pairs=PAIR | {"clean": ""}), "prompt", "empty"),
        (asked(pairs=PAIR | {"corrupt": PAIR["clean"]}), "prompt", "are the same tokens"),
        (asked(pairs=PAIR | {"corrupt": "Hello"}), "unequal_lengths", "tokens"),
        (asked(pairs=PAIR | {"answer": []}), "answer", "No answer was given"),
        (asked(pairs=PAIR | {"answer": "\ud800"}), "experiment", "hex escape"),
        (asked(model="gpt2"), "experiment", "'gpt2' is not served here. This server has demo"),
        (asked(model="../demo"), "experiment", "'../demo' is not served here"),
        (asked(model="/etc"), "experiment", "'/etc' is not served here"),
        (asked(revision="main"), "experiment", "(revision 'main') is not served here"),
    ],
)
def test_an_experiment_that_cannot_be_done_is_refused_with_the_sentence_of_everywhere(
    client: TestClient, experiment: dict[str, Any], code: str, says: str
) -> None:
    assert says in refusal(
        client.post(
            "/v1/experiments",
            content=json.dumps(experiment),
            headers={"Content-Type": "application/json"},
        ),
        422,
        code,
    )


@pytest.mark.parametrize("body", ["", "[", "null", "[]", '"x"', "[" * 100_000, "1" * 10_000])
def test_a_body_that_is_no_experiment_is_refused(client: TestClient, body: str) -> None:
    kind = {"Content-Type": "application/json"}
    answer = client.post("/v1/experiments", content=body, headers=kind)
    assert refusal(answer, 422, "experiment").startswith("The experiment")


def test_what_only_the_run_finds_wrong_is_the_jobs_error(client: TestClient) -> None:
    answer = client.post("/v1/experiments", json=asked(layers=[99]))
    events = client.get(answer.json()["events"]).text
    job = client.get(answer.headers["location"]).json()
    assert (job["state"], job["error"]["code"], job["result"]) == ("failed", "unknown_place", None)
    assert job["error"]["message"] == job["message"]
    assert "99" in job["message"]
    assert "event: failed" in events


def test_models_are_those_that_the_server_was_started_with(
    client: TestClient, demo: pw.Model
) -> None:
    (one,) = client.get("/v1/models").json()["models"]
    assert (one["name"], one["layers"], one["context"]) == ("demo", 6, 64)
    assert one["fingerprint"] == demo.fingerprint


def test_tokens_are_the_models(client: TestClient) -> None:
    found = client.get("/v1/tokens", params={"text": " Mary <b>"}).json()
    assert found["model"] == "demo"
    assert [one["position"] for one in found["tokens"]] == list(range(len(found["tokens"])))
    assert [one["text"] for one in found["tokens"][:2]] == ["<|endoftext|>", " Mary"]
    bare = client.get("/v1/tokens", params={"text": " Mary <b>", "bos": False}).json()
    assert bare["tokens"][0] == found["tokens"][1] | {"position": 0}
    assert "256" in refusal(client.get("/v1/tokens", params={"text": "a " * 999}), 422, "prompt")
    refusal(client.get("/v1/tokens", params={"text": "a", "model": "gpt2"}), 422, "experiment")
    refusal(client.get("/v1/tokens"), 422, "request")


def test_every_example_for_the_demo_model_can_be_asked_for(client: TestClient) -> None:
    found = [
        one for one in client.get("/v1/examples").json()["examples"] if "demo" in one["models"]
    ]
    assert len(found) > 3
    for one in found[:3]:
        sweep = {"site": "z", "per": "head", "metric": one["metric"], "pairs": one["pair"]}
        assert client.get(done(client, asked(**sweep))).status_code == 200


def test_a_sentence_gives_its_agreement_explained(client: TestClient, demo: pw.Model) -> None:
    sentence = "The keys to the cabinet are on the table"
    found = client.post("/v1/agreement", json={"sentence": sentence}).json()
    assert (found["clean"], found["corrupt"]) == (
        "The keys to the cabinet",
        "The key to the cabinet",
    )
    assert (found["answer"], found["wrong"], found["subject"]) == (" are", " is", "keys")
    sweep = client.get(found["result"]).json()
    straight = pw.patch(demo, pw.agreement(sentence, demo.tokenizer))
    assert sweep["effect"] == json.loads(straight.to_json())["effect"]
    enters = next(one for one in found["steps"] if one["code"] == "enters")
    assert enters["place"] == "L0.resid_pre@2"
    assert found["cautions"][-1]["text"]
    again = client.post("/v1/agreement", json={"sentence": sentence}).json()
    assert again == found


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"sentence": "Hm"}, "prompt", "has no verb to ask for"),
        ({"sentence": "The key are here"}, "prompt", "do not agree in number"),
        ({"sentence": ""}, "request", "'sentence'"),
        ({"sentence": "The key is", "model": "/etc/passwd"}, "experiment", "is not served here"),
        ({"sentence": "The key is", "device": "cuda"}, "request", "'device'"),
        ({}, "request", "'sentence'"),
        ([], "request", ""),
    ],
)
def test_a_sentence_that_cannot_be_used_is_refused(
    client: TestClient, body: Any, code: str, says: str
) -> None:
    assert says in refusal(client.post("/v1/agreement", json=body), 422, code)


@pytest.mark.parametrize("path", ["/v1/agreement", "/v1/experiments"])
def test_bytes_that_are_no_text_are_refused(client: TestClient, path: str) -> None:
    answer = client.post(
        path, content=b'{"a": "\xff"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] in ("request", "experiment")


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}


def test_a_server_whose_store_cannot_be_read_is_not_ready_but_answers(
    demo: pw.Model, home: Any
) -> None:
    home.mkdir()
    (home / "runs.sqlite3").mkdir()
    with client_of(demo) as client:
        assert client.get("/healthz").status_code == 200
        assert "The run store of this server has trouble" in refusal(
            client.get("/readyz"), 503, "store"
        )
        assert client.get(done(client, asked())).json()["dims"] == ["layer", "position"]


def test_the_description_has_no_page_that_loads_scripts_and_knows_every_method(
    client: TestClient,
) -> None:
    for page in ("/docs", "/redoc"):
        refusal(client.get(page), 404, "not_found")
    parts = client.get("/openapi.json").json()["components"]["schemas"]
    tags = parts["Experiment"]["discriminator"]["mapping"]
    assert {"patch", "trace", "ablate", "edge_attribution"} < set(tags)
    assert set(parts["Refusal"]["properties"]) == {"error"}


def test_a_fault_of_the_servers_says_nothing_of_its_insides(
    demo: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from patchwright.server import routes

    def broken(_: object) -> None:
        raise ZeroDivisionError("a secret path")

    monkeypatch.setattr(routes, "_served_model", broken)
    with client_of(demo) as client:
        answer = client.get("/v1/models")
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        refusal(answer, 500, "internal")
