"""Generative adversarial networks whose discriminator has a norm."""
