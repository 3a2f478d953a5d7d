"""The profiles stage: behaviour joined with listing facts into user profiles and user features."""
