"""The demo: its input (listings, completejourney, simulator, bad records), the replay, and what it shows."""
