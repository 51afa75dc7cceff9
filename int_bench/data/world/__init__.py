"""The drawn world: scenes of hidden animals, polyps and lesions."""
