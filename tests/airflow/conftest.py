"""What tests need of Airflow: a metadata database and a receiver in this process, or one real Airflow for all."""

from .fixtures.dags import *
from .fixtures.databases import *
from .fixtures.installation import *
from .fixtures.live import *
from .fixtures.receiver import *
from .fixtures.users import *
