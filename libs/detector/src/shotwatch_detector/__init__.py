"""Code that training and inference share: preprocessing, scores, calibration and the decision."""
