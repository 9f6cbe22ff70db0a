"""A Variable that could not be read is not taken for one that is not there."""

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult

from airflow_provider_b24._airflow.variables import read_variable
from airflow_provider_b24.hooks.connection import PortalConnection
from airflow_provider_b24.hooks.tokens import VariableTokenStore
from airflow_provider_b24.rest.credentials import OAuthApp, Tokens

KEY = "bitrix24_tokens_crm"


class Supervisor:
    """What a task asks instead of the API server."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def send(self, message):
        self.asked.append(message)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def supervised(monkeypatch):
    def answer(outcome):
        supervisor = Supervisor(outcome)
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
        return supervisor

    return answer


def error(kind):
    return ErrorResponse(error=kind, detail={"key": KEY})


def test_a_variable_is_read(supervised):
    supervised(VariableResult(key=KEY, value="stored"))

    assert read_variable(KEY) == "stored"


@pytest.mark.parametrize(
    "outcome",
    [
        error(ErrorType.VARIABLE_NOT_FOUND),
        AirflowRuntimeError(error(ErrorType.VARIABLE_NOT_FOUND)),
    ],
)
def test_a_variable_that_is_not_there_is_none(supervised, outcome):
    supervisor = supervised(outcome)

    assert read_variable(KEY) is None
    assert any(isinstance(message, GetVariable) for message in supervisor.asked)


@pytest.mark.parametrize(
    "outcome",
    [
        error(ErrorType.API_SERVER_ERROR),
        AirflowRuntimeError(error(ErrorType.API_SERVER_ERROR)),
        ConnectionResetError("the supervisor is gone"),
    ],
)
def test_an_api_server_that_is_away_does_not_mean_that_there_is_no_variable(supervised, outcome):
    supervised(outcome)

    with pytest.raises((AirflowRuntimeError, RuntimeError, ConnectionResetError)):
        read_variable(KEY)


def test_tokens_that_cannot_be_read_are_not_replaced_by_those_of_the_connection(supervised):
    supervised(AirflowRuntimeError(error(ErrorType.API_SERVER_ERROR)))
    connection = PortalConnection(
        "crm", OAuthApp("https://example.bitrix24.com", "app.1", "secret"), Tokens("spent", "spent-too")
    )

    with pytest.raises(AirflowRuntimeError):
        VariableTokenStore(connection).load()
    with pytest.raises(AirflowRuntimeError):
        VariableTokenStore(connection).store(Tokens("new", "new-too"))


def test_a_database_that_is_away_does_not_mean_that_there_is_no_variable(monkeypatch):
    from airflow.secrets.metastore import MetastoreBackend
    from sqlalchemy.exc import OperationalError

    def away(*_args, **_kwargs):
        raise OperationalError("SELECT", {}, Exception("away"))

    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    monkeypatch.setattr(MetastoreBackend, "get_variable", away)

    with pytest.raises(OperationalError):
        read_variable(KEY)
