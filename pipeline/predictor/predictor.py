"""A trained predictor: texts in, labels out."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config import N_SIMILAR
from pipeline.encoder.batching import EncodedWindow, windows
from pipeline.encoder.per_process import PerProcess
from pipeline.predictor.origin import origin_of
from pipeline.predictor.parts import Parts
from pipeline.predictor.similar import SimilarText, similar_texts
from pipeline.predictor.texts import each_text, texts_to_compare
from pipeline.predictor.trained import as_stored, check_encoder, trained_encoder

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline
    from transformers import PreTrainedTokenizerFast

    from pipeline.encoder.frozen import Encoder
    from pipeline.evaluation.drift import Drift
    from pipeline.heads.head import Head
    from pipeline.predictor.explanation import Explanation


logger = logging.getLogger(__name__)


class Scores(NamedTuple):
    """What the classifier says of some texts, in their order.

    Attributes
    ----------
    labels : ndarray, shape (n,)
        As `Predictor.classes_`; None where the predictor abstains.
    probabilities : ndarray of float64, shape (n, k)
    is_cut : ndarray of bool, shape (n,)
        Whether a text has more than `Predictor.max_length` tokens, of which the rest was not read.
    """

    labels: NDArray[Any]  # Any: str or int labels
    probabilities: NDArray[np.float64]
    is_cut: NDArray[np.bool_]


class Predictor:
    """Tokenizer, frozen encoder and classifier in one object, over texts.

    Loaded by `pipeline.load_predictor` or `joblib.load`; the encoder is built when it is first needed.

    Texts may come as a str, which is one text, or as a list, tuple, array, Series, generator or other iterable of
    str. They pass in windows: of an iterator neither all texts nor all features are in memory at once. Any number of
    threads may share a predictor; a forked child builds its encoder anew.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Labels in column order of probabilities: str, or int64 where the data had integers.
    card : dict
        What made it.
    max_length : int
        Tokens that are read of each text, special ones included; see `count_tokens`.
    """

    def __init__(self, parts: Parts, encoder_folder: Path | None = None) -> None:
        self._parts, self._encoder_folder = parts, encoder_folder
        self._encoder: PerProcess[Encoder] = PerProcess()
        self._head: Head | None = None
        self._has_told_of_cuts = False
        self.max_length = parts.spec.max_length
        classes = parts.head["classes"]
        self.classes_ = np.array(
            classes, dtype=np.int64 if isinstance(classes[0], int) else object
        )
        self.card: Mapping[str, Any] = parts.card

    def predict(
        self, texts: str | Iterable[str]
    ) -> NDArray[Any]:  # Any: str or int labels
        """Return the label of each text, shape (n,).

        A predictor trained with ``--max-error`` gives None to the texts that it is not sure enough of.

        Raises
        ------
        DataError
            If `texts` holds something that is not a str, names its position; or is no ordered iterable of texts.
        """
        head = self._loaded_head()
        return self._each_window(texts, lambda x: self._labels(head.outputs(x)))

    def predict_proba(self, texts: str | Iterable[str]) -> NDArray[np.float64]:
        """Return the class probabilities of each text, shape (n, k); columns as in `classes_`.

        They are calibrated if the predictor was trained with ``--calibration``.
        """
        return self._each_window(texts, self._loaded_head().outputs)

    def decide(
        self, probabilities: NDArray[np.float64]
    ) -> NDArray[Any]:  # Any: str or int labels
        """Return the label of each row of probabilities, shape (n,), however unsure it is.

        It is that of the largest one, or what thresholds or costs make of them. `predict` gives the same labels, and
        None where the predictor abstains.

        Parameters
        ----------
        probabilities : ndarray of float64, shape (n, k)
            As `predict_proba` returns them.
        """
        labels: NDArray[Any] = self.classes_[self._loaded_head().decide(probabilities)]
        return labels

    def _labels(
        self, outputs: NDArray[np.float64]
    ) -> NDArray[Any]:  # Any: str or int labels, or None
        """Return the label of each row of outputs, None where the head abstains."""
        head, labels = self._loaded_head(), self.decide(outputs)
        if not head.may_abstain:
            return labels
        labels = labels.astype(object)
        labels[head.abstains(outputs)] = None
        return labels

    def decision_function(self, texts: str | Iterable[str]) -> NDArray[np.float64]:
        """Return the scores of each text: shape (n,) for two classes (for the second), else (n, k)."""
        return self._each_window(texts, self._loaded_head().decision)

    def transform(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Return the features of each text, float32 of shape (n, d), as they were in training."""
        return self._each_window(texts, lambda x: x)

    def count_tokens(self, texts: str | Iterable[str]) -> NDArray[np.int32]:
        """Return how many tokens each text has before it is cut, shape (n,); special ones count.

        ``predictor.count_tokens(texts) > predictor.max_length`` tells which texts are read in part only.
        """
        counts = (self.encoder.tokenize(w).n_tokens for w in windows(each_text(texts)))
        return np.concatenate([np.empty(0, dtype=np.int32), *counts])

    def score(self, blocks: Iterable[Sequence[str]]) -> Iterator[Scores]:
        """Yield the scores of each block of texts; blocks are read one ahead, and are as large as the caller likes.

        Parameters
        ----------
        blocks : iterable of sequences of str
            Some thousand texts each, which are sorted by length together. Their types are not checked.
        """
        head = self._loaded_head()
        for window in self._encoded(blocks):
            probabilities = head.outputs(window.features)
            labels = self._labels(probabilities)
            yield Scores(labels, probabilities, window.n_tokens > self.max_length)

    def _each_window(
        self,
        texts: str | Iterable[str],
        of: Callable[[NDArray[np.float32]], NDArray[Any]],
    ) -> NDArray[Any]:  # Any: of what `of` returns
        """Return what `of` makes of each window's features, one below the other."""
        checked = each_text(texts)
        width = len(self._parts.head_arrays["mean"])
        parts = [of(np.empty((0, width), dtype=np.float32))]  # its shape and dtype
        for window in self._encoded(windows(checked)):
            self._tell_of_cuts(window.n_tokens)
            parts.append(of(window.features))
        return np.concatenate(parts)

    def _encoded(self, blocks: Iterable[Sequence[str]]) -> Iterator[EncodedWindow]:
        for features, n_tokens in self.encoder.encode_windows(blocks):
            yield EncodedWindow(as_stored(features, self._parts.spec), n_tokens)

    def _tell_of_cuts(self, n_tokens: NDArray[np.int32]) -> None:
        """Warn of the first texts that are longer than what is read of them."""
        n_cut = int((n_tokens > self.max_length).sum())
        if n_cut and not self._has_told_of_cuts:
            self._has_told_of_cuts = True
            logger.warning(
                "%d of %d texts have more than %d tokens; what follows is not read, as in training. "
                "predictor.count_tokens(texts) tells which. Said once.",
                n_cut,
                len(n_tokens),
                self.max_length,
            )

    @property
    def encoder(self) -> "Encoder":
        """The frozen encoder, built from the file's own bytes on first use, once a process."""
        return self._encoder.get(
            lambda: trained_encoder(self._parts, self._encoder_folder)
        )

    @property
    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The tokenizer, as transformers' own class."""
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast

        parts = self._parts
        return PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(parts.tokenizer.decode()),
            model_max_length=parts.spec.max_length,
            **parts.special,
        )

    @property
    def classifier(self) -> "Pipeline":
        """The scikit-learn pipeline (scaler, logistic regression) over features, rebuilt from the stored arrays.

        It is the plain classifier: calibration, thresholds, costs and abstention are not in it.
        """
        from pipeline.heads.logreg import to_sklearn

        return to_sklearn(self._loaded_head())

    def self_check(self) -> float:
        """Encode the fixed probe texts and return the largest difference from the features of training.

        Raises
        ------
        ArtifactError
            If it is beyond what rounding explains: another library, engine or damaged weights.
        """
        return check_encoder(self._parts, self.encoder)

    def drift(self, texts: Iterable[str], *, level: float = 0.05) -> "Drift":
        """Tell whether texts are no longer like those of training, by their features; labels are not needed.

        Parameters
        ----------
        texts : iterable of str
            A window of some hundred texts as they come in; fewer than 50 cannot be judged.
        level : float
            False alarms, as a share of windows: of 20 windows a day, 0.05 lets one alarm by chance.

        Returns
        -------
        Drift
            ``is_found``, ``p_value`` and ``distance``; its str is a sentence.

        Raises
        ------
        ArtifactError
            If the file carries no reference.
        """
        from pipeline.predictor.reference import compare

        return compare(self.transform(texts), self._parts.reference, level)

    def _loaded_head(self) -> "Head":
        if self._head is None:
            from pipeline.heads.head import head_of

            self._head = head_of(self._parts.head, self._parts.head_arrays)
        return self._head

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Pickle as the one call that a predictor file is."""
        from pipeline.predictor import _restore_v1
        from pipeline.predictor.file import pack

        return _restore_v1, pack(self._parts)

    def __repr__(self) -> str:
        """Name encoder, classes and test accuracy."""
        figure = self.card.get("metrics", {}).get("accuracy", {}).get("value")
        accuracy = "" if figure is None else f", test accuracy {figure:.3f}"
        classes = ", ".join(map(str, self.classes_[:5])) + (
            ", …" if len(self.classes_) > 5 else ""
        )
        return f"<Predictor: {self._parts.spec.encoder} [{self._parts.spec.pooling}] → {classes}{accuracy}>"

    def explain(
        self,
        text: str,
        *,
        label: str | int | None = None,
        artifacts: str | Path | None = None,
    ) -> "Explanation":
        """Return the contribution of each word of a text to its score: exact with mean pooling, else by occlusion.

        Parameters
        ----------
        text : str
        label : str or int, optional
            The class whose score is explained; None: of two classes the second, of more the predicted one.
        artifacts : str or Path, optional
            The folder of the run that made this predictor: the training texts most like `text` are then told, too.

        Raises
        ------
        ConfigError
            If `label` is none of `classes_`.
        DataError
            If `text` is not a str.
        """
        from pipeline.predictor.explain import explain

        features = self.transform([text])
        head = self._loaded_head()
        return explain(
            self.encoder, head, text, features, label=label, artifacts=artifacts
        )

    def look(
        self, text: "str | Explanation", *, artifacts: str | Path | None = None
    ) -> str:
        """Return a page that shows what becomes of a text, step by step with its numbers, until it has its label.

        Parameters
        ----------
        text : str or Explanation
            A text, or what `explain` says of it.
        artifacts : str or Path, optional
            As for `explain`, where a text is given.

        Returns
        -------
        str
            HTML that loads nothing.
        """
        from pipeline.predictor.explanation import Explanation
        from pipeline.predictor.look import look

        explanation = (
            text
            if isinstance(text, Explanation)
            else self.explain(text, artifacts=artifacts)
        )
        (features,) = self.transform([explanation.text])
        head = self._loaded_head()
        return look(self.encoder, head, explanation, features, self.card)

    def similar(
        self, texts: str | Iterable[str], *, artifacts: str | Path, top: int = N_SIMILAR
    ) -> tuple[tuple[SimilarText, ...], ...]:
        """Return for each text those of the data set that are most like it, by the cosine of their features.

        Every text of the data set is compared, once, whatever its split; one that is asked for finds itself. Features
        are compared as `transform` gives them, and are not standardised. Ask for many at once: the store is read once.

        Parameters
        ----------
        texts : str or iterable of str
            None of them blank.
        artifacts : str or Path
            The folder of the run that made this predictor.
        top : int
            How many; all where the data set has fewer.

        Returns
        -------
        tuple of tuple of SimilarText
            One for each of `texts`, most alike first; of equals the first in the data set.

        Raises
        ------
        ConfigError
            If `top` is less than 1.
        DataError
            If a text is blank or no str.
        CacheError
            If what the predictor was made from is not in `artifacts`, or damaged.
        """
        queries = texts_to_compare(texts)
        origin = origin_of(self._loaded_head(), Path(artifacts))
        return similar_texts(self.transform(queries), origin, top)
