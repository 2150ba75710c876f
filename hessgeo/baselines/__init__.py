"""Other ways to a free energy or a Fisher metric from samples: those the paper compares with, and one it does not."""
