"""The address that a tunnel prints."""

import pytest

from airflow_provider_b24.dev.address import receiver_address


@pytest.mark.parametrize(
    ("given", "receiver"),
    [
        ("https://abc.ngrok.app", "https://abc.ngrok.app/bitrix24"),
        (" https://abc.ngrok.app/ ", "https://abc.ngrok.app/bitrix24"),
        ("https://abc.ngrok.app/bitrix24", "https://abc.ngrok.app/bitrix24"),
        ("https://example.com/airflow/", "https://example.com/airflow/bitrix24"),
        ("https://example.com:8443", "https://example.com:8443/bitrix24"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/bitrix24"),
    ],
)
def test_it_becomes_the_address_of_the_receiver(given, receiver):
    assert receiver_address(given) == receiver


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("abc.ngrok.app", "no address of a tunnel"),
        ("ftp://abc.ngrok.app", "no address of a tunnel"),
        ("https://abc.ngrok.app?x=1", "no address of a tunnel"),
        ("https:///bitrix24", "no address of a tunnel"),
        ("https://ann:secret@abc.ngrok.app", "without a user and a password"),
        ("http://abc.ngrok.app", "https only"),
    ],
)
def test_what_bitrix24_cannot_post_to_is_refused(given, why):
    with pytest.raises(ValueError, match=why) as refused:
        receiver_address(given)
    assert "secret" not in str(refused.value)
