"""Free energies: known ones, the convex spline fit and the paper's perceptron, behind one interface."""
