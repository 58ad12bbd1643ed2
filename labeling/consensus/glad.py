"""Items differ in difficulty: Whitehill et al., Whose vote should count more, NIPS 22 (2009), known as GLAD.

A vote is right with probability 1 / (1 + exp(-skill x clarity)), skill of the inspector and clarity of the item; wrong
votes spread evenly over the other classes. Normal priors (skill around 1, log clarity around 0) as in the paper.
"""

from typing import Final

import numpy as np
from scipy.special import expit

from labeling.consensus.ballots import Ballots, Fit, confusion_of, effective_votes, normalised, softmax
from labeling.consensus.class_mix import estimated, mix_of
from labeling.votes import Floats

ITERATIONS: Final = 30
STEPS: Final = 10
CONVERGED: Final = 1e-4
LIMIT: Final = 6.0
"""Of skill and log clarity, beyond which a vote's probability does not change in double precision's sense of sure."""


def glad(found: Ballots) -> Fit:
    """Expectation maximisation with Newton-scaled ascent over skill and clarity; as in CONSENSUS."""
    classes = found.class_count
    has_votes = np.bincount(found.item, minlength=found.item_count) > 0
    lean = 0.0 if found.lean is None else found.lean
    is_rare = mix_of(found).is_rare > 0.5
    skill, log_clarity = np.ones(found.inspector_count), np.zeros(found.item_count)
    probability = normalised(found.counts(found.independent) + 0.3)
    for _ in range(ITERATIONS):
        skill, log_clarity = _ascend(found, probability[found.item, found.label], skill, log_clarity)
        right = expit(skill[found.inspector] * np.exp(log_clarity[found.item]))
        worth = np.log(right) - np.log(np.maximum(1 - right, 1e-12) / max(classes - 1, 1))
        mix = found.known_mix
        if mix is None:
            mix = estimated(probability[has_votes]) if is_rare else np.full(classes, 1.0 / classes)
        step = softmax(found.counts(found.independent * worth) + np.log(np.maximum(mix, 1e-6)) + lean)
        moved = float(np.abs(step - probability).max(initial=0.0))
        probability = step
        if moved < CONVERGED:
            break
    smoothing = 0.5 * np.eye(classes) + 1e-9
    return Fit(probability, confusion_of(found, found.independent, probability, smoothing), effective_votes(found))


def _ascend(found: Ballots, hit: Floats, skill: Floats, log_clarity: Floats) -> tuple[Floats, Floats]:
    """Skill and log clarity that make the votes likelier, each being right with probability hit (L,).

    Steps are divided by the expected curvature, so that they neither crawl nor overshoot.
    """
    people, items, weight = found.inspector_count, found.item_count, found.independent
    for _ in range(STEPS):
        clarity = np.exp(log_clarity)[found.item]
        ability = skill[found.inspector]
        right = expit(ability * clarity)
        error, spread = weight * (hit - right), weight * right * (1 - right)
        slope = np.bincount(found.inspector, error * clarity, people) - (skill - 1)
        bend = np.bincount(found.inspector, spread * clarity**2, people) + 1
        skill = np.clip(skill + slope / bend, -LIMIT, LIMIT)
        slope = np.bincount(found.item, error * ability * clarity, items) - log_clarity
        bend = np.bincount(found.item, spread * (ability * clarity) ** 2, items) + 1
        log_clarity = np.clip(log_clarity + 0.5 * slope / bend, -LIMIT, LIMIT)
    return skill, log_clarity
