"""The bundle and the bento that is built from it."""
