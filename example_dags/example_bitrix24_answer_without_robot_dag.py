"""An ordinary DAG that answers a process: for calls that reach Airflow on a way of their own.

Someone else's program has received the robot's call (a message queue, a gateway) and starts a run of this DAG with
`{"order": {"token": EVENT_TOKEN, "amount": 1250}}`. The operator takes the token and the values from any task's XCom.
"""

from airflow.sdk import dag, get_current_context, task

from airflow_provider_b24.operators.bizproc import BizprocActivityLogOperator, BizprocEventSendOperator


@dag(schedule=None, tags=["bitrix24"])
def example_bitrix24_answer_without_robot_dag():
    @task(multiple_outputs=True)
    def decide():
        order = get_current_context()["dag_run"].conf["order"]
        return {
            "token": order["token"],
            "answer": {"approved": order["amount"] <= 2000, "limit": 2000},
        }

    decision = decide()
    note = BizprocActivityLogOperator(
        task_id="note",
        event_token=decision["token"],
        log_message="Checked by {{ dag.dag_id }} against a limit of {{ ti.xcom_pull('decide')['answer']['limit'] }}",
    )
    answer = BizprocEventSendOperator(
        task_id="answer",
        event_token=decision["token"],
        return_values=decision["answer"],
        retries=3,
    )
    note >> answer


example_bitrix24_answer_without_robot_dag()
