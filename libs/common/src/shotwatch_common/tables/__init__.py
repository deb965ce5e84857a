"""Day tables: the shots of a place as columns, in Parquet files in the object store (ADR 49)."""
