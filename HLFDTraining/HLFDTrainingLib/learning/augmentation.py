"""Random changes of training slices, with MONAI's transforms."""

from __future__ import annotations

from monai.transforms import (
    Compose,
    Rand2DElasticd,
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
    ThresholdIntensityd,
)


def anatomical_changes(size: tuple[int, int]) -> Compose:
    """Patient position, size, shape, contrast phase, window, noise and resolution, for `image` and `label` (1, H, W).

    The image's values are the CT window scaled to 0..1, before and after. Nothing is mirrored: the liver lies on the
    right. Slices are cut or padded around their centre to `size`.
    """
    spatial = Rand2DElasticd(
        keys=("image", "label"),
        spacing=(32, 32),
        magnitude_range=(0.0, 2.5),
        prob=1.0,
        rotate_range=0.2,
        scale_range=((-0.2, 0.25), (-0.2, 0.25)),
        translate_range=(20, 20),
        spatial_size=size,
        mode=("bilinear", "nearest"),
        padding_mode="zeros",
    )
    image = ("image",)
    return Compose(
        [
            spatial,
            # By "nearest", the default, the image would lie 0.5 to 1.2 pixels below and to the right of its label.
            RandSimulateLowResolutiond(
                image, prob=0.15, downsample_mode="nearest-exact", upsample_mode="bilinear", zoom_range=(0.4, 0.9)
            ),
            RandGaussianSmoothd(image, prob=0.15, sigma_x=(0.3, 1.0), sigma_y=(0.3, 1.0)),
            # Wide, because one network has to serve unenhanced, arterial and portal venous CT.
            RandScaleIntensityd(image, prob=0.8, factors=(-0.35, 0.25)),
            RandShiftIntensityd(image, prob=0.5, offsets=0.08),
            RandAdjustContrastd(image, prob=0.3, gamma=(0.75, 1.4)),
            RandGaussianNoised(image, prob=0.4, std=0.05),
            ThresholdIntensityd(image, threshold=0.0, above=True, cval=0.0),
            ThresholdIntensityd(image, threshold=1.0, above=False, cval=1.0),
        ]
    )
