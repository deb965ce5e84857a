"""The main task on the embedded stack, from files to events, with a check of the totals at the end."""
