"""The sRGB curve against the standard's numbers."""

import numpy as np
import pytest

from vader3d.colour import linear_from_srgb, srgb_from_linear


def test_srgb_conversion_is_the_standard_one_and_inverts_itself():
    assert linear_from_srgb(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.214041, 1], abs=1e-6)
    ramp = np.arange(256) / 255
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(ramp)), ramp, atol=1e-7)
    stored = np.round(linear_from_srgb(ramp) * 65535) / 65535
    np.testing.assert_array_equal(np.round(srgb_from_linear(stored) * 255), np.arange(256))


def test_what_is_below_black_goes_on_as_a_line_and_warns_of_nothing(recwarn):
    assert srgb_from_linear(np.array([-0.1])) == pytest.approx([-1.292])
    assert not recwarn
