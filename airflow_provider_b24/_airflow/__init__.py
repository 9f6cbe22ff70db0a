"""The only rooms that touch what Airflow does not promise: its ORM, its internals, its auth manager."""
