"""``frostbert similar``: a run's texts most like those that are asked for, or how alike these are."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import label_text
from pipeline.errors import word as readable
from tasks.inventory import Inventory

if TYPE_CHECKING:
    from pipeline.predictor.matrix import SimilarityMatrix
    from pipeline.predictor.predictor import Predictor
    from pipeline.predictor.similar import SimilarText

LIMIT = 160  # characters shown of a text


def similar(root: Path, run: str, queries: Sequence[str], top: int) -> Iterator[str]:
    """Yield lines: each query, and the texts of a run's data set that are most like it.

    Parameters
    ----------
    root : Path
        The artifacts folder.
    run : str
        A folder of ``runs``, or ``latest``.
    queries : sequence of str
    top : int
        Texts a query.

    Raises
    ------
    ConfigError
        If there is no such run, or `top` is less than 1.
    DataError
        If a query is blank.
    ArtifactError, CacheError
        If the run's predictor, data set or features are gone or damaged.
    """
    found = _predictor(root, run).similar(queries, artifacts=root, top=top)
    for query, texts in zip(queries, found, strict=True):
        yield readable(query, LIMIT)
        yield from map(_line, texts)


def matrix(root: Path, run: str, texts: Sequence[str]) -> "SimilarityMatrix":
    """Return how alike some texts are to the encoder of a run.

    Raises
    ------
    ConfigError
        If there is no such run.
    DataError
        If there are fewer than two texts, or one is blank.
    ArtifactError
        If the run's predictor is gone or damaged.
    """
    from pipeline.predictor.matrix import similarity_matrix
    from pipeline.predictor.texts import texts_to_compare

    predictor = _predictor(root, run)
    features = predictor.transform(texts_to_compare(texts))
    spec = predictor.encoder.spec
    said = f"{spec.encoder}, pooling {spec.pooling}"
    return similarity_matrix(texts, features, encoder=said)


def _predictor(root: Path, run: str) -> "Predictor":
    from pipeline.predictor.file import load_predictor

    path, _ = Inventory(root).run(run)
    return load_predictor(path / "predictor.joblib")


def _line(row: "SimilarText") -> str:
    more = row.n_rows - 1
    others = f" and {more:,} other row{'s'[: more != 1]}" if more else ""
    return (
        f"{row.cosine:8.3f}  {readable(row.text, LIMIT)} ({readable(label_text(row.label))}, "
        f"{row.split}:{row.line}{others})"
    )
