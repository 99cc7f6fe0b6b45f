"""Fixed texts that every predictor carries with their expected outputs; never a user's rows.

A predictor that gives other values for them runs on another library, engine or damaged weights.
"""

PROBES = (
    "a joy from start to finish",
    "The plot is thin, but the acting saves it.",
    "no",
    "I did not expect to like it, and I did not.",
    "It is raining in the north and dry in the south.",
    "Shares fell 3.2% to $41.50 on Tuesday.",
    "Is this the best they could do?",
    "WHAT A FINISH!!!",
    "an unhurried, tender, quietly funny portrait of two sisters and the shop that they cannot sell",
    "broken on arrival; asked twice for a refund",
    "Das Wetter ist heute schön.",
    "这部电影很好看",
    "мне понравилось",
    "そうですね。",
    "هذا جيد",
    "café naïve façade résumé",
    "https://example.org/path?query=1&page=2",
    "@someone thanks for nothing #monday",
    "😀 👍🏽",
    "e = m c ** 2",
    "one two three four five six seven eight nine ten",
    "antidisestablishmentarianism",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "good good good good bad",
    "neither good nor bad",
    'He said "never again" and meant it.',
    "row\twith\ttabs",
    "  spaces   around  ",
    "Version 2.0 adds nothing; version 1.0 had less.",
    "the of and to in a is that for it",
    " ".join(["the same words again and again"] * 12),
    " ".join(
        [
            "a long text that no encoder of one hundred and twenty-eight tokens reads to its end"
        ]
        * 16
    ),
)
