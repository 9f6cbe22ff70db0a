"""The REST protocol of Bitrix24 and two clients for it; usable without Airflow.

>>> from airflow_provider_b24.rest import Bitrix24Client, Webhook
>>> with Bitrix24Client(Webhook.from_url("https://example.bitrix24.com/rest/1/code/")) as client:  # doctest: +SKIP
...     print(client.call("profile").result)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_b24.rest.apis import ApiVersion
    from airflow_provider_b24.rest.async_client import AsyncBitrix24Client
    from airflow_provider_b24.rest.call import Call, Reply, ReplyTime
    from airflow_provider_b24.rest.client import Bitrix24Client
    from airflow_provider_b24.rest.coalescer import Coalescer
    from airflow_provider_b24.rest.credentials import (
        Credentials,
        OAuthApp,
        PortalAddress,
        Tokens,
        Webhook,
        parse_portal_address,
    )
    from airflow_provider_b24.rest.encoding import MalformedFormError, Ref, UnsendableValueError, parse_form
    from airflow_provider_b24.rest.files import File
    from airflow_provider_b24.rest.methods import Effect, MethodFacts
    from airflow_provider_b24.rest.observer import Observer
    from airflow_provider_b24.rest.session import Patience
    from airflow_provider_b24.rest.tokens import AsyncTokenStore, MemoryTokenStore, TokenStore

# Imported when first used: hooks are imported by every DAG file, most of which need no more than an address.
_HOMES = {
    "ApiVersion": "apis",
    "AsyncBitrix24Client": "async_client",
    "AsyncTokenStore": "tokens",
    "Bitrix24Client": "client",
    "Call": "call",
    "Coalescer": "coalescer",
    "Credentials": "credentials",
    "Effect": "methods",
    "File": "files",
    "MalformedFormError": "encoding",
    "MemoryTokenStore": "tokens",
    "MethodFacts": "methods",
    "OAuthApp": "credentials",
    "Observer": "observer",
    "Patience": "session",
    "PortalAddress": "credentials",
    "Ref": "encoding",
    "Reply": "call",
    "ReplyTime": "call",
    "TokenStore": "tokens",
    "Tokens": "credentials",
    "UnsendableValueError": "encoding",
    "Webhook": "credentials",
    "parse_form": "encoding",
    "parse_portal_address": "credentials",
}

__all__ = [
    "ApiVersion",
    "AsyncBitrix24Client",
    "AsyncTokenStore",
    "Bitrix24Client",
    "Call",
    "Coalescer",
    "Credentials",
    "Effect",
    "File",
    "MalformedFormError",
    "MemoryTokenStore",
    "MethodFacts",
    "OAuthApp",
    "Observer",
    "Patience",
    "PortalAddress",
    "Ref",
    "Reply",
    "ReplyTime",
    "TokenStore",
    "Tokens",
    "UnsendableValueError",
    "Webhook",
    "parse_form",
    "parse_portal_address",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
