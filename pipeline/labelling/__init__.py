"""What can be learnt from few labels, and which texts to label next."""
