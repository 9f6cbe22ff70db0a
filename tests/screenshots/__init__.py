"""The pictures in the documentation: taken in a real browser of a real Airflow, with calls that people recognize."""
