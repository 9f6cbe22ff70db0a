"""The capability to deliver a result: what it says, who can read it, how long it lasts."""

from __future__ import annotations

import base64
import json
import time
import zlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_b24.exceptions import ConnectionConfigError
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.sensors.external_result import result_url
from airflow_provider_b24.sensors.result_reference import (
    ExpiredReferenceError,
    ForgedReferenceError,
    ResultReference,
    claimed_conn_id,
    patience_ends_at,
)

KEY = b"a key derived from the connection's secret"
REFERENCE = ResultReference("bitrix24_default", "score_lead", "bitrix24__0123", "hand_out", -1, 2_000_000_000)


class TestReference:
    @given(
        st.builds(
            ResultReference,
            conn_id=st.text(max_size=50),
            dag_id=st.text(max_size=50),
            run_id=st.text(max_size=50),
            task_id=st.text(max_size=50),
            map_index=st.integers(-1, 10_000),
            expires_at=st.integers(1, 2**40),
        )
    )
    def test_comes_back_as_it_was_signed(self, reference):
        signed = reference.sign(KEY)
        assert ResultReference.read(signed, KEY, now=reference.expires_at - 1) == reference
        assert claimed_conn_id(signed) == reference.conn_id

    def test_is_one_path_segment(self):
        signed = replace(REFERENCE, run_id="manual__2026-01-01T00:00:00+00:00 /?#%").sign(KEY)
        assert set(signed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")

    def test_ends_at_its_time(self):
        signed = REFERENCE.sign(KEY)
        ResultReference.read(signed, KEY, now=REFERENCE.expires_at - 0.001)
        with pytest.raises(ExpiredReferenceError):
            ResultReference.read(signed, KEY, now=REFERENCE.expires_at)

    def test_another_key_does_not_open_it(self):
        with pytest.raises(ForgedReferenceError):
            ResultReference.read(REFERENCE.sign(KEY), b"another key", now=0)

    def test_an_expired_one_that_is_forged_counts_as_forged(self):
        with pytest.raises(ForgedReferenceError):
            ResultReference.read(replace(REFERENCE, expires_at=1).sign(b"another key"), KEY, now=100)

    @given(st.integers(0, 200), st.sampled_from("AZaz09-_."))
    def test_no_character_can_be_changed(self, position, character):
        signed = REFERENCE.sign(KEY)
        position %= len(signed)
        changed = signed[:position] + character + signed[position + 1 :]
        if changed == signed:
            return
        try:
            read = ResultReference.read(changed, KEY, now=0)
        except ForgedReferenceError:
            return
        # The last character of base64 text carries bits that mean nothing.
        assert (read, changed[:-1]) == (REFERENCE, signed[:-1])

    @given(st.text(max_size=300))
    def test_any_other_text_is_forged(self, text):
        with pytest.raises(ForgedReferenceError):
            ResultReference.read(text, KEY, now=0)

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"null",
            b"{}",
            b"[]",
            b'["a","b","c","d",0]',
            b'["a","b","c","d",0,1,2]',
            b'[1,"b","c","d",0,1]',
            b'["a","b","c","d","0",1]',
            b'["a","b","c","d",true,1]',
            b'["a","b","c","d",0,1.5]',
            b"[" * 2500,
            b"." + zlib.compress(b"0" * 1_000_000),
            json.dumps(["a" * 5000, "b", "c", "d", 0, 1]).encode(),
            b"\xff\xfe",
        ],
    )
    def test_a_payload_of_another_shape_is_forged_even_if_the_connection_is_only_asked_for(self, payload):
        text = base64.urlsafe_b64encode(payload).rstrip(b"=").decode() + ".signature"
        with pytest.raises(ForgedReferenceError):
            claimed_conn_id(text)


class TestPatience:
    @pytest.mark.parametrize(
        ("conf", "expected"),
        [
            (None, None),
            ({}, None),
            ({"ts": 1000, "timeout_duration": 60}, 1060),
            ({"ts": "1000", "timeout_duration": "60"}, 1060),
            ({"ts": 1000, "timeout_duration": 0}, None),
            ({"ts": 1000}, None),
            ({"timeout_duration": 60}, None),
            ({"ts": 1000, "timeout_duration": 60, "use_subscription": "Y"}, 1060),
            ({"ts": 1000, "timeout_duration": 60, "use_subscription": "N"}, None),
            ({"ts": "soon", "timeout_duration": 60}, None),
            ({"ts": 1000, "timeout_duration": float("inf")}, None),
            ({"ts": 1000, "timeout_duration": [60]}, None),
        ],
    )
    def test_ends_when_the_process_stops_waiting(self, conf, expected):
        assert patience_ends_at(conf) == expected


