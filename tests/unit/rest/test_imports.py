"""The REST package stands on its own, and costs nothing until it is used."""

import subprocess
import sys

import pytest

from airflow_provider_b24 import rest

BLOCK = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Wall())
"""


def run(code: str, blocked: tuple[str, ...]) -> str:
    program = BLOCK.format(blocked=blocked) + code
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_can_be_imported_without_airflow():
    code = """
import importlib, pkgutil
import airflow_provider_b24.rest as rest
names = [module.name for module in pkgutil.iter_modules(rest.__path__)]
for name in names:
    importlib.import_module(f"airflow_provider_b24.rest.{name}")
print(*(getattr(rest, name).__name__ for name in rest.__all__ if name != "Credentials"))
"""
    assert "AsyncBitrix24Client" in run(code, ("airflow", "pendulum"))


def test_importing_it_imports_no_http_library():
    code = """
from airflow_provider_b24.rest import AsyncBitrix24Client, Bitrix24Client, Webhook
Bitrix24Client(Webhook("example.bitrix24.com", "1", "code"))
AsyncBitrix24Client(Webhook("example.bitrix24.com", "1", "code"))
"""
    run(code, ("requests", "httpx", "urllib3", "httpcore", "airflow"))


def test_addresses_can_be_read_without_the_clients():
    code = """
from airflow_provider_b24.rest.credentials import parse_portal_address
print(*(name for name in sys.modules if name.startswith("airflow_provider_b24")))
"""
    assert set(run(code, ()).split()) == {
        "airflow_provider_b24",
        "airflow_provider_b24.rest",
        "airflow_provider_b24.rest.credentials",
    }


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        rest.no_such_thing  # noqa: B018


def test_all_names_are_listed():
    assert set(rest.__all__) <= set(dir(rest))
