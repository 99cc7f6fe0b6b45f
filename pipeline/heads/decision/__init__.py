"""From probabilities to answers: calibration, thresholds, costs, and when not to answer."""
