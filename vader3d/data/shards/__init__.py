"""Archives in tar shards, streamed from anywhere."""
