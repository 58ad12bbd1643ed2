"""Classes in an order, such as severities 0..K-1: inspectors read a scale, each with an own bias and an own noise.

Every item lies somewhere on a scale on which class k covers k - 1/2 .. k + 1/2; an inspector sees the place moved by a
bias and blurred by normal noise, and names the class there (the graded model of Samejima 1969, with equal steps). So
votes for 1 and 3 speak for 2, and items near a border get split votes without anybody being careless. Bias and noise
are averaged over what an inspector's votes leave possible, on a grid.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

from labeling.consensus.ballots import Ballots, Fit, effective_votes, normalised, softmax
from labeling.consensus.class_mix import PSEUDO_ITEMS
from labeling.votes import Floats

PLACES: Final = 5
"""A class has so many places on the scale."""
BIASES: Final = np.linspace(-0.9, 0.9, 13)
NOISES: Final = np.geomspace(0.15, 1.5, 8)
"""In steps of the scale; usual biases are 0.3 and usual noises between 0.3 and 0.8."""
SLIP: Final = 0.02
"""Share of votes that have nothing to do with the item."""
BEYOND_BORDER: Final = 0.2
"""What all inspectors see may lie on the wrong side of a border: the share that an item at the border keeps there."""
MISLEADING: Final = 0.015
ITERATIONS: Final = 30
CONVERGED: Final = 1e-4


def ordinal(found: Ballots) -> Fit:
    """Bayes on a scale; as in CONSENSUS. The mix of classes is learned unless it is known."""
    classes, cells = found.class_count, found.inspector_count * found.class_count
    cell = found.inspector * classes + found.label
    votes = sp.csr_array((found.independent, (found.item, cell)), shape=(found.item_count, cells))
    by_cell, has_votes = votes.T.tocsr(), np.bincount(found.item, minlength=found.item_count) > 0
    table, usual = _table(classes), _usual()
    log_table = np.log(table)
    lean = 0.0 if found.lean is None else np.repeat(found.lean, PLACES, axis=1)
    habit = np.tile(usual / usual.sum(), (found.inspector_count, 1))
    mix = np.full(classes, 1.0 / classes) if found.known_mix is None else np.maximum(found.known_mix, 1e-6)
    place = np.full((found.item_count, classes * PLACES), 1.0 / (classes * PLACES))
    for _ in range(ITERATIONS):
        said = np.einsum("jh,hgk->jkg", habit, table).reshape(cells, classes * PLACES)
        step = softmax(votes @ np.log(said) + np.log(np.repeat(mix, PLACES)) + lean)
        moved = float(np.abs(step - place).max(initial=0.0))
        place = step
        if moved < CONVERGED:
            break
        if found.known_mix is None:
            share = place[has_votes].reshape(-1, classes, PLACES).sum(axis=(0, 2))
            mix = (share + PSEUDO_ITEMS / classes) / (share.sum() + PSEUDO_ITEMS)
        seen = (by_cell @ place).reshape(found.inspector_count, classes, classes * PLACES)
        evidence = np.einsum("jkg,hgk->jh", seen, log_table) + np.log(usual)
        habit = softmax(evidence)
    said = np.einsum("jh,hgk->jkg", habit, table).reshape(cells, classes * PLACES)
    # Not tempered: that an item is hard for everybody is what its place near a border says already.
    place = softmax(votes @ np.log(said) + np.log(np.repeat(mix, PLACES)) + lean)
    probability = (1 - MISLEADING) * (place @ _beyond_border(classes)) + MISLEADING * mix
    within = said.reshape(found.inspector_count, classes, classes, PLACES).mean(axis=3)
    return Fit(normalised(probability), normalised(within.transpose(0, 2, 1)), effective_votes(found))


@lru_cache(maxsize=8)
def _table(classes: int) -> Floats:
    """(habits, places, K): how probable each class is, said of each place by an inspector of each bias and noise."""
    place = (np.arange(classes * PLACES) + 0.5) / PLACES - 0.5
    border = np.concatenate([[-np.inf], np.arange(classes - 1) + 0.5, [np.inf]])
    distance = border - place[:, None] - BIASES[:, None, None, None]
    said = np.diff(ndtr(distance / NOISES[:, None, None]), axis=-1)
    found = ((1 - SLIP) * said + SLIP / classes).reshape(-1, classes * PLACES, classes)
    found.setflags(write=False)
    return np.asarray(found, np.float64)


def _usual() -> Floats:
    """(habits,): how usual a bias and a noise are among inspectors."""
    bias = -0.5 * (BIASES / 0.3) ** 2
    noise = -0.5 * (np.log(NOISES / 0.5) / 0.5) ** 2
    return np.asarray(np.exp(bias[:, None] + noise[None, :]).ravel(), np.float64)


def _beyond_border(classes: int) -> Floats:
    """(places, K): the class that an item truly has by the place where inspectors see it."""
    offset = (np.arange(PLACES) + 0.5) / PLACES - 0.5
    found = np.zeros((classes, PLACES, classes))
    for one in range(classes):
        across = BEYOND_BORDER * 2 * np.abs(offset)
        beside = np.clip(one + np.sign(offset).astype(np.int64), 0, classes - 1)
        found[one, :, one] += 1 - across
        found[one, np.arange(PLACES), beside] += across
    return found.reshape(-1, classes)
