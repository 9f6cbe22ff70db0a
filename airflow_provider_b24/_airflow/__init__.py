"""The only rooms that touch what Airflow does not promise: one module for each concern, with its versions."""
