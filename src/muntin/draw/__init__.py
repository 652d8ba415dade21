"""A picture and an answer become a picture: one file an answer type."""
