"""Forecasts: a series becomes a row for each moment from which it is forecast."""
