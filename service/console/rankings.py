"""The consensus of each product and what the queue makes of it, kept at hand: a page may not wait for a settling.

It is what the labels say: decisions of leads are left to those who read it, for they look at what was decided too.
"""

import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from labeling.disagreement.causes import causes
from labeling.label_book import book_of, expected_shares
from labeling.queue import next_requests
from labeling.settle import consensus_of, to_votes
from labeling.votes import Consensus, Votes
from storage import labels, opinions
from storage.database import Database

INSTANT_S = 0.1
"""A ranking that is made this fast is made anew while the page waits; a slower one is made beside."""
ASKED_AT_MOST = 1000
"""Images looked up for an inspector at once; more than anybody judges before the next labels come."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The consensus of a product's labels, and what the queue makes of it."""

    state: tuple[int, int, int]
    """The labels that it was made of, as `storage.labels.state` tells them."""
    votes: Votes
    consensus: Consensus
    images: tuple[str, ...]
    """SHA-256 by item number."""
    inspectors: tuple[str, ...]
    classes: tuple[str, ...]
    seconds: float
    """How long it took to make."""
    at_fault: frozenset[str] = frozenset()
    """Images that only the label book can settle, as far as that is known."""

    def asked_of(self, inspector: str, now: datetime) -> list[str]:
        """Images that this inspector should judge, best first: new ones, and those seen long ago."""
        names = self.inspectors if inspector in self.inspectors else (*self.inspectors, inspector)
        pairs = next_requests(
            self.votes,
            self.consensus,
            ASKED_AT_MOST,
            inspector_count=len(names),
            available=[names.index(inspector)],
            closed=np.array([image in self.at_fault for image in self.images], np.bool_),
            now_s=now.timestamp(),
        )
        return [self.images[item] for item in pairs[:, 0].tolist()]


class Rankings:
    """The ranking of each product, made anew when labels have come.

    Threads may share it. A reader gets one of the labels as they are now, or, where making it takes long, the one
    before while a new one is made beside.
    """

    def __init__(self, database: Database, instant_s: float = INSTANT_S) -> None:
        self._database = database
        self._instant_s = instant_s
        self._made: dict[str, Ranking] = {}
        self._being_made: set[str] = set()
        self._being_blamed: set[str] = set()
        self._lock = threading.Lock()

    def of(self, product: str) -> Ranking:
        """The product's ranking.

        Raises UnknownProduct, DatabaseUnavailable.
        """
        with self._database.read() as connection:
            state = labels.state(connection, product)
        made = self._made.get(product)
        if made is not None and made.state == state:
            return made
        if made is None or made.seconds < self._instant_s:
            return self._make(product)
        with self._lock:
            is_mine = product not in self._being_made
            self._being_made.add(product)
        if is_mine:
            threading.Thread(target=self._make_beside, args=[product], daemon=True, name="ranking").start()
        return made

    def _make_beside(self, product: str) -> None:
        try:
            self._make(product)
        finally:
            with self._lock:
                self._being_made.discard(product)

    def _make(self, product: str) -> Ranking:
        started = time.perf_counter()
        with self._database.read() as connection:
            # Before the labels: what comes in between is then seen as news, not missed.
            state = labels.state(connection, product)
            book = book_of(connection, product)
            judged = labels.of_product(connection, product)
            said = opinions.newest(connection, product)
        votes, images, inspectors = to_votes(judged, book)
        classes = tuple(entry.name for entry in book.classes)
        consensus = (
            consensus_of(votes, images, classes, expected_shares(book), opinions=said)
            if judged
            else _nobody_said(len(classes))
        )
        seconds = time.perf_counter() - started
        with self._lock:
            former = self._made.get(product)
            # One label more changes little: what was found with the former ones holds until it is found anew.
            at_fault = former.at_fault if former else frozenset()
            ranking = Ranking(state, votes, consensus, images, inspectors, classes, seconds, at_fault)
            self._made[product] = ranking
            # Without second looks the book is blamed for what is one inspector's habit.
            is_mine = bool(votes.occasion.any()) and product not in self._being_blamed
            if is_mine:
                self._being_blamed.add(product)
        if is_mine:
            threading.Thread(target=self._blame_book, args=[product], daemon=True, name="causes").start()
        return ranking

    def _blame_book(self, product: str) -> None:
        """Find the images that no further look can settle, until no labels have come meanwhile.

        That takes too long for a page to wait, and for two of them at once.
        """
        try:
            while True:
                read = self._made[product]
                found = causes(read.votes, read.consensus, np.random.default_rng(0))
                at_fault = frozenset(read.images[item] for item in np.flatnonzero(found.is_book_at_fault))
                with self._lock:
                    newest = self._made[product]
                    self._made[product] = replace(newest, at_fault=at_fault)
                if newest.state == read.state or not newest.votes.occasion.any():
                    return
        finally:
            with self._lock:
                self._being_blamed.discard(product)


def _nobody_said(class_count: int) -> Consensus:
    """The consensus of no labels."""
    none = np.zeros((0, class_count))
    confusion = np.zeros((0, class_count, class_count))
    return Consensus(none, np.zeros(0, np.int64), confusion, np.zeros(0), "none", "there are no labels")
