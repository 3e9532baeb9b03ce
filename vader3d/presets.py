"""Complete named configurations."""

from dataclasses import dataclass, replace

from vader3d.autodecoder.codes import CodeConfig
from vader3d.autodecoder.decoder import DecoderConfig
from vader3d.autodecoder.losses import LossConfig
from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.autodecoder.parts import BESIDE, DETECTOR, PartConfig
from vader3d.autodecoder.posing import PoseConfig
from vader3d.config import unknown_name
from vader3d.diffusion.model import DiffusionConfig
from vader3d.diffusion.unet import UNetConfig
from vader3d.latents import LatentConfig
from vader3d.render import RenderConfig
from vader3d.training.loop import LoopConfig
from vader3d.training.optimisers import OptimiserConfig


@dataclass(frozen=True)
class Preset:
    """Both stages' configurations; `note` says what for, and why it differs from the paper.

    objects, picture_px: the data set it is meant for, which its cost depends on. score: what it reached, if known.
    """

    note: str
    autodecoder: AutodecoderConfig
    diffusion: DiffusionConfig
    objects: int
    picture_px: int
    score: str = "not run yet"


# Table 5 of the paper. It names neither batch sizes nor lengths nor moving averages: `loop` is ours.
PAPER_STAGE1 = AutodecoderConfig(
    loop=LoopConfig(objects_seen=2_250_000, batch=32, cooldown=1.0, ema_half_life=10_000)  # 9 M pictures (A.2)
)
PAPER_STAGE2 = DiffusionConfig(
    loop=LoopConfig(objects_seen=20_000_000, batch=256, cooldown=1.0, ema_half_life=500_000)  # EDM's average
)
# Two CPU cores and ten minutes. The head makes 4^3 voxels of each 8^3 feature: no convolution runs above 8^3.
SMALL_MUON = OptimiserConfig(name="muon", lr=2e-3, betas=(0.9, 0.99), muon_lr=2e-2)
SMALL_STAGE1 = AutodecoderConfig(
    decoder=DecoderConfig(
        code_length=128,
        channels=(128, 64),
        blocks_per_level=1,
        attention_resolutions=(),
        latent_resolution=1,
        subvoxels=4,
        initial_density=-4.5,
    ),
    render=RenderConfig(samples_per_ray=40, activation="softplus", density_scale=25.0, density_noise=0.0),
    losses=LossConfig(trunk="gradients", perceptual=1.0, scales=(1,), mask=1.0, pixel=32.0),
    loop=LoopConfig(objects_seen=64_000, batch=8, cooldown=0.5, ema_half_life=2000),
    latents=LatentConfig(per="voxel"),
    pixel_stride=2,
    codes=CodeConfig(update="sparse", average=True),
    code_std=0.1,
    code_noise=0.02,
    optimiser=SMALL_MUON,
    code_lr=2e-2,
)
SMALL_STAGE2 = DiffusionConfig(
    unet=UNetConfig(
        model_channels=256,
        channel_multipliers=(1,),
        blocks_per_level=2,
        attention_resolutions=(),
        dropout=0.0,
        linear_skip=True,
    ),
    loop=LoopConfig(objects_seen=200_000, batch=512, warmup=0.01, cooldown=0.5, ema_half_life=20_000),
    optimiser=SMALL_MUON,
)
# Latents of 4^3 voxels: the U-Net of `small` would cost fourteen times as much there.
GRID_STAGE2 = replace(
    SMALL_STAGE2,
    unet=replace(SMALL_STAGE2.unet, model_channels=64, attention_resolutions=(4,)),
    loop=replace(SMALL_STAGE2.loop, objects_seen=100_000, batch=64, ema_half_life=5000),
)
TEXT_UNET = UNetConfig(model_channels=192, blocks_per_level=3, token_dim=1024)
PAPER_TEXT = replace(PAPER_STAGE2, unet=TEXT_UNET, text_encoder="google-t5/t5-11b")

