"""Robots as code: DAGs that Bitrix24's automation rules and workflow actions start, and that answer them."""

from __future__ import annotations

from airflow_provider_b24.robots.call import RobotCall
from airflow_provider_b24.robots.dag import robot_dag
from airflow_provider_b24.robots.properties import Property

__all__ = ["Property", "RobotCall", "robot_dag"]
