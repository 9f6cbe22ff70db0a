"""Notifiers: what a DAG's callbacks and deadlines tell a waiting process."""
