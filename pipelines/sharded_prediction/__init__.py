"""Batch prediction in shards: many files to predictions in a folder or bucket, here or as an Indexed Job of a cluster.

All state lies in the output: `_batch/plan.json` claims it, `_batch/done/N.json` says that a shard is finished,
`_batch/failed/N.json` why one is not. `_manifest.json` and then `_SUCCESS` make it complete.
"""
