"""Makes snapshot files: a simulated laser with labelled anomalies, or recorded images packed."""
