"""Renders an OpenAPI document as one readable HTML page: no script, no font and no style from elsewhere."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#3b6ef5}
body{font:16px/1.55 system-ui,sans-serif;margin:0 auto;padding:2rem 1.25rem 6rem;max-width:62rem}
h1{margin:0}h2{margin-top:3rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}
code,pre{font:13.5px/1.5 ui-monospace,monospace}pre{background:var(--soft);padding:.8rem;overflow:auto;border-radius:6px}
details{border:1px solid var(--line);border-radius:8px;margin:.6rem 0;padding:.5rem .9rem}
summary{cursor:pointer}summary .path{font-family:ui-monospace,monospace;font-weight:600}
summary .what{float:right;opacity:.7}.method{display:inline-block;min-width:3.6rem;font:700 13px ui-monospace,monospace;color:var(--accent)}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border-top:1px solid var(--line);padding:.35rem .5rem;text-align:left;vertical-align:top}
nav a{margin-right:1rem}.tag{opacity:.75}
"""


def docs_page(document: dict[str, Any]) -> str:
    """The page."""
    info = document["info"]
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    links = "".join(f'<a href="#{name}">{name}</a>' for name in tags)
    sections = "".join(_section(document, name, text) for name, text in tags.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])} API</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{escape(info['title'])} API {escape(info['version'])}</h1>"
        f"<p>{escape(info['summary'])} <a href='/openapi.json'>openapi.json</a></p>"
        + "".join(f"<p>{_prose(part)}</p>" for part in info["description"].split("\n\n"))
        + f"<nav>{links}</nav>{sections}</body></html>"
    )


def _section(document: dict[str, Any], tag: str, text: str) -> str:
    operations = "".join(
        _operation(document, method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag in operation["tags"]
    )
    return f'<h2 id="{tag}">{tag}</h2><p class="tag">{_prose(text)}</p>{operations}'


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    scope = f"<p>Scope: <code>{operation['x-scope']}</code></p>" if "x-scope" in operation else ""
    body = ""
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        body = f"<h4>Body</h4>{_schema(document, content['schema'])}"
    responses = "".join(
        f"<tr><th>{status}</th><td>{_prose(response['description'])}{_response(document, status, response)}</td></tr>"
        for status, response in operation["responses"].items()
    )
    return (
        f'<details id="{operation["operationId"]}"><summary><span class="method">{method.upper()}</span>'
        f'<span class="path">{escape(path)}</span><span class="what">{escape(operation["summary"])}</span></summary>'
        f"<p>{_prose(operation.get('description', ''))}</p>{scope}{_parameters(operation)}{body}"
        f"<h4>Answers</h4><table>{responses}</table></details>"
    )


def _parameters(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{p['in']}</td>"
        f"<td>{'required' if p['required'] else 'optional'}</td><td>{_prose(p.get('description', ''))}</td></tr>"
        for p in operation["parameters"]
    )
    return f"<h4>Parameters</h4><table>{rows}</table>" if rows else ""


def _response(document: dict[str, Any], status: str, response: dict[str, Any]) -> str:
    if not status.startswith("2"):
        return ""
    (content,) = response["content"].values()
    return _schema(document, content["schema"])


def _schema(document: dict[str, Any], schema: dict[str, Any]) -> str:
    resolved = _resolve(document, schema)
    if "properties" not in resolved:
        return f"<pre>{escape(json.dumps(resolved, indent=1))}</pre>"
    required = set(resolved.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(' | '.join(_types(document, each)))}</td>"
        f"<td>{'required' if name in required else ''}</td><td>{_prose(each.get('description', ''))}</td></tr>"
        for name, each in resolved["properties"].items()
    )
    return f"<p>{_prose(resolved.get('description', ''))}</p><table>{rows}</table>"


def _types(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """The names of what a value may be."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    elif "anyOf" in schema or "oneOf" in schema:
        for option in schema.get("anyOf") or schema["oneOf"]:
            yield from _types(document, option)
    elif schema.get("type") == "array":
        items = " | ".join(_types(document, schema.get("items", {}))) or "any"
        yield f"[{items}]"
    elif "enum" in schema:
        yield " | ".join(map(str, schema["enum"]))
    elif "const" in schema:
        yield str(schema["const"])
    else:
        yield str(schema.get("format") or schema.get("type", "any"))


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _prose(text: str) -> str:
    """Escaped text with `code` marked."""
    parts = escape(" ".join(text.split()), quote=False).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
