"""The bundle of a release, and the bento that is built from it."""
