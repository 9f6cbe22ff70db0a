"""The form of a connection type, as each version of Airflow wants to be told of it.

=======  ====================================================================================================
3.0-3.1  Airflow asks the hook class, in whose own ``__dict__`` it looks: ``get_connection_form_widgets()`` gives
         fields of ``wtforms``, ``get_ui_field_behaviour()`` what becomes of the fields that every connection has.
         3.0 shows nothing of it where ``wtforms`` is not installed (the FAB provider brings it); 3.1 has stand-ins.
         No field takes a number with a fraction.
3.2      ``conn-fields`` and ``ui-field-behaviour`` in the provider's info; hooks are not asked then.
=======  ====================================================================================================

The path for 3.0 and 3.1 may go when the provider needs 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def info_of_form(fields: Mapping[str, Any], behaviour: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the provider's info says of a form: 3.2 and later read it, earlier ones do not mind.

    :param fields: the fields of its own, by their names, as ``conn-fields`` has them.
    :param behaviour: what becomes of the fields that every connection has, as ``ui-field-behaviour`` has it.
    """
    return {"conn-fields": dict(fields), "ui-field-behaviour": dict(behaviour)}


def widgets_of_hook(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give what ``get_connection_form_widgets`` of a hook returns: only Airflow before 3.2 asks.

    :param fields: as :func:`info_of_form` takes them.
    :raises ImportError: when ``wtforms`` is not there. Airflow, which asks, knows that one.
    """
    # Inside, because Airflow replaces these classes while it asks.
    from wtforms import IntegerField, PasswordField, StringField  # type: ignore[import-untyped]
    from wtforms.validators import Optional, any_of  # type: ignore[import-untyped]

    def widget(label: str, description: str, schema: Mapping[str, Any]) -> Any:
        if "number" in schema["type"]:
            kind = IntegerField
        else:
            kind = PasswordField if schema.get("format") == "password" else StringField
        validators = [Optional(), *([any_of(schema["enum"])] if "enum" in schema else [])]
        return kind(label, validators, description=description, default=schema.get("default"))

    return {
        name: widget(field["label"], field["description"], field["schema"]) for name, field in fields.items()
    }


def behaviour_of_hook(behaviour: Mapping[str, Any]) -> dict[str, Any]:
    """Give what ``get_ui_field_behaviour`` of a hook returns: only Airflow before 3.2 asks.

    :param behaviour: as :func:`info_of_form` takes it.
    """
    return {
        "hidden_fields": list(behaviour["hidden-fields"]),
        "relabeling": dict(behaviour["relabeling"]),
        "placeholders": dict(behaviour["placeholders"]),
    }
