"""The line server without its journal, its metrics or its watching, each beside the whole one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial

from service.bench.contenders import Contender
from service.bench.run import Bench, Extra, served
from service.bench.server import STAND_INS


def without_each() -> list[Extra]:
    """A contender for every part that can be left out."""
    return [
        *(Extra(f"loupe without {part}", partial(_without, part=part)) for part in STAND_INS),
        Extra("loupe without watching", _without_watching),
    ]


def _without(bench: Bench, part: str) -> AbstractContextManager[Contender]:
    return served(bench, f"loupe without {part}", ("service.bench.server", part))


@contextmanager
def _without_watching(bench: Bench) -> Iterator[Contender]:
    """The very same server: parts in mode `shadow` are inspected and recorded, but not watched."""
    with served(bench, "loupe without watching") as server:
        target = replace(server.target, path=server.target.path + "&mode=shadow")
        yield replace(server, target=target)
