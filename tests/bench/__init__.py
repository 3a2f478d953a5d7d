"""Throughput of each worker against a raw aiokafka pass-through, interleaved on one broker. No assertions on time."""
