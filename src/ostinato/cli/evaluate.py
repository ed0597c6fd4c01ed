"""`ostinato evaluate`: how good a saved model is."""

import json
from dataclasses import asdict

from ostinato.cli.options import Data, Device, Json, Run

EXAMPLE = "Example: ostinato evaluate runs/sru-seed0"


def evaluate(run: Run, data: Data = None, device: Device = "cpu", as_json: Json = False) -> None:
    """Test a run's saved model on the test images."""
    from ostinato import training
    from ostinato.cli.outcome import in_words

    score = training.score_run(run, data=data, device=device)
    print(json.dumps(asdict(score)) if as_json else in_words(score))
