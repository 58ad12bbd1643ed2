from datetime import timedelta
from typing import Any

import pytest

from service.line import verdicts
from service.line.process_control import CAUSES, CHART_LIMIT, POINT_LIMIT, spc
from service.line.requests import WrongRequest
from storage import inspections, labels
from storage.database import Database
from storage.records import ImageClass, Inspection
from storage.reject_counts import MAYBE
from tests.storage.samples import NOW, PRODUCT, book, inspection

FULL = NOW.replace(minute=0, second=0, microsecond=0)
SINCE = FULL.isoformat()


def asked(database: Database, **query: Any) -> dict[str, Any]:
    said = {"chart": "p", "station": None, "product": None, "since": SINCE, "until": None, "per": "hour"}
    return spc(database, **{**said, **query, "now": FULL + timedelta(hours=30)})


def part(name: str, at: timedelta, is_ok: bool, **changes: Any) -> Inspection:
    judged = {"evaluation": "ok", "disposition": "pass"} if is_ok else {}
    return inspection(name, views=(), **{**judged, "received_at": FULL + at, **changes})


@pytest.fixture
def stocked(database: Database) -> Database:
    """Twenty hours of 50 parts with 2 defects each, but 14 in the last hour; another product's parts at press-2."""
    rows = []
    for hour in range(20):
        bad = 14 if hour == 19 else 2
        rows += [part(f"{hour}-{n}", timedelta(hours=hour, minutes=n), is_ok=n >= bad) for n in range(50)]
    rows.append(part("lid", timedelta(minutes=1), is_ok=False, product="lid", station="press-2", disposition="recheck"))
    with database.write() as connection:
        inspections.store(connection, rows)
    return database


def test_an_hour_of_many_rejects_is_told(stocked: Database) -> None:
    found = asked(stocked, station="press-1")
    assert (found["chart"], found["of"], found["station"], found["per"]) == ("p", "not_ok", "press-1", "hour")
    assert found["centre"]["value"] == pytest.approx(52 / 1000)
    assert found["centre"]["low"] < 0.052 < found["centre"]["high"]
    assert not found["in_control"]
    points = found["points"]
    assert [(p["parts"], p["not_ok"]) for p in points] == [(50, 2)] * 19 + [(50, 14)]
    last = points[-1]
    assert "beyond_3_sigma" in last["rules"]
    assert last["value"] == pytest.approx(0.28)
    assert last["low"] < 0.28 < last["high"]
    assert last["upper_limit"] == pytest.approx(0.052 + 3 * (0.052 * 0.948 / 50) ** 0.5)
    assert set().union(*(p["rules"] for p in points)) <= found["rules"].keys()
    assert last["start"] == (FULL + timedelta(hours=19)).isoformat()


def test_np_chart_counts_parts_in_subgroups_of_equal_size(stocked: Database) -> None:
    found = asked(stocked, chart="np", per="100", station="press-1")
    assert found["per"] == 100
    assert [p["value"] for p in found["points"]] == [4] * 9 + [16]
    assert found["centre"]["value"] == pytest.approx(5.2)


def test_a_chart_can_be_narrowed_and_count_rechecks(stocked: Database) -> None:
    found = asked(stocked, product="lid", of="recheck")
    assert [(p["parts"], p["rechecks"], p["value"]) for p in found["points"]] == [(1, 1, 1.0)]
    assert asked(stocked)["points"][0]["parts"] == 51
    assert asked(stocked, station="", product=PRODUCT)["points"][0]["parts"] == 50


def test_limits_are_drawn_around_a_given_share(stocked: Database) -> None:
    found = asked(stocked, station="press-1", centre=0.04)
    assert found["centre"] == {"value": 0.04, "low": 0.04, "high": 0.04}
    assert [n for n, p in enumerate(found["points"]) if p["rules"]] == [19]


def test_without_parts_there_is_nothing_to_draw(database: Database) -> None:
    found = asked(database)
    assert (found["points"], found["centre"], found["in_control"]) == ([], None, None)


