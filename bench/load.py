"""Many clients at the HTTP interface at one time: is a job lost, and does health answer?

    python bench/load.py --clients 50 --seconds 120

Starts a server of its own with an empty store. Each client asks for an experiment of its
own, follows the job to its end, checks the result, and asks for the next. One client more
asks for health all the while. Turned away (429), a client waits as it is told.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

NAMES = ("Mary", "John", "Tom", "Anna", "James", "Sarah")
SWEEPS = (
    {"site": "resid_pre", "per": "position"},
    {"site": "mlp_out", "per": "position"},
    {"site": "attn_out", "per": "position"},
    {"site": "z", "per": "head"},
)


@dataclass
class Seen:
    """What the clients saw; times in seconds."""

    jobs: list[float] = field(default_factory=list[float])
    stored: int = 0
    turned_away: int = 0
    lost: list[str] = field(default_factory=list[str])
    health: list[float] = field(default_factory=list[float])


def experiment(draw: random.Random) -> dict[str, Any]:
    one, other = draw.sample(NAMES, 2)
    text = f"When {one} and {other} went to the store, {{}} gave a drink to"
    pair = {"clean": text.format(other), "corrupt": text.format(one)}
    pair |= {"answer": f" {one}", "wrong": f" {other}"}
    metric = draw.choice(["logit_diff", "probability", "logprob", "kl", "rank", "logit"])
    direction = draw.choice(["denoise", "noise"])
    asked = {"method": "patch", "model": "demo", "pairs": pair, "metric": metric}
    return asked | {"direction": direction} | draw.choice(SWEEPS)


async def one_client(client: httpx.AsyncClient, number: int, until: float, seen: Seen) -> None:
    draw = random.Random(number)
    while time.monotonic() < until:
        began = time.monotonic()
        answer = await client.post("/v1/experiments", json=experiment(draw))
        if answer.status_code == 429:
            seen.turned_away += 1
            await asyncio.sleep(min(float(answer.headers["retry-after"]), 1.0))
            continue
        answer.raise_for_status()
        if answer.status_code == 200:
            seen.stored += 1
            continue
        try:
            await followed(client, answer.json())
            seen.jobs.append(time.monotonic() - began)
        except (AssertionError, httpx.HTTPError) as error:
            seen.lost.append(f"{answer.json()['id']}: {error!r}")


async def followed(client: httpx.AsyncClient, job: dict[str, Any]) -> None:
    """Read a job's events to the end, then its result."""
    last = ""
    async with client.stream("GET", job["events"]) as stream:
        async for line in stream.aiter_lines():
            last = line.removeprefix("data: ") if line.startswith("data: ") else last
    end = json.loads(last)
    assert end["state"] == "done", end
    result = (await client.get(end["result"])).raise_for_status().json()
    values = [value for row in result["patched"] for value in row]
    assert None not in values, "a cell is missing"


async def watch_health(client: httpx.AsyncClient, until: float, seen: Seen) -> None:
    while time.monotonic() < until:
        began = time.monotonic()
        (await client.get("/healthz")).raise_for_status()
        seen.health.append(time.monotonic() - began)
        await asyncio.sleep(0.05)


async def load(address: str, clients: int, seconds: float) -> Seen:
    seen = Seen()
    options: dict[str, Any] = {"base_url": address, "timeout": 120, "trust_env": False}
    limits = httpx.Limits(max_connections=clients * 2)
    async with (
        httpx.AsyncClient(**options, limits=limits) as crowd,
        httpx.AsyncClient(**options) as watcher,
    ):
        until = time.monotonic() + seconds
        await asyncio.gather(
            watch_health(watcher, until, seen),
            *(one_client(crowd, number, until, seen) for number in range(clients)),
        )
    return seen


def served(home: str, port: int) -> subprocess.Popen[bytes]:
    """A server of the demo model that answers."""
    command = [sys.executable, "-P", "-m", "patchwright.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"PATCHWRIGHT_HOME": home})
    for _ in range(1200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).raise_for_status()
            return process
        except httpx.HTTPError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit("the server never answered")


def report(seen: Seen, clients: int, seconds: float) -> dict[str, Any]:
    jobs, health = sorted(seen.jobs) or [0.0], sorted(seen.health)
    return {
        "clients": clients,
        "seconds": seconds,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jobs done": len(seen.jobs),
        "jobs lost": len(seen.lost),
        "answered from the store": seen.stored,
        "turned away (429)": seen.turned_away,
        "job, median s": round(jobs[len(jobs) // 2], 3),
        "job, longest s": round(jobs[-1], 3),
        "health asked": len(health),
        "health, median s": round(health[len(health) // 2], 4),
        "health, 99 % s": round(health[int(0.99 * (len(health) - 1))], 4),
        "health, longest s": round(health[-1], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        server = served(home, port)
        try:
            seen = asyncio.run(load(f"http://127.0.0.1:{port}", given.clients, given.seconds))
        finally:
            server.terminate()
            server.wait(60)
    for line in seen.lost:
        print(line, file=sys.stderr)
    print(json.dumps(report(seen, given.clients, given.seconds), indent=1))
    sys.exit(bool(seen.lost) or max(seen.health) >= 1)


if __name__ == "__main__":
    main()
