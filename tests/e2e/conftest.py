import os
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

SERVER = "postgresql://postgres@127.0.0.1:5432"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The address of an empty PostgreSQL database of the test's own."""
    try:
        admin = psycopg.connect(f"{SERVER}/test", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        said = f"no PostgreSQL at {SERVER}: {str(error).splitlines()[0]}"
        if "postgres" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
            pytest.fail(said, pytrace=False)
        pytest.skip(said)
    name = f"loupe_e2e_{secrets.token_hex(6)}"
    with admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{SERVER}/{name}"
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Empty: SQLite in the data folder; else an address."""
    if request.param == "sqlite":
        return ""
    address: str = request.getfixturevalue("postgres_url")
    return address
