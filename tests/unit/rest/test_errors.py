"""The table of system errors: each code is its own clear error with the right idea of repeating."""

import pytest

from airflow_provider_b24.exceptions import (
    AuthError,
    BatchError,
    Bitrix24Error,
    EventTokenError,
    ExpiredTokenError,
    OperationTimeLimitError,
    PortalBlockedError,
    ProcessEndedError,
    ProcessLockedError,
    RateLimitError,
    ServerError,
    TransportError,
)
from airflow_provider_b24.rest._errors import (
    SYSTEM_ERRORS,
    authorization_error,
    error_by_status,
    system_error,
)

ANSWERS = ["bizproc.event.send", "bizproc.activity.log", "BizProc.Event.Send"]
TABLE = [
    (500, "INTERNAL_SERVER_ERROR", ServerError, True),
    (500, "ERROR_UNEXPECTED_ANSWER", ServerError, True),
    (503, "QUERY_LIMIT_EXCEEDED", RateLimitError, True),
    (429, "OPERATION_TIME_LIMIT", OperationTimeLimitError, True),
    (405, "ERROR_BATCH_METHOD_NOT_ALLOWED", BatchError, False),
    (400, "ERROR_BATCH_LENGTH_EXCEEDED", BatchError, False),
    (401, "NO_AUTH_FOUND", AuthError, False),
    (401, "expired_token", ExpiredTokenError, True),
    (400, "INVALID_REQUEST", Bitrix24Error, False),
    (503, "OVERLOAD_LIMIT", PortalBlockedError, False),
    (403, "INVALID_CREDENTIALS", AuthError, False),
    (404, "ERROR_MANIFEST_IS_NOT_AVAILABLE", Bitrix24Error, False),
    (403, "insufficient_scope", AuthError, False),
    (403, "user_access_error", AuthError, False),
    (500, "PORTAL_DELETED", PortalBlockedError, False),
    (404, "ERROR_METHOD_NOT_FOUND", Bitrix24Error, False),
    (403, "ACCESS_DENIED", AuthError, False),
]


@pytest.mark.parametrize(("status", "code", "kind", "retryable"), TABLE)
def test_each_system_error_is_its_own_kind(status, code, kind, retryable):
    error = system_error(code, "What the portal says", status, "crm.deal.get", "example.bitrix24.com")

    assert type(error) is kind
    assert error.retryable is retryable
    assert (error.code, error.status) == (code, status)
    assert "What the portal says. " in error.description
    assert "crm.deal.get at example.bitrix24.com" in str(error)


V3 = "BITRIX_REST_V3_EXCEPTION_"


@pytest.mark.parametrize(
    ("status", "code", "kind", "advice"),
    [
        (403, V3 + "ACCESSDENIEDEXCEPTION", AuthError, "may not do this to this object"),
        (400, V3 + "ACCESSDENIEDEXCEPTION", AuthError, "may not do this to this object"),
        (403, V3 + "INSUFFICIENTSCOPEEXCEPTION", AuthError, "missing permission"),
        (403, V3 + "LICENSEEXCEPTION", PortalBlockedError, "commercial plan"),
        (402, V3 + "RESTUNAVAILABLEEXCEPTION", PortalBlockedError, "commercial plan"),
        (429, V3 + "RATELIMITEXCEPTION", OperationTimeLimitError, "operating time"),
        (404, V3 + "METHODNOTFOUNDEXCEPTION", Bitrix24Error, "without api='v3'"),
        (422, V3 + "IDEMPOTENCYKEYREUSEDEXCEPTION", Bitrix24Error, "take another key"),
        (400, V3 + "INVALIDIDEMPOTENCYKEYEXCEPTION", Bitrix24Error, "another one"),
        (500, V3 + "INTERNAL_INTERNALEXCEPTION", ServerError, "try again later"),
        (400, V3 + "ENTITYNOTFOUNDEXCEPTION", Bitrix24Error, "What the portal says"),
    ],
)
def test_each_error_of_rest3_is_its_own_kind(status, code, kind, advice):
    error = system_error(code, "What the portal says", status, "tasks.task.get", "p")
    assert type(error) is kind
    assert advice in error.description


WRONG = ["NO_AUTH_FOUND", "INVALID_CREDENTIALS", "AUTHORIZATION_ERROR", V3 + "ACCESSDENIEDEXCEPTION"]


@pytest.mark.parametrize("code", WRONG)
def test_a_webhook_that_the_portal_does_not_know_is_mistyped_or_deleted(code):
    error = system_error(code, "", 401, "profile", "p")
    assert type(error) is AuthError
    assert "mistyped, or it was deleted. Compare the connection with the webhook's URL" in error.description
    assert "rights" not in error.description


@pytest.mark.parametrize("code", [*WRONG[:3], "invalid_token", "ERROR_OAUTH"])
def test_an_access_token_that_the_portal_does_not_know_needs_a_new_connection(code):
    error = system_error(code, "", 401, "profile", "p", is_application=True)
    assert type(error) is AuthError
    assert "not one of this portal and application. Connect the application" in error.description


