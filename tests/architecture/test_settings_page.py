"""The reference page of the settings is generated, and kept."""

from pathlib import Path

from service.settings import reference

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
RENEW = 'python -c "from service.settings import reference; print(reference(), end=str())" > docs/settings.md'


def test_settings_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), f"renew the page: {RENEW}"
