"""Published numbers stand beside this model's with whether they compare, in their units."""

from vader3d.evaluation.protocol import Published, load_protocol
from vader3d.evaluation.published import columns_of, model_rows, published_rows, title_of

TABLE_3 = load_protocol("vader-table3")[0].published
REPORT = {
    "deviations": [],
    "feature_network": "inception",
    "steps": [16, 32, 64],
    "frechet_generated": 9.0,
    "frechet_generated_16_steps": 11.0,
    "kernel_generated": 4.0,
    "frechet_direct_latent_sampling": 70.0,
    "mmd": 0.004,
}


def test_another_network_or_a_departure_is_never_comparable():
    assert all("comparable if" in row["verdict"] for row in published_rows(REPORT, TABLE_3))
    other = published_rows(REPORT | {"feature_network": "EfficientNet-Lite0"}, TABLE_3)
    assert all(row["verdict"].startswith("not comparable: features of inception") for row in other)
    departed = published_rows(REPORT | {"deviations": ["3 samples"]}, TABLE_3)
    assert all(row["verdict"].startswith("not comparable: ours departs") for row in departed)


def test_shapes_compare_whatever_the_network_is():
    row = Published("other", "chairs", "a paper", coverage=50.0, mmd=4.4)
    (found,) = published_rows(REPORT | {"feature_network": None}, (row,))
    assert found["verdict"] == "comparable if this model was trained on chairs"
    assert model_rows(REPORT, (row,))["this model, 64 steps"] == {"mmd": 4.0}


def test_each_number_of_steps_and_the_baseline_have_rows():
    assert model_rows(REPORT, TABLE_3) == {
        "this model, 16 steps": {"frechet": 11.0},
        "this model, 64 steps": {"frechet": 9.0, "kernel": 4.0},
        "its direct latent sampling": {"frechet": 70.0},
    }


def test_columns_are_called_as_in_the_table_of_scores_in_the_published_unit():
    every = Published("other", "chairs", "a paper", frechet=1, kernel=1, coverage=1, mmd=1, psnr=1, lpips=1)
    assert [title_of(column) for column in columns_of((every,))] == [
        "Frechet distance",
        "Kernel distance x 1,000",
        "Coverage, %",
        "Minimum matching distance x 1,000",
        "PSNR, dB",
        "LPIPS x 100",
    ]
