"""Held against the paper: Dawid and Skene, Applied Statistics 28 (1979), tables 1 to 4."""

import numpy as np

from labeling.consensus import aggregate
from labeling.votes import Votes

# Fitness for anaesthesia of 45 patients, 1 to 4: three looks of observer 1, then observers 2 to 5 (table 1).
ANAESTHESIA = """
111 1 1 1 1|333 4 3 3 4|112 2 1 2 2|222 3 1 2 1|222 3 2 2 2|222 3 3 2 2|112 2 1 1 1|333 3 4 3 3|222 2 2 2 3|232 2 2 2 3
444 4 4 4 4|222 3 3 4 3|111 1 1 1 1|222 3 2 1 2|121 1 1 1 1|111 2 1 1 1|111 1 1 1 1|111 1 1 1 1|222 2 2 2 1|222 1 3 2 2
222 2 2 2 2|222 2 2 2 1|222 3 2 2 2|221 2 2 2 2|111 1 1 1 1|111 1 1 1 1|232 2 2 2 2|111 1 1 1 1|111 1 1 1 1|112 1 1 2 1
111 1 1 1 1|333 3 2 3 3|111 1 1 1 1|222 2 2 2 2|222 3 2 3 2|433 4 3 4 3|221 2 2 3 2|232 3 2 3 3|333 3 4 3 2|111 1 1 1 1
111 1 1 1 1|121 2 1 1 1|232 2 2 2 2|121 1 1 1 1|222 2 2 2 2
"""


def anaesthesia() -> Votes:
    patients = ANAESTHESIA.replace("\n", "|").strip("|").split("|")
    rows = []
    for item, patient in enumerate(patients):
        for inspector, looks in enumerate(patient.split()):
            rows += [(item, inspector, int(look) - 1, occasion) for occasion, look in enumerate(looks)]
    item, inspector, label, occasion = np.array(rows).T
    return Votes(item, inspector, label, occasion)


def test_the_paper_s_prevalences_come_out() -> None:
    found = aggregate(anaesthesia(), 4, method="dawid_skene")
    assert found.probability.mean(axis=0).round(2).tolist() == [0.40, 0.42, 0.11, 0.07]


def test_the_paper_s_first_observer_comes_out() -> None:
    found = aggregate(anaesthesia(), 4, method="dawid_skene")
    table = [[0.89, 0.11, 0.0, 0.0], [0.07, 0.88, 0.05, 0.0], [0.0, 0.34, 0.66, 0.0], [0.0, 0.0, 0.56, 0.44]]
    np.testing.assert_allclose(found.confusion[0], table, atol=0.02)
