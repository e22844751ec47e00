"""The cheaper dropout, against what dropout is."""

import pytest
import torch

from chemsieve.models.molformer.dropout import Dropout


def test_elements_are_dropped_with_the_probability_and_the_rest_is_scaled():
    torch.manual_seed(0)
    for p in (0.1, 0.37):
        found = Dropout(p)(torch.ones(1001, 999))
        kept = found != 0
        # Five standard deviations of the share of a million independent draws.
        assert abs(1 - kept.double().mean().item() - p) < 5 * (p * (1 - p) / kept.numel()) ** 0.5
        torch.testing.assert_close(found[kept], torch.full_like(found[kept], 1 / (1 - p)), rtol=1e-4, atol=0)
        # Neighbours, which share a draw of the generator, are independent.
        share = (kept[:, 1:] & kept[:, :-1]).double().mean().item()
        assert share == pytest.approx((1 - p) ** 2, abs=0.003)
        assert abs(kept.double().mean(0) - (1 - p)).max() < 0.1, "no column is favoured"


def test_the_derivative_has_the_same_mask():
    torch.manual_seed(0)
    x = torch.randn(50, 7, requires_grad=True)
    found = Dropout(0.5)(x)
    found.sum().backward()
    torch.testing.assert_close(found, x * x.grad)
    assert set(x.grad.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 1), (0, 4)])
def test_any_shape(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape


def test_evaluation_and_no_dropout_leave_everything_and_the_seed_decides():
    x = torch.randn(64)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert (Dropout(1.0)(x) == 0).all()
    torch.manual_seed(4)
    first = Dropout(0.5)(x)
    torch.manual_seed(4)
    assert torch.equal(Dropout(0.5)(x), first)
    assert Dropout(0.5)(x.bfloat16()).dtype == torch.bfloat16
