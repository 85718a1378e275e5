"""No path of the server reaches those whom it answers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from http_service import PAIR, asked, client_of
from patchwright.model.catalog import DEMO
from patchwright.server.serving import load_models
from patchwright.storage.database import FILE_NAME
from patchwright.storage.job_store import JobStore

SECRET = "the-servers-secret-place"


@pytest.mark.parametrize("trouble", ["none", "unreadable", "damaged"])
def test_no_answer_has_a_path_of_the_server(tmp_path: Path, trouble: str) -> None:
    folder = tmp_path / SECRET
    shutil.copytree(DEMO, folder / "mine")
    store = JobStore(folder / "store")
    (model,) = load_models([str(folder / "mine")], "cpu")
    said: list[str] = []
    experiment = asked(model="mine", layers=[0])
    with client_of(model, store=store) as client:
        job = client.post("/v1/experiments", json=experiment).json()
        said.append(client.get(job["events"]).text)
        result = client.get(f"/v1/jobs/{job['id']}").json()["result"]
        if trouble == "unreadable":
            shutil.rmtree(store.folder)
            store.path.mkdir(parents=True)
        elif trouble == "damaged":
            (store.folder / FILE_NAME).write_bytes(b"no database" * 1000)
        requests: list[tuple[str, str, Any]] = [
            *(("GET", path, None) for path in ("/v1/models", "/readyz", "/openapi.json", "/none")),
            *(("GET", f"{result}?format={kind}", None) for kind in ("json", "csv", "svg", "png")),
            ("GET", f"/v1/jobs/{job['id']}", None),
            ("GET", "/v1/jobs/unknown", None),
            ("DELETE", "/v1/jobs/unknown", None),
            ("GET", "/v1/results/unknown", None),
            ("GET", "/v1/tokens?text=a&model=other", None),
            ("POST", "/v1/experiments", experiment | {"direction": "noise"}),
            ("POST", "/v1/experiments", experiment | {"model": str(folder / "mine")}),
            ("POST", "/v1/experiments", experiment | {"layers": [99]}),
            ("POST", "/v1/experiments", experiment | {"pairs": PAIR | {"clean": ""}}),
            ("POST", "/v1/agreement", {"sentence": "The keys to the cabinet are here"}),
        ]
        answers = [client.request(method, path, json=body) for method, path, body in requests]
        said += [one.text for one in answers]
        for one in answers:
            if one.status_code == 202:
                said.append(client.get(one.json()["events"]).text)
    # What a request itself has is repeated: it was no secret of the server's.
    (repeated,) = [one for one in said if f"{SECRET}/mine' is not served here" in one]
    said.remove(repeated)
    assert not [one for one in said if SECRET in one or str(tmp_path) in one]
    if trouble == "unreadable":
        assert 503 in [one.status_code for one in answers]
        assert "The run store of this server has trouble" in json.dumps(said)
