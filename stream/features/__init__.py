"""The features worker: windows of each item over behaviour-by-product, kept as tiles of event time."""