@pytest.mark.parametrize(
    ("per", "since"),
    [
        ("hour", timedelta(hours=6)),
        ("50", timedelta(hours=6)),
        ("shift", timedelta(days=-9)),
        ("day", timedelta(days=-29)),
    ],
)
def test_without_a_since_the_chart_begins_at_a_whole_hour_or_day(
    database: Database, per: str, since: timedelta
) -> None:
    begins = FULL + since if per in ("hour", "50") else FULL.replace(hour=0) + since
    assert asked(database, since=None, per=per)["since"] == begins.isoformat()


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ({"chart": "c"}, "chart="),
        ({"by": "camera"}, "by="),
        ({"by": "class", "class_name": "1"}, "exclude"),
        ({"rules": "montgomery"}, "rules="),
        ({"chart": "ewma", "rules": "nelson"}, "no run rules"),
        ({"chart": "ewma", "weight": 0.0}, "weight="),
        ({"chart": "ewma", "weight": float("nan")}, "weight="),
        ({"weight": 0.1}, "no weight"),
        ({"baseline_until": "then"}, "baseline_until="),
        ({"baseline_until": SINCE}, "not between"),
        ({"baseline_until": "2026-03-30"}, "not between"),
        ({"since": "0001-01-01"}, "out of range"),
        ({"until": "0001-01-01", "since": None}, "out of range"),
        ({"until": "9999-12-31"}, "out of range"),
        ({"station": "press\x00"}, "control characters"),
        ({"product": PRODUCT, "class_name": "rust"}, "class='rust'"),
        ({"by": "class"}, "label book"),
        ({"class_name": "scratch"}, "label book"),
        ({"per": "week"}, "per="),
        ({"per": "1"}, "per="),
        ({"per": "-5"}, "per="),
        ({"per": "٣"}, "per="),
        ({"per": "9" * 5000}, "per="),
        ({"per": ""}, "per="),
        ({"chart": "np"}, "equal size"),
        ({"of": "scrap"}, "of="),
        ({"centre": 1.5}, "centre="),
        ({"centre": float("nan")}, "centre="),
        ({"since": "yesterday"}, "since="),
        ({"until": "soon"}, "until="),
        ({"until": SINCE}, "not before"),
        ({"since": "2000-01-01"}, "subgroups"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_give(database: Database, query: dict[str, Any], what: str) -> None:
    with pytest.raises(WrongRequest, match=what) as refused:
        asked(database, **query)
    assert refused.value.remedy
    assert len(str(refused.value)) < 400


JUDGED = ("start", "end", "parts", "not_ok", "rechecks", "value", "low", "high", "lower_limit", "upper_limit", "rules")


def test_what_programs_read_so_far_is_still_there(stocked: Database) -> None:
    found = asked(stocked, station="press-1")
    former = {"chart", "of", "station", "product", "since", "until", "per", "confidence", "centre", "in_control",
              "points", "rules"}  # fmt: skip
    assert former <= found.keys()
    assert set(JUDGED) <= found["points"][0].keys()
    assert found["centre"].keys() == {"value", "low", "high"}
    assert list(found["rules"]) == ["beyond_3_sigma", "2_of_3_beyond_2_sigma", "4_of_5_beyond_1_sigma", "8_on_one_side"]


def test_subgroups_of_a_baseline_draw_the_limits_and_are_not_judged(stocked: Database) -> None:
    baseline = FULL + timedelta(hours=12, minutes=30)
    found = asked(stocked, station="press-1", baseline_until=baseline.isoformat())
    assert found["baseline_until"] == baseline.isoformat()
    assert found["centre"]["value"] == pytest.approx(0.04)
    assert [p["phase"] for p in found["points"]] == ["baseline"] * 12 + ["judged"] * 8
    assert found["in_control"] is False
    calm = asked(stocked, station="press-1", baseline_until=(FULL + timedelta(hours=19)).isoformat(), since=SINCE)
    assert calm["points"][-1]["rules"], "the one hour that is judged"
    early = asked(stocked, station="press-1", until=(FULL + timedelta(hours=19)).isoformat(),
                  baseline_until=baseline.isoformat())  # fmt: skip
    assert early["in_control"] is True


def test_a_baseline_begins_as_long_before_its_end_as_a_chart_would(stocked: Database) -> None:
    found = asked(stocked, since=None, baseline_until=(FULL + timedelta(hours=26)).isoformat())
    assert found["since"] == (FULL + timedelta(hours=2)).isoformat()


def test_without_a_subgroup_in_the_baseline_nothing_is_judged(stocked: Database) -> None:
    query = {"station": "press-2", "baseline_until": (FULL + timedelta(seconds=30)).isoformat()}
    found = asked(stocked, **query)
    assert (found["in_control"], [p["phase"] for p in found["points"]]) == (None, ["baseline"])
    assert "there is no baseline" in found["cautions"][0]
    assert asked(stocked, **query, centre=0.04)["in_control"] is False, "a centre is enough"


def test_each_product_and_station_has_a_chart_of_its_own(stocked: Database) -> None:
    found = asked(stocked, by="product")
    assert found["by"] == "product"
    assert [(one["product"], one["parts"], one["counted"]) for one in found["charts"]] == [
        (PRODUCT, 1000, 52),
        ("lid", 1, 1),
    ]
    assert found["charts"][0]["in_control"] is False
    assert (found["parts"], found["counted"]) == (1001, 53), "above them stays the chart of all"
    alone = asked(stocked, product=PRODUCT)
    assert all(alone[name] == value for name, value in found["charts"][0].items())
    assert [one["station"] for one in asked(stocked, by="station", per="10")["charts"]] == ["press-1"]
    assert asked(stocked)["charts"] == []


@pytest.fixture
def classed(database: Database) -> Database:
    """Ten hours of 20 parts: a scratch (1) in each hour, five dents (2) in the last, a recheck without a class."""
    rows = []
    for hour in range(10):
        codes = [1] + [2] * (5 if hour == 9 else 0)
        for n in range(20):
            at, code = timedelta(hours=hour, minutes=n), codes[n] if n < len(codes) else 0
            rows.append(part(f"{hour}-{n}", at, is_ok=code == 0, result_code=code))
    late = {"evaluation": "not_decidable", "disposition": "recheck", "result_code": 901}
    rows.append(part("late", timedelta(minutes=50), is_ok=True, **late))
    with database.write() as connection:
        inspections.store(connection, rows)
        labels.add_book(connection, book())
        renamed = (*book().classes[:1], ImageClass("scratched", 1, False), *book().classes[2:])
        labels.add_book(connection, book(2, classes=renamed))
    return database


def test_rejects_of_one_class_are_charted_by_its_name_of_now_or_before_or_its_number(classed: Database) -> None:
    for name in ("scratched", "scratch", "1"):
        found = asked(classed, class_name=name)
        assert found["class"] == {"number": 1, "name": "scratched"}
        assert found["product"] == PRODUCT, "the only one with a label book"
        assert [p["not_ok"] for p in found["points"]] == [1] * 10
        assert (found["parts"], found["undecided"]) == (200, 1)
    dents = asked(classed, class_name="dent", product=PRODUCT)
    assert [p["not_ok"] for p in dents["points"]] == [0] * 9 + [5]
    assert "beyond_3_sigma" in dents["points"][-1]["rules"]


def test_each_class_that_was_found_has_a_chart_the_most_frequent_first(classed: Database) -> None:
    found = asked(classed, by="class", product=PRODUCT)
    assert [(one["class"], one["counted"], one["parts"]) for one in found["charts"]] == [
        ({"number": 1, "name": "scratched"}, 10, 200),
        ({"number": 2, "name": "dent"}, 5, 200),
    ]
    assert [one["in_control"] for one in found["charts"]] == [True, False]
    assert not any("no class" in caution for caution in found["cautions"])


def test_rechecks_that_name_no_class_are_counted_beside_the_charts(classed: Database) -> None:
    found = asked(classed, by="class", of="recheck")
    assert (found["parts"], found["counted"]) == (201, 1)
    assert "1 of those counted name no class" in found["cautions"][-1]


def test_a_class_of_several_label_books_needs_its_product(classed: Database) -> None:
    with classed.write() as connection:
        labels.add_book(connection, book(product="lid"))
    with pytest.raises(WrongRequest, match="there are 2") as refused:
        asked(classed, by="class")
    assert refused.value.remedy == "add product=NAME"
    assert asked(classed, class_name="9", product="lid")["class"] == {"number": 9, "name": None}


@pytest.mark.parametrize("chart", ["p", "laney", "ewma"])
def test_every_chart_tells_how_subgroups_scatter(stocked: Database, chart: str) -> None:
    found = asked(stocked, chart=chart, station="press-1")
    assert found["dispersion"].keys() == {"variance_ratio", "p_over", "p_under", "verdict"}
    assert found["sigma_z"] == pytest.approx(12 / 50 / (0.052 * 0.948 / 50) ** 0.5 / 19 / 1.128)
    assert (found["chance_outside"] is not None) == (chart == "p")
    assert (found["rule_set"], found["weight"]) == ((None, 0.2) if chart == "ewma" else ("western_electric", None))
    assert set().union(*(p["rules"] for p in found["points"])) <= found["rules"].keys()


def test_nelsons_rules_are_a_choice(stocked: Database) -> None:
    found = asked(stocked, rules="nelson", station="press-1")
    assert (found["rule_set"], len(found["rules"])) == ("nelson", 8)


def test_challenge_and_shadow_parts_stay_out(stocked: Database) -> None:
    before = asked(stocked, by="station")
    rows = [
        part(mode, timedelta(minutes=5), is_ok=False, mode=mode, station="press-9") for mode in ("challenge", "shadow")
    ]
    with stocked.write() as connection:
        inspections.store(connection, rows)
    assert asked(stocked, by="station") == before


@pytest.fixture
def darkened(stocked: Database) -> Database:
    """The stocked line, whose lamp failed in the hours 5 and 6: of 6 more parts, and of 200, nothing was decided."""
    dark = {"evaluation": "not_decidable", "disposition": "recheck", "result_code": 904}
    maybe = {"evaluation": "not_decidable", "disposition": "recheck", "result_code": 2}
    rows = [part(f"dark-{n}", timedelta(hours=5, minutes=n), is_ok=True, **dark) for n in range(6)]
    rows += [part(f"dimmed-{n}", timedelta(hours=6, seconds=n), is_ok=True, **dark) for n in range(200)]
    rows += [part(f"all dark-{n}", timedelta(hours=21, minutes=n), is_ok=True, **dark) for n in range(40)]
    rows += [part(f"maybe-{n}", timedelta(hours=n, minutes=30), is_ok=True, **maybe) for n in range(20)]
    with stocked.write() as connection:
        inspections.store(connection, rows)
    return stocked


@pytest.mark.parametrize("changes", [{"chart": "laney"}, {"chart": "ewma"}, {"rules": "nelson"}, {"centre": 0.04}])
def test_a_lamp_that_fails_moves_no_point_and_is_told(
    stocked: Database, darkened: Database, changes: dict[str, Any]
) -> None:
    baseline = (FULL + timedelta(hours=8)).isoformat()
    query = {"station": "press-1", "baseline_until": baseline, **changes}
    found = asked(darkened, **query)
    assert [p["undecided"] for p in found["points"]] == [1] * 5 + [7, 201] + [1] * 13
    assert (found["parts"], found["undecided"]) == (1000, 266)
    assert {(p["parts"], p["share"]) for p in found["points"][:-1]} == {(50, 0.04)}
    assert [n for n, p in enumerate(found["points"]) if p["rules"] and n < 19] == []
    assert found["cautions"][:2] == [
        "2 of 20 subgroups have more than a tenth of their parts undecided, mostly optics alarm (904): what the chart "
        "says of them rests on the others",
        "40 undecided parts are in no subgroup, mostly optics alarm (904): the chart says nothing of the time when too "
        "few parts were decided",
    ]


def test_subgroups_of_a_number_of_parts_are_of_decided_parts_and_so_of_equal_size(darkened: Database) -> None:
    found = asked(darkened, chart="np", per="100", station="press-1")
    assert [p["value"] for p in found["points"]] == [4] * 9 + [16]
    assert [p["undecided"] for p in found["points"]][:4] == [2, 2, 8, 202]
    assert found["cautions"][0].startswith("1 of 10 subgroups has more than a tenth of its parts undecided")
    assert found["cautions"][1].startswith("40 undecided parts are in no subgroup")


def test_rechecks_are_counted_among_all_parts(darkened: Database) -> None:
    found = asked(darkened, of="recheck", station="press-1")
    assert [(p["parts"], p["undecided"], p["rechecks"]) for p in found["points"]][5:8] == [
        (57, 7, 7),
        (251, 201, 201),
        (51, 1, 1),
    ]
    assert (found["parts"], found["points"][-1]["share"]) == (1266, 1.0)
    assert not any("undecided" in caution for caution in found["cautions"])


@pytest.mark.parametrize("per", ["hour", "10"])
def test_where_nothing_was_decided_there_is_no_point_but_a_caution(database: Database, per: str) -> None:
    late = {"evaluation": "not_decidable", "disposition": "reject"}
    codes = [901, 901, 904, 2, 905]
    rows = [part(str(n), timedelta(minutes=n), is_ok=True, result_code=code, **late) for n, code in enumerate(codes)]
    with database.write() as connection:
        inspections.store(connection, rows)
    found = asked(database, per=per)
    assert (found["points"], found["parts"], found["undecided"], found["in_control"]) == ([], 0, 5, None)
    (caution,) = found["cautions"]
    assert caution.startswith("5 undecided parts are in no subgroup, most often deadline (901):")


def test_a_baseline_in_which_nothing_was_decided_is_none(darkened: Database) -> None:
    query = {"station": "press-1", "since": (FULL + timedelta(hours=21)).isoformat()}
    late = [part(f"back-{n}", timedelta(hours=22, minutes=n), is_ok=n > 0) for n in range(40)]
    with darkened.write() as connection:
        inspections.store(connection, late)
    found = asked(darkened, **query, baseline_until=(FULL + timedelta(hours=22)).isoformat())
    assert (found["in_control"], [p["parts"] for p in found["points"]]) == (None, [40])
    assert [said[:21] for said in found["cautions"]][:2] == ["40 undecided parts ar", "no subgroup ends by 2"]


def test_a_few_undecided_parts_since_the_last_full_subgroup_are_no_news(stocked: Database) -> None:
    late = {"evaluation": "not_decidable", "disposition": "recheck", "result_code": 901}
    with stocked.write() as connection:
        inspections.store(connection, [part("late", timedelta(hours=20), is_ok=True, **late)])
    few = asked(stocked, per="50", station="press-1", by="product")
    assert not any("undecided" in said for said in few["cautions"])
    lids = part("lid, late", timedelta(minutes=2), is_ok=True, product="lid", station="press-2", **late)
    with stocked.write() as connection:
        inspections.store(connection, [lids])
    assert [one["product"] for one in asked(stocked, per="50", by="product")["charts"]] == [PRODUCT]
    assert "1 undecided part is in no subgroup" in asked(stocked, station="press-1")["cautions"][0]


def test_every_code_of_a_verdict_that_decides_nothing_is_named() -> None:
    codes = {value for name, value in vars(verdicts).items() if name.isupper() and isinstance(value, int)}
    assert CAUSES.keys() - {MAYBE} == codes - {verdicts.PASS}


def test_more_parts_than_may_be_counted_are_refused_before_they_are(stocked: Database) -> None:
    assert asked(stocked, seen_limit=1001)["parts"] == 1001
    with pytest.raises(WrongRequest, match="more than 1000 parts") as refused:
        asked(stocked, seen_limit=1000)
    assert "since" in refused.value.remedy
    assert asked(stocked, seen_limit=1000, station="press-1")["parts"] == 1000


def test_more_charts_than_can_be_shown_are_refused(database: Database) -> None:
    rows = [part(str(n), timedelta(seconds=n), is_ok=True, product=f"cap-{n}") for n in range(CHART_LIMIT + 1)]
    with database.write() as connection:
        inspections.store(connection, rows)
    with pytest.raises(WrongRequest, match="51 charts") as refused:
        asked(database, by="product")
    assert "one product at a time" in refused.value.remedy


def test_more_subgroups_of_parts_than_can_be_shown_are_refused(database: Database) -> None:
    rows = [part(str(n), timedelta(seconds=n), is_ok=True) for n in range(2 * POINT_LIMIT + 2)]
    with database.write() as connection:
        inspections.store(connection, rows)
    with pytest.raises(WrongRequest, match="2001 subgroups"):
        asked(database, per="2")
    assert len(asked(database, per="3")["points"]) == 1334
