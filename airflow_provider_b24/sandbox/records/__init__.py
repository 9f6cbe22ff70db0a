"""The records of a portal: leads, deals, contacts, companies, smart processes, tasks, employees, departments."""
