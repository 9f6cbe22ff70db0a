"""Event tokens: signed, and worth something only where they were written."""

from __future__ import annotations

import re

import pytest

from airflow_provider_b24.sandbox.event_tokens import EventTokens

_PROCESS = "67e3db8e581121.72266518"


def test_a_token_names_process_activity_and_event() -> None:
    token, event_id = EventTokens().write(_PROCESS, "A1")
    assert re.fullmatch(re.escape(_PROCESS) + r"\|A1\|" + event_id + r"\.[0-9a-f]{64}", token)


def test_a_token_reads_back() -> None:
    tokens = EventTokens()
    token, event_id = tokens.write(_PROCESS, "A1")
    assert tokens.read(token) == (_PROCESS, "A1", event_id)


def test_two_tokens_are_never_the_same() -> None:
    tokens = EventTokens()
    assert tokens.write(_PROCESS, "A1") != tokens.write(_PROCESS, "A1")


def test_a_token_of_another_portal_is_worth_nothing() -> None:
    assert EventTokens().read(EventTokens().write(_PROCESS, "A1")[0]) is None


@pytest.mark.parametrize("token", [None, 7, "", "a", "a|b|c", "a|b|c.d", "a|b.c", "ä|b|c.d", [], {}])
def test_what_is_no_token_says_nothing(token: object) -> None:
    assert EventTokens().read(token) is None


def test_no_character_of_a_token_can_be_changed() -> None:
    tokens = EventTokens()
    token, _ = tokens.write(_PROCESS, "A1")
    for index, character in enumerate(token):
        other = "0" if character != "0" else "1"
        assert tokens.read(token[:index] + other + token[index + 1 :]) is None
