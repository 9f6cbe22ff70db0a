"""From an Airflow connection to a Bitrix24 client."""
