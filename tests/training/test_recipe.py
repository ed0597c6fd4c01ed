"""Recipes: complete, checked as a whole, and complained about so that they can be mended."""

import pytest
from tests.conftest import TINY_RECIPE

from ostinato.errors import RecipeError
from ostinato.training import parse_recipe, read_recipe, recipe_names, with_training

TUTORIALS = {
    "sru": {"hidden": 128, "layers": 2, "batch": 128, "epochs": 3, "lr": 1e-2, "clip_norm": 1.0},
    "sru-highway": {
        "hidden": 128,
        "layers": 2,
        "batch": 128,
        "epochs": 3,
        "lr": 1e-2,
        "clip_norm": 1.0,
    },
    "lstm": {"hidden": 128, "layers": 2, "batch": 128, "epochs": 3, "lr": 1e-2, "clip_norm": 1.0},
    "bigru": {"hidden": 256, "layers": 2, "batch": 100, "steps": 5000, "lr": 1e-3, "dropout": 0.5},
    "bigru-1": {"hidden": 256, "layers": 1, "batch": 100, "steps": 5000, "lr": 1e-3},
    "gru": {"hidden": 256, "layers": 2, "batch": 100, "steps": 5000, "lr": 1e-3},
    "gru-1": {"hidden": 256, "layers": 1, "batch": 100, "steps": 5000, "lr": 1e-3},
    "lstm-1": {"hidden": 256, "layers": 1, "batch": 100, "steps": 5000, "lr": 1e-3},
    "lstm-2": {"hidden": 256, "layers": 2, "batch": 100, "steps": 5000, "lr": 1e-3},
    "lstm-static": {
        "hidden": 32,
        "layers": 1,
        "batch": 128,
        "steps": 1000,
        "until_batch_accuracy": 0.9,
        "lr": 1e-2,
        "readout": "last",
        "driver": "static",
    },
    "lstm-dynamic": {
        "hidden": 32,
        "layers": 1,
        "batch": 128,
        "steps": 1000,
        "until_batch_accuracy": 0.9,
        "lr": 1e-2,
        "readout": "last",
        "driver": "dynamic",
    },
    "lstm-sgd": {"hidden": 128, "layers": 1, "batch": 128, "steps": 10_000, "lr": 1e-3},
    "bilstm-sgd": {"hidden": 128, "layers": 1, "batch": 128, "steps": 10_000, "lr": 1e-3},
    "lstm-adam": {"hidden": 128, "layers": 1, "batch": 128, "lr": 1e-3},
    "lstm-deep": {"hidden": 256, "layers": 3, "batch": 100, "steps": 2000, "lr": 1e-3, "dropout": 0.5},
    "cnn-1": {"channels": [32], "batch": 100, "steps": 5000, "lr": 1e-3},
    "cnn": {"channels": [32, 64], "batch": 100, "steps": 5000, "lr": 1e-3},
}


def test_every_tutorial_has_its_recipe():
    assert set(recipe_names()) == set(TUTORIALS)


