"""Published experiments: one file per table or figure; ``ohmgrad reproduce`` runs them."""
