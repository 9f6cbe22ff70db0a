"""Writes what is made of the code, `docs/reference` and `.airflow-registry.yaml`; `make references` runs it.

`tests/unit/test_references.py` compares them with the code, so that nothing is missing in them.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow_provider_b24 import cli, exceptions
from airflow_provider_b24.get_provider_info import get_provider_info
from airflow_provider_b24.hooks.connection_type import CONN_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_b24.rest import _errors
from airflow_provider_b24.rest.wire import TransportFailure

FOLDER = Path(__file__).parent / "reference"
REGISTRY = Path(__file__).parents[1] / ".airflow-registry.yaml"
PACKAGE = Path(_errors.__file__).parents[1]
EXAMPLES = Path(__file__).parents[1] / "example_dags"
METRICS = {
    "Calls": (
        "airflow_provider_b24.calls.metrics",
        "[Calls](../calls.md#metrics) says which are worth an alarm.",
    ),
    "Receiver": ("airflow_provider_b24.receiver.metrics", ""),
    "REST requests": ("airflow_provider_b24.hooks.metrics", "All have the tag `portal`."),
}
API = {
    "api-robots.md": ("API: robots", ["robots"]),
    "api-rest.md": ("API: REST client", ["rest"]),
    "api-exceptions.md": ("API: exceptions", ["exceptions"]),
    "api-testing.md": (
        "API: testing",
        ["testing.fixtures", "testing.local_airflow", "testing.sandbox_connection", "sandbox"],
    ),
}
_NOTE = "<!-- Made by `make references`: change the code instead. -->"


def pages() -> dict[str, str]:
    """Make every page; keys are file names in `docs/reference`."""
    return {
        "commands.md": _commands(),
        "configuration.md": _configuration(),
        "metrics.md": _metrics(),
        "errors.md": _errors_page(),
        "examples.md": _examples(),
        "api-airflow.md": _api("API: hook, operators, sensors, triggers, notifiers", _provided_modules()),
        **{name: _api(title, modules) for name, (title, modules) in API.items()},
    }


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", _NOTE, *(part for part in parts if part)]) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") or "-" for cell in line) + " |" for line in lines
    )


def _code(text: object) -> str:
    return f"`{text}`" if text not in (None, "") else ""


# Commands


def _commands() -> str:
    parser = cli.command_parser()
    sections = "\n\n".join(_command_sections(parser, 2))
    return _page(
        "Commands",
        "From Airflow 3.2 on, `airflow bitrix24 COMMAND` is the same for all commands but `sandbox` and `demo`. The "
        "exit code is 0 for success, 1 for a failure, 2 for options that make no sense, 130 after Ctrl-C.",
        sections,
    )


def _command_sections(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, command in action.choices.items():
            yield f"{'#' * level} {command.prog}"
            yield _sentence(helps[name])
            rows = [_option(command, one) for one in command._actions if not _is_plain(one)]
            if rows:
                yield _table(("Option", "Does"), rows)
            yield from _command_sections(command, level + 1)


def _is_plain(action: argparse.Action) -> bool:
    return isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        usage = value
    elif action.nargs == 0:
        usage = ", ".join(action.option_strings)
    else:
        shown = f"[{value}]" if action.nargs == "?" else value
        usage = f"{', '.join(action.option_strings)} {shown}"
    return f"`{usage}`", parser._get_formatter()._expand_help(action) if action.help else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


# Configuration


def _configuration() -> str:
    [(section, content)] = get_provider_info()["config"].items()
    options = "\n\n".join(_configuration_option(section, *item) for item in content["options"].items())
    renamed = FIELD_BEHAVIOUR["relabeling"]
    hints = FIELD_BEHAVIOUR["placeholders"]
    own = [(f"`{name}`", renamed.get(name, name.capitalize()), hints[name], "") for name in hints]
    extra = [
        (
            f"`{name}`",
            field["label"],
            field["description"] + _choices(field["schema"]),
            _code(field["schema"].get("default")),
        )
        for name, field in CONN_FIELDS.items()
    ]
    head = ("Key", "Field", "Meaning", "Default")
    return _page(
        "Configuration",
        f"## Options of airflow.cfg, section [{section}]",
        f"{content['description']} What a scheduler, worker or API server reads: set the options alike in all of them.",
        options,
        "## Fields of a connection",
        "Connection type `bitrix24`; [The connection](../connection.md) explains them. Fields that Airflow has for "
        "every connection:",
        _table(head, own),
        "Fields in *Extra*, which the form shows by name:",
        _table(head, extra),
    )


def _configuration_option(section: str, name: str, option: dict[str, Any]) -> str:
    facts = {
        "Environment": f"`AIRFLOW__{section.upper()}__{name.upper()}`",
        "Type": option["type"],
        "Default": _code(option["default"]) or "none",
        "Example": _code(option["example"]),
        "Since": option["version_added"],
    }
    lines = "\n".join(f"- {key}: {value}" for key, value in facts.items())
    return f"### {name}\n\n{option['description']}\n\n{lines}"


def _choices(schema: dict[str, Any]) -> str:
    return " One of " + ", ".join(f"`{one}`" for one in schema["enum"]) + "." if "enum" in schema else ""


# Metrics

_ROW = re.compile(r"^``(bitrix24\.[\w.]+)``\s+(counter|timer|gauge)\s+(.+(?:\n +\S.*)*)$", re.MULTILINE)


def metrics_of(module: str) -> list[tuple[str, str, str]]:
    """Read the table in the module's docstring: name, kind and meaning of each metric."""
    rows = _ROW.findall(import_module(module).__doc__ or "")
    return [(name, kind, " ".join(text.split()).replace("``", "`")) for name, kind, text in rows]


