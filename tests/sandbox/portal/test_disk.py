"""Files on the portal's Drive: put there, found, downloaded."""

import base64

import pytest
import requests

from airflow_provider_b24.sandbox import SandboxPortal


@pytest.fixture
def portal():
    with SandboxPortal(limits=False) as portal:
        yield portal


@pytest.fixture
def call(portal):
    def call(method, **params):
        return requests.post(portal.webhook.url + method, json=params, timeout=10).json()

    return call


def test_a_file_that_was_uploaded_is_found_and_downloaded(call):
    content = ["ignored.txt", base64.b64encode(b"abc").decode()]
    uploaded = call("disk.folder.uploadFile", id=1, data={"NAME": "a.txt"}, fileContent=content)["result"]
    found = call("disk.file.get", id=uploaded["ID"])["result"]

    assert (found["NAME"], found["SIZE"], found["TYPE"]) == ("a.txt", "3", "file")
    downloaded = requests.get(found["DOWNLOAD_URL"], timeout=10)
    assert downloaded.content == b"abc"
    assert "a.txt" in downloaded.headers["content-disposition"]


def test_names_are_unique_or_made_so(call):
    file = {"id": 1, "data": {"NAME": "a.txt"}, "fileContent": ["a.txt", ""]}
    call("disk.folder.uploadfile", **file)

    assert call("disk.folder.uploadfile", **file)["error"] == "DISK_OBJ_22000"
    assert call("disk.folder.uploadfile", **file, generateUniqueName=True)["result"]["NAME"] == "a (1).txt"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("disk.file.get", {}, "ERROR_ARGUMENT"),
        ("disk.file.get", {"ID": 99}, "100"),
        ("disk.file.get", {"id": 99}, "ERROR_NOT_FOUND"),
        ("disk.folder.uploadfile", {"data": {"NAME": "a"}}, "ERROR_ARGUMENT"),
        ("disk.folder.uploadfile", {"id": 99, "data": {"NAME": "a"}}, "ERROR_NOT_FOUND"),
        ("disk.folder.uploadfile", {"id": 1, "fileContent": ["a", ""]}, "DISK_BASE_SERVICE_22001"),
        (
            "disk.folder.uploadfile",
            {"id": 1, "data": {"NAME": "a"}, "fileContent": ["a", "?"]},
            "ERROR_COULD_NOT_SAVE_FILE",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_refused(call, method, params, code):
    assert call(method, **params)["error"] == code


def test_a_link_that_was_changed_opens_nothing(portal, call):
    link = call("disk.file.get", id=portal.add_file("a.txt", b"abc"))["result"]["DOWNLOAD_URL"]
    portal.add_file("b.txt", b"other")

    for changed in (link[:-1], link.replace("disk%7C2", "disk%7C3"), link.replace("auth=", "auth=x")):
        assert requests.get(changed, timeout=10).status_code in (401, 403)
