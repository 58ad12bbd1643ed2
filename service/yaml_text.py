"""YAML that people write, read so that every problem can be told with its line."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML publishes no types


class WrongYaml(ValueError):
    """A file can't be taken over; nothing of it was. `found`: each problem with its line."""

    def __init__(self, name: str, found: Sequence[str], made_by: str) -> None:
        super().__init__(f"{name} can't be imported:\n" + "\n".join(f"  {one}" for one in found))
        self.found = tuple(found)
        self.remedy = f"correct these places, nothing was written; `{made_by}` shows what a file looks like"


@dataclass(frozen=True, slots=True)
class Lines:
    """Where in the file each value begins."""

    by_place: dict[tuple[str, ...], int]

    def of(self, *place: str | int) -> int:
        """Line (from 1) of the value, or of the nearest thing around it that is in the file."""
        names = tuple(map(str, place))
        while names not in self.by_place:
            names = names[:-1]
        return self.by_place[names]


def read_file(file: Path, made_by: str) -> tuple[str, str]:
    """The file's text (`-`: standard input) and its name for messages; `made_by`: the command that writes such files.

    Raises WrongYaml.
    """
    name = "standard input" if str(file) == "-" else str(file)
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return data.decode("utf-8-sig"), name
    except OSError as error:
        what = f"it can't be read: {error.strerror}: name a file that `{made_by}` wrote, or -"
        raise WrongYaml(name, [what], made_by) from error
    except UnicodeDecodeError as error:
        what = f"it is no UTF-8: byte {error.start} is {data[error.start]:#04x}: save it as UTF-8"
        raise WrongYaml(name, [what], made_by) from error


def parse(text: str, name: str, made_by: str) -> tuple[Lines, Any]:
    """The value that the text stands for, and where its parts begin.

    Raises WrongYaml.
    """
    try:
        alias = next((e for e in yaml.parse(text, yaml.SafeLoader) if isinstance(e, yaml.AliasEvent)), None)
        # A few lines of aliases can stand for more than fits into memory: where there is one, nothing is built.
        root = None if alias else yaml.compose(text, yaml.SafeLoader)
        data = None if alias else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WrongYaml(name, [_yaml_problem(error)], made_by) from error
    except (ValueError, RecursionError) as error:  # such as the date 2026-02-31, or a thousand brackets
        raise WrongYaml(name, [f"it can't be read: {error}"], made_by) from error
    if alias is not None:
        line = alias.start_mark.line + 1
        raise WrongYaml(name, [f"line {line}: aliases (*{alias.anchor}) are not read here: write it out"], made_by)
    repeated = list(_repeated_keys(root))
    if repeated:
        raise WrongYaml(name, repeated, made_by)
    return Lines({(): 1, **dict(_places(root))}), data


def _places(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    if node is not None:
        yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield from _places(value, inner)
            # A key is where its name stands: its value may begin lines below.
            yield inner, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for n, value in enumerate(node.value):
            yield from _places(value, (*place, str(n)))


def _repeated_keys(node: Any) -> Iterator[str]:
    """YAML takes the last of two equal keys without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if str(key.value) in seen:
                yield f"line {line}: {key.value!r} is there twice, first on line {seen[str(key.value)]}: keep one"
            seen.setdefault(str(key.value), line)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(value)


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return f"line {mark.line + 1}: {reason}" if mark else f"it is no YAML: {reason}"