@pytest.mark.parametrize(
    ("code", "description", "status", "advice"),
    [
        ("INVALID_CREDENTIALS", "", 403, "give them to the user"),
        ("ACCESS_ERROR", "", 403, "give them to the user"),
        ("insufficient_scope", "", 403, "Add the missing permission"),
        ("insufficient_scope", "", 401, "Add the missing permission"),
        ("user_access_error", "", 403, "have it given in the application's settings"),
        ("NOT_INSTALLED", "", 401, "was removed. Connect the application"),
        ("APPLICATION_NOT_FOUND", "", 401, "was removed. Connect the application"),
        ("ACCESS_DENIED", "Access denied! Application context required", 403, "only an OAuth application"),
        ("WRONG_AUTH_TYPE", "", 403, "only an OAuth application"),
        ("METHOD_CONFIRM_WAITING", "", 401, "administrator of the portal must confirm"),
        ("METHOD_CONFIRM_DENIED", "", 403, "administrator of the portal has refused"),
        ("ALLOWED_ONLY_INTRANET_USER", "", 403, "use an employee's"),
        ("PORTAL_DELETED", "", 500, "check the address"),
        ("OVERLOAD_LIMIT", "", 503, "support can lift it"),
        ("PAYMENT_REQUIRED", "", 401, "pay for it"),
    ],
)
def test_each_refusal_says_what_to_do_next(code, description, status, advice):
    for is_application in (False, True):
        error = system_error(code, description, status, "profile", "p", is_application=is_application)
        assert advice in error.description
        assert not error.retryable


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (200, "wrong_client", "no application with this client_id"),
        (400, "invalid_client", "client_secret is not that of this client_id"),
        (400, "invalid_grant", "was used before, is older than 180 days"),
        (401, "NOT_INSTALLED", "was removed. Connect the application"),
        (402, "PAYMENT_REQUIRED", "pay for it"),
    ],
)
def test_each_refusal_of_the_authorization_server_says_what_to_do_next(status, code, advice):
    assert advice in authorization_error(code, "", status, "oauth.bitrix.info").description


def test_each_known_code_advises_the_reader():
    assert all(known.advice.endswith(".") for known in SYSTEM_ERRORS.values())


@pytest.mark.parametrize("method", ["profile", *ANSWERS])
@pytest.mark.parametrize(
    "text",
    ["REST API is available only on commercial plans", "Access denied! Available only on extended plans"],
)
def test_a_plan_without_rest_blocks_the_portal_and_says_nothing_of_the_event_token(method, text):
    assert isinstance(system_error("ACCESS_DENIED", text, 403, method, "p"), PortalBlockedError)


@pytest.mark.parametrize("method", ANSWERS)
def test_access_denied_to_an_answer_is_about_its_event_token(method):
    assert type(system_error("ACCESS_DENIED", "Access denied!", 403, method, "p")) is EventTokenError


@pytest.mark.parametrize("method", ANSWERS)
@pytest.mark.parametrize("status", [None, 200, 400, 404, 423, 500])
@pytest.mark.parametrize(
    ("code", "description", "kind"),
    [
        ("404", "Workflow not found", ProcessEndedError),
        ("404", "", ProcessEndedError),
        ("499", "Terminated", ProcessEndedError),
        ("refused", "Empty root activity", ProcessEndedError),
        ("423", "Locked", ProcessLockedError),
    ],
)
def test_what_the_process_is_doing_is_told_by_the_code_whatever_the_status(
    method, status, code, description, kind
):
    error = system_error(code, description, status, method, "p")

    assert type(error) is kind
    assert (error.retryable, error.ambiguous) == (kind is ProcessLockedError, False)
    assert (error.code, error.status) == (code, status)


@pytest.mark.parametrize("code", ["404", "423", "499"])
def test_the_codes_of_processes_mean_nothing_elsewhere(code):
    assert type(system_error(code, "Empty root activity", 400, "crm.deal.get", "p")) is Bitrix24Error


@pytest.mark.parametrize("code", ["402", "ERROR_TARIFF", "refused", "0"])
def test_an_unknown_refusal_of_an_answer_is_not_about_its_event_token(code):
    error = system_error(code, "Not in your tariff", 400, "bizproc.event.send", "p")

    assert type(error) is Bitrix24Error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Bitrix24Error),
        (401, AuthError),
        (429, RateLimitError),
        (500, ServerError),
        (None, Bitrix24Error),
    ],
)
def test_an_unknown_code_is_judged_by_its_status(status, kind):
    assert type(system_error("SOMETHING_NEW", "", status, "m", "p")) is kind


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "ambiguous"),
    [
        (200, TransportError, True, True),
        (401, AuthError, False, False),
        (403, Bitrix24Error, False, False),
        (404, Bitrix24Error, False, False),
        (408, TransportError, True, True),
        (413, Bitrix24Error, False, False),
        (429, OperationTimeLimitError, True, False),
        (500, ServerError, True, True),
        (502, TransportError, True, True),
        (503, RateLimitError, True, False),
        (504, TransportError, True, True),
    ],
)
def test_a_page_instead_of_json_is_judged_by_its_status(status, kind, retryable, ambiguous):
    error = error_by_status(status, "m", "p")

    assert type(error) is kind
    assert (error.retryable, error.ambiguous) == (retryable, ambiguous)


def test_a_batch_that_is_too_large_is_an_error_of_the_batch():
    assert type(error_by_status(413, "batch", "p")) is BatchError


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_request", AuthError),
        ("invalid_client", AuthError),
        ("invalid_grant", AuthError),
        ("invalid_scope", AuthError),
        ("insufficient_scope", AuthError),
        ("PAYMENT_REQUIRED", PortalBlockedError),
        ("something_new", AuthError),
    ],
)
def test_the_authorization_servers_errors_are_final(code, kind):
    error = authorization_error(code, "", 400, "oauth.bitrix.info")

    assert type(error) is kind
    assert not error.retryable


def test_a_dead_refresh_token_says_how_to_reconnect():
    assert "Connect the application to the portal again" in str(
        authorization_error("invalid_grant", "", 400, "o")
    )


def test_an_authorization_server_that_fails_inside_may_be_asked_again():
    assert authorization_error("oops", "", 500, "oauth.bitrix.info").retryable
