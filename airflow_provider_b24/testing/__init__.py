"""What people need who test their own DAGs: pytest fixtures, and a real Airflow for one machine.

In your `conftest.py`::

    pytest_plugins = ["airflow_provider_b24.testing"]

The fixtures are in :mod:`~airflow_provider_b24.testing.fixtures`, and `LocalAirflow` in
:mod:`~airflow_provider_b24.testing.local_airflow`, which needs no pytest.
"""

pytest_plugins = ("airflow_provider_b24.testing.fixtures",)
"""Pytest loads what a plugin names here; nobody else imports the fixtures, and with them pytest."""
