"""Pages in Airflow's UI: what people see of calls, and do about them."""
