"""What a reader made of an attention map."""

# Annotations are types here, and not text: `worker_protocol` reads readings by them.

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """A reader's judgment of one layer's attention for one segment.

    Attributes:
        segment: name of the segment, for example "liver tumor".
        layer: name of the layer, for example "decoder3".
        lesion: number of the lesion that was judged; none for the segment as a whole.
        verdict: in the reader's words, for example "on target".
        comment: anything else; may be empty.
    """

    segment: str
    layer: str
    lesion: int | None
    verdict: str
    comment: str = ""
