"""The `encoder` model on Triton."""
