"""Packed pods: one pod of a cluster runs several trials, one after the other, from one fork server."""
