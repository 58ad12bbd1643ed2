"""How the console starts, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.console.app import run_console
from service.settings import WrongSetting, load_settings


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.20", "::", "plant.example"])
def test_console_refuses_addresses_that_other_machines_reach(tmp_path: Path, host: str) -> None:
    with pytest.raises(WrongSetting, match="no sign-in") as refused:
        run_console(load_settings(data_dir=tmp_path / "data", console_host=host))
    assert "127.0.0.1" in refused.value.remedy
    assert not (tmp_path / "data").exists()


def test_console_loads_neither_the_trainer_nor_the_line_server() -> None:
    program = (
        "import sys, service.console.app;"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'onnxruntime') or m.startswith('service.line')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
