"""A workflow action that writes a document and gives it back as a file.

`kind="activity"` registers it for the workflow designer instead of CRM automation. A file is returned as its name
and its content in base64; a step after it can save it in a field of the document.
"""

import base64

from airflow.sdk import task

from airflow_provider_b24.robots import Property, RobotCall, robot_dag


@robot_dag(
    kind="activity",
    code="example_make_offer",
    name={"en": "Write the offer", "de": "Angebot schreiben"},
    properties={
        "customer": Property.string("Customer", required=True),
        "positions": Property.string("Positions", multiple=True, required=True),
        "valid_until": Property.date("Valid until"),
    },
    return_properties={"offer": Property.file("Offer"), "remark": Property.text("Remark")},
    on_failure={"remark": "the offer could not be written"},
)
def example_bitrix24_make_offer():
    @task
    def write():
        call = RobotCall.from_context()
        asked = call.properties
        lines = [f"Offer for {asked.customer}", *(f"- {position}" for position in asked.positions)]
        if asked.valid_until:
            lines.append(f"Valid until {asked.valid_until}")
        content = base64.b64encode("\n".join(lines).encode()).decode()
        return {"offer": [f"offer_{call.document.id}.txt", content]}

    return write()


example_bitrix24_make_offer()
