"""Every public name shows how it is used, and the example gives what it says."""

import doctest
import sys

import pytest

import bnblind


@pytest.mark.parametrize("name", sorted(bnblind.__all__))
def test_the_example_gives_what_it_says(name: str) -> None:
    public = getattr(bnblind, name)
    found = doctest.DocTestFinder(recurse=False).find(
        public, name, globs=vars(sys.modules[public.__module__]).copy()
    )
    assert [bool(test.examples) for test in found] == [True]
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(found[0]).failed == 0
