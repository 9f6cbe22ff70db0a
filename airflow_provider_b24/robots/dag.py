"""``@robot_dag``: a DAG that Bitrix24 can call and that answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

from airflow_provider_b24.robots.definition import (
    ENVELOPE_KEYS,
    Kind,
    RobotDefinition,
    RobotDefinitionError,
)
from airflow_provider_b24.robots.properties import Property, Text, in_one_language

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator, Context

_P = ParamSpec("_P")


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
    **dag_kwargs: Any,
) -> Callable[[Callable[_P, Any]], Callable[_P, DAG]]:
    """Turn a function into a DAG that a robot or workflow action of Bitrix24 starts, as ``@dag`` does.

    What the function returns is the answer: the XCom of a task (a mapping of return properties), or a mapping
    whose values are XComs, templates or literals. When it returns nothing, the process is told to go on. A task
    ``reply`` sends the answer as soon as the tasks are done whose results it holds; with templates among the
    values, or without any value, as soon as all tasks are done.

    When ``reply`` does not answer, because a task or the whole run failed, was marked failed or skipped by hand, or
    took longer than ``dagrun_timeout``, the process gets ``on_failure`` and a line for its log, from the task
    ``reply_on_failure``. It gets it, too, shortly before it would lose its patience (Airflow 3.2 and newer). The task
    ``robot_call`` does nothing; its XComs say who has answered.

    The properties become DAG params: in a task ``{{ params.model }}``, or ``RobotCall.from_context()`` for
    everything that Bitrix24 said. The DAG can be started by hand from Airflow's form, too; then nothing is sent.

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
    :param dag_kwargs: every argument of ``@dag``. ``params``, ``on_failure_callback`` and ``deadline`` are added to the
        robot's.
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

        from airflow_provider_b24.robots.reply import RobotReplyOperator

        answer = function(*args, **kwargs)
        try:
            return_values = _return_values(answer, definition)
            reply = RobotReplyOperator(robot=definition, return_values=return_values)
            dag = reply.dag
            # Skipped tasks must not skip the answer; a DAG that fails fast allows no other rule than the default.
            reply.trigger_rule = TriggerRule.ALL_SUCCESS if dag.fail_fast else TriggerRule.NONE_FAILED
            if not _names_its_tasks(return_values):
                _after_all(dag, reply)
            _check_params(dag, definition)
        except ValueError as error:
            raise _error(function, definition, error) from None
        for task in dag.tasks:
            _guard(task)
        if definition.use_subscription:
            _answer_in_any_case(reply, definition)
            _make_testable(dag)
        return answer

    return build


def _make_testable(dag: DAG) -> None:
    """Keep from ``dag.test()``, and so from ``airflow dags test``, what it cannot handle.

    It looks deadlines up in the database, where it has not put them, and it gives a failure callback no conf of the
    run. Neither is missed there: nobody waits for the answer of a test.
    """
    test = dag.test

    @functools.wraps(test)
    def test_without_callers(*args: Any, **kwargs: Any) -> Any:
        from airflow_provider_b24.robots.failure import RobotFailureNotifier

        deadline, callbacks = dag.deadline, dag.on_failure_callback
        own = [
            callback
            for callback in (callbacks if isinstance(callbacks, list) else [callbacks])
            if callback is not None and not isinstance(callback, RobotFailureNotifier)
        ]
        dag.deadline, dag.on_failure_callback, dag.has_on_failure_callback = None, own or None, bool(own)
        try:
            return test(*args, **kwargs)
        finally:
            dag.deadline, dag.on_failure_callback, dag.has_on_failure_callback = deadline, callbacks, True

    dag.test = test_without_callers  # type: ignore[method-assign]


