"""One number an inspector: how often they are right, with errors spread evenly over the other classes.

Dawid and Skene's model with K (K - 1) numbers an inspector replaced by one, by expectation maximisation; the
homogeneous model of Raykar et al., Journal of Machine Learning Research 11 (2010), 1297-1322.
"""

from typing import Final

import numpy as np

from labeling.consensus.ballots import Ballots, Fit, effective_votes, normalised, softmax

ITERATIONS: Final = 100
CONVERGED: Final = 1e-6
FLOOR: Final = 1e-6


def one_coin(found: Ballots) -> Fit:
    """Maximum likelihood of the class mix and one share of right votes an inspector; as in CONSENSUS."""
    classes, people = found.class_count, found.inspector_count
    cast = np.bincount(found.inspector, found.weight, people)
    has_votes = np.bincount(found.item, minlength=found.item_count) > 0
    lean = 0.0 if found.lean is None else found.lean
    probability = softmax(np.log(normalised(found.counts(found.weight) + FLOOR)) + lean)
    for _ in range(ITERATIONS):
        hits = np.bincount(found.inspector, found.weight * probability[found.item, found.label], people)
        skill = np.clip((hits + FLOOR) / (cast + 2 * FLOOR), FLOOR, 1 - FLOOR)
        mix = normalised(probability[has_votes].sum(axis=0) + FLOOR) if found.known_mix is None else found.known_mix
        # A vote speaks for its class by the logarithm of how much likelier it is there than elsewhere.
        worth = np.log(skill) - np.log((1 - skill) / max(classes - 1, 1))
        step = softmax(found.counts(found.weight * worth[found.inspector]) + np.log(np.maximum(mix, FLOOR)) + lean)
        moved = float(np.abs(step - probability).max(initial=0.0))
        probability = step
        if moved < CONVERGED:
            break
    hits = np.bincount(found.inspector, found.weight * probability[found.item, found.label], people)
    skill = ((hits + FLOOR) / (cast + 2 * FLOOR))[:, None, None] if classes > 1 else np.ones((people, 1, 1))
    confusion = np.where(np.eye(classes, dtype=bool), skill, (1 - skill) / max(classes - 1, 1))
    return Fit(probability, normalised(confusion), effective_votes(found))
