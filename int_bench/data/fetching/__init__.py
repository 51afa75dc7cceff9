"""From a data set's owner to a folder: download, unpack."""
