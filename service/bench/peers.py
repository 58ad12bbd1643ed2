"""Other servers around the same model, each in its usual form; their scripts are in deploy/bench of a checkout.

They decode, resize and infer as Loupe does, but record nothing, watch nothing and know no trigger.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from service.bench.contenders import Contender, peer_server
from service.bench.load import Target
from service.bench.resources import on_cores
from service.bench.run import Bench, Extra
from service.demo import free_port
from service.settings import environment_of, load_settings

CHECKOUT = Path(__file__).parents[2]
PYTHON = CHECKOUT / ".venv-peers" / "bin" / "python"
SCRIPTS = CHECKOUT / "deploy" / "bench"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server script, the package that it needs, and where and in which form it takes a part.

    settings: what it reads from the environment, on top of this process's own.
    """

    script: str
    package: str
    path: str
    form_field: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


PEERS = {
    "fastapi": Peer("fastapi_upload.py", "fastapi", "/predict", "image"),
    "litserve": Peer("litserve_server.py", "litserve", "/predict", "image"),
    "bentoml": Peer("bentoml_service.py", "bentoml", "/predict", "image"),
    "ray serve": Peer("ray_serve.py", "ray.serve", "/", settings={"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}),
}


class PeersMissing(FileNotFoundError):
    """There is no environment with other servers."""

    def __init__(self) -> None:
        super().__init__(f"no other server is installed: {PYTHON} is missing")
        self.remedy = "run `make bench-peers` in a checkout of Loupe"


def installed_peers() -> list[Extra]:
    """A contender for every peer that can be imported in `.venv-peers`.

    Raises PeersMissing.
    """
    if not PYTHON.exists():
        raise PeersMissing
    return [_extra(name, peer) for name, peer in PEERS.items() if _is_importable(peer.package)]


def _extra(name: str, peer: Peer) -> Extra:
    return Extra(name, partial(_served, name=name, peer=peer))


def _is_importable(package: str) -> bool:
    return subprocess.run([PYTHON, "-c", f"import {package}"], capture_output=True).returncode == 0


@contextmanager
def _served(bench: Bench, name: str, peer: Peer) -> Iterator[Contender]:
    port = free_port()
    arguments = [str(SCRIPTS / peer.script), str(bench.models[0]), str(port), str(bench.threads)]
    target = Target(port, peer.path, peer.form_field)
    environment = {**environment_of(load_settings()), **peer.settings}
    log = bench.scratch / f"{name.replace(' ', '-')}.log"
    with ExitStack() as stack:
        with on_cores(bench.cores.contender):
            opening = peer_server(name, [str(PYTHON), *arguments], target, bench.parts[0], log, environment)
            contender = stack.enter_context(opening)
        yield contender
