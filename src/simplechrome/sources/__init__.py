"""Files of any kind to plain arrays and tables; nothing here knows of datasets or models."""
