"""Perceptual features of images, whose squared distance is that of LPIPS, from weights in local files."""
