"""The enrichment worker: product events and requests in, enriched listings and facts out.

intake reads a record, work says what it asks, projection knows what was applied, verdict decides, assemble
builds what goes out, apply does it in order, lanes keep the order of each product, worker ties it to Kafka.
"""