@pytest.mark.parametrize("name", TUTORIALS)
def test_shipped_recipes_hold_the_tutorials_settings(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert "tutorial" in recipe.source.lower()
    everything = (
        recipe.model.model_dump() | recipe.optimizer.model_dump() | recipe.training.model_dump()
    )
    for key, value in TUTORIALS[name].items():
        assert everything[key] == value, key
    assert (recipe.data.train, recipe.data.validation) == (55_000, 5_000)


@pytest.mark.parametrize("name", TUTORIALS)
def test_round_trip(name):
    recipe = read_recipe(name)
    assert parse_recipe(recipe.to_toml(), "again") == recipe


def test_length():
    recipe = parse_recipe(TINY_RECIPE, "tiny")
    assert recipe.training.total_steps(320) == 14  # two epochs of seven batches, the last one smaller
    assert with_training(recipe, steps=5).training.total_steps(320) == 5
    assert with_training(recipe, epochs=1).training.total_steps(96) == 2
    assert with_training(recipe, seed=9).training.seed == 9
    assert with_training(recipe) == recipe


def test_changes():
    recipe = read_recipe(
        "sru", {"optimizer.lr": "0.003", "model.cell.highway": "true", "title": "other"}
    )
    assert (recipe.optimizer.lr, recipe.model.cell.highway, recipe.title) == (0.003, True, "other")
    recipe = read_recipe("sru", {"model.cell": '{name = "lstm", forget_bias = 2}'})
    assert recipe.model.cell.forget_bias == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"optimizer.learning_rate": "1"},
            r'no key optimizer.learning_rate; did you mean "optimizer\.',
        ),
        ({"optimiser.lr": "1"}, r'no key optimiser.lr; did you mean "optimizer.lr"\?'),
        ({"lr": "1"}, "the recipe has no key lr"),
        ({"model.cell.name.x": "1"}, "the recipe has no key model.cell.name.x"),
        (
            {"optimizer.lr": "fast"},
            r"sru.toml: .*\n  optimizer.lr = 'fast': .*should be a valid number",
        ),
        ({"optimizer.lr": "-1"}, r"optimizer.lr = -1: .*greater than 0"),
        ({"optimizer.lr": "nan"}, r"optimizer.lr"),
        ({"training.batch": "12.5"}, r"training.batch = 12.5: .*valid integer"),
        ({"training.batch": "0"}, r"training.batch = 0: .*greater than or equal to 1"),
        ({"training.epochs": '"3"'}, r"training.epochs = '3': .*valid integer"),
        ({"model.dropout": "1.0"}, r"model.dropout = 1.0: .*less than 1"),
        ({"model.bidirectional": "1"}, r"model.bidirectional = 1: .*valid boolean"),
        ({"model.readout": "lats"}, r"""model.readout = 'lats': did you mean "last"\?"""),
        ({"model.cell.name": "gruu"}, r'model.cell.name = "gruu": did you mean "gru"\?'),
        ({"model.kind": "rnn"}, r'model.kind = "rnn": did you mean "cnn"'),
        ({"optimizer.name": "adm"}, r'optimizer.name = "adm": did you mean "adam"\?'),
        (
            {"model.cell.name": "lstm"},
            r"2 mistakes .*\n  model.cell.forget_bias: missing.\n  model.cell.highway",
        ),
        ({"name": "a/b"}, r"name = 'a/b': .*match pattern"),
        ({"optimizer.betas": "[0.9]"}, r"optimizer.betas = \[0.9\]: .*at least 2 items"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_named(change, words):
    with pytest.raises(RecipeError, match=f"(?s){words}"):
        read_recipe("sru", change)


def test_two_drivers_one_experiment():
    static, dynamic = (read_recipe(f"lstm-{kind}").model_dump() for kind in ("static", "dynamic"))
    assert static["model"] == dynamic["model"] | {"driver": "static"}
    assert {key for key in static if static[key] != dynamic[key]} == {"name", "title", "model"}


def test_keys_that_came_later_may_be_missing():
    recipe = parse_recipe(TINY_RECIPE, "tiny")
    assert recipe.model.driver == "dynamic"
    assert recipe.training.until_batch_accuracy is None
    assert "until_batch_accuracy" not in recipe.to_toml()
    later = parse_recipe(
        TINY_RECIPE.replace("epochs = 2", "epochs = 2\nuntil_batch_accuracy = 0.5"), ""
    )
    assert with_training(later, steps=9).training.until_batch_accuracy == 0.5


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "lr = 1e-2",
            "lrr = 1e-2",
            r'optimizer.lr: missing.*optimizer.lrr: there is no such key; did you mean "lr"',
        ),
        ("highway = false", "high_way = false", r'model.cell.high_way: .*did you mean "highway"'),
        (
            "validate = 5",
            "validates = 5",
            r'log.validates: there is no such key; did you mean "validate"',
        ),
        ("[optimizer]", "[optimzer]", r'optimizer: missing.*optimzer: .*did you mean "optimizer"'),
        ('name = "sru"', "", r"model.cell.name: missing"),
        ("epochs = 2", "epochs = 2\nsteps = 3", r"training: expected either epochs or steps, got both"),
        ("epochs = 2", "", r"training: expected either epochs or steps, got neither"),
        (
            "epochs = 2",
            "epochs = 2\nuntil_batch_accuracy = 1.0",
            r"until_batch_accuracy = 1.0: .*less than 1",
        ),
        (
            'readout = "last"',
            'readout = "last"\ndriver = "sttaic"',
            r"model.driver = 'sttaic': did you mean \"static\"",
        ),
        ("[data]", "[data", r"not a TOML file: .*line 6"),
        ("train = 320", "train = 2020-01-01", r"data.train = '2020-01-01': .*valid integer"),
    ],
)
def test_a_file_of_ones_own_is_named(tmp_path, old, new, words):
    path = tmp_path / "my.toml"
    path.write_text(TINY_RECIPE.replace(old, new, 1))
    with pytest.raises(RecipeError, match=f"(?s)my.toml: .*{words}"):
        read_recipe(str(path))


def test_no_such_recipe(tmp_path):
    with pytest.raises(
        RecipeError, match=r'no recipe "srru", .* did you mean "sru"\? `ostinato recipes`'
    ):
        read_recipe("srru")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"binary.toml: cannot be read as text"):
        read_recipe(str(path))
