from service.bench import asking, buying, consensus


def test_every_model_is_settled_beside_one_pass() -> None:
    found = consensus.measure(3, sizes=(60,))
    assert [row["method"] for row in found] == list(consensus.METHODS)
    for row in found:
        assert row["labels"] == 60
        assert row["cpu_ms"]["median"] > 0
        assert row["peak_bytes_a_label"] > 0


def test_every_way_of_asking_starts_alike_and_is_counted() -> None:
    told: list[tuple[int, int]] = []
    found = asking.measure(range(2), lambda done, total: told.append((done, total)))
    assert told[-1] == (len(found) * 2, len(found) * 2)
    for row in found:
        assert len({curve[0] for curve in row["accuracy"].values()}) == 1
        assert all(len(curve) == asking.BUDGET // asking.BATCH + 1 for curve in row["accuracy"].values())
        assert row["needed"]["random"]["200"] <= 200


def test_every_way_of_buying_starts_alike_and_is_compared_with_entropy() -> None:
    told: list[tuple[int, int]] = []
    cells = [buying.Cell("three", 0, "even", 1), buying.Cell("three", 5, "rare", 2)]
    found = buying.measure(range(2), lambda done, total: told.append((done, total)), cells)
    assert told[-1] == (4, 4)
    for row in found:
        assert len({curve[0] for curve in row["accuracy"].values()}) == 1
        assert all(len(curve) == 200 // buying.EVERY + 1 for curve in row["accuracy"].values())
        assert row["above_entropy"]["entropy"] == [0.0, 0.0]
    rows = buying.overall(found)
    assert [(row["team"], row["controls"], row["policy"]) for row in rows] == [
        ("three", controls, policy)
        for controls in (0, 5)
        for policy in ("random", "entropy", "entropy, cheapest", "queue")
    ]
