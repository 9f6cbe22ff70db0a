"""What HTTP libraries log holds no secret."""

import logging

import pytest

from airflow_provider_b24.rest.redaction import redact, redact_http_logs


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ('"POST /rest/1/s3cr3t/profile HTTP/1.1" 200', '"POST /rest/1/***/profile HTTP/1.1" 200'),
        ("https://x.bitrix24.com/rest/api/17/s3cr3t/batch", "https://x.bitrix24.com/rest/api/17/***/batch"),
        ("https://x.bitrix24.com/rest/17/s3cr3t/batch", "https://x.bitrix24.com/rest/17/***/batch"),
        (
            "GET /oauth/token/?grant_type=refresh_token&client_id=app&client_secret=s3&refresh_token=r3",
            "GET /oauth/token/?grant_type=refresh_token&client_id=app&client_secret=***&refresh_token=***",
        ),
        (
            "(b'Location', b'https://x/rest/1/s3cr3t/m?auth=a')",
            "(b'Location', b'https://x/rest/1/***/m?auth=***')",
        ),
        ("Starting new HTTPS connection (1): x.bitrix24.com:443",) * 2,
    ],
)
def test_secrets_in_urls_are_replaced(text, redacted):
    assert redact(text) == redacted


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "httpx", "httpcore.http11"])
def test_the_libraries_loggers_are_filtered_once(name, caplog):
    redact_http_logs()
    redact_http_logs()
    logger = logging.getLogger(name)

    with caplog.at_level(logging.DEBUG, name):
        logger.debug('%s "%s %s" %d', "https://x", "POST", "/rest/1/s3cr3t/profile", 200)
    assert caplog.messages == ['https://x "POST /rest/1/***/profile" 200']
    assert [type(one).__name__ for one in logger.filters].count("_Redaction") == 1
