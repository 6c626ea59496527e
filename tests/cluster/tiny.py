"""The smallest experiment of a cluster's tests, with data of its own."""

from pathlib import Path


def write_experiment(folder: Path, name: str, more: str = "", rows: int = 120, period: int = 17) -> Path:
    """Write an experiment file and its data; the file's path.

    Args:
        folder: where they go.
        name: of the experiment.
        more: keys at the end of the file.
        rows, period: of the data; others are other data.
    """
    lines = [f"{at % period},{at % 5},{'yes' if at % period > 8 else 'no'}" for at in range(rows)]
    (folder / "rows.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    file = folder / "experiment.yaml"
    file.write_text(f"""
name: {name}
data: {{source: ./rows.csv, target: y}}
model: {{family: linear}}
training: {{backend: numpy, epochs: 2, optimizer: {{name: sgd, learning_rate: 0.1}}}}
gate: none
{more}
""")
    return file
