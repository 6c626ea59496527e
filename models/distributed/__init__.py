"""Devices, and several processes or devices that train one model."""
