"""`airflow-b24 dev`: the robots of one machine at a real portal, through a tunnel."""
