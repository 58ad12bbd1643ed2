"""Child processes that take one JSON object a line and answer with one: work whose CPU must be counted apart."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

END_WAIT_S = 5.0


class ChildBroken(RuntimeError):
    """A child process ended without an answer."""

    def __init__(self, module: str, code: int | None) -> None:
        super().__init__(f"{module} ended with exit code {code} and without an answer")
        self.remedy = "what it wrote to standard error says why"


class Child:
    """`python -m module arguments`, asked through its pipes; it ends when they close, so it can't outlive this one."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tell(self, request: dict[str, Any]) -> None:
        """Give it work; `answer` must be called before the next.

        Raises ChildBroken.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ChildBroken(self._module, self._process.wait(END_WAIT_S)) from error

    def answer(self) -> dict[str, Any]:
        """What it says to the work it was given.

        Raises ChildBroken.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildBroken(self._module, self._process.wait(END_WAIT_S))
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """`tell`, then `answer`."""
        self.tell(request)
        return self.answer()


def answer_lines(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The child's side: answer every line until there are no more."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
