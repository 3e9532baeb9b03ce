"""Where points of an object are seen: a network that starts at home."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

INPUT_PX, MAP_PX = 64, 16
TEMPERATURE = 0.1
HOME_SPREAD = 0.35  # of the bump that holds each point at home, in half pictures


def layer(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Sequential:
    """A 3^2 convolution, norm and ReLU."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


class KeypointNetwork(nn.Module):
    """Pictures [P, 4, H, W] (colour, mask) -> places [P, N, 2] in half pictures: x right, y down, corners at +-1.

    An hourglass to maps of 16^2, read by their soft maxima. A bump at each point's home is added to its map, and the
    last layer starts near 0: at first every point is seen at home, whatever the picture.
    """

    def __init__(self, points: int, channels: tuple[int, int, int, int] = (12, 24, 48, 64)):
        super().__init__()
        first, second, third, fourth = channels
        self.down_2 = layer(4, first, stride=2)
        self.down_4 = nn.Sequential(layer(first, second, stride=2), layer(second, second))
        self.down_8 = nn.Sequential(layer(second, third, stride=2), layer(third, third))
        self.down_16 = nn.Sequential(layer(third, fourth, stride=2), layer(fourth, fourth))
        self.up_8 = layer(fourth + third, 32)
        self.up_4 = layer(32 + second, 32)
        self.head = nn.Conv2d(32, points, 3, 1, 1)
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor, home: Tensor) -> Tensor:
        """home: [P, N, 2], where each point is seen as long as nothing is learned."""
        small = interpolate(pictures, size=(INPUT_PX, INPUT_PX), mode="area")
        quarter = self.down_4(self.down_2(small.contiguous(memory_format=torch.channels_last)))
        eighth = self.down_8(quarter)
        up = self.up_8(torch.cat([doubled(self.down_16(eighth)), eighth], 1))
        maps = self.head(self.up_4(torch.cat([doubled(up), quarter], 1))) / TEMPERATURE
        return soft_maxima(maps, home) + home - soft_maxima(0 * maps, home).detach()  # bumps end at the map's edges


def doubled(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")


def soft_maxima(maps: Tensor, home: Tensor) -> Tensor:
    """Means [P, N, 2] of the distributions that logits [P, N, H, W] with bumps at `home` [P, N, 2] make."""
    height, width = maps.shape[2:]
    y, x = ((torch.arange(size, device=maps.device) + 0.5) / size * 2 - 1 for size in (height, width))
    from_home = (x - home[..., :1]).square()[..., None, :] + (y - home[..., 1:]).square()[..., None]
    shares = (maps - from_home / (2 * HOME_SPREAD**2)).flatten(2).softmax(-1).view_as(maps)
    return torch.stack([(shares.sum(2) * x).sum(-1), (shares.sum(3) * y).sum(-1)], -1)
