"""Nothing is shown and nothing is done without Airflow's sign-in and its auth manager's consent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_b24.pages.app import create_app

if TYPE_CHECKING:
    from starlette.testclient import TestClient

FORM = {"do": "on_failure", "confirmed": "yes"}


def routes() -> list[tuple[str, str]]:
    """All there are, but for style and script."""
    found = []
    for route in create_app().routes:
        for method in getattr(route, "methods", None) or ():
            path = route.path.replace("{call_id}", "0" * 32).removeprefix("/")
            found.append((method, path))
    return found


class TestNotSignedIn:
    @pytest.mark.parametrize(("method", "path"), routes())
    def test_nothing_is_shown(self, browse, called, method, path):
        answer = browse(None).request(method, path, follow_redirects=False)
        assert answer.status_code == 401
        assert called.process.id not in answer.text
        assert "Sign in to Airflow" in answer.text

    @pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
    def test_with_a_forged_cookie(self, browse, called, token):
        browser = browse(None)
        browser.cookies.set("_token", token)
        assert browser.get("calls").status_code == 401

    def test_any_longer(self, browse, called):
        assert browse(seconds=-10).get("calls").status_code == 401

    def test_nothing_is_done(self, browse, called):
        assert browse(None).post("act", data=FORM | {"call": called.call.id}).status_code == 401
        assert (called.state, called.answers) == ("running", [])


class TestViewer:
    def test_sees_calls_and_no_buttons(self, vera, called):
        page = vera.get("calls").text
        assert called.process.id in page
        assert "Try again now" not in page
        assert 'type="checkbox"' not in page
        page = vera.get(f"calls/{called.call.id}").text
        assert called.process.id in page
        assert "Answer by hand" not in page

    @pytest.mark.parametrize("deed", ["answer", "on_failure", "retry"])
    def test_does_nothing(self, vera, olga, called, audit, deed):
        query = f"act?do={deed}&call={called.call.id}"
        assert vera.get(query).status_code == 403
        form = FORM | {"do": deed, "call": called.call.id, "value.score": "1"}
        assert vera.post("act", data=form | {"token": olga.token(query)}).status_code == 403
        assert (called.state, called.answers, audit()) == ("running", [], [])


class TestOfAnotherDag:
    """A user who may see the runs of some DAGs only."""

    @pytest.fixture(autouse=True)
    def only_other_dags(self, auth_manager, monkeypatch):
        def may(*, method, user, access_entity=None, details=None):
            assert str(access_entity.value) == "RUN"
            return details.id != "score_lead"

        monkeypatch.setattr(auth_manager, "is_authorized_dag", may)

    def test_calls_are_not_there(self, olga, called, call_robot):
        other = call_robot(dag_id="other")
        page = olga.get("calls").text
        assert other.process.id in page
        assert called.process.id not in page
        assert "score_lead</option>" not in page
        assert "<b>1</b>" in page
        for path in (f"calls/{called.call.id}", f"act?do=retry&call={called.call.id}"):
            assert olga.get(path).status_code == 404
        assert olga.get(f"run?dag_id=score_lead&run_id={called.call.run_id}").status_code == 403

    def test_one_of_them_spoils_a_selection(self, olga, called, call_robot, audit):
        other = call_robot(dag_id="other")
        query = f"act?do=retry&call={other.call.id}"
        form = {"do": "retry", "call": [other.call.id, called.call.id], "token": olga.token(query)}
        assert olga.post("act", data=form).status_code == 404
        assert audit() == []


class TestForgery:
    @pytest.mark.parametrize("token", ["", "nonsense"])
    def test_without_the_token_of_a_page(self, olga, called, token, audit):
        answer = olga.post("act", data=FORM | {"call": called.call.id, "token": token})
        assert answer.status_code == 403
        assert (called.answers, audit()) == ([], [])

    def test_with_the_token_of_another_user(self, browse, olga, called):
        token = browse("otto").token(f"act?do=retry&call={called.call.id}")
        assert olga.post("act", data=FORM | {"call": called.call.id, "token": token}).status_code == 403
        assert called.answers == []

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
    def test_from_another_site(self, olga, called, site):
        token = olga.token(f"act?do=retry&call={called.call.id}")
        form = FORM | {"call": called.call.id, "token": token}
        assert olga.post("act", data=form, headers={"Sec-Fetch-Site": site}).status_code == 403
        assert called.answers == []

    def test_pages_are_framed_by_airflow_alone(self, olga, called):
        policy = olga.get("calls").headers["content-security-policy"]
        assert "frame-ancestors 'self'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_receiver_has_no_pages(receiver: TestClient):
    for path in ("/calls", "/act", "/run", "/static/pages.css"):
        assert receiver.get(path).status_code in (404, 405)


def test_the_pages_have_no_receiver(browse):
    assert browse(None).post("bitrix24_default/robots/score_lead").status_code == 404


def test_the_plugin_mounts_both_apart():
    from airflow_provider_b24.plugin import Bitrix24Plugin

    prefixes = [one["url_prefix"] for one in Bitrix24Plugin.fastapi_apps]
    assert prefixes == ["/bitrix24", "/bitrix24-pages"]
    assert {one["destination"] for one in Bitrix24Plugin.external_views} == {"nav", "dag_run"}