class TestResultUrl:
    @pytest.fixture(autouse=True)
    def _airflow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__BITRIX24__RECEIVER_URL", "https://airflow.example.com/bitrix24/")
        for conn_id, code in (("BITRIX24_DEFAULT", "the-code"), ("SALES", "sales-code")):
            monkeypatch.setenv(
                f"AIRFLOW_CONN_{conn_id}",
                json.dumps(
                    {"conn_type": "bitrix24", "host": "example.bitrix24.com", "login": "1", "password": code}
                ),
            )

    @staticmethod
    def context(
        *, conf: dict[str, Any] | None = None, map_index: int | None = -1, **tasks: Any
    ) -> dict[str, Any]:
        context: dict[str, Any] = {
            "dag": SimpleNamespace(task_dict=tasks),
            "dag_run": SimpleNamespace(conf=conf),
        }
        context["ti"] = SimpleNamespace(
            dag_id="score_lead",
            run_id="run_1",
            task_id="hand_out",
            map_index=map_index,
            try_number=1,
            get_template_context=lambda: context,
        )
        return context

    @staticmethod
    def read(url: str, conn_id: str = "bitrix24_default") -> ResultReference:
        parts = urlsplit(url)
        assert parts.netloc == "airflow.example.com"
        prefix, _, signed = parts.path.rpartition("/")
        assert prefix == "/bitrix24/results"
        return ResultReference.read(signed, PortalConnection.load(conn_id).signing_key("result"), now=0)

    def test_names_the_calling_task_instance(self):
        context = self.context(map_index=3)
        for source in (context, context["ti"]):
            reference = self.read(result_url(source))
            assert (reference.dag_id, reference.run_id, reference.task_id, reference.map_index) == (
                "score_lead",
                "run_1",
                "hand_out",
                3,
            )

    def test_an_unmapped_task_has_the_index_minus_one(self):
        assert self.read(result_url(self.context(map_index=None))).map_index == -1

    def test_lasts_a_week_without_a_waiting_process(self):
        week = 7 * 24 * 3600
        assert self.read(result_url(self.context())).expires_at == pytest.approx(time.time() + week, abs=5)

    def test_lasts_as_long_as_the_process_waits(self):
        conf = {"ts": 1_900_000_000, "timeout_duration": 600}
        assert self.read(result_url(self.context(conf=conf))).expires_at == 1_900_000_600

    def test_lasts_as_long_as_asked(self):
        conf = {"ts": 1_900_000_000, "timeout_duration": 600}
        reference = self.read(result_url(self.context(conf=conf), expires_in=60))
        assert reference.expires_at == pytest.approx(time.time() + 60, abs=5)

    @pytest.mark.parametrize("expires_in", [0, -1, float("nan")])
    def test_a_duration_that_is_none_is_an_error(self, expires_in):
        with pytest.raises(ValueError, match="expires_in"):
            result_url(self.context(), expires_in=expires_in)

    def test_is_signed_for_the_connection_the_robot_answers_with(self):
        reply = SimpleNamespace(task_type="RobotReplyOperator", bitrix24_conn_id="sales")
        assert self.read(result_url(self.context(reply=reply)), "sales").conn_id == "sales"
        other_reply = SimpleNamespace(task_type="EmptyOperator")
        assert self.read(result_url(self.context(reply=other_reply))).conn_id == "bitrix24_default"

    def test_is_signed_for_the_connection_that_is_given(self):
        assert self.read(result_url(self.context(), bitrix24_conn_id="sales"), "sales").conn_id == "sales"

    def test_holds_no_secret(self):
        url = result_url(self.context())
        payload = url.rpartition("/")[2].partition(".")[0]
        assert b"the-code" not in base64.urlsafe_b64decode(payload + "===")

    def test_a_connection_without_secret_is_an_error(self, monkeypatch):
        monkeypatch.setenv(
            "AIRFLOW_CONN_SALES", json.dumps({"conn_type": "bitrix24", "host": "example.bitrix24.com"})
        )
        with pytest.raises(ConnectionConfigError, match="sales"):
            result_url(self.context(), bitrix24_conn_id="sales")
