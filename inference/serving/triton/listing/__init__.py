"""The `listing` model on Triton."""
