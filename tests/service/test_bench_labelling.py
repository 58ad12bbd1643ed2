from service.bench import asking, consensus


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
