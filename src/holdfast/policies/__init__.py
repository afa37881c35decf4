"""What to do about failure: frozen settings and the decisions that follow from them."""
