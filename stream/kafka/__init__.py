"""Shared Kafka parts: clients, topics, the publisher and its fence, dead letters, offsets, and the watches."""
