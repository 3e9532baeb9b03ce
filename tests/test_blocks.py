"""The 3D blocks both networks share, against plain formulas."""

import pytest
import torch
from torch import nn

from vader3d.blocks import Attention3d, downsample, upsample, upsampled_convolution, zero_initialised
from vader3d.cpu_layers import FEW_TOKENS, Conv3d, GroupNorm, attend


@pytest.mark.parametrize("head_channels", [None, 4])
@pytest.mark.parametrize("shape", [(2, 8, 2, 3, 4), (1, 8, 1, 1, 1)])
def test_attention_is_softmax_of_scaled_products(head_channels, shape):
    torch.manual_seed(0)
    block = Attention3d(8, nn.Identity(), head_channels=head_channels).double()
    x = torch.randn(shape, dtype=torch.float64)
    tokens = x.flatten(2).mT
    query, key, value = block.query_key_value(tokens).chunk(3, -1)
    width = head_channels or 8
    mixed = torch.empty_like(query)
    for head in range(0, 8, width):
        q, k, v = (t[..., head : head + width] for t in (query, key, value))
        mixed[..., head : head + width] = torch.softmax(q @ k.mT / width**0.5, -1) @ v
    expected = x + block.projection(mixed).mT.reshape(shape)
    torch.testing.assert_close(block(x), expected)


def test_attention_does_not_care_where_voxels_stand():
    torch.manual_seed(0)
    block = Attention3d(4, nn.Identity())
    x = torch.randn(1, 4, 3, 3, 3)
    torch.testing.assert_close(block(x.flip(2).transpose(3, 4)), block(x).flip(2).transpose(3, 4))


def test_up_and_down_work_on_all_three_axes():
    x = torch.arange(8.0).view(1, 1, 2, 2, 2)
    big = upsample(x)
    assert big.shape == (1, 1, 4, 4, 4)
    assert torch.equal(big[0, 0, ::2, ::2, ::2], x[0, 0])
    assert torch.equal(big[0, 0, 1::2, 1::2, 1::2], x[0, 0])
    assert torch.equal(downsample(big), x)
    assert float(downsample(x)) == 3.5


def test_a_convolution_of_the_doubled_input_needs_none():
    x, layer = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64), nn.Conv3d(3, 5, 3, padding=1).double()
    doubled = upsampled_convolution(x, layer.weight, layer.bias)
    torch.testing.assert_close(doubled, layer(upsample(x)))


def test_a_convolution_of_one_voxel_is_torch_s_own():
    layer, x = Conv3d(5, 3, 1), torch.randn(4, 5, 1, 1, 1)
    torch.testing.assert_close(layer(x), nn.Conv3d.forward(layer, x))
    padded = Conv3d(5, 3, 3, padding=1)
    torch.testing.assert_close(padded(x), nn.Conv3d.forward(padded, x))


def test_zero_initialised_layers_give_nothing():
    assert not zero_initialised(nn.Conv3d(3, 4, 3))(torch.randn(1, 3, 5, 5, 5)).any()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_bfloat16_convolutions_have_the_gradient_of_float32(size):
    """torch's CPU weight gradient is not finite on 2^3 voxels; `Conv3d` goes round it."""
    torch.manual_seed(0)
    conv, x = Conv3d(16, 16, 3, padding=1), torch.randn(2, 16, size, size, size)
    conv(x).square().sum().backward()
    expected = conv.weight.grad.clone()
    conv.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(x.contiguous(memory_format=torch.channels_last_3d))
    out.float().square().sum().backward()
    assert conv.weight.grad.isfinite().all()
    assert float((conv.weight.grad - expected).norm() / expected.norm()) < 0.03


@pytest.mark.parametrize("tokens", [1, 64, FEW_TOKENS + 1])
def test_attention_in_bfloat16_is_that_of_float64(tokens):
    """Values and gradients, on both sides of the number of tokens up to which the plain formula is taken."""
    torch.manual_seed(0)
    precise = torch.randn(3, 1, 2, tokens, 16, dtype=torch.float64).requires_grad_()
    coarse = precise.detach().bfloat16().requires_grad_()
    expected, out = (attend(*inputs.unbind()) for inputs in (precise, coarse))
    for result in (expected, out):
        result.square().sum().backward()
    expected, out = expected.detach(), out.detach()
    assert float((out.double() - expected).norm() / expected.norm()) < 0.02
    assert float((coarse.grad.double() - precise.grad).norm() / precise.grad.norm()) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_group_norm_is_torch_s_and_keeps_type_and_layout(dtype):
    torch.manual_seed(0)
    ours, judge = GroupNorm(2, 8), nn.GroupNorm(2, 8).double()
    x = torch.randn(2, 8, 4, 4, 4).to(dtype).contiguous(memory_format=torch.channels_last_3d)
    out = ours(x)
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(out.double(), judge(x.double()), rtol=tolerance, atol=tolerance)
