"""Files on the Drive: put there in Base64, downloaded by a link. Uploading by a link is left out."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow_provider_b24.sandbox.disk import ROOT, Content
from airflow_provider_b24.sandbox.errors import RestError, access_denied
from airflow_provider_b24.sandbox.method import Method, MethodCall
from airflow_provider_b24.sandbox.timing import iso_date

if TYPE_CHECKING:
    from airflow_provider_b24.sandbox.disk import StoredFile


def _number(call: MethodCall) -> int:
    if "ID" in call.given:
        # These names are case-sensitive.
        raise RestError(400, "100", "Could not find value for parameter {id}")
    if not call.text("ID"):
        raise RestError(400, "ERROR_ARGUMENT", "Invalid value of parameter {Parameter #0}")
    return call.integer("ID")


def _file_get(call: MethodCall) -> dict[str, Any]:
    file = call.portal.disk.get(_number(call))
    if file is None:
        raise RestError(400, "ERROR_NOT_FOUND", f"Could not find entity with id `{call.text('ID')}`")
    return _row(call, file)


def _upload(call: MethodCall) -> dict[str, Any]:
    if _number(call) != ROOT:
        raise RestError(400, "ERROR_NOT_FOUND", f"Could not find entity with id `{call.text('ID')}`")
    content = call.sequence("FILECONTENT")
    name = str(call.mapping("DATA").get("NAME") or "")
    if not name:
        raise RestError(
            400, "DISK_BASE_SERVICE_22001", "Error: required parameter NAME (DISK_BASE_SERVICE_22001)"
        )
    try:
        data = base64.b64decode(str(content[1]), validate=True)
    except (binascii.Error, IndexError):
        raise RestError(400, "ERROR_COULD_NOT_SAVE_FILE", "Could not save file") from None
    if any(file.name == name for file in call.portal.disk.files):
        if call.text("GENERATEUNIQUENAME").lower() not in ("1", "true", "y"):
            raise RestError(400, "DISK_OBJ_22000", "Not unique name")
        stem, dot, extension = name.rpartition(".")
        name = (
            f"{stem or name} ({len(call.portal.disk.files)}){dot if stem else ''}{extension if stem else ''}"
        )
    row = _row(call, call.portal.disk.add(name, data, call.caller.user.id, call.portal.clock.now()))
    # This page shows as numbers what `disk.file.get` gives as text.
    numbers = ("ID", "FILE_ID", "DELETED_TYPE", "GLOBAL_CONTENT_VERSION")
    return row | {name: int(row[name]) for name in numbers}


def _row(call: MethodCall, file: StoredFile) -> dict[str, Any]:
    portal = call.portal
    query = urlencode({"auth": portal.callers.token_for_links(call.caller), "token": portal.disk.token(file)})
    return {
        "ID": str(file.id),
        "NAME": file.name,
        "CODE": None,
        "STORAGE_ID": "1",
        "TYPE": "file",
        "PARENT_ID": str(ROOT),
        "DELETED_TYPE": "0",
        "GLOBAL_CONTENT_VERSION": "1",
        "FILE_ID": str(file.id),
        "SIZE": str(len(file.data)),
        "CREATE_TIME": iso_date(file.created),
        "UPDATE_TIME": iso_date(file.created),
        "DELETE_TIME": None,
        "CREATED_BY": str(file.created_by),
        "UPDATED_BY": str(file.created_by),
        "DELETED_BY": "0",
        "DOWNLOAD_URL": f"{portal.url}/rest/download.json?{query}",
        "DETAIL_URL": f"{portal.url}/company/personal/user/{file.created_by}/disk/file/{file.name}",
    }


def _download(call: MethodCall) -> Content:
    content = call.portal.disk.by_token(call.text("TOKEN"))
    if content is None:
        raise access_denied()
    return content


def _product_download(call: MethodCall) -> Content:
    fields = call.mapping("FIELDS")
    given = str(fields.get("fileId") or "")
    if not given:
        raise RestError(400, "0", "Required fields: fileId")
    file = call.portal.disk.get(int(given)) if given.isdecimal() else None
    if file is None:
        raise RestError(400, "0", "File not found")
    return Content(file.name, file.data)


METHODS = (
    Method("disk.file.get", "disk", _file_get),
    Method("disk.folder.uploadfile", "disk", _upload),
    # What is behind the links in their answers.
    Method("download", "", _download),
    # Gives the file itself. Here the files on the Drive are those of the catalog, too.
    Method("catalog.product.download", "catalog", _product_download),
)
