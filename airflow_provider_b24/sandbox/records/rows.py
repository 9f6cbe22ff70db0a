"""Records as the methods write them: the older ones in text, `crm.item.*` in values of JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_b24.sandbox.records.item_extras import extras

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.records.fields import Field
    from airflow_provider_b24.sandbox.records.table import Table

_CONTACTS = ("PHONE", "EMAIL", "WEB", "IM", "LINK")
# What only `crm.item.*` has of leads, deals, contacts and companies.
_NOT_IN_OLD = frozenset({"OBSERVERS"})


Row = Mapping[str, Any]
#: Writes a row.
Writer = Callable[[Row], dict[str, Any]]


def old_writer(fields: Iterable[Field]) -> Writer:
    """Return what writes records as `crm.lead.list` and its like do: numbers are text."""
    return _writer({field.name: field for field in fields}, _text)


def old_selection(table: Table, select: list[Any]) -> list[Field]:
    """Return what `select` of the older methods means, with the masks `*` and `UF_*`; unknown names are nothing."""
    names = [str(name).upper() for name in select] or ["*", "UF_*"]
    # The number comes unasked.
    chosen: dict[str, Field] = {"ID": table.schema.fields["ID"]}
    for name in names:
        if name in ("*", "UF_*"):
            for field in table.fields:
                if field.dynamic is (name == "UF_*") and not field.type.multiple:
                    chosen[field.name] = field
            # What the portal's own people have put in stands among the rest.
            if name == "*":
                chosen |= {f.name: f for f in table.own_fields.values() if not f.name.startswith("UF_")}
        elif (field_ := table.field_named(name)) is not None:
            chosen[field_.name] = field_
    return list(chosen.values())


def old_record(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as `crm.lead.get` and its like write it, with its phone numbers and addresses."""
    write = old_writer(field for field in table.fields if not field.type.multiple)
    return write(row) | {name: list(row[name]) for name in _CONTACTS if row.get(name)}


def item_writer(table: Table, select: list[Any], *, original_names: bool = False) -> Writer:
    """Return what writes records as `crm.item.*` does.

    :param select: names of fields; nothing or `*` for all.
    :param original_names: whether fields that users have made keep the names they gave.
    """
    everything = not select or "*" in select
    found = table.fields if everything else [table.field_named(str(name)) for name in select]
    fields = [field for field in found if field is not None and field.type.name != "crm_multifield"]
    named = {field.name if original_names and field.dynamic else field.item_name: field for field in fields}
    write = _writer(named, _value)
    if not everything:
        return write

    def whole(row: Row) -> dict[str, Any]:
        item = extras(table.schema.kind, row) | write(row)
        item["entityTypeId"] = table.schema.entity_type_id
        if "PHONE" in table.schema.fields:
            item["fm"] = [
                {
                    "id": int(entry["ID"]),
                    "typeId": entry["TYPE_ID"],
                    "valueType": entry["VALUE_TYPE"],
                    "value": entry["VALUE"],
                }
                for name in _CONTACTS
                for entry in row.get(name) or ()
            ]
        return item

    return whole


def value_writer(fields: Iterable[Field]) -> Writer:
    """Return what writes records in values of JSON, under names such as `ownerId`."""
    return _writer({field.item_name: field for field in fields}, _value)


def task_writer(fields: Iterable[Field]) -> Writer:
    """Return what writes tasks as `tasks.task.*` does: everything is text, under names such as `responsibleId`."""
    return _writer({field.item_name: field for field in fields}, _text)


def _writer(named: Mapping[str, Field], convert: Callable[[Field, Any], Any]) -> Writer:
    """Return what writes fields under other names; rows are short, so defaults are converted once."""
    defaults = {name: convert(field, field.default) for name, field in named.items()}
    by_row_name = {field.name: (name, field) for name, field in named.items()}

    def write(row: Row) -> dict[str, Any]:
        written = defaults.copy()
        for row_name, value in row.items():
            known = by_row_name.get(row_name)
            if known is not None:
                written[known[0]] = convert(known[1], value)
        return written

    return write


def described(
    fields: Iterable[Field], *, items: bool = False, original_names: bool = False
) -> dict[str, dict[str, Any]]:
    """Return what a `fields` method of the CRM says.

    :param items: whether it is `crm.item.fields`.
    :param original_names: whether fields that users have made keep the names they gave.
    """
    told = {}
    for field in fields:
        if (items and field.type.name == "crm_multifield") or (not items and field.name in _NOT_IN_OLD):
            continue
        entry: dict[str, Any] = {
            "type": "string" if field.type.name == "any" else _json_type(field, items=items),
            "isRequired": field.required,
            "isReadOnly": field.read_only,
            "isImmutable": field.immutable and not items,
            "isMultiple": field.type.multiple,
            "isDynamic": field.dynamic,
            "title": field.title,
        }
        if field.status_type:
            entry["statusType"] = field.status_type
        if field.parent:
            entry["settings"] = {"parentEntityTypeId": field.parent}
        if field.deprecated:
            entry["isDeprecated"] = True
        if items:
            entry["upperName"] = field.name
        own_name = not items or (original_names and field.dynamic)
        told[field.name if own_name else field.item_name] = entry
    return told


def _json_type(field: Field, *, items: bool) -> str:
    return "boolean" if items and field.type.name == "char" else field.type.name


def _text(field: Field, value: Any) -> Any:
    if value is None:
        # A date that is not there is an empty text, other things are nothing.
        return "" if field.type.name in ("date", "datetime") and field.item_name != "deadline" else None
    if isinstance(value, list):
        return [str(item) if isinstance(item, int | float) else item for item in value]
    if field.type.name == "double":
        return f"{value:.2f}"
    if isinstance(value, bool):
        return "Y" if value else "N"
    return str(value) if isinstance(value, int | float) else value


def _value(field: Field, value: Any) -> Any:
    if value is None:
        return [] if field.type.multiple else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return list(value) if isinstance(value, list) else value
