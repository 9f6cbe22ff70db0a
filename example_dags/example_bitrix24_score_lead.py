"""A robot that computes its answer in one task.

The function's properties and return properties are what people see in Bitrix24's designer.
What the DAG returns is the answer; if it fails, the process goes on with what `on_failure` says.
"""

from airflow.sdk import task

from airflow_provider_b24.robots import Property, RobotCall, robot_dag


@robot_dag(
    code="example_score_lead",
    name={"en": "Score the lead", "de": "Lead bewerten"},
    properties={
        "budget": Property.double("Budget", required=True),
        "source": Property.select("Source", {"fair": "Trade fair", "web": "Web form"}, default="web"),
    },
    return_properties={"score": Property.int("Score"), "verdict": Property.string("Verdict")},
    on_failure={"verdict": "not scored"},
)
def example_bitrix24_score_lead():
    @task
    def score():
        lead = RobotCall.from_context().properties
        points = min(int(lead.budget / 1000), 80) + (20 if lead.source == "fair" else 0)
        return {"score": points, "verdict": "hot" if points >= 50 else "cold"}

    return score()


example_bitrix24_score_lead()
