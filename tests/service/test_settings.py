from pathlib import Path

import pytest

from service.settings import PREFIX, Settings, WrongSetting, environment_of, load_settings, reference


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No loupe.toml and no LOUPE_* but the test's own."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)


def test_arguments_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loupe.toml").write_text('threads = 5\nport = 8001\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("LOUPE_THREADS", "6")
    monkeypatch.setenv("LOUPE_PORT", "8002")
    settings = load_settings(port=8003)
    assert (settings.threads, settings.port, settings.host, settings.queue_limit) == (6, 8003, "0.0.0.0", 64)


def test_everything_lives_in_the_data_folder_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "here")
    assert settings.database_address == f"sqlite:///{tmp_path}/here/loupe.db"
    assert settings.image_store_address == f"file://{tmp_path}/here/images"
    assert load_settings(database_url="postgresql://a@b/c").database_address == "postgresql://a@b/c"


def test_empty_value_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_DEADLINE_MS", "")
    monkeypatch.setenv("LOUPE_THREADS", "")
    settings = load_settings()
    assert (settings.deadline_ms, settings.threads) == (None, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("THREADS", "-1"), ("THREADS", "many"), ("THREADS", "257"), ("PORT", "0"), ("PORT", "65536"),
        ("QUEUE_LIMIT", "0"), ("DEADLINE_MS", "0"), ("DEADLINE_MS", "-5"), ("IDEMPOTENCY_WINDOW_H", "0"),
        ("MAX_IMAGE_MB", "-1"), ("COMMISSION_IMAGES", "59"), ("LOG_JSON", "perhaps"), ("WATCH_POLL_S", "0"),
    ],
)  # fmt: skip
def test_value_that_can_not_be_used_names_setting_value_and_remedy(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(WrongSetting, match=f"LOUPE_{name}='{value}'") as caught:
        load_settings()
    assert f"Set LOUPE_{name}" in caught.value.remedy


def test_setting_of_the_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "loupe.toml").write_text("thread = 5\n")
    with pytest.raises(WrongSetting, match="thread") as caught:
        load_settings()
    assert "threads" in caught.value.remedy


@pytest.mark.parametrize("text", ["threads = = 5", "[", "threads"])
def test_file_that_is_no_toml_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "loupe.toml").write_text(text)
    with pytest.raises(WrongSetting, match=r"loupe\.toml"):
        load_settings()


@pytest.mark.parametrize("changes", [{}, {"deadline_ms": 80.0, "log_json": True, "threads": 7, "database_url": "x"}])
def test_child_process_runs_under_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    settings = load_settings(data_dir=tmp_path, **changes)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().threads = 9


def test_every_setting_is_explained_with_its_unit() -> None:
    page = reference()
    units = {"_ms": "(ms)", "_h": "(h)", "_s": "(s)", "_mb": "(MB)", "_megapixels": "(megapixels)"}
    for name, field in Settings.model_fields.items():
        assert f"`LOUPE_{name.upper()}`" in page
        assert field.description
        assert field.description.endswith(".")
        for suffix, unit in units.items():
            assert not name.endswith(suffix) or unit in field.description, name
