"""Write the months of the churn project: Parquet with a timestamp, a dictionary, a decimal, counts with nulls, a bool.

python make_data.py FOLDER [ROWS]
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEGMENTS = ["consumer", "small_business", "enterprise", "public", "student"]
LEAVING = np.array([0.5, 0.1, -0.8, -0.5, 0.8])  # log-odds of each segment
MONTHS, ROWS = 9, 800


def month(number: int, rows: int) -> pa.Table:
    """One month, 1 to 9, the same each time."""
    random = np.random.default_rng(number)
    segment = random.choice(5, rows, p=[0.45, 0.2, 0.1, 0.1, 0.15])
    amount = np.exp(random.normal(3.4, 0.9, rows)).round(2)
    visits = random.poisson(4, rows)
    known = random.random(rows) > 0.08
    seconds = np.sort(random.integers(0, 28 * 86_400, rows))
    start = datetime(2025, number, 1)
    signup = [start + timedelta(seconds=int(one)) for one in seconds]
    weekend = np.array([moment.weekday() >= 5 for moment in signup])
    odds = LEAVING[segment] - 0.55 * (np.log(amount) - 3.4) - 0.17 * (visits - 4) + 0.3 * weekend - 0.25
    churned = random.random(rows) < 1 / (1 + np.exp(-odds))
    return pa.table(
        {
            "customer_id": pa.array(number * 100_000 + np.arange(rows)),
            "signup_date": pa.array(signup, pa.timestamp("us")),
            "segment": pa.array([SEGMENTS[place] for place in segment]).dictionary_encode(),
            "plan": pa.array(random.choice(["basic", "plus", "pro"], rows)).dictionary_encode(),
            "amount": pa.array([Decimal(f"{one:.2f}") for one in amount], pa.decimal128(10, 2)),
            "visits": pa.array(
                [int(one) if there else None for one, there in zip(visits, known, strict=True)]
            ),
            "churned": pa.array(churned),
        }
    )


def write(folder: Path, rows: int = ROWS) -> None:
    """Write all months below `folder / 2025`."""
    (folder / "2025").mkdir(parents=True, exist_ok=True)
    for number in range(1, MONTHS + 1):
        pq.write_table(month(number, rows), folder / "2025" / f"2025-{number:02}.parquet")


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:]))
