"""What the model has to beat, on the same split."""

from pipeline.storage import Draft, disk
from tasks.texts import TextStage


class FitBaselines(TextStage):
    """Always the same answer, and TF-IDF with a linear model: ``baselines/<slug>-<key>/``."""

    folder = "baselines"
    schema = 2

    def build(self, draft: Draft) -> str:
        """Fit both and store what they answer for the scored rows."""
        from pipeline.evaluation.baselines import baselines

        rows = self.split_texts()
        found, facts = baselines(
            rows.of(rows.fit),
            rows.targets,
            rows.n_classes,
            rows.of(self.rows_of("test")),
        )
        for name, outputs in found.items():
            disk.save_array(draft.path / f"{name}.npy", outputs)
        draft.facts.update(facts)
        (terms,) = (one["terms"] for one in facts.values())
        return f"{' and '.join(found)}; TF-IDF has {terms:,} terms"
