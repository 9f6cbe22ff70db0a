"""The page that Bitrix24 opens when somebody installs a local application."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_b24.sandbox import SandboxPortal

FORM = "application/x-www-form-urlencoded"


class TestPage:
    def open(self, bitrix: SandboxPortal, url: str, **options: Any) -> httpx.Response:
        call = bitrix.open_application(url, **options).wait()
        return httpx.post(call.url, content=call.body, headers={"Content-Type": FORM}, timeout=20)

    def test_finishes_the_installation(self, bitrix, connect, install_page, stored, nothing_leaks):
        connect()
        answer = bitrix.open_application(install_page).wait()
        assert answer.status == 200
        assert "BX24.installFinish()" in answer.answer
        assert '<script nonce="' in answer.answer
        assert 'src="https://api.bitrix24.com/api/v1/"' in answer.answer
        assert stored().application_token == bitrix.application.application_token
        assert stored().member_id == bitrix.member_id
        nothing_leaks(answer.answer)

    def test_lets_the_browser_load_bitrix24s_library_and_nothing_else(self, bitrix, connect, install_page):
        connect()
        call = bitrix.open_application("http://127.0.0.1:9/unused")
        answer = httpx.post(install_page, content=call.body, headers={"Content-Type": FORM})
        policy = dict(
            part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
        )
        nonce = answer.text.partition('<script nonce="')[2].partition('"')[0]
        assert len(nonce) >= 16
        assert policy == {
            "default-src": "'none'",
            "script-src": f"'nonce-{nonce}' https://api.bitrix24.com",
            "style-src": f"'nonce-{nonce}'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": bitrix.url,
        }
        assert "x-frame-options" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"

    def test_never_uses_the_same_nonce_twice(self, bitrix, connect, install_page):
        connect()
        pages = [bitrix.open_application(install_page).wait().answer for _ in range(2)]
        assert pages[0] != pages[1]

    def test_of_an_employee_is_refused_in_words(self, bitrix, connect, install_page, stored, nothing_leaks):
        connect()
        answer = bitrix.open_application(install_page, user_id=2).wait()
        assert answer.status == 403
        assert "Only an administrator" in answer.answer
        assert "<script" not in answer.answer
        assert stored() is None
        nothing_leaks(answer.answer)

    def test_of_an_employee_does_not_touch_an_installation(self, bitrix, connect, install_page, stored):
        connect()
        bitrix.open_application(install_page).wait()
        before = stored()
        assert bitrix.open_application(install_page, user_id=2).wait().status == 403
        assert stored() == before

    def test_of_another_application_is_refused(self, bitrix, connect, install_page, stored):
        connect()
        other = bitrix.create_application()
        assert bitrix.open_application(install_page, other).wait().status == 403
        assert stored() is None

    def test_of_another_portal_is_refused(self, bitrix, connect, install_page, stored):
        connect()
        bitrix.open_application(install_page).wait()
        with SandboxPortal() as other:
            answer = other.open_application(install_page).wait()
            assert answer.status == 409
            assert "another portal" in answer.answer
        assert stored().member_id == bitrix.member_id

    @pytest.mark.parametrize("missing", ["AUTH_ID", "REFRESH_ID", "member_id"])
    def test_with_a_field_missing_is_refused(self, bitrix, connect, install_page, stored, missing):
        connect()
        call = bitrix.open_application("http://127.0.0.1:9/unused")
        form = {name: str(value) for name, value in call.fields.items() if name != missing}
        answer = httpx.post(install_page, data=form)
        assert answer.status_code == 400
        assert f"{missing} is missing" in answer.text
        assert stored() is None

    def test_shows_nothing_of_what_was_posted(self, bitrix, connect, install_page):
        connect()
        script = "<script>alert(1)</script>"
        for name in ("AUTH_ID", "member_id", "LANG", "PLACEMENT"):
            call = bitrix.open_application("http://127.0.0.1:9/unused")
            form = {key: str(value) for key, value in call.fields.items()} | {name: script}
            answer = httpx.post(f"{install_page}?DOMAIN={script}", data=form)
            assert "alert(1)" not in answer.text

    def test_brings_the_application_token_by_a_test_event_if_it_was_not_posted(
        self, bitrix, connect, install_page, stored
    ):
        connect()
        call = bitrix.open_application("http://127.0.0.1:9/unused")
        form = {name: str(value) for name, value in call.fields.items() if name != "APPLICATION_TOKEN"}
        assert httpx.post(install_page, data=form).status_code == 200
        bitrix.wait_until(lambda: [one.done for one in bitrix.event_calls] == [True])
        assert stored().application_token == bitrix.application.application_token
        assert stored().challenge is None

    def test_by_get_says_what_the_address_is_for(self, connect, install_page):
        connect()
        answer = httpx.get(install_page)
        assert answer.status_code == 400
        assert "oauth/start" in answer.text
