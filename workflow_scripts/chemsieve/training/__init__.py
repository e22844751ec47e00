"""Training: batches, the loop, masked-language modelling and regression."""
