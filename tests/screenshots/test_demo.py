"""The animated picture of the demonstration shows what the demonstration has printed."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.screenshots.demo import draw, rows

PRINTED = """\
[  0.1 s] Starting Airflow …
[ 53.1 s] Starting Airflow: 53.0 s
[ 62.2 s] Registering the robots: 9.1 s
[ 62.6 s] The portal starts a process: 0.4 s
What happened after 17:49:25
┃    s ┃ who      ┃ what                 ┃ more in ┃
│ 0.01 │ Bitrix24 │ process 1 starts for │ a.log   │
│      │          │ LEAD_77 & calls      │         │
│ 2.40 │ worker   │ gets the order       │ b.log   │
The process has its answer.
"""


def test_each_event_appears_when_it_happened() -> None:
    begins, ordered = (row for row in rows(PRINTED.splitlines()) if row.who)

    assert begins.text.endswith("process 1 starts for LEAD_77 & calls")
    assert ordered.at - begins.at == pytest.approx(2.39)
    assert (begins.who, ordered.who) == ("Bitrix24", "worker")


def test_it_begins_with_the_command_and_ends_with_the_last_line() -> None:
    texts = [row.text for row in rows(PRINTED.splitlines())]

    assert (texts[0], texts[1], texts[-1]) == (
        "$ airflow-b24 demo",
        "Starting Airflow: 53.0 s",
        "The process has its answer.",
    )


def test_the_picture_is_xml_with_every_line() -> None:
    shown = rows(PRINTED.splitlines())
    drawn = ElementTree.fromstring(draw(shown)).findall("{http://www.w3.org/2000/svg}text")

    assert [text.text for text in drawn] == [row.text for row in shown]
