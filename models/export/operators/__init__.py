"""Operators and layers that the converter leaves out, or makes something else of, written in others."""
