"""Workers: one package a stage, shared Kafka and state parts, settings, metrics, and the command line."""
