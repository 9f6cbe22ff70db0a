"""What the documentation says of methods: names of parameters and of fields in answers, in a small file.

`facts.json` was made by `python -m tests.sandbox_coverage --facts METHODS_JSON` of the machine-readable specifications
in the documentation's repository bitrix-tools/b24-rest-docs (MIT licence, Copyright (c) 2024 Bitrix). It has the names
of all methods, and of parameters and fields of those that the portal has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_b24.sandbox.methods import all_methods

FILE = Path(__file__).with_name("facts.json")
# What stands in examples because of the portal they were made with, not by the method.
_ACCIDENTAL = re.compile(r"UF_|uf[A-Z]|PARENT_ID_|parentId\d|.*\.\d+$|\d+$")
# A text in all languages, and the settings of a field: there is what somebody has put in.
_GIVEN = frozenset({"de", "fr"})
_DEPTH = 2


class Facts(NamedTuple):
    """What is documented of one method.

    :param params: names of parameters, as documented.
    :param answer: paths of fields in `result`, such as `items[].id`.
    """

    params: list[str]
    answer: list[str]


def load() -> dict[str, Facts]:
    """Return the facts by method."""
    return {name: Facts(**facts) for name, facts in json.loads(FILE.read_text(encoding="utf-8")).items()}


def make(specifications: Path) -> None:
    """Write the file."""
    methods = json.loads(specifications.read_text(encoding="utf-8"))
    known = all_methods()
    nothing: dict[str, list[str]] = {"params": [], "answer": []}
    facts = {
        name: _facts(method) if name.lower() in known else nothing for name, method in sorted(methods.items())
    }
    lines = (f"{json.dumps(name)}: {json.dumps(said)}" for name, said in facts.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _facts(method: Mapping[str, Any]) -> dict[str, list[str]]:
    # A page without parameters has been read as if those of its answer were some.
    params = [param["name"] for param in method.get("params", ())]
    if "isRequired" in str(method.get("resultExample")):
        params = [name for name in params if name in ("entityTypeId", "useOriginalUfNames")]
    # What stands within another parameter is given with it.
    params = [name for name in params if name not in ("result", "time") and "." not in name]
    found = sorted(set(paths(method.get("resultExample", {}).get("result"))))
    # Some examples have what stands beside the result within it.
    return {"params": params, "answer": [path for path in found if path.partition(".")[0] != "time"]}


def paths(value: object, at: str = "", depth: int = _DEPTH) -> Iterator[str]:
    """Return the paths of all fields in a result."""
    if isinstance(value, list):
        for item in value:
            yield from paths(item, f"{at}[]", depth)
    elif isinstance(value, Mapping) and depth and not _GIVEN & set(value) and not at.endswith("SETTINGS"):
        for key, item in value.items():
            if not _ACCIDENTAL.match(str(key)):
                here = f"{at}.{key}".lstrip(".")
                yield here
                yield from paths(item, here, depth - 1)
