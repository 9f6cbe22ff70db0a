"""Files as parameters, and downloads, in both clients and with both kinds of credentials."""

import asyncio
import base64
import gzip
import http.server
import logging
import threading
import tracemalloc
from pathlib import Path

import pytest

from airflow_provider_b24.exceptions import Bitrix24Error, TransportError
from airflow_provider_b24.rest import (
    AsyncBitrix24Client,
    Bitrix24Client,
    File,
    MemoryTokenStore,
    UnsendableValueError,
)
from airflow_provider_b24.sandbox import AnswerHtml, AnswerStatus, DropConnection, SandboxPortal, TruncateJson

DATA = bytes(range(256)) * 1000


@pytest.fixture(params=["webhook", "application"])
def credentials(request, portal_webhook, portal_app):
    return portal_webhook if request.param == "webhook" else portal_app


@pytest.fixture(params=["blocking", "async"])
def use(request, credentials, portal_tokens, portal_webhook, quick, free_clock):
    """Call a method of the client."""

    def use(name, *args, **options):
        store = None if credentials is portal_webhook else MemoryTokenStore(portal_tokens)
        settings = {"token_store": store, "patience": quick, "clock": free_clock}
        settings |= {name: options.pop(name) for name in ("trusted_hosts",) if name in options}
        if request.param == "blocking":
            with Bitrix24Client(credentials, sleep=free_clock.sleep, **settings) as client:
                return getattr(client, name)(*args, **options)

        async def run():
            async with AsyncBitrix24Client(credentials, sleep=free_clock.asleep, **settings) as client:
                return await getattr(client, name)(*args, **options)

        return asyncio.run(run())

    return use