def _answer_in_any_case(reply: BaseOperator, definition: RobotDefinition) -> None:
    """Add what answers when ``reply`` does not, and where it is noted who has."""
    from airflow.providers.standard.operators.empty import EmptyOperator

    from airflow_provider_b24.robots.answers import CALL_TASK_ID
    from airflow_provider_b24.robots.failure import RobotFailureReplyOperator

    call = EmptyOperator(
        task_id=CALL_TASK_ID,
        doc_md="The call that started this run. It does nothing; its XComs say who has answered the call, and when.",
        # With any of these the task would need a worker.
        on_execute_callback=None,
        on_success_callback=None,
        inlets=None,
        outlets=None,
    )
    failure_reply = RobotFailureReplyOperator(robot=definition).as_teardown(on_failure_fail_dagrun=False)
    call.set_downstream(reply)
    reply.set_downstream(failure_reply)


def _return_values(answer: object, definition: RobotDefinition) -> Any:
    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.xcom_arg import XComArg

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
    from airflow.sdk.definitions.xcom_arg import XComArg

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
    for params in (dag.params, *(task.params for task in dag.tasks)):
        for key in params:
            if key in ENVELOPE_KEYS:
                raise ValueError(f"param {key!r}: a call has a field of this name already; choose another")
            if key in definition.properties:
                continue
            try:
                params[key]
            except ValueError as error:
                raise ValueError(
                    f"param {key!r} needs a default that fits its schema, because Bitrix24 does not know it: "
                    f"{error}"
                ) from None


def _guard(task: Any) -> None:
    """Put the check of the call before whatever the task does before it runs."""
    if hasattr(task, "partial_kwargs"):
        own = task.partial_kwargs.get("pre_execute")
        task.partial_kwargs["pre_execute"] = _both(own)
    else:
        task._pre_execute_hook = _both(task._pre_execute_hook)


def _both(own: Callable[[Context], Any] | None) -> Callable[[Context], Any]:
    from airflow_provider_b24.robots.reply import refuse_unfit_call

    if own is None:
        return refuse_unfit_call

    def pre_execute(context: Context) -> None:
        refuse_unfit_call(context)
        own(context)

    return pre_execute


def _dag_arguments(definition: RobotDefinition, dag_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Merge what the robot needs of ``@dag`` with what the author wants."""
    arguments: dict[str, Any] = {
        "schedule": None,
        "catchup": False,
        "is_paused_upon_creation": False,
        **dag_kwargs,
    }
    arguments["tags"] = {"bitrix24", *(dag_kwargs.get("tags") or ())}
    if definition.description is not None:
        arguments["description"] = in_one_language(definition.description)
    own = dict(dag_kwargs.get("params") or {})
    if both := own.keys() & definition.properties.keys():
        raise ValueError(f"property {min(both)!r} is a param already, leave it out of params")
    arguments["params"] = {key: prop.to_param() for key, prop in definition.properties.items()} | own
    if definition.use_subscription:
        from airflow_provider_b24.robots.failure import RobotFailureNotifier

        callbacks = dag_kwargs.get("on_failure_callback") or []
        answer = RobotFailureNotifier(
            return_values=definition.answer(definition.on_failure, complete=False),
            bitrix24_conn_id=definition.bitrix24_conn_id,
        )
        arguments["on_failure_callback"] = [
            answer,
            *(callbacks if isinstance(callbacks, list) else [callbacks]),
        ]
        _add_deadline(arguments, definition)
    return arguments


def _add_deadline(arguments: dict[str, Any], definition: RobotDefinition) -> None:
    from airflow_provider_b24.robots.deadline import deadline_of, is_supported

    if is_supported():
        own = arguments.get("deadline") or []
        arguments["deadline"] = [
            *(own if isinstance(own, list) else [own]),
            deadline_of(definition, arguments.get("dagrun_timeout")),
        ]


def _error(
    function: Callable[..., Any], definition: RobotDefinition, error: ValueError
) -> RobotDefinitionError:
    code = getattr(function, "__code__", None)
    file = code.co_filename if code else "unknown file"
    return RobotDefinitionError(f"{file}: robot {definition.code!r}: {error}")
