from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import StatementError

from storage.database import Database, to_row
from storage.tables import NaiveDateTime, events, labels
from tests.storage import samples

INDIA = timezone(timedelta(hours=5, minutes=30))
TIMES = st.datetimes(
    min_value=(samples.NOW - timedelta(days=50 * 365)).replace(tzinfo=None),
    max_value=(samples.NOW + timedelta(days=200 * 365)).replace(tzinfo=None),
    timezones=st.sampled_from([UTC, INDIA, timezone(timedelta(hours=-11)), timezone(timedelta(seconds=3723))]),
)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TIMES)
def test_a_time_of_any_zone_comes_back_as_the_same_moment_in_utc(connection: Connection, at: datetime) -> None:
    connection.execute(delete(events))
    connection.execute(insert(events).values(to_row(samples.event(happened_at=at))))
    found = connection.execute(select(events.c.happened_at)).scalar_one()
    assert found == at
    assert found.tzinfo is UTC


def test_times_are_compared_as_moments_whatever_their_zone(connection: Connection) -> None:
    connection.execute(insert(events).values(to_row(samples.event(happened_at=samples.NOW))))
    in_india = (samples.NOW - timedelta(microseconds=1)).astimezone(INDIA)
    assert connection.execute(select(events.c.id).where(events.c.happened_at > in_india)).scalar() == "event-1"
    in_india += timedelta(microseconds=2)
    assert connection.execute(select(events.c.id).where(events.c.happened_at > in_india)).scalar() is None


def test_a_time_without_a_zone_is_refused(connection: Connection) -> None:
    with pytest.raises(StatementError) as refused:
        connection.execute(insert(events).values(to_row(samples.event(happened_at=samples.NOW.replace(tzinfo=None)))))
    assert isinstance(refused.value.orig, NaiveDateTime)


def test_records_read_back_are_hashable_where_they_were(connection: Connection) -> None:
    connection.execute(insert(labels).values(to_row(samples.label())))
    row = connection.execute(select(labels.c.also, labels.c.region)).one()
    assert row == (("dent",), (1.5, 2.0, 30.25, 4.0))


def test_an_absent_region_is_absent_and_not_a_json_null(connection: Connection) -> None:
    connection.execute(insert(labels).values(to_row(samples.label(region=None))))
    assert connection.execute(select(labels.c.id).where(labels.c.region.is_(None))).scalar() == "label-1"
