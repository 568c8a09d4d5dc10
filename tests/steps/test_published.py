"""The comparison with the published hashes says which outputs differ."""

from bnblind.review.published import compare

PUBLISHED = {
    "stages": {
        "train": {
            "deps": [{"path": "src", "md5": "1"}],
            "outs": [{"path": "data/models", "md5": "2"}],
        },
        "report": {
            "deps": [{"path": "data/models", "md5": "2"}],
            "outs": [{"path": "reports/pages", "md5": "3"}],
        },
    }
}


def changed(**hashes: str) -> dict:
    stages = {
        name: {
            kind: [{**e, "md5": hashes.get(e["path"].replace("/", "_"), e["md5"])} for e in entries]
            for kind, entries in stage.items()
        }
        for name, stage in PUBLISHED["stages"].items()
    }
    return {"stages": stages}


def test_the_same_outputs_are_identical() -> None:
    assert compare(PUBLISHED, PUBLISHED) == ([], [])


def test_changed_code_with_the_same_outputs_is_said_but_is_no_difference() -> None:
    assert compare(PUBLISHED, changed(src="9")) == ([], ["src"])


def test_a_differing_output_is_listed_once_though_it_is_also_an_input() -> None:
    outs, code = compare(PUBLISHED, changed(data_models="9"))
    assert outs == ["data/models: published 2, this run 9"]
    assert code == []


def test_missing_and_additional_outputs_are_listed() -> None:
    fewer = {"stages": {"train": PUBLISHED["stages"]["train"]}}
    assert compare(PUBLISHED, fewer)[0] == ["reports/pages: published 3, this run none"]
    assert compare(fewer, PUBLISHED)[0] == ["reports/pages: published none, this run 3"]
