"""One labelled dataset (cell_type, gene, bin, mark): build, store, merge, transform, split."""