def _metrics() -> str:
    parts = []
    for title, (module, remark) in METRICS.items():
        rows = [(f"`{name}`", kind, text) for name, kind, text in metrics_of(module)]
        parts += [f"## {title}", _table(("Metric", "Kind", "Counts"), rows), remark]
    return _page(
        "Metrics",
        "They are reported with [Airflow's metrics](https://airflow.apache.org/docs/apache-airflow/stable/"
        "administration-and-deployment/logging-monitoring/metrics.html), where these are switched on.",
        *parts,
    )


# Errors


def _errors_page() -> str:
    own = [(f"`{code}`", f"`{kind}`", text) for code, kind, text in sorted(own_codes())]
    head = ("Code", "Exception", "What to do")
    return _page(
        "Errors",
        "Every error names the portal, the method, a code, and what to do next. An exception that is *retryable* may "
        "succeed when the same call is made again; one that is *ambiguous* may stand for a call that was carried out "
        "although no good answer came. [Errors](../rest.md#errors) says what operators do with them.",
        "## Exceptions",
        _table(("Exception", "Means", "Retryable", "Ambiguous"), _exceptions()),
        "## Codes of a portal",
        "In capital letters; other codes are judged by their HTTP status: 401 is an `AuthError`, 429 a "
        "`RateLimitError`, 5xx a `ServerError`.",
        _table(head, _known(_errors.SYSTEM_ERRORS)),
        "Of the process that an answer is for:",
        _table(head, _known(_errors.PROCESS_ERRORS)),
        "## Codes of the authorization server",
        _table(head, _known(_errors.AUTHORIZATION_ERRORS)),
        "## Codes of this package",
        "In small letters. `…` stands for what the message fills in.",
        _table(("Code", "Exception", "Says"), own),
        "## Refusals of the receiver",
        "What it says to [Bitrix24](../receiver.md#responses-to-bitrix24), to [workers]"
        "(../external-results.md#the-workers-side), and during an [installation]"
        "(../installation.md#what-each-refusal-means), with what to do.",
    )


def _known(errors: dict[str, _errors.KnownError]) -> list[tuple[str, str, str]]:
    return [(f"`{code}`", f"`{known.kind.__name__}`", known.advice) for code, known in errors.items()]


def error_kinds() -> list[type[exceptions.Bitrix24Error]]:
    """Give the family of errors, in the order of the module."""
    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, exceptions.Bitrix24Error)]


def _exceptions() -> list[tuple[str, str, str, str]]:
    rows = []
    for kind in error_kinds():
        first = (kind.__doc__ or "").partition("\n\n")[0]
        ambiguous = "yes" if kind.ambiguous else "sometimes" if kind is exceptions.TransportError else "no"
        meaning = " ".join(first.split()).replace("``", "`")
        rows.append((f"`{kind.__name__}`", meaning, "yes" if kind.retryable else "no", ambiguous))
    return rows


_MAKES_AN_ERROR = {"kind", "error", "_error"}
"""Names of local variables and methods that do, beside the exceptions themselves."""


_CODE = re.compile(r"[a-z_]+$")


def own_codes() -> set[tuple[str, str, str]]:
    """Find every code that this package gives an error itself: code, exception and text."""
    kinds = {kind.__name__ for kind in error_kinds()}
    found = {
        (f"connection_{one.name.lower()}", "TransportError", _sentence(one.value)) for one in TransportFailure
    }
    for file in PACKAGE.rglob("*.py"):
        if "sandbox" in file.parts:
            continue  # its errors are a portal's
        for scope in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= set(_codes_of(scope, kinds))
    return found


