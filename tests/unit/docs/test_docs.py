"""The documentation is compared with the code: links, commands, paths, bodies, configurations, codes, series."""

import ast
import contextlib
import importlib
import io
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

from keyquorum_core_signer.cli import signer
from keyquorum_core_signer.config import CoordinatorConfig, PartyConfig
from keyquorum_core_signer.groups.suites import suite_for
from keyquorum_devnet.cli import main as devnet
from keyquorum_gateway import serve
from keyquorum_gateway.app import ROUTES
from keyquorum_gateway.cli import main as operator
from keyquorum_gateway.config import GatewayConfig
from keyquorum_gateway.models import accounts, operations, platform, transactions, wallets
from keyquorum_gateway.problems import CATALOGUE

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("protos", "plugins", "gateway", "core_signer", "deploy")
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(page for folder in SOURCES for depth in ("", "*/") for page in ROOT.glob(f"{folder}/{depth}*.md")),
        *ROOT.glob("core_signer/src/keyquorum_core_signer/protocols/*/*.md"),
    )
)
API = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
OPERATIONS = {(method.upper(), path) for path, methods in API["paths"].items() for method in methods}
MODELS = {
    name: kind
    for module in (accounts, operations, platform, transactions, wallets)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, BaseModel)
}
CONFIGURATIONS: dict[str, type[BaseModel]] = {
    "party": PartyConfig,
    "coordinator": CoordinatorConfig,
    "gateway": GatewayConfig,
}

_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_HEREDOC = re.compile(r"<<'(\w+)'\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(
    r"(?:^|[;&|(=])\s*(?:[A-Z_]+=\S+ )*(?:[^\s=]*/)?(keyquorum(?:-signer|-gateway|-devnet)?|make)(?=[\s)]|$)([^\n;|&)]*)",
    re.MULTILINE,
)
_SERIES = re.compile(r"keyquorum_[a-z0-9_]+")


@dataclass(frozen=True)
class Block:
    """A fenced block: ``info`` is what stands behind the fence."""

    info: str
    text: str


