"""What proofs/Statements.v states, computed by the library: one test per group of statements.

The table in proofs/README.md says which test belongs to which statement. The special batches and
the numbers expected of them are those of the statements.
"""

import math

import pytest
import torch

from bnblind import blocked, bn_backward, build_norm, standardize
from bnblind.experiments.theorem_check import Derivatives, diagonal_gradient, off_diagonal_gradient
from bnblind.losses import CrossEntropy
from bnblind.norms import freeze_statistics

EPS = (0.0, 1e-3, 1.0)
N, D = 7, 4


def normal(*size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def features(*size, seed=0):
    """Means that are not 0, unequal scales, correlations."""
    mixing = torch.eye(size[1]) + 0.4 * normal(size[1], size[1], seed=seed + 1)
    return torch.einsum("nc...,cd->nd...", normal(*size, seed=seed), mixing) + 1.5


def quadratic(seed=5):
    """Gradient, Hessian and expansion point."""
    B = normal(D, D, seed=seed)
    return normal(D, seed=seed + 1), B + B.T, normal(D, seed=seed + 2)


def derivatives(H):
    return Derivatives(H.diagonal(), H - H.diagonal().diag())


def first(y, g, H, y0):
    return ((y - y0) * g).sum()


def diag(y, g, H, y0):
    return 0.5 * ((y - y0).square() * H.diagonal()).sum()


def offdiag(y, g, H, y0):
    off = H - H.diagonal().diag()
    return 0.5 * torch.einsum("nd,de,ne->", y - y0, off, y - y0)


def before(layer, x, loss):
    """Gradient of ``loss(layer(x))`` with respect to x."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(loss(layer(x)), x)[0]


def bn(eps):
    return lambda x: standardize(x, eps)[0]


def layer(name, eps, x):
    """The variant with random gamma and beta, its statistics frozen on x where it has any."""
    norm = build_norm(name, x.shape[1:], eps).double().train()
    if norm.weight.numel():
        norm.weight.data = normal(*norm.weight.shape, seed=8)
        norm.bias.data = normal(*norm.bias.shape, seed=9)
    freeze_statistics(norm, x)
    return norm


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("eps", EPS)
def test_jacobian(eps):
    x = features(N, D)
    y, sigma = standardize(x, eps)
    found = torch.func.jacrev(bn(eps))(x)
    same = torch.eye(N, dtype=x.dtype)[:, None, :] - 1 / N - y[:, :, None] * y.T / N
    expected = torch.einsum("idj,dk,d->idjk", same, torch.eye(D, dtype=x.dtype), 1 / sigma)
    close(found, expected)


@pytest.mark.parametrize("eps", EPS)
def test_values_of_the_terms(eps):
    """T1 and T2 (eps = 0): the same number for every batch; T3: a function of correlations."""
    g, H, y0 = quadratic()
    for seed in range(3):
        y, _ = standardize(features(N, D, seed=seed), eps)
        close(first(y, g, H, y0), -N * (g @ y0))
        rho = y.T @ y / N
        off = H - H.diagonal().diag()
        close(offdiag(y, g, H, y0), N / 2 * (off * (rho + torch.outer(y0, y0))).sum())
        if eps == 0:
            close(diag(y, g, H, y0), N / 2 * (H.diagonal() * (1 + y0.square())).sum())


def test_the_leak_and_the_remnant_are_not_always_zero():
    two = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    leak = before(bn(1.0), two, lambda y: 0.5 * y.square().sum())
    assert leak[0].item() == pytest.approx(-8 / 25)
    four = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    H = normal(2, 2, seed=3)
    H = H + H.T
    passed = before(bn(0.0), four, lambda y: offdiag(y, None, H, 0))
    assert passed[0, 0].item() == pytest.approx(H[0, 1].item())


@pytest.mark.parametrize("eps", EPS)
def test_quadratic_model_with_a_remainder(eps):
    """T5: of any gradient g + H (y - y0) + E."""
    g, H, y0 = quadratic()
    x, E = features(N, D), normal(N, D, seed=4)
    y, sigma = standardize(x, eps)
    at = derivatives(H)
    rest = diagonal_gradient(at, x, eps) + off_diagonal_gradient(at, x, eps)
    model = before(bn(eps), x, lambda y: sum(term(y, g, H, y0) for term in (first, diag, offdiag)))
    close(model, rest)
    close(bn_backward(g + (y - y0) @ H + E, y, sigma), rest + bn_backward(E, y, sigma))


@pytest.mark.parametrize("eps", EPS)
def test_the_affine_phase_changes_nothing_but_the_scale(eps):
    g, H, z0 = quadratic()
    x = features(N, D)
    norm = layer("bn", eps, x)
    gamma = norm.weight.detach()
    assert before(norm, x, lambda z: first(z, g, H, z0)).abs().max() < 1e-12
    leak = diagonal_gradient(derivatives(H), x, eps)
    close(before(norm, x, lambda z: diag(z, g, H, z0)), gamma.square() * leak)
    remnant = off_diagonal_gradient(derivatives(gamma[:, None] * H * gamma), x, eps)
    close(before(norm, x, lambda z: offdiag(z, g, H, z0)), remnant)
    y, sigma = standardize(x, eps)
    G = normal(N, D, seed=4)
    close(before(norm, x, lambda z: (z * G).sum()), gamma * bn_backward(G, y, sigma))
    alone = layer("bn_affine", eps, x)
    close(before(alone, x, lambda z: (z * G).sum()), alone.weight.detach() * G)


@pytest.mark.parametrize("eps", EPS)
def test_what_the_controls_take_away(eps):
    x, G = features(N, D), normal(N, D, seed=4)
    y, sigma = standardize(x, eps)

    def passed(name):
        return before(layer(name, eps, x).standardize, x, lambda y: (y * G).sum())

    close(passed("bn_center"), G - G.mean(0))
    _, H, y0 = quadratic()
    center = layer("bn_center", eps, x).standardize
    curved = before(center, x, lambda y: diag(y, None, H, y0))
    close(curved, H.diagonal() * (x - x.mean(0)))  # center_T2, for any y0
    close(passed("bn_scale"), (G - y * (x / sigma * G).mean(0)) / sigma)
    close(passed("bn_detached"), G / sigma)
    close(passed("bn_frozen"), G / sigma)
    close(layer("bn_detached", eps, x).standardize(x), y)


@pytest.mark.parametrize("eps", EPS)
@pytest.mark.parametrize("name", ["bn_frozen", "bn_detached"])
def test_jacobian_of_constant_statistics_is_diagonal(name, eps):
    x = features(N, D)
    found = torch.autograd.functional.jacobian(layer(name, eps, x).standardize, x)
    _, sigma = standardize(x, eps)
    entries = found.reshape(N * D, N * D)
    assert torch.equal(entries, entries.diagonal().diag())
    close(entries.diagonal(), (1 / sigma).repeat(N))


def test_what_the_controls_pass_at_the_samples_0_and_1():
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    g, H, y0 = 0.7, torch.tensor([[1.3]], dtype=torch.float64), 0.4
    center, scale = (build_norm(name, (1,), 0.0).double() for name in ("bn_center", "bn_scale"))
    close(before(center, x, lambda y: diag(y, g, H, y0))[1, 0], H[0, 0] / 2)
    assert before(scale, x, lambda y: first(y, g, H, y0))[0, 0].item() == pytest.approx(4 * g)
    close(before(scale, x, lambda y: diag(y, g, H, 0.0))[0, 0], 4 * H[0, 0])


@pytest.mark.parametrize("eps", EPS)
def test_scaling_blocks_the_diagonal_expanded_at_its_mean(eps):
    _, H, _ = quadratic()
    x = features(N, D)
    scale = build_norm("bn_scale", (D,), eps).double()
    y0 = scale(x).mean(0).detach()
    found = before(scale, x, lambda y: diag(y, None, H, y0))
    close(found, diagonal_gradient(derivatives(H), x, eps))


@pytest.mark.parametrize("eps", EPS)
def test_images_same_at_every_position(eps):
    g, H, y0 = (v[:, None] if v.dim() == 1 else v for v in quadratic())
    x, h = features(3, D, 5), H.diagonal()[:, None]
    assert before(bn(eps), x, lambda y: ((y - y0) * g).sum()).abs().max() < 1e-12
    found = before(bn(eps), x, lambda y: 0.5 * ((y - y0).square() * h).sum())
    rows = x.transpose(1, 2).flatten(0, 1)
    leak = diagonal_gradient(derivatives(H), rows, eps).unflatten(0, (3, 5)).transpose(1, 2)
    close(found, leak)


def test_images_different_positions_pass():
    """Two samples of two positions, 1 and 1, -1 and -1, one channel, eps = 0."""
    x = torch.tensor([[[1.0, 1.0]], [[-1.0, -1.0]]], dtype=torch.float64)
    a, b = torch.tensor([0.7, -1.1], dtype=torch.float64)
    at = torch.stack([a, b])
    close(before(bn(0.0), x, lambda y: (y * at).sum())[0, 0, 0], (a - b) / 2)
    close(before(bn(0.0), x, lambda y: 0.5 * (at * y.square()).sum())[0, 0, 0], (a - b) / 2)
    point = before(bn(0.0), x, lambda y: 0.5 * 3 * (y - at).square().sum())
    close(point[0, 0, 0], 3 * (b - a) / 2)


@pytest.mark.parametrize("eps", EPS)
def test_softmax_head_behind_batch_norm(eps):
    """The closed form of the gradient of real training, against autograd."""
    x, W, b = features(N, D), normal(3, D, seed=6), normal(3, seed=7)
    labels = torch.arange(N) % 3
    norm = layer("bn", eps, x)

    def loss(z):
        return torch.nn.functional.cross_entropy(z @ W.T + b, labels, reduction="sum")

    y, sigma = standardize(x, eps)
    gamma, beta = norm.weight.detach(), norm.bias.detach()
    outputs = (gamma * y + beta) @ W.T + b
    slope = CrossEntropy().slope(outputs, labels)
    close(slope, outputs.softmax(1) - torch.eye(3, dtype=x.dtype)[labels])
    stated = gamma * bn_backward(slope @ W, y, sigma)
    close(before(norm, x, loss), stated)


def class_averaged_loss(name, x, W, b):
    """Over batches x (C, n, D), each of one class, after the norm and a linear head."""
    losses = []
    for label, batch in enumerate(x):
        y = layer(name, 1e-5, batch)(batch)
        targets = torch.full((len(batch),), label)
        losses.append(CrossEntropy().value(y @ W.T + b, targets).mean())
    return torch.stack(losses).mean().item()


@pytest.mark.parametrize("name", ["bn", "bn_center", "bn_detached"])
def test_no_linear_head_finds_the_class_behind_centering(name):
    """T6, for heads of every size; weights 0 reach the bound."""
    classes = 3
    x = torch.stack([features(N, D, seed=10 * label) + label for label in range(classes)])
    for seed in range(20):
        size = 10.0 ** (seed % 5 - 3)
        W, b = size * normal(classes, D, seed=seed), size * normal(classes, seed=seed + 50)
        assert class_averaged_loss(name, x, W, b) >= math.log(classes) - 1e-12
    zero = torch.zeros(classes, D, dtype=x.dtype)
    assert class_averaged_loss(name, x, zero, zero[:, 0]) == pytest.approx(math.log(classes))


def test_without_centering_a_linear_head_finds_the_class():
    x = torch.tensor([[[0.0]], [[1.0]]], dtype=torch.float64)
    W = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    b = torch.tensor([0.0, -2.0], dtype=torch.float64)
    losses = [CrossEntropy().value(x[t] @ W.T + b, torch.tensor([t])).item() for t in (0, 1)]
    assert losses == pytest.approx([math.log1p(math.exp(-2))] * 2)
    assert sum(losses) / 2 < math.log(2)


def first_order_passing(x, G):
    """Of the squared length of the first-order term's gradient ``G``, the share that passes."""
    passes = before(build_norm("bn_center", x.shape[1:]).double(), x, lambda y: (y * G).sum())
    return (passes.square().sum() / G.square().sum()).item()


def test_what_centering_takes_from_a_mixture_of_losses():
    """|sum_k w_k g_k|^2 / sum_k w_k |g_k|^2 is blocked; one loss is blocked whole."""
    g, losses = normal(3, D, seed=4), torch.tensor([0, 0, 1, 2, 2, 2, 0])
    x, G = features(N, D), g[losses]
    w = losses.bincount().double() / N
    share = (w @ g).square().sum() / (w * g.square().sum(1)).sum()
    assert 0.05 < share < 0.95
    assert 1 - first_order_passing(x, G) == pytest.approx(share.item())
    mixture = before(build_norm("bn_center", (D,)).double(), x, lambda y: (y * G).sum()) - G
    close(mixture, -(w @ g).expand(N, D))
    assert first_order_passing(x, g[[1] * N]) < 1e-30


@pytest.mark.parametrize("counts", [[4, 0, 0], [2, 2, 0], [1, 1, 1], [5, 2, 1]])
def test_of_classes_alike_the_share_follows_from_the_mixture(counts):
    """Cross-entropy of outputs 0 whose Jacobian rows have one length and one inner product."""
    classes, labels = 3, torch.arange(3).repeat_interleave(torch.tensor(counts))
    gram = 2 * torch.eye(classes, dtype=torch.float64) + 0.5
    J = torch.linalg.cholesky(gram) @ torch.eye(classes, D, dtype=torch.float64)
    close(J @ J.T, gram)
    outputs = torch.zeros(len(labels), classes, dtype=torch.float64, requires_grad=True)
    G = torch.autograd.grad(CrossEntropy().value(outputs, labels).sum(), outputs)[0] @ J
    w = torch.tensor(counts) / sum(counts)
    share = (w.square().sum() - 1 / classes) / (1 - 1 / classes)
    found = 1 - first_order_passing(features(len(labels), D), G)
    assert found == pytest.approx(share.item(), abs=1e-6)


@pytest.mark.parametrize("eps", EPS)
def test_shares_are_the_stated_three(eps):
    """T4_shares, channel by channel."""
    x, G = features(N, D), normal(N, D, seed=4)
    y, sigma = standardize(x, eps)
    shares = blocked(G, y)
    total = G.square().sum(0)
    m = (y * G).mean(0)
    close(shares.mean, N * G.mean(0).square() / total)
    close(shares.scale, m.square() * (2 * N - y.square().sum(0)) / total)
    close(shares.passing, (sigma * bn_backward(G, y, sigma)).square().sum(0) / total)
    close(shares.mean + shares.scale + shares.passing, torch.ones(D, dtype=x.dtype))
