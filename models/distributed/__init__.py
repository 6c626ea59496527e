"""Devices, and training of one model on several devices or by several processes."""
