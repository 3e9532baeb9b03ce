"""Parts that hold nothing are pulled to where the fullest part is."""

import torch
from figures import clip_poses, figure
from test_parts import archive, config  # noqa: F401  one is a fixture

from vader3d.autodecoder.parts import pull
from vader3d.autodecoder.train import AutodecoderTask
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.render import Volume


def test_parts_that_hold_nothing_are_pulled_to_the_fullest_and_no_others():
    """A third part begins at another clip's poses; in each picture it goes to those of its own clip's fullest part."""
    volume = figure(16, others=1).volume
    fullest = int((volume.density * volume.extra.softmax(1)).flatten(2).sum(-1).argmax())
    poses = torch.cat([clip_poses()[:1, :4], clip_poses()[1:2, 4:, :1]], 2).requires_grad_()
    (gradient,) = torch.autograd.grad(pull(poses, volume), poses)
    assert not gradient[:, :, :2].any()
    away = (poses[:, :, 2] - poses[:, :, fullest]).detach()
    assert torch.equal(gradient[:, :, 2].sign(), away.sign())
    assert pull(poses[:, :, [0, 1, fullest]], volume) == 0
    assert pull(poses, volume.with_grid(volume.grid - 100)).isfinite()


def without_a_head(module: object, inputs: object, volume: Volume) -> Volume:
    return volume.with_grid(torch.cat([volume.grid[:, :5], volume.grid[:, 5:] - 100], 1))


def test_pull_is_a_loss_where_it_is_asked_for(archive):  # noqa: F811
    for weight in (0.0, 200.0):
        task = AutodecoderTask(config(hold=0.0, pull=weight), PosedViews(archive, training_views))
        task.model.decoder.register_forward_hook(without_a_head)
        terms = task.losses(objects_seen=0, batch=3, progress=0.5, generator=torch.Generator().manual_seed(0))
        assert ("pull" in terms) is bool(weight)
    terms["pull"].backward()
    gradient = task.model.parts.table.weight.grad.to_dense().view(-1, 2, 6)
    assert not gradient[:, 0].any()
    assert gradient[:, 1].any()
