"""Models: the encoder, its task heads, how they are trained, built and served, and the client that calls them."""
