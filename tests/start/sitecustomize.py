"""What every Python process that a test starts does first, as this folder is on its path."""

import gc

# Airflow makes so many objects while it starts that an eighth of the time goes into looking for garbage among them.
gc.set_threshold(50_000, 20, 20)
