"""The steps of `inference`: slices through the network, averaged probabilities, labels rid of specks."""
