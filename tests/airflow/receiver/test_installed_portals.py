"""Robot calls of an application are believed from its installation on, until it is uninstalled."""

from __future__ import annotations

import httpx


def test_robots_may_call_from_the_installation_on(
    bitrix, connect, events, publish_dag, make_robot, on_record, call_fields
):
    connect()
    publish_dag(make_robot(conn_id="crm"))
    route = events.replace("/events", "/robots/score_lead")
    genuine = call_fields | {
        "auth[application_token]": bitrix.application.application_token,
        "auth[member_id]": bitrix.member_id,
    }
    assert httpx.post(route, data=genuine).status_code == 403
    bitrix.send_install_event(events).wait()
    assert httpx.post(route, data=genuine).status_code == 202
    assert httpx.post(route, data=genuine | {"auth[member_id]": "other"}).status_code == 403
    assert len(on_record()) == 1
    bitrix.send_uninstall_event(events).wait()
    assert httpx.post(route, data=genuine | {"event_token": "another|A|1.x"}).status_code == 403
    assert len(on_record()) == 1
