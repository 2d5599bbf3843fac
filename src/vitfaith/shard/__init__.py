"""The shard stage: datasets read, chosen from and dealt into Parquet files."""
