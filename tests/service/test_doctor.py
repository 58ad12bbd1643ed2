import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service.commands import doctor as doctor_command

DAY_S = 86_400


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("LOUPE_DATA_DIR", str(folder))
    return folder


def doctor(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    doctor_command.register(app)
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.stdout


def facts() -> tuple[int, Any]:
    code, text = doctor("--json")
    return code, json.loads(text)


def test_a_sound_machine_is_told_in_facts() -> None:
    code, found = facts()
    assert (code, found["ok"], found["problems"]) == (0, True, [])
    assert {"cores", "runtime", "execution providers", "gpu", "free disk", "fsync", "clock", "database"} <= set(
        found["facts"]
    )
    assert found["facts"]["execution providers"] == "CPUExecutionProvider works"
    assert found["facts"]["runtime"].startswith("onnxruntime")


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "AzureExecutionProvider", "CudaExecutionProvider"])
def test_a_provider_that_can_not_be_used_is_a_problem(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_PROVIDER", provider)
    code, found = facts()
    assert (code, found["ok"]) == (1, False)
    assert f"LOUPE_PROVIDER={provider}" in found["problems"][0]
    assert "CPUExecutionProvider" in found["problems"][0]


def test_a_clock_that_was_set_back_is_a_problem(data: Path) -> None:
    (data / "loupe.toml").touch()
    os.utime(data / "loupe.toml", (time.time() + DAY_S,) * 2)
    code, found = facts()
    assert code == 1
    assert "set the clock" in found["problems"][0]


def test_a_database_that_is_away_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    code, found = facts()
    assert code == 1
    assert found["problems"]


def test_people_get_a_table() -> None:
    code, text = doctor()
    assert code == 0
    assert "all is well" in text
    assert "fsync" in text
