"""Files of weights, read safely: headers without the weights, pickles without running code."""
