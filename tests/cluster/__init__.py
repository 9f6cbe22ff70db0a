"""A distributed Airflow on this machine, killed part by part while processes of a portal call its robots."""
