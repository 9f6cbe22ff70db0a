"""Scores a lead by its budget and where it comes from."""

from airflow.sdk import task

from airflow_provider_b24.robots import Property, RobotCall, robot_dag


@robot_dag(
    code="score_lead",
    name={"en": "Score a lead", "de": "Lead bewerten"},
    description="Rates a lead from 0 to 100 by its budget and its source.",
    bitrix24_conn_id="crm",
    properties={
        "title": Property.string("Lead", required=True, description="What the lead is called."),
        "budget": Property.double("Budget", required=True, description="In euros."),
        "source": Property.select("Source", {"fair": "Trade fair", "web": "Web form"}, default="web"),
    },
    return_properties={"score": Property.int("Score"), "verdict": Property.string("Verdict")},
    on_failure={"verdict": "not scored"},
)
def score_lead():
    @task
    def score():
        lead = RobotCall.from_context().properties
        points = min(int(lead.budget / 1000), 80) + (20 if lead.source == "fair" else 0)
        return {"score": points, "verdict": "hot" if points >= 50 else "cold"}

    return score()


score_lead()
