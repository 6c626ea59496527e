"""The arguments of `predict`. Imports only argparse."""

from tidegate.pipelines.run_arguments import Add


def predict_command(add: Add) -> None:
    """Add the command."""
    predict = add(
        "predict",
        "prediction.predict:predict",
        "predict rows with an endpoint, one or a million",
        "tidegate predict digits --input rows.csv --output predictions.csv",
    )
    predict.add_argument("name", metavar="NAME", help="an endpoint, or the URL of one that others deployed")
    predict.add_argument(
        "--input",
        dest="source",
        action="append",
        metavar="FILE",
        help="rows as .csv, .parquet, .json, .jsonl, .npz or .npy, an image or a folder of images, a text file or a "
        "folder of texts; repeatable for images and texts; without it, or with -, JSON is read from stdin; with "
        "--shards any number of files, folders, patterns and s3://, gs:// or az:// URLs",
    )
    predict.add_argument(
        "--csv",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="how a .csv is written: delimiter, decimal, thousands, quote, encoding or missing (default: found out, "
        "and said where it is not the usual one); repeatable",
    )
    predict.add_argument(
        "--output",
        metavar="FILE",
        help="write predictions to this .csv or .jsonl, as they come; with --shards to this folder, or s3://, gs:// or "
        "az:// URL",
    )
    predict.add_argument(
        "--format",
        choices=["csv", "jsonl"],
        help="format of --output (default: by its suffix; with --shards jsonl)",
    )
    predict.add_argument(
        "--offline",
        action="store_true",
        help="predict here, from the live release's bundle (or NAME, a bundle's folder), without a server",
    )
    predict.add_argument(
        "--key-file",
        metavar="FILE",
        help="file whose first line is the endpoint's API key (default: $TIDEGATE_API_KEY)",
    )
    predict.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="predict from the release's bundle in N parts, each of which is done once however often the command is "
        "given; with --target a pod each",
    )
    predict.add_argument(
        "--release",
        type=int,
        metavar="N",
        help="with --offline or --shards, this release (default: the live one)",
    )
    predict.add_argument(
        "--detach",
        action="store_true",
        help="with --shards and --target, return as soon as the pods' Job is there",
    )
    predict.add_argument(
        "--cpu", type=float, metavar="N", help="of such a pod (default: as serving.resources, at least 1)"
    )
    predict.add_argument(
        "--memory", metavar="SIZE", help="of such a pod (default: as serving.resources, at least 2Gi)"
    )
    predict.add_argument(
        "--parallel", type=int, metavar="N", help="such pods at once, where there is room (default: 32)"
    )
