"""Linear models on words and on pieces of words, beside which an encoder's features count."""

from pipeline.storage import Draft, disk
from tasks.texts import TextStage

KINDS = ("words", "characters")


class FitTerms(TextStage):
    """TF-IDF of words and of characters, each with a linear model, and what they say: ``terms/<slug>-<key>/``."""

    folder = "terms"

    def build(self, draft: Draft) -> str:
        """Fit on all training rows; score those by fits without their fold, and every other row."""
        import numpy as np

        from pipeline.terms.model import (
            fit_term_model,
            out_of_fold_scores,
            save_term_model,
        )

        rows, folds = self.split_texts(), self.rows_of("folds")
        n, others = len(rows.texts), np.setdiff1d(np.arange(len(rows.texts)), rows.fit)
        known, unknown = rows.of(rows.fit), rows.of(others)
        columns, said = [], []
        for kind in KINDS:
            model = fit_term_model(kind, known, rows.targets, rows.n_classes)
            save_term_model(model, draft.path)
            scores = np.empty((n, len(model.intercept)), np.float32)
            scores[others] = model.scores(unknown)
            scores[rows.fit] = out_of_fold_scores(
                kind, known, rows.targets, folds, rows.n_classes
            )
            columns.append(scores)
            said.append(f"{len(model.terms):,} terms of {kind}")
        disk.save_array(draft.path / "scores.npy", np.hstack(columns))
        return " and ".join(said)
