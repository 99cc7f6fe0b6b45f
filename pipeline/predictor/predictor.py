"""A trained predictor: texts or pairs of texts in, labels out."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.config import HEADLINES, N_SIMILAR
from pipeline.datasets.table import object_array
from pipeline.encoder.ahead import one_ahead
from pipeline.encoder.batching import EncodedWindow, windows
from pipeline.encoder.pairs import SEPARATE, flat, of_flat
from pipeline.encoder.per_process import PerProcess
from pipeline.errors import ConfigError
from pipeline.pairs import Text
from pipeline.predictor.origin import origin_of
from pipeline.predictor.parts import Parts
from pipeline.predictor.similar import SimilarText, similar_texts
from pipeline.predictor.texts import each_pair, each_text, texts_to_compare
from pipeline.predictor.trained import as_stored, check_encoder, trained_encoder

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline
    from transformers import PreTrainedTokenizerFast

    from pipeline.encoder.frozen import Encoder
    from pipeline.evaluation.drift import Drift
    from pipeline.heads.head import Head
    from pipeline.predictor.explanation import Explanation


logger = logging.getLogger(__name__)
Rows = str | Iterable[str] | Iterable[Sequence[str]]  # texts, or pairs of them


LEAVE_OUT = (
    "Compare decision_function of the pair with that of the pair without a word."
)
OWN_RUN = "Train on one of the two columns, and ask that run."


class Scores(NamedTuple):
    """What the classifier says of some texts, in their order.

    Attributes
    ----------
    labels : ndarray, shape (n,)
        As `Predictor.predict` returns them; None where the predictor abstains.
    probabilities : ndarray of float64, shape (n, k)
        Of a regression shape (n, 0).
    is_cut : ndarray of bool, shape (n,)
        Whether a text has more than `Predictor.max_length` tokens, of which the rest was not read.
    """

    labels: NDArray[Any]  # Any: str or int labels
    probabilities: NDArray[np.float64]
    is_cut: NDArray[np.bool_]


class Predictor:
    """Tokenizer, frozen encoder and classifier (or regression) in one object, over texts.

    Loaded by `pipeline.load_predictor` or `joblib.load`; the encoder is built when it is first needed.

    Texts may come as a str, which is one text, or as a list, tuple, array, Series, generator or other iterable of
    str. They pass in windows: of an iterator neither all texts nor all features are in memory at once. Any number of
    threads may share a predictor; a forked child builds its encoder anew.

    A predictor that was trained on pairs takes pairs wherever texts are spoken of: a list of tuples, an array of shape
    (n, 2), a DataFrame of two columns, ….

    Attributes
    ----------
    task : {"classification", "multilabel", "regression"}
        What is predicted: one class of k, any of k labels, or a number.
    classes_ : ndarray, shape (k,)
        Labels in column order of probabilities: str, or int64 where the data had integers. Empty for a regression.
    card : dict
        What made it.
    max_length : int
        Tokens that are read of each text, special ones included; see `count_tokens`.
    pair_encoding : {"separate", "joint"} or None
        How pairs are encoded; None where it takes single texts.
    """

    def __init__(self, parts: Parts, encoder_folder: Path | None = None) -> None:
        self._parts, self._encoder_folder = parts, encoder_folder
        self._encoder: PerProcess[Encoder] = PerProcess()
        self._head: Head | None = None
        self._has_told_of_cuts = False
        self.max_length = parts.spec.max_length
        self.task: str = parts.head.get("task", "classification")  # older files
        self.pair_encoding = parts.pair_encoding
        classes = parts.head["classes"]
        is_whole = bool(classes) and isinstance(classes[0], int)
        self.classes_ = np.array(classes, dtype=np.int64 if is_whole else object)
        self.card: Mapping[str, Any] = parts.card

    def predict(self, texts: Rows) -> NDArray[Any]:  # Any: str or int labels
        """Return the label of each text, shape (n,); of several labels a text a tuple of str; or a float64.

        A predictor trained with ``--max-error`` gives None to the texts that it is not sure enough of.

        Raises
        ------
        DataError
            If `texts` holds something that is not a str, names its position; or is no ordered iterable of texts.
        """
        head = self._loaded_head()
        return self._each_window(texts, lambda x: self._labels(head.outputs(x)))

    def predict_proba(self, texts: Rows) -> NDArray[np.float64]:
        """Return the probabilities of each text, shape (n, k); columns as in `classes_`.

        Those of classes sum to 1; of several labels a text each has its own. They are calibrated if the predictor was
        trained with ``--calibration``.

        Raises
        ------
        ConfigError
            If it is a regression.
        """
        if self.task == "regression":
            raise ConfigError(
                "This predictor gives numbers, which have no probabilities. Call predict."
            )
        return self._each_window(texts, self._loaded_head().outputs)

    def decide(
        self, probabilities: NDArray[np.float64]
    ) -> NDArray[Any]:  # Any: as `predict` returns them
        """Return the label of each row of probabilities, shape (n,), however unsure it is.

        It is that of the largest one, or what thresholds or costs make of them. `predict` gives the same labels, and
        None where the predictor abstains.

        Parameters
        ----------
        probabilities : ndarray of float64, shape (n, k)
            As `predict_proba` returns them.
        """
        answers = self._loaded_head().decide(probabilities)
        if self.task == "regression":
            return answers
        if self.task == "multilabel":
            return object_array([tuple(self.classes_[row]) for row in answers])
        return self.classes_[answers]

    def _labels(
        self, outputs: NDArray[np.float64]
    ) -> NDArray[Any]:  # Any: as `predict` returns them
        """Return the label of each row of outputs, None where the head abstains."""
        head, labels = self._loaded_head(), self.decide(outputs)
        if not head.may_abstain:
            return labels
        labels = labels.astype(object)
        labels[head.abstains(outputs)] = None
        return labels

    def decision_function(self, texts: Rows) -> NDArray[np.float64]:
        """Return the scores of each text: shape (n,) for two classes (for the second) or a number, else (n, k)."""
        return self._each_window(texts, self._loaded_head().decision)

    def transform(self, texts: Rows) -> NDArray[np.float32]:
        """Return the features of each text, float32 of shape (n, d), as the encoder gave them in training."""
        width = len(self._parts.head_arrays["mean"]) - self._loaded_head().n_terms
        parts = [np.empty((0, width), dtype=np.float32)]
        for window in self._encoded(windows(self._checked(texts))):
            self._tell_of_cuts(window.n_tokens)
            parts.append(window.features)
        return np.concatenate(parts)

    def count_tokens(self, texts: Rows) -> NDArray[np.int32]:
        """Return how many tokens each text has before it is cut, shape (n,); special ones count.

        Of a pair that is encoded separately, those of the longer text.
        ``predictor.count_tokens(texts) > predictor.max_length`` tells which texts are read in part only.
        """
        counts = (
            self._n_tokens(self.encoder.tokenize(self._inputs(window)).n_tokens)
            for window in windows(self._checked(texts))
        )
        return np.concatenate([np.empty(0, dtype=np.int32), *counts])

    def score(self, blocks: Iterable[Sequence[Text]]) -> Iterator[Scores]:
        """Yield the scores of each block of texts; blocks are read one ahead, and are as large as the caller likes.

        Parameters
        ----------
        blocks : iterable of sequences of str, or of tuples of two
            Some thousand texts each, which are sorted by length together. Their types are not checked.
        """
        head = self._loaded_head()
        for window in self._answered(blocks):
            outputs = head.outputs(window.features)
            probabilities = outputs[:, : len(self.classes_)]
            is_cut = window.n_tokens > self.max_length
            yield Scores(self._labels(outputs), probabilities, is_cut)

    def _each_window(
        self,
        texts: Rows,
        of: Callable[[NDArray[np.float32]], NDArray[Any]],
    ) -> NDArray[Any]:  # Any: of what `of` returns
        """Return what `of` makes of what the head takes of each window, one below the other."""
        checked = self._checked(texts)
        width = len(self._parts.head_arrays["mean"])
        parts = [of(np.empty((0, width), dtype=np.float32))]  # its shape and dtype
        for window in self._answered(windows(checked)):
            self._tell_of_cuts(window.n_tokens)
            parts.append(of(window.features))
        return np.concatenate(parts)

    def _answered(self, blocks: Iterable[Sequence[Text]]) -> Iterator[EncodedWindow]:
        """Yield each block as the head takes it: features, and scores of words where it goes by them.

        Texts that words alone decide are not encoded: their features are 0, which the head does not look at.
        """
        if not self._parts.terms:
            yield from self._encoded(blocks)
            return
        with closing(one_ahead(self._with_terms, blocks)) as ahead:
            for rows, terms in ahead:
                yield self._blended(rows, terms)

    def _with_terms(
        self, rows: Sequence[Text]
    ) -> tuple[Sequence[Text], NDArray[np.float32]]:
        return rows, self._parts.term_scores(rows)

    def _blended(
        self, rows: Sequence[Text], terms: NDArray[np.float32]
    ) -> EncodedWindow:
        """Return rows as the head takes them, those encoded that it needs features of."""
        head = self._loaded_head()
        width = len(self._parts.head_arrays["mean"]) - head.n_terms
        features = np.zeros((len(rows), width), dtype=np.float32)
        n_tokens = np.zeros(len(rows), dtype=np.int32)
        wanted = np.flatnonzero(head.needs_features(terms))
        if len(wanted):
            (window,) = self._encoded([[rows[i] for i in wanted.tolist()]])
            features[wanted], n_tokens[wanted] = window
        return EncodedWindow(np.hstack([features, terms]), n_tokens)

    def _encoded(self, blocks: Iterable[Sequence[Text]]) -> Iterator[EncodedWindow]:
        inputs = map(self._inputs, blocks)
        for features, n_tokens in self.encoder.encode_windows(inputs):
            rounded = as_stored(features, self._parts.spec)
            if self.pair_encoding == SEPARATE:
                rounded = of_flat(rounded, len(self._parts.spec.layers))
            yield EncodedWindow(rounded, self._n_tokens(n_tokens))

    def _checked(self, texts: Rows) -> Iterable[Text]:
        if self.pair_encoding is None:
            return each_text(cast("Iterable[str]", texts))  # which looks at each
        return each_pair(texts)

    def _inputs(self, rows: Sequence[Text]) -> Sequence[Text]:
        """Return what the encoder gets of some rows."""
        return flat(rows) if self.pair_encoding == SEPARATE else rows

    def _n_tokens(self, counts: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the tokens of each row from those of what the encoder got."""
        if self.pair_encoding == SEPARATE:
            return np.maximum(counts[0::2], counts[1::2])
        return counts

    @property
    def abstains(self) -> bool:
        """Whether there are texts that it gives no label, as it is not sure enough of them."""
        return self._loaded_head().may_abstain

    def _refuse_pairs(self, verb: str, instead: str) -> None:
        if self.pair_encoding is not None:
            raise ConfigError(
                f"This predictor was trained on pairs of texts, and {verb} takes single texts. {instead}"
            )

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
        """The scikit-learn pipeline (scaler, linear model) over features, rebuilt from the stored arrays.

        It is the plain model over `columns`: calibration, thresholds, costs, abstention and the gate of a cascade are
        not in it.
        """
        from pipeline.heads.rebuilt import to_sklearn

        return to_sklearn(self._loaded_head())

    def self_check(self) -> float:
        """Encode the fixed probe texts and return the largest difference from the features of training.

        Raises
        ------
        ArtifactError
            If it is beyond what rounding explains: another library, engine or damaged weights.
        """
        return check_encoder(self._parts, self.encoder)

    def drift(self, texts: Rows, *, level: float = 0.05) -> "Drift":
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
        """Name encoder, classes and the test figure."""
        name = HEADLINES[self.task]
        figure = self.card.get("metrics", {}).get(name, {}).get("value")
        said = "" if figure is None else f", test {name} {figure:.3f}"
        classes = (
            "a number"
            if self.task == "regression"
            else ", ".join(map(str, self.classes_[:5]))
            + (", …" if len(self.classes_) > 5 else "")
        )
        return f"<Predictor: {self._parts.spec.encoder} [{self._parts.spec.pooling}] → {classes}{said}>"

    def explain(
        self,
        text: str,
        *,
        label: str | int | None = None,
        artifacts: str | Path | None = None,
    ) -> "Explanation":
        """Return the contribution of each word of a text to its score: exact with mean pooling, else by occlusion.

        Where words count beside the encoder, it is what the score loses when the word is left out of the text.

        Parameters
        ----------
        text : str
        label : str or int, optional
            The class whose score is explained; None: of two classes the second, of more the predicted one, of several
            labels a text the most probable one. A regression has none.
        artifacts : str or Path, optional
            The folder of the run that made this predictor: the training texts most like `text` are then told, too.

        Raises
        ------
        ConfigError
            If `label` is none of `classes_`, or the predictor is of pairs.
        DataError
            If `text` is not a str.
        """
        from pipeline.predictor.explain import explain

        self._refuse_pairs("explain", LEAVE_OUT)
        return explain(
            self.encoder,
            self._loaded_head(),
            text,
            self.columns([text]),
            columns_of=self.columns,
            label=label,
            artifacts=artifacts,
        )

    def columns(self, texts: Rows) -> NDArray[np.float32]:
        """Return texts as `classifier` takes them: their features, and where it goes by words their scores behind them.

        Returns
        -------
        ndarray of float32, shape (n, d) or (n, d + m)
            Every text is encoded, also those that words decide.
        """
        rows = list(self._checked(texts))
        features = self.transform(cast("Rows", rows))
        if not self._parts.terms:
            return features
        return np.hstack([features, self._parts.term_scores(rows)])

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

        Raises
        ------
        ConfigError
            If it is no classifier of one class a text.
        """
        from pipeline.predictor.explanation import Explanation
        from pipeline.predictor.look import look

        self._refuse_pairs("look", LEAVE_OUT)
        if self.task != "classification":
            kind = {"multilabel": "several labels a text", "regression": "numbers"}
            raise ConfigError(
                f"The page shows how one class is chosen, and this predictor gives {kind[self.task]}. "
                "Its contributions are all that explain tells."
            )
        if self._parts.terms or len(self._parts.spec.layers) > 1:
            raise ConfigError(
                "The page shows a text's way through one layer, and this predictor goes by several, or by words, too. "
                "Its contributions are all that explain tells."
            )
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
            If `top` is less than 1, or the predictor is of pairs.
        DataError
            If a text is blank or no str.
        CacheError
            If what the predictor was made from is not in `artifacts`, or damaged.
        """
        self._refuse_pairs("similar", OWN_RUN)
        queries = texts_to_compare(texts)
        origin = origin_of(self._loaded_head(), Path(artifacts))
        return similar_texts(self.transform(queries), origin, top)