@pytest.fixture
def elsewhere():
    """A host that is not the portal: what it is asked for, and what it answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append((self.path, dict(self.headers)))
            self.send_response(server.status)
            for name, value in server.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(server.data)))
            self.end_headers()
            self.wfile.write(server.data)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.data, server.status = [], DATA, 200
        server.answer_headers = {"Content-Disposition": "attachment"}
        server.host = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def files_in(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("kind", ["bytes", "path", "named path"])
def test_a_file_is_sent_with_its_name_and_arrives_byte_for_byte(use, portal, tmp_path, kind):
    path = tmp_path / "ä b.bin"
    path.write_bytes(DATA)
    file = {
        "bytes": lambda: File(DATA, "ä b.bin"),
        "path": lambda: File(path),
        "named path": lambda: File(path, "other.bin"),
    }[kind]()

    reply = use("call", "disk.folder.uploadfile", {"id": 1, "data": {"NAME": file[0]}, "fileContent": file})

    [stored] = portal.disk.files
    assert (stored.name, stored.data) == ("other.bin" if kind == "named path" else "ä b.bin", DATA)
    assert reply.result["SIZE"] == str(len(DATA))


def test_files_travel_in_batches_nested_and_in_lists(use):
    small = File(b"abc", "a.txt")
    outcomes = use(
        "batch",
        [
            ("sandbox.echo", {"preview": {"fileData": small}}),
            ("sandbox.echo", {"files": [small, File(b"", "empty")], "bare": small[1]}),
            ("sandbox.echo", {"large": File(DATA * 10, "large")}),
        ],
    )

    assert outcomes[0].result == {"preview": {"fileData": ["a.txt", "YWJj"]}}
    assert outcomes[1].result == {"files": [["a.txt", "YWJj"], ["empty", ""]], "bare": "YWJj"}
    assert base64.b64decode(outcomes[2].result["large"][1]) == DATA * 10


def test_a_path_is_read_when_the_call_is_sent(use, tmp_path):
    file = File(tmp_path / "later.txt")
    (tmp_path / "later.txt").write_bytes(b"later")

    assert use("call", "sandbox.echo", {"f": file}).result == {"f": ["later.txt", "bGF0ZXI="]}


def test_a_path_that_cannot_be_read_is_an_error_and_nothing_is_sent(use, portal, tmp_path):
    with pytest.raises(FileNotFoundError):
        use("call", "sandbox.echo", {"f": File(tmp_path / "nothing")})
    assert portal.requests == []


@pytest.mark.parametrize(
    "arguments", [(b"abc",), ("text",), (b"abc", ""), (None, "name"), ("/etc/hosts", "hosts")]
)
def test_what_is_no_file_is_refused(arguments):
    with pytest.raises(UnsendableValueError, match="file"):
        File(*arguments)


@pytest.mark.parametrize("value", [b"abc", Path("a.txt")])
def test_bytes_and_paths_without_more_are_refused_with_what_to_do(use, portal, value):
    with pytest.raises(UnsendableValueError, match="f: a value of type .* give bytes and paths as File"):
        use("call", "sandbox.echo", {"f": value})
    assert portal.requests == []


def test_a_file_does_not_show_what_is_in_it():
    assert repr(File(b"s3cr3t", "a.txt")) == "File('a.txt', 6 bytes)"


def test_a_file_on_the_drive_is_downloaded_by_its_number(use, portal, tmp_path):
    number = portal.add_file("a.bin", DATA)

    assert use("download", number, tmp_path / "mine.bin") == len(DATA)
    assert (tmp_path / "mine.bin").read_bytes() == DATA
    assert files_in(tmp_path) == ["mine.bin"]


def test_a_file_may_have_the_longest_name_that_there_is(use, portal, tmp_path):
    number = portal.add_file("offer.pdf", b"an offer")
    path = tmp_path / ("д" * 125 + ".pdf")
    assert use("download", number, path) == 8
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_file_is_downloaded_by_a_link_of_a_method(use, portal, tmp_path):
    link = use("call", "disk.file.get", {"id": portal.add_file("a.bin", DATA)}).result["DOWNLOAD_URL"]

    for name, source in (("absolute", link), ("relative", link.removeprefix(portal.url))):
        assert use("download", source, str(tmp_path / name)) == len(DATA)
        assert (tmp_path / name).read_bytes() == DATA


def test_a_relative_link_to_a_method_is_called_with_the_credentials(use, portal, tmp_path):
    number = portal.add_file("a.bin", DATA)
    link = f"/rest/catalog.product.download?fields%5BfileId%5D={number}&fields%5BproductId%5D=1"

    assert use("download", link, tmp_path / "a") == len(DATA)


def test_an_application_fills_its_token_into_an_empty_auth(portal, portal_app, portal_tokens, tmp_path):
    number = portal.add_file("a.bin", DATA)
    link = f"{portal.url}/rest/catalog.product.download?auth=&fields%5BfileId%5D={number}"

    with Bitrix24Client(portal_app, token_store=MemoryTokenStore(portal_tokens)) as client:
        assert client.download(link, tmp_path / "a") == len(DATA)


@pytest.mark.parametrize("by_number", [True, False])
def test_an_expired_token_is_renewed(portal, portal_app, portal_tokens, tmp_path, by_number):
    number = portal.add_file("a.bin", DATA)
    source = number if by_number else f"/rest/catalog.product.download?fields%5BfileId%5D={number}"
    portal.expire_access_tokens()

    with Bitrix24Client(portal_app, token_store=MemoryTokenStore(portal_tokens)) as client:
        assert client.download(source, tmp_path / "a") == len(DATA)


@pytest.mark.parametrize(
    "fault",
    [TruncateJson(), DropConnection(), AnswerHtml(502), AnswerStatus(503, "QUERY_LIMIT_EXCEEDED")],
    ids=repr,
)
def test_a_download_that_breaks_is_begun_again(use, portal, tmp_path, fault):
    number = portal.add_file("a.bin", DATA)
    portal.faults.add(fault, "download", times=2)

    assert use("download", number, tmp_path / "a") == len(DATA)
    assert (tmp_path / "a").read_bytes() == DATA


@pytest.mark.parametrize("fault", [TruncateJson(), AnswerHtml(502)], ids=repr)
def test_nothing_is_left_of_half_a_file_and_what_was_there_stays(use, portal, tmp_path, fault):
    (tmp_path / "a").write_text("before")
    portal.faults.add(fault, "download", times=None)

    with pytest.raises(Bitrix24Error, match="^download at"):
        use("download", portal.add_file("a.bin", DATA), tmp_path / "a")

    assert files_in(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_a_file_that_is_shorter_than_the_portal_says_is_not_taken_for_whole(use, portal, elsewhere, tmp_path):
    portal.disk.elsewhere = f"http://{elsewhere.host}/files/"
    elsewhere.data = DATA[:100]

    with pytest.raises(TransportError, match=f"Only 100 of {len(DATA)} bytes"):
        use("download", portal.add_file("a.bin", DATA), tmp_path / "a")
    assert files_in(tmp_path) == []


def test_a_file_larger_than_it_may_be_is_refused(use, portal, tmp_path):
    number = portal.add_file("a.bin", DATA)

    assert use("download", number, tmp_path / "a", max_bytes=len(DATA)) == len(DATA)
    with pytest.raises(Bitrix24Error, match="more than 255,999 bytes"):
        use("download", number, tmp_path / "b", max_bytes=len(DATA) - 1)
    assert files_in(tmp_path) == ["a"]


def test_a_redirect_to_where_the_portal_keeps_its_files_is_followed_without_credentials(
    use, portal, elsewhere, tmp_path
):
    portal.disk.elsewhere = f"http://{elsewhere.host}/files/"

    assert use("download", portal.add_file("a.bin", DATA), tmp_path / "a") == len(DATA)
    [(path, headers)] = elsewhere.asked
    assert path.startswith("/files/")
    assert not any(
        secret in f"{path}{headers}" for secret in (portal.webhook.code, portal.application.access_token)
    )


def test_a_redirect_that_carries_the_token_away_is_not_followed(use, portal, elsewhere, tmp_path):
    target = f"http://{elsewhere.host}/take"
    number = portal.add_file("a.bin", DATA)
    link = use("call", "disk.file.get", {"id": number}).result["DOWNLOAD_URL"]
    portal.disk.elsewhere = f"{target}?auth={link.partition('auth=')[2].partition('&')[0]}&id="

    with pytest.raises(Bitrix24Error, match="untrusted_link: .* with what opens the portal") as caught:
        use("download", link, tmp_path / "a")
    assert elsewhere.asked == []
    assert link.partition("auth=")[2] not in str(caught.value)


@pytest.mark.parametrize("location", ["http://example.com/file/", "ftp://127.0.0.1/", "http://[/"])
def test_a_redirect_to_an_insecure_address_is_not_followed(use, portal, tmp_path, location):
    portal.disk.elsewhere = location
    with pytest.raises(Bitrix24Error, match="untrusted_link: .*not secure"):
        use("download", portal.add_file("a.bin", DATA), tmp_path / "a")


@pytest.mark.parametrize("path", ["/file", "/rest/catalog.product.download?auth=", "/rest/profile"])
def test_nothing_is_sent_to_another_host_that_a_link_names(use, portal, elsewhere, tmp_path, path):
    with pytest.raises(Bitrix24Error, match=f"untrusted_link: .*{elsewhere.host}.*trusted_hosts"):
        use("download", f"http://{elsewhere.host}{path}", tmp_path / "a")
    assert elsewhere.asked == []
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "start", ["", "{portal}", "{portal}/bitrix/..", "{portal}/", "/bitrix/components/.."]
)
@pytest.mark.parametrize("auth", ["", "&auth="])
def test_a_link_calls_no_method_that_gives_no_file(use, portal, tmp_path, start, auth):
    link = f"{start.format(portal=portal.url)}/rest/crm.lead.add?fields[TITLE]=x{auth}"

    with pytest.raises(Bitrix24Error):
        use("download", link, tmp_path / "a")

    assert len(portal.records("lead")) == 0
    assert all(
        secret not in f"{request.path}{request.access_token}"
        for request in portal.requests
        for secret in (portal.webhook.code, portal.application.access_token)
    )


def test_a_host_that_is_trusted_is_asked_without_credentials(use, portal, elsewhere, tmp_path):
    link = f"http://{elsewhere.host}/rest/file?auth="
    assert use("download", link, tmp_path / "a", trusted_hosts=[elsewhere.host]) == len(DATA)
    assert [path for path, _ in elsewhere.asked] == ["/rest/file?auth="]


@pytest.mark.parametrize(
    "link", ["", "file", "http://", "https://[", "ftp://host/a", "http://example.com/a", "https://u:p@h/a"]
)
def test_what_is_no_link_is_refused(use, portal, tmp_path, link):
    with pytest.raises(Bitrix24Error, match="untrusted_link"):
        use("download", link, tmp_path / "a")
    assert portal.requests == []


def test_a_page_for_people_is_not_taken_for_a_file(use, portal, tmp_path):
    with pytest.raises(Bitrix24Error, match="no_file: .*page in place of a file"):
        use("download", "/", tmp_path / "a")
    assert files_in(tmp_path) == []


def test_an_answer_of_a_method_is_not_taken_for_a_file(use, portal, tmp_path):
    with pytest.raises(Bitrix24Error, match="ERROR_NOT_FOUND"):
        use("download", 7, tmp_path / "a")
    with pytest.raises(Bitrix24Error, match="ACCESS_DENIED"):
        use("download", "/rest/download.json?token=disk|2|x", tmp_path / "a")


def test_a_compressed_file_stays_compressed(use, portal, elsewhere, tmp_path):
    data = gzip.compress(DATA)
    assert use("download", portal.add_file("a.gz", data), tmp_path / "a.gz") == len(data)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == DATA


def test_a_moved_portal_is_asked_where_it_is_now(use, portal, tmp_path):
    with SandboxPortal(limits=False) as new:
        number = portal.add_file("a.bin", DATA)
        portal.move_to(new)
        assert use("download", number, tmp_path / "a", trusted_hosts=[new.host]) == len(DATA)


def test_a_download_takes_the_same_memory_however_large_the_file_is(use, elsewhere, portal, tmp_path):
    portal.disk.elsewhere = f"http://{elsewhere.host}/files/"
    number = portal.add_file("a.bin", DATA)
    elsewhere.data = bytes(1_000_000)
    link = use("call", "disk.file.get", {"id": number}).result["DOWNLOAD_URL"]
    use("download", link, tmp_path / "warm")
    elsewhere.data = bytes(60_000_000)
    tracemalloc.start()
    try:
        use("download", link, tmp_path / "a")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "a").stat().st_size == 60_000_000
    assert peak < 15_000_000


def test_no_secret_of_a_download_is_in_the_log(use, portal, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "airflow_provider_b24.rest")
    link = use("call", "disk.file.get", {"id": portal.add_file("a.bin", DATA)}).result["DOWNLOAD_URL"]
    use("download", link, tmp_path / "a")
    use(
        "download",
        f"/rest/catalog.product.download?fields%5BfileId%5D={portal.disk.files[0].id}",
        tmp_path / "b",
    )

    # The portal is a server in this process, and its access log holds the address it was called at.
    logged = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")
    )
    assert "download at" in logged
    secrets = (portal.webhook.code, portal.application.access_token, link.partition("?")[2].partition("&")[0])
    assert not any(secret in logged for secret in secrets)
