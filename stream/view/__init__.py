"""Records for people: one readable line for a record of any topic, and a reader that follows topics."""
