"""What panels in Slicer are made of, whatever they are about: both modules use it."""