def _codes_of(scope: ast.AST, kinds: set[str]) -> Iterator[tuple[str, str, str]]:
    texts = {
        target.id: _text(node.value)
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(scope):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        code, function = node.args[0], node.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        if not (isinstance(code, ast.Constant) and isinstance(code.value, str) and _CODE.match(code.value)):
            continue
        if name in kinds or name in _MAKES_AN_ERROR:
            text = node.args[1] if len(node.args) > 1 else ast.Constant("")
            said = texts.get(text.id, "…") if isinstance(text, ast.Name) else _text(text)
            yield code.value, name if name in kinds else "Bitrix24Error", said


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "…"


# Examples


def _examples() -> str:
    parts = []
    for file in sorted(EXAMPLES.glob("*.py")):
        code = file.read_text(encoding="utf-8")
        purpose, *rest = (ast.get_docstring(ast.parse(code)) or "").split("\n\n", 1)
        name = file.stem
        parts += [
            f"## {name}",
            " ".join(purpose.split()),
            *rest,
            f"[`{file.name}`](../../example_dags/{file.name})",
        ]
    return _page(
        "Example DAGs",
        "They are tests at the same time, and what `airflow-b24 demo` runs. Airflow shows them with "
        "`[core] load_examples`.",
        *parts,
    )


# API


def _provided_modules() -> list[str]:
    """Name the modules that Airflow is told of."""
    info = get_provider_info()
    kinds = ("hooks", "operators", "transfers", "sensors", "triggers")
    modules = [module for kind in kinds for entry in info.get(kind, ()) for module in _modules_of(entry)]
    classes = [*info["notifications"], *info["extra-links"]]
    modules += [path.rpartition(".")[0] for path in classes]
    return [module.removeprefix("airflow_provider_b24.") for module in dict.fromkeys(modules)]


def _modules_of(entry: dict[str, Any]) -> list[str]:
    return entry.get("python-modules") or [entry["python-module"]]


def public_names(module: str) -> list[str]:
    """Give what a module offers: its ``__all__``, or the classes that it defines, and functions of the guides."""
    content = import_module(f"airflow_provider_b24.{module}")
    if hasattr(content, "__all__"):
        return list(content.__all__)
    return [
        name
        for name, value in vars(content).items()
        if getattr(value, "__module__", "") == content.__name__ and not name.startswith("_")
        if isinstance(value, type) or name in _FUNCTIONS
    ]


_FUNCTIONS = {
    "as_environment", "bitrix24_connection", "oauth_connection", "result_url", "run_robot", "sandbox_portal",
    "webhook_connection",
}  # fmt: skip
"""Functions that the guides tell of; the others of these modules are theirs."""


def _api(title: str, modules: Sequence[str]) -> str:
    return _page(
        title,
        "Made of the docstrings: read it on the documentation site (`make docs`), or in the source.",
        *(_api_of(module) for module in modules),
    )


def _api_of(module: str) -> str:
    path = f"airflow_provider_b24.{module}"
    content = import_module(path)
    lines = [f"## {path}", "", "```{eval-rst}"]
    for name in public_names(module):
        value = getattr(content, name)
        if isinstance(value, type):
            lines += [f".. autoclass:: {path}.{name}"]
            if module in _WITH_PRIVATE_PARENTS:
                lines += ["   :inherited-members: object, BaseException, tuple, str"]
        elif inspect.isroutine(value) or hasattr(value, "__wrapped__"):
            lines += [f".. autofunction:: {path}.{name}"]
        else:
            lines += [f".. autodata:: {path}.{name}"]
    return "\n".join([*lines, "```"])


_WITH_PRIVATE_PARENTS = {"rest"}


# The file for the Airflow Registry


def registry() -> str:
    """Make the file that tells the Airflow Registry what this package has.

    Strings are written as JSON, which is YAML, too.
    """
    info = get_provider_info()
    lines = [
        "# What the Airflow Registry shows of this package. Made by `make references`: change the code instead.",
        f"package-name: {info['package-name']}",
        f"display-name: {info['name']}",
        f"description: {json.dumps(info['description'])}",
    ]
    for kind in ("hooks", "operators", "sensors", "triggers", "transfers"):
        modules = [module for entry in info[kind] for module in _modules_of(entry)]
        lines += _registered(kind, (f"{module}.{name}" for module in modules for name in _classes_of(module)))
    lines += _registered("notifications", info["notifications"])
    lines += _registered("other", [f"airflow_provider_b24.robots.{name}" for name in public_names("robots")])
    return "\n".join(lines) + "\n"


def _classes_of(module: str) -> Iterator[str]:
    content = import_module(module)
    for name in public_names(module.removeprefix("airflow_provider_b24.")):
        if isinstance(getattr(content, name), type):
            yield name


def _registered(kind: str, paths: Iterable[str]) -> Iterator[str]:
    yield f"\n{kind}:"
    for path in paths:
        module, _, name = path.rpartition(".")
        first = (inspect.getdoc(getattr(import_module(module), name)) or "").partition("\n\n")[0]
        yield f"  - module: {path}"
        yield f"    description: {json.dumps(' '.join(first.split()).replace('``', '`'))}"


def main() -> None:
    """Write the pages and the file."""
    REGISTRY.write_text(registry(), encoding="utf-8")
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
