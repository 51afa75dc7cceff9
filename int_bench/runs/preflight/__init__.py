"""What a command needs and will cost, before anything is loaded or made."""
