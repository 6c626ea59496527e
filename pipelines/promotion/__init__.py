"""A release goes from one target to another: carried, proved there again, and given the traffic."""
