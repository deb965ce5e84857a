"""Tables of shots: columns, Parquet files and searches. Pure (ADRs 49, 50, 55 and 58)."""
