"""Hourly weather of a station, made up, and windows of it: what was measured, and the temperatures that follow."""

import numpy as np

BEFORE, AHEAD = 24, 6  # hours


def load(hours, seed=0):
    """Windows in the order of time: `past` (rows, 24, 2) and `next` (rows, 6)."""
    series = weather(hours, np.random.default_rng(seed))
    starts = np.arange(hours - BEFORE - AHEAD)
    past = series[starts[:, None] + np.arange(BEFORE)]
    ahead = series[starts[:, None] + BEFORE + np.arange(AHEAD), 0]
    return {"past": past.astype(np.float32), "next": ahead.astype(np.float32)}


def weather(hours, random):
    """Temperature in degrees and pressure in hPa: each day's wave, and slow changes that the pressure announces."""
    change = np.zeros(hours)
    for hour in range(1, hours):
        change[hour] = 0.97 * change[hour - 1] + random.normal(scale=0.3)
    wave = 5 * np.sin(2 * np.pi * np.arange(hours) / 24)
    temperature = 12 + wave + change + random.normal(scale=0.2, size=hours)
    pressure = 1013 - 2 * np.roll(change, -AHEAD) + random.normal(scale=0.2, size=hours)
    return np.stack([temperature, pressure], axis=1)