HEADS_STAGE1 = replace(
    SMALL_STAGE1,
    decoder=replace(
        SMALL_STAGE1.decoder,
        code_length=64,
        channels=(64, 32),
        latent_resolution=4,
        extra_channels=2,
        part_heights=(0.3, -0.55),
    ),
    render=replace(SMALL_STAGE1.render, samples_per_ray=32),
    losses=replace(SMALL_STAGE1.losses, mask=0.5, pixel=4.0, matter=0.03),  # or else debris behind heads
    loop=replace(SMALL_STAGE1.loop, objects_seen=16_000, batch=4, log_seconds=20.0),
    poses=PoseConfig(source="table", azimuths=(0.0,), elevation=0.0),
    parts=PartConfig(poses=BESIDE, start_noise=20.0, passes=6, turned=0.4, smooth=1.5, hold=0.1, stay=30.0),
    views_per_object=6,
    code_noise=0.05,
)
HEADS_STAGE2 = replace(
    GRID_STAGE2,
    unet=replace(GRID_STAGE2.unet, dropout=0.3),  # without it 91 of 100 new people are copies of known ones
    loop=replace(GRID_STAGE2.loop, objects_seen=40_000),
)
PRESETS = {
    "small": Preset(
        note="64x64 pictures on a laptop CPU in minutes (the demo's). The latent is the code itself; docs/results.md "
        "says what this and each other departure from the paper brings.",
        autodecoder=SMALL_STAGE1,
        diffusion=SMALL_STAGE2,
        objects=163,
        picture_px=64,
        score="furniture, 7 minutes of two CPU cores: held-out PSNR 30.2 dB, silhouette IoU .932 (`make demo`)",
    ),
    "small-text": Preset(
        note="as `small`, with text: its denoiser reads the words of captions, with nothing to install or to fetch "
        "(docs/text.md).",
        autodecoder=SMALL_STAGE1,
        diffusion=replace(
            SMALL_STAGE2,
            unet=replace(SMALL_STAGE2.unet, token_dim=384, token_resolutions=(1,), mask_padding=True),
            text_encoder="vocabulary",
        ),
        objects=163,
        picture_px=64,
    ),
    "medium-text": Preset(
        note="128x128 pictures, 64^3 volumes, with text: the model that ships (docs/models.md). Stage 1 took a GPU "
        "a quarter of an hour, stage 2 a CPU core three and a half.",
        autodecoder=replace(
            SMALL_STAGE1,
            decoder=replace(SMALL_STAGE1.decoder, channels=(256, 128), subvoxels=8),
            render=replace(SMALL_STAGE1.render, samples_per_ray=64),
            loop=replace(SMALL_STAGE1.loop, objects_seen=700_000, batch=32, ema_half_life=20_000),
        ),
        diffusion=replace(
            SMALL_STAGE2,
            unet=replace(
                SMALL_STAGE2.unet,
                model_channels=208,
                head_channels=52,
                blocks_per_level=1,
                dropout=0.15,
                token_dim=384,
                token_resolutions=(1,),
                mask_padding=True,
            ),
            loop=replace(SMALL_STAGE2.loop, objects_seen=6_000_000, batch=128),
            token_dropout=0.2,
            text_encoder="vocabulary",
            held_out=0.1,
            balance=0.6,
        ),
        objects=2794,
        picture_px=128,
    ),
    "small-grid": Preset(
        note="as `small`, but a U-Net denoises latents of 4^3 voxels, as the paper does with 8^3; for studies.",
        autodecoder=replace(
            SMALL_STAGE1,
            decoder=replace(
                SMALL_STAGE1.decoder, code_length=64, channels=(64, 64), attention_resolutions=(8,), latent_resolution=4
            ),
            render=replace(SMALL_STAGE1.render, samples_per_ray=48),
            losses=replace(SMALL_STAGE1.losses, mask=0.5, pixel=4.0),
            loop=replace(SMALL_STAGE1.loop, objects_seen=100_000),
            code_noise=0.05,
        ),
        diffusion=replace(GRID_STAGE2, loop=replace(SMALL_STAGE2.loop, objects_seen=1_000_000, batch=16)),
        objects=163,
        picture_px=64,
        score="furniture-all, after hours: held-out PSNR 29.1 dB (docs/results.md)",
    ),
    "chairs-no-cameras": Preset(
        note="objects that have a front, seen from within 60 degrees of it, by cameras that are not known: poses are "
        "learned with the objects (`vader3d prepare chairs --azimuths 60`).",
        autodecoder=replace(
            SMALL_STAGE1,
            decoder=replace(SMALL_STAGE1.decoder, code_length=64, channels=(64, 32), latent_resolution=4),
            render=replace(SMALL_STAGE1.render, samples_per_ray=32),
            losses=replace(SMALL_STAGE1.losses, mask=0.5, pixel=4.0),
            loop=replace(SMALL_STAGE1.loop, objects_seen=16_000, batch=4, ema_half_life=200, log_seconds=20.0),
            codes=CodeConfig(update="faded", average=True),
            poses=PoseConfig(source="keypoints", keep_distance=1.0),
            views_per_object=6,
            code_noise=0.05,
        ),
        diffusion=GRID_STAGE2,
        objects=48,
        picture_px=64,
    ),
    "talking-heads-small": Preset(
        note="people's heads and shoulders, each in a clip, whose two parts move: poses of both are refined from a "
        "start some 20 degrees off (`vader3d prepare heads`; docs/animation.md).",
        autodecoder=HEADS_STAGE1,
        diffusion=HEADS_STAGE2,
        objects=100,
        picture_px=64,
        score="people, eight minutes of a CPU core, three seeds: held-out PSNR 30.0 dB inside the mask, head and torso "
        "2.2 and 2.1 degrees off, 30 degrees aside 23.6 dB (docs/results.md)",
    ),
    "talking-heads": Preset(
        note="clips of people, head and shoulders (`vader3d prepare video --masks people`), of whom nothing is known: "
        "poses start where MediaPipe sees their faces (extra `people`; docs/animation.md).",
        autodecoder=replace(HEADS_STAGE1, parts=replace(HEADS_STAGE1.parts, poses=DETECTOR, start_noise=0.0)),
        diffusion=HEADS_STAGE2,
        objects=100,
        picture_px=64,
        score="people, one seed: held-out PSNR 29.7 dB inside the mask, head and torso 2.2 and 4.3 degrees off, 30 "
        "degrees aside 21.6 dB (docs/results.md)",
    ),
    "tiny": Preset(
        note="seconds, for tests and for trying commands out; its objects are blobs.",
        autodecoder=AutodecoderConfig(
            decoder=DecoderConfig(
                code_length=32,
                channels=(32, 16),
                blocks_per_level=1,
                attention_resolutions=(8,),
                latent_resolution=4,
                subvoxels=2,
                initial_density=-3.0,
            ),
            render=RenderConfig(samples_per_ray=24, activation="softplus", density_scale=25.0, density_noise=0.0),
            losses=LossConfig(trunk="gradients", perceptual=1.0, scales=(1,), mask=0.5, pixel=4.0),
            loop=LoopConfig(objects_seen=1200, batch=4, cooldown=0.5, ema_half_life=100),
            latents=LatentConfig(per="channel"),
            pixel_stride=2,
            codes=CodeConfig(update="sparse", average=True),
            code_std=0.1,
            optimiser=OptimiserConfig(name="adam", lr=5e-3, betas=(0.9, 0.99)),
            code_lr=5e-2,
        ),
        diffusion=DiffusionConfig(
            unet=UNetConfig(
                model_channels=16,
                channel_multipliers=(2,),
                blocks_per_level=1,
                attention_resolutions=(4,),
                dropout=0.0,
                linear_skip=True,
            ),
            loop=LoopConfig(objects_seen=8000, batch=32, cooldown=0.5, ema_half_life=1000),
            optimiser=OptimiserConfig(name="adam", lr=2e-3, betas=(0.9, 0.99)),
        ),
        objects=163,
        picture_px=64,
        score="none: for tests",
    ),
    "abo-tables": Preset(
        note="ABO tables, Table 5 of the paper: a 128^3 volume, codes of 256 hashed pieces.",
        autodecoder=replace(
            PAPER_STAGE1,
            codes=CodeConfig(kind="hashed", codebook_size=1 << 8),
            decoder=DecoderConfig(blocks_per_level=2, channels=(512, 256, 128, 64, 32, 16)),
        ),
        diffusion=PAPER_STAGE2,
        objects=1676,
        picture_px=128,
        score="not run yet; the paper: FID 18.44, KID .006854",
    ),
    "photoshape-chairs": Preset(
        note="PhotoShape chairs, Table 5 of the paper: a 64^3 volume, a plain table of codes.",
        autodecoder=PAPER_STAGE1,
        diffusion=PAPER_STAGE2,
        objects=15_576,
        picture_px=128,
        score="not run yet; the paper: PSNR 27.719 dB of training views, FID 11.28, KID .004714",
    ),
    "celebv-text": Preset(
        note="CelebV-Text, Table 5 of the paper: ten parts beside colour and density, hashed codes, text; 125 points a "
        "part and EPnP pose them from scratch (--set poses.solver=posit learns more surely: docs/animation.md).",
        autodecoder=replace(
            PAPER_STAGE1,
            codes=CodeConfig(kind="hashed", codebook_size=1 << 13),
            decoder=DecoderConfig(blocks_per_level=2, extra_channels=10),
            poses=PoseConfig(
                source="keypoints",
                solver="epnp",
                azimuths=(0.0,),
                elevation=0.0,
                points_across=5,
                projection=10.0,
                equivariance=10.0,
                coarse=0.0,
                lean=0.0,
                lr=5e-4,
                points_lr=5e-4,
            ),
        ),
        diffusion=PAPER_TEXT,
        objects=44_400,
        picture_px=256,
        score="not run yet; the paper, 64 steps: FID 50.27, KID .04772",
    ),
    "mvimgnet": Preset(
        note="MVImgNet, Table 5 of the paper: a 64^3 volume, a plain table of codes, text.",
        autodecoder=PAPER_STAGE1,
        diffusion=PAPER_TEXT,
        objects=206_990,
        picture_px=128,
        score="not run yet; the paper, 64 steps: FID 43.85, KID .02391",
    ),
    "objaverse": Preset(
        note="Objaverse, Table 5 of the paper: a 64^3 volume, no mask loss, hashed codes, text.",
        autodecoder=replace(
            PAPER_STAGE1, codes=CodeConfig(kind="hashed", codebook_size=1 << 15), losses=LossConfig(mask=0.0)
        ),
        diffusion=replace(PAPER_TEXT, unet=replace(TEXT_UNET, transformer_depth=2)),
        objects=300_000,
        picture_px=128,
        score="not run yet; the paper, 64 steps: FID 40.49, KID .02937",
    ),
}


def preset(name: str) -> Preset:
    """The preset of this name, or a ValueError with the nearest ones."""
    if name not in PRESETS:
        raise ValueError(unknown_name(name, PRESETS, "preset"))
    return PRESETS[name]
