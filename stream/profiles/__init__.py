"""Profiles: what is known of each user, built from behaviour joined with the facts of the listings it names."""
