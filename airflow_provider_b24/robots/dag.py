"""``@robot_dag``: a DAG that Bitrix24 can call and that answers."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

from airflow_provider_b24.robots.definition import (
    ENVELOPE_KEYS,
    Kind,
    RobotDefinition,
    RobotDefinitionError,
)
from airflow_provider_b24.robots.documentation import documentation_of
from airflow_provider_b24.robots.properties import Property, Text, in_one_language

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

_P = ParamSpec("_P")

_RETRIES = 3
_RETRY_DELAY = dt.timedelta(seconds=10)


def robot_dag(
    *,
    code: str,
    name: Text,
    properties: Mapping[str, Property] | None = None,
    return_properties: Mapping[str, Property] | None = None,
    on_failure: Mapping[str, Any] | None = None,
    kind: Kind = "robot",
    bitrix24_conn_id: str = "bitrix24_default",
    description: Text | None = None,
    use_subscription: bool = True,
    auth_user_id: int | None = None,
    document_type: Sequence[str] | None = None,
    filter: Mapping[str, Sequence[Any]] | None = None,  # noqa: A002 - Bitrix24's word
    use_placement: bool = False,
    placement_handler: str | None = None,
    answer_before_limit: bool | dt.timedelta | None = None,
    **dag_kwargs: Any,
) -> Callable[[Callable[_P, Any]], Callable[_P, DAG]]:
    """Turn a function into a DAG that a robot or workflow action of Bitrix24 starts, as ``@dag`` does.

    What the function returns is the answer: the XCom of a task (a mapping of return properties), or a mapping
    whose values are XComs, templates or literals. When it returns nothing, the process is told to go on. A task
    ``reply`` sends the answer as soon as the tasks are done whose results it holds; with templates among the
    values, or without any value, as soon as all tasks are done. It is the only task that is added, it has priority
    over all work that has not begun, and the DAG's ``default_args`` do not reach it.

    When ``reply`` does not answer, because a task or the whole run failed, was marked by hand, deleted, or took longer
    than ``dagrun_timeout``, the dispatcher sends the process ``on_failure`` and a line for its log.

    The properties become DAG params: in a task ``{{ params.model }}``, or ``RobotCall.from_context()`` for
    everything that Bitrix24 said. The DAG can be started by hand from Airflow's form, too; then nothing is sent.

    Tasks are retried three times, 10 seconds apart, where neither they nor ``default_args`` say otherwise: a worker
    that is lost must not cost the process its answer. ``[core] default_task_retries`` is kept where it is set.

    A skipped task does not skip the answer, except with ``fail_fast``, which allows no other rule.

    New robots are not paused, whatever Airflow's default: calls to a paused DAG wait until it is unpaused, and the
    processes with them. ``is_paused_upon_creation=True`` says otherwise.

    :param code: id of the robot within the application: A-Z, a-z, 0-9, dot, hyphen, underscore.
    :param name: what people see in the designer; a text, or one for each language.
    :param properties: inputs, by key: a letter, then letters, digits, underscores.
    :param return_properties: outputs, by key.
    :param on_failure: values to answer with when the run has no answer in time, by key of a return property.
    :param kind: ``robot`` (automation rule) or ``activity`` (workflow action).
    :param bitrix24_conn_id: the Airflow connection of the portal.
    :param description: help text in the designer; a text, or one for each language. A text also describes the DAG.
    :param use_subscription: whether the process waits; with ``False`` nothing is ever sent.
    :param auth_user_id: the user whose tokens Bitrix24 sends along.
    :param document_type: three parts, such as ``("crm", "CCrmDocumentLead", "LEAD")``.
    :param filter: where the robot is offered: ``{"INCLUDE": [["crm", "CCrmDocumentDeal"]]}``.
    :param use_placement: whether the application shows settings of its own.
    :param placement_handler: address of these settings.
    :param answer_before_limit: whether a process with a time limit gets ``on_failure`` before the limit is over, or
        how long before. By default it does where ``on_failure`` has values: 40 seconds before, a fifth of the limit
        where that is more, at most five minutes, and never more than half of the limit. Otherwise Bitrix24 goes on by
        itself when the limit is over, and sets the step's output ``IsTimeout``.
    :param dag_kwargs: every argument of ``@dag``; ``params`` and ``tags`` are added to the robot's. Display name,
        description and documentation are made from the robot where they are not given.
    :raises RobotDefinitionError: naming the DAG file, the robot and the property, for whatever Bitrix24 would not
        accept or no call could fill in.

    Source: https://apidocs.bitrix24.com/api-reference/bizproc/bizproc-robot/bizproc-robot-add.html
    """
    definition = RobotDefinition(
        code=code,
        name=name,
        kind=kind,
        properties=properties or {},
        return_properties=return_properties or {},
        on_failure=on_failure or {},
        description=description,
        use_subscription=use_subscription,
        auth_user_id=auth_user_id,
        document_type=document_type,
        filter=filter,
        use_placement=use_placement,
        placement_handler=placement_handler,
        bitrix24_conn_id=bitrix24_conn_id,
        answer_before_limit=(
            answer_before_limit.total_seconds()
            if isinstance(answer_before_limit, dt.timedelta)
            else answer_before_limit
        ),
    )

    def decorate(function: Callable[_P, Any]) -> Callable[_P, DAG]:
        from airflow.sdk import dag

        try:
            definition.validate()
            arguments = _dag_arguments(definition, dag_kwargs)
        except ValueError as error:
            raise _error(function, definition, error) from None
        factory: Callable[_P, DAG] = dag(**arguments)(_building(function, definition))  # type: ignore[no-untyped-call]
        return factory

    return decorate


def _building(function: Callable[_P, Any], definition: RobotDefinition) -> Callable[_P, Any]:
    """Make the function also build what answers.

    Airflow's own factory stays outermost: it looks for the DAG file in the frame that called it.
    """

    @functools.wraps(function)
    def build(*args: _P.args, **kwargs: _P.kwargs) -> Any:
        from airflow.providers.common.compat.sdk import TriggerRule

        from airflow_provider_b24._airflow.dag_building import without_default_args
        from airflow_provider_b24.robots.reply import RobotReplyOperator

        answer = function(*args, **kwargs)
        try:
            return_values = _return_values(answer, definition)
            with without_default_args() as dag:
                reply = RobotReplyOperator(
                    robot=definition,
                    return_values=return_values,
                    # Skipped tasks must not skip the answer; a DAG that fails fast allows no other rule than this.
                    trigger_rule=TriggerRule.ALL_SUCCESS if dag.fail_fast else TriggerRule.NONE_FAILED,
                )
            if not _names_its_tasks(return_values):
                _after_all(dag, reply)
            _check_params(dag, definition)
        except ValueError as error:
            raise _error(function, definition, error) from None
        return answer

    return build


def _return_values(answer: object, definition: RobotDefinition) -> Any:
    from airflow.sdk import BaseOperator, XComArg

    if answer is None:
        if required := [key for key, prop in definition.return_properties.items() if prop.required]:
            raise ValueError(
                f"return property {required[0]!r} is required, but the function returns no answer"
            )
        return None
    if not definition.return_properties:
        raise ValueError("the function returns an answer, but return_properties does not say what is in it")
    if isinstance(answer, BaseOperator):
        return answer.output
    if isinstance(answer, Mapping):
        definition.answer(dict.fromkeys(answer.keys() - definition.return_properties.keys()), complete=False)
        if missing := [
            key for key, prop in definition.return_properties.items() if prop.required and key not in answer
        ]:
            raise ValueError(f"return property {missing[0]!r} is required, but the answer does not have it")
        return {
            key: value.output if isinstance(value, BaseOperator) else value for key, value in answer.items()
        }
    if isinstance(answer, (XComArg, str)):
        return answer
    raise ValueError(
        "the function must return a task's result, a mapping of return properties, or nothing, "
        f"not {answer!r}"
    )


def _names_its_tasks(return_values: Any) -> bool:
    """Tell whether the answer waits for the right tasks by itself: a template pulls from tasks unnoticed."""
    from airflow.sdk import XComArg

    values = return_values.values() if isinstance(return_values, Mapping) else [return_values]
    return any(True for value in values for _ in XComArg.iter_xcom_references(value)) and not any(
        isinstance(value, str) and "{" in value for value in values
    )


def _after_all(dag: DAG, reply: BaseOperator) -> None:
    """Let the answer wait for the last task of each path; what tears down comes later."""
    for task in dag.tasks:
        if (
            task is not reply
            and not task.is_teardown
            and all(after.is_teardown for after in task.downstream_list)
        ):
            task.set_downstream(reply)


def _check_params(dag: DAG, definition: RobotDefinition) -> None:
    """Refuse params that no call could fill in: the tasks would fail in every run, and the failure answer, too."""
    from airflow.providers.common.compat.sdk import ParamValidationError

    for params in (dag.params, *(task.params for task in dag.tasks)):
        for key in params:
            if key in ENVELOPE_KEYS:
                raise ValueError(f"param {key!r}: a call has a field of this name already; choose another")
            if key in definition.properties:
                continue
            try:
                params[key]
            except (ValueError, ParamValidationError) as error:  # the one is the other since Airflow 3.3
                raise ValueError(
                    f"param {key!r} needs a default that fits its schema, because Bitrix24 does not know it: "
                    f"{error}"
                ) from None


def _dag_arguments(definition: RobotDefinition, dag_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Merge what the robot needs of ``@dag`` with what the author wants."""
    arguments: dict[str, Any] = {
        "schedule": None,
        "catchup": False,
        "is_paused_upon_creation": False,
        **dag_kwargs,
    }
    arguments["tags"] = {"bitrix24", *(dag_kwargs.get("tags") or ())}
    arguments["default_args"] = _retries() | dict(dag_kwargs.get("default_args") or {})
    if definition.description is not None:
        arguments.setdefault("description", in_one_language(definition.description))
    own = dict(dag_kwargs.get("params") or {})
    if both := own.keys() & definition.properties.keys():
        raise ValueError(f"property {min(both)!r} is a param already, leave it out of params")
    arguments["params"] = {key: prop.to_param() for key, prop in definition.properties.items()} | own
    arguments.setdefault("dag_display_name", in_one_language(definition.name))
    arguments.setdefault("doc_md", documentation_of(definition))
    return arguments


def _retries() -> dict[str, Any]:
    """How often a task is tried again by default: Airflow's own default is never, and its pause five minutes."""
    from airflow.providers.common.compat.sdk import conf

    retries = conf.getint("core", "default_task_retries", fallback=0) or _RETRIES
    return {"retries": retries, "retry_delay": _RETRY_DELAY}


def _error(
    function: Callable[..., Any], definition: RobotDefinition, error: ValueError
) -> RobotDefinitionError:
    code = getattr(function, "__code__", None)
    file = code.co_filename if code else "unknown file"
    return RobotDefinitionError(f"{file}: robot {definition.code!r}: {error}")
