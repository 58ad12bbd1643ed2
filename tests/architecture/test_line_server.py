"""What the line server loads: its memory and start-up time belong to verdicts."""

import subprocess
import sys

from service.line import app, server

NOT_ON_THE_LINE = ("torch", "onnx", "onnxscript", "nicegui")


def test_line_server_loads_neither_trainer_nor_console() -> None:
    program = (
        f"import sys, {app.__name__}, {server.__name__}\n"
        f"print(*(name for name in {NOT_ON_THE_LINE} if name in sys.modules))"
    )
    # A process of its own: in this one other tests may have loaded torch.
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == []
