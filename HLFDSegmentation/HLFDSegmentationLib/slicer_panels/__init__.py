"""What a user of HLFD Segmentation sees: the parts of its panel, and what they show in the views."""
