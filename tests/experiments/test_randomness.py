"""Named random streams."""

import torch

from bnblind.experiments.randomness import global_stream, stream, stream_seed


def draw(generator):
    return torch.rand(8, generator=generator)


def test_a_stream_is_the_same_for_every_global_state():
    torch.manual_seed(0)
    first = draw(stream(3, "init"))
    torch.manual_seed(1)
    assert torch.equal(draw(stream(3, "init")), first)


def test_streams_of_other_seeds_and_names_differ():
    names = [(3,), (4,), (3, "init"), (4, "init"), (3, "batches"), (3, "batches", 1), (34, "init")]
    names += [(3, "batches", 2), (3, "batches", 12)]
    drawn = [tuple(draw(stream(*name)).tolist()) for name in names]
    assert len(set(drawn)) == len(names)


def test_a_stream_seed_is_the_same_on_every_machine():
    """63 bits of the sha256 of the text, so that neither hash() nor byte order is in it:
    printf 10/init | sha256sum | head -c 16, halved.
    """
    assert stream_seed(10, "init") == 0x8EC3A52960355644 >> 1


def test_drawing_from_one_stream_does_not_move_another():
    one, other = stream(0, "a"), stream(0, "b")
    draw(one)
    assert torch.equal(draw(other), draw(stream(0, "b")))


def test_global_stream_draws_from_the_stream_and_restores_the_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with global_stream(3, "init"):
        first = torch.rand(8)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    with global_stream(3, "init"):
        assert torch.equal(torch.rand(8), first)
    with global_stream(4, "init"):
        assert not torch.equal(torch.rand(8), first)


def test_global_stream_restores_the_state_after_an_error():
    before = torch.get_rng_state()
    try:
        with global_stream(3, "init"):
            torch.rand(2)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)
