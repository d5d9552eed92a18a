"""What a user of HLFD Training sees: the parts of its panel, and what they show in the views."""
