"""Who did what, when, from where and why: numbered entries in the store, each with the digest of the one before."""
