"""Which rows are for training, validation and test: by the content of each row, told from its digest."""
