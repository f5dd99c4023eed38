"""The loops of the product, end to end, on its real parts."""
