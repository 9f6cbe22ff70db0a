"""What Airflow discovers: the connection type and its form, and where everything lives."""

from __future__ import annotations

from typing import Any

from airflow_provider_b24._airflow.form_fields import info_of_form
from airflow_provider_b24._airflow.versions import warn_if_untested
from airflow_provider_b24.hooks.connection_type import CONN_FIELDS, CONN_TYPE, FIELD_BEHAVIOUR, HOOK_NAME

_INTEGRATION = "Bitrix24"


_CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": CONN_TYPE,
    "hook-class-name": "airflow_provider_b24.hooks.bitrix24.Bitrix24Hook",
    "hook-name": HOOK_NAME,
    **info_of_form(CONN_FIELDS, FIELD_BEHAVIOUR),
}


def get_provider_info() -> dict[str, Any]:
    """Describe this provider by Airflow's ``provider_info.schema.json``.

    Every process of Airflow asks: so an Airflow that was not tested is told of here.
    """
    warn_if_untested()
    return {
        "package-name": "airflow-provider-b24",
        "name": _INTEGRATION,
        "description": "Robots and workflow actions of Bitrix24 start DAG runs; DAGs answer business processes.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://apidocs.bitrix24.com/",
                "how-to-guide": [
                    "/docs/quickstart.md",
                    "/docs/robots.md",
                    "/docs/answering.md",
                    "/docs/rest.md",
                ],
                "logo": "/docs/_static/logo.svg",
                "tags": ["service"],
            }
        ],
        "connection-types": [_CONNECTION_TYPE],
        "hooks": [_modules("hooks.bitrix24")],
        "operators": [_modules("operators.bizproc", "operators.im", "operators.rest", "operators.tasks")],
        "sensors": [_modules("sensors.external_result", "sensors.rest", "sensors.bizproc")],
        "triggers": [_modules("triggers.external_result", "triggers.rest", "triggers.bizproc")],
        "transfers": [
            {
                "source-integration-name": _INTEGRATION,
                "target-integration-name": "Common IO",
                "python-module": "airflow_provider_b24.transfers.bitrix24_to_object_storage",
            }
        ],
        "notifications": [
            "airflow_provider_b24.notifications.bizproc.BizprocEventSendNotifier",
            "airflow_provider_b24.notifications.im.ImNotifySystemAddNotifier",
        ],
        "extra-links": [
            "airflow_provider_b24.operators.links.CallLink",
            "airflow_provider_b24.operators.links.PortalLink",
        ],
        "cli": ["airflow_provider_b24.cli.airflow_commands"],
        "db-managers": ["airflow_provider_b24.calls.database.CallsDBManager"],
        "plugins": [{"name": "bitrix24", "plugin-class": "airflow_provider_b24.plugin.Bitrix24Plugin"}],
        "config": {
            "bitrix24": {
                "description": "How Bitrix24 and external workers reach this Airflow.",
                "options": {
                    "receiver_url": {
                        "description": (
                            "Public address of the receiver, where it differs from [api] base_url "
                            "with /bitrix24 behind it: for example behind a reverse proxy that publishes "
                            "nothing else of Airflow."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://hooks.example.com/bitrix24",
                        "default": None,
                    },
                    "spool_folder": {
                        "description": (
                            "Where the receiver keeps robot calls while Airflow's database does not take them: a "
                            "folder on a disk that outlives the API server. Empty means bitrix24_spool in "
                            "AIRFLOW_HOME."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/var/lib/airflow/bitrix24_spool",
                        "default": None,
                    },
                    "shared_limits": {
                        "description": (
                            "Where processes keep the request limits of portals together, which count for all of "
                            "them: the whole path of a folder on this host; redis://, rediss:// or unix:// for "
                            "several hosts behind one address; or process, for each process by itself. Empty "
                            "means a folder of the user among the temporary files of the host."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "sensitive": True,
                        "example": "redis://redis.example.com:6379/3",
                        "default": None,
                    },
                    "dispatcher": {
                        "description": (
                            "Where runs are started for calls, and answers are sent: api_server, or command for "
                            "processes of their own (airflow-b24 dispatcher)."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "command",
                        "default": "api_server",
                    },
                    "keep_calls_days": {
                        "description": "How many days a call is on record after it has come, once it is over.",
                        "version_added": "0.2.0",
                        "type": "integer",
                        "example": "365",
                        "default": "90",
                    },
                    "hold_calls_hours": {
                        "description": (
                            "How many hours a call waits for its DAG, when the DAG is not parsed yet, broken or gone. "
                            "Then its process is answered with the on_failure values."
                        ),
                        "version_added": "0.2.0",
                        "type": "integer",
                        "example": "24",
                        "default": "72",
                    },
                },
            }
        },
    }


def _modules(*names: str) -> dict[str, Any]:
    return {
        "integration-name": _INTEGRATION,
        "python-modules": [f"airflow_provider_b24.{name}" for name in names],
    }
