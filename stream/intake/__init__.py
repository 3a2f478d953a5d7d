"""Records from files: rows read, checked as a worker would check them, and made ready to send."""