def read(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, without the indentation of a list."""
    return [
        Block(info.strip(), re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
        for indent, info, text in _FENCE.findall(read(page))
    ]


def spans(page: Path) -> list[str]:
    """The inline code of a page."""
    return _SPAN.findall(_FENCE.sub("", read(page)))


def shell(page: Path) -> list[str]:
    """Shell text: fenced blocks, continued lines joined and here-documents taken out, units, and inline code."""
    fenced = [
        _HEREDOC.sub("", re.sub(r"^\$ ", "", block.text, flags=re.MULTILINE)).replace("\\\n", " ")
        for block in blocks(page)
        if block.info in {"sh", "console", "ini"}
    ]
    return [*fenced, *spans(page)]


def python(page: Path) -> list[str]:
    """Python text: fenced blocks, and here-documents that a shell block writes to a .py file."""
    fenced = [block.text for block in blocks(page) if block.info == "python"]
    written = [
        found[2]
        for block in blocks(page)
        if block.info == "sh"
        for found in _HEREDOC.finditer(block.text)
        if ".py" in block.text[: found.start()].rpartition("\n")[2]
    ]
    return fenced + written


def invocations(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Every use of our commands and of make: the command, and its words."""
    for text in shell(page):
        for name, rest in _COMMAND.findall(text):
            try:
                words = shlex.split(rest, comments=True)
            except ValueError:  # a quotation that goes on behind a ; or |
                words = rest.split()
            yield name, words


def anchors(file: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = _HEADING.findall(_FENCE.sub("", file.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page):
    """Files exist, and headings too."""
    wrong = []
    for target in _LINK.findall(_FENCE.sub("", read(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert wrong == []


def unknown_words(command: click.Command, words: list[str]) -> list[str]:
    """The words that are neither a command nor an option where they stand, nor a choice of the option before them."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.commands.get(words[0])
        if found is None:
            return [words[0]]
        command, words = found, words[1:]
    options = {opt: param for param in command.params for opt in (*param.opts, *param.secondary_opts)}
    unknown = []
    for word, value in zip(words, [*words[1:], ""], strict=False):
        name = word.partition("=")[0]
        if not name.startswith("-") or name in {"-h", "--help", "--version"}:
            continue
        if name not in options:
            unknown.append(word)
        elif isinstance(options[name].type, click.Choice) and value not in options[name].type.choices:
            unknown.append(f"{word} {value}")
    return unknown


@cache
def gateway_options() -> str:
    """The help text of the one command that is not click's."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        patch.setattr(sys, "argv", ["keyquorum-gateway", "--help"])
        serve.main()
    return out.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_exists(page):
    """With its subcommands, options and choices; make with its targets and variables."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    groups: dict[str, click.Command] = {"keyquorum": operator, "keyquorum-signer": signer, "keyquorum-devnet": devnet}
    wrong = []
    for name, words in invocations(page):
        if name == "make":
            bad = [word for word in words if "=" not in word and word not in targets]
            bad += [word for word in words if "=" in word and f"$({word.partition('=')[0]})" not in makefile]
        elif name == "keyquorum-gateway":
            known = gateway_options()
            bad = [word for word in words if word.startswith("-") and word not in known]
        else:
            bad = unknown_words(groups[name], words)
        wrong += [f"{name}: {word}" for word in bad]
    assert wrong == []


def test_commands_are_found_and_judged():
    """The test above sees commands where readers see them, and knows a wrong one."""
    uses = [name for page in PAGES for name, _ in invocations(page)]
    assert {name: uses.count(name) >= 3 for name in set(uses)} == dict.fromkeys(
        ("make", "keyquorum", "keyquorum-signer", "keyquorum-gateway", "keyquorum-devnet"), True
    )
    assert unknown_words(operator, ["verify", "wallet", "wal_1", "--roster", "r"]) == []
    assert unknown_words(operator, ["verify", "purse"]) == ["purse"]
    assert unknown_words(operator, ["keys", "create", "--scope", "all", "--colour"]) == ["--scope all", "--colour"]


def rest_uses(page: Path) -> Iterator[tuple[str, str]]:
    """Methods (empty where none is said) and paths of the REST API that a page names."""
    for span in spans(page):
        found = re.fullmatch(r"(?:(GET|POST|PUT|PATCH|DELETE) )?(?:\$API)?(/[^\s]*)", span)
        if found and (found[1] or found[2].startswith("/v1/")):
            yield found[1] or "", found[2]
    for block in blocks(page):
        for path in re.findall(r"(?:\$API|https?://[^/\s\"']+)(/v1/[^\s\"'`)]*)", block.text):
            yield "", path
    for code in python(page):
        for path in re.findall(r"\"(/v1/(?:\{[^}]*\}|[^\"{])*)\"", code):
            yield "", path


def templates(path: str) -> set[str]:
    """The templates of the API that a concrete path can mean."""
    parts = path.partition("?")[0].rstrip("/").split("/")
    return {
        template
        for template in API["paths"]
        if len(template.split("/")) == len(parts)
        and all(
            want == part or (want.startswith("{") and part)
            for want, part in zip(template.split("/"), parts, strict=True)
        )
    }


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_rest_path_exists(page):
    """In the API document that is checked in, with the method that is named."""
    wrong = [
        f"{method} {path}"
        for method, path in rest_uses(page)
        if not (found := templates(path)) or (method and not {(method, each) for each in found} & OPERATIONS)
    ]
    assert wrong == []


def test_the_guide_lists_every_call():
    """The table of docs/api.md is the API document's list, with scope, budget and idempotency of the code."""
    rows = re.findall(
        r"^\| `([A-Z]+) (\S+)` \| ([^|]*) \| ([^|]*) ?\| ([^|]*)\|$", read(Path("docs/api.md")), re.MULTILINE
    )
    assert {(method, path) for method, path, *_ in rows} == OPERATIONS
    code = {(e.method, e.path): e for e in ROUTES}
    for method, path, scope, budget, key in rows:
        endpoint = code.get((method, path))
        if endpoint is None or path == "/metrics":
            continue
        said = (scope.strip(), budget.strip(), key.strip() or "none")
        is_so = (
            endpoint.scope.value if endpoint.scope else "none",
            endpoint.rate.value if endpoint.rate else "",
            endpoint.idempotency.value,
        )
        assert said == is_so, (method, path)


def bodies(page: Path) -> Iterator[tuple[str, str]]:
    """Path and body of each curl that posts to the REST API."""
    for block in blocks(page):
        if block.info != "sh":
            continue
        for command in re.findall(r"curl (?:[^\n']|'[^']*')*", block.text.replace("\\\n", " ")):
            words = shlex.split(command.partition("|")[0].rstrip(") "))
            paths = [word.removeprefix("$API") for word in words if word.startswith("$API/v1/")]
            if "-d" in words and paths:
                yield paths[0], words[words.index("-d") + 1]


def test_every_posted_body_is_valid():
    """As the model of its call has it: unknown or missing fields would be refused."""
    code = {endpoint.path: endpoint.body for endpoint in ROUTES if endpoint.method == "POST" and endpoint.body}
    seen = 0
    for page in PAGES:
        for path, body in bodies(page):
            seen += 1
            filled = body.replace("$PUBLIC_KEY", "ab" * 32).replace("$SIGNATURE", "cd" * 64)
            (template,) = templates(path)
            code[template].model_validate_json(filled)
    assert seen >= 8


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_named_document_is_valid(page):
    """A block that is marked ``json Model`` is one of that model."""
    for block in blocks(page):
        if block.info.startswith("json "):
            MODELS[block.info.removeprefix("json ")].model_validate_json(block.text)


def test_every_error_code_is_explained():
    """The table of docs/api.md is the catalogue: codes, statuses, and whether a retry can help."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (yes|no) \|", read(Path("docs/api.md")), re.MULTILINE)
    said = {code: (int(status), retriable == "yes") for code, status, retriable in rows}
    assert len(said) == len(rows)
    assert said == {code: (kind.status, kind.retriable) for code, kind in CATALOGUE.items()}


def test_every_configuration_is_valid():
    """A TOML block that says which file it is can be that file, or part of it."""
    whole: dict[str, Any] = {}
    for page in PAGES:
        for block in blocks(page):
            found = re.match(r"# (party|coordinator|gateway)\.toml(, the table \[(\w+)\])?\n", block.text)
            if block.info == "toml" and found:
                table = tomllib.loads(block.text)
                whole[found[1]] = table = {**whole.get(found[1], {}), **table} if found[2] else table
                CONFIGURATIONS[found[1]].model_validate(table)
    assert set(whole) == set(CONFIGURATIONS)


def test_python_runs_on_what_exists():
    """It compiles, and what it imports of ours is there."""
    seen = 0
    for page in PAGES:
        for code in python(page):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keyquorum"):
                    module = importlib.import_module(str(node.module))
                    assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == [], page
                    seen += 1
    assert seen


@cache
def series_of_the_code() -> frozenset[str]:
    """Prometheus series as they are exposed, read from the calls that make them."""
    found = set()
    for folder in ("gateway/src", "core_signer/src"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)) if "prometheus_client" in text else ():
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                    continue
                name = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
                if node.func.id in {"Counter", "Gauge", "Histogram"} and isinstance(name, str):
                    found.add(name if node.func.id != "Counter" or name.endswith("_total") else f"{name}_total")
    return frozenset(found)


def test_every_series_is_explained_and_exists():
    """The first columns of docs/metrics.md are the code's series, no more and no fewer."""
    rows = re.findall(r"^\| `(keyquorum_[a-z0-9_]+)` \|", read(Path("docs/metrics.md")), re.MULTILINE)
    assert len(set(rows)) == len(rows)
    assert set(rows) == series_of_the_code()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_series_that_is_named_exists(page):
    """Wherever it is named; modules of ours are spelt alike."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = (*project["tool"]["importlinter"]["root_packages"], "keyquorum_toy")
    known = {f"{name}{suffix}" for name in series_of_the_code() for suffix in ("", "_bucket", "_count", "_sum")}
    named = {name for name in _SERIES.findall(read(page)) if not any(name.startswith(each) for each in packages)}
    assert named - known == set()


def test_every_benchmark_row_exists():
    """Rows that docs/metrics.md names are made by tests/bench."""
    patterns = []
    for path in (ROOT / "tests/bench").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                patterns.append(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [re.escape(part.value) if isinstance(part, ast.Constant) else r"\w*" for part in node.values]
                patterns.append("".join(map(str, parts)))
    named = set(re.findall(r"`((?:frost|dkg|store|channel|solana|gateway)_[a-z0-9_]+)`", read(Path("docs/metrics.md"))))
    assert len(named) >= 10
    assert [name for name in named if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []


@pytest.mark.parametrize("scheme", ["eddsa_ed25519", "schnorr_bip340", "ecdsa_secp256k1"])
def test_the_status_says_which_schemes_sign(scheme):
    """README.md promises what the suites offer, no more and no less."""
    (row,) = [line for line in read(Path("README.md")).splitlines() if line.startswith("|") and f"`{scheme}`" in line]
    assert suite_for(scheme).scheme in row
    assert "not used to sign yet" not in row


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_machine_of_anybody_is_named(page):
    """Neither somebody's folders nor a package registry's hosts."""
    private = r"(?<![\w.])/(?:work|root|home|tmp|Users)/|pypi|pythonhosted|artifactory|index-url|localhost:\d"
    assert re.findall(private, read(page)) == []
