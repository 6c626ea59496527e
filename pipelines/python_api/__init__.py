"""The Python API, `import tidegate`: typed objects over the functions that the commands call."""
