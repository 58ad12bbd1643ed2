"""`/docs`: the line API on one page that needs nothing from the internet, for there is none in the hall."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1c2733}"
    "h2{font:600 17px ui-monospace,monospace;margin:2em 0 .2em;border-top:1px solid #d5dbe1;padding-top:1em}"
    "table{border-collapse:collapse;width:100%}td{padding:.15em .8em .15em 0;vertical-align:top}"
    "td:first-child{font-family:ui-monospace,monospace;white-space:nowrap}.needed{font-weight:600}"
)


def docs_page(schema: Mapping[str, Any]) -> str:
    """The page for an OpenAPI schema: every address with its method, fields and answers."""
    info = schema["info"]
    sections = [
        _section(method, path, operation)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>"
        f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        "<p>The same for programs: <a href=/openapi.json>openapi.json</a></p>" + "".join(sections) + "</html>"
    )


def _section(method: str, path: str, operation: Mapping[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    rows = "".join(f"<tr><td>{name}</td><td>{meaning}</td></tr>" for name, meaning in _rows(operation))
    return f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(text)}</p><table>{rows}</table>"


def _rows(operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in operation.get("parameters", []):
        name = escape(field["name"])
        said = field.get("description") or field.get("schema", {}).get("description", "")
        yield f"<span class=needed>{name}</span>" if field.get("required") else name, escape(said)
    for content_type in operation.get("requestBody", {}).get("content", {}):
        yield "body", escape(content_type)
    for status, answer in operation.get("responses", {}).items():
        yield escape(status), escape(answer.get("description", ""))
